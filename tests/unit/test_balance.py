"""The spread of a hash: what is usual, against hashes that were cast."""

from __future__ import annotations

import numpy as np
import pytest

from loadkit.report.balance import balance_record, usual_max_over_mean


@pytest.mark.parametrize(("connections", "workers"), [(400, 4), (4_000, 4), (1_000, 2), (10_000, 52)])
def test_99_of_100_fair_hashes_are_as_even_as_is_called_usual(connections: int, workers: int) -> None:
    cast = np.random.default_rng(7).multinomial(connections, [1 / workers] * workers, 20_000)
    worse = np.mean(cast.max(axis=1) * workers / connections > usual_max_over_mean(connections, workers))
    assert 0.002 < worse < 0.02


def test_one_worker_has_all_and_none_has_nothing() -> None:
    assert usual_max_over_mean(100, 1) == usual_max_over_mean(0, 4) == 1.0
    assert balance_record([0, 0], [0, 0]) is None


def test_connections_and_replies_are_weighed_by_themselves() -> None:
    balance = balance_record([60, 40], [10, 30])
    assert balance is not None
    assert (balance.max_over_mean, balance.replies_max_over_mean) == (1.2, 1.5)
    assert balance.usual is not None
    assert 1.2 < balance.usual < 1.3  # 1 + 2.58 / 10
    without = balance_record([60, 40], [0, 0])
    assert without is not None
    assert without.replies_max_over_mean is None


def test_where_nothing_was_hashed_no_luck_is_spoken_of() -> None:
    balance = balance_record([60, 40], [10, 30], is_hashed=False)
    assert balance is not None
    assert balance.usual is None
