/* What connections send: an endless stream, and the messages in it (wire/script.py). It is data, and the same for every
 * connection, so a connection keeps nothing of it but where it began and how far it has come.
 *
 * The bytes repeat with a period. There may be more of them than that: from any place in the stream there is a long
 * stretch then to send from, or to compare with, in one piece. Where messages end repeats as well, by itself.
 *
 * Patches are places in the content that are written anew in each message, just before it is sent. The content has
 * zeros there.
 */
#ifndef LOADKIT_SCRIPT_H
#define LOADKIT_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is fresh in a message: wire/fields.py. */
#define FRESH_NAMES(X) X(n) X(conn) X(worker) X(now_ns)
#define AS_FRESH(name) FRESH_##name,
enum { FRESH_NAMES(AS_FRESH) FRESH_COUNT };
/* A patch is one number: its place in the content, how many digits it has, and which of these. */
enum { PATCH_SHIFT = 16, PATCH_DIGITS_SHIFT = 8, MOST_DIGITS = 19 };

/* Of each stretch of 2^shift bytes, the first thing that ends behind its start. */
struct nearby {
    uint32_t *numbers;
    int shift;
};

struct script {
    /* Python's, and there for as long as the script is. */
    const unsigned char *bytes;
    size_t length;
    int64_t period;
    const int64_t *ends; /* behind each message of a cycle */
    uint32_t count; /* messages of a cycle */
    const int64_t *patches; /* in order */
    size_t patch_count;
    /* A connection begins at any of so many places, each so many messages behind the one before. */
    uint32_t block, starts;

    int64_t cycle; /* bytes of it */
    int64_t size; /* of every message; 0: they have several lengths */
    int64_t longest; /* message */
    struct nearby messages, patched; /* in a cycle, and in the content */
};

/* What is fresh in the messages of a connection, by FRESH_NAMES. The first value is that of the first message of the
 * stream: each message has `step` more than the one before it. */
struct fresh {
    int64_t values[FRESH_COUNT];
    int64_t step;
};

/* Works out what follows from the data, which have been set; the ends have to grow from one to the next. -1 for want of
 * memory. */
int script_open(struct script *script);
void script_close(struct script *script);
/* Where connection number `connection` of the run begins. */
int64_t script_origin(const struct script *script, uint64_t connection);
/* The bytes from `position` on; `*length` becomes how many of those wanted are there in one piece. */
const unsigned char *script_at(const struct script *script, int64_t position, int64_t wanted, size_t *length);
/* Copies the bytes from `position` on, as many as are wanted and there is room for, with what is fresh in them. Returns
 * how many. */
size_t script_write(const struct script *script, int64_t position, int64_t wanted, const struct fresh *fresh,
                    unsigned char *to, size_t room);
/* Whether these are the stream's bytes from `position` on, but for patches. */
bool script_matches(const struct script *script, int64_t position, const unsigned char *bytes, size_t length);
bool script_matches_but_for_patches(const struct script *script, int64_t position, const unsigned char *bytes,
                                    size_t length);
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

#endif
