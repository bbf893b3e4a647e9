/* How long bytes lay in a socket's receive buffer until they were read: of one read in STAMP_EVERY, for reading a stamp
 * costs more than reading the bytes. */
#ifndef LOADKIT_STAMPS_H
#define LOADKIT_STAMPS_H

#include <sys/socket.h>

#include "journey.h"

enum { STAMP_EVERY = 16 };

struct stamper {
    bool is_on;
    uint32_t reads;
    struct distance distance; /* at the stamp before */
};

static inline bool stamper_is_due(struct stamper *stamper) {
    return stamper->is_on && ++stamper->reads % STAMP_EVERY == 0;
}

/* Notes a read that began then (monotonic) of what the kernel stamped (CLOCK_REALTIME; 0: it did not). */
static inline void stamper_note(struct stamper *stamper, const struct board *board, int64_t *page, int64_t begin,
                                int64_t stamp) {
    if (!stamp) return;
    struct distance now = clock_distance();
    bool is_comparable = stamper->distance.width_ns && !is_stepped(stamper->distance, now);
    stamper->distance = now;
    int64_t waited = begin - (stamp - now.ns);
    if (is_comparable && waited > -STEP_NS)
        board_record(board, page, HISTOGRAM_unread, waited > 0 ? waited : 0);
    else
        page[COUNT_stamps_stepped]++;
}

/* Out of line, as what has a variable's address guards its stack (-fstack-protector-strong): the others need not. */
static __attribute__((noinline, unused)) ssize_t stamper_receive_noted(struct stamper *stamper, struct board *board,
                                                                       int fd, void *buffer, size_t most) {
    int64_t begin = clock_ns(), stamp;
    ssize_t length = receive_stamped(fd, buffer, most, &stamp);
    if (length > 0) stamper_note(stamper, board, board_page(board, begin), begin, stamp);
    return length;
}

/* recv(2), and now and then the note of it. */
static inline ssize_t stamper_receive(struct stamper *stamper, struct board *board, int fd, void *buffer, size_t most) {
    return stamper_is_due(stamper) ? stamper_receive_noted(stamper, board, fd, buffer, most)
                                   : recv(fd, buffer, most, 0);
}

static inline void stamper_open(struct stamper *stamper, bool is_on) {
    *stamper = (struct stamper){.is_on = is_on, .distance = clock_distance()};
}

#endif
