/* A reply of a fixed length: wire/fixed.py. */
#include "wire.h"

struct taken fixed_take(const struct rule *rule, struct progress *progress, const unsigned char *bytes, size_t length) {
    (void)bytes;
    uint64_t left = (uint64_t)rule->length - progress->words[0];
    if (length < left) {
        progress->words[0] += length;
        return (struct taken){.length = length};
    }
    progress->words[0] = 0;
    return (struct taken){.length = left, .is_whole = true};
}
