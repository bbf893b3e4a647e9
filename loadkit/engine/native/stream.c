#include "stream.h"

#include <stdlib.h>
#include <string.h>

/* Long enough that a send or a comparison is seldom cut, short enough to stay in the second-level cache; for small
 * messages less will do, and there may be a hundred workers. */
enum { LEAST_STREAM_BYTES = 16 * 1024, MOST_STREAM_BYTES = 256 * 1024 };

int stream_open(struct stream *stream, int64_t period, int64_t under_way) {
    size_t length = under_way < LEAST_STREAM_BYTES  ? LEAST_STREAM_BYTES
                    : under_way > MOST_STREAM_BYTES ? MOST_STREAM_BYTES
                                                    : (size_t)under_way;
    stream->period = period;
    stream->length = length + (size_t)period;
    stream->bytes = malloc(stream->length);
    if (!stream->bytes) return -1;
    for (size_t i = 0; i < stream->length; i++) stream->bytes[i] = (unsigned char)(i % (size_t)period);
    return 0;
}

void stream_close(struct stream *stream) {
    free(stream->bytes);
    stream->bytes = NULL;
}

const unsigned char *stream_at(const struct stream *stream, int64_t position, int64_t wanted, size_t *length) {
    size_t start = (size_t)(position % stream->period);
    size_t there = stream->length - start;
    *length = wanted < (int64_t)there ? (size_t)wanted : there;
    return stream->bytes + start;
}

bool stream_matches(const struct stream *stream, int64_t position, const unsigned char *bytes, size_t length) {
    while (length) {
        size_t there;
        const unsigned char *expected = stream_at(stream, position, (int64_t)length, &there);
        if (memcmp(expected, bytes, there) != 0) return false;
        position += (int64_t)there;
        bytes += there;
        length -= there;
    }
    return true;
}
