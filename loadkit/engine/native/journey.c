#include "journey.h"

#include <errno.h>
#include <linux/net_tstamp.h>
#include <string.h>
#include <sys/socket.h>

const char HELLO_TEXT[] = "loadkit probe 2: stamps, if you please\n";
const char WELCOME_TEXT[] = "loadkit probe 2: stamps will be coming\n";
const char REFUSAL_TEXT[] = "loadkit probe 2: no stamps for you now\n";
_Static_assert(sizeof HELLO_TEXT == HELLO_TEXT_BYTES + 1 && sizeof WELCOME_TEXT == sizeof HELLO_TEXT &&
                   sizeof REFUSAL_TEXT == sizeof HELLO_TEXT,
               "one length for all");

static int64_t realtime_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

struct distance clock_distance(void) {
    struct distance best = {0, INT64_MAX};
    /* Whoever is interrupted between the readings tries again; 0.1 us is usual. */
    for (int i = 0; i < 8 && best.width_ns > 500; i++) {
        int64_t before = clock_ns(), real = realtime_ns(), after = clock_ns();
        if (after - before < best.width_ns)
            best = (struct distance){real - before - (after - before) / 2, after - before};
    }
    return best;
}

bool is_stepped(struct distance before, struct distance after) {
    int64_t moved = after.ns > before.ns ? after.ns - before.ns : before.ns - after.ns;
    return moved > STEP_NS + before.width_ns + after.width_ns;
}

int stamp_received(int fd) {
    int flags = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    return setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags);
}

ssize_t receive_stamped(int fd, void *buffer, size_t most, int64_t *stamp) {
    char control[256];
    struct iovec part = {buffer, most};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    *stamp = 0;
    ssize_t length = recvmsg(fd, &message, MSG_DONTWAIT);
    if (length <= 0) return length;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_TIMESTAMPING) continue;
        struct timespec at; /* the first of three is the software's */
        memcpy(&at, CMSG_DATA(head), sizeof at);
        *stamp = (int64_t)at.tv_sec * NS_PER_S + at.tv_nsec;
    }
    return length;
}

void count_apart(struct apart *apart, int64_t *page, const struct waited *waited) {
    page[COUNT_probe_events]++;
    if (apart->return_ns != waited->return_ns) *apart = (struct apart){waited->return_ns, 0};
    if (++apart->seen == waited->count) page[COUNT_probe_wakeups]++;
}
