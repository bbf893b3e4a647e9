/* The floor: a bare epoll echo server and a bare closed-loop client. No measuring, no checking of replies.
 *
 * What a pair of these does on one core each is the most that level-triggered epoll with one read and one write a
 * message gives on this machine, so loadkit's figures are ratios to it. Modes:
 *
 *     floor serve PORT                                   echo until killed
 *     floor blast PORT CONNECTIONS SIZE SECONDS DEPTH    closed loop; prints "replies seconds user_s system_s"
 *     floor churn PORT CONNECTIONS SIZE SECONDS          connect, one exchange, RST close; prints the same
 *     floor pace RATE SECONDS                            does nothing but look at the clock; prints how late it was for
 *                                                        events at that rate: "p50 p99 p99.9" in ns. What is taken from
 *                                                        this loop the machine takes from everybody.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 1024, BUFFER = 1 << 20, MAX_FD = 65536 };

static char buffer[BUFFER];
static char message[BUFFER];
static int remaining[MAX_FD]; /* bytes of the current reply still to come, by fd */

static void die(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void set_nodelay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void watch(int ep, int fd, unsigned events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
}

/* Writes all of it, spinning on EAGAIN: a bare program, not a fair one. */
static int write_all(int fd, const char *from, size_t length) {
    while (length) {
        ssize_t n = send(fd, from, length, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN) continue;
            return -1;
        }
        from += n;
        length -= (size_t)n;
    }
    return 0;
}

static void serve(int port) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in address = loopback(port);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address)) die("bind");
    if (listen(listener, 4096)) die("listen");
    int ep = epoll_create1(0);
    watch(ep, listener, EPOLLIN);
    struct epoll_event events[BATCH];
    for (;;) {
        int n = epoll_wait(ep, events, BATCH, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int client;
                while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    set_nodelay(client);
                    watch(ep, client, EPOLLIN);
                }
                continue;
            }
            ssize_t got = read(fd, buffer, sizeof buffer);
            if (got > 0) {
                if (write_all(fd, buffer, (size_t)got)) close(fd);
            } else if (got == 0 || errno != EAGAIN) {
                close(fd);
            }
        }
    }
}

static int open_connection(int ep, struct sockaddr_in *address) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || fd >= MAX_FD) die("socket");
    set_nodelay(fd);
    if (connect(fd, (struct sockaddr *)address, sizeof *address) && errno != EINPROGRESS) die("connect");
    watch(ep, fd, EPOLLOUT);
    return fd;
}

static void start(int ep, int fd, int size, int depth) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(ep, EPOLL_CTL_MOD, fd, &event);
    remaining[fd] = size;
    for (int i = 0; i < depth; i++)
        if (write_all(fd, message, (size_t)size)) die("write");
}

/* Closes with RST, so that no TIME_WAIT is left, and takes the next connection's place. */
static void reopen(int ep, int fd, struct sockaddr_in *address) {
    struct linger reset = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    open_connection(ep, address);
}

static void blast(int port, int connections, int size, double seconds, int depth, int churn) {
    struct sockaddr_in address = loopback(port);
    int ep = epoll_create1(0);
    memset(message, 'x', sizeof message);
    for (int i = 0; i < connections; i++) open_connection(ep, &address);
    struct epoll_event events[BATCH];
    long replies = 0;
    double begin = now(), end = begin + seconds;
    while (now() < end) {
        int n = epoll_wait(ep, events, BATCH, 100);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (events[i].events & EPOLLOUT) {
                start(ep, fd, size, depth);
                continue;
            }
            ssize_t got = read(fd, buffer, sizeof buffer);
            if (got <= 0) {
                if (got < 0 && errno == EAGAIN) continue;
                die("read");
            }
            while (got >= remaining[fd]) {
                got -= remaining[fd];
                remaining[fd] = size;
                replies++;
                if (churn) break;
                if (write_all(fd, message, (size_t)size)) die("write");
            }
            if (churn && remaining[fd] == size) {
                reopen(ep, fd, &address);
                continue;
            }
            remaining[fd] -= (int)got;
        }
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%ld %.3f %.3f %.3f\n", replies, now() - begin,
           (double)usage.ru_utime.tv_sec + 1e-6 * (double)usage.ru_utime.tv_usec,
           (double)usage.ru_stime.tv_sec + 1e-6 * (double)usage.ru_stime.tv_usec);
}

static int by_value(const void *one, const void *other) {
    long a = *(const long *)one, b = *(const long *)other;
    return (a > b) - (a < b);
}

static void pace(double rate, double seconds) {
    long count = (long)(rate * seconds);
    long *late = malloc((size_t)count * sizeof *late);
    if (!late) die("malloc");
    memset(late, 0, (size_t)count * sizeof *late);
    double begin = now();
    for (long k = 0; k < count; k++) {
        double due = begin + (double)k / rate, t;
        while ((t = now()) < due) {}
        late[k] = (long)((t - due) * 1e9);
    }
    qsort(late, (size_t)count, sizeof *late, by_value);
    printf("%ld %ld %ld\n", late[count / 2], late[count * 99 / 100], late[count * 999 / 1000]);
    free(late);
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "serve")) {
        serve(atoi(argv[2]));
    } else if (argc == 7 && !strcmp(argv[1], "blast")) {
        blast(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]), atof(argv[5]), atoi(argv[6]), 0);
    } else if (argc == 6 && !strcmp(argv[1], "churn")) {
        blast(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]), atof(argv[5]), 1, 1);
    } else if (argc == 4 && !strcmp(argv[1], "pace")) {
        pace(atof(argv[2]), atof(argv[3]));
    } else {
        fprintf(stderr, "usage: floor serve PORT | floor blast PORT CONNECTIONS SIZE SECONDS DEPTH | "
                        "floor churn PORT CONNECTIONS SIZE SECONDS | floor pace RATE SECONDS\n");
        return 2;
    }
    return 0;
}
