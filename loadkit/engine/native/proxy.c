#include "proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Version 2: the signature, then version and command, family and protocol, and a length of two bytes. */
enum { SIGNATURE = 12, FIXED = 16, LOCAL = 0x20, PROXY = 0x21, STREAM_V4 = 0x11, STREAM_V6 = 0x21 };
static const unsigned char signature[SIGNATURE] = "\r\n\r\n\0\r\nQUIT\n";
static const char begin[] = "PROXY ";
enum { BEGIN = sizeof begin - 1 };

/* -- what comes */

static bool is_port(const char *text) {
    size_t length = strspn(text, "0123456789");
    if (!length || length > 5 || text[length] || (text[0] == '0' && length > 1)) return false;
    unsigned number = 0;
    for (size_t i = 0; i < length; i++) number = number * 10 + (unsigned)(text[i] - '0');
    return number <= UINT16_MAX;
}

static bool is_ip(int family, const char *text) {
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(family, text, address) == 1;
}

/* A whole line, without its CRLF. */
static enum header_state read_line(struct header *header) {
    char line[LONGEST_V1], *words[7], *at = line;
    size_t length = header->count - 2;
    memcpy(line, header->bytes, length);
    line[length] = 0;
    header->version = 1;
    if (memchr(line, 0, length)) return HEADER_bad;
    int count = 0;
    for (char *word; count < 7 && (word = strsep(&at, " "));) words[count++] = word;
    if (!strcmp(words[1], "UNKNOWN")) return HEADER_whole; /* the rest is to be ignored */
    int family = !strcmp(words[1], "TCP4") ? AF_INET : !strcmp(words[1], "TCP6") ? AF_INET6 : 0;
    if (!family || count != 6) return HEADER_bad;
    if (!is_ip(family, words[2]) || !is_ip(family, words[3]) || !is_port(words[4]) || !is_port(words[5]))
        return HEADER_bad;
    header->is_known = true;
    return HEADER_whole;
}

static enum header_state judge_v1(struct header *header) {
    uint32_t count = header->count;
    unsigned char last = header->bytes[count - 1];
    if (count <= BEGIN) return last == (unsigned char)begin[count - 1] ? HEADER_part : HEADER_bad;
    if (last != '\n') return count == LONGEST_V1 ? HEADER_bad : HEADER_part;
    return header->bytes[count - 2] == '\r' ? read_line(header) : HEADER_bad;
}

/* The bytes of addresses and ports of a family and protocol; -1 for those that there are not. */
static int addresses_of(unsigned char kind) {
    switch (kind) {
        case 0x00: return 0;
        case 0x11:
        case 0x12: return 12;
        case 0x21:
        case 0x22: return 36;
        case 0x31:
        case 0x32: return 216;
        default: return -1;
    }
}

static enum header_state judge_v2(struct header *header) {
    uint32_t count = header->count;
    const unsigned char *bytes = header->bytes;
    if (count <= SIGNATURE) return bytes[count - 1] == signature[count - 1] ? HEADER_part : HEADER_bad;
    if (bytes[SIGNATURE] != LOCAL && bytes[SIGNATURE] != PROXY) return HEADER_bad;
    if (count < FIXED) return HEADER_part;
    unsigned char kind = bytes[SIGNATURE + 1];
    uint32_t length = (uint32_t)bytes[FIXED - 2] << 8 | bytes[FIXED - 1];
    bool is_proxied = bytes[SIGNATURE] == PROXY;
    int least = is_proxied ? addresses_of(kind) : 0;
    if (length > MOST_V2 || least < 0 || length < (uint32_t)least) return HEADER_bad;
    header->version = 2;
    header->is_known = is_proxied && (kind == STREAM_V4 || kind == STREAM_V6);
    header->skipped = length;
    return length ? HEADER_part : HEADER_whole;
}

enum header_state header_take(struct header *header, const unsigned char *bytes, size_t length, size_t *used) {
    enum header_state state = HEADER_part;
    for (*used = 0; *used < length && state == HEADER_part;) {
        if (header->skipped) {
            size_t left = length - *used, some = left < header->skipped ? left : header->skipped;
            *used += some;
            header->skipped -= (uint32_t)some;
            if (!header->skipped) return HEADER_whole;
            continue;
        }
        header->bytes[header->count++] = bytes[(*used)++];
        state = header->bytes[0] == 'P' ? judge_v1(header) : judge_v2(header);
    }
    return state;
}

/* -- what is sent */

static in_port_t port_of(const struct sockaddr_storage *end) { return ((const struct sockaddr_in *)end)->sin_port; }

static const void *address_of(const struct sockaddr_storage *end, size_t *length) {
    *length = end->ss_family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr);
    if (end->ss_family == AF_INET) return &((const struct sockaddr_in *)end)->sin_addr;
    return &((const struct sockaddr_in6 *)end)->sin6_addr;
}

static size_t write_v1(char *text, size_t room, const struct sockaddr_storage ends[2]) {
    char addresses[2][INET6_ADDRSTRLEN];
    size_t length;
    int family = ends[0].ss_family;
    if (family != AF_INET && family != AF_INET6) return (size_t)snprintf(text, room, "PROXY UNKNOWN\r\n");
    for (int i = 0; i < 2; i++) inet_ntop(family, address_of(&ends[i], &length), addresses[i], sizeof addresses[i]);
    return (size_t)snprintf(text, room, "PROXY TCP%c %s %s %u %u\r\n", family == AF_INET ? '4' : '6', addresses[0],
                            addresses[1], ntohs(port_of(&ends[0])), ntohs(port_of(&ends[1])));
}

static size_t write_v2(unsigned char *bytes, const struct sockaddr_storage ends[2]) {
    size_t at = FIXED, length;
    int family = ends[0].ss_family;
    bool is_known = family == AF_INET || family == AF_INET6;
    memcpy(bytes, signature, SIGNATURE);
    bytes[SIGNATURE] = is_known ? PROXY : LOCAL;
    bytes[SIGNATURE + 1] = !is_known ? 0 : family == AF_INET ? STREAM_V4 : STREAM_V6;
    for (int i = 0; is_known && i < 2; i++, at += length) {
        const void *address = address_of(&ends[i], &length);
        memcpy(bytes + at, address, length);
    }
    for (int i = 0; is_known && i < 2; i++, at += sizeof(in_port_t)) {
        in_port_t port = port_of(&ends[i]);
        memcpy(bytes + at, &port, sizeof port);
    }
    bytes[FIXED - 2] = 0;
    bytes[FIXED - 1] = (unsigned char)(at - FIXED);
    return at;
}

int header_send(int fd, int version, bool has_more) {
    struct sockaddr_storage ends[2] = {{0}, {0}};
    socklen_t lengths[2] = {sizeof ends[0], sizeof ends[1]};
    unsigned char bytes[LONGEST_V1 + 1];
    if (getsockname(fd, (struct sockaddr *)&ends[0], &lengths[0])) return -1;
    if (getpeername(fd, (struct sockaddr *)&ends[1], &lengths[1])) return -1;
    size_t length = version == 1 ? write_v1((char *)bytes, sizeof bytes, ends) : write_v2(bytes, ends);
    ssize_t taken = send(fd, bytes, length, MSG_NOSIGNAL | (has_more ? MSG_MORE : 0));
    if (taken == (ssize_t)length) return 0;
    if (taken >= 0) errno = ENOBUFS; /* the send buffer of a new connection takes more than that */
    return -1;
}
