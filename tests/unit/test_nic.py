from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from loadkit.doctor.ethtool import Channels, Rss
from loadkit.doctor.nic import find_nic, read_nic
from loadkit.plan.target import Target
from tests.unit.examined import LOCAL

_DRIVER_INFO = 3  # ETHTOOL_GDRVINFO


def _silent(name: str, words: Sequence[int]) -> None:
    return None


def _machine(root: Path) -> tuple[Path, Path]:
    """A virtio card eth0 on a PCI device with three interrupts, of which one has no place of its own yet."""
    proc, sys = root / "proc", root / "sys"
    card = sys / "devices/pci0/virtio2"
    for queue in ("rx-0", "rx-1", "tx-0"):
        (card / "net/eth0/queues" / queue).mkdir(parents=True)
    for queue in ("rx-0", "rx-1"):
        (card / "net/eth0/queues" / queue / "rps_cpus").write_text("00000000,00000000\n")
    for number in (37, 38, 39):
        path = sys / "devices/pci0/msi_irqs" / str(number)
        path.parent.mkdir(exist_ok=True)
        path.write_text("msix\n")
        (proc / f"irq/{number}").mkdir(parents=True)
    (proc / "irq/37/smp_affinity_list").write_text("0-3\n")
    (proc / "irq/38/smp_affinity_list").write_text("0-3\n")
    (proc / "irq/38/effective_affinity_list").write_text("2\n")
    (sys / "drivers/virtio_net").mkdir(parents=True)
    (card / "driver").symlink_to(sys / "drivers/virtio_net")
    (sys / "class/net").mkdir(parents=True)
    (sys / "class/net/eth0").symlink_to(card / "net/eth0")
    (card / "net/eth0/device").symlink_to(card)
    return proc, sys


def test_the_facts_are_read_from_sys_and_proc(tmp_path: Path) -> None:
    nic = read_nic("eth0", *_machine(tmp_path), _silent)
    assert (nic.name, nic.driver, nic.rx_queues, nic.steered) == ("eth0", "virtio_net", 2, False)
    assert nic.irqs == ((37, "0-3"), (38, "2"))
    assert nic.offloads == (("gro", None), ("tso", None), ("rx", None), ("tx", None))
    assert (nic.channels, nic.rings, nic.coalescing, nic.rss) == (None, None, None, Rss(None, None))
    assert not nic.is_virtual


@pytest.mark.parametrize("bus", [b"", b"0000:03:00.0"])
def test_an_interface_without_a_bus_is_virtual(tmp_path: Path, bus: bytes) -> None:
    raw = struct.pack("=I32s32s32s32s64x", _DRIVER_INFO, b"veth", b"1.0", b"", bus)

    def ask(name: str, words: Sequence[int]) -> tuple[int, ...] | None:
        return struct.unpack("49I", raw) if words[0] == _DRIVER_INFO else None

    nic = read_nic("eth0", *_machine(tmp_path), ask)
    assert (nic.driver, nic.is_virtual) == ("veth", not bus)


def test_an_interface_that_sys_calls_virtual_is(tmp_path: Path) -> None:
    bridge = tmp_path / "sys/devices/virtual/net/br0"
    bridge.mkdir(parents=True)
    (tmp_path / "sys/class/net").mkdir(parents=True)
    (tmp_path / "sys/class/net/br0").symlink_to(bridge)
    assert read_nic("br0", tmp_path / "proc", tmp_path / "sys", _silent).is_virtual


def test_below_a_vlan_on_a_bond_the_card_is_looked_at(tmp_path: Path) -> None:
    proc, sys = _machine(tmp_path)
    for upper, lowers in (("vlan7", ["bond0"]), ("bond0", ["eth1", "eth0"])):
        folder = sys / "devices/virtual/net" / upper
        folder.mkdir(parents=True)
        (sys / "class/net" / upper).symlink_to(folder)
        for lower in lowers:
            (folder / f"lower_{lower}").symlink_to(sys / "class/net" / lower)
    nic = read_nic("vlan7", proc, sys, _silent)
    assert (nic.name, nic.driver, nic.is_virtual) == ("eth0", "virtio_net", False)


def test_packet_steering_is_seen(tmp_path: Path) -> None:
    proc, sys = _machine(tmp_path)
    (sys / "class/net/eth0/queues/rx-1/rps_cpus").write_text("00000000,0000000f\n")
    assert read_nic("eth0", proc, sys, _silent).steered


def test_the_driver_s_answers_become_facts(tmp_path: Path) -> None:
    def ask(name: str, words: Sequence[int]) -> tuple[int, ...] | None:
        return (words[0], *range(1, len(words))) if words[0] != _DRIVER_INFO else None

    nic = read_nic("eth0", *_machine(tmp_path), ask)
    assert nic.rings == ((5, 1), (8, 4))
    assert nic.channels == Channels(13, 4, "combined")
    assert nic.rss == Rss(1, False)
    assert nic.coalescing == (1, True)
    assert all(on for _, on in nic.offloads)
    assert (nic.driver, nic.is_virtual) == ("virtio_net", False)  # from /sys


def test_an_interface_that_says_nothing_gives_none_and_no_error(tmp_path: Path) -> None:
    nic = read_nic("eth0", tmp_path, tmp_path, _silent)
    assert (nic.driver, nic.rx_queues, nic.irqs) == (None, None, ())


def test_a_target_on_this_machine_needs_no_card() -> None:
    assert find_nic(None) is None
    assert find_nic(LOCAL) is None
    assert find_nic(Target("v6", ("::1",), 1)) is None
