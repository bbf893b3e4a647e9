/* What the kernel knows of a connection, TCP_INFO (tcp(7)), as measure/tcp_info.py has it of the other engines: there
 * are the offsets and their kernels. In C because Python's way costs a worker 300 KB of memory, and 1.5 us a look. */
#ifndef LOADKIT_TCP_INFO_H
#define LOADKIT_TCP_INFO_H

#include <stdbool.h>

#include "board.h"

/* What only grows, from the connection's beginning on: differences of it say what happened in between. */
struct tcp_counts {
    int64_t retransmits, busy_us, rwnd_limited_us, sndbuf_limited_us;
};

/* Notes what a connection is like now in the histograms of a page; nothing when it is none any more. */
void note_tcp_info(const struct board *board, int64_t *page, int fd);
/* Whether the peer's kernel has acknowledged nothing of what was sent, though it was sent again. */
bool is_unacknowledged(int fd);
/* Reads the counters; what this kernel does not tell is 0. False when it is no connection any more. */
bool read_tcp_counts(int fd, struct tcp_counts *counts);

#endif
