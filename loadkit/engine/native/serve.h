/* The serve end's worker: echo with back-pressure.
 *
 *     accepting -> settling -> stopping -> done  a worker: it settles while handshakes that are under way end
 *                                                (engine/listening.py)
 *
 *     FREE -> ECHOING <-> OWING -> FREE          a peer. OWING: it has not taken all of its echo, and is not read from
 *                 \-> ANSWERING -> FREE          … that turned out to be a probe: answers.h
 *     FREE -> GREETING -> ECHOING                with a PROXY header, until that has come: greeting.c
 *
 * Memory. Peers are slots of one array, reserved as address space for as many as there can be file descriptors. A read
 * goes to the one shared buffer and is written back from there; only what the peer's socket does not take is copied to
 * a buffer of the peer's own, which goes away when it has. So a peer that does not read costs one read's worth at most,
 * and all of them `most_owed` bytes. Beyond that a read only looks (MSG_PEEK): what the peer's socket takes is read,
 * and the rest stays in the kernel, where the peer's window bounds it.
 *
 * A turn. Whatever peers send, a worker comes back to its wait, and to what its parent says, after some 10 ms of CPU
 * time: the peers of a turn share TURN_BYTES, each is read from once, and only so many are accepted, or closed for
 * being idle. tests/engine/test_floods.py measures it.
 *
 * When file descriptors run out the listener stays readable while each accept fails. So there are fewer slots than
 * descriptors, and a connection without a slot is reset and counted. If they run out all the same (ENFILE, or other
 * code in the process), the one kept in reserve is closed, the connection accepted and reset, and the reserve taken
 * again.
 */
#ifndef LOADKIT_SERVE_H
#define LOADKIT_SERVE_H

#include <stdbool.h>
#include <stddef.h>

#include "answers.h"
#include "board.h"
#include "poller.h"
#include "rows.h"
#include "ring.h"
#include "settings.h"
#include "stamps.h"
#include "tokens.h"
#include "turns.h"

enum peer_state { PEER_FREE, PEER_ECHOING, PEER_OWING, PEER_ANSWERING, PEER_GREETING };
enum { SERVE_READ_BYTES = 256 * 1024, IDLE_A_TURN = 256, MOST_LISTENERS = 4096 };
/* Edge-triggered, this often each peer is looked at, so many in a turn: an edge that was lost is reported by no wait
 * (epoll(7)). poll(2) takes 70 us for them. */
#define SWEEP_NS NS_PER_S
enum { SWEPT_A_TURN = 1024 };
/* Of a shared listener a worker takes fewer, and leaves the rest to the others. At its stop a worker empties its accept
 * queues, to which nothing is added any more (engine/listening.py); the last number
 * bounds that for a kernel without socket filters. */
enum { ACCEPTS_A_TURN = 256, SHARED_ACCEPTS_A_TURN = 16, ACCEPTS_AT_STOP = 1 << 16 };
/* 16 MiB are read and written in some 5 ms. A single peer's share is what 16 reads bring: more than the socket buffers
 * hold. */
enum { TURN_BYTES = 16 * 1024 * 1024, LEAST_SHARE = 16 * 1024, MOST_SHARE = 16 * SERVE_READ_BYTES };

struct peer {
    int64_t active_ns; /* when bytes last moved, in either direction; kept only with an idle time-out */
    union {
        unsigned char *owed;
        struct answer *answer; /* while ANSWERING */
        struct header *header; /* while GREETING; NULL: nothing has come */
    };
    uint32_t owed_from, owed_until;
    int32_t fd;
    uint32_t generation;
    uint32_t next,
        previous; /* among the peers from the longest idle to the last active one; `next` of a free slot too */
    uint8_t state;
    bool is_ready; /* it is among those to read on from */
    uint16_t sent_high; /* bytes that it took: 48 bits, where the struct has room */
    uint32_t sent_low;
};

/* idle_timeout_ns: -1 is none. most_owed: bytes kept for peers that do not read. index: whose tokens are ours.
 * probe_peers: enum probe_peers. most_slots: no more connections than that are open at once. shares_listeners: other
 * workers accept from them too. header_ns: each connection has to begin with a PROXY header, within this time; 0: none
 * does. */
#define SERVE_ROWS(X)                                                                                                \
    X(integer, idle_timeout_ns, -1, LONGEST_NS) X(integer, most_owed, 0, INT64_MAX) X(integer, index, 0, UINT32_MAX) \
    X(integer, most_slots, 1, INT64_MAX) X(integer, probe_peers, 0, PROBES_OF_none) X(flag, is_edge_triggered, 0, 1) \
    X(flag, reads_stamps, 0, 1) X(flag, shares_listeners, 0, 1) \
    X(integer, header_ns, 0, LONGEST_NS)
