/* The header of the PROXY protocol, as wire/proxy_header.py has it: versions 1 and 2 of proxy-protocol.txt. */
#ifndef LOADKIT_PROXY_H
#define LOADKIT_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LONGEST_V1 = 107, MOST_V2 = 4096 };

/* A header that has come in part. Of version 2 the first 16 bytes are kept, and the rest is only counted. */
struct header {
    uint32_t count;   /* bytes that are kept */
    uint32_t skipped; /* of those behind them, how many are still to come */
    unsigned char bytes[LONGEST_V1];
    uint8_t version;
    bool is_known; /* it names the addresses of a TCP connection */
};

enum header_state { HEADER_part, HEADER_whole, HEADER_bad };

/* Takes bytes, and no more than are the header's; `used` is how many. */
enum header_state header_take(struct header *header, const unsigned char *bytes, size_t length, size_t *used);
/* Sends the header of a connected socket; `has_more`: bytes follow at once. 0, or -1 with errno. */
int header_send(int fd, int version, bool has_more);

#endif
