/* A distribution's values out of shares: loadkit/distribution.py's Drawing, to the bit. */
#ifndef LOADKIT_DRAWING_H
#define LOADKIT_DRAWING_H

#include <stddef.h>
#include <stdint.h>

/* Points of the quantile function, from share 0 to share 1, with straight lines between them. */
struct drawing {
    double *shares, *values, *areas; /* the last: below the function up to each point */
    size_t count;
    int64_t least, most;
};

/* Copies `count` points of doubles, two or more; -1 if there is no memory. */
int drawing_open(struct drawing *drawing, const void *shares, const void *values, size_t count);
void drawing_close(struct drawing *drawing);
/* The whole value at a share from 0 to below 1. */
int64_t drawing_at(const struct drawing *drawing, double share);
/* How long the value is that is under way at any moment, if one follows another: the long ones have a larger share. */
int64_t drawing_under_way(const struct drawing *drawing, double share);

#endif
