"""Records that somebody made to do harm: golden ones with other leaves."""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from loadkit.measure.kernel import KernelSamples
from loadkit.measure.run_samples import ServeRun
from loadkit.measure.series import ServeInterval
from loadkit.plan.serve import ServePlan
from loadkit.profile.engines import EngineName
from loadkit.report.serve import build_serve_record
from loadkit.report.writing import encode
from tests.golden.made_up import MS, REMOTE, RUNS, S, serve_end
from tests.hostile.texts import TEXTS
from tests.unit.made_up import made_up_host

GOLDEN = Path(__file__).parents[1] / "golden"

Path_ = tuple[str | int, ...]

# What a reader checks, or takes for a fixed word: another text there makes it no record.
_CHECKED = ("format", "state", "party", "kind", "started", "hdr", "start", "end")
# Texts of what was planned that are one of a few.
_PLANNED = ("load", "placements", "plan")
_CHOICES = ("close", "stamps", "engine", "probes", "arrivals", "order", "proxy_protocol")


@cache
def _text(name: str) -> str:
    return (GOLDEN / f"{name}.json").read_text()


def golden(name: str) -> dict[str, Any]:
    """Returns the fields of a golden record, to be changed."""
    fields: dict[str, Any] = json.loads(_text(name))
    return fields


def served() -> dict[str, Any]:
    """Returns the fields of the record of a serve end that belongs to the golden record `open_loop`, to be changed."""
    started_s = datetime.datetime.fromisoformat(golden("open_loop")["started"]).timestamp() - 1
    rows = tuple(ServeInterval(started_s + at, 10, 100, 100, MS, MS, 5, 6) for at in range(20))
    kernel = KernelSamples({"TcpExt.ListenOverflows": 1}, {"dropped": 0, "squeezed": 0}, {"inuse": 9}, {"user": 0.5})
    plan = ServePlan(("10.0.0.1",), REMOTE.port, EngineName.UVLOOP, 2, (2, 3))
    run = ServeRun(plan, replace(serve_end(), port=REMOTE.port), started_s, 20 * S, rows, kernel, 1)
    fields: dict[str, Any] = json.loads(encode(build_serve_record(run, made_up_host())))
    return fields


