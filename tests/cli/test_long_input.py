"""Input that is very long is cut in the error about it, whatever option, argument, variable or file it came by."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from loadkit.cli.app import app, run
from loadkit.report.formats import FORMATS

RECORD = str(Path(__file__).parents[1] / "golden" / "saturated.json")
# An argument has at most 128 KiB (MAX_ARG_STRLEN of include/uapi/linux/binfmts.h).
WORD, WORDS, QUOTES = "x" * 100_000, "xy " * 33_000, "x'y\" " * 20_000
# A word, and a text in quotation marks, is cut to some 400 characters. Other texts, such as names of files with blanks,
# are cut with the line that they stand in.
MOST = {WORD: 1_500, WORDS: 4_200, QUOTES: 4_200}
SHAPES = {WORD: "word", WORDS: "words", QUOTES: "quotes"}
# What comes before an option or an argument, so that it is the one that is refused.
BEFORE = {"blast": ["--dry-run"], "report": [RECORD]}
FREE = ("title", "send", "first")  # take any text


def _cases() -> Iterator[object]:
    for name, command in app.commands.items():
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                words = [name]
            elif isinstance(parameter, click.Option) and not parameter.is_flag and parameter.name not in FREE:
                words = [name, *BEFORE.get(name, ()), parameter.opts[-1]]
            else:
                continue
            for value, shape in SHAPES.items():
                yield pytest.param([*words, value], MOST[value], id=f"{name}-{parameter.name}-{shape}")
    yield pytest.param(["profiles", "show", WORD], MOST[WORD], id="profile-name")
    yield pytest.param(["blast", f"{WORD}:7000"], MOST[WORD], id="host")
    yield pytest.param(["serve", f"127.0.0.1:{'7' * 100_000}"], MOST[WORD], id="port")
    yield pytest.param([WORD], MOST[WORD], id="command")
    yield pytest.param(["blast", f"--{WORD}"], MOST[WORD], id="option")
    yield pytest.param(["ping", "127.0.0.1:7000", WORD], MOST[WORD], id="one-argument-too-many")


def complaint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Runs the command in this process, which refuses the words; returns its line."""
    monkeypatch.setattr(sys, "argv", ["loadkit", *words])
    with pytest.raises(SystemExit) as left:
        run()
    out, err = capsys.readouterr()
    assert left.value.code in (1, 2)
    assert out == ""
    [line] = err.splitlines()
    return line


@pytest.mark.parametrize(("words", "most"), list(_cases()))
def test_an_argument_is_cut_in_the_error_about_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], most: int
) -> None:
    assert len(complaint(monkeypatch, capsys, *words)) <= most


def test_a_variable_is_cut_and_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LOADKIT_BLAST_CONNECTIONS", WORD)
    line = complaint(monkeypatch, capsys, "blast", "--dry-run")
    assert line.startswith("loadkit: --connections (LOADKIT_BLAST_CONNECTIONS): expected a whole number")
    assert len(line) <= MOST[WORD]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"{WORD} = 1", id="key"),
        pytest.param(f"connections = '{WORD}'", id="value"),
        pytest.param(f"slo = ['{WORDS}']", id="objective"),
        pytest.param(f'[[phases]]\nname = "x"\nduration = "{WORDS}"', id="value of a phase"),
    ],
)
def test_what_a_profile_has_is_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str
) -> None:
    (tmp_path / "long.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    line = complaint(monkeypatch, capsys, "blast", "--dry-run", "--profile", "long.toml")
    assert len(line) <= MOST[WORD]
    assert "…" in line


def test_the_way_out_is_still_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(monkeypatch, capsys, "blast", "--rate", WORDS)
    assert line.startswith("loadkit: --rate: expected a rate such as 10k, or a ramp such as 1k:10k, got 'xy xy ")
    line = complaint(monkeypatch, capsys, "blast", "-o", WORD)
    assert line.endswith(f"the suffix chooses the format; use one of {', '.join(FORMATS)}")
