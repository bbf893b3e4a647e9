/* What goes out and comes in on open connections. */
#include <errno.h>
#include <stdlib.h>

#include "blast.h"

/* -- messages that wait */

void queue_push(struct blast *blast, struct queue *queue, int64_t intended) {
    uint32_t number = blast->free_node;
    if (number != NONE) {
        blast->free_node = blast->nodes[number].next;
    } else {
        if (blast->node_count == blast->node_capacity) {
            uint32_t capacity = blast->node_capacity ? 2 * blast->node_capacity : 1024;
            struct node *nodes = realloc(blast->nodes, capacity * sizeof *nodes);
            if (!nodes) {
                blast->is_out_of_memory = true;
                return;
            }
            blast->nodes = nodes;
            blast->node_capacity = capacity;
        }
        number = blast->node_count++;
    }
    blast->nodes[number] = (struct node){intended, NONE};
    if (queue->first == NONE)
        queue->first = number;
    else
        blast->nodes[queue->last].next = number;
    queue->last = number;
}

/* Takes the oldest out; there has to be one. */
int64_t queue_pop(struct blast *blast, struct queue *queue) {
    uint32_t number = queue->first;
    struct node *node = &blast->nodes[number];
    queue->first = node->next;
    node->next = blast->free_node;
    blast->free_node = number;
    return node->intended;
}

static void hold(struct blast *blast, struct connection *connection, int64_t intended) {
    struct queue queue = {connection->held_first, connection->held_last};
    queue_push(blast, &queue, intended);
    connection->held_first = queue.first;
    connection->held_last = queue.last;
    blast->waiting_count++;
}

static int64_t take_held(struct blast *blast, struct connection *connection) {
    struct queue queue = {connection->held_first, connection->held_last};
    int64_t intended = queue_pop(blast, &queue);
    connection->held_first = queue.first;
    blast->waiting_count--;
    return intended;
}

void messages_orphan(struct blast *blast, struct connection *connection) {
    /* One more: this connection may be the one that those before it waited for. */
    if (blast->waiting.first != NONE) blast->orphaned++;
    while (connection->held_first != NONE) {
        queue_push(blast, &blast->waiting, take_held(blast, connection));
        blast->waiting_count++;
        blast->orphaned++;
    }
}

/* Takes the older one of what waits for this connection and what waits for any; there has to be one. */
static int64_t take_waiting(struct blast *blast, struct connection *connection) {
    uint32_t own = connection->held_first, any = blast->waiting.first;
    if (any == NONE || (own != NONE && blast->nodes[own].intended <= blast->nodes[any].intended))
        return take_held(blast, connection);
    blast->waiting_count--;
    return queue_pop(blast, &blast->waiting);
}

static void drop_waiting(struct blast *blast) {
    while (blast->waiting.first != NONE) {
        board_count(&blast->board, COUNT_unsent, queue_pop(blast, &blast->waiting), 1);
        blast->waiting_count--;
    }
}

void messages_drop_due(struct blast *blast) {
    struct board *board = &blast->board;
    int64_t left = schedule_left(&blast->due);
    if (left) {
        int64_t *page = board_page(board, blast->due.next_ns);
        page[COUNT_intended] += left;
        page[COUNT_unsent] += left;
        if (blast->is_full) page[COUNT_waited] += left;
        blast_spend(blast, left);
    }
    schedule_clear(&blast->due);
    blast->is_full = false;
    drop_waiting(blast);
    for (uint32_t i = 0; blast->waiting_count && i < blast->live_count; i++) {
        struct connection *connection = &blast->slots[blast->live[i]];
        while (connection->held_first != NONE) board_count(board, COUNT_unsent, take_held(blast, connection), 1);
    }
}

/* -- out */

