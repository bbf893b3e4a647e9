from __future__ import annotations

from typing import Any

import pytest

from loadkit.plan.memory import KERNEL_BYTES, START_BYTES, USER_BYTES, WORKER_BYTES, estimate_memory
from loadkit.profile.engines import EngineName

_BOTH = {"kernel_ends": 2, "blast_workers": 2, "serve_workers": 1}


@pytest.mark.parametrize(
    ("ends", "engine", "user"),
    [
        pytest.param(_BOTH, EngineName.NATIVE, sum(USER_BYTES[EngineName.NATIVE]), id="native, both ends"),
        pytest.param(_BOTH, EngineName.AUTO, sum(USER_BYTES[EngineName.NATIVE]), id="auto is taken for native"),
        pytest.param(_BOTH, EngineName.UVLOOP, sum(USER_BYTES[EngineName.UVLOOP]), id="uvloop, both ends"),
        pytest.param(_BOTH, EngineName.ASYNCIO, sum(USER_BYTES[EngineName.ASYNCIO]), id="asyncio, both ends"),
        pytest.param(
            {"kernel_ends": 2, "blast_workers": 3, "serve_workers": 0},
            EngineName.NATIVE,
            USER_BYTES[EngineName.NATIVE][0],
            id="a foreign server here",
        ),
        pytest.param(
            {"kernel_ends": 1, "blast_workers": 3, "serve_workers": 0},
            EngineName.UVLOOP,
            USER_BYTES[EngineName.UVLOOP][0],
            id="blast alone",
        ),
        pytest.param(
            {"kernel_ends": 1, "blast_workers": 0, "serve_workers": 3},
            EngineName.UVLOOP,
            USER_BYTES[EngineName.UVLOOP][1],
            id="serve alone",
        ),
    ],
)
def test_memory_is_the_ends_that_are_here(ends: dict[str, Any], engine: EngineName, user: int) -> None:
    estimate = estimate_memory(10_000, engine=engine, **ends)
    kernel = ends["kernel_ends"] * KERNEL_BYTES
    assert estimate.kernel_bytes == 10_000 * kernel
    assert estimate.user_bytes == 10_000 * user
    blast, serve = WORKER_BYTES.get(engine, WORKER_BYTES[EngineName.NATIVE])
    assert estimate.workers_bytes == ends["blast_workers"] * blast + ends["serve_workers"] * serve
    assert estimate.total_bytes == 10_000 * (kernel + user) + estimate.workers_bytes + START_BYTES
