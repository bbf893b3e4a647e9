#include "probes.h"

#include <endian.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SOF_TIMESTAMPING_OPT_ID_TCP
#define SOF_TIMESTAMPING_OPT_ID_TCP (1 << 16) /* linux/net_tstamp.h since 6.2 */
#endif

int prober_open(struct prober *prober, struct board *board, size_t size, int64_t period_ns, struct key machine) {
    memset(prober, 0, sizeof *prober);
    prober->board = board;
    prober->size = size;
    prober->period_ns = period_ns;
    prober->machine = machine;
    prober->random = (uint64_t)clock_ns() | 1;
    prober->message = malloc(size);
    prober->reply = malloc(size + TRAILER_BYTES);
    if (!prober->message || !prober->reply) return -1;
    for (size_t i = 0; i < size; i++) prober->message[i] = (unsigned char)('a' + i % 23);
    return 0;
}

/* Sending is asked for with each message (cmsg), so that these flags only say what of it is told: without the bytes,
 * under the number of the last byte. */
static int stamp_all(int fd) {
    int flags = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_ID |
                SOF_TIMESTAMPING_OPT_TSONLY | SOF_TIMESTAMPING_OPT_ID_TCP;
    if (!setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags)) return 0;
    /* Before Linux 6.2: there the count starts at the last byte acknowledged, which is the same here, as none is under
     * way. */
    flags &= ~SOF_TIMESTAMPING_OPT_ID_TCP;
    return setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags);
}

int prober_add(struct prober *prober, int fd, enum peer_kind peer) {
    if (prober->count == MOST_PROBES) return errno = ENOSPC, -1;
    struct probe probe = {.fd = fd, .peer = peer, .next_ns = NEVER};
    if (peer == PEER_same_clock && key_of_connection(&probe.key, prober->machine, fd, false)) return -1;
    if (stamp_all(fd)) return -1;
    if (peer != PEER_foreign) probe.next_ns = clock_ns() + PROBE_AWAKE_NS;
    prober->probes[prober->count++] = probe;
    return 0;
}

void prober_close(struct prober *prober) {
    for (int i = 0; i < prober->count; i++) {
        struct probe *probe = &prober->probes[i];
        if (probe->state == PROBE_UNDER_WAY && probe->page) probe->page[COUNT_probes_unanswered]++;
        if (probe->state != PROBE_LOST) close(probe->fd);
    }
    prober->count = 0;
    free(prober->message);
    free(prober->reply);
    prober->message = prober->reply = NULL;
}

/* Marsaglia's xorshift64 (2003). */
static uint64_t next_random(struct prober *prober) {
    uint64_t x = prober->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return prober->random = x;
}

static int64_t gap(struct prober *prober) {
    if (!prober->has_traffic) return PROBE_AWAKE_NS;
    return prober->period_ns / 2 + (int64_t)(next_random(prober) % (uint64_t)prober->period_ns);
}

void prober_start(struct prober *prober, int64_t at) {
    prober->has_traffic = true;
    for (int i = 0; i < prober->count; i++)
        if (prober->probes[i].state != PROBE_LOST) prober->probes[i].next_ns = at + gap(prober);
}

void prober_stop(struct prober *prober) {
    for (int i = 0; i < prober->count; i++) prober->probes[i].next_ns = NEVER;
}

int64_t prober_next(const struct prober *prober) {
    int64_t next = NEVER;
    for (int i = 0; i < prober->count; i++)
        if (prober->probes[i].state == PROBE_IDLE && prober->probes[i].next_ns < next) next = prober->probes[i].next_ns;
    return next;
}

/* -- one message */

static void lose(struct prober *prober, struct probe *probe) {
    close(probe->fd); /* epoll forgets it with its last descriptor */
    int64_t *page = probe->page ? probe->page : prober->board->first_page;
    page[COUNT_probes_lost]++;
    probe->state = PROBE_LOST;
    probe->next_ns = NEVER;
}

