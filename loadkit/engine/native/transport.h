/* How the bytes of a connection come and go, below what they mean. There is one transport, and it is in line: a socket
 * is made and connected in sockets.c, and what is said before the first message is in setup.c.
 */
#ifndef LOADKIT_TRANSPORT_H
#define LOADKIT_TRANSPORT_H

#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stamps.h"

/* Returns how many of the bytes are on their way; -1 with errno, EAGAIN if there is no room for any. */
static inline ssize_t transport_send(int fd, const void *bytes, size_t length) {
    return send(fd, bytes, length, MSG_NOSIGNAL);
}

/* Returns how many bytes have come, 0 at the end of the stream; -1 with errno, EAGAIN if there are none. */
static inline ssize_t transport_receive(struct stamper *stamper, struct board *board, int fd, void *buffer,
                                        size_t most) {
    return stamper_receive(stamper, board, fd, buffer, most);
}

/* Ends the connection. By a reset what is under way is dropped, and no TIME_WAIT is left (socket(7), SO_LINGER). */
static inline void transport_end(int fd, bool by_reset) {
    struct linger reset = {1, 0};
    if (by_reset) setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
}

#endif
