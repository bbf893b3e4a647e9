/* Pauses of a closed loop that thinks: between a reply and the next message of its connection.
 *
 * A heap has an entry of 16 bytes for each connection that pauses; a run that does not think has none. An entry of a
 * connection that has ended is dropped when its time comes, or when such entries are more than half.
 */
#ifndef LOADKIT_PAUSES_H
#define LOADKIT_PAUSES_H

#include <stdbool.h>

#include "deadlines.h"
#include "drawing.h"

struct pauses {
    struct deadlines ends;
    struct drawing drawing; /* how long they are */
    uint64_t seed, drawn;   /* … and how many shares of the seed have been used */
};

/* Whether this run thinks. */
static inline bool pauses_are_asked(const struct pauses *pauses) { return pauses->drawing.count > 0; }

#endif
