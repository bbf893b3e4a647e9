/* The board as the compiled engine writes it: the same words as measure/board.py, in place, without a buffer between.
 *
 * The names below are compared with those of measure/names.py when the engine is loaded (compiled.py), so the two
 * cannot drift apart. A slot is STATE, then one page per phase: COUNTERS, ERRORS (step x number), HISTOGRAMS (6 words
 * of head, then the counts), and where STATE.journeys is set the histograms of STAGES and TAIL_ROWS rows of a count
 * and a sum per stage.
 */
#ifndef LOADKIT_BOARD_H
#define LOADKIT_BOARD_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S INT64_C(1000000000)
/* Later than any time that comes up, and safe to add a duration to: 146 years. */
#define NEVER (INT64_C(1) << 62)

#define STATE_NAMES(X)                                                                                               \
    X(sequence) X(phase) X(open) X(peak) X(settled) X(settled_ns) X(finished_ns) X(core) X(max_rss_bytes)            \
    X(generation) X(wakeup_source) X(journeys) X(journey_source) X(stamp_source) X(answered) X(replied_ns) X(proved) \
    X(standstill_ns) X(standstill_at_ns) X(stranded_ns) \
    X(setting_0) X(setting_1) X(setting_2) X(setting_3) X(setting_4) X(setting_5) X(setting_6) X(setting_7) \
    X(setting_8) X(setting_9) X(setting_10) X(setting_11) X(setting_12) X(setting_13) X(setting_14) X(setting_15) \
    X(setting_16) X(setting_17) X(setting_18) X(setting_19) X(setting_20) X(setting_21) X(setting_22) \
    X(setting_23) \
    X(wrong_0) X(wrong_1) X(wrong_2) X(wrong_3) X(wrong_4) X(wrong_5) X(wrong_6) X(wrong_7) X(wrong_8)
#define COUNTER_NAMES(X)                                                                                              \
    X(asked) X(opened) X(failed_connects) X(closed) X(intended) X(sent) X(replied) X(failed) X(unanswered) X(unsent)  \
    X(waited) X(sent_bytes) X(received_bytes) X(window_opened) X(window_sent) X(window_replied) X(stood) X(beats)     \
    X(cpu_user_ns) X(cpu_system_ns) X(run_delay_ns) X(voluntary_switches) X(involuntary_switches) X(waits) X(wakeups) \
    X(events) X(blocked_ns) X(busy_ns) X(events_in) X(events_out) X(events_err) X(events_hup) X(events_rdhup)         \
    X(probes) X(probe_events) X(probe_wakeups) X(probes_lost) X(probes_unanswered) X(journeys_stepped)                \
    X(journeys_disordered) X(journeys_unstamped) X(stamps_stepped) X(tcp_samples) X(tcp_cwnd) X(tcp_retransmits)      \
    X(tcp_busy_us) X(tcp_rwnd_limited_us) X(tcp_sndbuf_limited_us) X(tcp_watched) \
    X(proxy_v1) X(proxy_v2) X(proxy_unknown)
#define HISTOGRAM_NAMES(X)                                                                                         \
    X(connect) X(handshake) X(first_byte) X(latency) X(service) X(lateness) X(held) X(disturbed) X(standstill)     \
    X(batch) X(busy) X(unread) X(rtt) X(min_rtt) X(rttvar) X(delivery_rate) X(per_connection)
/* Of a probe's message, in the order of its way: journey.h. Their histograms come after the others, where there are
 * any. */
#define STAGE_NAMES(X)                                                                                         \
    X(held) X(late) X(send) X(queue) X(there) X(serve_busy) X(serve_wake) X(serve_batch) X(serve_code) X(back) \
    X(network) X(peer) X(busy) X(wake) X(batch) X(read) X(total)
#define HEAD_NAMES(X) X(count) X(sum) X(min) X(max) X(dropped) X(carry)
#define STEP_NAMES(X) X(connect) X(send) X(receive) X(close) X(reply) X(handshake)
#define PROOF_NAMES(X) X(unknown) X(right) X(failed)
#define OWN_ERRORS(X)                                                                                                  \
    X(WRONG_BYTES, 140) X(CLOSED_BY_PEER, 141) X(REPLY_TIMEOUT, 142) X(EXTRA_BYTES, 143) X(CONNECT_TIMEOUT, 144)       \
    X(UNKNOWN, 145) X(RUN_ENDED, 146) X(AT_LIMIT, 147) X(APP_FAILED, 148) X(NOT_ACCEPTED, 149) X(CUT, 150)          \
    X(SEND_TIMEOUT, 151) X(HANDSHAKE_TIMEOUT, 152) X(NO_PROXY_HEADER, 153) X(PROXY_TIMEOUT, 154)

