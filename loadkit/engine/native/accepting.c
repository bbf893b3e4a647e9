/* How a serve end takes connections in: from its listeners, as long as there are descriptors, slots and tokens. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "serve.h"

/* When there is no descriptor at all to accept with, the listeners rest for this long. */
#define REST_NS (NS_PER_S / 10)

int serve_take_spare(void) { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

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
    /* Other than of TCP, what is accepted of a UNIX listener inherits no options (unix_create1 in af_unix.c). */
    if (serve->options.shares_listeners && serve->settings.are_given) settings_apply(&serve->settings, fd);
    if (!serve->settings.are_noted) settings_note(&serve->settings, fd, serve->board.state);
    peer->fd = fd;
    peer->owed = NULL;
    peer->sent_high = 0;
    peer->sent_low = 0;
    peer->state = serve->options.header_ns ? PEER_GREETING : PEER_ECHOING;
    peer->is_ready = false;
    serve->open_count++;
    serve_page(serve)[COUNT_opened]++;
    serve_publish_open(serve);
    if (serve->options.idle_timeout_ns >= 0) {
        peer->active_ns = clock_ns();
        peer_link_last(serve, peer);
    }
    uint32_t events =
        EPOLLIN | EPOLLRDHUP | (serve->options.is_edge_triggered ? (uint32_t)(EPOLLOUT | EPOLLPRI | EPOLLET) : 0);
    uint64_t token = token_of(KIND_CONNECTION, peer_number(serve, peer), peer->generation);
    if (poller_add(&serve->poller, fd, events, token))
        peer_lose(serve, peer, STEP_connect, errno);
    else if (peer->state == PEER_GREETING)
        peer_await_header(serve, peer);
}

/* Of several workers at one listener EPOLLEXCLUSIVE wakes one per connection, the one that has been watching it for the
 * longest time: epoll_ctl(2). */
int serve_watch_listener(struct serve *serve, uint32_t index) {
    uint32_t events = EPOLLIN | (serve->options.shares_listeners ? (uint32_t)EPOLLEXCLUSIVE : 0);
    return poller_add(&serve->poller, serve->listeners[index], events, token_of(KIND_LISTENER, index, 0));
}

static void unwatch_listener(struct serve *serve, uint32_t index) {
    epoll_ctl(serve->poller.epoll_fd, EPOLL_CTL_DEL, serve->listeners[index], NULL);
}

/* Rests from accepting, until a while from now. */
static void rest_listeners(struct serve *serve) {
    for (uint32_t i = 0; i < serve->listener_count; i++) unwatch_listener(serve, i);
    serve->listen_again_ns = clock_ns() + REST_NS;
}

void serve_wake_listeners(struct serve *serve) {
    serve->listen_again_ns = NEVER;
    if (serve->spare_fd < 0) serve->spare_fd = serve_take_spare();
    for (uint32_t i = 0; i < serve->listener_count; i++)
        if (serve_watch_listener(serve, i) && errno != EEXIST)
            serve->listen_again_ns = clock_ns() + REST_NS; /* one that is not watched is tried again */
}

/* Out of file descriptors: turns one connection away with the spare one. Returns 1 if it did, 0 if there was none to
 * accept (accept4 reports EMFILE before it looks), and -1 if that failed too. */
static int shed(struct serve *serve, int listener, int number) {
    if (serve->spare_fd < 0) return -1;
    close(serve->spare_fd);
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    int failure = fd < 0 ? errno : 0;
    if (fd >= 0) {
        reset_and_close(fd);
        board_error(&serve->board, STEP_connect, number, clock_ns());
    }
    serve->spare_fd = serve_take_spare();
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

void serve_on_listener(struct serve *serve, uint32_t index) {
    if (!serve->options.shares_listeners) {
        int of = (int)serve->listener_count;
        accept_some(serve, index, of < ACCEPTS_A_TURN ? ACCEPTS_A_TURN / of : 1);
        return;
    }
    accept_some(serve, index, SHARED_ACCEPTS_A_TURN);
    if (serve->listen_again_ns != NEVER) return; /* it rests */
    /* To the end of the line: otherwise one worker would get all connections that it has time for, and the others none.
     */
    unwatch_listener(serve, index);
    if (serve_watch_listener(serve, index)) serve->listen_again_ns = clock_ns() + REST_NS;
}

/* The peers of an accept queue see themselves as connected. They are taken in before the listener ends, which would
 * reset them. Python closes the socket. */
void serve_listen_no_more(struct serve *serve) {
    serve->deaf_ns = NEVER;
    for (uint32_t i = 0; i < serve->listener_count; i++) {
        accept_some(serve, i, ACCEPTS_AT_STOP);
        shutdown(serve->listeners[i], SHUT_RDWR);
        unwatch_listener(serve, i);
    }
    serve->listen_again_ns = NEVER; /* where there was no descriptor to accept with */
}
