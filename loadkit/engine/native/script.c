#include "script.h"

#include <stdlib.h>
#include <string.h>

/* 2^64 divided by the golden ratio: its multiples, modulo 2^64, are spread evenly, however many there are. */
#define GOLDEN UINT64_C(0x9E3779B97F4A7C15)

struct patch {
    int64_t begin, end; /* in the content */
    int which;
};

static struct patch patch_at(const struct script *script, size_t number) {
    int64_t packed = script->patches[number], begin = packed >> PATCH_SHIFT;
    return (struct patch){begin, begin + (packed >> PATCH_DIGITS_SHIFT & 0xff), (int)(packed & 0xff)};
}

typedef int64_t end_of(const struct script *script, size_t number);
static int64_t message_end(const struct script *script, size_t number) { return script->ends[number]; }
static int64_t patch_end(const struct script *script, size_t number) { return patch_at(script, number).end; }

/* A stretch is about as long as one of the `count` things is: so one is found in a step or two. */
static int nearby_open(struct nearby *nearby, const struct script *script, end_of *end, size_t count, int64_t bytes) {
    while (nearby->shift < 31 && (int64_t)count << (nearby->shift + 1) <= bytes) nearby->shift++;
    size_t stretches = (size_t)(bytes >> nearby->shift) + 2;
    nearby->numbers = malloc(stretches * sizeof *nearby->numbers);
    if (!nearby->numbers) return -1;
    size_t number = 0;
    for (size_t i = 0; i < stretches; i++) {
        while (number < count && end(script, number) <= (int64_t)i << nearby->shift) number++;
        nearby->numbers[i] = (uint32_t)number;
    }
    return 0;
}

/* The first that ends behind a place; `count` if there is none. */
static inline uint32_t nearby_find(const struct nearby *nearby, const struct script *script, end_of *end,
                                   int64_t place) {
    const uint32_t *numbers = &nearby->numbers[place >> nearby->shift];
    uint32_t low = numbers[0], high = numbers[1];
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (end(script, middle) <= place)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int script_open(struct script *script) {
    int64_t before = 0;
    for (uint32_t i = 0; i < script->count; before = script->ends[i++])
        if (script->ends[i] - before > script->longest) script->longest = script->ends[i] - before;
    script->cycle = script->ends[script->count - 1];
    script->size = script->count == 1 ? script->ends[0] : 0;
    if (script->patch_count && nearby_open(&script->patched, script, patch_end, script->patch_count, script->period))
        return -1;
    return script->size ? 0 : nearby_open(&script->messages, script, message_end, script->count, script->cycle);
}

void script_close(struct script *script) {
    free(script->messages.numbers);
    free(script->patched.numbers);
    script->messages.numbers = script->patched.numbers = NULL;
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

/* The first patch that ends behind a place of the content. */
static size_t find_patch(const struct script *script, int64_t place) {
    return script->patch_count ? nearby_find(&script->patched, script, patch_end, place) : 0;
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
    int64_t start = position % script->period;
    size_t i = find_patch(script, start);
    while (length) {
        struct patch patch = {script->period, script->period, 0};
        if (i < script->patch_count) patch = patch_at(script, i);
        /* Up to the patch, or over it. */
        bool is_inside = patch.begin <= start && patch.end > start;
        size_t there = (size_t)((is_inside ? patch.end : patch.begin) - start);
        if (there > length) there = length;
        if (!is_inside && !script_matches(script, start, bytes, there)) return false;
        i += is_inside;
        start += (int64_t)there;
        bytes += there;
        length -= there;
        if (start == script->period) start = 0, i = 0;
    }
    return true;
}

/* -- messages */

/* The number within its cycle of the message at a place of the cycle: the first that ends behind it. */
static uint32_t find_message(const struct script *script, int64_t place) {
    return script->count == 1 ? 0 : nearby_find(&script->messages, script, message_end, place);
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
