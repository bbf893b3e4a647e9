/* A reply that ends with a delimiter of 1 to 16 bytes: wire/delimited.py. Its progress: how many bytes of it have come,
 * and how many of the last ones are the delimiter's first. */
#include <string.h>

#include "wire.h"

/* Returns the first byte that is behind the delimiter, NULL if it does not end here. */
static const unsigned char *find_end(const struct rule *rule, uint64_t *matched, const unsigned char *bytes,
                                     const unsigned char *end) {
    const unsigned char *delimiter = rule->delimiter.bytes;
    uint32_t most = rule->delimiter.length, count = (uint32_t)*matched;
    for (const unsigned char *at = bytes; at < end; at++) {
        if (!count && !(at = memchr(at, delimiter[0], (size_t)(end - at)))) break;
        while (count && *at != delimiter[count]) count = rule->failure[count - 1];
        count += *at == delimiter[count];
        if (count == most) return *matched = 0, at + 1;
    }
    *matched = count;
    return NULL;
}

struct taken delimited_take(const struct rule *rule, struct progress *progress, const unsigned char *bytes,
                            size_t length) {
    const unsigned char *behind = find_end(rule, &progress->words[1], bytes, bytes + length);
    size_t taken = behind ? (size_t)(behind - bytes) : length;
    progress->words[0] += taken;
    if (progress->words[0] > (uint64_t)rule->most) return (struct taken){.length = taken, .wrong = REPLY_TOO_LONG};
    if (behind) progress->words[0] = 0;
    return (struct taken){.length = taken, .is_whole = behind};
}
