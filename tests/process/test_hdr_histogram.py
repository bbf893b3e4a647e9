"""HdrHistogram itself, the Java library, reads the interval log and prints the spectrum that we print."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from loadkit.report.as_hgrm import as_hgrm
from loadkit.report.as_hlog import as_hlog
from loadkit.report.record import RunRecord
from tests.unit.odd_runs import ODD_RUNS

pytestmark = pytest.mark.slow

_JAR = Path("/usr/share/java/hdrhistogram.jar")


def processed(record: RunRecord, tmp_path: Path, *options: str) -> str:
    """What its HistogramLogProcessor prints of the log, in the unit of the log."""
    if not (_JAR.exists() and shutil.which("java")):
        reason = "HdrHistogram (Debian: default-jre-headless, libhdrhistogram-java) is missing"
        assert "LOADKIT_SKIP_NOTHING" not in os.environ, reason
        pytest.skip(reason)
    log = tmp_path / "run.hlog"
    log.write_text(as_hlog(record))
    java = ("java", "-XX:TieredStopAtLevel=1", "-cp", str(_JAR), "org.HdrHistogram.HistogramLogProcessor")
    command = [*java, "-i", str(log), "-outputValueUnitRatio", "1", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def points_of(text: str) -> list[tuple[float, ...]]:
    """The lines of a spectrum that are numbers."""
    lines = [line.split() for line in text.splitlines()]
    return [tuple(map(float, line)) for line in lines if line and re.fullmatch(r"[0-9.]+", line[0])]


def last_lines(text: str) -> dict[str, float]:
    """Mean, StdDeviation, Max, Total count, Buckets and SubBuckets, by their names."""
    return {name: float(value) for name, value in re.findall(r"([A-Z][A-Za-z]+(?: count)?) *= +([0-9.]+)", text)}


@pytest.mark.parametrize("name", ["rows that are some of it", "merged", "saturated"])
def test_the_spectrum_of_the_log_is_that_of_the_record(name: str, tmp_path: Path) -> None:
    record = ODD_RUNS[name]()
    ours, theirs = as_hgrm(record), processed(record, tmp_path, "-tag", "hold.latency")
    # A log has maxima to three digits, a record exactly.
    highest = record.histograms["latency"].max  # type: ignore[union-attr]
    assert highest
    assert [(min(value, highest), *rest) for value, *rest in points_of(theirs)] == points_of(ours)
    mine, other = last_lines(ours), last_lines(theirs)
    for exactly in ("Total count", "Buckets", "SubBuckets"):
        assert mine[exactly] == other[exactly]
    for nearly in ("Mean", "StdDeviation", "Max"):
        assert mine[nearly] == pytest.approx(other[nearly], rel=2e-3)


def test_every_histogram_of_every_phase_is_found_by_its_tag(tmp_path: Path) -> None:
    record = ODD_RUNS["rows that are some of it"]()
    counts = {
        f"{phase.name}.{time}": histogram.count
        for phase in record.phases
        for time, histogram in phase.histograms.items()
        if histogram and histogram.count
    }
    assert {line.strip() for line in processed(record, tmp_path, "-listtags").splitlines()} >= counts.keys()
    for tag in ("ramp.connect", "hold.service", "hold.held"):
        assert last_lines(processed(record, tmp_path, "-tag", tag))["Total count"] == counts[tag]
