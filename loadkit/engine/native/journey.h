/* The journey of a message: at which points of its way it is stamped, by whom, and what lies between them.
 *
 * A few connections of a worker's own, probes, carry messages of which the kernel tells when it took and gave them
 * (Documentation/networking/timestamping.rst): write -> the queueing discipline (TX_SCHED) -> the driver (TX) -> the
 * serve end's kernel (RX). There the worker says when it called epoll_wait, when that returned, when it read and when
 * it wrote, and sends it back behind the reply, in a trailer. Then the same on the way home.
 *
 * The kernel's stamps are CLOCK_REALTIME, ours CLOCK_MONOTONIC. A pair of both is read with every message: if their
 * distance has changed meanwhile, somebody set the clock, and the sample is dropped and counted.
 *
 * On the wire: the first message of a probe is a hello of HELLO_BYTES (engine/probes.py). A serve end of loadkit
 * answers with a welcome of the same length, and from then on each message of the size that the hello named comes back
 * with a trailer; or with a refusal, and goes on as an echo. Any other echo sends the hello back as it was, and is
 * never told of trailers.
 */
#ifndef LOADKIT_JOURNEY_H
#define LOADKIT_JOURNEY_H

#include <stdbool.h>
#include <sys/types.h>

#include "board.h"
#include "counting.h"

enum { HELLO_BYTES = 47, HELLO_TEXT_BYTES = 39, TRAILER_BYTES = 56 };
/* A message of a probe; plan/load.py has them too. The least is more than a trailer, so that no reply has twice its
 * bytes. */
enum { LEAST_PROBED_BYTES = 64, MOST_PROBED_BYTES = 16384 };

/* From the hello's text to its end: the size of a message, 32 bits, and 4 bytes of nothing; both little-endian. The
 * welcome has 64 bits there that prove that the serve end is on the same machine, the refusal says why it is one. */
extern const char HELLO_TEXT[HELLO_TEXT_BYTES + 1], WELCOME_TEXT[HELLO_TEXT_BYTES + 1],
    REFUSAL_TEXT[HELLO_TEXT_BYTES + 1];
enum { REFUSED_OFF = 1, REFUSED_FULL };

/* The trailer's words, 64 bits little-endian each. The first TRAILER_TIMES are CLOCK_REALTIME in ns, moved by what only
 * the two ends of this connection can know, and another amount with each message (machine_key.h): a peer elsewhere sees
 * how long things took, and not what time it is. */
enum {
    TRAILER_rx,
    TRAILER_call,
    TRAILER_wakeup,
    TRAILER_read,
    TRAILER_write,
    TRAILER_TIMES,
    TRAILER_flags = TRAILER_TIMES,
    TRAILER_check
};
/* The clock was set meanwhile; the kernel did not say when the message came. */
enum { TRAILER_STEPPED = 1, TRAILER_UNSTAMPED = 2 };
#define TRAILER_MAGIC INT64_C(0x6c6f61646b697401)

/* How far two readings of the distance between the clocks may be apart, beside what their reading took. */
#define STEP_NS 10000

/* What CLOCK_REALTIME is ahead of CLOCK_MONOTONIC, and how long it took to read the two. */
struct distance {
    int64_t ns, width_ns;
};
struct distance clock_distance(void);
bool is_stepped(struct distance before, struct distance after);

/* Receives at most `most` bytes, and the kernel's stamp of the last segment of them (CLOCK_REALTIME; 0: none). */
ssize_t receive_stamped(int fd, void *buffer, size_t most, int64_t *stamp);
/* Has the kernel stamp what comes in. -1 with errno. */
int stamp_received(int fd);

/* Counts the wake-ups that were for probes alone. */
struct apart {
    int64_t return_ns;
    int seen;
};
/* An event of a probe, among those of a wake-up. */
void count_apart(struct apart *apart, int64_t *page, const struct waited *waited);

#endif
