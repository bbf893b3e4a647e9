/* An epoll instance of our own, a timerfd in it, and the count of what it does.
 *
 * The epoll file descriptor is itself pollable (epoll(7)): the asyncio loop watches it, and one callback drains it. The
 * timerfd wakes either of them up at an absolute time, to the microsecond, where epoll_wait's own time-out has
 * milliseconds.
 *
 * An event carries a token: what the file descriptor is (kind), which slot, and the slot's generation, so that an event
 * of a connection that was closed earlier in the same batch is not taken for its successor's.
 */
#ifndef LOADKIT_POLLER_H
#define LOADKIT_POLLER_H

#include <stdbool.h>
#include <sys/epoll.h>

#include "board.h"
#include "counting.h"

/* Events of one wake-up at most: with the kernel's round robin over what is ready nobody waits for more than this. */
enum { BATCH = 1024 };
/* This long before a message or a connect is due the worker stops sleeping, and polls. Being woken by a timer
 * costs 20 to 50 us of lateness on a virtual machine, more where its host is busy, and each sleep two exits to the
 * hypervisor: at 60,000 messages a second on a 2-core VM that, not the messages, was 97 % of the core. Measured there
 * (2026-11-23, kernel 6.18; 2,000 connections, 10,000/s), lateness p50 and p99: sleeping 36 us and 1.5 ms, 50 us 0.36
 * us and 0.54 ms, 100 us 0.34 us and 41 us, 200 us no better, and half of a core at 2,000/s. Not where workers share a
 * core: there it would keep the others waiting. */
#define AWAKE_NS INT64_C(100000)
enum kind { KIND_TIMER, KIND_CONTROL, KIND_LISTENER, KIND_CONNECTION, KIND_PROBE };

/* A short read has emptied an edge-triggered socket (epoll(7)), unless one of these came with it: behind what was read
 * is the end of the stream, or a byte of urgent data, at which a read stops (tcp(7)). */
#define HIDES_MORE ((uint32_t)(EPOLLRDHUP | EPOLLPRI))

struct poller {
    int epoll_fd, timer_fd;
    int64_t armed_ns;  /* when the timerfd fires; NEVER when it does not */
    struct waited last; /* the last wait; a return_ns of 0: none since the asyncio loop had the thread */
    int64_t paused_ns;  /* since when it had, until the first wait after it */
    int64_t begin_ns;   /* when the last wait really began */
    struct board *board;
    struct epoll_event events[BATCH];
};

static inline uint64_t token_of(enum kind kind, uint32_t slot, uint32_t generation) {
    return (uint64_t)kind << 61 | (uint64_t)(generation & 0x1fffffff) << 32 | slot;
}
static inline enum kind kind_of(uint64_t token) { return (enum kind)(token >> 61); }
static inline uint32_t slot_of(uint64_t token) { return (uint32_t)token; }
static inline bool is_of_generation(uint64_t token, uint32_t generation) {
    return ((uint32_t)(token >> 32) & 0x1fffffff) == (generation & 0x1fffffff);
}

/* -1 with errno when the system has no file descriptor for it. */
int poller_open(struct poller *poller, struct board *board, int control_fd);
void poller_close(struct poller *poller);
int poller_add(struct poller *poller, int fd, uint32_t events, uint64_t token);
int poller_change(struct poller *poller, int fd, uint32_t events, uint64_t token);
/* Lets the epoll fd become readable at that time; NEVER: not by time. */
void poller_arm(struct poller *poller, int64_t at);
/* Waits until something is ready or `until`, not at all if `until` is past; returns the number of events. */
int poller_wait(struct poller *poller, int64_t until);
/* The same without sleeping: for a short wait. */
int poller_spin(struct poller *poller, int64_t until);
/* The asyncio loop has the thread from now on: what follows is neither busy nor blocked time of the worker. */
void poller_pause(struct poller *poller);

#endif
