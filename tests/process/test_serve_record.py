"""The serve end's own record, and both ends of one run in one report."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Serve

pytestmark = pytest.mark.slow


def loadkit(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadkit", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def test_both_ends_of_a_run_are_joined_and_others_are_refused(serve: Serve, tmp_path: Path) -> None:
    served = serve("-w", "2", "-o", str(tmp_path / "serve.json"))
    blast = ("-c", "50", "-R", "2k", "-d", "3s", "--warmup", "0s", "-q", "-o", "blast.json")
    assert loadkit(tmp_path, "blast", f"127.0.0.1:{served.port}", *blast).returncode in (0, 4)
    served.signal(signal.SIGTERM)
    status, said, _ = served.end()
    assert status == 0

    moved = sum(phase["bytes"]["sent"] for phase in json.loads((tmp_path / "blast.json").read_text())["phases"])
    alone = json.loads((tmp_path / "serve.json").read_text())
    again = loadkit(tmp_path, "report", "serve.json", "-o", "serve.md", "-o", "copy.json")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == said  # what it printed when it ended is the report of its record
    assert (tmp_path / "serve.md").read_text().startswith("## loadkit: served 50 connections")
    assert json.loads((tmp_path / "copy.json").read_text()) == alone
    assert (alone["format"], alone["version"]) == ("loadkit-serve-record", 1)
    assert alone["server"]["port"] == served.port
    assert (alone["plan"]["origins"]["workers"], alone["plan"]["origins"]["backlog"]) == ("option", "default")
    assert alone["server"]["accepted"] == sum(row["accepted"] for row in alone["intervals"]) == 50
    assert alone["server"]["bytes"] == {"sent": moved, "received": moved}
    assert sum(row["sent_bytes"] for row in alone["intervals"]) == moved
    assert len(alone["intervals"]) >= 3

    joined = loadkit(tmp_path, "report", "blast.json", "--server", "serve.json", "-o", "both.json")
    assert joined.returncode == 0, joined.stderr
    assert "serve end: 50 accepted" in joined.stdout
    assert "from its start to its end" in " ".join(joined.stdout.split())
    both = json.loads((tmp_path / "both.json").read_text())
    assert both["server"]["accepted"] == 50
    # Which of the two it was the kernel goes by its ticks for (kernel/sched/cputime.c, cputime_adjust): few fall here.
    assert sum(both["cpu_per_reply_ns"]["serve"].values()) > 0

    def refused(*arguments: str) -> str:
        done = loadkit(tmp_path, "report", *arguments)
        assert done.returncode in (1, 2)
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        return done.stderr

    assert "has its serve end already" in refused("both.json", "--server", "serve.json")
    (tmp_path / "port.json").write_text(json.dumps({**alone, "server": {**alone["server"], "port": served.port + 1}}))
    assert f"it served on port {served.port + 1}, and the run went to port {served.port}" in refused(
        "blast.json", "--server", "port.json"
    )
    (tmp_path / "old.json").write_text(json.dumps({**alone, "started": "2020-01-01T00:00:00+00:00"}))
    assert "not of this run: it served from 2020-01-01" in refused("blast.json", "--server", "old.json")
    assert "serve.json: the record of a serve end; report it alone" in refused("blast.json", "serve.json")
    assert "serve.json: the record of a serve end; report it alone" in refused("serve.json", "--server", "serve.json")
    assert "use one of .json, " in refused("serve.json", "-o", "serve.xml")
    assert "blast.json: not a loadkit serve record" in refused("blast.json", "--server", "blast.json")
    assert "give one RECORD" in refused("blast.json", "blast.json", "--server", "serve.json")


def test_with_the_record_on_stdout_the_report_is_on_stderr(serve: Serve, tmp_path: Path) -> None:
    served = serve("-w", "1", "-o", "-", "-o", str(tmp_path / "serve.md"))
    served.signal(signal.SIGTERM)
    status, out, err = served.end()
    assert status == 0
    assert json.loads(out)["format"] == "loadkit-serve-record"
    ready, *report = err.splitlines()
    assert "ready on" in ready
    assert report[0].startswith("served 0 connections")
    assert (tmp_path / "serve.md").read_text().startswith("## loadkit: served 0 connections")


def test_quiet_leaves_the_report_out_and_not_the_record(serve: Serve) -> None:
    served = serve("-w", "1", "-q", "-o", "-")
    served.signal(signal.SIGTERM)
    status, out, err = served.end()
    assert (status, err) == (0, "")
    assert json.loads(out)["server"]["accepted"] == 0


@pytest.mark.parametrize("output", ["serve.xml", "serve.jsonl"])
def test_a_format_that_a_serve_end_has_not_is_refused_before_it_listens(output: str, tmp_path: Path) -> None:
    done = loadkit(tmp_path, "serve", "127.0.0.1:0", "-o", output)
    assert (done.returncode, done.stdout) == (2, "")
    assert "use one of .json, " in done.stderr
