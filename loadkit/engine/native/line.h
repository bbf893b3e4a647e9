/* The line before a UNIX listener whose queue is full. Its kernel keeps no SYN for later: connect(2) says EAGAIN at
 * once (unix_stream_connect in net/unix/af_unix.c), and reports nothing when there is room. So connections wait here,
 * the first in front. Now and then the first one tries, and as long as that goes well the next; after a try in vain all
 * wait, twice as long each time. */
#ifndef LOADKIT_LINE_H
#define LOADKIT_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring.h"

struct line {
    uint64_t *tokens; /* some are of connections that are over */
    struct ring ring;
    int64_t next_ns, pause_ns; /* when the first one tries; how long after a try in vain */
};

/* False: there is no memory. */
bool line_join(struct line *line, uint64_t token, int64_t now);
static inline uint64_t line_first(const struct line *line) { return line->tokens[line->ring.first]; }
/* The first one has left: it went well, or it is over. */
void line_leave(struct line *line, int64_t now);
/* It was in vain. */
void line_wait(struct line *line, int64_t now);

#endif
