/* The blast end's worker: a shard's connections, its schedule and what is under way.
 *
 *     ramp -> traffic -> drain -> done          the worker (enum stage)
 *
 *     FREE -> CONNECTING -> OPEN -> FREE        a connection (enum state)
 *                |    |      |-> RETIRING -> FREE      past its lifetime: closes with its last reply
 *                |    |      |-> BROKEN -> FREE        failed; until the end of the event that found it out
 *                |    \-> HANDSHAKING -> OPEN, BROKEN  where something is said before the first message (setup.c)
 *                \-> FREE
 *
 * Everything that is due at a time (connects, messages, phases, deadlines, retries) is on one time line; the timerfd
 * wakes us for whatever comes first. Between events we look at it again, so that a large batch delays no message.
 *
 * Memory. Connections are slots of one array, reserved as address space for as many as there can be file descriptors
 * and touched only as far as used; a slot is addressed by its number, and its generation tells its tenants apart.
 * Messages without a reply are a ring of `depth` entries a slot in a second such array. Messages that wait for room on
 * their connection are nodes of one pool of MOST_WAITING; beyond that they stay in the schedule, which needs no memory.
 * What is sent is a stream that needs no memory (script.h): a connection remembers how many bytes it owes and how many
 * the socket took, so a partial write is continued from there. If connections begin in several places of the stream, or
 * if anything is fresh in messages, there is a third array (struct origin). One buffer receives for all. Nothing else
 * is allocated, and nothing per message.
 *
 * Time. Each reading of the clock is compared with the one before: a gap of more than STANDSTILL_NS between two of
 * them, or a wait that is that much longer than asked, is a standstill of ours (standstills.h), not the target's doing.
 * Deadlines are judged after the sockets have been read, so a reply that was there in time is no time-out.
 *
 * A send that fails in the middle of other work only marks its connection BROKEN; `blast_mend` counts and closes the
 * broken ones, and gives what they held to others, once nothing points at them any more.
 */
#ifndef LOADKIT_BLAST_H
#define LOADKIT_BLAST_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "board.h"
#include "deadlines.h"
#include "line.h"
#include "pauses.h"
#include "ring.h"
#include "poller.h"
#include "probes.h"
#include "rows.h"
#include "settings.h"
#include "schedule.h"
#include "script.h"
#include "looks.h"
#include "standstills.h"
#include "stamps.h"
#include "tcp_watch.h"
#include "turns.h"
#include "wire.h"

/* Due events handled before replies are read again; and connections filled. */
enum { ROUND = 128 };
/* Messages that may wait for room on their connections: 1 MiB of nodes. */
enum { MOST_WAITING = 1 << 16 };
/* A wait is not longer than this, so that a standstill is seen where nothing else is due. */
#define BEAT_NS INT64_C(100000000)
/* A message of a phase that has ended goes out all the same if we come to it no later than this. */
#define EDGE_NS INT64_C(10000000)
/* The `intended` of a message that no schedule wanted: the first one of a connection, in an open loop. */
#define OPENING INT64_MIN
/* One read. Larger reads save system calls on bulk transfers; the buffer should stay in the second-level cache. */
enum { READ_BYTES = 256 * 1024 };
/* Messages with anything fresh in them are written so many bytes at a time. */
enum { WRITE_BYTES = 256 * 1024 };
/* Reads of one connection in one turn when edge-triggered (level-triggered has one, and epoll comes back to it). */
enum { READS_A_TURN = 16 };
/* What is kept of the bytes that came on the run's first connection. */
enum { CAME_BYTES = 128 };

enum stage { STAGE_RAMP, STAGE_TRAFFIC, STAGE_DRAIN, STAGE_DONE };
/* Those before OPEN take no messages. */
enum state { FREE, CONNECTING, HANDSHAKING, OPEN, RETIRING, BROKEN };
enum interest { UNWATCHED, CONNECTS, READS, READS_AND_WRITES, ALL_EDGES };

