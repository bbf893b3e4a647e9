#include "answers.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

bool is_hello(const unsigned char *bytes, size_t length) {
    return length == HELLO_BYTES && !memcmp(bytes, HELLO_TEXT, HELLO_TEXT_BYTES);
}

int answer_open(struct answer *answer, int fd, const unsigned char *hello, uint64_t machine) {
    uint32_t size;
    memcpy(&size, hello + HELLO_TEXT_BYTES, sizeof size);
    *answer = (struct answer){.fd = fd, .size = le32toh(size), .distance = clock_distance()};
    if (!answer->size || answer->size > MOST_PROBED_BYTES || stamp_received(fd)) return -1;
    answer->buffer = malloc(answer->size + TRAILER_BYTES);
    if (!answer->buffer) return -1;
    unsigned char welcome[HELLO_BYTES];
    uint64_t name = htole64(machine);
    memcpy(welcome, WELCOME_TEXT, HELLO_TEXT_BYTES);
    memcpy(welcome + HELLO_TEXT_BYTES, &name, sizeof name);
    if (send(fd, welcome, sizeof welcome, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof welcome) return 0;
    answer_close(answer);
    return -1;
}

void answer_close(struct answer *answer) {
    free(answer->buffer);
    answer->buffer = NULL;
}

static int reply(struct answer *answer, const struct waited *waited, int64_t read_ns, int64_t rx) {
    struct distance now = clock_distance();
    int64_t words[TRAILER_BYTES / 8] = {[TRAILER_rx] = rx,
                                        [TRAILER_call] = waited->call_ns + now.ns,
                                        [TRAILER_wakeup] = waited->return_ns + now.ns,
                                        [TRAILER_read] = read_ns + now.ns,
                                        [TRAILER_stepped] = is_stepped(answer->distance, now),
                                        [TRAILER_check] = TRAILER_MAGIC};
    size_t length = answer->size + TRAILER_BYTES;
    answer->distance = now;
    answer->got = 0;
    words[TRAILER_write] = clock_ns() + now.ns;
    for (int i = 0; i < TRAILER_BYTES / 8; i++) {
        uint64_t word = htole64((uint64_t)words[i]);
        memcpy(answer->buffer + answer->size + 8 * i, &word, sizeof word);
    }
    return send(answer->fd, answer->buffer, length, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)length ? 0 : -1;
}

int answer_receive(struct answer *answer, const struct waited *waited) {
    for (;;) {
        int64_t begin = clock_ns(), stamp;
        ssize_t length = receive_stamped(answer->fd, answer->buffer + answer->got, answer->size - answer->got, &stamp);
        if (length < 0 && errno == EINTR) continue;
        if (length < 0 && errno == EAGAIN) return 0;
        if (length <= 0) return -1;
        answer->got += (uint32_t)length;
        if (answer->got == answer->size && reply(answer, waited, begin, stamp)) return -1;
    }
}
