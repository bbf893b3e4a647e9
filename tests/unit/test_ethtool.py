from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import pytest

from loadkit.doctor.ethtool import (
    Ask,
    Channels,
    Driver,
    Rss,
    ask_driver,
    read_channels,
    read_coalescing,
    read_driver,
    read_flag,
    read_rings,
    read_rss,
)


def _answering(answers: Mapping[int, int]) -> Ask:
    """Returns a driver whose answer holds `{3: 7}` as word 3, and none but for the card that was meant."""

    def ask(name: str, words: Sequence[int]) -> tuple[int, ...]:
        assert name == "eth0"
        return tuple(answers.get(place, word) for place, word in enumerate(words))

    return ask


def _silent(name: str, words: Sequence[int]) -> None:
    return None


def test_rings_are_read_as_they_are_and_at_most() -> None:
    # struct ethtool_ringparam: cmd, rx_max, mini, jumbo, tx_max, rx, mini, jumbo, tx
    assert read_rings("eth0", _answering({1: 4096, 4: 2048, 5: 256, 8: 128})) == ((256, 4096), (128, 2048))


@pytest.mark.parametrize(
    ("words", "channels"),
    [
        # struct ethtool_channels: cmd, max rx, max tx, max other, max combined, rx, tx, other, combined
        pytest.param({4: 8, 8: 2}, Channels(2, 8, "combined"), id="combined"),
        pytest.param({1: 4, 2: 4, 5: 1, 6: 1}, Channels(1, 4, "rx"), id="apart"),
    ],
)
def test_channels_that_receive_are_counted(words: dict[int, int], channels: Channels) -> None:
    assert read_channels("eth0", _answering(words)) == channels


def test_coalescing_is_read_with_whether_it_adapts() -> None:
    assert read_coalescing("eth0", _answering({1: 30, 10: 1})) == (30, True)
    assert read_coalescing("eth0", _answering({1: 8})) == (8, False)


@pytest.mark.parametrize("flag", ["rx", "tx", "tso", "gro"])
def test_offloads_are_on_or_off(flag: str) -> None:
    assert read_flag("eth0", flag, _answering({1: 1})) is True
    assert read_flag("eth0", flag, _answering({})) is False


def test_a_driver_says_its_name_and_bus() -> None:
    # struct ethtool_drvinfo: cmd, driver[32], version[32], fw_version[32], bus_info[32], and more
    raw = struct.pack("4x32s32s32s32s64x", b"ixgbe", b"6.18", b"0x1", b"0000:03:00.0")
    words = dict(enumerate(struct.unpack("49I", raw)))
    assert read_driver("eth0", _answering(words)) == Driver("ixgbe", "0000:03:00.0")


def _rss(table: Sequence[int] | None, fields: int | None) -> Ask:
    """Returns a driver with this table of queues (None: it has none) that hashes by these fields."""

    def ask(name: str, words: Sequence[int]) -> tuple[int, ...] | None:
        command, first, *_ = words
        if command == 0x38 and table is not None:
            assert first in (0, len(table))  # a table of another size is refused
            return (command, len(table), *(table if first else ()))
        if command == 0x29 and fields is not None:
            assert first == 1  # TCP over IPv4
            return (command, first, fields, 0)
        return None

    return ask


@pytest.mark.parametrize(
    ("table", "fields", "rss"),
    [
        pytest.param([0, 1, 2, 3] * 32, 0xF0, Rss(4, True), id="addresses and ports"),
        pytest.param([0, 1] * 64, 0x30, Rss(2, False), id="addresses alone"),
        pytest.param([0] * 128, 0x70, Rss(1, False), id="source ports alone do not tell connections to us apart"),
        pytest.param([0, 1], 0, Rss(2, None), id="a driver that names no field"),
        pytest.param([], 0xF0, Rss(None, True), id="an empty table"),
        pytest.param(None, None, Rss(None, None), id="a driver that is silent"),
    ],
)
def test_rss_is_the_queues_of_the_table_and_the_fields_of_the_hash(
    table: Sequence[int] | None, fields: int | None, rss: Rss
) -> None:
    assert read_rss("eth0", _rss(table, fields)) == rss


def test_a_driver_that_does_not_answer_is_not_known() -> None:
    assert read_rings("eth0", _silent) is None
    assert read_channels("eth0", _silent) is None
    assert read_coalescing("eth0", _silent) is None
    assert read_flag("eth0", "gro", _silent) is None
    assert read_driver("eth0", _silent) is None


def test_the_real_ioctl_answers_for_loopback_and_not_for_what_is_not_there() -> None:
    answer = ask_driver("lo", (0x1E, 0))
    assert answer is None or (answer[0], answer[1] in (0, 1)) == (0x1E, True)
    assert ask_driver("no-such-card", (0x1E, 0)) is None
