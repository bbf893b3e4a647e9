/* What the kernel knows of a connection, TCP_INFO (tcp(7)), as measure/tcp_info.py has it of the other engines: there are
 * the offsets and their kernels. In C because Python's way costs a worker 300 KB of memory, and 1.5 us a look. */
#ifndef LOADKIT_TCP_INFO_H
#define LOADKIT_TCP_INFO_H

#include <stdbool.h>

#include "board.h"

/* Looks at a connection and adds what the kernel tells to a page; nothing when it is none any more. */
void note_tcp_info(const struct board *board, int64_t *page, int fd);
/* Whether the peer's kernel has acknowledged nothing of what was sent, though it was sent again. */
bool is_unacknowledged(int fd);

#endif
