#include "tcp_info.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

/* Where linux/tcp.h has a field; the C library's struct of that name may be older than the kernel. */
enum {
    AT_RTT = 68,
    AT_RTTVAR = 72,
    AT_CWND = 80,
    AT_RETRANSMITS = 100,
    AT_BYTES_ACKED = 120, /* Linux 4.1; the SYN counts as one */
    AT_MIN_RTT = 148,
    AT_DELIVERY_RATE = 160,
    AT_BUSY = 168,
    AT_RWND_LIMITED = 176,
    AT_SNDBUF_LIMITED = 184,
    MOST = 512, /* more than any kernel has: it returns what it knows */
};
#define NO_MIN_RTT UINT32_MAX /* before its first sample */
#define NS_PER_US 1000

struct told {
    unsigned char bytes[MOST];
    socklen_t length;
};

/* Whether there is a number of so many bytes at that place. */
static bool read_number(const struct told *told, unsigned at, size_t size, uint64_t *number) {
    if (at + size > told->length) return false;
    uint32_t word;
    if (size == sizeof word) {
        memcpy(&word, told->bytes + at, size);
        *number = word;
    } else {
        memcpy(number, told->bytes + at, size);
    }
    return true;
}

bool is_unacknowledged(int fd) {
    struct told told = {.length = MOST};
    uint64_t acknowledged, again;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, told.bytes, &told.length)) return false;
    if (!read_number(&told, AT_BYTES_ACKED, 8, &acknowledged) || !read_number(&told, AT_RETRANSMITS, 4, &again))
        return false;
    return acknowledged <= 1 && again > 0;
}

bool read_tcp_counts(int fd, struct tcp_counts *counts) {
    struct told told = {.length = MOST};
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, told.bytes, &told.length)) return false;
    uint64_t number;
    *counts = (struct tcp_counts){
        .retransmits = read_number(&told, AT_RETRANSMITS, 4, &number) ? (int64_t)number : 0,
        .busy_us = read_number(&told, AT_BUSY, 8, &number) ? (int64_t)number : 0,
        .rwnd_limited_us = read_number(&told, AT_RWND_LIMITED, 8, &number) ? (int64_t)number : 0,
        .sndbuf_limited_us = read_number(&told, AT_SNDBUF_LIMITED, 8, &number) ? (int64_t)number : 0,
    };
    return true;
}

void note_tcp_info(const struct board *board, int64_t *page, int fd) {
    struct told told = {.length = MOST};
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, told.bytes, &told.length)) return;
    uint64_t number;
    page[COUNT_tcp_samples]++;
    if (read_number(&told, AT_CWND, 4, &number)) page[COUNT_tcp_cwnd] += (int64_t)number;
    if (read_number(&told, AT_RTT, 4, &number)) board_record(board, page, HISTOGRAM_rtt, (int64_t)number * NS_PER_US);
    if (read_number(&told, AT_RTTVAR, 4, &number))
        board_record(board, page, HISTOGRAM_rttvar, (int64_t)number * NS_PER_US);
    if (read_number(&told, AT_MIN_RTT, 4, &number) && number != NO_MIN_RTT)
        board_record(board, page, HISTOGRAM_min_rtt, (int64_t)number * NS_PER_US);
    if (read_number(&told, AT_DELIVERY_RATE, 8, &number))
        board_record(board, page, HISTOGRAM_delivery_rate, (int64_t)number);
}
