"""How each field of a record is merged: the names of the rules. Every field has one: `Annotated[int, algebra.SUM]`.

fold.py carries the rules out, and docs/record.md prints what they say. Runs are put together in two ways, which some
rules tell apart: one after another, as one longer run, or side by side, as one larger load.
"""

from __future__ import annotations

import enum
import functools
import typing
from dataclasses import dataclass

import msgspec

__all__ = [
    "ANEW",
    "ANY",
    "AT_START",
    "COMMON",
    "EACH",
    "EARLIEST",
    "EITHER",
    "FIRST",
    "HELD",
    "JOINED",
    "LEAST",
    "LOST_TAGS",
    "MOST",
    "NAMES",
    "NONE_OF_SEVERAL",
    "OBJECTIVES",
    "ROWS",
    "SAME",
    "SERIES",
    "SERVE_END",
    "SPAN",
    "SUM",
    "TAGS",
    "TOGETHER",
    "UNION",
    "WINDOW_END",
    "Rule",
    "Way",
    "greatest_by",
    "mean_by",
    "of_most",
    "reason_of",
    "rows_by",
    "rules_of",
]


class Way(enum.Enum):
    """How two runs went on: one after another, or side by side."""

    AFTER = "one after another"
    BESIDE = "side by side"


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of a field in a merged record: the rule's name, what it does, and another field that it goes by."""

    name: str
    says: str
    of: str = ""


SUM = Rule("sum", "added; null if one of them is unknown")
SPAN = Rule("span", "added if they followed one another, the longer if side by side")
HELD = Rule("held", "the greater if they followed one another, added if side by side")
MOST = Rule("most", "the greatest that is known")
LEAST = Rule("least", "the least that is known")
EARLIEST = Rule("earliest", "the earliest")
SAME = Rule("same", "the same in all, else they are not merged")
FIRST = Rule("first", "that of the first record")
NAMES = Rule("names", "all of them, if they differ")
ANY = Rule("any", "true if it is true of one of them")
UNION = Rule("union", "those of all")
JOINED = Rule("joined", "those of all, in the order of the records")
SERIES = Rule("series", "put end to end if they followed one another, added row by row if side by side")
EACH = Rule("each", "field by field; null if one of them is unknown")
EITHER = Rule("either", "field by field; that of the others if one has none")
COMMON = Rule("common", "field by field; null if they have unlike names or values that have to be the same")
TOGETHER = Rule("together", "field by field, under the same names in all of them")
ROWS = Rule("rows", "rows with the same names are added")
SERVE_END = Rule("serve end", "field by field; once if all were joined with the same one; null if one is unknown")
NONE_OF_SEVERAL = Rule("none of several", "null: each of the runs has its own")
ANEW = Rule("anew", "worked out anew from the other fields")
TAGS = Rule("tags", "those that all of them have with the same value")
LOST_TAGS = Rule("lost tags", "the keys of tags that not all of them have with the same value, and why")
OBJECTIVES = Rule("objectives", "those of all, each once, checked against the sum")
AT_START = Rule("at start", "added; a run without a window counts with its peak")
WINDOW_END = Rule("window end", "the earlier start and both lengths if they followed one another, else the later end")


def greatest_by(field: str) -> Rule:
    """Returns the rule of a value that is taken whole: the value whose `field` is the greatest."""
    return Rule("greatest by", f"the one with the greatest `{field}`", field)


def mean_by(field: str) -> Rule:
    """Returns the rule of a mean over a count, which is `field` and stands before it."""
    return Rule("mean", f"the mean over all `{field}`", field)


def of_most(field: str) -> Rule:
    """Returns the rule of a value that belongs to a maximum: that of the record whose `field` is the greatest."""
    return Rule("of most", f"that of the record with the greatest `{field}`", field)


def rows_by(field: str) -> Rule:
    """Returns the rule of rows that are added if they have the same names, the most of `field` first."""
    return Rule(ROWS.name, f"{ROWS.says}, the most `{field}` first", field)


def reason_of(field: str) -> Rule:
    """Returns the rule of a field that says why `field` is null."""
    return Rule("reason", f"why `{field}` is null in the merged record", field)


@functools.cache
def rules_of(struct: type[msgspec.Struct]) -> dict[str, Rule]:
    """Returns the rule of each field, in their order. Raises TypeError for a field that has none or several."""
    hints = typing.get_type_hints(struct, include_extras=True)
    return {name: _rule(f"{struct.__name__}.{name}", hints[name]) for name in struct.__struct_fields__}


def _rule(field: str, hint: object) -> Rule:
    found = [one for one in getattr(hint, "__metadata__", ()) if isinstance(one, Rule)]
    if len(found) != 1:
        raise TypeError(f"{field} has {len(found)} merge rules, not one")
    return found[0]
