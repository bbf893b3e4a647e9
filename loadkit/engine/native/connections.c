/* Connections: opened, watched, ended. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
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
/* The least a peer may announce as its segment size (RFC 9293, 3.7.1, less options): a message that fits goes out
 * whole. */
enum { LEAST_SEGMENT = 536 };
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51 /* linux/in.h since 6.3 */
#endif

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

uint32_t next_route(struct blast *blast) {
    while (!blast->route_left) {
        blast->route_now = (blast->route_now + 1) % blast->route_count;
        blast->route_left = blast->routes[blast->route_now].connections;
    }
    blast->route_left--;
    return blast->route_now;
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

static void not_opened(struct blast *blast, struct connection *connection, int number) {
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
    if (blast->is_sending && blast->options.lifetime_ns != 0) messages_fill(blast, connection, at);
    while (blast->waiting.first != NONE) {
        blast->waiting_count--;
        messages_dispatch(blast, queue_pop(blast, &blast->waiting));
    }
    blast->is_full = false;
    blast->check_ns = 0;
}

static socklen_t length_of(const struct sockaddr_storage *address) {
    return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

/* The next port of the route's range, bound; SO_REUSEADDR lets the same one serve other destinations. */
static int bind_chosen(int fd, struct route *route) {
    struct sockaddr_storage source = route->source;
    socklen_t length = length_of(&route->source);
    int one = 1;
    if (source.ss_family == AF_UNSPEC) {
        source.ss_family = route->destination.ss_family; /* the rest is zero: any address */
        length = length_of(&route->destination);
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one)) return -1;
    for (int64_t left = route->port_high - route->port_low; left >= 0; left--) {
        in_port_t port = htons((uint16_t)route->next_port);
        route->next_port = route->next_port < route->port_high ? route->next_port + 1 : route->port_low;
        /* The port stands in the same place in both families. */
        ((struct sockaddr_in *)&source)->sin_port = port;
        if (!bind(fd, (const struct sockaddr *)&source, length)) return 0;
        if (errno != EADDRINUSE) return -1;
    }
    return -1;
}

/* ip(7): connect(2) looks for a free port among those of one parity first, and slows down once they are taken. With a
 * range of its own a socket is spared that (kernel 6.8 on), and so it is when it comes with a port. */
static int take_port(const struct blast *blast, int fd, struct route *route) {
    if (blast->options.chooses_ports) return bind_chosen(fd, route);
    uint32_t range = (uint32_t)route->port_low | (uint32_t)route->port_high << 16;
    return setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof range);
}

static int keep_alive(int fd, int64_t seconds) {
    int one = 1, idle = (int)seconds;
    return setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one) ||
           setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
}

static int make_socket(const struct blast *blast, struct route *route) {
    int one = 1;
    int fd = socket(route->destination.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    /* Nagle's algorithm holds back a segment that is not full while another is on its way (RFC 896): one message at a
     * time in one segment never is, and then the system call is saved. */
    bool is_held_back = blast->options.depth > 1 || blast->options.size > LEAST_SEGMENT;
    if (is_held_back && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one)) goto failed;
    if (blast->options.keepalive_s && keep_alive(fd, blast->options.keepalive_s)) goto failed;
    if (blast->settings.are_given && settings_apply(&blast->settings, fd)) goto failed;
    if (blast->stamper.is_on) stamp_received(fd);
    if (route->port_low && take_port(blast, fd, route)) goto failed;
    if (route->source.ss_family != AF_UNSPEC && !(route->port_low && blast->options.chooses_ports)) {
        /* ip(7): the port is chosen at connect(), by the whole tuple, so one port serves many destinations. */
        if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one)) goto failed;
        if (bind(fd, (const struct sockaddr *)&route->source, length_of(&route->source))) goto failed;
    }
    return fd;
