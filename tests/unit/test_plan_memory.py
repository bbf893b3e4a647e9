from __future__ import annotations

from typing import Any

import pytest

from loadkit.plan.memory import FIRST_PROCESS_BYTES, KERNEL_BYTES, USER_BYTES, WORKER_BYTES, estimate_memory
from loadkit.profile.engines import EngineName

_BOTH = {"kernel_ends": 2, "blast": True, "serve": True}


@pytest.mark.parametrize(
    ("ends", "engine", "user"),
    [
        pytest.param(_BOTH, EngineName.NATIVE, sum(USER_BYTES[EngineName.NATIVE]), id="native, both ends"),
        pytest.param(_BOTH, EngineName.AUTO, sum(USER_BYTES[EngineName.NATIVE]), id="auto is taken for native"),
        pytest.param(_BOTH, EngineName.UVLOOP, sum(USER_BYTES[EngineName.UVLOOP]), id="uvloop, both ends"),
        pytest.param(_BOTH, EngineName.ASYNCIO, sum(USER_BYTES[EngineName.ASYNCIO]), id="asyncio, both ends"),
        pytest.param(
            {"kernel_ends": 2, "blast": True, "serve": False},
            EngineName.NATIVE,
            USER_BYTES[EngineName.NATIVE][0],
            id="a foreign server here",
        ),
        pytest.param(
            {"kernel_ends": 1, "blast": True, "serve": False},
            EngineName.UVLOOP,
            USER_BYTES[EngineName.UVLOOP][0],
            id="blast alone",
        ),
        pytest.param(
            {"kernel_ends": 1, "blast": False, "serve": True},
            EngineName.UVLOOP,
            USER_BYTES[EngineName.UVLOOP][1],
            id="serve alone",
        ),
    ],
)
def test_memory_is_the_ends_that_are_here(ends: dict[str, Any], engine: EngineName, user: int) -> None:
    estimate = estimate_memory(10_000, engine=engine, workers=3, **ends)
    kernel = ends["kernel_ends"] * KERNEL_BYTES
    assert estimate.kernel_bytes == 10_000 * kernel
    assert estimate.user_bytes == 10_000 * user
    assert estimate.workers_bytes == FIRST_PROCESS_BYTES + 3 * WORKER_BYTES
    assert estimate.total_bytes == 10_000 * (kernel + user) + estimate.workers_bytes