void messages_note(struct blast *blast, struct connection *connection, struct message message, uint32_t count) {
    struct board *board = &blast->board;
    int64_t bytes = count * blast->options.size;
    for (uint32_t i = 0; i < count; i++) *pending_at(blast, connection, connection->pending_count++) = message;
    board_begin_write(board);
    int64_t *page = board_page(board, message.sent);
    page[COUNT_sent_bytes] += bytes;
    if (message.intended != OPENING) {
        page[COUNT_window_sent] += count;
        page = board_page(board, message.intended);
        page[COUNT_sent] += count;
        /* In a closed loop a message is due when there is room for it; what a schedule wants was counted when due. */
        if (!blast->options.is_open_loop) {
            page[COUNT_intended] += count;
        } else {
            board_record(board, page, HISTOGRAM_lateness, message.taken - message.intended);
            board_record(board, page, HISTOGRAM_held, message.sent - message.taken);
        }
    }
    board_end_write(board);
    blast->pending_count += count;
    connection->owed += bytes;
    int64_t until = message.sent + blast->options.timeout_ns;
    if (!connection->timer_ns || connection->timer_ns > until)
        connection_need_deadline(blast, connection, look_at_timeout(blast, until));
}

void messages_write(struct blast *blast, struct connection *connection) {
    while (connection->written < connection->owed) {
        size_t length;
        const unsigned char *bytes =
            stream_at(&blast->stream, connection->written, connection->owed - connection->written, &length);
        ssize_t taken = send(connection->fd, bytes, length, MSG_NOSIGNAL);
        if (taken < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN) {
                connection_fail(blast, connection, STEP_send, errno);
                return;
            }
            taken = 0;
        }
        connection->written += taken;
        if ((size_t)taken < length) {
            connection_watch(blast, connection, READS_AND_WRITES);
            return;
        }
    }
    connection_watch(blast, connection, READS);
}

static void count_due(struct blast *blast, int64_t intended) {
    schedule_advance(&blast->due);
    board_count(&blast->board, COUNT_intended, intended, 1);
    blast_spend(blast, 1);
}

/* Sends a message that waited. Until the worker looked at the schedule it was late because of the worker, and because
 * of the target from then on. */
static void note_waited(struct blast *blast, struct connection *connection, int64_t intended, int64_t sent) {
    messages_note(blast, connection, (struct message){intended, looks_after(&blast->looks, intended), sent}, 1);
}

/* Sends what waits, while there is room. Returns whether anything did. */
static __attribute__((noinline)) bool fill_from_waiting(struct blast *blast, struct connection *connection) {
    int64_t sent = clock_ns();
    bool has_any = false;
    while (connection->pending_count < blast->options.depth &&
           (connection->held_first != NONE || blast->waiting.first != NONE)) {
        note_waited(blast, connection, take_waiting(blast, connection), sent);
        has_any = true;
    }
    return has_any;
}

/* Takes messages out of the schedule that found no place before, while there is room. Returns whether there was one. */
static bool fill_from_schedule(struct blast *blast, struct connection *connection) {
    bool has_any = false;
    int64_t sent = clock_ns();
    looks_note(&blast->looks, sent);
    while (connection->pending_count < blast->options.depth && blast->due.next_ns <= sent) {
        int64_t intended = blast->due.next_ns;
        board_count(&blast->board, COUNT_waited, intended, 1);
        count_due(blast, intended);
        note_waited(blast, connection, intended, sent);
        has_any = true;
    }
    if (blast->due.next_ns > sent) {
        blast->is_full = false;
        blast->check_ns = 0;
    }
    return has_any;
}

void messages_fill(struct blast *blast, struct connection *connection, int64_t now) {
    if (blast->is_sending) blast_enter_phases(blast, now); /* it may close the connection */
    if (!has_room(blast, connection)) return;
    if (blast->waiting_count && fill_from_waiting(blast, connection)) {
        /* What is due has to wait until it is written, too. */
    } else if (blast->is_full) {
        if (!fill_from_schedule(blast, connection)) return;
    } else if (blast->is_sending) {
        uint32_t room = blast->options.depth - connection->pending_count;
        uint32_t count = blast->is_counting && blast->budget < room ? (uint32_t)blast->budget : room;
        messages_note(blast, connection, (struct message){now, now, now}, count);
        blast_spend(blast, count);
    } else {
        return;
    }
    messages_write(blast, connection);
}

static struct connection *next_turn(struct blast *blast) {
    return &blast->slots[blast->live[++blast->turn % blast->live_count]];
}

/* Whether what is due may go out: always, and a little while into the drain. */
static bool may_go_out(const struct blast *blast) {
    if (blast->stage < STAGE_DRAIN) return true;
    return blast->held_until_ns != NEVER && blast->held_until_ns > clock_ns();
}

