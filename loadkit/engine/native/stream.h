/* What connections send: wire/echo.py's endless stream, the bytes 0 .. period - 1 over and over.
 *
 * The buffer is longer than a period, so from any place in the stream there is a long stretch to send from, or to
 * compare with, in one piece.
 */
#ifndef LOADKIT_STREAM_H
#define LOADKIT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream {
    unsigned char *bytes;
    size_t length;
    int64_t period;
};

/* For so many bytes under way on a connection; -1 for want of memory. */
int stream_open(struct stream *stream, int64_t period, int64_t under_way);
void stream_close(struct stream *stream);
/* The bytes from `position` on; `*length` becomes how many of those wanted are there in one piece. */
const unsigned char *stream_at(const struct stream *stream, int64_t position, int64_t wanted, size_t *length);
/* Whether these are the stream's bytes from `position` on. */
bool stream_matches(const struct stream *stream, int64_t position, const unsigned char *bytes, size_t length);

#endif
