/* Connections: opened, ended, and followed by others. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "blast.h"
#include "itself.h"
#include "proxy.h"
#include "tcp_info.h"
#include "transport.h"

/* A churning connection that could not be opened, or broke, is tried again after this: long enough not to hammer a peer
 * that refuses, short enough that a restarted one is found. */
#define RETRY_NS (NS_PER_S / 10)

/* -- opening */

static void try_again(struct blast *blast, uint32_t route) {
    void *retries = blast->retries;
    if (!ring_make_room(&blast->retry_ring, &retries, sizeof *blast->retries)) {
        blast->is_out_of_memory = true;
        return;
    }
    blast->retries = retries;
    size_t place = ring_place(&blast->retry_ring, blast->retry_ring.count++);
    blast->retries[place] = (struct retry){clock_ns() + RETRY_NS, route};
}

void connection_not_opened(struct blast *blast, struct connection *connection, int step, int number) {
    board_count(&blast->board, COUNT_failed_connects, connection->due_ns, 1);
    board_error(&blast->board, step, number, clock_ns());
    connection_prove(blast, connection, PROOF_failed);
    connection_settle(blast, connection);
    if (connection->has_successor && !is_ending(blast)) try_again(blast, connection->route);
    if (connection->fd >= 0) transport_end(connection->fd, connection->state != CONNECTING);
    connection->fd = -1;
    slot_free(blast, connection);
}

static void publish_open(struct blast *blast) {
    int64_t *state = blast->board.state;
    state[STATE_open] = blast->live_count + blast->retiring_count;
    if (state[STATE_open] > state[STATE_peak]) state[STATE_peak] = state[STATE_open];
    if (!state[STATE_open]) blast->alone_ns = blast->seen_ns;
}

/* It takes messages since `at`; `written` bytes of the first one may be on their way already. The phases that have
 * begun by then are entered. */
static void opened(struct blast *blast, struct connection *connection, int64_t at, int64_t written) {
    struct board *board = &blast->board;
    int64_t *page = board_page(board, connection->due_ns);
    board_begin_write(board);
    page[COUNT_opened]++;
    if (__builtin_expect(connection->state == HANDSHAKING, 0))
        board_record(board, page, HISTOGRAM_handshake, at - connection->established_ns);
    else
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
    int64_t intended = blast->options.is_timed ? OPENING : at;
    messages_note(blast, connection, (struct message){intended, intended, at}, 1);
    connection->written = written;
    if (blast->is_sending) messages_spend(blast, 1);
    messages_write(blast, connection);
    bool is_exchanging = blast->is_sending && blast->options.lifetime_ns == 0;
    if ((blast->is_sending && !is_exchanging) || blast->waiting.first != NONE) messages_fill(blast, connection, at);
    blast->is_full = false;
    blast->check_ns = 0;
}

void connection_shaken(struct blast *blast, struct connection *connection, int64_t at) {
    setup_end(blast, connection);
    opened(blast, connection, at, 0);
}

void connection_established(struct blast *blast, struct connection *connection, int64_t at) {
    int proxy_version = (int)blast->options.proxy_version;
    if (proxy_version && header_send(connection->fd, proxy_version, !blast->setup.count)) {
        connection_not_opened(blast, connection, STEP_connect, errno);
        return;
    }
    if (!blast->setup.count)
        opened(blast, connection, at, 0);
    else if (setup_begin(blast, connection, at))
        connection_shaken(blast, connection, clock_ns());
}

/* Has it wait for room in the listener's queue. Its time counts from the first try on. */
static void join_line(struct blast *blast, struct connection *connection) {
    int64_t now = clock_ns();
    uint64_t token = token_of(KIND_CONNECTION, slot_number(blast, connection), connection->generation);
    connection->established_ns = now;
    if (line_join(&blast->line, token, now))
        connection_need_deadline(blast, connection, look_at_timeout(blast, now + blast->options.connect_timeout_ns));
    else
        blast->is_out_of_memory = true;
}

/* Connects the slot's socket, or that of one that stood in line; others that stand there come first. On loopback, and
 * wherever else the answer comes before connect() returns, the first message goes out at once: a socket that is not
 * established yet refuses it with EAGAIN. That saves a wake-up, and two changes of what epoll watches. Returns false if
 * it has to stand in line: the queue of a UNIX listener is full. */
