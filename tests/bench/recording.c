/* What the native engine's recording costs: a clock reading, three histograms and the counters of a message, as
 * messages_note and count_replies do it, over latencies spread as a busy run's are. Prints nanoseconds a message.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../loadkit/engine/native/board.h"

enum { MESSAGES = 1 << 22, LATENCIES = 1 << 16, COUNTS = 36 * HALF };

static double measure(struct board *board, const int64_t *latencies) {
    int64_t begin = clock_ns();
    for (int64_t i = 0; i < MESSAGES; i++) {
        int64_t now = clock_ns();
        int64_t intended = now - latencies[i % LATENCIES], sent = intended + 5;
        int64_t *page = board_page(board, intended);
        board_begin_write(board);
        page[COUNT_received_bytes] += 64;
        page[COUNT_replied]++;
        board_record(board, page, HISTOGRAM_latency, now - intended);
        board_record(board, page, HISTOGRAM_service, now - sent);
        board_end_write(board);
        page = board_page(board, now);
        board_begin_write(board);
        board_record(board, page, HISTOGRAM_lateness, 0);
        page[COUNT_sent]++;
        page[COUNT_intended]++;
        page[COUNT_sent_bytes] += 64;
        board_end_write(board);
    }
    return (double)(clock_ns() - begin) / MESSAGES;
}

int main(void) {
    int phases = 2;
    int64_t page = COUNTERS + STEPS * ERRNOS + HISTOGRAMS * (HEAD_WORDS + COUNTS);
    int64_t length = STATE_WORDS + phases * page;
    struct board board;
    memset(&board, 0, sizeof board);
    int64_t *words = calloc((size_t)length, sizeof *words), *latencies = malloc(LATENCIES * sizeof *latencies);
    if (!words || !latencies || board_open(&board, words, length, phases)) {
        perror("recording");
        return 1;
    }
    board_begin_phase(&board, 1, clock_ns());
    for (int i = 0; i < LATENCIES; i++) {
        /* 20 us to 20 ms, most of it near 300 us: a product of uniform draws. */
        double draw = (double)rand() / RAND_MAX * ((double)rand() / RAND_MAX) * ((double)rand() / RAND_MAX);
        latencies[i] = 20000 + (int64_t)(draw * 2e7);
    }
    measure(&board, latencies);
    printf("%.1f\n", measure(&board, latencies));
    board_close(&board);
    free(words);
    free(latencies);
    return 0;
}
