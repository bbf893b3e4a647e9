/* The peers of a serve end, in a list from the longest idle to the last active one, and how they end. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "serve.h"

void peer_give_back(struct serve *serve, struct peer *peer) {
    if (peer->state == PEER_ANSWERING) {
        answers_drop(&serve->answers, peer->answer);
    } else if (peer->owed) {
        free(peer->owed);
        serve->owed_bytes -= peer->owed_until;
    }
    peer->owed = NULL;
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

void peer_link_last(struct serve *serve, struct peer *peer) {
    uint32_t number = peer_number(serve, peer);
    peer->next = NONE;
    peer->previous = serve->latest;
    if (serve->latest == NONE)
        serve->idlest = number;
    else
        serve->slots[serve->latest].next = number;
    serve->latest = number;
}

__attribute__((noinline)) void peer_move_last(struct serve *serve, struct peer *peer) {
    peer->active_ns = clock_ns();
    if (serve->latest == peer_number(serve, peer)) return;
    unlink_peer(serve, peer);
    peer_link_last(serve, peer);
}

void serve_publish_open(struct serve *serve) {
    int64_t *state = serve->board.state;
    int64_t open = serve->open_count - serve->answers.count;
    state[STATE_open] = open;
    if (open > state[STATE_peak]) state[STATE_peak] = open;
}

/* What it got counts among what each connection got; probes are none of them. */
static void note_share(struct serve *serve, const struct peer *peer) {
    int64_t sent = (int64_t)peer->sent_high << 32 | peer->sent_low;
    board_record(&serve->board, serve_page(serve), HISTOGRAM_per_connection, sent);
}

void peer_close(struct serve *serve, struct peer *peer) {
    bool was_answering = peer->state == PEER_ANSWERING;
    tokens_give(&serve->tokens); /* first: when the peer sees its end, there is room for another */
    close(peer->fd);
    peer_give_back(serve, peer);
    if (serve->options.idle_timeout_ns >= 0) unlink_peer(serve, peer);
    peer->state = PEER_FREE;
    peer->generation++;
    peer->next = serve->free_slot;
    serve->free_slot = peer_number(serve, peer);
    serve->open_count--;
    serve_page(serve)[COUNT_closed] += !was_answering;
    if (!was_answering) note_share(serve, peer);
    serve_publish_open(serve);
}

/* Out of line, like all that has a clock's reading on its stack: what calls it need not guard that. */
__attribute__((noinline, cold)) void peer_lose(struct serve *serve, struct peer *peer, int step, int number) {
    if (number != ECONNRESET) board_error(&serve->board, step, number, clock_ns());
    peer_close(serve, peer);
}

void peer_watch(struct serve *serve, struct peer *peer, uint32_t events) {
    uint64_t token = token_of(KIND_CONNECTION, peer_number(serve, peer), peer->generation);
    if (poller_change(&serve->poller, peer->fd, events, token)) peer_lose(serve, peer, STEP_receive, errno);
}
