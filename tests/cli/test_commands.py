"""The commands when all is well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Loadkit

pytestmark = pytest.mark.slow

QUICK = ("-c", "20", "-d", "500ms", "--warmup", "100ms", "--no-progress")


def test_blast_without_a_target_brings_its_own_server(loadkit: Loadkit, tmp_path: Path) -> None:
    done = loadkit("blast", *QUICK, "-R", "500", "-o", "run.json")
    assert done.returncode in (0, 4), done.stderr  # 4: a machine too busy to send on time
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["connections"]["opened"] == 20
    assert record["messages"]["intended"] == 250
    assert record["server"]["accepted"] == 20
    assert "run.json" in done.stdout
    assert done.stderr == ""


def test_a_record_gives_the_same_report_again(loadkit: Loadkit, tmp_path: Path) -> None:
    first = loadkit("blast", *QUICK, "-o", "run.json")
    again = loadkit("report", "run.json")
    assert again.returncode == 0
    assert again.stdout == first.stdout


def test_a_record_goes_through_a_pipe(loadkit: Loadkit, tmp_path: Path) -> None:
    done = loadkit("blast", *QUICK, "-o", "-", "-o", "run.jsonl")
    (tmp_path / "piped.json").write_text(done.stdout)
    into_a_pipe = ("sh", "-c", 'cat piped.json | "$@"', "sh")
    again = loadkit("report", "/dev/stdin", "-o", "-", wrapper=into_a_pipe)
    assert json.loads(again.stdout) == json.loads(done.stdout)
    assert done.stderr.splitlines()[0] == again.stderr.splitlines()[0]
    head, *rows = map(json.loads, (tmp_path / "run.jsonl").read_text().splitlines())
    assert (head["run"], rows) == (json.loads(done.stdout)["run"], json.loads(done.stdout)["intervals"])


def test_two_runs_of_one_command_are_added_up(loadkit: Loadkit, tmp_path: Path) -> None:
    for name in ("one.json", "other.json"):
        loadkit("blast", "-c", "20", "-n", "2000", "-o", name)  # enough for a p99, however busy this machine is
    done = loadkit("report", "one.json", "other.json", "-o", "both.json")
    assert (done.returncode, done.stderr) == (0, "")
    one, other, both = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "other.json", "both.json"))
    assert both["messages"]["replied"] == one["messages"]["replied"] + other["messages"]["replied"] > 0
    for record in (one, other, both):
        assert record["histograms"]["latency"]["count"] == record["messages"]["replied"]
    for percentile in ("50", "90", "99"):
        *each, of_both = (record["histograms"]["latency"]["percentiles"][percentile] for record in (one, other, both))
        assert min(each) * 0.999 <= of_both <= max(each) * 1.001  # histograms have three digits


def test_a_missed_slo_exits_3_and_a_met_one_0(loadkit: Loadkit) -> None:
    closed = ("-c", "2", "-n", "100")
    assert loadkit("blast", *closed, "--slo", "errors==0").returncode == 0
    missed = loadkit("blast", *closed, "--slo", "errors==0", "--slo", "replies_per_s>=100m")
    assert missed.returncode == 3
    assert "replies_per_s>=100m" in missed.stdout


def test_a_quiet_run_prints_the_verdict_line_alone_and_on_stderr_why_it_is_not_valid(loadkit: Loadkit) -> None:
    done = loadkit("blast", *QUICK, "-q")
    [verdict] = done.stdout.splitlines()
    state = verdict.partition(":")[0]
    assert bool(done.stderr) is (state != "valid")
    assert [line for line in done.stderr.splitlines() if not line.startswith(f"loadkit: {state}: ")] == []


def test_a_quiet_run_says_on_stderr_which_objective_was_missed(loadkit: Loadkit) -> None:
    missed = loadkit("blast", *QUICK, "-q", "--slo", "errors==0", "--slo", "replies_per_s>=100m")
    assert missed.returncode in (3, 4)  # 4: a machine too busy for a valid run
    assert len(missed.stdout.splitlines()) == 1
    [line] = [line for line in missed.stderr.splitlines() if line.startswith("loadkit: SLO")]
    assert line.startswith("loadkit: SLO missed: replies_per_s>=100m (")


def test_a_rate_beyond_this_machine_exits_4_though_the_slo_holds(loadkit: Loadkit) -> None:
    # At depth 1 the server might be what is slow, which is not this end's fault.
    options = ("-c", "20", "-p", "1000", "-R", "500k", "-d", "1s", "--warmup", "0s", "--engine", "asyncio")
    done = loadkit("blast", *options, "--slo", "replies_per_s>0")
    assert done.returncode == 4
    assert done.stdout.startswith("invalid")


def test_dry_run_prints_the_plan_with_every_values_source_and_opens_nothing(loadkit: Loadkit) -> None:
    done = loadkit("blast", "127.0.0.1:9", "--profile", "steady", "-s", "100", "--dry-run")
    assert done.returncode == 0
    plan = json.loads(done.stdout)
    assert plan["load"]["size_bytes"] == 100
    assert plan["origins"]["load"]["size_bytes"] == "option"
    assert plan["origins"]["load"]["phases"] == "profile"
    assert plan["origins"]["load"]["timeout_ns"] == "default"
    assert sum(route["connections"] for route in plan["placements"][0]["routes"]) == plan["load"]["connections"]


def test_a_dry_run_prints_what_the_record_of_the_same_command_has(loadkit: Loadkit, tmp_path: Path) -> None:
    command = ("blast", "-c", "6", "-n", "60", "--opening", "8k", "--keepalive", "30s", "--slo", "errors==0")
    dry = json.loads(loadkit(*command, "--dry-run").stdout)
    loadkit(*command, "-o", "run.json")
    record = json.loads((tmp_path / "run.json").read_text())
    assert {name: record[name] for name in ("target", "load", "placements", "origins", "given")} == dry
    assert (dry["origins"]["load"]["opening"], dry["origins"]["load"]["keepalive_ns"]) == ("option", "option")
    assert "auto" not in {dry["placements"][0]["engine"], dry["placements"][0]["serve"]["engine"]}


def test_n_messages_are_sent_exactly(loadkit: Loadkit, tmp_path: Path) -> None:
    assert loadkit("blast", "-c", "7", "-n", "1000", "-o", "run.json").returncode == 0
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["messages"]["replied"] == 1000


def test_profiles_are_listed_and_shown(loadkit: Loadkit) -> None:
    names = [line.split()[0] for line in loadkit("profiles").stdout.splitlines()]
    assert names == ["burst", "c100k", "c10k", "c1m", "churn", "closed-loop", "many-idle", "ramp", "smoke", "steady"]
    assert "[[phases]]" in loadkit("profiles", "show", "ramp").stdout


def test_the_smoke_profile_runs(loadkit: Loadkit, tmp_path: Path) -> None:
    done = loadkit("blast", "--profile", "smoke", "-o", "run.json")
    assert done.returncode in (0, 4), done.stderr
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["messages"]["failed"] == 0
    assert record["origins"]["load"]["connections"] == "profile"


def test_doctor_exits_1_for_what_cannot_work(loadkit: Loadkit) -> None:
    assert loadkit("doctor", "-c", "100").returncode == 0
    cannot = loadkit("doctor", "-c", "500m")
    assert cannot.returncode == 1
    assert cannot.stdout.startswith("cannot: c=500,000,000")


def test_help_is_short_and_says_the_exit_statuses(loadkit: Loadkit) -> None:
    done = loadkit("--help")
    assert done.returncode == 0
    assert "an SLO was not met" in done.stdout


def test_sigterm_ends_a_command_that_does_not_run_anything_with_143(tmp_path: Path) -> None:
    pipe = tmp_path / "run.json"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [sys.executable, "-m", "loadkit", "report", str(pipe)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with pipe.open("w"):  # which waits for its reader
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (143, "", "")
