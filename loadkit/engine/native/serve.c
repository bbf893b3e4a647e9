#define _GNU_SOURCE
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "blast.h" /* TURN_ flags, NONE */

/* When there is no descriptor at all to accept with, the listeners rest for this long. */
#define REST_NS (NS_PER_S / 10)
#define TICK_NS (NS_PER_S / 100) /* the kernel's longest jiffy */

static int take_spare(void) { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

int serve_open(struct serve *serve, int control_fd, uint32_t limit) {
    int one = 1;
    serve->slot_limit = limit;
    serve->free_slot = serve->idlest = serve->latest = NONE;
    serve->listen_again_ns = serve->stop_ns = serve->deaf_ns = NEVER;
    serve->spare_fd = take_spare();
    serve->slots_bytes = limit * sizeof *serve->slots;
    void *slots = mmap(NULL, serve->slots_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    serve->slots = slots == MAP_FAILED ? NULL : slots;
    serve->buffer = malloc(SERVE_READ_BYTES);
    if (!serve->slots || !serve->buffer || poller_open(&serve->poller, &serve->board, control_fd)) return -1;
    for (uint32_t i = 0; i < serve->listener_count; i++) {
        /* What is accepted inherits it (tcp(7) does not say so, the kernel copies the whole socket): a call saved. */
        setsockopt(serve->listeners[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (serve->stamper.is_on) stamp_received(serve->listeners[i]);
        if (poller_add(&serve->poller, serve->listeners[i], EPOLLIN, token_of(KIND_LISTENER, i, 0))) return -1;
    }
    return 0;
}

/* What a peer has beside its descriptor. */
static void give_back(struct peer *peer) {
    if (peer->state == PEER_ANSWERING) answer_close(peer->answer);
    free(peer->owed); /* or the answer */
    peer->owed = NULL;
}

void serve_close(struct serve *serve) {
    for (uint32_t i = 0; i < serve->slot_count; i++) {
        if (serve->slots[i].state == PEER_FREE) continue;
        close(serve->slots[i].fd);
        give_back(&serve->slots[i]);
    }
    if (serve->slots) munmap(serve->slots, serve->slots_bytes);
    if (serve->spare_fd >= 0) close(serve->spare_fd);
    serve->slots = NULL;
    serve->slot_count = 0;
    free(serve->listeners);
    free(serve->ready);
    free(serve->buffer);
    poller_close(&serve->poller);
    board_close(&serve->board);
}

/* -- peers, from the longest idle to the last active one */

static uint32_t number_of(const struct serve *serve, const struct peer *peer) { return (uint32_t)(peer - serve->slots); }

static void unlink_peer(struct serve *serve, struct peer *peer) {
    if (peer->previous == NONE)
        serve->idlest = peer->next;
    else
        serve->slots[peer->previous].next = peer->next;
    if (peer->next == NONE)
        serve->latest = peer->previous;
    else
        serve->slots[peer->next].previous = peer->previous;
}

static void link_last(struct serve *serve, struct peer *peer) {
    uint32_t number = number_of(serve, peer);
    peer->next = NONE;
    peer->previous = serve->latest;
    if (serve->latest == NONE)
        serve->idlest = number;
    else
        serve->slots[serve->latest].next = number;
    serve->latest = number;
}

static void note_active(struct serve *serve, struct peer *peer) {
    if (serve->idle_timeout_ns < 0) return;
    peer->active_ns = clock_ns();
    if (serve->latest == number_of(serve, peer)) return;
    unlink_peer(serve, peer);
    link_last(serve, peer);
}

static void publish_open(struct serve *serve) {
    int64_t *state = serve->board.state;
    int64_t open = serve->open_count - serve->answering_count;
    state[STATE_open] = open;
    if (open > state[STATE_peak]) state[STATE_peak] = open;
}

static int64_t *page_of(struct serve *serve) { return serve->board.first_page; }

static void close_peer(struct serve *serve, struct peer *peer) {
    bool was_answering = peer->state == PEER_ANSWERING;
    tokens_give(&serve->tokens); /* first: when the peer sees its end, there is room for another */
    close(peer->fd);
    give_back(peer);
    if (serve->idle_timeout_ns >= 0) unlink_peer(serve, peer);
    peer->state = PEER_FREE;
    peer->generation++;
    peer->next = serve->free_slot;
    serve->free_slot = number_of(serve, peer);
    serve->open_count--;
    serve->answering_count -= was_answering;
    page_of(serve)[COUNT_closed] += !was_answering;
    publish_open(serve);
}

/* It failed. A reset is how many peers close, so that alone is no error. */
static void lose_peer(struct serve *serve, struct peer *peer, int step, int number) {
    if (number != ECONNRESET) board_error(&serve->board, step, number, clock_ns());
    close_peer(serve, peer);
}

static void watch(struct serve *serve, struct peer *peer, uint32_t events) {
    if (serve->is_edge_triggered) return;
    uint64_t token = token_of(KIND_CONNECTION, number_of(serve, peer), peer->generation);
    poller_change(&serve->poller, peer->fd, events, token);
}

/* -- probes */

/* It said hello: it is none of the connections that are served, and counted apart from now on. false: it cannot be answered, and
 * is echoed to like anybody. */
static bool begin_answering(struct serve *serve, struct peer *peer) {
    struct answer *answer = malloc(sizeof *answer);
    if (!answer || answer_open(answer, peer->fd, serve->buffer, serve->machine)) {
        free(answer);
        return false;
    }
    peer->answer = answer;
    peer->state = PEER_ANSWERING;
    serve->answering_count++;
    page_of(serve)[COUNT_opened]--;
    page_of(serve)[COUNT_probes]++;
    publish_open(serve);
    return true;
}

static void answer(struct serve *serve, struct peer *peer) {
    note_active(serve, peer);
    count_apart(&serve->apart, page_of(serve), &serve->poller.last);
    if (answer_receive(peer->answer, &serve->poller.last)) close_peer(serve, peer);
}

/* -- echo */

/* Writes; returns how much the socket took, or -1 when the peer was lost over it. */
static ssize_t write_to(struct serve *serve, struct peer *peer, const unsigned char *bytes, size_t length) {
    for (;;) {
        ssize_t taken = send(peer->fd, bytes, length, MSG_NOSIGNAL);
        if (taken >= 0) {
            page_of(serve)[COUNT_sent_bytes] += taken;
            return taken;
        }
        if (errno == EAGAIN) return 0;
        if (errno != EINTR) {
            lose_peer(serve, peer, STEP_send, errno);
            return -1;
        }
    }
}

/* The socket took only a part: the rest is kept, and nothing read until it is gone. */
static void owe(struct serve *serve, struct peer *peer, const unsigned char *bytes, size_t length) {
    peer->owed = malloc(length);
    if (!peer->owed) {
        lose_peer(serve, peer, STEP_send, ENOMEM);
        return;
    }
    memcpy(peer->owed, bytes, length);
    peer->owed_from = 0;
    peer->owed_until = (uint32_t)length;
    peer->state = PEER_OWING;
    watch(serve, peer, EPOLLOUT);
}

static void read_on_later(struct serve *serve, struct peer *peer) {
    if (peer->is_ready) return;
    if (serve->ready_count == serve->ready_capacity) {
        size_t capacity = serve->ready_capacity ? 2 * serve->ready_capacity : BATCH;
        uint64_t *ready = realloc(serve->ready, capacity * sizeof *ready);
        if (!ready) {
            lose_peer(serve, peer, STEP_receive, ENOMEM);
            return;
        }
        serve->ready = ready;
        serve->ready_capacity = capacity;
    }
    peer->is_ready = true;
    serve->ready[serve->ready_count++] = token_of(KIND_CONNECTION, number_of(serve, peer), peer->generation);
}

static void echo(struct serve *serve, struct peer *peer, uint32_t events) {
    note_active(serve, peer);
    for (int reads = 0; reads < SERVE_READS_A_TURN;) {
        ssize_t length = stamper_receive(&serve->stamper, &serve->board, peer->fd, serve->buffer, SERVE_READ_BYTES);
        if (length <= 0) {
            if (length < 0 && errno == EINTR) continue;
            if (length < 0 && errno == EAGAIN) return;
            lose_peer(serve, peer, STEP_receive, length ? errno : ECONNRESET);
            return;
        }
        if (is_hello(serve->buffer, (size_t)length) && begin_answering(serve, peer)) return;
        page_of(serve)[COUNT_received_bytes] += length;
        ssize_t taken = write_to(serve, peer, serve->buffer, (size_t)length);
        if (taken < 0) return;
        if (taken < length) {
            owe(serve, peer, serve->buffer + taken, (size_t)(length - taken));
            return;
        }
        /* Level-triggered, epoll comes back to it after the others. Edge-triggered, a short read has emptied the socket
         * (epoll(7)), unless the end of the stream is behind it. */
        if (!serve->is_edge_triggered || (length < SERVE_READ_BYTES && !(events & EPOLLRDHUP))) return;
        reads++;
    }
    read_on_later(serve, peer);
}

static void pay(struct serve *serve, struct peer *peer) {
    ssize_t taken = write_to(serve, peer, peer->owed + peer->owed_from, peer->owed_until - peer->owed_from);
    if (taken < 0) return;
    if (taken) note_active(serve, peer);
    peer->owed_from += (uint32_t)taken;
    if (peer->owed_from < peer->owed_until) return;
    free(peer->owed);
    peer->owed = NULL;
    peer->state = PEER_ECHOING;
    watch(serve, peer, EPOLLIN | EPOLLRDHUP);
    if (serve->is_edge_triggered) echo(serve, peer, EPOLLIN | EPOLLRDHUP);
}

static void on_event(struct serve *serve, uint64_t token, uint32_t events) {
    struct peer *peer = &serve->slots[slot_of(token)];
    if (!is_of_generation(token, peer->generation)) return;
    if (peer->state == PEER_ANSWERING) {
        answer(serve, peer);
    } else if (peer->state == PEER_OWING) {
        if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) pay(serve, peer);
    } else if (events & ~(uint32_t)EPOLLOUT) {
        echo(serve, peer, events);
    }
}

/* -- accepting */

static void reset_and_close(int fd) {
    struct linger reset = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
}

static void take_in(struct serve *serve, int fd) {
    bool has_slot = serve->free_slot != NONE || serve->slot_count < serve->slot_limit;
    if (!has_slot || !tokens_take(&serve->tokens)) {
        board_error(&serve->board, STEP_connect, has_slot ? OWN_AT_LIMIT : EMFILE, clock_ns());
        reset_and_close(fd);
        return;
    }
    struct peer *peer = serve->free_slot != NONE ? &serve->slots[serve->free_slot] : &serve->slots[serve->slot_count++];
    if (serve->free_slot != NONE) serve->free_slot = peer->next;
    peer->fd = fd;
    peer->owed = NULL;
    peer->state = PEER_ECHOING;
    peer->is_ready = false;
    serve->open_count++;
    page_of(serve)[COUNT_opened]++;
    publish_open(serve);
    if (serve->idle_timeout_ns >= 0) {
        peer->active_ns = clock_ns();
        link_last(serve, peer);
    }
    uint32_t events = EPOLLIN | EPOLLRDHUP | (serve->is_edge_triggered ? (uint32_t)(EPOLLOUT | EPOLLET) : 0);
    uint64_t token = token_of(KIND_CONNECTION, number_of(serve, peer), peer->generation);
    if (poller_add(&serve->poller, fd, events, token)) lose_peer(serve, peer, STEP_connect, errno);
}

static void watch_listeners(struct serve *serve, uint32_t events) {
    for (uint32_t i = 0; i < serve->listener_count; i++)
        poller_change(&serve->poller, serve->listeners[i], events, token_of(KIND_LISTENER, i, 0));
}

/* Out of file descriptors: turns one connection away with the spare one. 1: it did; 0: nobody was there (accept4 says EMFILE
 * before it looks); -1: that failed too. */
static int shed(struct serve *serve, int listener, int number) {
    if (serve->spare_fd < 0) return -1;
    close(serve->spare_fd);
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    int failure = fd < 0 ? errno : 0;
    if (fd >= 0) {
        reset_and_close(fd);
        board_error(&serve->board, STEP_connect, number, clock_ns());
    }
    serve->spare_fd = take_spare();
    if (failure == EAGAIN) return 0;
    return failure == 0 || failure == ECONNABORTED ? 1 : -1;
}

static void accept_some(struct serve *serve, uint32_t index, int most) {
    int listener = serve->listeners[index];
    for (int i = 0; i < most; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take_in(serve, fd);
            continue;
        }
        int number = errno;
        if (number == EAGAIN) return;
        /* accept(2): errors of a connection that is gone by now; the next one may be fine. */
        if (number == EINTR || number == ECONNABORTED || number == EPERM || number == EPROTO) continue;
        bool is_out = number == EMFILE || number == ENFILE;
        int turned_away = is_out ? shed(serve, listener, number) : -1;
        if (turned_away == 0) return;
        if (turned_away > 0) continue;
        board_error(&serve->board, STEP_connect, number, clock_ns());
        watch_listeners(serve, 0);
        serve->listen_again_ns = clock_ns() + REST_NS;
        return;
    }
}

void serve_stop(struct serve *serve, int64_t grace_ns, int64_t settle_ns) {
    if (serve->stop_ns != NEVER) return;
    int64_t now = clock_ns();
    serve->stop_ns = now + grace_ns;
    serve->deaf_ns = now + settle_ns;
    poller_arm(&serve->poller, 1); /* the next turn looks whether that was all */
}

/* Who waits in an accept queue has been told that it is connected: it is taken in before the listener is no more, which would
 * reset it. The socket is Python's to close. */
static void listen_no_more(struct serve *serve) {
    serve->deaf_ns = NEVER;
    for (uint32_t i = 0; i < serve->listener_count; i++) {
        accept_some(serve, i, ACCEPTS_AT_STOP);
        shutdown(serve->listeners[i], SHUT_RDWR);
        epoll_ctl(serve->poller.epoll_fd, EPOLL_CTL_DEL, serve->listeners[i], NULL);
    }
    serve->listen_again_ns = NEVER; /* where there was no descriptor to accept with */
}

void serve_finish(struct serve *serve) {
    for (uint32_t i = 0; i < serve->slot_count; i++) {
        struct peer *peer = &serve->slots[i];
        if (peer->state == PEER_FREE) continue;
        if (peer->state != PEER_ANSWERING) board_error(&serve->board, STEP_close, OWN_CUT, clock_ns());
        close_peer(serve, peer);
    }
    serve->is_done = true;
    serve->turn_says |= TURN_DONE;
}

/* -- the loop */

static int64_t next_time(const struct serve *serve) {
    int64_t next = serve->stop_ns < serve->listen_again_ns ? serve->stop_ns : serve->listen_again_ns;
    if (serve->deaf_ns < next) next = serve->deaf_ns;
    if (serve->idle_timeout_ns >= 0 && serve->idlest != NONE) {
        int64_t idle = serve->slots[serve->idlest].active_ns + serve->idle_timeout_ns;
        if (idle < next) next = idle;
    }
    return next;
}

/* Whether it waits for us: after a standstill of ours that is so of all that were not idle. What has come from one that we owe
 * is not read before that is gone. */
static bool is_waiting(const struct peer *peer) {
    struct pollfd writable = {.fd = peer->fd, .events = POLLOUT};
    char byte;
    if (peer->state == PEER_OWING) return poll(&writable, 1, 0) > 0;
    return recv(peer->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* When the kernel last had bytes from it, or sent it some. What a slow reader takes out of a full send buffer is not told by
 * epoll before a third of the buffer is free (sock_writeable). What is sent again has moved nothing. */
static int64_t last_moved(const struct peer *peer, int64_t now) {
    struct tcp_info info;
    socklen_t length = sizeof info;
    if (getsockopt(peer->fd, IPPROTO_TCP, TCP_INFO, &info, &length)) return 0;
    bool is_sent_again = info.tcpi_retransmits > 0;
    uint32_t ago_ms = info.tcpi_last_data_recv;
    if (!is_sent_again && info.tcpi_last_data_sent < ago_ms) ago_ms = info.tcpi_last_data_sent;
    return now - ago_ms * (NS_PER_S / 1000);
}

/* It seems to be idle; but if it is not, notes when it was active. The kernel counts in ticks of up to 10 ms: of what we know
 * ourselves it tells nothing new. One that was active before those at the end of the list goes to the end all the same: it may
 * be found idle later than it is, never sooner. */
static bool is_idle(struct serve *serve, struct peer *peer, int64_t now) {
    if (is_waiting(peer)) {
        note_active(serve, peer);
        return false;
    }
    int64_t moved = last_moved(peer, now);
    if (moved < peer->active_ns + 2 * TICK_NS || moved + serve->idle_timeout_ns <= now) return true;
    note_active(serve, peer);
    peer->active_ns = moved;
    return false;
}

static void do_due(struct serve *serve, int64_t now) {
    if (serve->deaf_ns <= now) listen_no_more(serve);
    if (serve->listen_again_ns <= now) {
        serve->listen_again_ns = NEVER;
        if (serve->spare_fd < 0) serve->spare_fd = take_spare();
        watch_listeners(serve, EPOLLIN);
    }
    while (serve->idle_timeout_ns >= 0 && serve->idlest != NONE) {
        struct peer *peer = &serve->slots[serve->idlest];
        if (peer->active_ns + serve->idle_timeout_ns > now) break;
        if (is_idle(serve, peer, now)) close_peer(serve, peer);
    }
    bool is_stopping = serve->stop_ns != NEVER && serve->deaf_ns == NEVER;
    if (is_stopping && (serve->open_count == serve->answering_count || serve->stop_ns <= now)) serve_finish(serve);
}

static void handle(struct serve *serve, int count) {
    for (int i = 0; i < count; i++) {
        const struct epoll_event *event = &serve->poller.events[i];
        switch (kind_of(event->data.u64)) {
            case KIND_CONTROL: serve->turn_says |= TURN_HEARD; break;
            case KIND_LISTENER: accept_some(serve, slot_of(event->data.u64), ACCEPTS_A_TURN); break;
            case KIND_CONNECTION: on_event(serve, event->data.u64, event->events); break;
            case KIND_TIMER: poller_arm(&serve->poller, NEVER); break; /* or it stays readable */
            case KIND_PROBE: break; /* the blast end's */
        }
    }
    size_t ready = serve->ready_count;
    if (!ready) return;
    for (size_t i = 0; i < ready; i++) {
        serve->slots[slot_of(serve->ready[i])].is_ready = false;
        on_event(serve, serve->ready[i], EPOLLIN | EPOLLRDHUP);
    }
    memmove(serve->ready, serve->ready + ready, (serve->ready_count - ready) * sizeof *serve->ready);
    serve->ready_count -= ready;
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
