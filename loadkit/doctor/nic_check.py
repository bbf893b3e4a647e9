"""Findings on the network card. None stops a run, so only the doctor speaks of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loadkit.doctor.demand import Demand
from loadkit.doctor.ethtool import Pair
from loadkit.doctor.finding import Finding, Level
from loadkit.doctor.nic import Nic

__all__ = ["check_nic"]

_SLOW_US = 50  # a card that waits longer than this before it interrupts is seen in every latency
_NOT_KNOWN = "not known: no permission, or the driver does not say"


def check_nic(demand: Demand, nic: Nic) -> Iterator[Finding]:
    """Yields the findings on queues, RSS, interrupts, rings, offloads and interrupt coalescing."""
    if nic.driver == "veth":
        yield _warning(
            "network",
            f"{nic.name} is a veth: a network namespace of its own, as docker's bridge gives it",
            "the machine's network",
            "each packet takes the pair, a bridge, NAT and connection tracking more, and latencies include that",
            "docker run --network host, unless that is what is to be measured",
        )
        return
    if nic.is_virtual:
        yield _ok(
            "nic", f"{_name(nic)} is virtual: the card is on the host's side", "the card: loadkit doctor on that host"
        )
        return
    yield _queues(nic, demand.host.cores)
    if (_queue_count(nic) or 0) > 1:
        yield _rss(nic)
    yield _irqs(nic, demand.host.cpus)
    yield _rings(nic)
    yield _offloads(nic)
    yield _coalescing(nic)


def _queue_count(nic: Nic) -> int | None:
    return (nic.channels.now if nic.channels else None) or nic.rx_queues


def _queues(nic: Nic, cores: Sequence[int]) -> Finding:
    now, wanted = _queue_count(nic), len(cores)
    needed = f"{wanted}, one queue per usable core"
    if now is None:
        return _ok("nic-queues", f"{_name(nic)}: {_NOT_KNOWN}", needed)
    seen = f"{_name(nic)}: {now} receive queue(s)" + (f" of {nic.channels.most}" if nic.channels else "")
    if nic.steered:
        return _ok("nic-queues", f"{seen}, spread over cores by RPS", needed)
    if now >= wanted:
        return _ok("nic-queues", seen, needed)
    why = f"{now} core(s) receive the packets of all connections, on top of what a worker does there"
    if nic.channels and nic.channels.most > now:
        more = min(nic.channels.most, wanted)
        return _warning("nic-queues", seen, needed, why, f"ethtool -L {nic.name} {nic.channels.kind} {more}")
    queues = f"/sys/class/net/{nic.name}/queues/rx-*/rps_cpus"
    return _warning("nic-queues", seen, needed, why, f"echo {_mask(cores)} | tee {queues} (as root; RPS)")


def _rss(nic: Nic) -> Finding:
    """Judges how the card spreads connections over the queues that it has."""
    queues, now = nic.rss.queues, _queue_count(nic) or 1
    needed = f"{now} queues, by addresses and ports"
    if queues is None and nic.rss.by_ports is None:
        return _ok("nic-rss", _NOT_KNOWN, needed)
    by = {True: ", by addresses and ports", False: ", by addresses alone", None: ""}[nic.rss.by_ports]
    seen = f"RSS spreads over {now if queues is None else queues} of {now} queues{by}"
    if nic.rss.by_ports is False:
        why = "all connections between two addresses come in by the same queue, and so on one core"
        return _warning("nic-rss", seen, needed, why, f"ethtool -N {nic.name} rx-flow-hash tcp4 sdfn")
    if queues is not None and queues < now:
        why = f"{now - queues} queue(s) get nothing, and the cores of the other queues get everything"
        return _warning("nic-rss", seen, needed, why, f"ethtool -X {nic.name} equal {now}")
    return _ok("nic-rss", seen, needed)


def _irqs(nic: Nic, cpus: int) -> Finding:
    needed = "interrupts on more than one core" if cpus > 1 else "any core"
    if not nic.irqs:
        return _ok("nic-irqs", f"{_name(nic)}: {_NOT_KNOWN}", needed)
    places = {cores for _, cores in nic.irqs}
    seen = f"{len(nic.irqs)} interrupt(s) on core(s) {', '.join(sorted(places))}"
    only = next(iter(places))
    if cpus < 2 or len(nic.irqs) < 2 or len(places) > 1 or not only.isdigit():
        return _ok("nic-irqs", seen, needed)
    why = f"core {only} does the card's work for all; a worker pinned there is slower than the others"
    lines = "; ".join(
        f"echo {place % cpus} > /proc/irq/{number}/smp_affinity_list" for place, (number, _) in enumerate(nic.irqs)
    )
    return _warning("nic-irqs", seen, needed, why, f"start irqbalance, or as root: {lines}")


def _rings(nic: Nic) -> Finding:
    needed = "as many as the card has, for bursts"
    if nic.rings is None or not any(most for _, most in nic.rings):
        return _ok("nic-rings", _NOT_KNOWN, needed)
    (rx, rx_most), (tx, tx_most) = nic.rings
    seen = f"rings: receive {_of(nic.rings[0])}, send {_of(nic.rings[1])}"
    if rx >= rx_most and tx >= tx_most:
        return _ok("nic-rings", seen, needed)
    why = "a burst that is longer than the ring is dropped by the card, and TCP sends it again after 200 ms or more"
    return _warning("nic-rings", seen, needed, why, f"ethtool -G {nic.name} rx {rx_most} tx {tx_most}")


def _offloads(nic: Nic) -> Finding:
    needed = "gro, tso and checksums (rx, tx) on"
    known = [(flag, on) for flag, on in nic.offloads if on is not None]
    if not known:
        return _ok("nic-offload", _NOT_KNOWN, needed)
    seen = ", ".join(f"{flag} {'not known' if on is None else 'on' if on else 'off'}" for flag, on in nic.offloads)
    off = [flag for flag, on in known if not on]
    if not off:
        return _ok("nic-offload", seen, needed)
    why = "the CPU does for each packet what the card could do, or do once for many packets"
    return _warning("nic-offload", seen, needed, why, f"ethtool -K {nic.name} {' '.join(f'{flag} on' for flag in off)}")


def _coalescing(nic: Nic) -> Finding:
    needed = f"{_SLOW_US} us or less, or adaptive"
    if nic.coalescing is None:
        return _ok("nic-coalesce", _NOT_KNOWN, needed)
    usecs, adaptive = nic.coalescing
    seen = f"the card gathers packets for {usecs} us before it interrupts{', adaptive' if adaptive else ''}"
    if adaptive or usecs <= _SLOW_US:
        return _ok("nic-coalesce", seen, needed)
    why = f"up to {usecs} us of every latency come from that wait"
    return _warning("nic-coalesce", seen, needed, why, f"ethtool -C {nic.name} rx-usecs 10")


def _name(nic: Nic) -> str:
    return f"{nic.name} ({nic.driver})" if nic.driver else nic.name


def _of(pair: Pair) -> str:
    return f"{pair[0]:,} of {pair[1]:,}"


def _mask(cores: Sequence[int]) -> str:
    """Returns the cores as the kernel takes a mask: groups of 32 bits with commas between (lib/bitmap-str.c)."""
    digits = f"{sum(1 << core for core in cores):x}"
    first = len(digits) % 8 or 8
    return ",".join([digits[:first], *(digits[at : at + 8] for at in range(first, len(digits), 8))])


def _ok(code: str, seen: str, needed: str) -> Finding:
    return Finding(code, Level.OK, seen, needed, in_runs=False)


def _warning(code: str, seen: str, needed: str, why: str, fix: str) -> Finding:
    return Finding(code, Level.WARN, seen, needed, why, fix, in_runs=False)
