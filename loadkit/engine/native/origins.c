/* Where in the stream connections begin, and what is fresh in their messages: of a script for which that matters. */
#include <stdlib.h>
#include <sys/mman.h>

#include "blast.h"

int origins_open(struct blast *blast, uint32_t limit) {
    const struct script *script = &blast->script;
    if (!script->patch_count) blast->one_size = script->size;
    if (script->starts == 1 && !script->patch_count) return 0;
    blast->origins_bytes = limit * sizeof *blast->origins;
    void *memory =
        mmap(NULL, blast->origins_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return -1;
    blast->origins = memory;
    blast->wall_ns = clock_distance().ns;
    if (script->patch_count) blast->outgoing = malloc(WRITE_BYTES);
    return script->patch_count && !blast->outgoing ? -1 : 0;
}

void origins_close(struct blast *blast) {
    if (blast->origins) munmap(blast->origins, blast->origins_bytes);
    free(blast->outgoing);
    blast->origins = NULL;
    blast->outgoing = NULL;
}

void origin_begin(struct blast *blast, const struct connection *connection) {
    struct origin *origin = &blast->origins[slot_number(blast, connection)];
    origin->conn = blast->options.index + blast->begun++ * blast->options.of;
    origin->position = script_origin(&blast->script, (uint64_t)origin->conn);
}

/* The next message is number `noted` of this worker, and the one with so many before it in the stream. */
static void note_fresh(struct blast *blast, struct origin *origin, int64_t position, int64_t sent) {
    int64_t before = script_count(&blast->script, position);
    origin->first_n = blast->options.index + (blast->noted - before) * blast->options.of;
    origin->now_ns = sent + blast->wall_ns;
}

int64_t origin_note(struct blast *blast, const struct connection *connection, int64_t sent, uint32_t count) {
    const struct script *script = &blast->script;
    int64_t position = origin_of(blast, connection) + connection->owed;
    if (script->patch_count) note_fresh(blast, &blast->origins[slot_number(blast, connection)], position, sent);
    blast->noted += count;
    return script->size ? count * script->size : script_find_span(script, position, count);
}

const unsigned char *origin_bytes(struct blast *blast, const struct connection *connection, int64_t wanted,
                                  size_t *length) {
    const struct script *script = &blast->script;
    const struct origin *origin = &blast->origins[slot_number(blast, connection)];
    int64_t position = origin->position + connection->written;
    if (!script->patch_count) return script_at(script, position, wanted, length);
    struct fresh fresh = {
        .values = {[FRESH_n] = origin->first_n,
                   [FRESH_conn] = origin->conn,
                   [FRESH_worker] = blast->options.index,
                   [FRESH_now_ns] = origin->now_ns},
        .step = blast->options.of,
    };
    *length = script_write(script, position, wanted, &fresh, blast->outgoing, WRITE_BYTES);
    return blast->outgoing;
}

const unsigned char *origin_first_bytes(struct blast *blast, const struct connection *connection, int64_t sent,
                                        size_t *length) {
    struct origin *origin = &blast->origins[slot_number(blast, connection)];
    if (blast->script.patch_count) note_fresh(blast, origin, origin->position, sent);
    return origin_bytes(blast, connection, script_length(&blast->script, origin->position), length);
}
