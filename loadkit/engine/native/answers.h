/* The serve end of a probe: its messages are echoed with a trailer that says when they came, were read and went. */
#ifndef LOADKIT_ANSWERS_H
#define LOADKIT_ANSWERS_H

#include "journey.h"

struct answer {
    int fd;
    uint32_t size, got;
    struct distance distance;
    unsigned char *buffer;
};

/* Whether these bytes are a hello. */
bool is_hello(const unsigned char *bytes, size_t length);
/* Answers a hello with a welcome, and makes ready for what follows; -1 when it cannot, or the hello asks for what cannot be. */
int answer_open(struct answer *answer, int fd, const unsigned char *hello, uint64_t machine);
/* Does not close the file descriptor. */
void answer_close(struct answer *answer);
/* Something came; -1: the peer is gone, or did not keep to what the hello said. */
int answer_receive(struct answer *answer, const struct waited *waited);

#endif
