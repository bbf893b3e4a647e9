#include "tcp_watch.h"

#include "blast.h"

static int fd_of(const struct blast *blast, const struct tcp_watched *watched) {
    return blast->slots[watched->slot].fd;
}

/* Adds what came since the last reading; nothing where the kernel tells no more of it. */
static void add_difference(struct blast *blast, struct tcp_watched *watched) {
    struct tcp_counts now, before = watched->before;
    int64_t *page = blast->tcp_watch.page;
    if (!page || !read_tcp_counts(fd_of(blast, watched), &now)) return;
    page[COUNT_tcp_watched] += !watched->is_counted;
    page[COUNT_tcp_retransmits] += now.retransmits - before.retransmits;
    page[COUNT_tcp_busy_us] += now.busy_us - before.busy_us;
    page[COUNT_tcp_rwnd_limited_us] += now.rwnd_limited_us - before.rwnd_limited_us;
    page[COUNT_tcp_sndbuf_limited_us] += now.sndbuf_limited_us - before.sndbuf_limited_us;
    watched->before = now;
    watched->is_counted = true;
}

static void watch(struct blast *blast, struct connection *connection, struct tcp_counts before) {
    struct tcp_watch *tcp_watch = &blast->tcp_watch;
    connection->is_watched = true;
    tcp_watch->all[tcp_watch->count++] = (struct tcp_watched){before, slot_number(blast, connection), false};
}

void tcp_watch_begin(struct blast *blast, int phase) {
    struct tcp_watch *tcp_watch = &blast->tcp_watch;
    tcp_watch_end(blast);
    tcp_watch->page = blast->board.first_page + phase * blast->board.page_words;
    for (uint32_t i = 0; i < tcp_watch->count; i++)
        read_tcp_counts(fd_of(blast, &tcp_watch->all[i]), &tcp_watch->all[i].before);
    uint32_t live = blast->live_count, wanted = live < TCP_WATCHED ? live : TCP_WATCHED;
    for (uint32_t i = 0; i < wanted && tcp_watch->count < TCP_WATCHED; i++) {
        struct connection *connection = &blast->slots[blast->live[(uint64_t)i * live / wanted]];
        struct tcp_counts before;
        if (!connection->is_watched && read_tcp_counts(connection->fd, &before)) watch(blast, connection, before);
    }
}

void tcp_watch_look(struct blast *blast) {
    struct tcp_watch *tcp_watch = &blast->tcp_watch;
    if (!tcp_watch->page) return;
    for (uint32_t left = (tcp_watch->count + TCP_LOOKS - 1) / TCP_LOOKS; left; left--) {
        if (tcp_watch->next >= tcp_watch->count) tcp_watch->next = 0;
        add_difference(blast, &tcp_watch->all[tcp_watch->next++]);
    }
}

void tcp_watch_end(struct blast *blast) {
    struct tcp_watch *tcp_watch = &blast->tcp_watch;
    for (uint32_t i = 0; i < tcp_watch->count; i++) add_difference(blast, &tcp_watch->all[i]);
    tcp_watch->page = NULL;
    tcp_watch->wanted = 0;
}

void tcp_watch_opened(struct blast *blast, struct connection *connection) {
    struct tcp_watch *tcp_watch = &blast->tcp_watch;
    if (!tcp_watch->wanted || tcp_watch->count == TCP_WATCHED) return;
    tcp_watch->wanted--;
    watch(blast, connection, (struct tcp_counts){0});
}

void tcp_watch_closing(struct blast *blast, struct connection *connection) {
    struct tcp_watch *tcp_watch = &blast->tcp_watch;
    uint32_t at = 0;
    while (tcp_watch->all[at].slot != slot_number(blast, connection)) at++;
    add_difference(blast, &tcp_watch->all[at]);
    tcp_watch->all[at] = tcp_watch->all[--tcp_watch->count];
    connection->is_watched = false;
}
