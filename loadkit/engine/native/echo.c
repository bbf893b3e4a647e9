/* What a peer of the serve end gets: its echo, or the answers to a probe. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"

/* -- probes */

/* It said hello. true: it is none of the connections that are served, and counted apart from now on; false: the buffer
 * has what is to be sent back, to a peer like any other. */
static bool begin_answering(struct serve *serve, struct peer *peer) {
    struct answer *answer = answers_greet(&serve->answers, peer->fd, serve->buffer);
    if (!answer) return false;
    peer->answer = answer;
    peer->state = PEER_ANSWERING;
    serve_page(serve)[COUNT_opened]--;
    serve_page(serve)[COUNT_probes]++;
    serve_publish_open(serve);
    /* Level-triggered always: one message is answered per event, and what is behind it, its end not least, has its
     * turn. */
    if (serve->options.is_edge_triggered) peer_watch(serve, peer, EPOLLIN | EPOLLRDHUP);
    return true;
}

static void answer(struct serve *serve, struct peer *peer) {
    peer_note_active(serve, peer);
    count_apart(&serve->answers.apart, serve_page(serve), &serve->poller.last);
    if (answer_receive(peer->answer, &serve->poller.last)) peer_close(serve, peer);
}

/* -- echo */

/* Writes; returns how much the socket took, or -1 when the peer was lost over it. */
static ssize_t write_to(struct serve *serve, struct peer *peer, const unsigned char *bytes, size_t length) {
    for (;;) {
        ssize_t taken = send(peer->fd, bytes, length, MSG_NOSIGNAL);
        if (taken >= 0) {
            serve_page(serve)[COUNT_sent_bytes] += taken;
            peer_note_sent(peer, (size_t)taken);
            return taken;
        }
        if (errno == EAGAIN) return 0;
        if (errno != EINTR) {
            peer_lose(serve, peer, STEP_send, errno);
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
            peer_lose(serve, peer, STEP_send, ENOMEM);
            return;
        }
        memcpy(peer->owed, bytes, length);
        peer->owed_until = (uint32_t)length;
        serve->owed_bytes += (int64_t)length;
    }
    if (!serve->options.is_edge_triggered) peer_watch(serve, peer, EPOLLOUT);
}

void peer_read_on_later(struct serve *serve, struct peer *peer) {
    if (peer->is_ready) return;
    if (serve->ready_count == serve->ready_capacity) {
        size_t capacity = serve->ready_capacity ? 2 * serve->ready_capacity : BATCH;
        uint64_t *ready = realloc(serve->ready, capacity * sizeof *ready);
        if (!ready) {
            peer_lose(serve, peer, STEP_receive, ENOMEM);
            return;
        }
        serve->ready = ready;
        serve->ready_capacity = capacity;
    }
    peer->is_ready = true;
    serve->ready[serve->ready_count++] = token_of(KIND_CONNECTION, peer_number(serve, peer), peer->generation);
}

/* Echoes what one read of at most so many bytes brings; returns how much that was, 0 when there is nothing to go on
 * with: it has sent no more, it owes, or it is lost. */
static size_t echo_once(struct serve *serve, struct peer *peer, size_t most) {
    bool is_kept = serve->owed_bytes + (int64_t)most <= serve->options.most_owed;
    ssize_t length = is_kept ? stamper_receive(&serve->stamper, &serve->board, peer->fd, serve->buffer, most)
                             : recv(peer->fd, serve->buffer, most, MSG_PEEK);
    if (length <= 0) {
        if (length < 0 && errno == EINTR) return peer_read_on_later(serve, peer), 0;
        if (length < 0 && errno == EAGAIN) return 0;
        return peer_lose(serve, peer, STEP_receive, length ? errno : ECONNRESET), 0;
    }
    /* Looked at only, a hello is echoed: it would have to be read before it is answered. */
    if (is_kept && is_hello(serve->buffer, (size_t)length) && begin_answering(serve, peer)) return 0;
    ssize_t taken = write_to(serve, peer, serve->buffer, (size_t)length);
    if (taken < 0) return 0;
    if (!is_kept && taken && recv(peer->fd, serve->buffer, (size_t)taken, 0) != taken)
        return peer_lose(serve, peer, STEP_receive, ECONNRESET), 0;
    serve_page(serve)[COUNT_received_bytes] += is_kept ? length : taken;
    if (taken == length) return (size_t)length;
    owe(serve, peer, is_kept ? serve->buffer + taken : NULL, (size_t)(length - taken));
    return 0;
}

static void echo(struct serve *serve, struct peer *peer, uint32_t events) {
    peer_note_active(serve, peer);
    for (size_t left = serve->share; left;) {
        size_t most = left < SERVE_READ_BYTES ? left : SERVE_READ_BYTES;
        size_t length = echo_once(serve, peer, most);
        /* Level-triggered, epoll comes back to it after the others. */
        if (!length || !serve->options.is_edge_triggered || (length < most && !(events & HIDES_MORE))) return;
        left -= length;
    }
    peer_read_on_later(serve, peer);
}

void peer_pay(struct serve *serve, struct peer *peer) {
    size_t length = peer->owed_until - peer->owed_from;
    ssize_t taken = length ? write_to(serve, peer, peer->owed + peer->owed_from, length) : 0;
    if (taken < 0) return;
    if (taken) peer_note_active(serve, peer);
    peer->owed_from += (uint32_t)taken;
    if (peer->owed_from < peer->owed_until) return;
    peer_give_back(serve, peer);
    peer->state = PEER_ECHOING;
    if (serve->options.is_edge_triggered)
        echo(serve, peer, EPOLLIN | HIDES_MORE);
    else
        peer_watch(serve, peer, EPOLLIN | EPOLLRDHUP);
}

void peer_on_event(struct serve *serve, uint64_t token, uint32_t events) {
    struct peer *peer = &serve->slots[slot_of(token)];
    if (!is_of_generation(token, peer->generation)) return;
    if (peer->state == PEER_ANSWERING) {
        answer(serve, peer);
    } else if (peer->state == PEER_OWING) {
        if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) peer_pay(serve, peer);
    } else if (peer->state == PEER_GREETING) {
        if (peer_greet(serve, peer)) echo(serve, peer, EPOLLIN | HIDES_MORE);
    } else if (events & ~(uint32_t)EPOLLOUT) {
        echo(serve, peer, events);
    }
}
