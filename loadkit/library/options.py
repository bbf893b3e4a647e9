"""The keyword arguments of library calls, read as the command reads its options; and how its warnings are said."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from loadkit.doctor.finding import Finding
from loadkit.errors import OptionError
from loadkit.log import log
from loadkit.plan.app import app_of, parse_app
from loadkit.profile.model import MOST_BACKLOG, EngineName, ProbePeers, Stamps
from loadkit.units import Count, Duration

__all__ = ["read_blast_options", "read_serve_options", "warn"]


# A string is a sequence of strings too, of its letters.
_REPEATABLE = ("slo", "source")


def read_blast_options(options: Mapping[str, object]) -> dict[str, object]:
    """Returns those that were given, as load_profile takes them."""
    return {
        name: (value,) if name in _REPEATABLE and isinstance(value, str) else value
        for name, value in options.items()
        if value is not None
    }


def _app(value: Any) -> Any:
    return parse_app(value, str(Path.cwd())) if isinstance(value, str) else app_of(value)


def _count(value: object) -> int:
    return _at_least(Count.parse(value), 1)


def _backlog(value: object) -> int:
    number = _count(value)
    if number > MOST_BACKLOG:
        raise ValueError(f"{number:,} is above the most, {MOST_BACKLOG:,}")
    return number


def _at_least(number: int, least: int) -> int:
    if number < least:
        raise ValueError(f"{number} is below the least, {least}")
    return number


def _choice(kind: type[enum.StrEnum]) -> Callable[[object], object]:
    def read(value: object) -> object:
        try:
            return kind(value)  # type: ignore[arg-type]
        except ValueError:
            raise ValueError(f"expected {' or '.join(kind)}, got {value!r}") from None

    return read


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected True or False, got {value!r}")
    return value


# Option of serve -> the name build_serve_plan has for it, and how it is read.
_SERVE: dict[str, tuple[str, Callable[[Any], object]]] = {
    "app": ("app", _app),
    "workers": ("workers", lambda value: None if value == "auto" else _count(value)),
    "engine": ("engine", _choice(EngineName)),
    "edge_triggered": ("edge_triggered", _switch),
    "stamps": ("stamps", _choice(Stamps)),
    "probes": ("probes", lambda value: ProbePeers.of(_switch(value))),
    "pin": ("pin", _switch),
    "backlog": ("backlog", _backlog),
    "max_connections": ("max_connections", _count),
    "idle_timeout": ("idle_timeout_ns", lambda value: _at_least(Duration.parse(value), 1)),
    "grace": ("grace_ns", Duration.parse),
}


def read_serve_options(options: Mapping[str, object]) -> dict[str, Any]:
    """Returns what build_serve_plan takes. Raises OptionError, for an unknown name with the nearest one."""
    # Nobody is waited for unless asked: what a program has open to it when its block ends, it has not closed.
    read: dict[str, Any] = {"grace_ns": 0}
    for name, value in options.items():
        if name not in _SERVE:
            near = difflib.get_close_matches(name, _SERVE, n=1)
            known = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(_SERVE)
            raise OptionError(f"{name}: unknown option of serve; {known}")
        if value is not None:
            key, reader = _SERVE[name]
            try:
                read[key] = reader(value)
            except ValueError as error:
                raise OptionError(f"{name}: {error}") from None
    return read


def warn(findings: Iterable[Finding]) -> None:
    """Logs what limits a run, a line each."""
    for finding in findings:
        log.warning("%s", finding.line)
