"""The pages on the files: docs/record.md and the JSON schemas, out of the structs themselves."""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from loadkit.report.algebra import rules_of
from loadkit.report.record import FORMAT, MINOR, VERSION, RunRecord
from loadkit.report.serve import FORMAT as SERVE_FORMAT
from loadkit.report.serve import VERSION as SERVE_VERSION
from loadkit.report.serve import ServeRecord

__all__ = ["record_page", "schema"]

_INTRODUCTION = f"""# The record of a run

`loadkit blast -o run.json` writes it and `loadkit report run.json` reads it: JSON, format `{FORMAT}`, version
{VERSION}.{MINOR}. [record.schema.json](record.schema.json) is its JSON Schema. `loadkit serve -o serve.json` writes the
record of a serve end, format `{SERVE_FORMAT}`, version {SERVE_VERSION}, whose schema is
[serve-record.schema.json](serve-record.schema.json).

This page is made from the code (`make docs`), so every field is here.

- Names are a promise. What comes later is added, with a higher `minor`; nothing is renamed. Ignore the keys that you
  do not know.
- Null means not measured, and never 0. Where it needs a reason, the field `<name>_missing` beside it has one.
- The unit is in the name: `_ns` are nanoseconds, `_s` seconds, `_bytes` bytes, `_per_s` per second, `_share` a part
  of 1. A histogram has a `unit` of its own. Other numbers are counts.
- The totals add up: `intended = sent + unsent` and `sent = replied + failed + unanswered`, in each phase and in all.
  The measured phases (kind `hold`) add up to `messages`, and the rows of `intervals` of a phase to the phase.
- *Merged* says what `loadkit report a.json b.json` makes of a field, where runs followed one another or went on side by
  side. What has no entry is taken whole.
"""


def record_page() -> str:
    """Returns docs/record.md."""
    run = _structs_of(RunRecord)
    serve = [struct for struct in _structs_of(ServeRecord) if struct not in run]
    parts = [_INTRODUCTION, "## The run\n", *map(_section, run), "## The serve end\n", *map(_section, serve)]
    return "\n".join(parts)


def schema(struct: type[msgspec.Struct]) -> str:
    """Returns the JSON Schema of a record, with the structs' own words as descriptions."""
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(struct)}
    return json.dumps(found, indent=2) + "\n"


def _structs_of(struct: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """Returns it and the structs in it, each once, as they come first."""
    found = [struct]
    for one in found:
        for hint in typing.get_type_hints(one).values():
            found += [inner for inner in _inside(hint) if inner not in found]
    return found


def _inside(hint: object) -> Iterator[type[msgspec.Struct]]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
    for part in typing.get_args(hint):
        yield from _inside(part)


def _section(struct: type[msgspec.Struct]) -> str:
    lines = [f"### {struct.__name__}\n", inspect.cleandoc(struct.__doc__ or ""), ""]
    hints = typing.get_type_hints(struct)
    if not hints:
        return "\n".join(lines)
    try:
        rules = {name: rule.says for name, rule in rules_of(struct).items()}
        lines += ["| field | type | merged |", "|---|---|---|"]
    except TypeError:  # taken whole where records are merged
        rules = {}
        lines += ["| field | type |", "|---|---|"]
    for name, hint in hints.items():
        merged = f" {rules[name]} |" if rules else ""
        lines.append(f"| `{name}` | {_type(hint)} |{merged}")
    return "\n".join([*lines, ""])


_PLAIN: dict[Any, str] = {
    int: "integer",
    float: "number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    Any: "any",
}


def _type(hint: Any) -> str:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _type(parts[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(part) for part in parts)
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin is tuple:
        return f"list of {_type(parts[0])}" if parts[-1] is Ellipsis else f"list of {len(parts)}: {_type(parts[0])}"
    if origin is dict:
        return f"by name: {_type(parts[1])}"
    if hint in _PLAIN:
        return _PLAIN[hint]
    name = getattr(hint, "__name__", str(hint))
    return f"[{name}](#{name.lower()})" if _is_struct(hint) else re.sub(r"\W+", " ", name)


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)
