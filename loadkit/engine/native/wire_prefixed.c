/* A reply that says how long it is: wire/prefixed.py. Its progress: in the header the length as far as it is read, and
 * where; behind it the bytes that are left, and IN_BODY. IS_LAST: no part of the reply follows. */
#include "wire.h"

#define IN_BODY (UINT64_C(1) << 63)
#define IS_LAST (UINT64_C(1) << 62)
/* Seven bits each: more cannot be a number of 64. */
enum { MOST_VARINT = 9 };

/* Takes byte number `at` of the length; returns whether it is the last one. */
static bool add_byte(const struct rule *rule, uint64_t *value, uint64_t at, unsigned char byte) {
    if (!rule->width) {
        *value |= (uint64_t)(byte & 0x7f) << 7 * at;
        return !(byte & 0x80);
    }
    *value = rule->is_little ? *value | (uint64_t)byte << 8 * at : *value << 8 | byte;
    return at + 1 == (uint64_t)rule->width;
}

/* The header has ended: how many bytes are left of the reply. */
static uint8_t begin_body(const struct rule *rule, struct progress *progress) {
    int64_t header = (int64_t)(progress->words[1] & ~IS_LAST);
    if (progress->words[0] > MOST_REPLY) return REPLY_TOO_LONG;
    int64_t left = (int64_t)progress->words[0] + rule->adjust;
    if (left < 0) return REPLY_BAD_LENGTH;
    if (header + left > rule->most) return REPLY_TOO_LONG;
    progress->words[0] = (uint64_t)left;
    progress->words[1] |= IN_BODY;
    return REPLY_RIGHT;
}

/* Takes the header, as far as it has come: until IN_BODY. Returns how many bytes that took. */
static size_t take_header(const struct rule *rule, struct progress *progress, const unsigned char *bytes, size_t length,
                          uint8_t *wrong) {
    size_t at = 0;
    while (at < length && !*wrong && !(progress->words[1] & IN_BODY)) {
        uint64_t place = progress->words[1]++ & ~IS_LAST;
        unsigned char byte = bytes[at++];
        if (!place && (!rule->until.length || byte == rule->until.bytes[0])) progress->words[1] |= IS_LAST;
        if (place < (uint64_t)rule->offset) continue;
        place -= (uint64_t)rule->offset;
        if (!rule->width && place == MOST_VARINT)
            *wrong = REPLY_BAD_LENGTH;
        else if (add_byte(rule, &progress->words[0], place, byte))
            *wrong = begin_body(rule, progress);
    }
    return at;
}

struct taken prefixed_take(const struct rule *rule, struct progress *progress, const unsigned char *bytes,
                           size_t length) {
    size_t at = 0;
    while (at < length) {
        uint8_t wrong = REPLY_RIGHT;
        at += take_header(rule, progress, bytes + at, length - at, &wrong);
        if (wrong) return (struct taken){.length = at, .wrong = wrong};
        uint64_t left = progress->words[0];
        if (!(progress->words[1] & IN_BODY)) break;
        if (length - at < left) {
            progress->words[0] -= length - at;
            break;
        }
        at += left;
        bool is_last = progress->words[1] & IS_LAST;
        progress->words[0] = progress->words[1] = 0;
        if (is_last) return (struct taken){.length = at, .is_whole = true};
    }
    return (struct taken){.length = length};
}
