"""The network card that connections to another machine go through: its queues, interrupts, rings and offloads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loadkit.doctor.ethtool import (
    Ask,
    Channels,
    Coalescing,
    Offload,
    Pair,
    Rss,
    ask_driver,
    read_channels,
    read_coalescing,
    read_driver,
    read_flag,
    read_rings,
    read_rss,
)
from loadkit.doctor.route import find_interface
from loadkit.plan.addresses import is_loopback
from loadkit.plan.target import Target
from loadkit.procfs import text_of
from loadkit.sockets import find_source

__all__ = ["ELSEWHERE", "Nic", "find_nic", "read_nic"]

# What each spares the CPU, in the order of how much; the names are those of ethtool -K.
OFFLOADS: tuple[Offload, ...] = ("gro", "tso", "rx", "tx")
# Some address of no machine (RFC 5737), to which the default route goes; nothing is ever sent there.
ELSEWHERE = Target("elsewhere", ("198.51.100.1",), 9)


@dataclass(frozen=True, slots=True)
class Nic:
    """Facts of an interface. None where driver or machine do not say."""

    name: str
    driver: str | None
    is_virtual: bool  # such as a container's veth: the card is on the other side of it
    rx_queues: int | None
    channels: Channels | None
    rss: Rss
    steered: bool  # RPS: the kernel hands packets of a queue to other cores too
    irqs: tuple[tuple[int, str], ...]  # (number, the cores it may go to, as `0-3`)
    rings: tuple[Pair, Pair] | None  # receive, send
    coalescing: Coalescing | None
    offloads: tuple[tuple[Offload, bool | None], ...]


def find_nic(target: Target | None) -> Nic | None:
    """Returns the card on the way to `target`; None where it is on this machine, or there is no way to it."""
    if target is None or target.is_unix or is_loopback(target.addresses[0]):
        return None
    source = find_source(target.addresses[0], target.port)
    name = find_interface(target.addresses[0], source) if source else None
    return read_nic(name) if name and name != "lo" else None


def read_nic(name: str, proc: Path = Path("/proc"), sys: Path = Path("/sys"), ask: Ask = ask_driver) -> Nic:
    """Reads the facts of interface `name`, or of the card below it. Never fails: what cannot be read is None."""
    name = _below(name, sys)
    folder = sys / "class/net" / name
    driver = read_driver(name, ask)
    queues = sorted(folder.glob("queues/rx-*"))
    return Nic(
        name=name,
        driver=(driver.name if driver else None) or _driver(folder),
        is_virtual=not driver.bus if driver else "virtual" in folder.resolve().parts,
        rx_queues=len(queues) or None,
        channels=read_channels(name, ask),
        rss=read_rss(name, ask),
        # A mask of CPUs such as `00000000,0000000f`.
        steered=any(text_of(queue / "rps_cpus").strip(" 0,\n") for queue in queues),
        irqs=tuple(_irqs(folder, proc)),
        rings=read_rings(name, ask),
        coalescing=read_coalescing(name, ask),
        offloads=tuple((flag, read_flag(name, flag, ask)) for flag in OFFLOADS),
    )


def _below(name: str, sys: Path) -> str:
    """Returns what carries a VLAN, a bridge or a bond: of several, the first; they are mostly alike."""
    for _ in range(4):  # a VLAN on a bridge on a bond is the most that is seen
        lower = sorted(path.name.removeprefix("lower_") for path in (sys / "class/net" / name).glob("lower_*"))
        if not lower:
            break
        name = lower[0]
    return name


def _driver(folder: Path) -> str | None:
    driver = folder / "device/driver"
    return driver.resolve().name if driver.exists() else None


def _irqs(folder: Path, proc: Path) -> Iterator[tuple[int, str]]:
    """Yields the card's interrupts; a virtio one's belong to the PCI device that it sits on."""
    device = (folder / "device").resolve()
    for holder in (device, device.parent):
        numbers = sorted(int(path.name) for path in holder.glob("msi_irqs/*") if path.name.isdigit())
        if numbers:
            break
    for number in numbers:
        # Where it goes in effect is one of those it may go to.
        cores = text_of(proc / f"irq/{number}/effective_affinity_list") or text_of(
            proc / f"irq/{number}/smp_affinity_list"
        )
        if cores.strip():
            yield number, cores.strip()
