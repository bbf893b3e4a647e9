/* Where replies end, and whether they are right: the only code that a protocol needs. wire/ has the same in Python, as
 * the reference; tests/wire runs the two against each other.
 *
 * The echo is none of these: its reply follows from the script alone, and replies.c takes it inline. Each other wire
 * has a function that takes bytes of one reply. It is called again for what is behind them, and keeps nothing but its
 * rule, which is the same for all connections, and two words per connection.
 */
#ifndef LOADKIT_WIRE_H
#define LOADKIT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rows.h"

/* Of wire/wires.py, in its order. */
#define WIRE_NAMES(X) X(echo) X(fixed) X(delimited) X(prefixed) X(coded) X(closed) X(quiet) X(silent)
/* What can be wrong with a reply, from 1 on: wire/protocol.py. */
#define REPLY_ERROR_NAMES(X) X(TOO_LONG) X(BAD_LENGTH) X(BAD_CODE) X(WRONG_REPLY)
#define AS_WIRE(name) WIRE_##name,
#define AS_REPLY_ERROR(name) REPLY_##name,
enum { WIRE_NAMES(AS_WIRE) WIRE_COUNT };
enum { REPLY_RIGHT, REPLY_ERROR_NAMES(AS_REPLY_ERROR) };

/* What a reply has to say, beside ending where it should: wire/check.py, in its order. */
#define JUDGE_NAMES(X) X(none) X(starts) X(contains) X(same)
#define AS_JUDGE(name) JUDGE_##name,
enum { JUDGE_NAMES(AS_JUDGE) JUDGE_COUNT };

/* What a framing is told, each of its own (wire/fixed.py, delimited.py, prefixed.py, unmarked.py); the others are 0.
 * length: of a reply. delimiter: what ends one. offset, width, is_little, adjust: where the length stands, of how many
 * bytes (0: a varint), in which order, and what is to be added to it. until: the first byte of the last part; empty: a
 * reply has one part. quiet_ns: without a byte. most: bytes that a reply, or a part of it, may have.
 * judge, content: what is asked of it, and the text that it starts with or contains. */
#define RULE_ROWS(X)                                                                                          \
    X(integer, wire, 0, WIRE_COUNT - 1) X(integer, length, 0, MOST_REPLY) X(value, delimiter, 0, 0)           \
    X(integer, offset, 0, INT32_MAX) X(integer, width, 0, 8) X(flag, is_little, 0, 1)                         \
    X(integer, adjust, INT32_MIN, INT32_MAX) X(value, until, 0, 0) X(integer, quiet_ns, 0, LONGEST_NS)        \
    X(integer, most, 0, MOST_REPLY) X(integer, judge, 0, JUDGE_COUNT - 1) X(value, content, 0, 0)
enum { MOST_TEXT = 64 };
#define MOST_REPLY (INT64_C(1) << 60)
struct rule {
    RULE_ROWS(AS_FIELD)
    /* Of the delimiter and of the content: how much of it is matched still when the next byte is another one. */
    uint8_t failure[MOST_TEXT], content_failure[MOST_TEXT];
    uint64_t first; /* of JUDGE_same: the digest of the first reply */
    bool has_first;
};

/* Of a connection: all 0 between replies. */
struct progress {
    uint64_t words[2]; /* the framing's */
    uint64_t judged; /* the judge's */
};

/* So many of the bytes belong to the reply, and whether it ends with them; or what is wrong with it. */
struct taken {
    size_t length;
    bool is_whole;
    uint8_t wrong;
};

typedef struct taken take_reply(const struct rule *rule, struct progress *progress, const unsigned char *bytes,
                                size_t length);
take_reply fixed_take, delimited_take, prefixed_take, coded_take, unmarked_take;

/* Works out what follows from what the rule was told. */
void rule_prepare(struct rule *rule);
/* Of at least one byte; not of the echo. */
struct taken rule_take(const struct rule *rule, struct progress *progress, const unsigned char *bytes, size_t length);
/* judge.c: bytes of one reply, with what was judged of it so far; and whether a whole one says what it should. */
uint64_t judge_take(const struct rule *rule, uint64_t judged, const unsigned char *bytes, size_t length);
bool judge_is_right(struct rule *rule, uint64_t judged);

#endif
