/* Connections: opened, watched, ended. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "blast.h"
#include "itself.h"
#include "tcp_info.h"

/* A churning connection that could not be opened, or broke, is tried again after this: long enough not to hammer a peer
 * that refuses, short enough that a restarted one is found. */
#define RETRY_NS (NS_PER_S / 10)
/* So few deadlines are kept though they do not count any more. */
enum { FEW_DEADLINES = 1024 };
/* -- slots */

static void *reserve(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

int connections_open(struct blast *blast, uint32_t limit) {
    blast->slot_limit = limit;
    blast->free_slot = blast->broken_slot = NONE;
    blast->slots_bytes = limit * sizeof *blast->slots;
    blast->pending_bytes = (size_t)limit * blast->options.depth * sizeof *blast->pending;
    blast->live_bytes = limit * sizeof *blast->live;
    blast->slots = reserve(blast->slots_bytes);
    blast->pending = reserve(blast->pending_bytes);
    blast->live = reserve(blast->live_bytes);
    return blast->slots && blast->pending && blast->live ? 0 : -1;
}

void connections_close(struct blast *blast) {
    for (uint32_t i = 0; i < blast->slot_count; i++)
        if (blast->slots[i].state != FREE && blast->slots[i].fd >= 0) close(blast->slots[i].fd);
    blast->slot_count = 0;
    if (blast->slots) munmap(blast->slots, blast->slots_bytes);
    if (blast->pending) munmap(blast->pending, blast->pending_bytes);
    if (blast->live) munmap(blast->live, blast->live_bytes);
    blast->slots = NULL;
    blast->pending = NULL;
    blast->live = NULL;
}

static struct connection *take_slot(struct blast *blast) {
    struct connection *connection;
    if (blast->free_slot != NONE) {
        connection = &blast->slots[blast->free_slot];
        blast->free_slot = connection->link;
    } else if (blast->slot_count < blast->slot_limit) {
        connection = &blast->slots[blast->slot_count++];
        connection->fd = -1;
    } else {
        return NULL;
    }
    blast->used_count++;
    return connection;
}

static void free_slot(struct blast *blast, struct connection *connection) {
    connection->state = FREE;
    connection->generation++;
    blast->used_count--;
    connection->link = blast->free_slot;
    blast->free_slot = slot_number(blast, connection);
}

/* -- what epoll watches */

void connection_change_watch(struct blast *blast, struct connection *connection, enum interest interest) {
    static const uint32_t events[] = {
        [CONNECTS] = EPOLLOUT,
        [READS] = EPOLLIN | EPOLLRDHUP,
        [READS_AND_WRITES] = EPOLLIN | EPOLLRDHUP | EPOLLOUT,
        [ALL_EDGES] = EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLOUT | EPOLLET,
    };
    if (connection->state == BROKEN) return;
    uint64_t token = token_of(KIND_CONNECTION, slot_number(blast, connection), connection->generation);
    int failed = connection->interest ? poller_change(&blast->poller, connection->fd, events[interest], token)
                                      : poller_add(&blast->poller, connection->fd, events[interest], token);
    if (failed)
        connection_fail(blast, connection, STEP_connect, errno);
    else
        connection->interest = (uint8_t)interest;
}

/* Drops the deadlines that do not count any more: a connection with a short life leaves that of its last message. */
static void tidy_deadlines(struct blast *blast) {
    struct deadline *heap = blast->deadlines.heap;
    size_t kept = 0;
    for (size_t i = 0; i < blast->deadlines.count; i++)
        if (blast->slots[heap[i].slot].timer_ns == heap[i].at_ns) heap[kept++] = heap[i];
    deadlines_keep(&blast->deadlines, kept);
}

void connection_push_deadline(struct blast *blast, struct connection *connection, int64_t at) {
    /* Of those that count there is one a slot. */
    if (blast->deadlines.count > FEW_DEADLINES + 2 * (size_t)blast->slot_count) tidy_deadlines(blast);
    connection->timer_ns = at;
    if (deadlines_push(&blast->deadlines, at, slot_number(blast, connection))) blast->is_out_of_memory = true;
}

/* -- opening */

static void try_again(struct blast *blast, uint32_t route) {
    if (blast->retry_count == blast->retry_capacity) {
        size_t capacity = blast->retry_capacity ? 2 * blast->retry_capacity : 64;
        struct retry *retries = malloc(capacity * sizeof *retries);
        if (!retries) {
            blast->is_out_of_memory = true;
            return;
        }
        for (size_t i = 0; i < blast->retry_count; i++)
            retries[i] = blast->retries[(blast->retry_first + i) % blast->retry_capacity];
        free(blast->retries);
        blast->retries = retries;
        blast->retry_capacity = capacity;
        blast->retry_first = 0;
    }
    size_t place = (blast->retry_first + blast->retry_count++) % blast->retry_capacity;
    blast->retries[place] = (struct retry){clock_ns() + RETRY_NS, route};
}

void connection_note_settled(struct blast *blast, struct connection *connection) {
    blast->opening_count -= connection->is_opening;
    connection->is_opening = false;
    blast->check_ns = 0;
    if (!connection->first) return;
    connection->first = false;
    blast->board.state[STATE_settled_ns] = clock_ns();
    blast->board.state[STATE_settled]++;
}

void connection_prove(struct blast *blast, struct connection *connection, int proof) {
    if (connection != blast->first.connection) return;
    blast->first.connection = NULL;
    if (proof == PROOF_right) settings_note(&blast->settings, connection->fd, blast->board.state);
    /* As long as the ramp is not said, another one would be a second connection to a target that may be wrong. */
    if (proof == PROOF_failed && !blast->is_started) connection->has_successor = false;
    __atomic_store_n(&blast->board.state[STATE_proved], proof, __ATOMIC_RELEASE);
}

void connection_keep(struct blast *blast, const unsigned char *bytes, size_t length) {
    struct first *first = &blast->first;
    size_t room = CAME_BYTES - first->came_length;
    if (length > room) length = room;
    memcpy(first->came + first->came_length, bytes, length);
    first->came_length += (uint32_t)length;
}

void connection_not_opened(struct blast *blast, struct connection *connection, int number) {
    board_count(&blast->board, COUNT_failed_connects, connection->due_ns, 1);
    board_error(&blast->board, STEP_connect, number, clock_ns());
    connection_prove(blast, connection, PROOF_failed);
    connection_settle(blast, connection);
    if (connection->has_successor && !is_ending(blast)) try_again(blast, connection->route);
    if (connection->fd >= 0) close(connection->fd);
    connection->fd = -1;
    free_slot(blast, connection);
}

static void publish_open(struct blast *blast) {
    int64_t *state = blast->board.state;
    state[STATE_open] = blast->live_count + blast->retiring_count;
    if (state[STATE_open] > state[STATE_peak]) state[STATE_peak] = state[STATE_open];
    if (!state[STATE_open]) blast->alone_ns = blast->seen_ns;
}

/* It is established; `written` bytes of its first message may be on their way already. */
static void opened(struct blast *blast, struct connection *connection, int64_t at, int64_t written) {
    struct board *board = &blast->board;
    /* Its first message is the new phase's if one has begun, and then counts against --messages. */
    blast_enter_phases(blast, at);
    int64_t *page = board_page(board, connection->due_ns);
    board_begin_write(board);
    page[COUNT_opened]++;
    board_record(board, page, HISTOGRAM_connect, at - connection->due_ns);
    board_page(board, at)[COUNT_window_opened]++;
    board_end_write(board);
    connection->established_ns = at;
    connection->state = OPEN;
    tcp_watch_opened(blast, connection);
    connection->place = blast->live_count;
    blast->live[blast->live_count++] = slot_number(blast, connection);
    publish_open(blast);
    if (blast->options.lifetime_ns > 0) connection_need_deadline(blast, connection, at + blast->options.lifetime_ns);
    if (is_ending(blast)) {
        connection_settle(blast, connection);
        connection_watch(blast, connection, READS);
        return;
    }
    int64_t intended = blast->options.is_open_loop ? OPENING : at;
    messages_note(blast, connection, (struct message){intended, intended, at}, 1);
    connection->written = written;
    if (blast->is_sending) blast_spend(blast, 1);
    messages_write(blast, connection);
    bool is_exchanging = blast->is_sending && blast->options.lifetime_ns == 0;
    if ((blast->is_sending && !is_exchanging) || blast->waiting.first != NONE) messages_fill(blast, connection, at);
    blast->is_full = false;
    blast->check_ns = 0;
}

/* Connects the slot's socket. On loopback, and wherever else the answer comes before connect() returns, the first
 * message goes out at once: a socket that is not established yet refuses it with EAGAIN. That saves a wake-up, and two
 * changes of what epoll watches. */
static void connect_slot(struct blast *blast, struct connection *connection) {
    struct route *route = &blast->routes[connection->route];
    connection->state = CONNECTING;
    connection->owed = connection->written = connection->received = connection->into = 0;
    connection->pending_first = connection->pending_count = 0;
    connection->held_first = connection->held_last = NONE;
    connection->place = NONE;
    int failed = socket_connect(blast, route, &connection->fd);
    if (failed && errno != EINPROGRESS) {
        connection_not_opened(blast, connection, errno);
        return;
    }
    /* If it says EINPROGRESS: on loopback it is established by now all the same. */
    if (route->may_meet_itself && meets_itself(connection->fd, &route->destination)) {
        connection_not_opened(blast, connection, ECONNREFUSED);
        return;
    }
    int64_t now = clock_ns();
    blast_see(blast, now);
    connection->established_ns = now;
    /* If a phase ends with `now`, then before we decide by it, not between the first message and its being noted. */
    blast_enter_phases(blast, now);
    if (!is_ending(blast)) {
        size_t length;
        const unsigned char *bytes = stream_at(&blast->stream, 0, blast->options.size, &length);
        ssize_t taken = send(connection->fd, bytes, length, MSG_NOSIGNAL);
        if (taken >= 0) {
            opened(blast, connection, now, taken);
            return;
        }
        if (errno != EAGAIN) {
            connection_not_opened(blast, connection, errno);
            return;
        }
    }
    int64_t until = look_at_timeout(blast, now + blast->options.connect_timeout_ns);
    /* What will be needed once it is open is asked for now, so that no entry is pushed in vain. */
    if (blast->options.lifetime_ns > 0 && now + blast->options.lifetime_ns < until)
        until = now + blast->options.lifetime_ns;
    connection_need_deadline(blast, connection, until);
    connection_watch(blast, connection, CONNECTS);
}

void connection_begin(struct blast *blast, int64_t due, uint32_t route, bool is_scheduled) {
    bool is_first = is_scheduled && blast->stage == STAGE_RAMP;
    board_count(&blast->board, COUNT_asked, due, 1);
    struct connection *connection = take_slot(blast);
    if (!connection) {
        /* More slots than file descriptors there are none: the system would have said the same. */
        board_count(&blast->board, COUNT_failed_connects, due, 1);
        board_error(&blast->board, STEP_connect, EMFILE, clock_ns());
        if (blast->first.is_due) blast->board.state[STATE_proved] = PROOF_failed;
        blast->first.is_due = false;
        if (is_first) {
            blast->board.state[STATE_settled_ns] = clock_ns();
            blast->board.state[STATE_settled]++;
        }
        if (blast->options.lifetime_ns >= 0 && !is_ending(blast)) try_again(blast, route);
        return;
    }
    if (blast->first.is_due) blast->first.connection = connection;
    blast->first.is_due = false;
    connection->is_ready = false;
    connection->due_ns = due;
    connection->route = route;
    connection->first = is_first;
    connection->is_opening = is_scheduled;
    blast->opening_count += is_scheduled;
    connection->has_successor = blast->options.lifetime_ns >= 0;
    connection->interest = UNWATCHED;
    connection->fd = socket_make(blast, &blast->routes[route]);
    if (connection->fd < 0)
        connection_not_opened(blast, connection, errno);
    else
        connect_slot(blast, connection);
}

/* Out of line, as it guards its stack: connection_on_event, which is there for each reply, need not. */
static __attribute__((noinline)) void finish_connect(struct blast *blast, struct connection *connection) {
    int number = 0;
    socklen_t length = sizeof number;
    if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &number, &length)) number = errno;
    const struct route *route = &blast->routes[connection->route];
    if (!number && route->may_meet_itself && meets_itself(connection->fd, &route->destination)) number = ECONNREFUSED;
    if (number)
        connection_not_opened(blast, connection, number);
    else
        opened(blast, connection, clock_ns(), 0);
}