static bool connect_socket(struct blast *blast, struct connection *connection, bool was_in_line) {
    struct route *route = &blast->routes[connection->route];
    if (__builtin_expect(blast->line.ring.count != 0, 0) && !was_in_line) return false;
    int failed = socket_connect(blast, route, &connection->fd);
    if (failed && errno != EINPROGRESS) {
        if (errno == EAGAIN && is_unix(route)) return false;
        connection_not_opened(blast, connection, STEP_connect, errno);
        return true;
    }
    /* If it says EINPROGRESS: on loopback it is established by now all the same. */
    if (route->may_meet_itself && meets_itself(connection->fd, &route->destination)) {
        connection_not_opened(blast, connection, STEP_connect, ECONNREFUSED);
        return true;
    }
    int64_t now = clock_ns();
    blast_see(blast, now);
    connection->established_ns = now;
    /* A phase that has begun by now has to be entered first: the message is its, and counts against --messages. That is
     * not for us to do. The next wait reports the connection as established, and it sends then. So it is where
     * something else is said before the message. */
    if (!is_ending(blast) && now < blast->next_phase_ns && blast->sends_at_once) {
        size_t length;
        const unsigned char *bytes = first_bytes(blast, connection, now, &length);
        ssize_t taken = transport_send(connection->fd, bytes, length);
        if (taken >= 0) {
            opened(blast, connection, now, taken);
            return true;
        }
        if (errno != EAGAIN) {
            connection_not_opened(blast, connection, STEP_connect, errno);
            return true;
        }
    }
    int64_t until = look_at_timeout(blast, now + blast->options.connect_timeout_ns);
    /* What will be needed once it is open is asked for now, so that no entry is pushed in vain. */
    if (blast->options.lifetime_ns > 0 && now + blast->options.lifetime_ns < until)
        until = now + blast->options.lifetime_ns;
    connection_need_deadline(blast, connection, until);
    connection_watch(blast, connection, CONNECTS);
    return true;
}

/* One body for all who connect, so that what it calls can be in line. */
static __attribute__((noinline)) bool connect_or_wait(struct blast *blast, struct connection *connection,
                                                      bool was_in_line) {
    bool has_begun = connect_socket(blast, connection, was_in_line);
    if (!has_begun && !was_in_line) join_line(blast, connection);
    return has_begun;
}

/* Apart, as most runs have neither. */
static __attribute__((noinline)) void begin_progress(struct blast *blast, struct connection *connection) {
    if (blast->progress) blast->progress[slot_number(blast, connection)] = (struct progress){{0}, 0};
    if (blast->origins) origin_begin(blast, connection);
}

/* Begins the life of the slot's connection. */
static void connect_slot(struct blast *blast, struct connection *connection) {
    connection->state = CONNECTING;
    connection->owed = connection->written = connection->received = connection->into = 0;
    connection->pending_first = connection->pending_count = 0;
    if (__builtin_expect(!blast->is_plain, 0)) begin_progress(blast, connection);
    connection->held_first = connection->held_last = NONE;
    connection->place = NONE;
    connection->is_pausing = false;
    connect_or_wait(blast, connection, false);
}

void connections_leave_line(struct blast *blast, int64_t now) {
    for (int i = 0; i < ROUND && blast->line.ring.count; i++) {
        uint64_t token = line_first(&blast->line);
        struct connection *connection = &blast->slots[slot_of(token)];
        bool is_over = !is_of_generation(token, connection->generation) || !is_in_line(connection);
        if (!is_over && !connect_or_wait(blast, connection, true)) {
            line_wait(&blast->line, now);
            return;
        }
        line_leave(&blast->line, now);
    }
}

void connection_begin(struct blast *blast, int64_t due, uint32_t route, bool is_scheduled) {
    bool is_first = is_scheduled && blast->stage == STAGE_RAMP;
    board_count(&blast->board, COUNT_asked, due, 1);
    struct connection *connection = slot_take(blast);
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
        connection_not_opened(blast, connection, STEP_connect, errno);
    else
        connect_slot(blast, connection);
}

static void move(int64_t *from, int64_t *to, int counter, int64_t amount) {
    from[counter] -= amount;
    to[counter] += amount;
}

