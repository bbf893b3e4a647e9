/* What comes in: replies, in any segmentation, and whether they are right and in time. */
#include <errno.h>

#include "blast.h"

/* Whether a reply came after the time-out, as of the wait that told of it, less what we stood still. A standstill
 * counts from when the wait was to end: where that was this message's own deadline, the time-out and its grain had
 * passed by then. */
static bool is_late(const struct blast *blast, const struct message *message, int64_t since) {
    int64_t stood = standstills_since(&blast->standstills, message->sent);
    return since - message->sent - stood > (stood ? 2 * blast->grain_ns : 0);
}

static void record_reply(struct blast *blast, const struct message *message, int64_t now, int64_t *now_page) {
    struct board *board = &blast->board;
    if (message->intended == OPENING) return;
    now_page[COUNT_window_replied]++;
    int64_t *page = board_page(board, message->intended);
    int64_t latency = now - message->intended, service = now - message->sent, late = message->taken - message->intended;
    int64_t index = board_index(board, latency);
    bool has_stood = message->intended < blast->standstills.until;
    page[COUNT_replied]++;
    board_add(board, page, HISTOGRAM_latency, latency, index);
    /* In a closed loop the two are the same. */
    board_add(board, page, HISTOGRAM_service, service, service == latency ? index : board_index(board, service));
    if (!has_stood && late * 10 <= latency) return;
    board_record(board, page, HISTOGRAM_disturbed, latency);
    page[COUNT_stood] += has_stood;
}

/* Counts the replies that these bytes end; returns their number. `*wrong` becomes REPLY_TIMEOUT if one is too late. */
static uint32_t count_replies(struct blast *blast, struct connection *connection, int64_t length, int64_t now,
                              int *wrong) {
    const uint32_t depth = blast->options.depth;
    const int64_t size = blast->options.size, oldest = blast->poller.last.return_ns - blast->options.timeout_ns;
    const struct message *ring = &blast->pending[(size_t)slot_number(blast, connection) * depth];
    uint32_t completed = 0, first = connection->pending_first;
    int64_t into = connection->into + length, *page = board_page(&blast->board, now);
    page[COUNT_received_bytes] += length;
    for (; into >= size; into -= size, completed++) {
        const struct message *message = &ring[first];
        if (message->sent < oldest && is_late(blast, message, oldest)) {
            *wrong = OWN_REPLY_TIMEOUT;
            break;
        }
        record_reply(blast, message, now, page);
        if (++first == depth) first = 0;
    }
    connection->into = into;
    connection->pending_first = first;
    connection->pending_count -= completed;
    blast->pending_count -= completed;
    if (completed) blast->board.state[STATE_replied_ns] = now;
    return completed;
}

static void note_first_byte(struct blast *blast, struct connection *connection, int64_t now) {
    struct board *board = &blast->board;
    connection_settle(blast, connection);
    blast_count_answered(blast, 1);
    int64_t *page = board_page(board, connection->due_ns);
    board_record(board, page, HISTOGRAM_first_byte, now - connection->established_ns);
}

static uint32_t take(struct blast *blast, struct connection *connection, int64_t length, int64_t now) {
    struct board *board = &blast->board;
    int wrong = 0;
    if (connection->received + length > connection->written)
        wrong = OWN_EXTRA_BYTES;
    else if (blast->options.is_checked &&
             !stream_matches(&blast->stream, connection->received, blast->buffer, (size_t)length))
        wrong = OWN_WRONG_BYTES;
    board_begin_write(board);
    if (!connection->received) note_first_byte(blast, connection, now);
    bool is_first = connection == blast->first.connection;
    if (is_first) connection_keep(blast, blast->buffer, (size_t)length);
    connection->received += length;
    uint32_t completed = 0;
    if (wrong)
        board_count(board, COUNT_received_bytes, now, length);
    else
        completed = count_replies(blast, connection, length, now, &wrong);
    board_end_write(board);
    if (is_first && completed) connection_prove(blast, connection, PROOF_right);
    if (!wrong) return completed;
    connection_fail(blast, connection, STEP_receive, wrong);
    return 0;
}

struct came replies_read(struct blast *blast, struct connection *connection) {
    ssize_t length;
    do length = stamper_receive(&blast->stamper, &blast->board, connection->fd, blast->buffer, READ_BYTES);
    while (length < 0 && errno == EINTR);
    if (length <= 0) {
        if (length < 0 && errno == EAGAIN) return (struct came){0, 0};
        connection_fail(blast, connection, STEP_receive, length ? errno : OWN_CLOSED_BY_PEER);
        return (struct came){0, 0};
    }
    blast->read_ns = clock_ns();
    blast_see(blast, blast->read_ns);
    return (struct came){(size_t)length, take(blast, connection, length, blast->read_ns)};
}
