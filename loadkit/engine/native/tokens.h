/* The connections that a serve end may have open over all its workers: measure/tokens.py has the whole story.
 *
 * A counter that all workers share, and beside it two words of each: how many turns it has begun and ended (odd: it is
 * in the middle of one), and how many tokens it holds. A worker that is killed in the middle has taken one and not
 * noted it, or the other way round; whoever gives back a dead worker's tokens has to find no living one in the middle.
 */
#ifndef LOADKIT_TOKENS_H
#define LOADKIT_TOKENS_H

#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

enum { TOKENS_HEAD_WORDS = 8, TOKENS_NOTE_WORDS = 2 };
_Static_assert(sizeof(sem_t) <= TOKENS_HEAD_WORDS * sizeof(int64_t), "the notes begin behind the counter");

struct tokens {
    sem_t *left; /* NULL: there is no limit */
    int64_t *turns, *held;
};

static inline struct tokens tokens_of(int64_t *words, uint32_t index) {
    int64_t *note = words + TOKENS_HEAD_WORDS + (size_t)TOKENS_NOTE_WORDS * index;
    return (struct tokens){(sem_t *)words, note, note + 1};
}

/* The order matters to a concurrent reader. */
static inline void tokens_note(int64_t *word, int64_t change) {
    __atomic_store_n(word, *word + change, __ATOMIC_SEQ_CST);
}

/* false: there is none left. */
static inline bool tokens_take(struct tokens *tokens) {
    if (!tokens->left) return true;
    tokens_note(tokens->turns, 1);
    bool has_one = !sem_trywait(tokens->left);
    if (has_one) tokens_note(tokens->held, 1);
    tokens_note(tokens->turns, 1);
    return has_one;
}

static inline void tokens_give(struct tokens *tokens) {
    if (!tokens->left) return;
    tokens_note(tokens->turns, 1);
    sem_post(tokens->left);
    tokens_note(tokens->held, -1);
    tokens_note(tokens->turns, 1);
}

#endif
