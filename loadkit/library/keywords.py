"""The keyword arguments of library calls and their types, for editors and type checkers (PEP 692).

Written from the options of profile/ by `pytest tests/golden --update-golden`. None is an option that is not given. Text
has its unit ("10k", "250ms", "64KiB"); a number is a count, a rate per second, a size in bytes, or seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypedDict

__all__ = ["BlastOptions", "ServeOptions"]

App = (
    str | Callable[[], asyncio.BaseProtocol] | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]
)


class BlastOptions(TypedDict, total=False):
    """What `loadkit.blast` takes beside target and profile: the long options of the command."""

    connections: str | int | None
    duration: str | float | None
    messages: str | int | None
    rate: str | float | None
    arrivals: Literal["even", "exp"] | None
    think: str | Literal[0] | None
    seed: str | int | None
    workers: str | int | None
    size: str | int | None
    send: str | Sequence[str] | None
    order: Literal["turn", "random"] | None
    expect: str | None
    depth: str | int | None
    connect_rate: str | float | None
    opening: str | int | None
    lifetime: str | Literal[0] | None
    source: str | Sequence[str] | None
    timeout: str | None
    connect_timeout: str | None
    warmup: str | float | None
    proxy_protocol: Literal["off", "v1", "v2"] | None
    keepalive: str | None
    close: Literal["rst", "fin"] | None
    check: str | bool | None
    journey: bool | None
    slo: str | Sequence[str] | None
    abort_on: str | Sequence[str] | None
    tag: str | Sequence[str] | None
    first: str | Sequence[str] | None
    first_expect: str | Sequence[str] | None
    first_check: str | Sequence[str] | None
    engine: Literal["auto", "native", "uvloop", "asyncio"] | None
    edge_triggered: bool | None
    pin: bool | None
    stamps: Literal["off", "rx"] | None
    metrics: str | int | None
    metrics_linger: str | float | None
    sndbuf: str | int | None
    rcvbuf: str | int | None
    congestion: str | None
    nodelay: bool | None
    tos: str | int | None


class ServeOptions(TypedDict, total=False):
    """What `loadkit.serve` takes beside the address: the long options of the command, and `app` as an object too."""

    workers: str | int | None
    app: App | None
    probes: bool | None
    backlog: str | int | None
    max_connections: str | int | None
    idle_timeout: str | None
    proxy_protocol: bool | None
    socket_mode: str | None
    grace: str | Literal[0] | None
    engine: Literal["auto", "native", "uvloop", "asyncio"] | None
    edge_triggered: bool | None
    pin: bool | None
    stamps: Literal["off", "rx"] | None
    metrics: str | int | None
    metrics_linger: str | float | None
    sndbuf: str | int | None
    rcvbuf: str | int | None
    congestion: str | None
    nodelay: bool | None
    tos: str | int | None
