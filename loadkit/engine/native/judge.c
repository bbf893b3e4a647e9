/* What a reply says, judged as its bytes come: wire/check.py. Of starts: how many bytes are as they should be, or
 * WRONG. Of contains: how many of the text's first bytes are matched at the end of what came. Of same: a digest. */
#include <string.h>

#include "wire.h"

#define WRONG (UINT64_C(1) << 63)
/* Steele, Lea and Flood (2014), the constant of splitmix64. */
#define MIX UINT64_C(0x9e3779b97f4a7c15)

static uint64_t starts_take(const struct rule *rule, uint64_t judged, const unsigned char *bytes, size_t length) {
    if (judged >= rule->content.length) return judged;
    size_t left = rule->content.length - judged;
    if (length > left) length = left;
    return memcmp(rule->content.bytes + judged, bytes, length) ? WRONG : judged + length;
}

static uint64_t contains_take(const struct rule *rule, uint64_t judged, const unsigned char *bytes, size_t length) {
    const unsigned char *content = rule->content.bytes, *end = bytes + length;
    for (const unsigned char *at = bytes; at < end && judged < rule->content.length; at++) {
        if (!judged && !(at = memchr(at, content[0], (size_t)(end - at)))) break;
        while (judged && *at != content[judged]) judged = rule->content_failure[judged - 1];
        judged += *at == content[judged];
    }
    return judged;
}

static uint64_t same_take(uint64_t judged, const unsigned char *bytes, size_t length) {
    for (size_t at = 0; at < length; at++) {
        judged = (judged + bytes[at] + 1) * MIX;
        judged ^= judged >> 29;
    }
    return judged;
}

uint64_t judge_take(const struct rule *rule, uint64_t judged, const unsigned char *bytes, size_t length) {
    if (rule->judge == JUDGE_starts) return starts_take(rule, judged, bytes, length);
    if (rule->judge == JUDGE_contains) return contains_take(rule, judged, bytes, length);
    return same_take(judged, bytes, length);
}

bool judge_is_right(struct rule *rule, uint64_t judged) {
    if (rule->judge != JUDGE_same) return judged == rule->content.length;
    if (!rule->has_first) rule->first = judged;
    rule->has_first = true;
    return judged == rule->first;
}
