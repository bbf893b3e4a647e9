#include "script.h"

#include <stdlib.h>
#include <string.h>

/* Long enough that a send or a comparison is seldom cut, short enough to stay in the second-level cache; for small
 * messages less will do, and there may be a hundred workers. */
enum { LEAST_STREAM_BYTES = 16 * 1024, MOST_STREAM_BYTES = 256 * 1024 };

int script_open(struct script *script, const unsigned char *content, size_t period, const int64_t *ends, uint32_t count,
                int64_t depth) {
    int64_t before = 0;
    for (uint32_t i = 0; i < count; before = ends[i++])
        if (ends[i] - before > script->longest) script->longest = ends[i] - before;
    int64_t under_way = script->longest > INT32_MAX / depth ? INT32_MAX : script->longest * depth;
    size_t length = under_way < LEAST_STREAM_BYTES  ? LEAST_STREAM_BYTES
                    : under_way > MOST_STREAM_BYTES ? MOST_STREAM_BYTES
                                                    : (size_t)under_way;
    script->period = (int64_t)period;
    script->length = length + period;
    script->count = count;
    script->cycle = ends[count - 1];
    script->size = count == 1 ? ends[0] : 0;
    script->bytes = malloc(script->length);
    script->ends = malloc(count * sizeof *ends);
    if (!script->bytes || !script->ends) return -1;
    memcpy(script->ends, ends, count * sizeof *ends);
    for (size_t at = 0; at < script->length; at += period)
        memcpy(script->bytes + at, content, at + period < script->length ? period : script->length - at);
    return 0;
}

void script_close(struct script *script) {
    free(script->bytes);
    free(script->ends);
    script->bytes = NULL;
    script->ends = NULL;
}

const unsigned char *script_at(const struct script *script, int64_t position, int64_t wanted, size_t *length) {
    size_t start = (size_t)(position % script->period);
    size_t there = script->length - start;
    *length = wanted < (int64_t)there ? (size_t)wanted : there;
    return script->bytes + start;
}

bool script_matches(const struct script *script, int64_t position, const unsigned char *bytes, size_t length) {
    while (length) {
        size_t there;
        const unsigned char *expected = script_at(script, position, (int64_t)length, &there);
        if (memcmp(expected, bytes, there) != 0) return false;
        position += (int64_t)there;
        bytes += there;
        length -= there;
    }
    return true;
}

/* The number within its cycle of the message at a place of the cycle: the first that ends behind it. */
static uint32_t find_message(const struct script *script, int64_t place) {
    uint32_t low = 0, high = script->count - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (script->ends[middle] <= place)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

__attribute__((noinline)) int64_t script_find_length(const struct script *script, int64_t position) {
    uint32_t number = find_message(script, position % script->cycle);
    return script->ends[number] - (number ? script->ends[number - 1] : 0);
}

__attribute__((noinline)) int64_t script_find_span(const struct script *script, int64_t position, uint32_t count) {
    int64_t end = position;
    while (count--) end += script_find_length(script, end);
    return end - position;
}

int64_t script_count(const struct script *script, int64_t position) {
    return position / script->cycle * script->count + find_message(script, position % script->cycle);
}
