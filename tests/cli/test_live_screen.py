"""`--live` on a terminal: what it shows, and that the terminal is what it was on every way out."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loadkit.cli.live_screen import pause_ns

from .conftest import Loadkit
from .tmux import Terminal, terminal

pytestmark = pytest.mark.slow

RUN = (
    "$LOADKIT blast --live -c 20 -w 2 -R 500 -d 10m --warmup 0 --slo 'latency.p99<5s' --slo 'latency.p50>5s' "
    "-o run.json"
)
AFTER = "; echo ended $?"
TAKEN, PUT_BACK = ["1", "0", "0"], ["0", "1", "1"]  # modes of the terminal


def shows_all(lines: list[str]) -> bool:
    """Whether a verdict, both objectives and a second of the run are on the screen."""
    text = "\n".join(lines)
    words = ("so far ", "SLO met ", "SLO missed ", "last second", "measured time", "replies/s", "blast 1", "serve 0")
    return all(word in text for word in words)


def is_on(lines: list[str]) -> bool:
    """Whether the panel is there, and the run in its measured phase."""
    return bool(lines) and lines[0].startswith("loadkit  hold, ") and lines[0].endswith("q stops")


def has_ended(lines: list[str]) -> bool:
    return any(re.search(r"ended \d+$", line) for line in lines)


def modes(screen: Terminal) -> list[str]:
    """Whether the terminal shows its other screen, has a cursor, and wraps lines."""
    return screen.state("alternate_on", "cursor_flag", "wrap_flag")


def settings(screen: Terminal, folder: Path, name: str) -> str:
    """The settings of the terminal, as stty(1) says them."""
    screen.run(f"stty -a > {name}; echo {name} is there")
    screen.wait_for(lambda lines: any(line.endswith(f"{name} is there") and "echo" not in line for line in lines))
    return (folder / name).read_text()


def pids(folder: Path) -> tuple[int, list[int]]:
    """The process that watches over the run in that folder, and its workers."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and Path(entry / "cwd").readlink() == folder:
                found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    parent = next(pid for pid in found if b"--live" in Path(f"/proc/{pid}/cmdline").read_bytes())
    forkers = [pid for pid, its_parent in found.items() if its_parent == parent]
    return parent, [pid for pid, its_parent in found.items() if its_parent in forkers]


def test_the_panel_fits_80_columns_and_24_rows_and_q_stops_the_run_gently(tmp_path: Path) -> None:
    with terminal(tmp_path) as screen:
        before = settings(screen, tmp_path, "before")
        screen.run(RUN + AFTER)
        lines = screen.wait_for(shows_all)
        assert len(lines) <= 24
        assert lines[0].startswith("loadkit  hold, ")
        assert lines[0].endswith("q stops")
        assert len(lines[0]) == 80
        assert any(line.startswith("asked 500/s, now ") for line in lines)
        assert any(line.startswith("open 20 of 20, ") for line in lines)
        assert any(line.startswith("SLO missed  latency.p50>5s  (") for line in lines)
        assert modes(screen) == TAKEN
        screen.press("q")
        lines = screen.wait_for(has_ended)
        assert modes(screen) == PUT_BACK
        assert any(line.endswith("ended 130") for line in lines)
        assert settings(screen, tmp_path, "after") == before


@pytest.mark.parametrize(
    ("way", "status"),
    [("SIGTERM", 143), ("SIGINT twice", 130), ("SIGKILL of a worker", 4), ("SIGHUP", 129), ("SIGQUIT", 131)],
)
def test_the_terminal_is_put_back_when_the_run_ends_by(way: str, status: int, tmp_path: Path) -> None:
    with terminal(tmp_path) as screen:
        screen.run("ulimit -c 0")  # SIGQUIT leaves no core
        before = settings(screen, tmp_path, "before")
        screen.run(RUN + AFTER)
        screen.wait_for(is_on)
        parent, workers = pids(tmp_path)
        if way == "SIGINT twice":
            screen.press("C-c", "C-c")  # at once: the next may find the shell
        elif way == "SIGKILL of a worker":
            os.kill(max(workers), signal.SIGKILL)
        else:
            os.kill(parent, signal.Signals[way])
        lines = screen.wait_for(has_ended)
        assert any(line.endswith(f"ended {status}") for line in lines)
        assert modes(screen) == PUT_BACK
        assert settings(screen, tmp_path, "after") == before


