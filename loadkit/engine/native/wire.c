/* The wires in a table. */
#include "wire.h"

static take_reply *const takes[WIRE_COUNT] = {
    [WIRE_fixed] = fixed_take,     [WIRE_delimited] = delimited_take, [WIRE_prefixed] = prefixed_take,
    [WIRE_coded] = coded_take,     [WIRE_closed] = unmarked_take,     [WIRE_quiet] = unmarked_take,
    [WIRE_silent] = unmarked_take,
};

/* Knuth, Morris and Pratt (1977). */
static void find_failures(const row_value *text, uint8_t *failure) {
    for (uint32_t at = 1, matched = 0; at < text->length; at++) {
        while (matched && text->bytes[at] != text->bytes[matched]) matched = failure[matched - 1];
        if (text->bytes[at] == text->bytes[matched]) matched++;
        failure[at] = (uint8_t)matched;
    }
}

void rule_prepare(struct rule *rule) {
    find_failures(&rule->delimiter, rule->failure);
    find_failures(&rule->content, rule->content_failure);
}

struct taken rule_take(const struct rule *rule, struct progress *progress, const unsigned char *bytes, size_t length) {
    return takes[rule->wire](rule, progress, bytes, length);
}