struct connection {
    int64_t due_ns;         /* when its connect was */
    int64_t established_ns; /* while CONNECTING: when the connect began; while OPEN: since when it is */
    int64_t owed, written;  /* bytes of the stream: of all messages so far, and those that the socket took */
    int64_t received;
    int64_t into;     /* bytes of the reply that is under way */
    int64_t timer_ns; /* its entry among the deadlines that counts; 0: none */
    int32_t fd;
    uint32_t generation; /* of the slot */
    uint32_t place;      /* in `live`, or NONE */
    uint32_t route;
    uint32_t link; /* the next free, or the next broken slot */
    uint32_t held_first, held_last;
    uint32_t pending_first, pending_count;
    int16_t failure; /* while BROKEN: errno or an OWN_ number */
    uint8_t step;    /* … and the step it happened in; while HANDSHAKING: that of the set-up */
    uint8_t state, broke_from;
    uint8_t interest;   /* what epoll watches it for: enum interest */
    bool first;         /* one of those that the ramp opens, and not settled yet */
    bool is_opening;    /* a schedule asked for it, and its first reply is not there yet */
    bool is_ready;      /* it is among those to read on from */
    bool has_successor; /* churn: another one is opened when this one ends */
    bool is_watched;    /* its TCP_INFO was read when the measured time began */
    bool is_pausing;    /* it has an entry among the pauses that counts */
};

struct message {
    int64_t intended, taken, sent; /* taken: when we came to it, or could have (looks.h) */
};

/* A source of family AF_UNSPEC: the kernel's choice. The local port comes from port_low to port_high (0: the kernel's
 * own range and search); where we choose it, next_port is the next one to try. may_meet_itself: it can be the
 * destination's own, itself.h. */
#define ROUTE_ROWS(X)                                                                                             \
    X(address, source, 0, 0) X(address, destination, 1, 0) X(integer, connections, 0, INT64_MAX)                  \
    X(integer, port_low, 0, UINT16_MAX) X(integer, port_high, 0, UINT16_MAX) X(integer, next_port, 0, UINT16_MAX) \
    X(flag, may_meet_itself, 0, 1)
struct route {
    ROUTE_ROWS(AS_FIELD)
};
static inline bool is_unix(const struct route *route) { return route->destination.ss_family == AF_UNIX; }

/* start_hz, change_hz_per_s and total are its pace's (schedule.h); fewer: connections of ours to retire at its
 * beginning. */
#define PHASE_ROWS(X)                                                                                   \
    X(integer, duration_ns, 0, INT64_MAX) X(integer, connections, 0, INT64_MAX) X(flag, is_drain, 0, 1) \
    X(flag, is_paced, 0, 1) X(flag, is_measured, 0, 1) X(real, start_hz, 0, INT64_MAX)                  \
    X(real, change_hz_per_s, INT64_MIN, INT64_MAX) X(integer, total, 0, INT64_MAX) X(integer, fewer, 0, INT64_MAX)
struct phase {
    PHASE_ROWS(AS_FIELD)
};

/* Of a connection, if the script has several places to begin, or anything fresh: where it begins, and what is fresh in
 * its last messages (struct fresh). */
struct origin {
    int64_t position, conn, first_n, now_ns;
};

struct node { /* a message that waits */
    int64_t intended;
    uint32_t next;
};

struct queue {
    uint32_t first, last;
};

struct retry {
    int64_t at_ns;
    uint32_t route;
};

/* lifetime_ns, messages: -1 is none. opening: of those that a schedule asks for, so many may be without their first
 * reply. awake_ns: before something is due we do not sleep any more. keepalive_s: 0 is none. is_endless: the last of
 * the messages ends the run, and no duration does. connects_in_a_loop: a connect of the ramp is due when there is room
 * for it, and no rate says when. chooses_ports: the kernel has no IP_LOCAL_PORT_RANGE. proxy_version: of the PROXY
 * header that goes first on each connection; 0: none. most_slots: no more connections than that are open at once. */
