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
        connection_not_opened(blast, connection, STEP_connect, number);
        return;
    }
    int64_t now = clock_ns();
    blast_enter_phases(blast, now);
    connection_established(blast, connection, now);
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

/* Returns how many bytes that brought. In line, also where it is called twice: each reply comes this way. */
static inline __attribute__((always_inline)) size_t read_once(struct blast *blast, struct connection *connection) {
    struct came came = replies_read(blast, connection);
    if (came.replies) {
        blast_enter_phases(blast, blast->read_ns); /* it may close the connection */
        connection_go_on(blast, connection, blast->read_ns, true);
    }
    return came.length;
}

/* Edge-triggered: reads until there is nothing more, or it has had its turn. */
static __attribute__((noinline)) void read_edge(struct blast *blast, struct connection *connection, uint64_t token,
                                                uint32_t events) {
    for (int reads = 0; reads < READS_A_TURN; reads++) {
        size_t length = read_once(blast, connection);
        if (!length) return;
        /* Ended, broken, or opened anew in its place: nothing was read of that one yet. */
        bool is_same = is_of_generation(token, connection->generation) && connection->received;
        if (!is_same || connection->state == BROKEN) return;
        if (length < READ_BYTES && !(events & HIDES_MORE)) return;
    }
    read_on_later(blast, connection);
}

static void end_setup(struct blast *blast, struct connection *connection) {
    int64_t now = clock_ns();
    blast_enter_phases(blast, now);
    connection_shaken(blast, connection, now);
}

/* Reads what has come before the first message; edge-triggered, until there is nothing more. */
static void read_setup(struct blast *blast, struct connection *connection, uint32_t events) {
    for (int reads = 0; reads < READS_A_TURN; reads++) {
        bool is_done = false;
        size_t length = setup_read(blast, connection, &is_done);
        if (is_done) end_setup(blast, connection);
        if (!length || connection->state != HANDSHAKING || !blast->options.is_edge_triggered) return;
        if (length < READ_BYTES && !(events & HIDES_MORE)) return;
    }
    read_on_later(blast, connection);
}

/* Of a connection that is not open yet. Returns whether it is now, and there may be more to read: edge-triggered, what
 * came with that is not said again. */
static __attribute__((noinline)) bool open_by_event(struct blast *blast, struct connection *connection, uint64_t token,
                                                    uint32_t events) {
    if (connection->state == CONNECTING) {
        if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) return false;
        finish_connect(blast, connection);
        if (!is_of_generation(token, connection->generation)) return false;
    } else if ((events & EPOLLOUT) && connection->written < connection->owed && setup_write(blast, connection)) {
        end_setup(blast, connection);
    }
    if (connection->state == HANDSHAKING && (events & ~(uint32_t)EPOLLOUT)) {
        read_setup(blast, connection, events);
        return is_live(connection) && blast->options.is_edge_triggered;
    }
    return is_live(connection);
}

void connection_on_event(struct blast *blast, uint64_t token, uint32_t events) {
    struct connection *connection = &blast->slots[slot_of(token)];
    if (!is_of_generation(token, connection->generation)) return;
    if (connection->state < OPEN && !open_by_event(blast, connection, token, events)) return;
    if ((events & EPOLLOUT) && connection->written < connection->owed) {
        messages_write(blast, connection);
        int64_t now = clock_ns();
        blast_enter_phases(blast, now);
        if (connection->state == OPEN) messages_fill(blast, connection, now);
    }
    if (!is_live(connection) || !(events & ~(uint32_t)EPOLLOUT)) return;
    if (blast->options.is_edge_triggered)
        read_edge(blast, connection, token, events);
    else
        read_once(blast, connection);
}
