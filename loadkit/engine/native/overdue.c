/* Connections whose time is over: a connect or a reply that takes too long, and the end of a lifetime. */
#include <poll.h>

#include "blast.h"

/* Since when a connection waits for the peer; NEVER if it waits for nothing. Its last message may have its reply before
 * all of it is written, and then waits for room alone. No other has taken its place in the ring. */
static int64_t waits_since(const struct blast *blast, const struct connection *connection) {
    if (connection->state < OPEN) return connection->established_ns;
    if (connection->pending_count) return pending_at(blast, connection, 0)->sent;
    if (connection->written == connection->owed) return NEVER;
    return pending_at(blast, connection, blast->options.depth - 1)->sent;
}

/* When a connection has waited too long, without the worker's own standstills; NEVER if it waits for nothing. */
static int64_t expires_at(const struct blast *blast, const struct connection *connection) {
    int64_t since = waits_since(blast, connection);
    if (since == NEVER) return NEVER;
    bool is_opening = connection->state < OPEN;
    int64_t timeout = is_opening ? blast->options.connect_timeout_ns : blast->options.timeout_ns;
    return look_at_timeout(blast, since + timeout + standstills_since(&blast->standstills, since));
}

/* When a reply is over for want of further bytes; NEVER if none is under way. */
static int64_t quiet_at(const struct blast *blast, const struct connection *connection) {
    if (blast->rule.wire != WIRE_quiet || !is_live(connection) || !connection->pending_count) return NEVER;
    int64_t last = (int64_t)blast->progress[slot_number(blast, connection)].words[1];
    return last ? last + blast->rule.quiet_ns : NEVER;
}

/* Takes what the kernel has of a connection and epoll has not reported, as if it had. More may have been ready than a
 * wait returns; and an edge that was lost is reported by no wait (epoll(7)), so nothing but a deadline finds it. */
static __attribute__((noinline, cold)) void take_unreported(struct blast *blast, struct connection *connection) {
    struct pollfd polled = {.fd = connection->fd, .events = POLLIN | POLLOUT};
    if (is_in_line(connection)) return; /* poll(2) has much to say of a socket that was never connected */
    if (poll(&polled, 1, 0) <= 0) return;
    uint64_t token = token_of(KIND_CONNECTION, slot_number(blast, connection), connection->generation);
    /* The bits of poll(2) and epoll are the same. What came with a connect is read, too. */
    connection_on_event(blast, token, (uint32_t)polled.revents | EPOLLIN | HIDES_MORE);
}

static void expire(struct blast *blast, struct connection *connection) {
    if (connection->state == CONNECTING)
        connection_not_opened(blast, connection, STEP_connect, OWN_CONNECT_TIMEOUT);
    else if (connection->state == HANDSHAKING)
        connection_fail(blast, connection, STEP_handshake, OWN_HANDSHAKE_TIMEOUT);
    else if (connection->pending_count)
        connection_fail(blast, connection, STEP_receive, OWN_REPLY_TIMEOUT);
    else
        connection_fail(blast, connection, STEP_send, OWN_SEND_TIMEOUT);
}

static bool is_alive(const struct connection *connection) {
    return connection->state != FREE && connection->state != BROKEN;
}

/* Nothing has come for as long as ends a reply, unless epoll has not reported it. Its last byte says how long it took.
 */
static __attribute__((noinline)) void end_quiet(struct blast *blast, struct connection *connection, int64_t now) {
    take_unreported(blast, connection);
    if (quiet_at(blast, connection) > now) return;
    int64_t last = (int64_t)blast->progress[slot_number(blast, connection)].words[1];
    if (replies_end(blast, connection, last)) connection_go_on(blast, connection, clock_ns(), false);
}

void connection_on_deadline(struct blast *blast, struct deadline deadline, int64_t now) {
    struct connection *connection = &blast->slots[deadline.slot];
    if (connection->timer_ns != deadline.at_ns) return; /* an earlier one took its place */
    connection->timer_ns = 0;
    if (!is_alive(connection)) return;
    if (quiet_at(blast, connection) <= now) {
        end_quiet(blast, connection, now);
        if (!is_alive(connection)) return;
    }
    if (expires_at(blast, connection) <= now) {
        take_unreported(blast, connection);
        if (!is_alive(connection)) return; /* or it is another one by now, with times of its own */
    }
    int64_t next = expires_at(blast, connection);
    if (next <= now) {
        expire(blast, connection);
        return;
    }
    next = earlier(next, quiet_at(blast, connection));
    if (blast->options.lifetime_ns > 0 && connection->state == OPEN && !is_ending(blast)) {
        int64_t end = connection->established_ns + blast->options.lifetime_ns;
        if (end <= now) {
            connection_retire(blast, connection, end, true);
            if (connection->state != RETIRING) return;
        } else if (end < next) {
            next = end;
        }
    }
    if (next < NEVER) connection_need_deadline(blast, connection, next);
}