#define BLAST_ROWS(X)                                                                                            \
    X(integer, lifetime_ns, -1, LONGEST_NS) X(integer, timeout_ns, 0, LONGEST_NS) \
    X(integer, connect_timeout_ns, 0, LONGEST_NS) X(integer, held_ns, 0, LONGEST_NS)                             \
    X(integer, messages, -1, INT64_MAX) X(count, depth, 1, UINT32_MAX) X(integer, index, 0, INT64_MAX)           \
    X(integer, of, 1, INT64_MAX) X(integer, opening, 1, INT64_MAX) X(integer, awake_ns, 0, NS_PER_S)             \
    X(integer, keepalive_s, 0, INT16_MAX) X(flag, is_endless, 0, 1) X(flag, is_timed, 0, 1)                  \
    X(flag, is_checked, 0, 1) X(flag, closes_by_rst, 0, 1) X(flag, connects_in_a_loop, 0, 1)                     \
    X(flag, is_edge_triggered, 0, 1) X(flag, chooses_ports, 0, 1) X(flag, reads_stamps, 0, 1)                    \
    X(integer, proxy_version, 0, 2) X(integer, port, 0, UINT16_MAX) \
    X(integer, most_slots, 1, INT64_MAX) \
    X(flag, is_random, 0, 1) X(integer, seed, 0, INT64_MAX)
struct options {
    BLAST_ROWS(AS_FIELD)
};

/* A step of what is said before the first message: bytes to send, and the rule of what comes back, if anything; what
 * has to be in it is a part of that. */
struct setup_step {
    unsigned char *bytes;
    size_t length;
    struct rule rule;
    bool is_answered;
};
enum { MOST_STEPS = 64 };
struct setup {
    struct setup_step *steps;
    uint32_t count;
};

/* The run's first connection: its first reply says whether the target is what it is taken for. */
struct first {
    bool is_due;                   /* the next connection that begins is it */
    struct connection *connection; /* NULL: not begun yet, or its first reply has come, or it has failed */
    uint32_t came_length;
    unsigned char came[CAME_BYTES]; /* the beginning of what came on it, until then */
};

struct blast {
    struct board board;
    struct poller poller;
    struct script script;
    struct rule rule;
    struct setup setup;
    struct prober prober;
    struct stamper stamper;
    struct settings settings;
    struct tcp_watch tcp_watch;
    struct options options;
    enum stage stage;
    int phase, phases;
    struct phase *phase_plans;
    int last_opening; /* the last phase that opens connections */
    struct route *routes;
    uint32_t route_count, route_now;
    int64_t route_left;

    struct connection *slots;
    struct message *pending; /* ring of depth a slot */
    struct progress *progress; /* of replies, for each slot; NULL: an echo without a set-up needs none */
    struct origin *origins; /* for each slot; NULL: all begin alike, and nothing is fresh */
    size_t origins_bytes;
    int64_t one_size; /* of every message, if nothing is fresh in it; else 0 */
    int64_t plain_size; /* the same, if connections have no origin either */
    bool is_plain;      /* they have neither an origin nor progress */
    bool sends_at_once; /* nothing is said before the first message */
    int64_t begun, noted; /* connections and messages, where there are origins */
    int64_t wall_ns; /* from the clock to the time of day */
    unsigned char *outgoing; /* where messages are written, if anything is fresh in them */
    uint32_t slot_count, slot_limit, used_count, free_slot, broken_slot; /* used: not free */
    size_t slots_bytes, pending_bytes, progress_bytes;
    uint32_t *live; /* the open connections that messages are spread over */
    uint32_t live_count, sampled; /* the second: the place of the one that was last looked at */
    size_t live_bytes;
    const int64_t *before; /* the state of the worker whose connects come before ours on this core; NULL: none */
    int64_t before_connects, look_ns; /* how many it has; when to look at it again */
    int64_t grain_ns; /* time-outs are looked at this far apart */
    int64_t retiring_count, pending_count, waiting_count, opening_count; /* waiting: for room, or for a connection */
    uint64_t turn;     /* whose turn it is */
    uint32_t fill_at, fill_end; /* closed loop beginning: live connections still to start */