/* Takes what the kernel says of sending; an error queue that is left full makes epoll come back for ever. */
static void take_sent(struct probe *probe) {
    for (;;) {
        char control[512];
        struct msghdr message = {.msg_control = control, .msg_controllen = sizeof control};
        if (recvmsg(probe->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return;
        struct timespec at = {0, 0};
        struct sock_extended_err said = {0};
        for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
            if (head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_TIMESTAMPING)
                memcpy(&at, CMSG_DATA(head), sizeof at);
            else if ((head->cmsg_level == IPPROTO_IP && head->cmsg_type == IP_RECVERR) ||
                     (head->cmsg_level == IPPROTO_IPV6 && head->cmsg_type == IPV6_RECVERR))
                memcpy(&said, CMSG_DATA(head), sizeof said);
        }
        if (said.ee_origin != SO_EE_ORIGIN_TIMESTAMPING || said.ee_data != probe->sent_bytes - 1) continue;
        int64_t stamp = (int64_t)at.tv_sec * NS_PER_S + at.tv_nsec;
        if (said.ee_info == SCM_TSTAMP_SCHED) probe->points[POINT_sched] = stamp;
        if (said.ee_info == SCM_TSTAMP_SND) probe->points[POINT_tx] = stamp;
    }
}

static void send_message(struct prober *prober, struct probe *probe) {
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(uint32_t))];
    } control = {.head = {CMSG_LEN(sizeof(uint32_t)), SOL_SOCKET, SO_TIMESTAMPING}};
    uint32_t wanted = SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_TX_SOFTWARE;
    memcpy(CMSG_DATA(&control.head), &wanted, sizeof wanted);
    struct iovec part = {prober->message, prober->size};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.bytes};
    memset(probe->points, 0, sizeof probe->points);
    probe->points[POINT_due] = probe->next_ns;
    probe->points[POINT_free] = probe->free_ns > probe->next_ns ? probe->free_ns : probe->next_ns;
    probe->page = prober->has_traffic ? board_page(prober->board, probe->next_ns) : NULL;
    probe->next_ns += gap(prober);
    probe->number++;
    probe->distance = clock_distance();
    probe->got = 0;
    probe->state = PROBE_UNDER_WAY;
    probe->sent_bytes += (uint32_t)prober->size;
    probe->points[POINT_write] = clock_ns();
    /* An idle connection's socket takes it whole: MOST_PROBED_BYTES. */
    if (sendmsg(probe->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)prober->size)
        lose(prober, probe);
    else
        take_sent(probe); /* on loopback the kernel has said it all by now, and nobody is woken for it */
}

void prober_send_due(struct prober *prober, int64_t now) {
    for (int i = 0; i < prober->count; i++)
        if (prober->probes[i].state == PROBE_IDLE && prober->probes[i].next_ns <= now)
            send_message(prober, &prober->probes[i]);
}

/* -- the sample */

static uint64_t word(const unsigned char *trailer, int index) {
    uint64_t value;
    memcpy(&value, trailer + 8 * index, sizeof value);
    return le64toh(value);
}

/* Reads the serve end's times: monotonic ones if it has our clock, else since its kernel took the message; another
 * machine's stamps stay among themselves. false: a time is so far off that it cannot be, and cannot be calculated with:
 * whatever passes may be subtracted from one another and from ours. `ahead_ns` is the distance of our clocks. */
static bool read_times(const struct probe *probe, const unsigned char *trailer, int64_t ahead_ns,
                       int64_t times[TRAILER_TIMES]) {
    uint64_t zero = probe->peer == PEER_same_clock ? key_number(probe->key, probe->number) + (uint64_t)ahead_ns
                                                   : word(trailer, TRAILER_rx);
    for (int i = 0; i < TRAILER_TIMES; i++) {
        times[i] = (int64_t)(word(trailer, i) - zero);
        if (times[i] < -NEVER / 2 || times[i] > NEVER / 2) return false;
    }
    return true;
}

/* Puts a point that is a little before the one ahead of it, by the error of the two clocks' readings, at its place;
 * false: it is further off than that. */
static bool put_in_order(int64_t *point, int64_t before, int64_t error_ns) {
    if (*point >= before) return true;
    if (before - *point > error_ns) return false;
    *point = before;
    return true;
}

/* Puts the call of epoll_wait and its return between RX and read: what came while it waited found nobody busy, and what
 * came only after it had returned, and was read with the rest of the batch, had to wait for neither. */
static bool put_between(int64_t *call, int64_t *wakeup, int64_t rx, int64_t *read, int64_t error_ns) {
    if (*wakeup < rx) *wakeup = rx;
    if (*call < rx) *call = rx;
    if (*call > *wakeup) *call = *wakeup;
    return put_in_order(read, *wakeup, error_ns);
}

/* The row of a total among the tails: a quarter of an octave each. */
static int tail_of(int64_t total) {
    if (total < 4) return total < 0 ? 0 : (int)total;
    int bits = 64 - __builtin_clzll((uint64_t)total);
    int row = (bits - 2) * 4 + (int)((total >> (bits - 3)) & 3);
    return row < TAIL_ROWS ? row : TAIL_ROWS - 1;
}

static void record_stage(const struct prober *prober, int64_t *page, int64_t *tail, int stage, int64_t value) {
    board_record(prober->board, page, HISTOGRAMS + stage, value);
    tail[1 + stage] += value;
}

/* The stages of a whole message. They add up to the total, whatever the stamps are. */
static void record(const struct prober *prober, const struct probe *probe) {
    const int64_t *at = probe->points;
    int64_t *page = probe->page, total = at[POINT_resumed] - at[POINT_due];
    int64_t *tail = board_tails(prober->board, page) + tail_of(total) * (1 + STAGES);
    tail[0]++;
#define BETWEEN(stage, from, to) record_stage(prober, page, tail, STAGE_##stage, at[POINT_##to] - at[POINT_##from])
    BETWEEN(held, due, free);
    BETWEEN(late, free, write);
    BETWEEN(send, write, sched);
    BETWEEN(queue, sched, tx);
    if (probe->peer == PEER_foreign) {
        BETWEEN(peer, tx, rx);
    } else {
        if (probe->peer == PEER_same_clock) {
            BETWEEN(there, tx, serve_rx);
            BETWEEN(back, serve_write, rx);
        } else {
            record_stage(prober, page, tail, STAGE_network,
                         at[POINT_rx] - at[POINT_tx] - (at[POINT_serve_write] - at[POINT_serve_rx]));
        }
        BETWEEN(serve_busy, serve_rx, serve_call);
        BETWEEN(serve_wake, serve_call, serve_wakeup);
        BETWEEN(serve_batch, serve_wakeup, serve_read);
        BETWEEN(serve_code, serve_read, serve_write);
    }
    BETWEEN(busy, rx, call);
    BETWEEN(wake, call, wakeup);
    BETWEEN(batch, wakeup, read);
    BETWEEN(read, read, resumed);
    BETWEEN(total, due, resumed);
#undef BETWEEN
}

