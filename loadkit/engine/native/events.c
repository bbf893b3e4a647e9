/* What epoll reports of connections: that they are established, have room, or have something to read. Whatever happens
 * then belongs to the phase that has begun by the clock, so that is entered first. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "blast.h"
#include "itself.h"

/* Out of line, as it guards its stack: connection_on_event, which is there for each reply, need not. */
static __attribute__((noinline)) void finish_connect(struct blast *blast, struct connection *connection) {
    int number = 0;
    socklen_t length = sizeof number;
    if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &number, &length)) number = errno;
    const struct route *route = &blast->routes[connection->route];
    if (!number && route->may_meet_itself && meets_itself(connection->fd, &route->destination)) number = ECONNREFUSED;
    if (number) {
        connection_not_opened(blast, connection, number);
        return;
    }
    int64_t now = clock_ns();
    blast_enter_phases(blast, now);
    connection_opened(blast, connection, now, 0);
}

static void read_on_later(struct blast *blast, struct connection *connection) {
    if (connection->is_ready) return;
    if (blast->ready_count == blast->ready_capacity) {
        size_t capacity = blast->ready_capacity ? 2 * blast->ready_capacity : BATCH;
        uint64_t *ready = realloc(blast->ready, capacity * sizeof *ready);
        if (!ready) {
            blast->is_out_of_memory = true;
            return;
        }
        blast->ready = ready;
        blast->ready_capacity = capacity;
    }
    connection->is_ready = true;
    blast->ready[blast->ready_count++] =
        token_of(KIND_CONNECTION, slot_number(blast, connection), connection->generation);
}

static void go_on(struct blast *blast, struct connection *connection, int64_t now) {
    blast_enter_phases(blast, now); /* it may close the connection */
    connection_go_on(blast, connection, now, true);
}

static void read_some(struct blast *blast, struct connection *connection, uint32_t events) {
    uint32_t generation = connection->generation;
    for (int reads = 0; reads < READS_A_TURN; reads++) {
        struct came came = replies_read(blast, connection);
        if (came.replies) go_on(blast, connection, blast->read_ns);
        if (!blast->options.is_edge_triggered || !came.length) return;
        /* Ended, broken, or opened anew in its place: nothing was read of that one yet. */
        if (connection->generation != generation || connection->state == BROKEN || !connection->received) return;
        if (came.length < READ_BYTES && !(events & HIDES_MORE)) return;
    }
    read_on_later(blast, connection);
}

void connection_on_event(struct blast *blast, uint64_t token, uint32_t events) {
    struct connection *connection = &blast->slots[slot_of(token)];
    if (!is_of_generation(token, connection->generation)) return;
    if (connection->state == CONNECTING) {
        if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) return;
        finish_connect(blast, connection);
        if (!is_of_generation(token, connection->generation)) return;
        /* What came with it is read below: edge-triggered, it is not said again. */
    }
    if ((events & EPOLLOUT) && connection->written < connection->owed) {
        messages_write(blast, connection);
        int64_t now = clock_ns();
        blast_enter_phases(blast, now);
        if (connection->state == OPEN) messages_fill(blast, connection, now);
    }
    if (is_live(connection) && (events & ~(uint32_t)EPOLLOUT)) read_some(blast, connection, events);
}