failed:;
    int number = errno;
    close(fd);
    errno = number;
    return -1;
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
    const struct sockaddr *destination = (const struct sockaddr *)&route->destination;
    socklen_t length = length_of(&route->destination);
    int failed = connect(connection->fd, destination, length);
    /* A port we chose is bound for every destination, and may be taken with this one: the next. */
    for (int64_t left = blast->options.chooses_ports ? route->port_high - route->port_low : 0;
         failed && errno == EADDRNOTAVAIL && left > 0; left--) {
        close(connection->fd);
        connection->fd = make_socket(blast, route);
        if (connection->fd < 0) break;
        failed = connect(connection->fd, destination, length);
    }
    if (failed && errno != EINPROGRESS) {
        not_opened(blast, connection, errno);
        return;
    }
    /* If it says EINPROGRESS: on loopback it is established by now all the same. */
    if (route->may_meet_itself && meets_itself(connection->fd, &route->destination)) {
        not_opened(blast, connection, ECONNREFUSED);
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
            not_opened(blast, connection, errno);
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
    connection->fd = make_socket(blast, &blast->routes[route]);
    if (connection->fd < 0)
        not_opened(blast, connection, errno);
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
        not_opened(blast, connection, number);
    else
        opened(blast, connection, clock_ns(), 0);
}

static void move(int64_t *from, int64_t *to, int counter, int64_t amount) {
    from[counter] -= amount;
    to[counter] += amount;
}

/* In the ramp a message goes out when it is due, and only the first ones of a closed loop are counted. */
static void move_message(struct blast *blast, const struct message *message) {
    int64_t *ramp = blast->board.first_page, *page = board_page(&blast->board, message->sent);
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
            const struct message *message = pending_at(blast, connection, k);
            if (message->sent >= began) move_message(blast, message);
        }
    }
    board_end_write(&blast->board);
}

/* -- events and deadlines */

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

/* When what a connection waits for takes too long, standstills of ours left out; NEVER if it waits for nothing. */
static int64_t expires_at(const struct blast *blast, const struct connection *connection) {
    bool is_connecting = connection->state == CONNECTING;
    if (!is_connecting && !connection->pending_count) return NEVER;
    int64_t began = is_connecting ? connection->established_ns : pending_at(blast, connection, 0)->sent;
    int64_t timeout = is_connecting ? blast->options.connect_timeout_ns : blast->options.timeout_ns;
    return look_at_timeout(blast, began + timeout + standstills_since(&blast->standstills, began));
}

/* Takes what the kernel has of a connection and epoll has not reported, as if it had. More may have been ready than a
 * wait returns; and an edge that was lost is reported by no wait (epoll(7)), so nothing but a deadline finds it. */
static __attribute__((noinline, cold)) void take_unreported(struct blast *blast, struct connection *connection) {
    struct pollfd polled = {.fd = connection->fd, .events = POLLIN | POLLOUT};
    if (poll(&polled, 1, 0) <= 0) return;
    uint64_t token = token_of(KIND_CONNECTION, slot_number(blast, connection), connection->generation);
    /* The bits of poll(2) and epoll are the same. What came with a connect is read, too. */
    connection_on_event(blast, token, (uint32_t)polled.revents | EPOLLIN | HIDES_MORE);
}

static void expire(struct blast *blast, struct connection *connection) {
    if (connection->state == CONNECTING)
        not_opened(blast, connection, OWN_CONNECT_TIMEOUT);
    else
        connection_fail(blast, connection, STEP_receive, OWN_REPLY_TIMEOUT);
}

static bool is_alive(const struct connection *connection) {
    return connection->state != FREE && connection->state != BROKEN;
}

void connection_on_deadline(struct blast *blast, struct deadline deadline, int64_t now) {
    struct connection *connection = &blast->slots[deadline.slot];
    if (connection->timer_ns != deadline.at_ns) return; /* an earlier one took its place */
    connection->timer_ns = 0;
    if (!is_alive(connection)) return;
    if (expires_at(blast, connection) <= now) {
        take_unreported(blast, connection);
        if (!is_alive(connection)) return; /* or it is another one by now, with times of its own */
    }
    int64_t next = expires_at(blast, connection);
    if (next <= now) {
        expire(blast, connection);
        return;
    }
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
        not_opened(blast, connection, connection->failure);
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
    while (blast->broken_slot != NONE || blast->orphans.first != NONE) {
        if (blast->broken_slot != NONE) {
            struct connection *connection = &blast->slots[blast->broken_slot];
            blast->broken_slot = connection->link;
            bury(blast, connection);
        } else {
            messages_dispatch(blast, queue_pop(blast, &blast->orphans));
        }
    }
}

void connection_finish(struct blast *blast, struct connection *connection, int64_t now) {
    if (connection->state == CONNECTING) {
        /* One of the first is missing; a successor was asked for in vain. */
        if (connection->first) {
            not_opened(blast, connection, OWN_RUN_ENDED);
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
