/* The wires in a table. */
#include "wire.h"

static take_reply *const takes[WIRE_COUNT] = {
    [WIRE_fixed] = fixed_take,     [WIRE_delimited] = delimited_take, [WIRE_prefixed] = prefixed_take,
    [WIRE_coded] = coded_take,     [WIRE_closed] = unmarked_take,     [WIRE_quiet] = unmarked_take,
    [WIRE_silent] = unmarked_take,
};

/* Knuth, Morris and Pratt (1977). */
void rule_prepare(struct rule *rule) {
    const unsigned char *bytes = rule->delimiter.bytes;
    for (uint32_t at = 1, matched = 0; at < rule->delimiter.length; at++) {
        while (matched && bytes[at] != bytes[matched]) matched = rule->failure[matched - 1];
        if (bytes[at] == bytes[matched]) matched++;
        rule->failure[at] = (uint8_t)matched;
    }
}

struct taken rule_take(const struct rule *rule, struct progress *progress, const unsigned char *bytes, size_t length) {
    return takes[rule->wire](rule, progress, bytes, length);
}
