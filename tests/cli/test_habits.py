"""What people type who come from other tools, or who ask a command and its shell what there is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from loadkit.cli import hints
from loadkit.cli.app import app
from loadkit.cli.options import GroupedOption
from loadkit.profile.option import Group
from loadkit.version import __version__
from tests.pages import commands, page

from .conftest import Loadkit

COMMANDS = ["blast", "doctor", "help", "ping", "profiles", "report", "serve", "version"]


def said(*words: str) -> str:
    """Returns the line for words with an option that is not there."""
    with pytest.raises(click.NoSuchOption) as refused:
        app.main(list(words), "loadkit", standalone_mode=False)
    return hints.nearest_first(refused.value)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Returns what a command prints in this process."""
    app.main(list(words), "loadkit", standalone_mode=False)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "nearest"),
    [
        ("--rps", "-R/--rate"),
        ("--qps", "-R/--rate"),
        ("--json", "-o/--output"),
        ("--threads", "-w/--workers"),
        ("-t", "-w/--workers"),
        ("--concurrency", "-c/--connections"),
        ("--requests", "-n/--messages"),
        ("--port", "HOST:PORT, without an option"),
        ("--version", "`loadkit version`"),
    ],
)
def test_an_option_of_another_tool_is_refused_with_the_nearest_first(option: str, nearest: str) -> None:
    assert said("blast", option) == f"{option}: no such option; did you mean {nearest}?"


def test_a_slip_is_refused_with_the_nearest_first() -> None:
    assert said("blast", "--conections").startswith("--conections: no such option; did you mean -c/--connections")


def test_an_option_of_another_command_is_refused_with_that_command() -> None:
    assert said("blast", "--app", "x:y") == "--app: no such option; `loadkit serve` has it"
    assert (
        said("doctor", "--percentiles") == "--percentiles: no such option; `loadkit blast` and `loadkit report` have it"
    )


def test_what_every_report_has_is_said_before_the_options_that_are_about_it() -> None:
    every = "--latency: no such option; every report has latencies; did you mean --slo or --percentiles?"
    assert said("blast", "--latency") == every


def test_an_option_that_nothing_is_near_to_is_refused_without_a_guess() -> None:
    assert said("ping", "-c", "2") == "-c: no such option"
    assert said("report", "--rps") == "--rps: no such option"


def test_each_word_of_another_tool_stands_for_something_that_blast_has() -> None:
    there = {name for parameter in app.commands["blast"].params for name in parameter.opts}
    wanted = {name for names in hints._ELSEWHERE.values() for name in names if name.startswith("-")}
    assert wanted <= there
    assert not there & hints._ELSEWHERE.keys()  # it would never be asked for


@pytest.mark.parametrize("command", ["blast", "serve"])
def test_every_option_but_help_stands_in_a_group_of_the_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    text = printed(capsys, "help", command)
    headings = [line.removesuffix(":").lower() for line in text.splitlines() if line and line[0] != " "][1:]
    assert headings == [*(group for group in Group if command == "blast" or group != Group.LOAD), "other options"]
    others = text.partition("\nOther options:\n")[2].partition("\n\n")[0]
    # click keeps the names of --help from the first time that the command was asked, which need not have been here.
    assert others.replace("-h,", "").split() == ["--help", "Show", "this", "message", "and", "exit."]