struct serve_options {
    SERVE_ROWS(AS_FIELD)
};

struct greeted {
    int64_t until_ns;
    uint64_t token;
};

struct serve {
    struct board board;
    struct poller poller;
    struct stamper stamper;
    struct settings settings;
    struct tokens tokens; /* one for each connection that is open */
    struct serve_options options;
    int *listeners;
    uint32_t listener_count;
    struct peer *slots;
    size_t slots_bytes;
    uint32_t slot_count, slot_limit, free_slot;
    uint32_t idlest, latest;
    int64_t open_count; /* probes among them */
    int64_t owed_bytes;
    size_t share; /* bytes that a peer may have read in this turn */
    struct answers answers;
    int spare_fd;
    int64_t listen_again_ns; /* NEVER while the listeners are watched */
    int64_t stop_ns; /* NEVER until told to stop; then the end of the grace */
    int64_t deaf_ns; /* when it listens no more; NEVER before the stop, and after that */
    int64_t sweep_ns; /* when to look for what epoll has not reported; NEVER: not edge-triggered */
    uint32_t swept; /* slots that were looked at in this sweep */
    bool is_done;
    struct greeted *greeted; /* those whose header is awaited, the oldest first; some are over, or have it */
    struct ring greeted_ring;
    uint64_t *ready; /* as in blast.h */
    size_t ready_count, ready_capacity;
    unsigned char *buffer;
    int turn_says;
};

/* serve.c: its life, and the loop */
/* -1 with errno when the system has no room for it. */
int serve_open(struct serve *serve, int control_fd, uint32_t limit);
void serve_close(struct serve *serve);
/* Accepts what comes until it has settled, and no more; it is over when the last peer has gone, or after the grace. */
void serve_stop(struct serve *serve, int64_t grace_ns, int64_t settle_ns);
/* Cuts the peers that are left, and counts them. */
void serve_finish(struct serve *serve);
int serve_turn(struct serve *serve, int64_t linger_ns);

/* peers.c: where peers stand, and how they end */
static inline uint32_t peer_number(const struct serve *serve, const struct peer *peer) {
    return (uint32_t)(peer - serve->slots);
}

static inline int64_t *serve_page(struct serve *serve) { return serve->board.first_page; }

void serve_publish_open(struct serve *serve);
/* Puts it at the end of the list, as the last active one. */
void peer_link_last(struct serve *serve, struct peer *peer);
void peer_move_last(struct serve *serve, struct peer *peer);
static inline void peer_note_active(struct serve *serve, struct peer *peer) {
    if (serve->options.idle_timeout_ns >= 0) peer_move_last(serve, peer);
}
static inline void peer_note_sent(struct peer *peer, size_t length) {
    uint64_t sent = ((uint64_t)peer->sent_high << 32 | peer->sent_low) + length;
    peer->sent_high = (uint16_t)(sent >> 32);
    peer->sent_low = (uint32_t)sent;
}
/* Gives back what it has beside its descriptor. */
void peer_give_back(struct serve *serve, struct peer *peer);
void peer_close(struct serve *serve, struct peer *peer);
/* It failed. A reset is how many peers close, so that alone is no error. */
void peer_lose(struct serve *serve, struct peer *peer, int step, int number);
/* The peer is lost if that fails: no event of it would come any more. */
void peer_watch(struct serve *serve, struct peer *peer, uint32_t events);

/* greeting.c: what they say first */
/* The peer is lost if there is no memory. */
void peer_await_header(struct serve *serve, struct peer *peer);
/* Reads its header, as far as it has come. Returns whether that is whole. */
bool peer_greet(struct serve *serve, struct peer *peer);
/* When the first of them has taken too long; NEVER. */
int64_t greeting_ends(const struct serve *serve);
/* Ends those that took too long. */
void greeting_expire(struct serve *serve, int64_t now);

/* echo.c: what they get */
void peer_on_event(struct serve *serve, uint64_t token, uint32_t events);
/* It has more to read: after the others. */
void peer_read_on_later(struct serve *serve, struct peer *peer);
/* Sends what it is owed, and reads on from it when that is gone. */
void peer_pay(struct serve *serve, struct peer *peer);

/* accepting.c: how they come */
/* Returns a descriptor to be closed when there is no other left; -1 if there is none. */
int serve_take_spare(void);
/* -1 with errno when a listener cannot be watched. */
int serve_watch_listener(struct serve *serve, uint32_t index);
/* A listener has connections: takes some of them in. */
void serve_on_listener(struct serve *serve, uint32_t index);
void serve_wake_listeners(struct serve *serve);
void serve_listen_no_more(struct serve *serve);

#endif
