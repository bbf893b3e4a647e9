#include "machine_key.h"

#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

struct key key_read(const unsigned char bytes[MACHINE_KEY_BYTES]) {
    struct key key;
    memcpy(key.words, bytes, sizeof key.words);
    return (struct key){{le64toh(key.words[0]), le64toh(key.words[1])}};
}

static uint64_t rotate(uint64_t word, int by) { return word << by | word >> (64 - by); }

static void mix(uint64_t v[4], int rounds) {
    while (rounds--) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32) + v[3];
        v[2] += v[1];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
    }
}

static void take_word(uint64_t v[4], uint64_t word) {
    v[3] ^= word;
    mix(v, 2);
    v[0] ^= word;
}

uint64_t siphash(struct key key, const unsigned char *bytes, size_t length) {
    uint64_t v[4] = {
        key.words[0] ^ UINT64_C(0x736f6d6570736575),
        key.words[1] ^ UINT64_C(0x646f72616e646f6d),
        key.words[0] ^ UINT64_C(0x6c7967656e657261),
        key.words[1] ^ UINT64_C(0x7465646279746573),
    };
    size_t at = 0;
    for (; length - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, bytes + at, sizeof word);
        take_word(v, le64toh(word));
    }
    uint64_t last = (uint64_t)length << 56;
    for (size_t i = 0; at + i < length; i++) last |= (uint64_t)bytes[at + i] << (8 * i);
    take_word(v, last);
    v[2] ^= 0xff;
    mix(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* An end of a connection: its address as IPv6 has it, and its port. */
struct end {
    struct in6_addr address;
    in_port_t port;
};

static int read_end(struct end *end, const struct sockaddr_storage *from) {
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)from;
        *end = (struct end){{{{[10] = 0xff, [11] = 0xff}}}, four->sin_port};
        memcpy(&end->address.s6_addr[12], &four->sin_addr, sizeof four->sin_addr);
        return 0;
    }
    if (from->ss_family != AF_INET6) return errno = EAFNOSUPPORT, -1;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)from;
    *end = (struct end){six->sin6_addr, six->sin6_port};
    return 0;
}

static int read_ends(struct end *ours, struct end *theirs, int fd) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) || read_end(ours, &address)) return -1;
    length = sizeof address;
    return getpeername(fd, (struct sockaddr *)&address, &length) || read_end(theirs, &address) ? -1 : 0;
}

int key_of_connection(struct key *key, struct key machine, int fd, bool is_accepted) {
    enum { END_BYTES = sizeof(struct in6_addr) + sizeof(in_port_t) };
    struct end ends[2]; /* the blast end's first, as both see it */
    unsigned char bytes[1 + 2 * END_BYTES];
    if (read_ends(&ends[is_accepted], &ends[!is_accepted], fd)) return -1;
    for (int i = 0; i < 2; i++) {
        memcpy(bytes + 1 + i * END_BYTES, &ends[i].address, sizeof ends[i].address);
        memcpy(bytes + 1 + i * END_BYTES + sizeof ends[i].address, &ends[i].port, sizeof ends[i].port);
    }
    for (int i = 0; i < 2; i++) {
        bytes[0] = (unsigned char)i;
        key->words[i] = siphash(machine, bytes, sizeof bytes);
    }
    return 0;
}

uint64_t key_number(struct key key, uint64_t number) {
    uint64_t bytes = htole64(number);
    return siphash(key, (const unsigned char *)&bytes, sizeof bytes);
}

bool is_peer_loopback(int fd) {
    struct end ours, theirs;
    if (read_ends(&ours, &theirs, fd)) return false;
    const struct in6_addr *address = &theirs.address;
    return IN6_IS_ADDR_LOOPBACK(address) || (IN6_IS_ADDR_V4MAPPED(address) && address->s6_addr[12] == 127);
}
