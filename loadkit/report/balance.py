"""How evenly SO_REUSEPORT spread what came, beside how evenly a fair hash does."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from loadkit.report.record import Balance

__all__ = ["balance_record", "usual_max_over_mean"]

_SHARE = 0.01  # of fair hashes are more uneven than `usual`


def usual_max_over_mean(connections: int, workers: int) -> float:
    """Returns the busiest worker's connections divided by the mean, which 99 of 100 fair hashes do not exceed.

    Each worker's number is binomial, with mean n/k and variance n/k (1 - 1/k). For the greatest of k, the quantile of
    one is taken at 1 - 0.01/k (Bonferroni), by the normal distribution. That is good from some tens of connections per
    worker on.
    """
    if workers < 2 or not connections:
        return 1.0
    quantile = statistics.NormalDist().inv_cdf(1 - _SHARE / workers)
    return 1 + quantile * math.sqrt((workers - 1) / connections)


def balance_record(accepted: Sequence[int], sent_bytes: Sequence[int], is_hashed: bool = True) -> Balance | None:
    """Returns the balance of connections (of the whole run) and of bytes sent back (in the window) between workers.

    `is_hashed` says that the kernel's hash alone decided which worker got which connection.
    """
    total = sum(accepted)
    if not total:
        return None
    return Balance(
        max_over_mean=_max_over_mean(accepted),
        usual=usual_max_over_mean(total, len(accepted)) if is_hashed else None,
        replies_max_over_mean=_max_over_mean(sent_bytes) if sum(sent_bytes) else None,
    )


def _max_over_mean(counts: Sequence[int]) -> float:
    return max(counts) * len(counts) / sum(counts)