static void move(int64_t *from, int64_t *to, int counter, int64_t amount) {
    from[counter] -= amount;
    to[counter] += amount;
}

/* In the ramp a message goes out when it is due, and only the first ones of a closed loop are counted. In a phase that
 * counts them each is one of --messages; what is beyond these stays in the ramp, which ends at `began`. */
static void move_message(struct blast *blast, struct message *message, int64_t began) {
    int64_t *ramp = blast->board.first_page, *page = board_page(&blast->board, message->sent);
    const struct phase *phase = &blast->phase_plans[(page - ramp) / blast->board.page_words];
    if (message->intended != OPENING && phase->is_measured && blast->options.messages >= 0 && blast->budget-- <= 0) {
        blast->budget = 0;
        message->intended = message->taken = began - 1;
        return;
    }
    move(ramp, page, COUNT_sent_bytes, blast->options.size);
    if (message->intended == OPENING) return;
    move(ramp, page, COUNT_intended, 1);
    move(ramp, page, COUNT_sent, 1);
    move(ramp, page, COUNT_window_sent, 1);
}

/* Otherwise its reply would be counted in the phase, and it in the ramp. */
void connections_move_to_phase(struct blast *blast, int64_t began) {
    board_begin_write(&blast->board);
    for (uint32_t i = 0; i < blast->slot_count; i++) {
        const struct connection *connection = &blast->slots[i];
        if (connection->state == CONNECTING && connection->due_ns >= began) {
            move(blast->board.first_page, board_page(&blast->board, connection->due_ns), COUNT_asked, 1);
        }
        for (uint32_t k = 0; connection->state != FREE && k < connection->pending_count; k++) {
            struct message *message = pending_at(blast, connection, k);
            if (message->sent >= began) move_message(blast, message, began);
        }
    }
    board_end_write(&blast->board);
}

