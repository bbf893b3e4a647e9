"""Bad input gets one line that says what, where and how to mend it, the right exit status, and nothing half-written."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from .conftest import Loadkit

pytestmark = pytest.mark.slow

QUICK = ("-c", "10", "-n", "100")

# arguments of blast, exit status, what the line has to name
BAD_OPTIONS = [
    pytest.param(["-c", "0"], 2, ["--connections", "0", "1"], id="below-the-least"),
    pytest.param(["-c", "many"], 2, ["--connections", "whole number", "'many'"], id="not-a-number"),
    pytest.param(["--timeout", "10"], 2, ["--timeout", "unit"], id="a-duration-without-a-unit"),
    pytest.param(["-d", "-1s"], 2, ["--duration"], id="a-negative-duration"),
    pytest.param(["-R", "fast"], 2, ["--rate", "1k:10k"], id="not-a-rate"),
    pytest.param(["-R", "9" * 400], 2, ["--rate", "1k:10k"], id="an-infinite-rate"),
    pytest.param(["-R", "10:1k", "-n", "2k"], 2, ["--rate", "--messages", "--duration"], id="a-ramp-without-an-end"),
    pytest.param(["--arrivals", "exp"], 2, ["--arrivals exp needs a --rate"], id="random-arrivals-without-a-rate"),
    pytest.param(["--arrivals", "often"], 2, ["--arrivals", "'even', 'exp'", "'often'"], id="no-such-arrivals"),
    pytest.param(["--seed", "-1"], 2, ["--seed"], id="a-seed-below-0"),
    pytest.param(["--seed", "1e9"], 2, ["--seed", "whole number"], id="a-seed-that-is-no-whole-number"),
    pytest.param(["--think", "5"], 2, ["--think", "a duration such as 5ms", "exp:5ms"], id="a-pause-without-a-unit"),
    pytest.param(["--think", "exp:"], 2, ["--think: exp:MEAN: MEAN: expected a duration"], id="a-mean-of-nothing"),
    pytest.param(["--think", "exp:48h"], 2, ["--think", "is above the maximum of 2,592,000 s"], id="two-days"),
    pytest.param(["--think", "5ms", "-R", "1k"], 2, ["--think", "--rate"], id="pauses-beside-a-schedule"),
    pytest.param(
        ["127.0.0.1:7", "--think", "5ms", "--expect", "close"],
        2,
        ["--think", "--expect close"],
        id="pauses-after-an-end",
    ),
    pytest.param(["--think", "5ms", "-p", "4"], 2, ["--think", "--depth"], id="pauses-of-several-messages"),
    pytest.param(["--think", "5ms", "--lifetime", "0"], 2, ["--think", "--lifetime 0"], id="no-message-after-a-pause"),
    pytest.param(["-s", "0"], 2, ["--size"], id="an-empty-message"),
    pytest.param(["-p", "0"], 2, ["--depth"], id="no-depth"),
    pytest.param(["--engine", "warp"], 2, ["--engine", "uvloop"], id="no-such-engine"),
    pytest.param(["--source", "somewhere"], 2, ["--source", "10.0.0.0/28"], id="not-a-network"),
    pytest.param(
        ["--source", "::1"], 2, ["--source ::1", "IPv6", "127.0.0.1", "IPv4"], id="a-source-of-no-such-server"
    ),
    pytest.param(["[::1]:7", "--source", "127.0.0.2"], 2, ["127.0.0.2", "IPv4", "::1", "IPv6"], id="another-family"),
    pytest.param(
        ["[::1]:7", "--source", "::1", "--source", "127.0.0.2", "--dry-run"], 2, ["127.0.0.2", "::1"], id="one-of-two"
    ),
    pytest.param(["[fe80::1]:7"], 2, ["fe80::1", "link-local", "[fe80::1%eth0]:7"], id="no-zone"),
    pytest.param(["[fe80::1%nope]:7"], 1, ["fe80::1%nope", "ip link"], id="no-such-zone"),
    pytest.param(["--slo", "latency.p99"], 2, ["latency.p99"], id="an-slo-without-a-bound"),
    pytest.param(["--slo", "beauty>3"], 2, ["beauty"], id="an-slo-on-nothing-known"),
    pytest.param(["--slo", "held.p99<5ms"], 2, ["held.p99<5ms", "closed loop", "--rate"], id="an-slo-on-no-schedule"),
    pytest.param(["-R", "1k", "--slo", "lateness.p100<5ms"], 2, ["lateness.p100", "p99.9"], id="no-such-percentile"),
    pytest.param(["--no-such-option"], 2, ["--no-such-option"], id="no-such-option"),
    pytest.param(["-o", "run.xyz"], 2, ["run.xyz", ".json, .jsonl, .csv"], id="an-unknown-format"),
    pytest.param(["-o", "run.json", "-o", "run"], 2, ["run:", ".json, .jsonl"], id="no-format-beside-a-good-one"),
    pytest.param(["-o", "-", "-o", "-"], 2, ["--output", "- is given twice"], id="stdout-twice"),
    pytest.param(["--interval", "1ms"], 2, ["--interval", "below the minimum"], id="lines-too-often"),
    pytest.param(["-o", "run.json", "-o", "no/run.md"], 1, ["no/run.md"], id="no-such-folder-beside-a-good-file"),
    pytest.param(["--github", "-o", "run.json"], 2, ["GITHUB_STEP_SUMMARY is not set"], id="not-in-github-actions"),
    pytest.param(["-o", "no/such/folder/run.json"], 1, ["no/such/folder/run.json"], id="no-such-folder"),
    pytest.param(["-w", "11", "-c", "10"], 2, ["--workers"], id="more-workers-than-connections"),
    pytest.param(["not a target"], 2, ["HOST:PORT"], id="not-a-target"),
    pytest.param(["http://127.0.0.1:80/"], 2, ["HOST:PORT", "http://", "echo server"], id="a-url"),
    pytest.param(["127.0.0.1:70000"], 2, ["65535"], id="not-a-port"),
    pytest.param(["127.0.0.1:" + "7" * 5000], 2, ["65535"], id="a-port-of-5,000-digits"),
    pytest.param(["7" * 5000], 2, ["65535"], id="only-5,000-digits"),
    pytest.param(["-R", "7" * 5000], 2, ["--rate", "1k:10k"], id="a-rate-of-5,000-digits"),
    pytest.param(["-d", "7" * 5000 + "s"], 2, ["--duration"], id="a-duration-of-5,000-digits"),
    pytest.param(["--slo", f"latency.p99<{'7' * 5000}ms"], 2, ["latency.p99"], id="an-slo-of-5,000-digits"),
    pytest.param(
        ["--keepalive", "10h"], 2, ["--keepalive: 36,000 s", "32,767 s"], id="longer-than-the-kernel-keeps-alive"
    ),
    pytest.param(["no-such-host.invalid:7000"], 1, ["no-such-host.invalid", "resolve"], id="does-not-resolve"),
    pytest.param(["--profile", "smok"], 1, ["smok", "'smoke'"], id="no-such-profile"),
    pytest.param(["--profile", "mine.toml"], 1, ["mine.toml", "No such file"], id="no-such-profile-file"),
    pytest.param(["--profile", "burst", "-R", "1k"], 2, ["--rate", "profiles show burst"], id="overrules-a-phase"),
]


@pytest.mark.parametrize(("arguments", "status", "names"), BAD_OPTIONS)
def test_blast_refuses_in_one_line(
    loadkit: Loadkit, tmp_path: Path, arguments: list[str], status: int, names: list[str]
) -> None:
    done = loadkit("blast", *arguments)
    assert done.returncode == status, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stdout == ""
    for name in names:
        assert name in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_profile_with_a_typo_names_file_and_key(loadkit: Loadkit, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[[phases]]\nname = "hold"\nduraton = "1s"\n')
    done = loadkit("blast", "--profile", "mine.toml")
    assert done.returncode == 1
    assert done.stderr == "loadkit: mine.toml: phases[0].duraton: unknown key; did you mean 'duration'?\n"


def test_a_target_that_refuses_is_said_before_the_run(loadkit: Loadkit, tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        done = loadkit("blast", f"127.0.0.1:{port}", *QUICK, "-o", "run.json")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "Connection refused" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param(None, ["No such file"], id="missing"),
        pytest.param('{"format": "loadkit-record", "vers', ["run.json"], id="truncated"),
        pytest.param('{"format": "something-else", "version": 1}', ["loadkit"], id="another-format"),
        pytest.param('{"format": "loadkit-record", "version": 99}', ["99", "newer"], id="from-a-newer-version"),
    ],
)
def test_report_refuses_a_bad_record_in_one_line(
    loadkit: Loadkit, tmp_path: Path, text: str | None, names: list[str]
) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    done = loadkit("report", "run.json")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for name in ["run.json", *names]:
        assert name in done.stderr


def test_report_refuses_to_merge_records_of_unlike_plans_naming_the_key(loadkit: Loadkit, tmp_path: Path) -> None:
    assert loadkit("blast", *QUICK, "-o", "a.json").returncode == 0
    assert loadkit("blast", *QUICK, "-s", "100", "-o", "b.json").returncode == 0
    done = loadkit("report", "a.json", "b.json")
    assert done.returncode == 1
    assert "size" in done.stderr
    assert "64" in done.stderr
    assert "100" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert json.loads((tmp_path / "a.json").read_text())["format"] == "loadkit-record"
