"""Socket options on real connections of every engine: what both ends' kernels say of them is in the record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import loadkit
from loadkit import sync
from loadkit.profile.sockets import SocketOptions
from loadkit.report.record import RunRecord
from tests.conftest import skip_without

pytestmark = pytest.mark.slow

# Option -> the value that is given, and what the kernel makes of it.
GIVEN: dict[str, tuple[Any, Any]] = {
    "sndbuf": ("64KiB", 2 * 65536),
    "rcvbuf": ("80KiB", 2 * 81920),
    "congestion": ("reno", "reno"),
    "nodelay": (False, False),
    "tos": ("184", 184),
}
LOAD: dict[str, Any] = {"connections": 2, "messages": 20, "workers": 1, "pin": False}


@pytest.fixture(params=["native", "uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Callable[..., RunRecord]:
    """Runs a small load on each engine."""
    skip_without(request.param)
    return lambda target=None, **options: sync.blast(target, engine=request.param, **LOAD, **options)


def test_what_is_given_is_what_both_ends_have(run: Callable[..., RunRecord]) -> None:
    assert set(GIVEN) == set(SocketOptions.__struct_fields__)
    record = run(**{name: given for name, (given, _) in GIVEN.items()})
    assert record.server
    for told in (record.sockets, record.server.sockets):
        assert told
        assert {name: one.value for name, one in told.items()} == {name: value for name, (_, value) in GIVEN.items()}
        assert {one.source for one in told.values()} == {"option"}


def test_what_is_not_given_is_told_as_the_kernel_has_it(run: Callable[..., RunRecord]) -> None:
    record = run()
    assert record.server
    for told in (record.sockets, record.server.sockets):
        assert told
        assert set(told) == set(SocketOptions.__struct_fields__)
        assert {one.source for one in told.values()} == {"default"}


def test_a_serve_end_of_its_own_has_what_it_is_given(request: pytest.FixtureRequest) -> None:
    options: dict[str, Any] = {name: given for name, (given, _) in GIVEN.items()}
    with sync.serve("[::1]:0", workers=1, **options) as server:
        record = sync.blast(server, **LOAD, **options)
    assert isinstance(server.record, loadkit.ServeRecord)
    told = server.record.server.sockets
    assert told
    assert record.sockets
    # An IPv6 socket's options have names of their own for some.
    for one in (told, record.sockets):
        assert {name: found.value for name, found in one.items()} == {name: value for name, (_, value) in GIVEN.items()}