def leaves(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Yields where each value stands, objects and lists among them, the outermost first."""
    if path:
        yield path
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from leaves(one, (*path, key))


def at(value: Any, path: Path_) -> Any:
    """Returns the value that stands there."""
    for key in path:
        value = value[key]
    return value


def _is_checked(path: Path_) -> bool:
    return path[-1] in _CHECKED or (path[0] in _PLANNED and path[-1] in _CHOICES)


def with_texts(fields: dict[str, Any], texts: Sequence[str]) -> dict[str, Any]:
    """Returns the fields with each text that may be any replaced by one of `texts`, in turn, and as names of more."""
    hostile = copy.deepcopy(fields)
    places = [path for path in leaves(fields) if isinstance(at(fields, path), str) and not _is_checked(path)]
    for number, path in enumerate(places):
        at(hostile, path[:-1])[path[-1]] = texts[number % len(texts)]
    for text in texts:
        hostile["host"][text] = text
        if "load" in hostile:  # a run; a serve end has none
            hostile["load"]["later"] = {text: [text]}
            hostile["origins"]["load"][text] = text
            hostile["histograms"][text] = hostile["histograms"]["latency"]
            hostile["histograms_missing"][text] = text
        if hostile["kernel"]:
            hostile["kernel"]["counters"][text] = 1
            hostile["kernel"]["cpu"][text] = 0.5
    return hostile


# -- any value in place of any other

REPLACEMENTS: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**53 + 1,
    2**63 - 1,
    2**63,
    2**70,
    10**400,
    0.5,
    1e-300,
    5e-324,
    1e18,
    1e308,
    -1e308,
    "",
    "x",
    "hold",
    "1e5",
    "NaN",
    *TEXTS,
    [],
    {},
    [[]],
    {"": None},
    [None],
    [1, 2],
    [0, 0],
    {"value": None, "source": ""},
)

_NUMBERS = (0, 1, 2, 9, 10**4, 10**9, 2**53 + 1, 10**15, 2**63 - 1)
# Most of them alike, so that it stays a record whose values do not fit together.
_KINDS = (*("alike",) * 8, "drop", "replace", "wrap", "nest", "double", "rename", "swap")


@st.composite
def mutated(draw: st.DrawFn, is_serve: bool = False) -> dict[str, Any]:
    """A golden record, or that of a serve end, of which some values are missing, others, elsewhere or nested."""
    fields = served() if is_serve else golden(draw(st.sampled_from(sorted(RUNS))))
    for _ in range(draw(st.integers(1, 4))):
        places = list(leaves(fields))
        if not places:
            break
        path = places[draw(st.integers(0, len(places) - 1))]
        _CHANGES[draw(st.sampled_from(_KINDS))](draw, fields, path)
    return fields


Change = Callable[[st.DrawFn, dict[str, Any], Path_], None]


def _drop(_draw: st.DrawFn, fields: dict[str, Any], path: Path_) -> None:
    del at(fields, path[:-1])[path[-1]]


def _replace(draw: st.DrawFn, fields: dict[str, Any], path: Path_) -> None:
    at(fields, path[:-1])[path[-1]] = copy.deepcopy(draw(st.sampled_from(REPLACEMENTS)))


def _alike(draw: st.DrawFn, fields: dict[str, Any], path: Path_) -> None:
    """Puts another value of the same type there; null for an object, or what may be null."""
    value, within, key = at(fields, path), at(fields, path[:-1]), path[-1]
    if isinstance(value, bool):
        within[key] = not value
    elif isinstance(value, int):
        within[key] = draw(st.sampled_from(_NUMBERS))
    elif isinstance(value, float):
        within[key] = draw(st.sampled_from((0.0, 1e-30, 1e-9, 0.5, 1.0, 1e9, 9e18)))
    elif isinstance(value, str):
        within[key] = draw(st.sampled_from(TEXTS))
    elif isinstance(value, list):
        within[key] = value[: draw(st.integers(0, len(value)))]
    else:
        within[key] = draw(st.sampled_from((None, 0, 1)))


def _wrap(_draw: st.DrawFn, fields: dict[str, Any], path: Path_) -> None:
    at(fields, path[:-1])[path[-1]] = [at(fields, path)]


def _nest(draw: st.DrawFn, fields: dict[str, Any], path: Path_) -> None:
    value: Any = at(fields, path)
    for _ in range(draw(st.sampled_from((2, 30, 40)))):
        value = {"a": value}
    at(fields, path[:-1])[path[-1]] = value


def _double(_draw: st.DrawFn, fields: dict[str, Any], path: Path_) -> None:
    within = at(fields, path[:-1])
    if isinstance(within, list):
        within.append(copy.deepcopy(at(fields, path)))


def _rename(draw: st.DrawFn, fields: dict[str, Any], path: Path_) -> None:
    within = at(fields, path[:-1])
    if isinstance(within, dict):
        within[draw(st.sampled_from(TEXTS))] = within.pop(path[-1])


def _swap(draw: st.DrawFn, fields: dict[str, Any], path: Path_) -> None:
    """Puts another part of the record there."""
    places = list(leaves(fields))
    other = places[draw(st.integers(0, len(places) - 1))]
    at(fields, path[:-1])[path[-1]] = copy.deepcopy(at(fields, other))


_CHANGES: dict[str, Change] = {
    "alike": _alike,
    "drop": _drop,
    "replace": _replace,
    "wrap": _wrap,
    "nest": _nest,
    "double": _double,
    "rename": _rename,
    "swap": _swap,
}
