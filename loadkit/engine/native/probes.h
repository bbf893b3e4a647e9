/* The blast end's probes: connections that carry one message at a time, each of which is stamped all along its way.
 *
 *     IDLE -> UNDER_WAY -> IDLE        a probe; it sends when a message is due, or when the reply of the former is in
 *        \-------\-----> LOST
 *
 * Each has a schedule of its own: messages are due on average every period, at random within half a period around it,
 * so that they fall in step with nothing. It goes on while a reply is waited for: what was due meanwhile is late, and
 * says so.
 *
 * Until the traffic begins a probe sends a message every PROBE_AWAKE_NS, which is not measured: a serve end of loadkit
 * closes probes that are idle (ANSWER_IDLE_NS of answers.h).
 */
#ifndef LOADKIT_PROBES_H
#define LOADKIT_PROBES_H

#include "journey.h"
#include "machine_key.h"

enum { MOST_PROBES = 64 };
#define PROBE_AWAKE_NS (5 * NS_PER_S)
enum probe_state { PROBE_IDLE, PROBE_UNDER_WAY, PROBE_LOST };
/* Who answers: a serve end on this machine, one with another clock, or any echo. */
#define PEER_KIND_NAMES(X) X(same_clock) X(other_clock) X(foreign)
#define AS_PEER_KIND(name) PEER_##name,
enum peer_kind { PEER_KIND_NAMES(AS_PEER_KIND) PEER_KINDS };

enum point {
    POINT_due,
    POINT_free, /* when the reply to the message before was in, if that was later */
    POINT_write,
    POINT_sched,
    POINT_tx,
    POINT_serve_rx,
    POINT_serve_call,
    POINT_serve_wakeup,
    POINT_serve_read,
    POINT_serve_write,
    POINT_rx,
    POINT_call,
    POINT_wakeup,
    POINT_read,
    POINT_resumed,
    POINTS
};

struct probe {
    int fd;
    enum probe_state state;
    enum peer_kind peer;
    size_t got;
    uint32_t sent_bytes; /* since stamps were asked for; the kernel counts them the same way */
    int64_t free_ns;     /* since when it has nothing under way */
    int64_t next_ns;     /* when its next message is due */
    int64_t *page;       /* of the message under way; NULL: it is not measured */
    struct key key;      /* with PEER_same_clock */
    uint64_t number;     /* of its messages so far */
    struct distance distance; /* when it was sent */
    int64_t points[POINTS];   /* monotonic; those of the kernel and of the serve end realtime until it is whole */
};

struct prober {
    struct board *board;
    struct probe probes[MOST_PROBES];
    int count;
    size_t size;
    int64_t period_ns;
    bool has_traffic; /* between prober_start and the end */
    struct key machine;
    uint64_t random;
    struct apart apart;
    unsigned char *message, *reply;
};

/* -1 with errno: for want of memory, or of a kernel that stamps. */
int prober_open(struct prober *prober, struct board *board, size_t size, int64_t period_ns, struct key machine);
/* Takes the file descriptor over, unless it fails. */
int prober_add(struct prober *prober, int fd, enum peer_kind peer);
void prober_close(struct prober *prober);
/* Messages are due from that time on. */
void prober_start(struct prober *prober, int64_t at);
/* Nothing is due any more; replies are still taken. */
void prober_stop(struct prober *prober);
/* When the next message is due that can be sent then; NEVER: none is. */
int64_t prober_next(const struct prober *prober);
/* Sends what is due. */
void prober_send_due(struct prober *prober, int64_t now);
/* Something came for a probe; `waited` is the call that said so. */
void prober_receive(struct prober *prober, int index, const struct waited *waited);

#endif
