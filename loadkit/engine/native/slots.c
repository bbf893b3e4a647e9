/* Where connections stand: their slots, what epoll watches them for, when they are looked at, and that one has failed.
 *
 * Nothing here opens, sends or closes: what does is above (connections.c, messages.c, replies.c).
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "blast.h"

/* So few deadlines are kept though they do not count any more. */
enum { FEW_DEADLINES = 1024 };

/* -- slots */

static void *reserve(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

int slots_open(struct blast *blast, uint32_t limit) {
    blast->slot_limit = limit;
    blast->free_slot = blast->broken_slot = NONE;
    blast->slots_bytes = limit * sizeof *blast->slots;
    blast->pending_bytes = (size_t)limit * blast->options.depth * sizeof *blast->pending;
    blast->live_bytes = limit * sizeof *blast->live;
    blast->slots = reserve(blast->slots_bytes);
    blast->pending = reserve(blast->pending_bytes);
    blast->live = reserve(blast->live_bytes);
    if (blast->rule.wire != WIRE_echo || blast->setup.count) {
        blast->progress_bytes = limit * sizeof *blast->progress;
        blast->progress = reserve(blast->progress_bytes);
        if (!blast->progress) return -1;
    }
    if (!blast->slots || !blast->pending || !blast->live || origins_open(blast, limit)) return -1;
    blast->plain_size = blast->origins ? 0 : blast->one_size;
    blast->is_plain = !blast->origins && !blast->progress;
    blast->sends_at_once = !blast->setup.count && !blast->options.proxy_version;
    return 0;
}

void slots_close(struct blast *blast) {
    for (uint32_t i = 0; i < blast->slot_count; i++)
        if (blast->slots[i].state != FREE && blast->slots[i].fd >= 0) close(blast->slots[i].fd);
    blast->slot_count = 0;
    if (blast->slots) munmap(blast->slots, blast->slots_bytes);
    if (blast->pending) munmap(blast->pending, blast->pending_bytes);
    if (blast->live) munmap(blast->live, blast->live_bytes);
    if (blast->progress) munmap(blast->progress, blast->progress_bytes);
    origins_close(blast);
    blast->slots = NULL;
    blast->pending = NULL;
    blast->live = NULL;
    blast->progress = NULL;
}

struct connection *slot_take(struct blast *blast) {
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

void slot_free(struct blast *blast, struct connection *connection) {
    connection->state = FREE;
    connection->generation++;
    blast->used_count--;
    connection->link = blast->free_slot;
    blast->free_slot = slot_number(blast, connection);
}

/* -- when they are looked at */

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
    struct deadline entry = {at, slot_number(blast, connection), connection->generation};
    if (deadlines_push(&blast->deadlines, entry)) blast->is_out_of_memory = true;
}

/* -- how they are */

void connection_fail(struct blast *blast, struct connection *connection, int step, int number) {
    if (connection->state == BROKEN) return;
    connection->broke_from = connection->state;
    connection->state = BROKEN;
    connection->step = (uint8_t)step;
    connection->failure = (int16_t)number;
    connection->link = blast->broken_slot;
    blast->broken_slot = slot_number(blast, connection);
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