/* Brings all points to one clock and in order, as far as the clocks' readings err; false: they are further off. */
static bool settle(const struct prober *prober, struct probe *probe, struct distance now) {
    int64_t *at = probe->points;
    bool is_foreign = probe->peer == PEER_foreign, is_same = probe->peer == PEER_same_clock;
    int64_t error_ns = 1000 + 2 * (probe->distance.width_ns + now.width_ns);
    for (int i = POINT_sched; i <= POINT_tx; i++) at[i] -= now.ns;
    at[POINT_rx] -= now.ns;
    bool is_ordered = put_in_order(&at[POINT_sched], at[POINT_write], error_ns) &&
                      put_in_order(&at[POINT_tx], at[POINT_sched], error_ns);
    if (!is_foreign) {
        is_ordered = is_ordered && read_times(probe, prober->reply + prober->size, now.ns, &at[POINT_serve_rx]);
        if (is_same) is_ordered = is_ordered && put_in_order(&at[POINT_serve_rx], at[POINT_tx], error_ns);
        is_ordered = is_ordered &&
                     put_between(&at[POINT_serve_call], &at[POINT_serve_wakeup], at[POINT_serve_rx],
                                 &at[POINT_serve_read], error_ns) &&
                     put_in_order(&at[POINT_serve_write], at[POINT_serve_read], error_ns);
    }
    is_ordered = is_ordered && put_in_order(&at[POINT_rx], is_same ? at[POINT_serve_write] : at[POINT_tx], error_ns) &&
                 put_between(&at[POINT_call], &at[POINT_wakeup], at[POINT_rx], &at[POINT_read], error_ns) &&
                 put_in_order(&at[POINT_resumed], at[POINT_read], error_ns);
    if (probe->peer == PEER_other_clock)
        is_ordered = is_ordered && at[POINT_rx] - at[POINT_tx] >= at[POINT_serve_write] - at[POINT_serve_rx];
    return is_ordered;
}

static void finish(struct prober *prober, struct probe *probe) {
    int64_t *at = probe->points;
    const unsigned char *trailer = prober->reply + prober->size;
    bool is_foreign = probe->peer == PEER_foreign;
    uint64_t flags = is_foreign ? 0 : word(trailer, TRAILER_flags);
    at[POINT_resumed] = probe->free_ns = clock_ns();
    probe->state = PROBE_IDLE;
    if (memcmp(prober->reply, prober->message, prober->size) ||
        (!is_foreign && word(trailer, TRAILER_check) != (uint64_t)TRAILER_MAGIC)) {
        lose(prober, probe);
        return;
    }
    if (!probe->page) return;
    struct distance now = clock_distance();
    if (is_stepped(probe->distance, now) || (flags & TRAILER_STEPPED)) {
        probe->page[COUNT_journeys_stepped]++;
    } else if (!at[POINT_sched] || !at[POINT_tx] || !at[POINT_rx] || (flags & TRAILER_UNSTAMPED)) {
        probe->page[COUNT_journeys_unstamped]++;
    } else if (!settle(prober, probe, now)) {
        probe->page[COUNT_journeys_disordered]++;
    } else {
        board_begin_write(prober->board);
        record(prober, probe);
        board_end_write(prober->board);
    }
}

void prober_receive(struct prober *prober, int index, const struct waited *waited) {
    struct probe *probe = &prober->probes[index];
    if (probe->state == PROBE_LOST) return;
    take_sent(probe);
    size_t expected = prober->size + (probe->peer == PEER_foreign ? 0 : TRAILER_BYTES);
    for (;;) {
        int64_t begin = clock_ns(), stamp;
        ssize_t length = receive_stamped(probe->fd, prober->reply + probe->got, expected - probe->got, &stamp);
        if (length < 0 && errno == EINTR) continue;
        if (length < 0 && errno == EAGAIN) return;
        if (length <= 0 || probe->state != PROBE_UNDER_WAY) {
            lose(prober, probe);
            return;
        }
        probe->got += (size_t)length;
        if (stamp) probe->points[POINT_rx] = stamp;
        probe->points[POINT_call] = waited->call_ns;
        probe->points[POINT_wakeup] = waited->return_ns;
        probe->points[POINT_read] = begin;
        if (probe->got < expected) continue;
        finish(prober, probe);
        return;
    }
}
