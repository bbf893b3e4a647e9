/* What is said on a connection before its first message: the steps of a set-up, one after the other.
 *
 * A connection that is HANDSHAKING needs no memory of its own for that. Its `step` is the number of its step; `owed`
 * and `written` are bytes of that step's text, and its progress is that of the step's reply.
 */
#include <errno.h>
#include <stdlib.h>

#include "blast.h"
#include "transport.h"

void setup_close(struct setup *setup) {
    for (uint32_t i = 0; i < setup->count; i++) free(setup->steps[i].bytes);
    free(setup->steps);
    *setup = (struct setup){NULL, 0};
}

static struct setup_step *step_of(const struct blast *blast, const struct connection *connection) {
    return &blast->setup.steps[connection->step];
}

static void begin_step(const struct blast *blast, struct connection *connection, uint32_t number) {
    connection->step = (uint8_t)number;
    connection->written = 0;
    connection->owed = (int64_t)step_of(blast, connection)->length;
}

/* Writes what is left of the step's text. Returns whether that is all of it. */
static bool write_step(struct blast *blast, struct connection *connection) {
    const unsigned char *bytes = step_of(blast, connection)->bytes;
    while (connection->written < connection->owed) {
        size_t left = (size_t)(connection->owed - connection->written);
        ssize_t taken = transport_send(connection->fd, bytes + connection->written, left);
        if (taken >= 0) {
            connection->written += taken;
        } else if (errno == EAGAIN) {
            connection_watch(blast, connection, READS_AND_WRITES);
            return false;
        } else if (errno != EINTR) {
            connection_fail(blast, connection, STEP_handshake, errno);
            return false;
        }
    }
    connection_watch(blast, connection, READS);
    return connection->state != BROKEN;
}

/* Goes to the step after this one. Returns false if this is the last. */
static bool next_step(const struct blast *blast, struct connection *connection) {
    if (connection->step + 1u == blast->setup.count) return false;
    begin_step(blast, connection, connection->step + 1u);
    return true;
}

bool setup_write(struct blast *blast, struct connection *connection) {
    while (write_step(blast, connection)) {
        if (step_of(blast, connection)->is_answered) return false;
        if (!next_step(blast, connection)) return true;
    }
    return false;
}

bool setup_begin(struct blast *blast, struct connection *connection, int64_t at) {
    struct board *board = &blast->board;
    board_record(board, board_page(board, connection->due_ns), HISTOGRAM_connect, at - connection->due_ns);
    connection->state = HANDSHAKING;
    connection->established_ns = at;
    connection_need_deadline(blast, connection, look_at_timeout(blast, at + blast->options.connect_timeout_ns));
    begin_step(blast, connection, 0);
    return setup_write(blast, connection);
}

/* Takes bytes of the step's reply. */
static struct taken take_judged(struct setup_step *step, struct progress *progress, const unsigned char *bytes,
                                size_t length) {
    struct taken taken = rule_take(&step->rule, progress, bytes, length);
    if (!step->rule.judge || taken.wrong) return taken;
    progress->judged = judge_take(&step->rule, progress->judged, bytes, taken.length);
    if (!taken.is_whole) return taken;
    if (!judge_is_right(&step->rule, progress->judged)) taken.wrong = REPLY_WRONG_REPLY;
    progress->judged = 0;
    return taken;
}

/* Takes bytes of replies, and goes on with each that is whole. Returns a number of the board's if they are wrong: of
 * what is read before it was asked for nothing can be said but that. */
static int take(struct blast *blast, struct connection *connection, size_t length, bool *is_done) {
    struct progress *progress = &blast->progress[slot_number(blast, connection)];
    for (size_t at = 0; at < length;) {
        struct setup_step *step = step_of(blast, connection);
        if (!step->is_answered) return OWN_EXTRA_BYTES;
        struct taken taken = take_judged(step, progress, blast->buffer + at, length - at);
        at += taken.length;
        if (taken.wrong) return LAST_OWN + taken.wrong;
        if (!taken.is_whole) continue;
        bool is_last = !next_step(blast, connection);
        if (at < length && (is_last || connection->owed)) return OWN_EXTRA_BYTES;
        *is_done = is_last || setup_write(blast, connection);
        if (*is_done || connection->state == BROKEN) return at < length ? OWN_EXTRA_BYTES : 0;
    }
    return 0;
}

size_t setup_read(struct blast *blast, struct connection *connection, bool *is_done) {
    ssize_t length;
    do length = transport_receive(&blast->stamper, &blast->board, connection->fd, blast->buffer, READ_BYTES);
    while (length < 0 && errno == EINTR);
    if (length <= 0) {
        if (length < 0 && errno == EAGAIN) return 0;
        connection_fail(blast, connection, STEP_handshake, length ? errno : OWN_CLOSED_BY_PEER);
        return 0;
    }
    blast->read_ns = clock_ns();
    blast_see(blast, blast->read_ns);
    if (connection == blast->first.connection) connection_keep(blast, blast->buffer, (size_t)length);
    connection->received += length;
    int wrong = take(blast, connection, (size_t)length, is_done);
    if (!wrong) return (size_t)length;
    *is_done = false;
    connection_fail(blast, connection, STEP_handshake, wrong);
    return 0;
}

void setup_end(struct blast *blast, struct connection *connection) {
    connection->owed = connection->written = connection->received = 0;
    /* What came before its first reply is none of it. */
    if (connection == blast->first.connection) blast->first.came_length = 0;
}