/* As many turns as messages have come, so that one with room is found; and one at least, so that what waits for any
 * connection never waits while each has room. */
void messages_give_orphans(struct blast *blast) {
    uint32_t turns = blast->orphaned < blast->live_count ? blast->orphaned : blast->live_count;
    bool has_place = blast->live_count || (blast->options.lifetime_ns >= 0 && blast->stage < STAGE_DRAIN);
    blast->orphaned = 0;
    if (!has_place || !may_go_out(blast)) drop_waiting(blast);
    for (; turns && blast->live_count && blast->waiting.first != NONE; turns--) {
        struct connection *connection = next_turn(blast);
        if (has_room(blast, connection)) messages_fill(blast, connection, clock_ns());
    }
}

static void send_due(struct blast *blast, struct connection *connection, int64_t intended) {
    int64_t sent = clock_ns();
    blast_see(blast, sent);
    /* While others wait we cannot have been late for want of a connection alone. */
    int64_t taken = blast->waiting_count ? looks_after(&blast->looks, intended) : sent;
    messages_note(blast, connection, (struct message){intended, taken, sent}, 1);
    messages_write(blast, connection);
}

/* The next connection in turn that has room; NULL if there is none. */
static struct connection *find_room(struct blast *blast) {
    for (uint32_t i = 1; i < blast->live_count; i++) {
        struct connection *connection = next_turn(blast);
        if (has_room(blast, connection)) return connection;
    }
    return NULL;
}

bool messages_take_due(struct blast *blast) {
    struct board *board = &blast->board;
    int64_t intended = blast->due.next_ns;
    if (!blast->live_count && (blast->options.lifetime_ns < 0 || blast->stage >= STAGE_DRAIN)) {
        count_due(blast, intended);
        board_count(board, COUNT_unsent, intended, 1);
        return true;
    }
    bool has_place = blast->waiting_count < MOST_WAITING;
    struct connection *connection = blast->live_count ? next_turn(blast) : NULL;
    if (connection && !has_room(blast, connection) && !has_place) connection = find_room(blast);
    if (!connection && !has_place) {
        blast->is_full = true;
        return false;
    }
    count_due(blast, intended);
    if (connection && has_room(blast, connection)) {
        send_due(blast, connection, intended);
        return true;
    }
    board_count(board, COUNT_waited, intended, 1);
    if (connection) {
        hold(blast, connection, intended);
    } else {
        queue_push(blast, &blast->waiting, intended);
        blast->waiting_count++;
    }
    return true;
}

/* -- in */

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

static void take(struct blast *blast, struct connection *connection, int64_t length, int64_t now) {
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
    if (wrong)
        connection_fail(blast, connection, STEP_receive, wrong);
    else if (completed)
        messages_replied(blast, connection, now, true);
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

void messages_read(struct blast *blast, struct connection *connection, uint32_t events) {
    uint32_t generation = connection->generation;
    for (int reads = 0; reads < READS_A_TURN;) {
        ssize_t length = stamper_receive(&blast->stamper, &blast->board, connection->fd, blast->buffer, READ_BYTES);
        if (length <= 0) {
            if (length < 0 && errno == EINTR) continue;
            if (length < 0 && errno == EAGAIN) return;
            connection_fail(blast, connection, STEP_receive, length ? errno : OWN_CLOSED_BY_PEER);
            return;
        }
        blast->read_ns = clock_ns();
        blast_see(blast, blast->read_ns);
        take(blast, connection, length, blast->read_ns);
        if (!blast->options.is_edge_triggered) return;
        /* Ended, broken, or opened anew in its place: nothing was read of that one yet. */
        if (connection->generation != generation || connection->state == BROKEN || !connection->received) return;
        if (length < READ_BYTES && !(events & HIDES_MORE)) return;
        reads++;
    }
    read_on_later(blast, connection);
}

void messages_replied(struct blast *blast, struct connection *connection, int64_t now, bool is_own_event) {
    if (connection->state == BROKEN) return;
    bool is_exchanging = blast->options.lifetime_ns == 0 && blast->is_sending; /* churn: one exchange a connection */
    if (connection->state == RETIRING || is_exchanging) {
        if (!connection->pending_count) connection_end(blast, connection, now, is_own_event);
    } else {
        messages_fill(blast, connection, now);
    }
}