    struct node *nodes;
    uint32_t node_count, node_capacity, free_node;
    /* Messages for any connection that has room: those due while churn has none open, and those that waited on
     * connections that are over. Each comes here once at most, so an end costs no more where many wait. */
    struct queue waiting;
    uint32_t orphaned;     /* those that came since it was last tried to send them */
    struct retry *retries;
    struct ring retry_ring;
    struct line line; /* connections that a UNIX listener's full queue has no room for */
    uint64_t *ready; /* tokens of connections that had more than a turn's reads (edge-triggered) */
    size_t ready_count, ready_capacity;

    struct first first;
    bool is_started; /* we know when the connects of the ramp begin */
    struct schedule connects, due;
    struct arrivals arrivals; /* of the messages that are due, if they are random */
    struct pauses pauses;     /* what is due after one comes by `due.next_ns` too: such a run has no schedule */
    struct deadlines deadlines;
    int64_t next_phase_ns, drain_from_ns, drain_until_ns, held_until_ns;
    int64_t read_ns; /* the clock at the last read: what falls due within a batch is done within it */
    int64_t seen_ns; /* the last reading of the clock */
    int64_t left_ns; /* when the last turn ended */
    int64_t alone_ns; /* since when no connection is open, where none is */
    struct looks looks;
    struct standstills standstills;
    bool is_full;           /* no connection has room, and as many wait as may: the rest stays in the schedule */
    bool is_spent;          /* the last of --messages has been taken */
    bool is_counting;       /* --messages counts those of this phase */
    bool is_measured;       /* so is the phase */
    bool has_measured;      /* and so it is, or one before it was */
    int64_t check_ns;       /* within a batch: when something is due before the next wait; 0: find out */
    bool is_sending;        /* a closed loop follows each reply with the next message */
    bool is_pausing;        /* … or with a pause before it */
    bool has_enough;        /* no schedule opens any more connections */
    bool is_out_of_memory;
    int64_t budget;         /* messages that may still be begun */
    int turn_says;
    unsigned char *buffer;
};

/* The files, from the lowest to the highest. A lower one calls none above it: it returns what came of its work, and who
 * called it decides what follows. So no phase begins, and no connection ends, in the middle of other work. */

/* standstills.c */
/* Notes a reading of the clock; a long gap since the last one is a standstill. */
void blast_stood(struct blast *blast, int64_t from, int64_t until, bool is_in_turn);
static inline void blast_see(struct blast *blast, int64_t now) {
    if (now - blast->seen_ns > STANDSTILL_NS) blast_stood(blast, blast->seen_ns, now, true);
    blast->seen_ns = now;
}
static inline int64_t earlier(int64_t one, int64_t other) { return one < other ? one : other; }
/* Open connections that have had a reply: for the parent, up to the window's start. It may look later than that, and a
 * short window is over by then. */
static inline void blast_count_answered(struct blast *blast, int change) {
    if (!blast->has_measured) blast->board.state[STATE_answered] += change;
}
/* Whether nothing new begins any more, except messages that still wait for a connection to open. */
static inline bool is_ending(const struct blast *blast) {
    return blast->stage >= STAGE_DRAIN || (blast->is_spent && !blast->waiting_count);
}

