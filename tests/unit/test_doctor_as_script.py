from __future__ import annotations

import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from loadkit.doctor.as_script import as_script
from loadkit.doctor.check import examine
from loadkit.doctor.finding import Finding, Level
from tests.unit.examined import REMOTE, demanded


def _run(script: str, folder: Path) -> list[str]:
    """Runs the script in a shell whose `sysctl` writes down what it is given, and returns that."""
    fake = folder / "bin/sysctl"
    fake.parent.mkdir(exist_ok=True)
    fake.write_text('#!/bin/sh\nfor word; do printf "<%s>" "$word"; done\necho\n')
    fake.chmod(0o755)
    done = subprocess.run(
        ["sh", "-eu"],
        input=script,
        env={"PATH": f"{fake.parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_script_sets_what_is_to_be_mended_and_nothing_else(tmp_path: Path) -> None:
    demand = demanded(
        50_000,
        REMOTE,
        file_max=2000,
        nofile_hard=1000,
        conntrack_max=10,
        conntrack_used=5,
        tcp_mem_pages=(1, 2, 3),
        pid_max=32_768,
        tasks=1,
    )
    script = as_script(demand, examine(demand))
    assert _run(script, tmp_path) == [
        "<-w><fs.file-max=101000>",  # 1,000 in use + 2 x 50,000
        "<-w><net.netfilter.nf_conntrack_max=100005>",
        "<-w><net.ipv4.ip_local_port_range=1024 65535>",
        "<-w><net.ipv4.tcp_mem=25000 33333 50000>",
    ]
    assert "\n# not a sysctl: ulimit -Hn " in script
    assert "pid_max" not in script  # which is ok
    assert script.startswith("#!/bin/sh\n")


def test_a_sysctl_that_two_findings_ask_for_is_set_once(tmp_path: Path) -> None:
    sysctl = "kernel.pid_max=9"
    findings = [
        Finding(code, Level.FAIL, "1", "9", "too few", f"sysctl -w {sysctl}", (sysctl,)) for code in ("one", "two")
    ]
    script = as_script(demanded(1), findings)
    assert _run(script, tmp_path) == ["<-w><kernel.pid_max=9>"]
    assert "# two: 1; needed: 9" in script


def test_where_all_is_well_it_does_nothing(tmp_path: Path) -> None:
    demand = demanded(10)
    script = as_script(demand, examine(demand))
    assert script.endswith("# Nothing needs fixing.\n")
    assert _run(script, tmp_path) == []


@given(text=st.text(min_size=1, max_size=60))
def test_nothing_that_a_machine_says_becomes_a_command(text: str) -> None:
    findings = [Finding("code", Level.WARN, text, text, text, text)]
    script = as_script(demanded(1), findings)
    for line in script.splitlines():
        assert not line.strip() or line.startswith("#"), line


def test_what_every_finding_says_is_taken_by_a_shell() -> None:
    demand = demanded(
        10**6, REMOTE, churn_hz=10_000, file_max=1, nofile_hard=300, nr_open=300, somaxconn=1, tw_max=1, pid_max=1,
        threads_max=1, tasks=1, tcp_mem_pages=(1, 1, 1), memory_available_bytes=1, capabilities=0, epoll_watches=1,
        clock_source="hpet", governor="powersave", steal_share=0.5, source=("10.1.0.0/24",),
    )  # fmt: skip
    script = as_script(demand, examine(demand))
    subprocess.run(["sh", "-n"], input=script, text=True, check=True, timeout=10)
    assert script.count("sysctl -w ") > 5