def test_options_stand_in_the_group_that_they_are_about(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "help", "blast")
    load, connections = text.partition("\nLoad:\n")[2].split("\nConnections:\n")
    assert "-R, --rate" in load
    assert "--connect-rate" in connections
    shown = [option for option in app.commands["blast"].params if isinstance(option, GroupedOption)]
    assert all(text.count(f" {option.opts[-1]}") for option in shown)


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS), ("profiles", "list"), ("profiles", "show")])
def test_help_fits_a_terminal_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert [line for line in printed(capsys, "help", *words).splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("command", [*(name for name in COMMANDS if name != "version"), "profiles show"])
def test_every_command_s_help_has_examples_that_are_its_own(capsys: pytest.CaptureFixture[str], command: str) -> None:
    lines = printed(capsys, "help", *command.split()).partition("Examples:\n")[2].splitlines()
    assert any(line.startswith(f"    loadkit {command}") for line in lines)


def test_help_of_no_command_is_the_list_of_them_and_of_a_command_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(app.commands) == COMMANDS
    whole = printed(capsys, "help")
    assert all(f"\n  {name} " in whole for name in COMMANDS)
    assert printed(capsys, "help", "profiles", "show").startswith("Usage: loadkit profiles show [OPTIONS] NAME\n")
    with pytest.raises(click.UsageError, match=r"^loadkit has no command 'blats'; did you mean 'blast'\?$"):
        app.main(["help", "blats"], "loadkit", standalone_mode=False)
    with pytest.raises(click.UsageError, match=r"^loadkit blast has no command 'fast'; it has no commands$"):
        app.main(["help", "blast", "fast"], "loadkit", standalone_mode=False)


@pytest.mark.parametrize(
    ("word", "meant"),
    [("attack", "'blast'"), ("server", "'serve'"), ("blats", "'blast'"), ("reprot", "'report'"), ("show", "'report'")],
)
def test_a_command_of_another_tool_or_a_slip_is_refused_with_the_nearest(word: str, meant: str) -> None:
    with pytest.raises(click.UsageError) as refused:
        app.main([word, "--rps", "5"], "loadkit", standalone_mode=False)
    assert str(refused.value) == f"loadkit has no command {word!r}; did you mean {meant}?"


def test_a_word_that_no_command_is_near_to_is_refused_with_all_of_them() -> None:
    with pytest.raises(click.UsageError, match=r"^loadkit has no command 'xyz'; there are blast, doctor, "):
        app.main(["xyz"], "loadkit", standalone_mode=False)


def test_each_line_of_the_list_of_profiles_fits_a_terminal_of_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert [line for line in printed(capsys, "profiles").splitlines() if len(line) > 80] == []


def test_the_version_is_a_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "version") == f"loadkit, version {__version__}\n"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("blast --profile c1", ["c100k", "c10k", "c1m"]),
        ("blast --engine n", ["native"]),
        ("blast --connect-r", ["--connect-rate"]),
        (
            "blast -o out/run",
            [
                "out/run.json",
                "out/run.jsonl",
                "out/run.csv",
                "out/run.hlog",
                "out/run.hgrm",
                "out/run.html",
                "out/run.md",
            ],
        ),
        ("serve -o out/serve", ["out/serve.json", "out/serve.csv", "out/serve.html", "out/serve.md", "out/serve.om"]),
        ("blast -o run.m", ["run.md"]),
        ("profiles show st", ["steady"]),
        ("help bl", ["blast"]),
        ("ver", ["version"]),
    ],
)
def test_a_shell_completes_profiles_engines_formats_and_commands(words: str, offered: list[str]) -> None:
    *before, begun = words.split()
    found = ShellComplete(app, {}, "loadkit", "_LOADKIT_COMPLETE").get_completions(before, begun)
    assert [item.value for item in found if item.type == "plain"][: len(offered)] == offered


@pytest.mark.parametrize("words", ["blast --profile ./m", "blast -o run.json", "report r"])
def test_a_shell_completes_files(words: str) -> None:
    *before, begun = words.split()
    [item] = ShellComplete(app, {}, "loadkit", "_LOADKIT_COMPLETE").get_completions(before, begun)
    assert (item.type, item.value) == ("file", begun)


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in commands(page("commands")) if "_LOADKIT_COMPLETE" in line])
def test_the_lines_for_the_start_up_file_of_a_shell_are_what_it_reads(tmp_path: Path, line: str) -> None:
    # bash runs its line; what zsh and fish read from it is printed, since they need not be installed.
    shown = f"{line}; complete -p loadkit" if "bash" in line else re.sub(r'^eval "\$\(|\)"$| \| source$', "", line)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", shown],
        env={**os.environ, "PATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "_loadkit_completion" in done.stdout


@pytest.mark.slow
def test_what_the_shell_asks_for_is_printed(loadkit: Loadkit, tmp_path: Path) -> None:
    asked = {"_LOADKIT_COMPLETE": "bash_complete", "COMP_WORDS": "loadkit blast --profile stea", "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'loadkit'; from loadkit.__main__ import main; main()"],
        env={**os.environ, **asked},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "plain,steady\n", "")


@pytest.mark.parametrize(
    ("words", "check", "content"),
    [
        pytest.param(["--check"], True, "exact", id="the switch alone"),
        pytest.param(["--check", "127.0.0.1:7000"], True, "exact", id="a target behind the switch"),
        pytest.param(["--no-check", "127.0.0.1:7000"], False, "exact", id="switched off"),
        pytest.param(["--check", "none", "127.0.0.1:7000"], False, "exact", id="none"),
        pytest.param(["--check=starts:1", "--expect", "line"], True, "starts:1", id="a value"),
        pytest.param(["--check", "contains:a:1", "--expect", "line"], True, "contains:a:1", id="a value with a colon"),
        pytest.param(["--expect", "line"], False, "exact", id="nothing is known of a line"),
    ],
)
def test_check_is_a_switch_and_takes_a_value(
    words: list[str], check: bool, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    load = json.loads(printed(capsys, "blast", *words, "--dry-run"))["load"]
    assert (load["check"], load["content"]) == (check, content)
