/* A reply of lines that begin with a code of three digits: wire/coded.py. Its progress: how many bytes of it have come;
 * and how many of the line's first four have been judged, with what they have been found to be. */
#include <string.h>

#include "wire.h"

enum { CODE_DIGITS = 3 };
enum { PLACE = 7, IS_LATER = 8, IS_CODE = 16, IS_LAST = 32 }; /* IS_CODE: all of them digits, so far */

static bool ends_code(unsigned char byte) { return byte == ' ' || byte == '\r' || byte == '\n'; }

/* Takes one of a line's first four bytes; false: no first line has it there. */
static bool judge_byte(uint64_t *line, unsigned char byte) {
    uint64_t place = *line & PLACE;
    bool is_code = !place || (*line & IS_CODE), is_later = *line & IS_LATER;
    if (place < CODE_DIGITS) {
        is_code = is_code && byte >= '0' && byte <= '9';
        *line = (place + 1) | (is_later ? IS_LATER : 0) | (is_code ? IS_CODE : 0);
        return is_code || is_later;
    }
    bool is_last = is_code && ends_code(byte);
    *line = (place + 1) | (is_later ? IS_LATER : 0) | (is_last ? IS_LAST : 0);
    return is_last || is_later || byte == '-';
}

struct taken coded_take(const struct rule *rule, struct progress *progress, const unsigned char *bytes, size_t length) {
    uint64_t *line = &progress->words[1];
    const unsigned char *end = bytes + length;
    for (const unsigned char *at = bytes; at < end;) {
        bool is_judged = (*line & PLACE) > CODE_DIGITS;
        const unsigned char *newline = is_judged ? memchr(at, '\n', (size_t)(end - at)) : at;
        const unsigned char *behind = newline ? newline + 1 : end;
        if (!is_judged && !judge_byte(line, *at)) return (struct taken){.length = length, .wrong = REPLY_BAD_CODE};
        progress->words[0] += (uint64_t)(behind - at);
        if (progress->words[0] > (uint64_t)rule->most) return (struct taken){.length = length, .wrong = REPLY_TOO_LONG};
        at = behind;
        if (!newline || *newline != '\n') continue;
        if (*line & IS_LAST) {
            progress->words[0] = *line = 0;
            return (struct taken){.length = (size_t)(at - bytes), .is_whole = true};
        }
        *line = IS_LATER;
    }
    return (struct taken){.length = length};
}
