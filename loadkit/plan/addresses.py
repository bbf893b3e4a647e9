"""How connections spread over addresses, so that ports do not run out and connecting stays fast.

connect() picks a local port per (source, destination, destination port). Its first pass tries the ports of one parity,
half of the range; past that every connect scans: at 19,000 connections on one tuple 1,764 connects/s were measured
where 31,600 were with at most 8,000 (kernel 6.18). So a tuple takes PER_TUPLE connections when addresses allow it. What
is there already counts: connections of other programs, and those of the run before this one, in TIME_WAIT.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from loadkit.endpoint import bare, is_unix, is_v6
from loadkit.errors import OptionError, PreflightError
from loadkit.host import Host
from loadkit.plan.target import Route, Target
from loadkit.plan.time_wait import kept_for_s
from loadkit.sockets import LOOPBACK_ADDRESSES, Sockets

__all__ = [
    "PER_TUPLE",
    "check_families",
    "has_family_of",
    "held_ports",
    "is_here",
    "is_loopback",
    "loopback_addresses",
    "may_meet_itself",
    "plan_addresses",
    "plan_routes",
    "reusable_ports",
    "source_addresses",
    "tuples_for",
]

PER_TUPLE = 8_000
# A TIME_WAIT that keeps its port no longer than this has released it by the time a run opens its connections.
_SOON_S = 1.0

_Counts = Mapping[tuple[str | None, str], int]
_NONE: _Counts = MappingProxyType({})
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_FIRST = "127.0.0.1"
_BROADCAST = "127.255.255.255"  # the one address of loopback that connect() refuses, with ENETUNREACH


def is_loopback(address: str) -> bool:
    """Whether the address is this machine's own loopback; a UNIX socket has no way over it."""
    return not is_unix(address) and ipaddress.ip_address(address).is_loopback


def is_here(target: Target) -> bool:
    """Whether the target is on this machine: then the kernel has both ends, whatever the address."""
    return target.embedded or target.is_local or all(map(is_loopback, target.addresses))


def loopback_addresses(count: int, first: str = _FIRST) -> tuple[str, ...]:
    """Returns `count` addresses from `first` on; all of 127.0.0.0/8 is local without being configured."""
    return tuple(itertools.islice(_loopback(first), count))


def source_addresses(networks: Sequence[str], most: int) -> tuple[str, ...]:
    """Returns up to `most` host addresses of the networks, taken from each in turn, none twice.

    Raises OptionError naming a text that is not a network.
    """
    pools = [_hosts(*_parse_source(network)) for network in networks]
    found: dict[str, None] = {}
    for address in itertools.chain.from_iterable(itertools.zip_longest(*pools)):
        if len(found) >= most:
            break
        if address is not None:
            found[address] = None
    return tuple(found)


def _parse_source(text: str) -> tuple[_Network, str]:
    """Returns the network, and the zone of its addresses as `%eth0`; only link-local ones have one, and need it."""
    address, slash, prefix = text.partition("/")
    address, percent, zone = address.partition("%")
    try:
        network = ipaddress.ip_network(address + slash + prefix, strict=False)
    except ValueError:
        network = None
    if network is None or (percent and not (zone and network.version == 6)):
        raise OptionError(f"--source: expected a network such as 10.0.0.0/28 or an address, got {text!r}")
    if network.version == 6 and network.is_link_local and not zone:
        raise OptionError(
            f"--source {text}: each interface can have a link-local address: name the interface, as in "
            f"{address}%eth0{slash}{prefix}"
        )
    return network, percent + zone


def _hosts(network: _Network, zone: str) -> Iterator[str]:
    return (f"{address}{zone}" for address in network.hosts())


def has_family_of(networks: Sequence[str], target: Target) -> bool:
    """Whether connections can be bound to addresses of each network, IPv4 or IPv6 as the target's address."""
    return all(_version(network) == _version(target.addresses[0]) for network in networks)


def check_families(networks: Sequence[str], target: Target) -> None:
    """Raises OptionError naming the network that is of another family than the target's address, and that address."""
    address = target.addresses[0]
    where = "the embedded server's address" if target.embedded else f"the target {target.host}"
    where += "" if target.host == address else f" {address}"
    for network in networks:
        if _version(network) != _version(address):
            raise OptionError(
                f"--source {network} is IPv{_version(network)} and {where} is IPv{_version(address)}: a connection has "
                f"one family; give a source of IPv{_version(address)}, or another target"
            )


def _version(text: str) -> int:
    return _parse_source(text)[0].version


