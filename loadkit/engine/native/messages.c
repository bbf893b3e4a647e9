/* What goes out: messages that are due, that wait for room, and that are written. */
#include <errno.h>
#include <stdlib.h>

#include "blast.h"
#include "transport.h"

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

void messages_spend(struct blast *blast, int64_t count) {
    if (!blast->is_counting || (blast->budget -= count) > 0) return;
    schedule_clear(&blast->due);
    if (pauses_are_asked(&blast->pauses)) pauses_cut(blast, 0); /* what is beyond the last one is not due */
    blast->is_spent = true;
    blast->is_sending = blast->is_pausing = false;
}

void messages_drop_due(struct blast *blast) {
    struct board *board = &blast->board;
    if (pauses_are_asked(&blast->pauses)) pauses_drop(blast, blast->seen_ns);
    int64_t left = schedule_left(&blast->due);
    if (left) {
        int64_t *page = board_page(board, blast->due.next_ns);
        page[COUNT_intended] += left;
        page[COUNT_unsent] += left;
        if (blast->is_full) page[COUNT_waited] += left;
        messages_spend(blast, left);
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

static inline void note_pending(const struct blast *blast, struct connection *connection, struct message message,
                                uint32_t count) {
    struct message *ring = ring_of(blast, connection);
    uint32_t place = pending_place(blast, connection, connection->pending_count);
    connection->pending_count += count;
    for (; count; count--) {
        ring[place] = message;
        if (++place == blast->options.depth) place = 0;
    }
}

void messages_note(struct blast *blast, struct connection *connection, struct message message, uint32_t count) {
    struct board *board = &blast->board;
    int64_t size = blast->one_size;
    int64_t bytes = __builtin_expect(size > 0, 1) ? count * size : origin_note(blast, connection, message.sent, count);
    note_pending(blast, connection, message, count);
    board_begin_write(board);
    int64_t *page = board_page(board, message.sent);
    page[COUNT_sent_bytes] += bytes;
    if (message.intended != OPENING) {
        page[COUNT_window_sent] += count;
        if (message.intended != message.sent) page = board_page(board, message.intended);
        page[COUNT_sent] += count;
        /* In a closed loop a message is due when there is room for it; what a schedule wants was counted when due. */
        if (!blast->options.is_timed) {
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
        const unsigned char *bytes = stream_bytes(blast, connection, connection->owed - connection->written, &length);
        ssize_t taken = transport_send(connection->fd, bytes, length);
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
    messages_spend(blast, 1);
}

/* Sends a message that waited. Until the worker looked at the schedule it was late because of the worker, and because
 * of the target from then on. */
static void note_waited(struct blast *blast, struct connection *connection, int64_t intended, int64_t sent) {
    messages_note(blast, connection, (struct message){intended, looks_after(&blast->looks, intended), sent}, 1);
}

/* Whether anything waits for this connection, or for any. */
static bool waits_for(const struct blast *blast, const struct connection *connection) {
    return connection->held_first != NONE || blast->waiting.first != NONE;
}

/* Sends what waits, while there is room. */
static __attribute__((noinline)) void fill_from_waiting(struct blast *blast, struct connection *connection) {
    int64_t sent = clock_ns();
    while (connection->pending_count < blast->options.depth && waits_for(blast, connection))
        note_waited(blast, connection, take_waiting(blast, connection), sent);
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
    if (!has_room(blast, connection)) return;
    if (blast->waiting_count && waits_for(blast, connection)) {
        /* What is due has to wait until it is written, too. */
        fill_from_waiting(blast, connection);
    } else if (blast->is_full) {
        if (!fill_from_schedule(blast, connection)) return;
    } else if (blast->is_sending) {
        uint32_t room = blast->options.depth - connection->pending_count;
        uint32_t count = blast->is_counting && blast->budget < room ? (uint32_t)blast->budget : room;
        messages_note(blast, connection, (struct message){now, now, now}, count);
        messages_spend(blast, count);
    } else {
        if (blast->is_pausing) pauses_begin(blast, connection, now, false);
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

/* Sends the message of the pause that is over. There is room for it: a connection pauses once it has its reply. */
static void take_pause(struct blast *blast) {
    int64_t intended;
    struct connection *connection = pauses_take(blast, &intended);
    if (!connection || !has_room(blast, connection)) return;
    board_count(&blast->board, COUNT_intended, intended, 1);
    messages_spend(blast, 1);
    send_due(blast, connection, intended);
}

bool messages_take_due(struct blast *blast) {
    struct board *board = &blast->board;
    int64_t intended = blast->due.next_ns;
    if (pauses_are_asked(&blast->pauses)) {
        take_pause(blast);
        return true;
    }
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
