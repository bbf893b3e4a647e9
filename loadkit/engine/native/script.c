#include "script.h"

#include <stdlib.h>
#include <string.h>

/* 2^64 divided by the golden ratio: its multiples, modulo 2^64, are spread evenly, however many there are. */
#define GOLDEN UINT64_C(0x9E3779B97F4A7C15)

/* A stretch of a cycle is about as long as a message: so a message is found in one or two steps. */
static int index_ends(struct script *script) {
    while (script->shift < 62 && (int64_t)script->count << (script->shift + 1) <= script->cycle) script->shift++;
    size_t stretches = (size_t)(script->cycle >> script->shift) + 2;
    script->nearby = malloc(stretches * sizeof *script->nearby);
    if (!script->nearby) return -1;
    uint32_t number = 0;
    for (size_t i = 0; i < stretches; i++) {
        while (number < script->count - 1 && script->ends[number] <= (int64_t)i << script->shift) number++;
        script->nearby[i] = number;
    }
    return 0;
}

int script_open(struct script *script) {
    int64_t before = 0;
    for (uint32_t i = 0; i < script->count; before = script->ends[i++])
        if (script->ends[i] - before > script->longest) script->longest = script->ends[i] - before;
    script->cycle = script->ends[script->count - 1];
    script->size = script->count == 1 ? script->ends[0] : 0;
    return script->size ? 0 : index_ends(script);
}

void script_close(struct script *script) {
    free(script->nearby);
    script->nearby = NULL;
}

/* Where message number `number` begins. */
static int64_t begin_of(const struct script *script, uint64_t number) {
    uint64_t place = number % script->count;
    return (int64_t)(number / script->count) * script->cycle + (place ? script->ends[place - 1] : 0);
}

int64_t script_origin(const struct script *script, uint64_t connection) {
    if (script->starts == 1) return 0;
    return begin_of(script, ((connection * GOLDEN >> 32) * script->starts >> 32) * script->block);
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

/* -- patches */

struct patch {
    int64_t begin, end; /* in the content */
    int which;
};

static struct patch patch_at(const struct script *script, size_t number) {
    int64_t packed = script->patches[number], begin = packed >> PATCH_SHIFT;
    return (struct patch){begin, begin + (packed >> PATCH_DIGITS_SHIFT & 0xff), (int)(packed & 0xff)};
}

/* The first patch that ends behind a place of the content. */
static size_t find_patch(const struct script *script, int64_t place) {
    size_t low = 0, high = script->patch_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (patch_at(script, middle).end <= place)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The last `digits` digits of a number. */
static void write_digits(unsigned char *to, int64_t value, int64_t digits) {
    while (digits--) {
        to[digits] = (unsigned char)('0' + value % 10);
        value /= 10;
    }
}

static int64_t fresh_value(const struct script *script, const struct fresh *fresh, int which, int64_t position) {
    int64_t value = fresh->values[which];
    return which == FRESH_n ? value + script_count(script, position) * fresh->step : value;
}

/* The part of the content from `start` on is at `to`, and begins at `position` of the stream. */
static void write_patches(const struct script *script, int64_t position, int64_t start, const struct fresh *fresh,
                          unsigned char *to, int64_t length) {
    for (size_t i = find_patch(script, start); i < script->patch_count; i++) {
        struct patch patch = patch_at(script, i);
        if (patch.begin >= start + length) break;
        unsigned char digits[MOST_DIGITS];
        int64_t count = patch.end - patch.begin, skipped = patch.begin < start ? start - patch.begin : 0;
        int64_t at = patch.begin + skipped - start;
        write_digits(digits, fresh_value(script, fresh, patch.which, position + at), count);
        int64_t left = count - skipped < length - at ? count - skipped : length - at;
        memcpy(to + at, digits + skipped, (size_t)left);
    }
}

size_t script_write(const struct script *script, int64_t position, int64_t wanted, const struct fresh *fresh,
                    unsigned char *to, size_t room) {
    size_t written = 0;
    if (wanted > (int64_t)room) wanted = (int64_t)room;
    while (wanted) {
        int64_t start = position % script->period;
        int64_t length = wanted < script->period - start ? wanted : script->period - start;
        memcpy(to + written, script->bytes + start, (size_t)length);
        write_patches(script, position, start, fresh, to + written, length);
        written += (size_t)length;
        position += length;
        wanted -= length;
    }
    return written;
}

bool script_matches_but_for_patches(const struct script *script, int64_t position, const unsigned char *bytes,
                                    size_t length) {
    while (length) {
        int64_t start = position % script->period;
        size_t i = find_patch(script, start);
        int64_t begin = i < script->patch_count ? patch_at(script, i).begin : script->period;
        /* Up to the patch, or over it. */
        bool is_inside = begin <= start;
        int64_t until = is_inside ? patch_at(script, i).end : begin;
        size_t there = (size_t)(until - start) < length ? (size_t)(until - start) : length;
        if (!is_inside && !script_matches(script, position, bytes, there)) return false;
        position += (int64_t)there;
        bytes += there;
        length -= there;
    }
    return true;
}

/* -- messages */

/* The number within its cycle of the message at a place of the cycle: the first that ends behind it. */
static uint32_t find_message(const struct script *script, int64_t place) {
    if (script->count == 1) return 0;
    const uint32_t *nearby = &script->nearby[place >> script->shift];
    uint32_t low = nearby[0], high = nearby[1];
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
