#include "poller.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

int poller_open(struct poller *poller, struct board *board, int control_fd) {
    poller->board = board;
    poller->armed_ns = NEVER;
    poller->last = (struct waited){0, 0, 0};
    poller->paused_ns = 0;
    poller->timer_fd = -1;
    poller->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (poller->epoll_fd < 0) return -1;
    poller->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (poller->timer_fd < 0 || poller_add(poller, poller->timer_fd, EPOLLIN, token_of(KIND_TIMER, 0, 0)) ||
        poller_add(poller, control_fd, EPOLLIN, token_of(KIND_CONTROL, 0, 0))) {
        int number = errno;
        poller_close(poller);
        errno = number;
        return -1;
    }
    return 0;
}

void poller_close(struct poller *poller) {
    if (poller->timer_fd >= 0) close(poller->timer_fd);
    if (poller->epoll_fd >= 0) close(poller->epoll_fd);
    poller->timer_fd = poller->epoll_fd = -1;
}

int poller_add(struct poller *poller, int fd, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = events, .data.u64 = token};
    return epoll_ctl(poller->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

int poller_change(struct poller *poller, int fd, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = events, .data.u64 = token};
    return epoll_ctl(poller->epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

void poller_arm(struct poller *poller, int64_t at) {
    if (at == poller->armed_ns) return;
    struct itimerspec spec = {{0, 0}, {0, 0}};
    if (at < NEVER) {
        int64_t from = at > 1 ? at : 1; /* zero would disarm */
        spec.it_value.tv_sec = from / NS_PER_S;
        spec.it_value.tv_nsec = from % NS_PER_S;
    }
    /* Setting it anew also takes back an expiry that was not read, so it is never read. */
    timerfd_settime(poller->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
    poller->armed_ns = at;
}

/* The thread was busy since the last call returned. */
static void count_busy(struct poller *poller, int64_t until) {
    int64_t from = poller->last.return_ns;
    if (!from) return;
    count_span(poller->board, COUNT_busy_ns, from, until);
    board_record(poller->board, board_page(poller->board, until), HISTOGRAM_busy, until - from);
}

/* Counts a call of epoll_wait from `begin` to `end`, or a run of calls in vain and the last one. */
static void count(struct poller *poller, int64_t begin, int64_t end, int64_t waits, int count) {
    poller->begin_ns = begin;
    count_busy(poller, begin);
    count_span(poller->board, COUNT_blocked_ns, begin, end);
    /* While the asyncio loop has the thread it waits, in an epoll_wait of its own, for ours to be readable. */
    poller->last = (struct waited){poller->paused_ns ? poller->paused_ns : begin, end, count};
    poller->paused_ns = 0;
    count_waits(poller->board, board_page(poller->board, end), waits, poller->events, count);
}

int poller_wait(struct poller *poller, int64_t until) {
    int64_t begin = clock_ns();
    int64_t left = until - begin;
    int timeout = left <= 0 ? 0 : (int)((left + 999999) / 1000000);
    int events = epoll_wait(poller->epoll_fd, poller->events, BATCH, timeout);
    if (events < 0) events = 0; /* EINTR: nothing came */
    count(poller, begin, clock_ns(), 1, events);
    return events;
}

int poller_spin(struct poller *poller, int64_t until) {
    int64_t begin = clock_ns(), now, waits = 0;
    int events;
    do {
        events = epoll_wait(poller->epoll_fd, poller->events, BATCH, 0);
        now = clock_ns();
        waits++;
    } while (events <= 0 && now < until);
    if (events < 0) events = 0;
    count(poller, begin, now, waits, events);
    return events;
}

void poller_pause(struct poller *poller) {
    if (!poller->last.return_ns) return;
    int64_t now = clock_ns();
    count_busy(poller, now);
    poller->last.return_ns = 0;
    poller->paused_ns = now;
}
