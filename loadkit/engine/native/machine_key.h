/* A key that both ends of a connection have if they are on one machine, and no other peer.
 *
 * It is derived from the machine's boot id, which every process on it can read (all containers share it), and from the
 * two addresses of the connection. The serve end proves with it that it is on the blast end's machine, and hides its
 * clock behind it: neither the boot id nor the time is given to a peer elsewhere, and no two connections can be told to
 * be of one machine.
 *
 * SipHash-2-4 (Aumasson and Bernstein, 2012) is the message authentication code: it takes the 128 bits of a boot id as
 * its key, and 0.1 us, where HMAC-SHA256 would bring a library into the memory of each worker. Where an address is
 * translated between the ends (NAT, a published port) they derive different keys, and the clocks count as different
 * ones.
 */
#ifndef LOADKIT_MACHINE_KEY_H
#define LOADKIT_MACHINE_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MACHINE_KEY_BYTES = 16 };

struct key {
    uint64_t words[2];
};

struct key key_read(const unsigned char bytes[MACHINE_KEY_BYTES]);
uint64_t siphash(struct key key, const unsigned char *bytes, size_t length);
/* Derives the key of a connection from the machine's; -1 with errno if the descriptor is not a connected socket of the
 * internet. */
int key_of_connection(struct key *key, struct key machine, int fd, bool is_accepted);
/* Number 0 proves that the key is known; the number of a message, from 1, is what its stamps are moved by. */
uint64_t key_number(struct key key, uint64_t number);
/* Whether the peer's address is loopback: 127.0.0.0/8 or ::1. */
bool is_peer_loopback(int fd);

#endif
