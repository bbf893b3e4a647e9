/* Peers that have to begin with a PROXY header: nothing of theirs is echoed before it is whole. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "proxy.h"
#include "serve.h"

/* A read looks at so many bytes, and takes no more of them than are the header's. */
enum { LOOKED_AT = 512 };

void peer_await_header(struct serve *serve, struct peer *peer) {
    void *greeted = serve->greeted;
    if (!ring_make_room(&serve->greeted_ring, &greeted, sizeof *serve->greeted)) {
        peer_lose(serve, peer, STEP_receive, ENOMEM);
        return;
    }
    serve->greeted = greeted;
    peer->owed_from = peer->owed_until = 0;
    uint64_t token = token_of(KIND_CONNECTION, peer_number(serve, peer), peer->generation);
    size_t place = ring_place(&serve->greeted_ring, serve->greeted_ring.count++);
    serve->greeted[place] = (struct greeted){clock_ns() + serve->options.header_ns, token};
}

int64_t greeting_ends(const struct serve *serve) { return serve->greeted[serve->greeted_ring.first].until_ns; }

void greeting_expire(struct serve *serve, int64_t now) {
    while (serve->greeted_ring.count) {
        const struct greeted *first = &serve->greeted[serve->greeted_ring.first];
        struct peer *peer = &serve->slots[slot_of(first->token)];
        bool is_awaited = is_of_generation(first->token, peer->generation) && peer->state == PEER_GREETING;
        if (is_awaited && first->until_ns > now) return;
        ring_drop_first(&serve->greeted_ring);
        if (is_awaited) peer_lose(serve, peer, STEP_receive, OWN_PROXY_TIMEOUT);
    }
}

static void count(struct serve *serve, const struct header *header) {
    int64_t *page = serve_page(serve);
    page[header->version == 1 ? COUNT_proxy_v1 : COUNT_proxy_v2]++;
    if (!header->is_known) page[COUNT_proxy_unknown]++;
}

/* There is nothing to read, or it has ended. One that says nothing at all, as a health check, has done no wrong. */
static void stop(struct serve *serve, struct peer *peer, bool is_ended) {
    if (is_ended)
        peer_lose(serve, peer, STEP_receive, peer->header ? OWN_NO_PROXY_HEADER : ECONNRESET);
    else if (errno != EAGAIN)
        peer_lose(serve, peer, STEP_receive, errno);
}

bool peer_greet(struct serve *serve, struct peer *peer) {
    unsigned char bytes[LOOKED_AT];
    for (;;) {
        ssize_t length = recv(peer->fd, bytes, sizeof bytes, MSG_PEEK);
        if (length < 0 && errno == EINTR) continue;
        if (length <= 0) return stop(serve, peer, !length), false;
        if (!peer->header) peer->header = calloc(1, sizeof *peer->header);
        if (!peer->header) return peer_lose(serve, peer, STEP_receive, ENOMEM), false;
        size_t used;
        enum header_state state = header_take(peer->header, bytes, (size_t)length, &used);
        if (recv(peer->fd, bytes, used, 0) != (ssize_t)used || state == HEADER_bad)
            return peer_lose(serve, peer, STEP_receive, OWN_NO_PROXY_HEADER), false;
        peer_note_active(serve, peer);
        if (state == HEADER_part) continue;
        count(serve, peer->header);
        free(peer->header);
        peer->header = NULL;
        peer->state = PEER_ECHOING;
        return true;
    }
}
