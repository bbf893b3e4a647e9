"""Whole numbers from 0 on in about as few bits as they have, if neighbours are of like size: Rice coding.

A number is cut in two (R. F. Rice 1979): its lower k bits as they are, and what is above them as so many bits of 0
and one of 1. Sixty-four neighbours have one k, about the logarithm of their mean. The parts stand apart: all k, a byte
each; all lower parts, the lowest bit of all of them first; all upper parts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_bytes", "numbers_of"]

_ALIKE = 64
_MOST_BITS = 53

_Numbers = NDArray[np.int64]


def as_bytes(numbers: _Numbers) -> bytes:
    """Returns the numbers, all of them from 0 to 2^53."""
    groups = np.pad(numbers, (0, -numbers.size % _ALIKE)).reshape(-1, _ALIKE)
    bits = _bits_of(groups)
    steps = (groups >> bits[:, None]).ravel() + 1
    upper = np.zeros(int(steps.sum()), np.uint8)
    upper[np.cumsum(steps) - 1] = 1
    lower = [(groups[bits > place] >> place & 1).astype(np.uint8).ravel() for place in range(int(bits.max(initial=0)))]
    parts = (bits.astype(np.uint8), np.packbits(np.concatenate([upper[:0], *lower])), np.packbits(upper))
    return b"".join(part.tobytes() for part in parts)


def numbers_of(data: bytes, count: int) -> _Numbers:
    """Returns that many numbers. Raises ValueError if they are not what the data has.

    Takes 50 bytes of memory for each of them, and 16 for each byte of the data.
    """
    rows = math.ceil(count / _ALIKE)
    text = np.frombuffer(data, np.uint8)
    bits = text[:rows].astype(np.int64)
    if bits.size < rows or bits.max(initial=0) > _MOST_BITS:
        raise ValueError("it is cut off")
    split = rows + int(bits.sum()) * _ALIKE // 8
    (ends,) = np.nonzero(np.unpackbits(text[split:]))
    if ends.size != rows * _ALIKE:
        raise ValueError("it is cut off, or has too much in it")
    groups = (np.diff(ends, prepend=-1) - 1).reshape(-1, _ALIKE) << bits[:, None]
    lower, at = np.unpackbits(text[rows:split]), 0
    for place in range(int(bits.max(initial=0))):
        is_here = bits > place
        end = at + int(is_here.sum()) * _ALIKE
        groups[is_here] += lower[at:end].astype(np.int64).reshape(-1, _ALIKE) << place
        at = end
    return groups.ravel()[:count]


def _bits_of(groups: _Numbers) -> _Numbers:
    """Returns the k of each group: of those near the logarithm of its mean the one that takes the fewest bits."""
    near = np.frexp(np.maximum(groups.mean(axis=1) * math.log(2), 0.5))[1].astype(np.int64)
    tried = np.stack([np.clip(near + by, 0, _MOST_BITS) for by in (-1, 0, 1)])
    costs = np.stack([(groups >> bits[:, None]).sum(axis=1) + _ALIKE * bits for bits in tried])
    found: _Numbers = np.take_along_axis(tried, costs.argmin(axis=0)[None], axis=0)[0]
    return found
