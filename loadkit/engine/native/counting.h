/* What a call of epoll_wait brought, counted into a page of the board: by the compiled engine for its own calls, and by
 * aio/hook.c for libuv's.
 */
#ifndef LOADKIT_COUNTING_H
#define LOADKIT_COUNTING_H

#include <sys/epoll.h>

#include "board.h"

/* A call of epoll_wait, and what it brought. */
struct waited {
    int64_t call_ns, return_ns;
    int count;
};

static inline void count_flags(int64_t *page, const struct epoll_event *events, int count) {
    for (int i = 0; i < count; i++) {
        uint32_t flags = events[i].events;
        page[COUNT_events_in] += (flags & EPOLLIN) != 0;
        page[COUNT_events_out] += (flags & EPOLLOUT) != 0;
        page[COUNT_events_err] += (flags & EPOLLERR) != 0;
        page[COUNT_events_hup] += (flags & EPOLLHUP) != 0;
        page[COUNT_events_rdhup] += (flags & EPOLLRDHUP) != 0;
    }
}

/* Counts a stretch of time, each phase its own part of it: a turn that began before a phase is not all of that phase's,
 * or it would be busy for longer than it lasts. */
static inline void count_span(struct board *board, int counter, int64_t begin, int64_t end) {
    while (begin < end) {
        int64_t *page = board_page(board, begin);
        int64_t until = end < board->page_until ? end : board->page_until;
        page[counter] += until - begin;
        begin = until;
    }
}

/* Counts a call (or a run of calls in vain and the last one) that brought `count` events; its time is counted apart. */
static inline void count_waits(const struct board *board, int64_t *page, int64_t waits,
                               const struct epoll_event *events, int count) {
    page[COUNT_waits] += waits;
    if (count <= 0) return;
    page[COUNT_wakeups]++;
    page[COUNT_events] += count;
    count_flags(page, events, count);
    board_record(board, page, HISTOGRAM_batch, count);
}

#endif
