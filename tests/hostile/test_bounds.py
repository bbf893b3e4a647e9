"""A record costs no more memory and time than a large one does: what is too much is refused in one line."""

from __future__ import annotations

import base64
import json
import os
import resource
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadkit.report.merge import merge_records
from loadkit.report.reading import MOST_BYTES, load
from loadkit.report.record import RunRecord
from tests.hostile.records import golden
from tests.hostile.test_records import FORMATS
from tests.unit.odd_runs import row_of, with_rows

pytestmark = pytest.mark.slow

# Python with numpy maps 300 MB, the largest file that is read has 64 MiB, and what comes of it twice that.
MOST_MAPPED = 600 * 2**20
# Above what a report of a golden record takes.
MOST_MORE = 200 * 2**20

# Reports each line of stdin, a list of files, in one process: starting one takes a third of a second.
SCRIPT = """
import contextlib, io, json, re, sys
from pathlib import Path
from loadkit.cli.app import run

for line in sys.stdin:
    sys.argv = ["loadkit", "report", *json.loads(line)]
    out, err, status = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run()
        except SystemExit as left:
            status = left.code
    peak_kb = int(re.search("VmHWM: *([0-9]+)", Path("/proc/self/status").read_text().replace("\t", " "))[1])
    print(json.dumps([status, out.getvalue(), err.getvalue(), peak_kb]))
"""


def _packed(payload: bytes) -> str:
    body = zlib.compress(payload, 9)
    return base64.b64encode(struct.pack(">II", 0x1C849314, len(body)) + body).decode()


def _payload(words: bytes, highest: int = 60 * 10**9, digits: int = 3) -> bytes:
    return struct.pack(">IIIIQQd", 0x1C849313, len(words), 0, digits, 1, highest, 1.0) + words


Spoil = Callable[[dict[str, Any]], None]


def _put(value: object, *keys: str) -> Spoil:
    def put(fields: dict[str, Any]) -> None:
        for key in keys[:-1]:
            fields = fields[key]
        fields[keys[-1]] = value

    return put


def _hdr(blob: str, count: int | None = None) -> Spoil:
    def put(fields: dict[str, Any]) -> None:
        latency = fields["histograms"]["latency"]
        latency["hdr"] = blob
        latency["count"] = latency["count"] if count is None else count

    return put


def _many(count: int, what: Callable[[int], object], *keys: str) -> Spoil:
    """So many more of a list's or an object's values."""

    def put(fields: dict[str, Any]) -> None:
        for key in keys:
            fields = fields[key]
        if isinstance(fields, list):
            fields += [what(number) for number in range(count)]
        else:
            fields |= {f"x{number}": what(number) for number in range(count)}

    return put


_EMPTY = _packed(_payload(b""))
_NOTHING = {"unit": "ns", "count": 0, "sum": 0, "min": None, "mean": None, "max": None, "dropped": 0, "hdr": _EMPTY}
_NOTHING["percentiles"] = dict.fromkeys(("50", "90", "99", "99.9", "99.99", "99.999"))

# What is put into a record, and what the error has to name.
FIELDS: dict[str, tuple[Spoil, str]] = {
    "150 kB that inflate to 150 MB": (_hdr(_packed(bytes(150 * 2**20))), "inflates to more"),
    "counters without end": (_hdr(_packed(_payload(b"\x02" * 60_000))), "too many counters"),
    "a gap of 2^62 counters": (_hdr(_packed(_payload(b"\xff" * 8 + b"\x7f"))), "too many counters"),
    "a count of 2^62": (_hdr(_packed(_payload(b"\x80" * 8 + b"\x80")), 2**62), "too many counters, or values"),
    "a number that is cut off": (_hdr(_packed(_payload(b"\x82"))), "ends within a number"),
    "another precision": (_hdr(_packed(_payload(b"", digits=5))), "another range or precision"),
    "a range beyond 63 bits": (_hdr(_packed(_payload(b"", highest=2**64 - 1))), "another range or precision"),
    "no base64": (_hdr("!!!!"), "not an HdrHistogram V2"),
    "no histogram": (_hdr(""), "not an HdrHistogram V2"),
    "a number of 400 digits": (_put(10**400, "closing_ns"), "closing_ns"),
    "a number beyond 64 bits": (_put(2**70, "closing_ns"), "$.closing_ns: a number that is larger"),
    "a rate beyond all": (_put(1e308, "rates", "replies_per_s"), "$.rates.replies_per_s: a number that is larger"),
    "a rate next to 0": (_put(5e-324, "rates", "replies_per_s"), "$.rates.replies_per_s: a number that is too close"),
    "a negative count": (_put(-1, "messages", "sent"), "$.messages.sent: -1 is below 0"),
    "a truth for a number": (_put(True, "messages", "sent"), "$.messages.sent"),
    "null for an object": (_put(None, "rates"), "$.rates"),
    "a list for an object": (_put([1], "rates"), "$.rates"),
    "an object for a list": (_put({}, "phases"), "$.phases"),
    "40 objects deep": (_put(json.loads('{"a":' * 40 + "1" + "}" * 40), "host"), "nested more than 32 deep"),
    "3,000 histograms": (_many(3_000, lambda _: _NOTHING, "histograms"), "more than 2,000 histograms"),
    "5,000 runs": (_many(5_000, lambda number: f"r{number}", "run", "of"), "more than 4,000 runs"),
    "a text of 20,000 characters": (_put("x" * 20_000, "started"), "$.started: a text of more than 16,384 characters"),
    "no date": (_put("yesterday", "started"), "'yesterday' is no time"),
    "a date that has no UTC": (_put("0001-01-01T00:00:00+10:00", "started"), "is no time"),
}


