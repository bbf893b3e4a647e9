/* The sockets of connections: which route is next, and a socket along it, bound where the route says so. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "blast.h"

/* The least a peer may announce as its segment size (RFC 9293, 3.7.1, less options): a message that fits goes out
 * whole. */
enum { LEAST_SEGMENT = 536 };
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51 /* linux/in.h since 6.3 */
#endif

uint32_t next_route(struct blast *blast) {
    while (!blast->route_left) {
        blast->route_now = (blast->route_now + 1) % blast->route_count;
        blast->route_left = blast->routes[blast->route_now].connections;
    }
    blast->route_left--;
    return blast->route_now;
}

static socklen_t length_of(const struct sockaddr_storage *address) {
    if (address->ss_family == AF_UNIX) {
        /* unix(7): a path ends with a zero; an abstract name begins with one, and ends with the length. */
        const struct sockaddr_un *path = (const struct sockaddr_un *)address;
        const char *name = path->sun_path[0] ? path->sun_path : path->sun_path + 1;
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strnlen(name, sizeof path->sun_path - 1));
    }
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

int socket_make(const struct blast *blast, struct route *route) {
    int one = 1;
    int fd = socket(route->destination.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    /* Nagle's algorithm holds back a segment that is not full while another is on its way (RFC 896): one message at a
     * time in one segment never is, and then the system call is saved. */
    bool is_held_back = blast->options.depth > 1 || blast->script.longest > LEAST_SEGMENT || blast->setup.count;
    is_held_back = is_held_back && !is_unix(route);
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

int socket_connect(const struct blast *blast, struct route *route, int *fd) {
    const struct sockaddr *destination = (const struct sockaddr *)&route->destination;
    socklen_t length = length_of(&route->destination);
    int failed = connect(*fd, destination, length);
    /* A port we chose is bound for every destination, and may be taken with this one: the next. */
    for (int64_t left = blast->options.chooses_ports ? route->port_high - route->port_low : 0;
         failed && errno == EADDRNOTAVAIL && left > 0; left--) {
        close(*fd);
        *fd = socket_make(blast, route);
        if (*fd < 0) break;
        failed = connect(*fd, destination, length);
    }
    return failed;
}
