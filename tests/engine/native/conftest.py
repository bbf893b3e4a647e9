"""The compiled engine, for what only it can get wrong."""

from __future__ import annotations

import pytest

from loadkit.engine.base import Engine
from loadkit.engine.registry import get_engine
from loadkit.profile.engines import EngineName
from tests.engine.conftest import EDGE_TRIGGERED


@pytest.fixture(params=[False, True], ids=["native", "native edge-triggered"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """The compiled engine, level-triggered and edge-triggered."""
    request.node.stash[EDGE_TRIGGERED] = request.param
    return get_engine(EngineName.NATIVE)
