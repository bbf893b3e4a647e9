/* What connections send: an endless stream, and the messages in it (wire/script.py). It is data, and the same for every
 * connection, so a connection keeps nothing of it but how far it has come.
 *
 * The bytes repeat with a period. The buffer is longer than that: from any place in the stream there is a long stretch
 * to send from, or to compare with, in one piece. Where messages end repeats as well, by itself.
 */
#ifndef LOADKIT_SCRIPT_H
#define LOADKIT_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct script {
    unsigned char *bytes;
    size_t length;
    int64_t period;
    int64_t *ends; /* behind each message of a cycle */
    uint32_t count; /* messages of a cycle */
    int64_t cycle; /* bytes of it */
    int64_t size; /* of every message; 0: they have several lengths */
    int64_t longest; /* message */
};

/* Takes copies of the content, which is one period, and of the ends, which grow from one to the next; `depth` messages
 * may be under way on a connection. -1 for want of memory. */
int script_open(struct script *script, const unsigned char *content, size_t period, const int64_t *ends, uint32_t count,
                int64_t depth);
void script_close(struct script *script);
/* The bytes from `position` on; `*length` becomes how many of those wanted are there in one piece. */
const unsigned char *script_at(const struct script *script, int64_t position, int64_t wanted, size_t *length);
/* Whether these are the stream's bytes from `position` on. */
bool script_matches(const struct script *script, int64_t position, const unsigned char *bytes, size_t length);
/* The length of the message that begins, or goes on, at `position`; of a cycle with more than one. */
int64_t script_find_length(const struct script *script, int64_t position);
/* The length of so many messages, the first of which begins there. */
int64_t script_find_span(const struct script *script, int64_t position, uint32_t count);
/* How many whole messages are before `position`. */
int64_t script_count(const struct script *script, int64_t position);

/* The length of the message at `position`. Where all are alike it takes no search. */
static inline int64_t script_length(const struct script *script, int64_t position) {
    return script->size ? script->size : script_find_length(script, position);
}

/* The length of `count` messages, the first of which begins at `position`. */
static inline int64_t script_span(const struct script *script, int64_t position, uint32_t count) {
    return __builtin_expect(script->size > 0, 1) ? count * script->size : script_find_span(script, position, count);
}

#endif