/* slots.c: where connections stand */
int slots_open(struct blast *blast, uint32_t limit);
void slots_close(struct blast *blast);
/* NULL: there is none left. */
struct connection *slot_take(struct blast *blast);
void slot_free(struct blast *blast, struct connection *connection);
static inline uint32_t slot_number(const struct blast *blast, const struct connection *connection) {
    return (uint32_t)(connection - blast->slots);
}
/* Whether it is established, and not over. */
static inline bool is_live(const struct connection *connection) {
    return connection->state == OPEN || connection->state == RETIRING;
}
/* Marks it as broken; blast_mend does the rest. */
void connection_fail(struct blast *blast, struct connection *connection, int step, int number);
/* Its first reply has come, or it has ended without. */
void connection_note_settled(struct blast *blast, struct connection *connection);
static inline void connection_settle(struct blast *blast, struct connection *connection) {
    if (connection->is_opening || connection->first) connection_note_settled(blast, connection);
}
/* The first reply of a connection is right, or it failed. Does nothing unless it is the run's first connection. */
void connection_prove(struct blast *blast, struct connection *connection, int proof);
/* Keeps what came on the run's first connection. */
void connection_keep(struct blast *blast, const unsigned char *bytes, size_t length);
/* Whether its connect has not begun, because the listener's queue is full: epoll has nothing to say of it. */
static inline bool is_in_line(const struct connection *connection) {
    return connection->state == CONNECTING && connection->interest == UNWATCHED;
}
void connection_push_deadline(struct blast *blast, struct connection *connection, int64_t at);
static inline void connection_need_deadline(struct blast *blast, struct connection *connection, int64_t at) {
    if (!connection->timer_ns || connection->timer_ns > at) connection_push_deadline(blast, connection, at);
}
/* When a time-out that ends at `at` is checked: a little later, together with others. Else a worker with many idle
 * connections would wake up for each of them alone, once per time-out. */
static inline int64_t look_at_timeout(const struct blast *blast, int64_t at) {
    return at + blast->grain_ns - 1 - (at + blast->grain_ns - 1) % blast->grain_ns;
}
void connection_change_watch(struct blast *blast, struct connection *connection, enum interest interest);
static inline void connection_watch(struct blast *blast, struct connection *connection, enum interest interest) {
    /* Edge-triggered it is watched for everything from the beginning, and never changed. */
    if (blast->options.is_edge_triggered) interest = ALL_EDGES;
    if (connection->interest != interest) connection_change_watch(blast, connection, interest);
}

/* origins.c: where they begin, and what is fresh in what they send */
int origins_open(struct blast *blast, uint32_t limit);
void origins_close(struct blast *blast);
void origin_begin(struct blast *blast, const struct connection *connection);
static inline int64_t origin_of(const struct blast *blast, const struct connection *connection) {
    return blast->origins ? blast->origins[slot_number(blast, connection)].position : 0;
}
/* So many messages are sent. Returns how long they are. */
int64_t origin_note(struct blast *blast, const struct connection *connection, int64_t sent, uint32_t count);
/* What is to be written next, as far as it is there in one piece. */
const unsigned char *origin_bytes(struct blast *blast, const struct connection *connection, int64_t wanted,
                                  size_t *length);
static inline const unsigned char *stream_bytes(struct blast *blast, const struct connection *connection,
                                                int64_t wanted, size_t *length) {
    if (__builtin_expect(blast->origins != NULL, 0)) return origin_bytes(blast, connection, wanted, length);
    return script_at(&blast->script, connection->written, wanted, length);
}
/* The same of its first message, which is not noted yet: it will be, as sent at that time, or it is not sent. */
const unsigned char *origin_first_bytes(struct blast *blast, const struct connection *connection, int64_t sent,
                                        size_t *length);
static inline const unsigned char *first_bytes(struct blast *blast, const struct connection *connection, int64_t sent,
                                               size_t *length) {
    if (__builtin_expect(blast->origins != NULL, 0)) return origin_first_bytes(blast, connection, sent, length);
    return script_at(&blast->script, 0, script_length(&blast->script, 0), length);
}

