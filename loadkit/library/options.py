"""The keyword arguments of library calls, made what the command's options are; and how its warnings are logged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from loadkit.doctor.finding import Finding
from loadkit.log import log
from loadkit.units import Duration

__all__ = ["read_blast_options", "read_serve_options", "warn"]

# A string is a sequence of strings too, of its letters.
_REPEATABLE = ("abort_on", "slo", "source", "tag")


def read_blast_options(options: Mapping[str, object]) -> dict[str, object]:
    """Returns those that were given, as load_profile takes them."""
    return {
        name: (value,) if name in _REPEATABLE and isinstance(value, str) else value
        for name, value in options.items()
        if value is not None
    }


def read_serve_options(options: Mapping[str, object]) -> dict[str, object]:
    """Returns those that were given, as prepare_serve takes them.

    The grace is 0 unless given: what a program has open to the server when its block ends, it has not closed.
    """
    return {"grace": Duration(0)} | {name: value for name, value in options.items() if value is not None}


def warn(findings: Iterable[Finding]) -> None:
    """Logs what limits a run, a line each."""
    for finding in findings:
        log.warning("%s", finding.line)
