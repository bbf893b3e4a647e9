#include "drawing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int drawing_open(struct drawing *drawing, const void *shares, const void *values, size_t count) {
    drawing->shares = malloc(3 * count * sizeof *drawing->shares);
    if (!drawing->shares) return -1;
    drawing->values = drawing->shares + count;
    drawing->areas = drawing->values + count;
    drawing->count = count;
    memcpy(drawing->shares, shares, count * sizeof *drawing->shares);
    memcpy(drawing->values, values, count * sizeof *drawing->values);
    drawing->areas[0] = 0.0;
    for (size_t i = 1; i < count; i++) {
        double width = drawing->shares[i] - drawing->shares[i - 1];
        drawing->areas[i] = drawing->areas[i - 1] + width * (drawing->values[i - 1] + drawing->values[i]) / 2;
    }
    return 0;
}

void drawing_close(struct drawing *drawing) {
    free(drawing->shares);
    drawing->shares = drawing->values = drawing->areas = NULL;
    drawing->count = 0;
}

/* The first of the places that are above a number, the last one at most. */
static size_t first_above(const double *places, size_t count, double number) {
    size_t low = 0, high = count - 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (places[middle] <= number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int64_t whole(const struct drawing *drawing, double value) {
    int64_t rounded = llrint(value);
    return rounded < drawing->least ? drawing->least : rounded > drawing->most ? drawing->most : rounded;
}

int64_t drawing_at(const struct drawing *drawing, double share) {
    size_t place = first_above(drawing->shares, drawing->count, share);
    const double *shares = &drawing->shares[place - 1], *values = &drawing->values[place - 1];
    return whole(drawing, values[0] + (values[1] - values[0]) * ((share - shares[0]) / (shares[1] - shares[0])));
}

int64_t drawing_under_way(const struct drawing *drawing, double share) {
    double area = share * drawing->areas[drawing->count - 1];
    size_t place = first_above(drawing->areas, drawing->count, area);
    const double *areas = &drawing->areas[place - 1], *values = &drawing->values[place - 1];
    double width = areas[1] - areas[0], low = values[0] * values[0], high = values[1] * values[1];
    return whole(drawing, sqrt(low + (high - low) * (width > 0.0 ? (area - areas[0]) / width : 0.0)));
}
