/* What happened on some connections in the measured time: differences of TCP_INFO's counters, which only grow.
 *
 * An evenly spaced sample of those that are open when a measured phase begins, and some of those that open later, are
 * read when it begins (or they open), some of them at each look, and when it ends (or they close). An entry is kept
 * over a phase that is not measured, so that each connection counts once. A connection knows by a flag whether it is
 * among them, and has nothing more of it. */
#ifndef LOADKIT_TCP_WATCH_H
#define LOADKIT_TCP_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "tcp_info.h"

/* MOST_WATCHED and LOOKS of measure/tcp_watch.py: each is read once in so many looks, which come ten times a second. */
enum { TCP_WATCHED = 128, TCP_LOOKS = 10 };

struct blast;
struct connection;

struct tcp_watched {
    struct tcp_counts before;
    uint32_t slot;
    bool is_counted; /* it has added to tcp_watched */
};

struct tcp_watch {
    int64_t *page; /* of the measured phase; NULL: none goes on */
    uint32_t count;
    uint32_t next; /* to be read at the next look */
    uint32_t wanted; /* so many of those that open next are watched too */
    struct tcp_watched all[TCP_WATCHED];
};

/* A measured phase begins; one that went on ends. */
void tcp_watch_begin(struct blast *blast, int phase);
/* Reads some of them, others each time: what came is counted now, and not only at the end. */
void tcp_watch_look(struct blast *blast);
/* The measured phase is over. */
void tcp_watch_end(struct blast *blast);
/* It is open since now: it is watched if one is wanted. */
void tcp_watch_opened(struct blast *blast, struct connection *connection);
/* A watched connection is about to close. */
void tcp_watch_closing(struct blast *blast, struct connection *connection);

#endif