def test_it_is_put_back_by_the_third_signal_which_ends_the_process_at_once() -> None:
    code = (
        "import os, signal\n"
        "from loadkit.run.signals import Interrupts\n"
        "with Interrupts(is_command=True) as interrupts:\n"
        "    interrupts.at_exit = lambda: os.write(1, b'put back')\n"
        "    for _ in range(3):\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "os.write(1, b'not reached')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (130, b"put back")


def test_it_is_put_back_when_there_is_a_bug_in_the_panel(tmp_path: Path) -> None:
    (tmp_path / "buggy.py").write_text(
        "import loadkit.cli.panel as panel\n"
        "lines, panel.Panel.seen = panel.Panel.lines, 0\n"
        "def fail(self, *arguments):\n"
        "    panel.Panel.seen += 1\n"
        "    assert panel.Panel.seen < 3, 'a bug'\n"
        "    return lines(self, *arguments)\n"
        "panel.Panel.lines = fail\n"
        "import runpy; runpy.run_module('loadkit', run_name='__main__', alter_sys=True)\n"
    )
    with terminal(tmp_path) as screen:
        before = settings(screen, tmp_path, "before")
        screen.run(RUN.replace("$LOADKIT", f"{sys.executable} buggy.py") + AFTER)
        lines = screen.wait_for(has_ended)
        assert "AssertionError: a bug" in lines
        assert modes(screen) == PUT_BACK
        assert settings(screen, tmp_path, "after") == before


def test_one_that_goes_on_in_the_background_leaves_the_terminal_to_the_shell_and_ends(tmp_path: Path) -> None:
    with terminal(tmp_path) as screen:
        screen.run(RUN)
        screen.wait_for(is_on)
        parent, _workers = pids(tmp_path)
        os.kill(parent, signal.SIGSTOP)
        screen.wait_for(lambda lines: any("Stopped" in line for line in lines))
        screen.run("stty sane; bg; echo in the background")
        screen.wait_for(lambda lines: "in the background" in lines)
        screen.run("echo still there")  # what is typed is the shell's
        screen.wait_for(lambda lines: "still there" in lines)
        os.kill(parent, signal.SIGTERM)
        screen.run("wait %1; echo ended $?")
        lines = screen.wait_for(has_ended)
        assert any(line.endswith("ended 143") for line in lines)
        assert modes(screen) == PUT_BACK


def test_back_in_the_foreground_it_is_drawn_again_and_heeds_keys(tmp_path: Path) -> None:
    with terminal(tmp_path) as screen:
        screen.run(RUN)
        screen.wait_for(is_on)
        os.kill(pids(tmp_path)[0], signal.SIGSTOP)
        screen.wait_for(lambda lines: any("Stopped" in line for line in lines))
        screen.run("fg; echo ended $?")
        screen.wait_for(is_on)
        screen.press("q")
        lines = screen.wait_for(has_ended)
        assert any(line.endswith("ended 130") for line in lines)
        assert modes(screen) == PUT_BACK


def test_without_keys_it_says_what_stops_it(tmp_path: Path) -> None:
    with terminal(tmp_path) as screen:
        screen.run(f"{RUN} < /dev/null{AFTER}")
        screen.wait_for(lambda lines: bool(lines) and lines[0].endswith("Ctrl-C stops"))
        screen.press("C-c")
        lines = screen.wait_for(has_ended)
        assert any(line.endswith("ended 130") for line in lines)


def test_a_dumb_terminal_has_lines(tmp_path: Path) -> None:
    with terminal(tmp_path, environment={"TERM": "dumb"}) as screen:
        screen.run(f"{RUN.replace('10m', '1s')} --interval 500ms > report{AFTER}")
        lines = screen.wait_for(has_ended)
        assert any("--live: the terminal (TERM) is dumb; lines say how far" in line for line in lines)
        assert screen.state("alternate_on") == ["0"]


def test_it_follows_the_size_of_the_terminal(tmp_path: Path) -> None:
    with terminal(tmp_path, 120, 40) as screen:
        screen.run(RUN + AFTER)
        screen.wait_for(lambda lines: is_on(lines) and len(lines[0]) == 120)
        for columns, rows in ((60, 16), (30, 5), (100, 30)):
            screen.tmux("resize-window", "-t", "loadkit", "-x", str(columns), "-y", str(rows))
            lines = screen.wait_for(lambda lines, columns=columns: len(lines[0]) == columns)  # type: ignore[misc]
            assert lines[0].endswith("q stops")
            # Nothing is left of what was there before.
            assert sum("q stops" in line for line in lines) == 1
        screen.wait_for(shows_all)
        screen.press("q")
        screen.wait_for(has_ended)


def test_without_colours_there_are_none_and_without_utf_8_all_is_ascii(tmp_path: Path) -> None:
    with terminal(
        tmp_path, environment={"NO_COLOR": "1", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ) as screen:
        screen.run(RUN + AFTER)
        lines = screen.wait_for(shows_all, "-e")
        text = "\n".join(lines)
        assert re.findall(r"\x1b\[[0-9;]*(?:3[0-8]|4[0-8])[;m]", text) == []
        assert text.isascii()
        screen.press("q")
        screen.wait_for(has_ended)


def test_without_a_terminal_a_line_says_so_and_the_run_goes_on(loadkit: Loadkit) -> None:
    done = loadkit("blast", "--live", "-c", "1", "-w", "1", "-n", "1")
    assert done.returncode in (0, 4)
    assert "loadkit: --live: stderr is not a terminal; lines say how far the run is\n" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("other", ["--no-progress", "--quiet"])
def test_it_is_not_asked_for_together_with_showing_nothing(loadkit: Loadkit, other: str) -> None:
    done = loadkit("blast", "--live", other)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--live" in done.stderr
    assert other in done.stderr


@pytest.mark.parametrize(
    ("took_ms", "pause_s"),
    [
        pytest.param(1, 1.0, id="no oftener than each second"),
        pytest.param(15, 4.5, id="a third of a percent of a core"),
        pytest.param(90, 10.0, id="the first one, on a busy machine: the run has others"),
    ],
)
def test_a_verdict_costs_little_and_grows_no_older_than_ten_seconds(took_ms: int, pause_s: float) -> None:
    assert pause_ns(took_ms * 10**6) == pause_s * 10**9