/* -- events */

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
        if (connection->state == OPEN) messages_fill(blast, connection, clock_ns());
    }
    bool is_live = connection->state == OPEN || connection->state == RETIRING;
    if (is_live && (events & ~(uint32_t)EPOLLOUT)) messages_read(blast, connection, events);
}

/* -- ending */

/* Takes it out of those that messages are spread over; the last one takes its place. */
static void leave_live(struct blast *blast, struct connection *connection) {
    if (connection->place == NONE) return;
    uint32_t hole = connection->place;
    /* While a closed loop begins, the live ones before fill_at have been started: keep them together. */
    if (hole < blast->fill_at) {
        uint32_t moved = blast->live[--blast->fill_at];
        blast->live[hole] = moved;
        blast->slots[moved].place = hole;
        hole = blast->fill_at;
    }
    uint32_t moved = blast->live[--blast->live_count];
    if (hole < blast->live_count) {
        blast->live[hole] = moved;
        blast->slots[moved].place = hole;
    }
    connection->place = NONE;
}

static void close_slot(struct blast *blast, struct connection *connection, int64_t now, bool by_rst) {
    if (connection->is_watched) tcp_watch_closing(blast, connection);
    leave_live(blast, connection);
    connection_settle(blast, connection);
    blast_count_answered(blast, -(connection->received > 0));
    blast->is_full = false;
    blast->check_ns = 0;
    if (by_rst) {
        /* socket(7): close() then sends RST and leaves no TIME_WAIT. */
        struct linger reset = {1, 0};
        setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
    close(connection->fd);
    connection->fd = -1;
    board_count(&blast->board, COUNT_closed, now, 1);
    free_slot(blast, connection);
    publish_open(blast);
}

/* Churn by RST without a new file descriptor: connecting to AF_UNSPEC (connect(2)) resets the connection and gives its
 * port back, and the socket, still watched, takes the next one. On the wire nothing differs. Only from the connection's
 * own event: elsewhere one of the old connection may be waiting in the batch. */
static bool connect_anew(struct blast *blast, struct connection *connection, int64_t due) {
    struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    if (connection->is_watched) tcp_watch_closing(blast, connection);
    if (connect(connection->fd, &nowhere, sizeof nowhere)) return false;
    leave_live(blast, connection);
    connection_settle(blast, connection);
    blast_count_answered(blast, -(connection->received > 0));
    board_count(&blast->board, COUNT_closed, due, 1);
    board_count(&blast->board, COUNT_asked, due, 1);
    connection->due_ns = due;
    connect_slot(blast, connection);
    publish_open(blast);
    return true;
}

void connection_end(struct blast *blast, struct connection *connection, int64_t due, bool is_own_event) {
    if (connection->state == RETIRING) blast->retiring_count--;
    bool reopens = connection->has_successor && !is_ending(blast);
    if (reopens && is_own_event && blast->options.closes_by_rst && connect_anew(blast, connection, due)) return;
    uint32_t route = connection->route;
    close_slot(blast, connection, due, blast->options.closes_by_rst);
    if (reopens) connection_begin(blast, due, route, false);
}

void connection_retire(struct blast *blast, struct connection *connection, int64_t due, bool reopens) {
    if (connection->state != OPEN) return;
    messages_orphan(blast, connection);
    connection->has_successor = connection->has_successor && reopens;
    leave_live(blast, connection);
    connection->state = RETIRING;
    blast->retiring_count++;
    if (!connection->pending_count) connection_end(blast, connection, due, false);
}

void connection_fail(struct blast *blast, struct connection *connection, int step, int number) {
    if (connection->state == BROKEN) return;
    connection->broke_from = connection->state;
    connection->state = BROKEN;
    connection->step = (uint8_t)step;
    connection->failure = (int16_t)number;
    connection->link = blast->broken_slot;
    blast->broken_slot = slot_number(blast, connection);
}

static void count_pending(struct blast *blast, struct connection *connection, int counter) {
    for (uint32_t i = 0; i < connection->pending_count; i++) {
        int64_t intended = pending_at(blast, connection, i)->intended;
        if (intended != OPENING) board_count(&blast->board, counter, intended, 1);
    }
    blast->pending_count -= connection->pending_count;
    connection->pending_count = 0;
}

/* A SYN cookie lets a connection be open for us that the peer has never heard the end of: its accept queue was full.
 * Then no byte of ours was acknowledged, however often it was sent. */
static void check_accepted(struct blast *blast, struct connection *connection) {
    if (!is_unacknowledged(connection->fd)) return;
    board_count(&blast->board, COUNT_opened, connection->due_ns, -1);
    board_count(&blast->board, COUNT_failed_connects, connection->due_ns, 1);
    board_count(&blast->board, COUNT_closed, clock_ns(), -1); /* it is closed all the same */
    connection->step = STEP_connect;
    connection->failure = OWN_NOT_ACCEPTED;
}

static void bury(struct blast *blast, struct connection *connection) {
    int64_t now = clock_ns();
    if (connection->broke_from == CONNECTING) {
        connection_not_opened(blast, connection, connection->failure);
        return;
    }
    if (connection->failure == OWN_REPLY_TIMEOUT && !connection->received) check_accepted(blast, connection);
    board_error(&blast->board, connection->step, connection->failure, now);
    connection_prove(blast, connection, PROOF_failed);
    count_pending(blast, connection, COUNT_failed);
    messages_orphan(blast, connection);
    if (connection->broke_from == RETIRING) blast->retiring_count--;
    bool reopens = connection->has_successor && !is_ending(blast);
    uint32_t route = connection->route;
    close_slot(blast, connection, now, true);
    if (reopens) try_again(blast, route);
}

void blast_mend_broken(struct blast *blast) {
    while (blast->broken_slot != NONE || blast->orphaned) {
        if (blast->broken_slot != NONE) {
            struct connection *connection = &blast->slots[blast->broken_slot];
            blast->broken_slot = connection->link;
            bury(blast, connection);
        } else {
            messages_give_orphans(blast);
        }
    }
}

void connection_finish(struct blast *blast, struct connection *connection, int64_t now) {
    if (connection->state == CONNECTING) {
        /* One of the first is missing; a successor was asked for in vain. */
        if (connection->first) {
            connection_not_opened(blast, connection, OWN_RUN_ENDED);
            return;
        }
        board_count(&blast->board, COUNT_asked, connection->due_ns, -1);
        connection_settle(blast, connection);
        close(connection->fd);
        connection->fd = -1;
        free_slot(blast, connection);
        return;
    }
    count_pending(blast, connection, COUNT_unanswered);
    if (connection->state == RETIRING) blast->retiring_count--;
    close_slot(blast, connection, now, blast->options.closes_by_rst);
}
