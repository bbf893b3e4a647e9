/* The worker of the serve end: its life, the peers that are idle, and the loop. */
#include "serve.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_NS (NS_PER_S / 100) /* the kernel's longest jiffy */

int serve_open(struct serve *serve, int control_fd, uint32_t limit) {
    int one = 1;
    serve->slot_limit = limit;
    serve->free_slot = serve->idlest = serve->latest = NONE;
    serve->listen_again_ns = serve->stop_ns = serve->deaf_ns = NEVER;
    serve->sweep_ns = serve->options.is_edge_triggered ? clock_ns() + SWEEP_NS : NEVER;
    serve->spare_fd = serve_take_spare();
    serve->slots_bytes = limit * sizeof *serve->slots;
    void *slots =
        mmap(NULL, serve->slots_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    serve->slots = slots == MAP_FAILED ? NULL : slots;
    serve->buffer = malloc(SERVE_READ_BYTES);
    if (!serve->slots || !serve->buffer || poller_open(&serve->poller, &serve->board, control_fd)) return -1;
    for (uint32_t i = 0; i < serve->listener_count; i++) {
        /* What is accepted inherits it (tcp(7) does not say so, the kernel copies the whole socket): a call saved. */
        setsockopt(serve->listeners[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (serve->settings.are_given && settings_apply(&serve->settings, serve->listeners[i])) return -1;
        if (serve->stamper.is_on) stamp_received(serve->listeners[i]);
        if (serve_watch_listener(serve, i)) return -1;
    }
    return 0;
}

void serve_close(struct serve *serve) {
    for (uint32_t i = 0; i < serve->slot_count; i++) {
        if (serve->slots[i].state == PEER_FREE) continue;
        close(serve->slots[i].fd);
        peer_give_back(serve, &serve->slots[i]);
    }
    if (serve->slots) munmap(serve->slots, serve->slots_bytes);
    if (serve->spare_fd >= 0) close(serve->spare_fd);
    serve->slots = NULL;
    serve->slot_count = 0;
    free(serve->listeners);
    free(serve->ready);
    free(serve->greeted);
    free(serve->buffer);
    poller_close(&serve->poller);
    board_close(&serve->board);
}

void serve_stop(struct serve *serve, int64_t grace_ns, int64_t settle_ns) {
    if (serve->stop_ns != NEVER) return;
    int64_t now = clock_ns();
    serve->stop_ns = now + grace_ns;
    serve->deaf_ns = now + settle_ns;
    poller_arm(&serve->poller, 1); /* the next turn looks whether that was all */
}

void serve_finish(struct serve *serve) {
    for (uint32_t i = 0; i < serve->slot_count; i++) {
        struct peer *peer = &serve->slots[i];
        if (peer->state == PEER_FREE) continue;
        if (peer->state != PEER_ANSWERING) board_error(&serve->board, STEP_close, OWN_CUT, clock_ns());
        peer_close(serve, peer);
    }
    serve->is_done = true;
    serve->turn_says |= TURN_DONE;
}

/* -- the loop */

static int64_t next_time(const struct serve *serve) {
    int64_t next = serve->stop_ns < serve->listen_again_ns ? serve->stop_ns : serve->listen_again_ns;
    if (serve->deaf_ns < next) next = serve->deaf_ns;
    if (serve->greeted_ring.count && greeting_ends(serve) < next) next = greeting_ends(serve);
    if (serve->answers.look_ns < next) next = serve->answers.look_ns;
    if (serve->open_count && serve->sweep_ns < next) next = serve->sweep_ns;
    if (serve->options.idle_timeout_ns >= 0 && serve->idlest != NONE) {
        int64_t idle = serve->slots[serve->idlest].active_ns + serve->options.idle_timeout_ns;
        if (idle < next) next = idle;
    }
    return next;
}

/* Whether it waits for us: after a standstill of ours that is so of all that were not idle. What has come from one that
 * we owe is not read before that is gone. */
static bool is_waiting(const struct peer *peer) {
    struct pollfd writable = {.fd = peer->fd, .events = POLLOUT};
    char byte;
    if (peer->state == PEER_OWING) return poll(&writable, 1, 0) > 0;
    return recv(peer->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* When the kernel last had bytes from it, or sent it some. What a slow reader takes out of a full send buffer is not
 * told by epoll before a third of the buffer is free (sock_writeable). What is sent again has moved nothing. */
static int64_t last_moved(const struct peer *peer, int64_t now) {
    struct tcp_info info;
    socklen_t length = sizeof info;
    if (getsockopt(peer->fd, IPPROTO_TCP, TCP_INFO, &info, &length)) return 0;
    bool is_sent_again = info.tcpi_retransmits > 0;
    uint32_t ago_ms = info.tcpi_last_data_recv;
    if (!is_sent_again && info.tcpi_last_data_sent < ago_ms) ago_ms = info.tcpi_last_data_sent;
    return now - ago_ms * (NS_PER_S / 1000);
}

/* It seems to be idle; but if it is not, notes when it was active. The kernel counts in ticks of up to 10 ms: of what
 * we know ourselves it tells nothing new. One that was active before those at the end of the list goes to the end all
 * the same: it may be found idle later than it is, never sooner. */
static bool is_idle(struct serve *serve, struct peer *peer, int64_t now) {
    if (is_waiting(peer)) {
        peer_note_active(serve, peer);
        return false;
    }
    int64_t moved = last_moved(peer, now);
    if (moved < peer->active_ns + 2 * TICK_NS || moved + serve->options.idle_timeout_ns <= now) return true;
    peer_note_active(serve, peer);
    peer->active_ns = moved;
    return false;
}

/* Goes on with peers that wait for us, whether epoll has reported them or not: some in a turn. */
static __attribute__((noinline, cold)) void sweep(struct serve *serve, int64_t now) {
    struct pollfd polled[SWEPT_A_TURN];
    uint32_t first = serve->swept, left = serve->slot_count - first;
    uint32_t count = left < SWEPT_A_TURN ? left : SWEPT_A_TURN;
    for (uint32_t i = 0; i < count; i++) {
        const struct peer *peer = &serve->slots[first + i];
        bool is_watched_by_edges = peer->state != PEER_FREE && peer->state != PEER_ANSWERING;
        short events = peer->state == PEER_OWING ? POLLOUT : POLLIN;
        polled[i] = (struct pollfd){.fd = is_watched_by_edges ? peer->fd : -1, .events = events};
    }
    bool has_any = poll(polled, count, 0) > 0;
    for (uint32_t i = 0; has_any && i < count; i++) {
        struct peer *peer = &serve->slots[first + i];
        if (!polled[i].revents) continue;
        if (peer->state == PEER_OWING)
            peer_pay(serve, peer);
        else
            peer_read_on_later(serve, peer);
    }
    bool is_over = count == left;
    serve->swept = is_over ? 0 : first + count;
    serve->sweep_ns = is_over ? now + SWEEP_NS : now;
}

static void do_due(struct serve *serve, int64_t now) {
    if (serve->deaf_ns <= now) serve_listen_no_more(serve);
    if (serve->listen_again_ns <= now) serve_wake_listeners(serve);
    if (serve->greeted_ring.count) greeting_expire(serve, now);
    if (serve->sweep_ns <= now) sweep(serve, now);
    if (serve->answers.look_ns <= now) answers_end_idle(&serve->answers, now);
    for (int i = 0; i < IDLE_A_TURN && serve->options.idle_timeout_ns >= 0 && serve->idlest != NONE; i++) {
        struct peer *peer = &serve->slots[serve->idlest];
        if (peer->active_ns + serve->options.idle_timeout_ns > now) break;
        if (is_idle(serve, peer, now)) peer_close(serve, peer);
    }
    bool is_stopping = serve->stop_ns != NEVER && serve->deaf_ns == NEVER;
    if (is_stopping && (serve->open_count == serve->answers.count || serve->stop_ns <= now)) serve_finish(serve);
}

static size_t share_of(size_t peers) {
    size_t share = TURN_BYTES / (peers ? peers : 1);
    if (share > MOST_SHARE) return MOST_SHARE;
    return share < LEAST_SHARE ? LEAST_SHARE : share;
}

/* Goes on with those that had more to read than their share; those that still have are behind the others then. */
static void read_on(struct serve *serve, size_t count) {
    for (size_t i = 0; i < count; i++) {
        serve->slots[slot_of(serve->ready[i])].is_ready = false;
        peer_on_event(serve, serve->ready[i], EPOLLIN | HIDES_MORE);
    }
    memmove(serve->ready, serve->ready + count, (serve->ready_count - count) * sizeof *serve->ready);
    serve->ready_count -= count;
}

static void handle(struct serve *serve, int count) {
    size_t ready = serve->ready_count < BATCH ? serve->ready_count : BATCH;
    serve->share = share_of((size_t)count + ready);
    for (int i = 0; i < count; i++) {
        const struct epoll_event *event = &serve->poller.events[i];
        switch (kind_of(event->data.u64)) {
            case KIND_CONTROL: serve->turn_says |= TURN_HEARD; break;
            case KIND_LISTENER: serve_on_listener(serve, slot_of(event->data.u64)); break;
            case KIND_CONNECTION: peer_on_event(serve, event->data.u64, event->events); break;
            case KIND_TIMER: poller_arm(&serve->poller, NEVER); break; /* or it stays readable */
            case KIND_PROBE: break; /* the blast end's */
        }
    }
    if (ready) read_on(serve, ready);
}

int serve_turn(struct serve *serve, int64_t linger_ns) {
    int64_t now = clock_ns(), until = now + linger_ns;
    serve->turn_says = 0;
    for (;;) {
        do_due(serve, now);
        if (serve->turn_says) break;
        poller_arm(&serve->poller, next_time(serve));
        if (now >= until) break;
        handle(serve, poller_wait(&serve->poller, serve->ready_count ? 0 : until));
        if (serve->turn_says) break;
        now = clock_ns();
    }
    if (!serve->is_done) {
        /* What is left to read makes the epoll fd readable, now; what is due, when it is. */
        poller_arm(&serve->poller, serve->ready_count ? 1 : next_time(serve));
        poller_pause(&serve->poller);
    }
    return serve->turn_says;
}