#define AS_STATE(name) STATE_##name,
#define AS_COUNTER(name) COUNT_##name,
#define AS_HISTOGRAM(name) HISTOGRAM_##name,
#define AS_STAGE(name) STAGE_##name,
#define AS_HEAD(name) HEAD_##name,
#define AS_STEP(name) STEP_##name,
#define AS_PROOF(name) PROOF_##name,
#define AS_OWN_ERROR(name, number) OWN_##name = number,
/* What the kernel says of a connection's socket options, from setting_0 on: settings.h. */
enum { MOST_SETTINGS = 8, SETTING_WORDS = 3, SETTING_BYTES = 16 };
/* Of the first wrong reply, from wrong_0 on: its length, then how it begins. */
enum { WRONG_WORDS = 9, WRONG_BYTES = 64 };
enum { STATE_NAMES(AS_STATE) STATE_WORDS };
enum { COUNTER_NAMES(AS_COUNTER) COUNTERS };
enum { HISTOGRAM_NAMES(AS_HISTOGRAM) HISTOGRAMS };
enum { STAGE_NAMES(AS_STAGE) STAGES };
enum { STEP_NAMES(AS_STEP) STEPS };
enum { PROOF_NAMES(AS_PROOF) PROOFS };
/* At the step handshake, what can be wrong with a reply (wire.h) is counted behind these. */
enum { OWN_ERRORS(AS_OWN_ERROR) LAST_OWN = 160, ERRNOS = 192 };
/* The words that the head of a histogram has. */
enum { HEAD_NAMES(AS_HEAD) HEAD_WORDS };
/* A sum of nanoseconds passes 2^63 within hours of many connections: it is carry x SUM_CARRY + sum. */
#define SUM_CARRY (INT64_C(1) << 62)
/* Totals of journeys by quarters of an octave, each with the sum of every stage: where the time went of the slowest. */
enum { TAIL_ROWS = 160, TAIL_WORDS = TAIL_ROWS * (1 + STAGES) };
/* 2,048 sub-buckets resolve 3 significant digits: measure/histogram.py. */
enum { SUB_BITS = 11, SUB_BUCKETS = 1 << SUB_BITS, HALF = SUB_BUCKETS / 2 };

struct board {
    int64_t *state; /* the slot: its first STATE_WORDS words */
    int64_t *first_page;
    int64_t page_words, histogram_words, counts_length;
    int phases, histograms;
    int64_t *starts; /* when each phase begins; the first has everything before the second */
    /* The page that was looked up last, and what is intended from when until when belongs to it: nearly always this. */
    int64_t *page;
    int64_t page_from, page_until;
};

/* Takes over the words of a slot; -1 when their number fits no layout, or for want of memory. */
int board_open(struct board *board, int64_t *words, int64_t length, int phases);
void board_close(struct board *board);
/* Phase `index` begins at `at`; what is intended from then on is its. */
void board_begin_phase(struct board *board, int index, int64_t at);
int64_t *board_find_page(struct board *board, int64_t intended);
/* Counts an error in the phase it happened in. */
void board_error(struct board *board, int step, int number, int64_t at);

static inline int64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* The page of the phase that a message intended at that time belongs to. */
static inline int64_t *board_page(struct board *board, int64_t intended) {
    if (intended >= board->page_from && intended < board->page_until) return board->page;
    return board_find_page(board, intended);
}

static inline void board_count(struct board *board, int counter, int64_t at, int64_t amount) {
    board_page(board, at)[counter] += amount;
}

/* Between these two the words do not belong together: whoever reads a killed worker's slot sees an odd number. */
static inline void board_begin_write(struct board *board) {
    __atomic_store_n(&board->state[STATE_sequence], board->state[STATE_sequence] + 1, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void board_end_write(struct board *board) {
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&board->state[STATE_sequence], board->state[STATE_sequence] + 1, __ATOMIC_RELAXED);
}

/* A histogram of a page: its head, then its counts. */
static inline int64_t *board_histogram(const struct board *board, int64_t *page, int histogram) {
    return page + COUNTERS + STEPS * ERRNOS + histogram * board->histogram_words;
}

/* The tails of a page: TAIL_ROWS rows of a count and a sum for each of STAGES. Only where there are journeys. */
static inline int64_t *board_tails(const struct board *board, int64_t *page) {
    return board_histogram(board, page, board->histograms);
}

/* The counter of a value; -1: it is outside the range of a histogram. */
static inline int64_t board_index(const struct board *board, int64_t value) {
    if (value < 0) return -1;
    int bucket = 64 - __builtin_clzll((uint64_t)value | (2 * HALF - 1)) - SUB_BITS;
    int64_t index = (int64_t)bucket * HALF + (value >> bucket);
    return index < board->counts_length ? index : -1;
}

/* Adds a value whose counter is known to a histogram of a page; one outside its range is counted as dropped. */
static inline void board_add(const struct board *board, int64_t *page, int histogram, int64_t value, int64_t index) {
    int64_t *head = board_histogram(board, page, histogram);
    if (index < 0) {
        head[HEAD_dropped]++;
        return;
    }
    if (!head[HEAD_count] || value < head[HEAD_min]) head[HEAD_min] = value;
    if (value > head[HEAD_max]) head[HEAD_max] = value;
    head[HEAD_WORDS + index]++;
    head[HEAD_sum] += value;
    if (head[HEAD_sum] >= SUM_CARRY) {
        head[HEAD_sum] -= SUM_CARRY;
        head[HEAD_carry]++;
    }
    head[HEAD_count]++;
}

static inline void board_record(const struct board *board, int64_t *page, int histogram, int64_t value) {
    board_add(board, page, histogram, value, board_index(board, value));
}

#endif
