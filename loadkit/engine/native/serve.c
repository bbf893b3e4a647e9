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

#include "turns.h"

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
        if (poller_add(&serve->poller, serve->listeners[i], EPOLLIN, token_of(KIND_LISTENER, i, 0))) return -1;
    }
    return 0;
}

/* What a peer has beside its descriptor. */
static void give_back(struct serve *serve, struct peer *peer) {
    if (peer->state == PEER_ANSWERING) {
        answers_drop(&serve->answers, peer->answer);
    } else if (peer->owed) {
        free(peer->owed);
        serve->owed_bytes -= peer->owed_until;
    }
    peer->owed = NULL;
}

void serve_close(struct serve *serve) {
    for (uint32_t i = 0; i < serve->slot_count; i++) {
        if (serve->slots[i].state == PEER_FREE) continue;
        close(serve->slots[i].fd);
        give_back(serve, &serve->slots[i]);
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

static uint32_t number_of(const struct serve *serve, const struct peer *peer) {
    return (uint32_t)(peer - serve->slots);
}

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

static __attribute__((noinline)) void move_last(struct serve *serve, struct peer *peer) {
    peer->active_ns = clock_ns();
    if (serve->latest == number_of(serve, peer)) return;
    unlink_peer(serve, peer);
    link_last(serve, peer);
}

static void note_active(struct serve *serve, struct peer *peer) {
    if (serve->options.idle_timeout_ns >= 0) move_last(serve, peer);
}

static void publish_open(struct serve *serve) {
    int64_t *state = serve->board.state;
    int64_t open = serve->open_count - serve->answers.count;
    state[STATE_open] = open;
    if (open > state[STATE_peak]) state[STATE_peak] = open;
}

static int64_t *page_of(struct serve *serve) { return serve->board.first_page; }

static void note_sent(struct peer *peer, size_t length) {
    uint64_t sent = ((uint64_t)peer->sent_high << 32 | peer->sent_low) + length;
    peer->sent_high = (uint16_t)(sent >> 32);
    peer->sent_low = (uint32_t)sent;
}

/* What it got counts among what each connection got; probes are none of them. */
static void note_share(struct serve *serve, const struct peer *peer) {
    int64_t sent = (int64_t)peer->sent_high << 32 | peer->sent_low;
    board_record(&serve->board, page_of(serve), HISTOGRAM_per_connection, sent);
}

static void close_peer(struct serve *serve, struct peer *peer) {
    bool was_answering = peer->state == PEER_ANSWERING;
    tokens_give(&serve->tokens); /* first: when the peer sees its end, there is room for another */
    close(peer->fd);
    give_back(serve, peer);
    if (serve->options.idle_timeout_ns >= 0) unlink_peer(serve, peer);
    peer->state = PEER_FREE;
    peer->generation++;
    peer->next = serve->free_slot;
    serve->free_slot = number_of(serve, peer);
    serve->open_count--;
    page_of(serve)[COUNT_closed] += !was_answering;
    if (!was_answering) note_share(serve, peer);
    publish_open(serve);
}

/* It failed. A reset is how many peers close, so that alone is no error. Out of line, like all that has a clock's
 * reading on its stack: what calls it need not guard that. */
static __attribute__((noinline, cold)) void lose_peer(struct serve *serve, struct peer *peer, int step, int number) {
    if (number != ECONNRESET) board_error(&serve->board, step, number, clock_ns());
    close_peer(serve, peer);
}

/* The peer is lost if that fails: it would never be heard of again. */
static void watch(struct serve *serve, struct peer *peer, uint32_t events) {
    uint64_t token = token_of(KIND_CONNECTION, number_of(serve, peer), peer->generation);
    if (poller_change(&serve->poller, peer->fd, events, token)) lose_peer(serve, peer, STEP_receive, errno);
}

/* -- probes */

/* It said hello. true: it is none of the connections that are served, and counted apart from now on; false: the buffer
 * has what is to be sent back, to a peer like any other. */
static bool begin_answering(struct serve *serve, struct peer *peer) {
    struct answer *answer = answers_greet(&serve->answers, peer->fd, serve->buffer);
    if (!answer) return false;
    peer->answer = answer;
    peer->state = PEER_ANSWERING;
    page_of(serve)[COUNT_opened]--;
    page_of(serve)[COUNT_probes]++;
    publish_open(serve);
    /* Level-triggered always: one message is answered per event, and what is behind it, its end not least, has its
     * turn. */
    if (serve->options.is_edge_triggered) watch(serve, peer, EPOLLIN | EPOLLRDHUP);
    return true;
}

static void answer(struct serve *serve, struct peer *peer) {
    note_active(serve, peer);
    count_apart(&serve->answers.apart, page_of(serve), &serve->poller.last);
    if (answer_receive(peer->answer, &serve->poller.last)) close_peer(serve, peer);
}

/* -- echo */

/* Writes; returns how much the socket took, or -1 when the peer was lost over it. */
static ssize_t write_to(struct serve *serve, struct peer *peer, const unsigned char *bytes, size_t length) {
    for (;;) {
        ssize_t taken = send(peer->fd, bytes, length, MSG_NOSIGNAL);
        if (taken >= 0) {
            page_of(serve)[COUNT_sent_bytes] += taken;
            note_sent(peer, (size_t)taken);
            return taken;
        }
        if (errno == EAGAIN) return 0;
        if (errno != EINTR) {
            lose_peer(serve, peer, STEP_send, errno);
            return -1;
        }
    }
}

/* The socket took only a part: the rest is kept, if it was read (`bytes`), and nothing read until it is gone. */
static void owe(struct serve *serve, struct peer *peer, const unsigned char *bytes, size_t length) {
    peer->owed_from = peer->owed_until = 0;
    peer->state = PEER_OWING;
    if (bytes) {
        peer->owed = malloc(length);
        if (!peer->owed) {
            lose_peer(serve, peer, STEP_send, ENOMEM);
            return;
        }
        memcpy(peer->owed, bytes, length);
        peer->owed_until = (uint32_t)length;
        serve->owed_bytes += (int64_t)length;
    }
    if (!serve->options.is_edge_triggered) watch(serve, peer, EPOLLOUT);
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

/* Echoes what one read of at most so many bytes brings; returns how much that was, 0 when there is nothing to go on
 * with: it has sent no more, it owes, or it is lost. */
static size_t echo_once(struct serve *serve, struct peer *peer, size_t most) {
    bool is_kept = serve->owed_bytes + (int64_t)most <= serve->options.most_owed;
    ssize_t length = is_kept ? stamper_receive(&serve->stamper, &serve->board, peer->fd, serve->buffer, most)
                             : recv(peer->fd, serve->buffer, most, MSG_PEEK);
    if (length <= 0) {
        if (length < 0 && errno == EINTR) return read_on_later(serve, peer), 0;
        if (length < 0 && errno == EAGAIN) return 0;
        return lose_peer(serve, peer, STEP_receive, length ? errno : ECONNRESET), 0;
    }
    /* Looked at only, a hello is echoed: it would have to be read before it is answered. */
    if (is_kept && is_hello(serve->buffer, (size_t)length) && begin_answering(serve, peer)) return 0;
    ssize_t taken = write_to(serve, peer, serve->buffer, (size_t)length);
    if (taken < 0) return 0;
    if (!is_kept && taken && recv(peer->fd, serve->buffer, (size_t)taken, 0) != taken)
        return lose_peer(serve, peer, STEP_receive, ECONNRESET), 0;
    page_of(serve)[COUNT_received_bytes] += is_kept ? length : taken;
    if (taken == length) return (size_t)length;
    owe(serve, peer, is_kept ? serve->buffer + taken : NULL, (size_t)(length - taken));
    return 0;
}

static void echo(struct serve *serve, struct peer *peer, uint32_t events) {
    note_active(serve, peer);
    for (size_t left = serve->share; left;) {
        size_t most = left < SERVE_READ_BYTES ? left : SERVE_READ_BYTES;
        size_t length = echo_once(serve, peer, most);
        /* Level-triggered, epoll comes back to it after the others. */
        if (!length || !serve->options.is_edge_triggered || (length < most && !(events & HIDES_MORE))) return;
        left -= length;
    }
    read_on_later(serve, peer);
}

static void pay(struct serve *serve, struct peer *peer) {
    size_t length = peer->owed_until - peer->owed_from;
    ssize_t taken = length ? write_to(serve, peer, peer->owed + peer->owed_from, length) : 0;
    if (taken < 0) return;
    if (taken) note_active(serve, peer);
    peer->owed_from += (uint32_t)taken;
    if (peer->owed_from < peer->owed_until) return;
    give_back(serve, peer);
    peer->state = PEER_ECHOING;
    if (serve->options.is_edge_triggered)
        echo(serve, peer, EPOLLIN | HIDES_MORE);
    else
        watch(serve, peer, EPOLLIN | EPOLLRDHUP);
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
    if (!serve->settings.are_noted) settings_note(&serve->settings, fd, serve->board.state);
    peer->fd = fd;
    peer->owed = NULL;
    peer->sent_high = 0;
    peer->sent_low = 0;
    peer->state = PEER_ECHOING;
    peer->is_ready = false;
    serve->open_count++;
    page_of(serve)[COUNT_opened]++;
    publish_open(serve);
    if (serve->options.idle_timeout_ns >= 0) {
        peer->active_ns = clock_ns();
        link_last(serve, peer);
    }
    uint32_t events =
        EPOLLIN | EPOLLRDHUP | (serve->options.is_edge_triggered ? (uint32_t)(EPOLLOUT | EPOLLPRI | EPOLLET) : 0);
    uint64_t token = token_of(KIND_CONNECTION, number_of(serve, peer), peer->generation);
    if (poller_add(&serve->poller, fd, events, token)) lose_peer(serve, peer, STEP_connect, errno);
}

/* Rests from accepting, until a while from now. */
static void rest_listeners(struct serve *serve) {
    for (uint32_t i = 0; i < serve->listener_count; i++)
        poller_change(&serve->poller, serve->listeners[i], 0, token_of(KIND_LISTENER, i, 0));
    serve->listen_again_ns = clock_ns() + REST_NS;
}

static void wake_listeners(struct serve *serve) {
    serve->listen_again_ns = NEVER;
    if (serve->spare_fd < 0) serve->spare_fd = take_spare();
    for (uint32_t i = 0; i < serve->listener_count; i++)
        if (poller_change(&serve->poller, serve->listeners[i], EPOLLIN, token_of(KIND_LISTENER, i, 0)))
            serve->listen_again_ns = clock_ns() + REST_NS; /* one that is not watched is tried again */
}

/* Out of file descriptors: turns one connection away with the spare one. 1: it did; 0: nobody was there (accept4 says
 * EMFILE before it looks); -1: that failed too. */
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
        rest_listeners(serve);
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

/* Who waits in an accept queue has been told that it is connected: it is taken in before the listener is no more, which
 * would reset it. The socket is Python's to close. */
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
    if (serve->answers.look_ns < next) next = serve->answers.look_ns;
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

/* Does what an event would have it do. */
static __attribute__((noinline, cold)) void go_on_with(struct serve *serve, struct peer *peer) {
    if (peer->state == PEER_OWING)
        pay(serve, peer);
    else
        read_on_later(serve, peer);
}

/* It seems to be idle; but if it is not, notes when it was active. The kernel counts in ticks of up to 10 ms: of what
 * we know ourselves it tells nothing new. One that was active before those at the end of the list goes to the end all
 * the same: it may be found idle later than it is, never sooner. */
static bool is_idle(struct serve *serve, struct peer *peer, int64_t now) {
    if (is_waiting(peer)) {
        note_active(serve, peer);
        /* The next wait reports it, unless an edge was lost (epoll(7)): then no wait would. */
        if (serve->options.is_edge_triggered) go_on_with(serve, peer);
        return false;
    }
    int64_t moved = last_moved(peer, now);
    if (moved < peer->active_ns + 2 * TICK_NS || moved + serve->options.idle_timeout_ns <= now) return true;
    note_active(serve, peer);
    peer->active_ns = moved;
    return false;
}

static void do_due(struct serve *serve, int64_t now) {
    if (serve->deaf_ns <= now) listen_no_more(serve);
    if (serve->listen_again_ns <= now) wake_listeners(serve);
    if (serve->answers.look_ns <= now) answers_end_idle(&serve->answers, now);
    for (int i = 0; i < IDLE_A_TURN && serve->options.idle_timeout_ns >= 0 && serve->idlest != NONE; i++) {
        struct peer *peer = &serve->slots[serve->idlest];
        if (peer->active_ns + serve->options.idle_timeout_ns > now) break;
        if (is_idle(serve, peer, now)) close_peer(serve, peer);
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
        on_event(serve, serve->ready[i], EPOLLIN | HIDES_MORE);
    }
    memmove(serve->ready, serve->ready + count, (serve->ready_count - count) * sizeof *serve->ready);
    serve->ready_count -= count;
}

static void handle(struct serve *serve, int count) {
    size_t ready = serve->ready_count < BATCH ? serve->ready_count : BATCH;
    int accepts = serve->listener_count < ACCEPTS_A_TURN ? ACCEPTS_A_TURN / (int)serve->listener_count : 1;
    serve->share = share_of((size_t)count + ready);
    for (int i = 0; i < count; i++) {
        const struct epoll_event *event = &serve->poller.events[i];
        switch (kind_of(event->data.u64)) {
            case KIND_CONTROL: serve->turn_says |= TURN_HEARD; break;
            case KIND_LISTENER: accept_some(serve, slot_of(event->data.u64), accepts); break;
            case KIND_CONNECTION: on_event(serve, event->data.u64, event->events); break;
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
