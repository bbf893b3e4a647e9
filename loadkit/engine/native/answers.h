/* The serve end of probes: their messages are echoed with a trailer that says when they came, were read and went.
 *
 * A peer may be hostile, so probes are few, and each is held to what a blast end does:
 *   - only of peers that probes are for, MOST_ANSWERS of them per worker;
 *   - a message has LEAST_PROBED_BYTES, so what comes back is less than twice what was sent;
 *   - one message is answered per event: a probe has its turn among the others, and no more;
 *   - 100 messages a second (a blast end sends 50), and what it did not send in the last minute beside: one that
 *     stood still catches up;
 *   - it sends something every half minute, as a blast end does that waits for its traffic to begin (probes.h).
 */
#ifndef LOADKIT_ANSWERS_H
#define LOADKIT_ANSWERS_H

#include "journey.h"
#include "machine_key.h"

enum { MOST_ANSWERS = 256 };
#define ANSWER_PERIOD_NS (NS_PER_S / 100)
#define ANSWERS_SAVED_NS (60 * NS_PER_S)
#define ANSWERS_SAVED_AT_FIRST_NS NS_PER_S
#define ANSWER_IDLE_NS (30 * NS_PER_S)

/* Whose probes are answered: ProbePeers of profile/serve.py, in its order. */
#define PROBE_PEER_NAMES(X) X(loopback) X(all) X(none)
#define AS_PROBE_PEER(name) PROBES_OF_##name,
enum probe_peers { PROBE_PEER_NAMES(AS_PROBE_PEER) PROBE_PEERS };

struct answer {
    int fd;
    uint32_t size, got;
    int64_t active_ns; /* when it last sent something */
    int64_t paid_ns;   /* each message costs a period; one that is paid for later than now came too soon */
    uint64_t number;   /* of the last message, from 1 */
    struct key key;
    struct distance distance;
    unsigned char *buffer;
};

struct answers {
    enum probe_peers peers;
    struct key machine;
    struct apart apart;
    int64_t idle_ns; /* one that sent nothing for so long is ended */
    int64_t look_ns; /* when the next of them may have been idle for too long; NEVER: there are none */
    uint32_t count;
    struct answer *all[MOST_ANSWERS];
};

/* `idle_ns`: the serve end's own idle time-out, which holds where it is shorter; -1: none. */
void answers_open(struct answers *answers, enum probe_peers peers, struct key machine, int64_t idle_ns);
/* Whether so many bytes, HELLO_BYTES, are a hello. */
bool has_hello(const unsigned char *bytes);
/* Whether these bytes are a hello; that nearly all are not is seen by their length. */
static inline bool is_hello(const unsigned char *bytes, size_t length) {
    return length == HELLO_BYTES && has_hello(bytes);
}
/* Welcomes a hello. NULL: it is not taken, and `hello` is now what to send back: that this peer's probes are refused,
 * or the hello itself where they cannot be stamped. */
struct answer *answers_greet(struct answers *answers, int fd, unsigned char *hello);
/* Does not close the file descriptor. */
void answers_drop(struct answers *answers, struct answer *answer);
/* Something came; -1: the peer is gone, or did not keep to the rules. */
int answer_receive(struct answer *answer, const struct waited *waited);
/* Shuts those down that are idle: the next event says that they are gone. Due at `look_ns`. */
void answers_end_idle(struct answers *answers, int64_t now);

#endif