/* sockets.c: what they are made of */
uint32_t next_route(struct blast *blast);
/* Returns a socket along a route; -1 with errno. */
int socket_make(const struct blast *blast, struct route *route);
/* Connects the socket, or another one in its place; 0, or -1 with errno. */
int socket_connect(const struct blast *blast, struct route *route, int *fd);

/* pauses.c: closed loops that think */
/* The connection pauses from `from` on, if it does not yet. The first pause is the rest of one that is under way, as if
 * this had gone on for ever: so connections do not go in step. */
void pauses_begin(struct blast *blast, struct connection *connection, int64_t from, bool is_first);
/* Takes out the first pause, which is over. Returns its connection; NULL if that has ended meanwhile. */
struct connection *pauses_take(struct blast *blast, int64_t *intended);
/* Drops what ends after `until`; NEVER - 1 keeps all that counts. */
void pauses_cut(struct blast *blast, int64_t until);
/* Drops all. What ends by `until` was due: it is counted, and unsent. */
void pauses_drop(struct blast *blast, int64_t until);

/* messages.c: what goes out */
static inline bool has_room(const struct blast *blast, const struct connection *connection) {
    return connection->state == OPEN && connection->pending_count < blast->options.depth &&
           connection->written == connection->owed;
}
static inline struct message *ring_of(const struct blast *blast, const struct connection *connection) {
    return &blast->pending[(size_t)slot_number(blast, connection) * blast->options.depth];
}
/* Where message number `i` of those without a reply is in the ring. */
static inline uint32_t pending_place(const struct blast *blast, const struct connection *connection, uint32_t i) {
    uint32_t place = connection->pending_first + i;
    return place < blast->options.depth ? place : place - blast->options.depth;
}
static inline struct message *pending_at(const struct blast *blast, const struct connection *connection, uint32_t i) {
    return &ring_of(blast, connection)[pending_place(blast, connection, i)];
}
/* Takes messages off what may be sent; with the last one's reply the drain begins. */
void messages_spend(struct blast *blast, int64_t count);
/* Notes `count` messages as sent; their times are the same for all. */
void messages_note(struct blast *blast, struct connection *connection, struct message message, uint32_t count);
/* Writes what is owed, as far as the socket takes it. */
void messages_write(struct blast *blast, struct connection *connection);
/* Sends what waits, the older first, or in a closed loop the next messages, while there is room. */
void messages_fill(struct blast *blast, struct connection *connection, int64_t now);
/* Sends what waited on connections that are over, as far as others have room; counts it as unsent if none is to come.
 */
void messages_give_orphans(struct blast *blast);
/* Takes the next message out of the schedule. Returns false if there is no place for it, and it stays there. */
bool messages_take_due(struct blast *blast);
/* Has everything that waits on a connection wait for any. */
void messages_orphan(struct blast *blast, struct connection *connection);
/* Counts as unsent what waits, and what the schedule has left. */
void messages_drop_due(struct blast *blast);
void queue_push(struct blast *blast, struct queue *queue, int64_t intended);
int64_t queue_pop(struct blast *blast, struct queue *queue);

/* replies.c: what comes in */
/* What one read brought: so many bytes, which ended so many replies. 0 bytes: there is nothing to go on with. */
struct came {
    size_t length;
    uint32_t replies;
};
struct came replies_read(struct blast *blast, struct connection *connection);
/* The reply that is under way has ended, and no byte has said so: its last one came at `at`. Returns how many replies
 * to go on after. */
uint32_t replies_end(struct blast *blast, struct connection *connection, int64_t at);

/* setup.c: what is said before the first message */
void setup_close(struct setup *setup);
/* A connection is established. Returns whether its set-up is done: nothing in it waits. */
bool setup_begin(struct blast *blast, struct connection *connection, int64_t at);
/* There is room for what is left of a step. Returns whether the set-up is done. */
bool setup_write(struct blast *blast, struct connection *connection);
/* Returns how many bytes have come; `*is_done` becomes true if they end the set-up. */
size_t setup_read(struct blast *blast, struct connection *connection, bool *is_done);
/* It begins anew, with its first message. */
void setup_end(struct blast *blast, struct connection *connection);

