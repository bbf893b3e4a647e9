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
    blast->held_count++;
}

static int64_t take_held(struct blast *blast, struct connection *connection) {
    struct queue queue = {connection->held_first, connection->held_last};
    int64_t intended = queue_pop(blast, &queue);
    connection->held_first = queue.first;
    blast->held_count--;
    return intended;
}

void messages_orphan(struct blast *blast, struct connection *connection) {
    while (connection->held_first != NONE) queue_push(blast, &blast->orphans, take_held(blast, connection));
}

void messages_drop_due(struct blast *blast, int64_t now) {
    struct board *board = &blast->board;
    for (; blast->due.next_ns <= now; schedule_advance(&blast->due)) {
        int64_t *page = board_page(board, blast->due.next_ns);
        page[COUNT_intended]++;
        page[COUNT_unsent]++;
    }
    schedule_clear(&blast->due);
    while (blast->waiting.first != NONE) board_count(board, COUNT_unsent, queue_pop(blast, &blast->waiting), 1);
    for (uint32_t i = 0; blast->held_count && i < blast->live_count; i++) {
        struct connection *connection = &blast->slots[blast->live[i]];
        while (connection->held_first != NONE) board_count(board, COUNT_unsent, take_held(blast, connection), 1);
    }
}

/* -- out */

void messages_note(struct blast *blast, struct connection *connection, int64_t intended, int64_t sent, uint32_t count) {
    struct board *board = &blast->board;
    int64_t *page = board_page(board, intended);
    board_begin_write(board);
    for (uint32_t i = 0; i < count; i++) {
        *pending_at(blast, connection, connection->pending_count++) = (struct message){intended, sent};
        board_record(board, page, HISTOGRAM_lateness, sent - intended);
    }
    page[COUNT_sent] += count;
    /* In a closed loop a message is due when there is room for it; what is due by schedule was counted when it was. */
    if (!blast->options.is_open_loop) page[COUNT_intended] += count;
    page[COUNT_sent_bytes] += count * blast->options.size;
    board_end_write(board);
    blast->pending_count += count;
    connection->owed += count * blast->options.size;
    connection_need_deadline(blast, connection, look_at_timeout(blast, sent + blast->options.timeout_ns));
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
            connection_watch(blast, connection, EPOLLIN | EPOLLRDHUP | EPOLLOUT);
            return;
        }
    }
    connection_watch(blast, connection, EPOLLIN | EPOLLRDHUP);
}

void messages_fill(struct blast *blast, struct connection *connection, int64_t now) {
    if (!has_room(blast, connection)) return;
    uint32_t room = blast->options.depth - connection->pending_count;
    if (connection->held_first != NONE) {
        int64_t sent = clock_ns();
        for (; room && connection->held_first != NONE; room--)
            messages_note(blast, connection, take_held(blast, connection), sent, 1);
    } else if (blast->is_sending) {
        uint32_t count = blast->budget < room ? (uint32_t)blast->budget : room;
        messages_note(blast, connection, now, now, count);
        blast->budget -= count - 1;
        blast_spend(blast);
    } else {
        return;
    }
    messages_write(blast, connection);
}

static void send_one(struct blast *blast, struct connection *connection, int64_t intended) {
    messages_note(blast, connection, intended, clock_ns(), 1);
    messages_write(blast, connection);
}

void messages_dispatch(struct blast *blast, int64_t intended, bool was_held) {
    struct board *board = &blast->board;
    bool is_draining = blast->stage >= STAGE_DRAIN;
    if (is_draining && (blast->held_until_ns == NEVER || blast->held_until_ns <= clock_ns())) {
        board_count(board, COUNT_unsent, intended, 1);
        return;
    }
    struct connection *connection = NULL;
    if (blast->live_count) {
        connection = &blast->slots[blast->live[++blast->turn % blast->live_count]];
        if (has_room(blast, connection)) {
            send_one(blast, connection, intended);
            return;
        }
    }
    if (!connection && (blast->options.lifetime_ns < 0 || is_draining)) {
        board_count(board, COUNT_unsent, intended, 1);
        return;
    }
    if (!was_held) board_count(board, COUNT_waited, intended, 1);
    if (connection)
        hold(blast, connection, intended);
    else
        queue_push(blast, &blast->waiting, intended);
}

/* -- in */

/* Counts the bytes for the messages they belong to; returns how many replies they end. */
static uint32_t count_replies(struct blast *blast, struct connection *connection, int64_t length, int64_t now) {
    struct board *board = &blast->board;
    uint32_t completed = 0;
    while (length) {
        const struct message *message = pending_at(blast, connection, 0);
        int64_t *page = board_page(board, message->intended);
        int64_t missing = blast->options.size - connection->into;
        if (length < missing) {
            connection->into += length;
            page[COUNT_received_bytes] += length;
            break;
        }
        length -= missing;
        connection->into = 0;
        page[COUNT_received_bytes] += missing;
        page[COUNT_replied]++;
        board_record(board, page, HISTOGRAM_latency, now - message->intended);
        board_record(board, page, HISTOGRAM_service, now - message->sent);
        if (++connection->pending_first == blast->options.depth) connection->pending_first = 0;
        connection->pending_count--;
        completed++;
    }
    blast->pending_count -= completed;
    return completed;
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
    if (!connection->received) {
        connection_settle_opening(blast, connection);
        int64_t *page = board_page(board, connection->due_ns);
        board_record(board, page, HISTOGRAM_first_byte, now - connection->established_ns);
    }
    bool is_first = connection == blast->first.connection;
    if (is_first) connection_keep(blast, blast->buffer, (size_t)length);
    connection->received += length;
    uint32_t completed = 0;
    if (wrong)
        board_count(board, COUNT_received_bytes, now, length);
    else
        completed = count_replies(blast, connection, length, now);
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
        take(blast, connection, length, blast->read_ns);
        if (!blast->options.is_edge_triggered) return;
        /* Ended, broken, or opened anew in its place: nothing was read of that one yet. */
        if (connection->generation != generation || connection->state == BROKEN || !connection->received) return;
        /* A short read has emptied the socket (epoll(7)), unless the end of the stream is behind it. */
        if (length < READ_BYTES && !(events & EPOLLRDHUP)) return;
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
