/* What comes in: replies, in any segmentation, and whether they are right and in time. */
#include <errno.h>
#include <string.h>

#include "blast.h"
#include "transport.h"

/* Whether a reply came after the time-out, as of the wait that told of it, less what we stood still. A standstill
 * counts from when the wait was to end: where that was this message's own deadline, the time-out and its grain had
 * passed by then. */
static bool is_late(const struct blast *blast, const struct message *message, int64_t since) {
    int64_t stood = standstills_since(&blast->standstills, message->sent);
    return since - message->sent - stood > (stood ? 2 * blast->grain_ns : 0);
}

/* In line with the echo and with other wires alike: out of line a reply takes 36 instructions more. */
#define IN_LINE static inline __attribute__((always_inline))

IN_LINE void record_reply(struct blast *blast, const struct message *message, int64_t now, int64_t *now_page) {
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

/* Whether a reply comes too late, and counts as none: its message was sent before `oldest`. */
IN_LINE bool is_too_late(const struct blast *blast, const struct message *message, int64_t oldest) {
    return message->sent < oldest && is_late(blast, message, oldest);
}

/* Counts the reply to a message. Returns false if it is too late. */
IN_LINE bool count_reply(struct blast *blast, const struct message *message, int64_t oldest, int64_t now,
                         int64_t *page) {
    if (is_too_late(blast, message, oldest)) return false;
    record_reply(blast, message, now, page);
    return true;
}

static inline int64_t oldest_in_time(const struct blast *blast) {
    return blast->poller.last.return_ns - blast->options.timeout_ns;
}

/* The oldest messages have their replies; the next one is at `first` of the ring. */
static inline void let_go(struct blast *blast, struct connection *connection, uint32_t first, uint32_t replies,
                          int64_t now) {
    connection->pending_first = first;
    connection->pending_count -= replies;
    blast->pending_count -= replies;
    if (replies) blast->board.state[STATE_replied_ns] = now;
}

static int check_echo(const struct blast *blast, const struct connection *connection, int64_t length) {
    if (connection->received + length > connection->written) return OWN_EXTRA_BYTES;
    bool is_right = !blast->options.is_checked ||
                    script_matches(&blast->script, connection->received, blast->buffer, (size_t)length);
    return is_right ? 0 : OWN_WRONG_BYTES;
}

/* Of a connection that has an origin: what is fresh is not checked. */
static int check_from_origin(const struct blast *blast, const struct connection *connection, int64_t length) {
    const struct script *script = &blast->script;
    int64_t position = origin_of(blast, connection) + connection->received;
    if (connection->received + length > connection->written) return OWN_EXTRA_BYTES;
    bool is_right =
        !blast->options.is_checked ||
        (script->patch_count ? script_matches_but_for_patches(script, position, blast->buffer, (size_t)length)
                             : script_matches(script, position, blast->buffer, (size_t)length));
    return is_right ? 0 : OWN_WRONG_BYTES;
}

IN_LINE void note_first_byte(struct blast *blast, struct connection *connection, int64_t now) {
    struct board *board = &blast->board;
    connection_settle(blast, connection);
    blast_count_answered(blast, 1);
    int64_t *page = board_page(board, connection->due_ns);
    board_record(board, page, HISTOGRAM_first_byte, now - connection->established_ns);
}

/* So many bytes have come, whatever they are. Returns the page of their counters. */
IN_LINE int64_t *count_bytes(struct blast *blast, struct connection *connection, size_t length, int64_t now) {
    if (!connection->received) note_first_byte(blast, connection, now);
    if (connection == blast->first.connection) connection_keep(blast, blast->buffer, length);
    connection->received += (int64_t)length;
    int64_t *page = board_page(&blast->board, now);
    page[COUNT_received_bytes] += (int64_t)length;
    return page;
}

/* What came is counted, and wrong if there is a number: then a right reply before it proves nothing. Returns how many
 * replies to go on after. */
IN_LINE uint32_t settle(struct blast *blast, struct connection *connection, uint32_t replies, int step, int number) {
    if (number) {
        connection_fail(blast, connection, step, number);
        return 0;
    }
    if (connection == blast->first.connection && replies) connection_prove(blast, connection, PROOF_right);
    return replies;
}

/* Counts the echoes that end with these bytes, which are received: they end where the messages do. `*wrong` becomes
 * REPLY_TIMEOUT if one is too late. `one_size`: of every message; 0: they have several lengths. */
IN_LINE uint32_t count_echoes(struct blast *blast, struct connection *connection, int64_t length, int64_t now,
                              int64_t *page, int64_t one_size, int *wrong) {
    const struct message *ring = ring_of(blast, connection);
    const uint32_t depth = blast->options.depth;
    const int64_t oldest = oldest_in_time(blast);
    uint32_t replies = 0, first = connection->pending_first;
    int64_t into = connection->into + length;
    const int64_t origin = one_size ? 0 : origin_of(blast, connection);
    int64_t size = one_size ? one_size : script_length(&blast->script, origin + connection->received - into);
    for (; into >= size; replies++) {
        if (!count_reply(blast, &ring[first], oldest, now, page)) {
            *wrong = OWN_REPLY_TIMEOUT;
            break;
        }
        if (++first == depth) first = 0;
        into -= size;
        if (!one_size) size = script_length(&blast->script, origin + connection->received - into);
    }
    connection->into = into;
    let_go(blast, connection, first, replies, now);
    return replies;
}

/* Apart, so that messages of one size, as nearly all are, take no branch for the others. */
static __attribute__((noinline)) uint32_t take_several(struct blast *blast, struct connection *connection,
                                                       size_t length, int64_t now) {
    int wrong = blast->origins ? check_from_origin(blast, connection, (int64_t)length)
                               : check_echo(blast, connection, (int64_t)length);
    uint32_t replies = 0;
    board_begin_write(&blast->board);
    int64_t *page = count_bytes(blast, connection, length, now);
    if (!wrong) replies = count_echoes(blast, connection, (int64_t)length, now, page, 0, &wrong);
    board_end_write(&blast->board);
    return settle(blast, connection, replies, STEP_receive, wrong);
}

static uint32_t take_echoes(struct blast *blast, struct connection *connection, size_t length, int64_t now) {
    int64_t size = blast->plain_size;
    if (__builtin_expect(!size, 0)) return take_several(blast, connection, length, now);
    int wrong = check_echo(blast, connection, (int64_t)length);
    uint32_t replies = 0;
    board_begin_write(&blast->board);
    int64_t *page = count_bytes(blast, connection, length, now);
    if (!wrong) replies = count_echoes(blast, connection, (int64_t)length, now, page, size, &wrong);
    board_end_write(&blast->board);
    return settle(blast, connection, replies, STEP_receive, wrong);
}

/* A reply that ends where it should says something else than it should: its message has failed, and its connection goes
 * on. The first one's last piece is kept, which is nearly always all of it. */
static __attribute__((noinline)) void count_wrong(struct blast *blast, const struct message *message,
                                                  const unsigned char *piece, size_t length, int64_t now) {
    int64_t *kept = &blast->board.state[STATE_wrong_0];
    if (message->intended != OPENING) board_count(&blast->board, COUNT_failed, message->intended, 1);
    board_error(&blast->board, STEP_reply, REPLY_WRONG_REPLY, now);
    if (*kept || !length) return;
    memcpy(kept + 1, piece, length < WRONG_BYTES ? length : WRONG_BYTES);
    *kept = (int64_t)length;
}

/* Counts a whole reply, whose last piece this is. Returns what is wrong with it for good. */
static int16_t count_framed(struct blast *blast, struct connection *connection, const struct message *message,
                            const unsigned char *piece, size_t length, int64_t now, int64_t *page) {
    uint64_t *judged = blast->rule.judge ? &blast->progress[slot_number(blast, connection)].judged : NULL;
    bool is_right = !judged || judge_is_right(&blast->rule, *judged);
    if (judged) *judged = 0;
    if (is_too_late(blast, message, oldest_in_time(blast))) return OWN_REPLY_TIMEOUT;
    /* What the first connection is told first says whether the target is the right one. */
    if (!is_right && connection == blast->first.connection) return -REPLY_WRONG_REPLY;
    if (is_right)
        record_reply(blast, message, now, page);
    else
        count_wrong(blast, message, piece, length, now);
    return 0;
}

/* The same of any other wire: its framing says where a reply ends. */
static __attribute__((noinline)) uint32_t take_framed(struct blast *blast, struct connection *connection, size_t length,
                                                      int64_t now) {
    struct progress *progress = &blast->progress[slot_number(blast, connection)];
    const struct message *ring = ring_of(blast, connection);
    uint32_t replies = 0, first = connection->pending_first;
    int step = STEP_receive, wrong = 0;
    board_begin_write(&blast->board);
    int64_t *page = count_bytes(blast, connection, length, now);
    for (size_t at = 0; at < length && !wrong;) {
        if (replies == connection->pending_count) {
            /* What comes behind a quiet time is the rest of a reply that was taken for whole. */
            wrong = blast->rule.wire == WIRE_quiet ? 0 : OWN_EXTRA_BYTES;
            break;
        }
        const unsigned char *piece = blast->buffer + at;
        struct taken taken = rule_take(&blast->rule, progress, piece, length - at);
        at += taken.length;
        if (blast->rule.judge) progress->judged = judge_take(&blast->rule, progress->judged, piece, taken.length);
        wrong = -taken.wrong;
        if (taken.wrong || !taken.is_whole) continue;
        wrong = count_framed(blast, connection, &ring[first], piece, taken.length, now, page);
        if (wrong) continue;
        if (++first == blast->options.depth) first = 0;
        replies++;
    }
    if (wrong < 0) {
        step = STEP_reply;
        wrong = -wrong;
    } else if (blast->rule.wire == WIRE_quiet && connection->pending_count) {
        progress->words[1] = (uint64_t)now;
        connection_need_deadline(blast, connection, now + blast->rule.quiet_ns);
    }
    let_go(blast, connection, first, replies, now);
    board_end_write(&blast->board);
    return settle(blast, connection, replies, step, wrong);
}

uint32_t replies_end(struct blast *blast, struct connection *connection, int64_t at) {
    struct progress *progress = &blast->progress[slot_number(blast, connection)];
    board_begin_write(&blast->board);
    int64_t *page = board_page(&blast->board, at);
    int wrong = count_framed(blast, connection, pending_at(blast, connection, 0), NULL, 0, at, page);
    progress->words[0] = progress->words[1] = 0;
    if (!wrong) let_go(blast, connection, pending_place(blast, connection, 1), 1, at);
    board_end_write(&blast->board);
    return settle(blast, connection, !wrong, wrong < 0 ? STEP_reply : STEP_receive, wrong < 0 ? -wrong : wrong);
}

/* Whether the end of the connection is that of a reply. */
static bool ends_reply(const struct blast *blast, const struct connection *connection) {
    return blast->rule.wire == WIRE_closed && connection->received && connection->pending_count;
}

struct came replies_read(struct blast *blast, struct connection *connection) {
    ssize_t length;
    do length = transport_receive(&blast->stamper, &blast->board, connection->fd, blast->buffer, READ_BYTES);
    while (length < 0 && errno == EINTR);
    if (length <= 0) {
        if (length < 0 && errno == EAGAIN) return (struct came){0, 0};
        if (!length && ends_reply(blast, connection)) {
            blast->read_ns = clock_ns();
            blast_see(blast, blast->read_ns);
            return (struct came){0, replies_end(blast, connection, blast->read_ns)};
        }
        connection_fail(blast, connection, STEP_receive, length ? errno : OWN_CLOSED_BY_PEER);
        return (struct came){0, 0};
    }
    blast->read_ns = clock_ns();
    blast_see(blast, blast->read_ns);
    uint32_t replies = __builtin_expect(blast->rule.wire == WIRE_echo, 1)
                           ? take_echoes(blast, connection, (size_t)length, blast->read_ns)
                           : take_framed(blast, connection, (size_t)length, blast->read_ns);
    return (struct came){(size_t)length, replies};
}
