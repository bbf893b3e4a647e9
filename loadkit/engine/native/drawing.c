#include "drawing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int drawing_open(struct drawing *drawing, const void *shares, const void *values, size_t count) {
    drawing->shares = malloc(2 * count * sizeof *drawing->shares);
    if (!drawing->shares) return -1;
    drawing->values = drawing->shares + count;
    drawing->count = count;
    memcpy(drawing->shares, shares, count * sizeof *drawing->shares);
    memcpy(drawing->values, values, count * sizeof *drawing->values);
    return 0;
}

void drawing_close(struct drawing *drawing) {
    free(drawing->shares);
    drawing->shares = drawing->values = NULL;
    drawing->count = 0;
}

int64_t drawing_at(const struct drawing *drawing, double share) {
    size_t low = 0, high = drawing->count - 1; /* the first point above the share: the last one is */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (drawing->shares[middle] <= share)
            low = middle + 1;
        else
            high = middle;
    }
    const double *shares = &drawing->shares[low - 1], *values = &drawing->values[low - 1];
    int64_t value = llrint(values[0] + (values[1] - values[0]) * ((share - shares[0]) / (shares[1] - shares[0])));
    return value < drawing->least ? drawing->least : value > drawing->most ? drawing->most : value;
}
