from __future__ import annotations

import pytest

from loadkit.chance import share_at, stream, word_at

# The first words of SplitMix64 with seed 1234567, as its authors' C code (splitmix64.c) prints them.
_KNOWN = (6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821)


def test_the_words_are_those_of_splitmix64() -> None:
    assert tuple(word_at(1234567, number) for number in range(5)) == _KNOWN


def test_shares_are_spread_evenly_from_0_to_below_1() -> None:
    shares = sorted(share_at(7, number) for number in range(10_000))
    assert shares[0] >= 0
    assert shares[-1] < 1
    # Kolmogorov and Smirnov: 1.63 / sqrt(n) is exceeded by one seed in a hundred, and this is one of the others.
    assert max(abs(share - k / 10_000) for k, share in enumerate(shares)) < 0.0163


@pytest.mark.parametrize("numbers", [(0,), (1,), (0, 0), (0, 1), (1, 0)])
def test_what_a_seed_is_used_for_has_words_of_its_own(numbers: tuple[int, ...]) -> None:
    others = {stream(5, *other) for other in [(0,), (1,), (0, 0), (0, 1), (1, 0)] if other != numbers}
    assert stream(5, *numbers) not in others | {5}