/* connections.c: their lives */
/* `is_scheduled`: it is on a schedule, and counts as opening until its first reply. Else it replaces one that ended. */
void connection_begin(struct blast *blast, int64_t due, uint32_t route, bool is_scheduled);
/* It is established since `at`. */
void connection_established(struct blast *blast, struct connection *connection, int64_t at);
/* Its set-up is done since `at`. */
void connection_shaken(struct blast *blast, struct connection *connection, int64_t at);
/* Connects those that stand in line, as far as there is room by now. */
void connections_leave_line(struct blast *blast, int64_t now);
/* Its connect or its set-up has failed, or has been given up. */
void connection_not_opened(struct blast *blast, struct connection *connection, int step, int number);
/* Whole replies have come, or the closed loop begins: goes on, retires, or stops. */
void connection_go_on(struct blast *blast, struct connection *connection, int64_t now, bool is_own_event);
/* Its time is over: it closes once its replies have come. */
void connection_retire(struct blast *blast, struct connection *connection, int64_t due, bool reopens);
void connection_finish(struct blast *blast, struct connection *connection, int64_t now);
/* A phase has begun without our knowing: moves what is under way and belongs to it there, from the ramp. */
void connections_move_to_phase(struct blast *blast, int64_t began);
void blast_mend_broken(struct blast *blast);
static inline void blast_mend(struct blast *blast) {
    if (blast->broken_slot != NONE || blast->orphaned) blast_mend_broken(blast);
}

/* phases.c: the time line */
/* The ramp ends at `at`, and the phases follow one another. */
void blast_begin_phases(struct blast *blast, int64_t at);
/* Enters the phases that have begun by now. */
void blast_enter_due_phases(struct blast *blast, int64_t now);
static inline void blast_enter_phases(struct blast *blast, int64_t now) {
    if (blast->next_phase_ns <= now) blast_enter_due_phases(blast, now);
}
/* Begins the drain if the last of --messages has its reply, or if there is no connection, and none to come. */
void blast_end_traffic(struct blast *blast);
/* Waits for replies for `longest_ns`. Messages that are due and wait for room may go out for `held_ns`. */
void blast_begin_drain(struct blast *blast, int64_t longest_ns, int64_t held_ns);
/* Whether the drain waits for nothing any more. */
bool blast_is_drained(const struct blast *blast);
/* When the drain ends at the latest. It is longer by what the worker stood still: no reply could be read then. */
int64_t blast_drain_end(const struct blast *blast);
/* Counts what was left unanswered and closes everything. */
void blast_finish(struct blast *blast);

/* events.c: what epoll reports of them */
void connection_on_event(struct blast *blast, uint64_t token, uint32_t events);

/* overdue.c: when their time is over */
void connection_on_deadline(struct blast *blast, struct deadline deadline, int64_t now);

/* blast.c: its life, and the loop */
int blast_open(struct blast *blast, int control_fd);
void blast_close(struct blast *blast);
/* Samples TCP_INFO of up to `most` connections, different ones each time. */
void blast_look_at_tcp(struct blast *blast, uint32_t most);
/* Opens the run's first connection at `at`. */
void blast_open_first(struct blast *blast, int64_t at);
/* Begins the connects of the ramp: `connect_hz` per second over all workers, of which the turn's are this worker's. */
void blast_start(struct blast *blast, int64_t start, double connect_hz, struct turn turn);
/* The connects of the ramp wait until the worker with `state` has settled `connects` of its own. */
void blast_start_after(struct blast *blast, const int64_t *state, int64_t connects);
/* Works for `linger_ns`, or until something has to be said; returns TURN_ flags. */
int blast_turn(struct blast *blast, int64_t linger_ns);

#endif