/* In the ramp a message goes out when it is due, and only the first ones of a closed loop are counted. In a phase that
 * counts them each is one of --messages; what is beyond these stays in the ramp, which ends at `began`. */
static void move_message(struct blast *blast, struct message *message, int64_t length, int64_t began) {
    int64_t *ramp = blast->board.first_page, *page = board_page(&blast->board, message->sent);
    const struct phase *phase = &blast->phase_plans[(page - ramp) / blast->board.page_words];
    if (message->intended != OPENING && phase->is_measured && blast->options.messages >= 0 && blast->budget-- <= 0) {
        blast->budget = 0;
        message->intended = message->taken = began - 1;
        return;
    }
    move(ramp, page, COUNT_sent_bytes, length);
    if (message->intended == OPENING) return;
    move(ramp, page, COUNT_intended, 1);
    move(ramp, page, COUNT_sent, 1);
    move(ramp, page, COUNT_window_sent, 1);
}

/* Where the oldest message begins that has no reply. */
static int64_t oldest_position(const struct blast *blast, const struct connection *connection) {
    int64_t position = origin_of(blast, connection) + connection->owed;
    for (uint32_t k = 0; k < connection->pending_count; k++) position -= script_length(&blast->script, position - 1);
    return position;
}

/* Otherwise its reply would be counted in the phase, and it in the ramp. */
void connections_move_to_phase(struct blast *blast, int64_t began) {
    board_begin_write(&blast->board);
    for (uint32_t i = 0; i < blast->slot_count; i++) {
        const struct connection *connection = &blast->slots[i];
        if (connection->state != FREE && connection->state < OPEN && connection->due_ns >= began) {
            move(blast->board.first_page, board_page(&blast->board, connection->due_ns), COUNT_asked, 1);
        }
        int64_t position = connection->state == FREE ? 0 : oldest_position(blast, connection);
        for (uint32_t k = 0; connection->state != FREE && k < connection->pending_count; k++) {
            struct message *message = pending_at(blast, connection, k);
            int64_t length = script_length(&blast->script, position);
            if (message->sent >= began) move_message(blast, message, length, began);
            position += length;
        }
    }
    board_end_write(&blast->board);
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
    transport_end(connection->fd, by_rst);
    connection->fd = -1;
    board_count(&blast->board, COUNT_closed, now, 1);
    slot_free(blast, connection);
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

static void end(struct blast *blast, struct connection *connection, int64_t due, bool is_own_event) {
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
    if (!connection->pending_count) end(blast, connection, due, false);
}

void connection_go_on(struct blast *blast, struct connection *connection, int64_t now, bool is_own_event) {
    /* Churn: one exchange a connection. Where the peer has ended it, that is not for us to decide. */
    bool is_exchanging = blast->options.lifetime_ns == 0 && (blast->is_sending || blast->rule.wire == WIRE_closed);
    if (connection->state == OPEN && !is_exchanging)
        messages_fill(blast, connection, now);
    else if (is_live(connection) && !connection->pending_count)
        end(blast, connection, now, is_own_event);
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
    if (connection->broke_from < OPEN) {
        bool is_silent = connection->failure == OWN_HANDSHAKE_TIMEOUT && !connection->received;
        if (is_silent && is_unacknowledged(connection->fd))
            connection_not_opened(blast, connection, STEP_connect, OWN_NOT_ACCEPTED);
        else
            connection_not_opened(blast, connection, connection->step, connection->failure);
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
    if (connection->state < OPEN) {
        /* One of the first is missing; a successor was asked for in vain. */
        if (connection->first) {
            int step = connection->state == HANDSHAKING ? STEP_handshake : STEP_connect;
            connection_not_opened(blast, connection, step, OWN_RUN_ENDED);
            return;
        }
        board_count(&blast->board, COUNT_asked, connection->due_ns, -1);
        connection_settle(blast, connection);
        close(connection->fd);
        connection->fd = -1;
        slot_free(blast, connection);
        return;
    }
    count_pending(blast, connection, COUNT_unanswered);
    if (connection->state == RETIRING) blast->retiring_count--;
    close_slot(blast, connection, now, blast->options.closes_by_rst);
}
