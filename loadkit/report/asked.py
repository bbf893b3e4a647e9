"""What is read of a record's `plan` and `host`, whose other values may grow with later versions: names and types.

A record that is loaded is held against these, so that nothing which reads a plan has to ask whether it is one.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from loadkit.profile.spell import GivenOptions

__all__ = ["Asked", "AskedOfServe", "HostFacts"]


class _Target(msgspec.Struct):
    host: str
    addresses: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    port: int
    embedded: bool


class _Phase(msgspec.Struct):
    name: str
    kind: str
    duration_ns: int
    rate_hz: tuple[float, float] | None
    connections: int


class _Crowd(msgspec.Struct):
    workers: int
    cores: tuple[int, ...]
    is_apart: bool = False


class Asked(msgspec.Struct):
    """The plan of a run."""

    target: _Target
    connections: int
    phases: tuple[_Phase, ...]
    size_bytes: int
    depth: int
    workers: int
    cores: tuple[int, ...]
    serve: _Crowd | None
    connect_rate_hz: float | None = None
    messages: int | None = None
    lifetime_ns: int | None = None
    edge_triggered: bool = False
    stays_awake: bool = False
    journey: bool = False
    profile: str | None = None
    options: GivenOptions = {}
    phased: tuple[str, ...] = ()


class AskedOfServe(msgspec.Struct):
    """The plan of a serve end."""

    port: int


class HostFacts(msgspec.Struct):
    """The machine."""

    nofile_hard: int | None = None
