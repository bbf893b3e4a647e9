#include "answers.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void answers_open(struct answers *answers, enum probe_peers peers, struct key machine, int64_t idle_ns) {
    *answers = (struct answers){.peers = peers, .machine = machine, .look_ns = NEVER};
    answers->idle_ns = idle_ns >= 0 && idle_ns < ANSWER_IDLE_NS ? idle_ns : ANSWER_IDLE_NS;
}

static uint32_t size_of(const unsigned char *hello) {
    uint32_t size;
    memcpy(&size, hello + HELLO_TEXT_BYTES, sizeof size);
    return le32toh(size);
}

bool has_hello(const unsigned char *bytes) {
    return !memcmp(bytes, HELLO_TEXT, HELLO_TEXT_BYTES) && size_of(bytes) >= LEAST_PROBED_BYTES &&
           size_of(bytes) <= MOST_PROBED_BYTES;
}

/* The serve end's first message: as long as a hello. */
static void write_first(unsigned char *bytes, const char *text, uint64_t number) {
    number = htole64(number);
    memcpy(bytes, text, HELLO_TEXT_BYTES);
    memcpy(bytes + HELLO_TEXT_BYTES, &number, sizeof number);
}

static void close_answer(struct answer *answer) {
    free(answer->buffer);
    free(answer);
}

static struct answer *open_answer(struct key machine, int fd, uint32_t size) {
    struct answer *answer = malloc(sizeof *answer);
    if (!answer) return NULL;
    int64_t now = clock_ns();
    *answer = (struct answer){.fd = fd, .size = size, .active_ns = now, .distance = clock_distance()};
    answer->paid_ns = now - ANSWERS_SAVED_AT_FIRST_NS;
    answer->buffer = malloc(size + TRAILER_BYTES);
    unsigned char welcome[HELLO_BYTES];
    if (answer->buffer && !key_of_connection(&answer->key, machine, fd, true) && !stamp_received(fd)) {
        write_first(welcome, WELCOME_TEXT, key_number(answer->key, 0));
        if (send(fd, welcome, sizeof welcome, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof welcome) return answer;
    }
    close_answer(answer);
    return NULL;
}

struct answer *answers_greet(struct answers *answers, int fd, unsigned char *hello) {
    bool is_for_it = answers->peers == PROBES_OF_all || (answers->peers == PROBES_OF_loopback && is_peer_loopback(fd));
    if (!is_for_it || answers->count == MOST_ANSWERS) {
        write_first(hello, REFUSAL_TEXT, is_for_it ? REFUSED_FULL : REFUSED_OFF);
        return NULL;
    }
    struct answer *answer = open_answer(answers->machine, fd, size_of(hello));
    if (!answer) return NULL;
    answers->all[answers->count++] = answer;
    if (answers->look_ns == NEVER) answers->look_ns = answer->active_ns + answers->idle_ns;
    return answer;
}

void answers_drop(struct answers *answers, struct answer *answer) {
    uint32_t place = 0;
    while (answers->all[place] != answer) place++;
    answers->all[place] = answers->all[--answers->count];
    if (!answers->count) answers->look_ns = NEVER;
    close_answer(answer);
}

static int reply(struct answer *answer, const struct waited *waited, int64_t read_ns, int64_t rx) {
    struct distance now = clock_distance();
    uint64_t moved_by = key_number(answer->key, ++answer->number);
    uint64_t words[TRAILER_BYTES / 8] = {
        [TRAILER_rx] = (uint64_t)rx,
        [TRAILER_call] = (uint64_t)(waited->call_ns + now.ns),
        [TRAILER_wakeup] = (uint64_t)(waited->return_ns + now.ns),
        [TRAILER_read] = (uint64_t)(read_ns + now.ns),
        [TRAILER_flags] = (is_stepped(answer->distance, now) ? TRAILER_STEPPED : 0) | (rx ? 0 : TRAILER_UNSTAMPED),
        [TRAILER_check] = TRAILER_MAGIC,
    };
    size_t length = answer->size + TRAILER_BYTES;
    answer->distance = now;
    answer->got = 0;
    words[TRAILER_write] = (uint64_t)(clock_ns() + now.ns);
    for (int i = 0; i < TRAILER_BYTES / 8; i++) {
        uint64_t word = htole64(i < TRAILER_TIMES ? words[i] + moved_by : words[i]);
        memcpy(answer->buffer + answer->size + 8 * i, &word, sizeof word);
    }
    return send(answer->fd, answer->buffer, length, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)length ? 0 : -1;
}

/* A blast end does not send so often; a flood is. */
static bool is_too_soon(struct answer *answer, int64_t now) {
    if (answer->paid_ns < now - ANSWERS_SAVED_NS) answer->paid_ns = now - ANSWERS_SAVED_NS;
    answer->paid_ns += ANSWER_PERIOD_NS;
    return answer->paid_ns > now;
}

int answer_receive(struct answer *answer, const struct waited *waited) {
    int64_t begin = clock_ns(), stamp;
    ssize_t length = receive_stamped(answer->fd, answer->buffer + answer->got, answer->size - answer->got, &stamp);
    if (length < 0 && (errno == EINTR || errno == EAGAIN)) return 0;
    if (length <= 0) return -1;
    answer->active_ns = begin;
    answer->got += (uint32_t)length;
    if (answer->got < answer->size) return 0;
    return is_too_soon(answer, begin) ? -1 : reply(answer, waited, begin, stamp);
}

/* Whether something of it lies unread: after a standstill of ours that is so of all that were not idle. */
static bool has_sent(const struct answer *answer) {
    char byte;
    return recv(answer->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void answers_end_idle(struct answers *answers, int64_t now) {
    answers->look_ns = NEVER;
    for (uint32_t i = 0; i < answers->count; i++) {
        struct answer *answer = answers->all[i];
        int64_t until = answer->active_ns + answers->idle_ns;
        if (until <= now) {
            if (!has_sent(answer)) shutdown(answer->fd, SHUT_RDWR);
            until = now + answers->idle_ns; /* its event comes before */
        }
        if (until < answers->look_ns) answers->look_ns = until;
    }
}
