/* A reply that no byte ends: wire/unmarked.py. Its progress: how many bytes of it have come. */
#include "wire.h"

struct taken unmarked_take(const struct rule *rule, struct progress *progress, const unsigned char *bytes,
                           size_t length) {
    (void)bytes;
    progress->words[0] += length;
    bool is_right = progress->words[0] <= (uint64_t)rule->most;
    return (struct taken){.length = length, .wrong = is_right ? REPLY_RIGHT : REPLY_TOO_LONG};
}
