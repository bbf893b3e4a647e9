from __future__ import annotations

import pytest

from loadkit.doctor.ethtool import ask_driver, read_channels, read_coalescing, read_flag, read_rings


def _answering(**words: int) -> object:
    """Returns a driver whose answer holds `w3=7` as word 3, and no driver but one that was asked rightly."""

    def ask(name: str, command: int, count: int) -> tuple[int, ...]:
        assert name == "eth0"
        answer = [command, *[0] * (count - 1)]
        for key, value in words.items():
            answer[int(key.removeprefix("w"))] = value
        return tuple(answer)

    return ask


def _silent(name: str, command: int, count: int) -> None:
    return None


def test_rings_are_read_as_they_are_and_at_most() -> None:
    # struct ethtool_ringparam: cmd, rx_max, mini, jumbo, tx_max, rx, mini, jumbo, tx
    ask = _answering(w1=4096, w4=2048, w5=256, w8=128)
    assert read_rings("eth0", ask) == ((256, 4096), (128, 2048))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "channels"),
    [
        # struct ethtool_channels: cmd, max rx, max tx, max other, max combined, rx, tx, other, combined
        pytest.param({"w4": 8, "w8": 2}, (2, 8), id="combined"),
        pytest.param({"w1": 4, "w2": 4, "w5": 1, "w6": 1}, (1, 4), id="apart"),
    ],
)
def test_channels_that_receive_are_counted(words: dict[str, int], channels: tuple[int, int]) -> None:
    assert read_channels("eth0", _answering(**words)) == channels  # type: ignore[arg-type]


def test_coalescing_is_read_with_whether_it_adapts() -> None:
    assert read_coalescing("eth0", _answering(w1=30, w10=1)) == (30, True)  # type: ignore[arg-type]
    assert read_coalescing("eth0", _answering(w1=8)) == (8, False)  # type: ignore[arg-type]


@pytest.mark.parametrize("flag", ["rx", "tx", "tso", "gro"])
def test_offloads_are_on_or_off(flag: str) -> None:
    assert read_flag("eth0", flag, _answering(w1=1)) is True  # type: ignore[arg-type]
    assert read_flag("eth0", flag, _answering()) is False  # type: ignore[arg-type]


def test_a_driver_that_does_not_answer_is_not_known() -> None:
    assert read_rings("eth0", _silent) is None
    assert read_channels("eth0", _silent) is None
    assert read_coalescing("eth0", _silent) is None
    assert read_flag("eth0", "gro", _silent) is None


def test_the_real_ioctl_answers_for_loopback_and_not_for_what_is_not_there() -> None:
    answer = ask_driver("lo", 0x1E, 2)
    assert answer is None or (answer[0], answer[1] in (0, 1)) == (0x1E, True)
    assert ask_driver("no-such-card", 0x1E, 2) is None
