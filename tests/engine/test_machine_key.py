"""What only the two ends of a connection on one machine know: the code of its addresses under the machine's key."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from loadkit.engine.compiled import native_missing

if missing := native_missing():
    pytest.skip(missing, allow_module_level=True)

from loadkit.engine.native._core import connection_number

_KEY = bytes(range(16))
_WORD = 2**64 - 1


def siphash(key: bytes, message: bytes) -> int:
    """SipHash-2-4, as its paper has it (Aumasson and Bernstein, 2012)."""
    low, high = (int.from_bytes(key[at : at + 8], "little") for at in (0, 8))
    v = [low ^ 0x736F6D6570736575, high ^ 0x646F72616E646F6D, low ^ 0x6C7967656E657261, high ^ 0x7465646279746573]

    def add(one: int, other: int, turn: int, whole: int = 0) -> None:
        v[one] = (v[one] + v[other]) & _WORD
        v[other] = ((v[other] << turn | v[other] >> (64 - turn)) & _WORD) ^ v[one]
        if whole:
            v[one] = (v[one] << whole | v[one] >> (64 - whole)) & _WORD

    def mix(rounds: int) -> None:
        for _ in range(rounds):
            add(0, 1, 13, 32)
            add(2, 3, 16)
            add(0, 3, 21)
            add(2, 1, 17, 32)

    padded = message + bytes(-(len(message) + 1) % 8) + bytes([len(message) % 256])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        mix(2)
        v[0] ^= word
    v[2] ^= 0xFF
    mix(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def end(address: tuple[str, int]) -> bytes:
    return bytes(10) + b"\xff\xff" + socket.inet_aton(address[0]) + address[1].to_bytes(2, "big")


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of one: that which connected, that which was accepted."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as sock, listener.accept()[0] as accepted:
            yield sock, accepted


def test_the_reference_gives_the_number_of_the_paper() -> None:
    assert siphash(_KEY, bytes(range(15))) == 0xA129CA6149BE45E5


def test_a_number_is_the_code_of_the_addresses(connection: tuple[socket.socket, socket.socket]) -> None:
    sock, _accepted = connection
    ends = end(sock.getsockname()) + end(sock.getpeername())
    own = b"".join(siphash(_KEY, bytes([i]) + ends).to_bytes(8, "little") for i in range(2))
    for number in (0, 1, 2**64 - 1):
        assert connection_number(_KEY, sock.fileno(), False, number) == siphash(own, number.to_bytes(8, "little"))


def test_the_two_ends_know_the_same_and_others_do_not(connection: tuple[socket.socket, socket.socket]) -> None:
    sock, accepted = connection
    numbers = [connection_number(_KEY, sock.fileno(), False, number) for number in range(3)]
    assert numbers == [connection_number(_KEY, accepted.fileno(), True, number) for number in range(3)]
    assert len(set(numbers)) == 3
    assert connection_number(bytes(16), sock.fileno(), False, 0) != numbers[0]
    assert connection_number(_KEY, sock.fileno(), True, 0) != numbers[0]
    with socket.create_server(("127.0.0.1", 0)) as other, socket.create_connection(other.getsockname()) as elsewhere:
        assert connection_number(_KEY, elsewhere.fileno(), False, 0) != numbers[0]


def test_a_connection_of_both_families_has_one_number() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        with (
            socket.create_connection(("127.0.0.1", listener.getsockname()[1])) as sock,
            listener.accept()[0] as accepted,
        ):
            assert accepted.family is socket.AF_INET6  # it sees ::ffff:127.0.0.1
            ours, theirs = (connection_number(_KEY, one.fileno(), one is accepted, 7) for one in (sock, accepted))
            assert ours == theirs


def test_what_has_no_addresses_has_no_number() -> None:
    one, other = socket.socketpair()
    with one, other, pytest.raises(OSError, match="not supported"):
        connection_number(_KEY, one.fileno(), False, 0)
    with socket.socket() as unconnected, pytest.raises(OSError, match="not connected"):
        connection_number(_KEY, unconnected.fileno(), False, 0)
