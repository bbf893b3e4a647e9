"""The keyword arguments of library calls, made what the command's options are; and how its warnings are logged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from loadkit.doctor.finding import Finding
from loadkit.log import log
from loadkit.profile.blast import Profile
from loadkit.profile.option import repeatable
from loadkit.profile.serve import ServeProfile
from loadkit.units import Duration

__all__ = ["read_blast_options", "read_serve_options", "warn"]


def read_blast_options(options: Mapping[str, object]) -> dict[str, object]:
    """Returns those that were given, as load_profile takes them."""
    return _given(Profile, options)


def read_serve_options(options: Mapping[str, object]) -> dict[str, object]:
    """Returns those that were given, as prepare_serve takes them.

    The grace is 0 unless given: what a program has open to the server when its block ends, it has not closed.
    """
    return {"grace": Duration(0)} | _given(ServeProfile, options)


def _given(kind: type[msgspec.Struct], options: Mapping[str, object]) -> dict[str, object]:
    """Leaves out what is None. A string where several may be given is one of them: as a sequence it is its letters."""
    several = repeatable(kind)
    return {
        name: (value,) if name in several and isinstance(value, str) else value
        for name, value in options.items()
        if value is not None
    }


def warn(findings: Iterable[Finding]) -> None:
    """Logs what limits a run, a line each."""
    for finding in findings:
        log.warning("%s", finding.line)
