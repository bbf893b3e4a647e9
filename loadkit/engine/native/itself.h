/* Connections to oneself. A connect to a port of the local range that no process listens on can draw that very port:
 * then its SYN crosses itself (RFC 9293, 3.5, simultaneous open), and the kernel calls it established. It echoes
 * whatever is sent, and its port is taken from the server that comes back. endpoint.py does the same in Python. */
#ifndef LOADKIT_ITSELF_H
#define LOADKIT_ITSELF_H

#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

/* The port stands in the same place in both families. */
static inline in_port_t port_of(const struct sockaddr_storage *address) {
    return ((const struct sockaddr_in *)address)->sin_port;
}

static inline bool is_same_end(const struct sockaddr_storage *one, const struct sockaddr_storage *other) {
    if (one->ss_family != other->ss_family || port_of(one) != port_of(other)) return false;
    if (one->ss_family == AF_INET) {
        const struct sockaddr_in *left = (const struct sockaddr_in *)one, *right = (const struct sockaddr_in *)other;
        return left->sin_addr.s_addr == right->sin_addr.s_addr;
    }
    const struct sockaddr_in6 *left = (const struct sockaddr_in6 *)one, *right = (const struct sockaddr_in6 *)other;
    /* Each interface can have the same link-local address. */
    return left->sin6_scope_id == right->sin6_scope_id &&
           !memcmp(&left->sin6_addr, &right->sin6_addr, sizeof left->sin6_addr);
}

/* Whether both ends of a connection are this socket; then close() resets it, and its port is free at once. Nearly
 * always the port tells that they are not, which takes one system call. The address is compared with the peer's own:
 * a connect to 0.0.0.0 reaches 127.0.0.1. */
static inline bool meets_itself(int fd, const struct sockaddr_storage *destination) {
    struct sockaddr_storage ours, theirs;
    socklen_t length = sizeof ours;
    if (getsockname(fd, (struct sockaddr *)&ours, &length) || port_of(&ours) != port_of(destination)) return false;
    length = sizeof theirs;
    if (getpeername(fd, (struct sockaddr *)&theirs, &length) || !is_same_end(&ours, &theirs)) return false;
    struct linger reset = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    return true;
}

#endif