def _started(text: str) -> Callable[[str], bytes]:
    """The record with `text`, read as Latin-1, in place of the time of its start."""
    return lambda record: record.replace('"2026-01-02T03:04:05.678+00:00"', text).encode("latin1")


# What stands in the file, of a record's text.
FILES: dict[str, tuple[Callable[[str], bytes], str]] = {
    "no UTF-8": (_started('"\xff"'), "damaged"),
    "no UTF-8 where nothing is read": (
        lambda record: record.replace("{", '{"x":"\xff",', 1).encode("latin1"),
        "damaged",
    ),
    "a lone surrogate": (_started('"\\udcff"'), "damaged"),
    "NaN": (_started("NaN"), "damaged"),
    "infinite": (_started("Infinity"), "damaged"),
    "a float beyond floats": (_started("1e999"), "damaged"),
    "a number of 6,000 digits": (_started("9" * 6000), "damaged"),
    "100,000 lists deep": (_started("[" * 100_000 + "]" * 100_000), "damaged"),
    "a byte order mark": (lambda record: record.encode("utf-8-sig"), "byte order mark of UTF-8"),
    "UTF-16": (lambda record: record.encode("utf-16"), "byte order mark of UTF-16"),
    "five million empty lists": (_started(f"[{'[],' * 5_000_000}1]"), "more than 4,000,000 values"),
    "too large": (lambda record: record.encode() + b" " * MOST_BYTES, "more than 64 MiB"),
}


def _write(folder: Path) -> dict[str, tuple[list[str], str]]:
    """Writes the files of each case, and returns their names and what the error has to say."""
    cases = {}
    for number, (name, (spoil, says)) in enumerate(FIELDS.items()):
        pair = golden("open_loop"), golden("open_loop")
        pair[1]["run"]["id"] = "other"
        pair[1]["started"] = "2026-01-02T04:04:05.678+00:00"
        spoil(pair[0])
        paths = [folder / f"{number}-{which}.json" for which in "ab"]
        for path, fields in zip(paths, pair, strict=True):
            path.write_text(json.dumps(fields))
        cases[name] = list(map(str, paths)), says
    text = json.dumps(golden("open_loop"))
    for name, (spoiled, says) in FILES.items():
        path = folder / f"{name}.json"
        path.write_bytes(spoiled(text))
        cases[name] = [str(path)], says
    return cases | {"a device without end": (["/dev/zero"], "more than 64 MiB")}


# Each of many workers was compared with all others, and each time that a run was measured with all times of another.
LARGE = {
    "8,000 workers": lambda fields: fields["workers"].extend(fields["workers"][:1] * 8_000),
    "4,000 runs": lambda fields: fields["run"].update(
        of=[f"{fields['run']['id']}-{number}" for number in range(4_000)],
        spans=[
            {"start": f"{fields['started'][:17]}{second:02}+00:00", "end": f"{fields['started'][:17]}{second:02}+00:00"}
            for second in [*range(60)] * 66
        ],
    ),
}


@pytest.mark.parametrize("name", LARGE)
def test_what_is_large_is_merged_in_no_more_time_than_it_has_values(tmp_path: Path, name: str) -> None:
    pair = golden("open_loop"), golden("open_loop")
    pair[1]["run"]["id"], pair[1]["started"] = "other", "2026-01-02T04:04:05.678+00:00"
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, fields in zip(paths, pair, strict=True):
        LARGE[name](fields)
        path.write_text(json.dumps(fields))
    one, other = map(load, map(str, paths))
    used_s = time.process_time()
    assert merge_records([one, other]).merged == 2
    # A second of CPU time; by pairs, twenty and more.
    assert time.process_time() - used_s < 10


def _peak_bytes(write: Callable[[RunRecord], str], rows: int) -> int:
    """The most memory that a format takes of a run with so many rows, beside the record."""
    ms = 10**6
    record = with_rows([ms] * 2 * rows, *(row_of(second, [ms] * 4) for second in range(2, 2 + rows)))
    tracemalloc.start()
    try:
        write(record)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", FORMATS)
def test_a_row_costs_a_format_no_more_memory_than_what_it_writes_of_it(name: str) -> None:
    _peak_bytes(FORMATS[name], 1)  # what is imported, and kept
    few, many = _peak_bytes(FORMATS[name], 20), _peak_bytes(FORMATS[name], 120)
    # A histogram has 90 kB: those of a day's rows would be 8 GB.
    assert (many - few) / 100 < 20_000


def test_what_is_too_much_is_refused_in_one_line_and_bounded_memory(tmp_path: Path) -> None:
    cases = _write(tmp_path)
    (tmp_path / "good.json").write_text(json.dumps(golden("open_loop")))
    asked = [[str(tmp_path / "good.json")], *(paths for paths, _ in cases.values())]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input="".join(f"{json.dumps(paths)}\n" for paths in asked),
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MOST_MAPPED, MOST_MAPPED)),
    )
    assert done.returncode == 0, done.stderr
    (status, out, err, usual_kb), *said = map(json.loads, done.stdout.splitlines())
    assert (status, err) == (0, ""), err
    assert out.startswith("valid: ")
    for (name, (_, says)), (status, out, err, peak_kb) in zip(cases.items(), said, strict=True):
        assert (status, out, err.count("\n")) == (1, "", 1), (name, status, out, err)
        assert err.startswith("loadkit: "), name
        assert says in err, (name, err)
        assert len(err) < 1_000, name
        assert (peak_kb - usual_kb) * 1024 < MOST_MORE, name