def tuples_for(connections: int, ports: int) -> int:
    """Returns how many tuples keep each at PER_TUPLE or under, and within its `ports`."""
    return max(1, -(-connections // max(1, min(PER_TUPLE, ports))))


def plan_addresses(
    connections: int,
    target_addresses: Sequence[str],
    networks: Sequence[str],
    ports: int,
    sockets: Sockets | None,
    embedded: bool,
    loopback: int = LOOPBACK_ADDRESSES,
) -> tuple[tuple[str | None, ...], tuple[str, ...]]:
    """Returns (sources, destinations) for `connections` of `ports` a tuple, as few as keep each within PER_TUPLE.

    Source None leaves the choice to the kernel, without a bind. `networks` are the requested sources. An embedded
    server listens on all of `target_addresses`. Another server on IPv4 loopback is reached over more destinations if
    `sockets` says that it listens on all of them, else from more sources: there are `loopback`, from 127.0.0.1 on.
    Raises OptionError for a text that is not a network.
    """
    used = sockets.used if sockets else _NONE
    prefer = min(PER_TUPLE, ports)
    # This many suffice even if all pairs in use come first and are full. Without a port no number would suffice.
    most = tuples_for(connections, ports) + len(used) if ports > 0 else 1
    sources: tuple[str | None, ...] = (None,)
    destinations = tuple(target_addresses)
    fans_out = not embedded and all(map(_is_v4_loopback, destinations))
    # An address that is listened to by its own name may be another program's than all the others.
    listeners = sockets.listeners if sockets and sockets.listens_on_wildcard else frozenset[str]()
    by_destination = fans_out and bool(listeners) and listeners.isdisjoint(destinations)

    def room(sources: Iterable[str | None], destinations: Iterable[str]) -> int:
        return _room((used.get(_key(*pair), 0) for pair in itertools.product(sources, destinations)), prefer)

    if networks:
        sources = _enough(
            source_addresses(networks, most), lambda source: room([source], target_addresses), connections
        )
    elif fans_out and not by_destination:
        pool = itertools.islice(_loopback(_FIRST), max(1, min(most, loopback)))
        sources = _enough(pool, lambda source: room([source], target_addresses), connections)
        if sources == (_FIRST,):
            sources = (None,)
    if by_destination:
        ours = itertools.islice(_loopback(_FIRST), loopback)
        others = (address for address in ours if address not in listeners.union(target_addresses))
        pool = itertools.islice(itertools.chain(target_addresses, others), most)
        destinations = _enough(pool, lambda destination: room(sources, [destination]), connections)
    return sources, destinations


def may_meet_itself(route: Route, port: int, local_ports: tuple[int, int], is_local: bool) -> bool:
    """Whether a connection along the route can draw the target's `port` as its local one, with the same address.

    `local_ports` is the kernel's range, both ends included; `port` 0 is a port that the kernel will choose from it.
    `is_local`: the destination is an address of this machine.
    """
    low, high = route.ports or local_ports
    if not is_local or (port and not low <= port <= high):
        return False
    source, destination = _key(route.source, route.destination)
    # To an address of its own that is not loopback, and to 0.0.0.0, the kernel connects from the same one.
    return source in (None, destination)


def reusable_ports(sockets: Sockets | None, host: Host) -> _Counts:
    """Returns how many of the TIME_WAIT sockets between two addresses do not keep their port from a new connection.

    If the machine does not say what net.ipv4.tcp_tw_reuse is, its default, 2, is taken. Seen on Linux 6.18: a port is
    given out again after 1.00 s, and not after 0.75 s.
    """
    if sockets is None:
        return _NONE
    host = replace(host, tw_reuse=2) if host.tw_reuse is None else host
    return {
        (source, destination): count
        for (source, destination), count in sockets.waiting.items()
        if kept_for_s(host, is_loopback(destination) or (source is not None and is_loopback(source))) <= _SOON_S
    }


def held_ports(pairs: Iterable[tuple[str | None, str]], sockets: Sockets | None, host: Host) -> tuple[int, int]:
    """Returns how many ports sockets of others keep from new connections between the pairs, and how many TIME_WAIT do.

    The second are among the first.
    """
    if sockets is None:
        return 0, 0
    reusable = reusable_ports(sockets, host)
    keys = {_key(*pair) for pair in pairs}
    waiting = sum(max(0, sockets.waiting.get(key, 0) - reusable.get(key, 0)) for key in keys)
    return sum(max(0, sockets.used.get(key, 0) - reusable.get(key, 0)) for key in keys), waiting


def plan_routes(
    connections: int,
    sources: Sequence[str | None],
    destinations: Sequence[str],
    ports: int,
    used: _Counts = _NONE,
    reusable: _Counts = _NONE,
    port_range: tuple[int, int] | None = None,
    uses_all: bool = False,
) -> tuple[Route, ...]:
    """Spreads `connections` over as few (source, destination) tuples as keep each within PER_TUPLE, least used first.

    `used` are the connections that a tuple has already; all tuples are filled to one level, those included. If there
    are fewer ports than PER_TUPLE, the ports are the limit. If there are too few tuples, all are used, up to `ports`
    each. A tuple of more than PER_TUPLE, or of more than half of its ports, gets `port_range` to choose from: without
    one the kernel leaves out the last of an odd number (__inet_hash_connect in net/ipv4/inet_hashtables.c).
    `reusable` of the used ones do not count against `ports`, and are taken last. `uses_all` spreads over all tuples,
    because connections that close will need their ports. Raises PreflightError with the calculation if all tuples
    together have too few ports.
    """
    pairs = [(source, destination) for source in sources for destination in destinations]
    there = [used.get(_key(*pair), 0) for pair in pairs]
    held = [max(0, count - reusable.get(_key(*pair), 0)) for pair, count in zip(pairs, there, strict=True)]
    room = _room(held, ports)
    if connections > room:
        less = len(pairs) * ports - room
        in_use = f", less {less:,} in use or TIME_WAIT" if less else ""
        raise PreflightError(
            f"{connections:,} connections need more ports than there are: {len(sources):,} source address(es) x "
            f"{len(destinations):,} destination(s) x {ports:,} ephemeral ports{in_use} = {room:,}; give more source "
            f"addresses with --source CIDR, or widen net.ipv4.ip_local_port_range"
        )
    prefer = min(PER_TUPLE, ports)
    if connections <= _room(there, prefer):
        counts = _fill(there, connections, len(pairs) if uses_all else _fewest(there, connections, prefer))
    elif connections <= _room(there, ports):
        counts = _fill(there, connections, len(pairs))
    else:
        counts = _fill(held, connections, len(pairs))
    many = min(PER_TUPLE, -(-ports // 2))
    return tuple(
        Route(*pairs[i], count, port_range if count + there[i] > many else None) for i, count in counts if count
    )


def _key(source: str | None, destination: str) -> tuple[str | None, str]:
    """Returns (source, destination), with the source that the kernel will choose if that is known; without zones.

    For every address of 127.0.0.0/8 the kernel chooses 127.0.0.1, and not the destination itself (seen on Linux 6.18
    for 127.0.0.5 and 127.9.8.7; a test asks the kernel). IPv6 has one loopback address.
    """
    if source is None and destination.startswith("127."):
        return _FIRST, destination
    if source is None and destination == "::1":
        return destination, destination
    return source and bare(source), bare(destination)


def _room(taken: Iterable[int], ports: int) -> int:
    return sum(max(0, ports - count) for count in taken)


def _fewest(taken: Sequence[int], connections: int, ports: int) -> int:
    """Returns how many tuples, those least taken first, `connections` need with at most `ports` connections each."""
    rooms = itertools.accumulate(max(0, ports - count) for count in sorted(taken))
    return 1 + next(i for i, room in enumerate(rooms) if room >= connections)


def _fill(taken: Sequence[int], connections: int, tuples: int) -> list[tuple[int, int]]:
    """Returns (index, connections) of the `tuples` that are least taken, in that order: all are filled to one level."""
    order = sorted(range(len(taken)), key=taken.__getitem__)[:tuples]
    sums = itertools.accumulate(taken[i] for i in order)
    for wet, below in enumerate(sums, 1):
        level, rest = divmod(connections + below, wet)
        if wet == len(order) or level < taken[order[wet]]:
            return [(i, level - taken[i] + (nth < rest)) for nth, i in enumerate(order[:wet])]
    return []


def _enough(candidates: Iterable[str], room: Callable[[str], int], connections: int) -> tuple[str, ...]:
    """Returns candidates until their rooms add up to `connections`; all of them if they do not."""
    taken = []
    for candidate in candidates:
        taken.append(candidate)
        connections -= room(candidate)
        if connections <= 0:
            break
    return tuple(taken)


def _loopback(first: str) -> Iterator[str]:
    start = int(ipaddress.IPv4Address(first))
    addresses = (str(ipaddress.IPv4Address(number)) for number in itertools.count(start))
    return itertools.takewhile(lambda address: address != _BROADCAST, addresses)


def _is_v4_loopback(address: str) -> bool:
    return not is_v6(address) and is_loopback(address)
