"""What `--first` and `--first-expect` ask for, and what a record has of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from loadkit.errors import OptionError
from loadkit.host import read_host
from loadkit.plan.build import Plan, build_plan
from loadkit.plan.engine import ChosenEngine
from loadkit.plan.target import Target
from loadkit.profile.engines import EngineName
from loadkit.profile.read import load_profile
from loadkit.profile.setup import MOST_STEP_BYTES, MOST_STEPS
from loadkit.profile.spell import as_given, option_words
from loadkit.report.writing import encode
from loadkit.wire.check import NOTHING, Judging, JudgingKind
from loadkit.wire.coded import Coded
from loadkit.wire.delimited import Delimited
from loadkit.wire.setup import Step

_SECRET = "hunter2"


def _plan(*first: str, expect: tuple[str, ...] = (), check: tuple[str, ...] = ()) -> Plan:
    options = {"first": first, "first_expect": expect, "first_check": check}
    profile, sources = load_profile(None, options)
    target = Target("127.0.0.1", ("127.0.0.1",), 7000)
    return build_plan(
        profile, sources, read_host(), target, ChosenEngine(EngineName.ASYNCIO), options=as_given(options)
    )


def test_each_text_has_its_reply_and_a_line_without_being_told() -> None:
    line, coded, nothing = _plan("", r"EHLO me\r\n", r"\x00", expect=("line", "line-code", "none")).setup
    assert line.sends == b""
    assert isinstance(line.rule, Delimited)
    assert coded.sends == b"EHLO me\r\n"
    assert isinstance(coded.rule, Coded)
    assert nothing == Step(b"\0", None)
    assert {type(step.rule) for step in _plan("a", "hex:00", "base64:AA==").setup} == {Delimited}


def test_a_reply_may_have_to_begin_in_a_certain_way() -> None:
    checked, free = _plan("a", "b", check=(r"starts:+OK\r", "none")).setup
    assert (checked.judging, free.judging) == (Judging(JudgingKind.STARTS, b"+OK\r"), NOTHING)
    assert [one.check for one in _plan("a", "b", check=("starts:+OK", "none")).load.setup] == ["starts:+OK", "none"]


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (("ends:x",), "^--first-check: expected none, same, starts:TEXT or contains:TEXT, .*, got 'ends:x'"),
        (("exact",), "^--first-check: expected .*, got 'exact': nothing comes back as it was sent$"),
        ((r"starts:\q",), r"^--first-check: column 1: unknown escape \\q"),
        (("none", "none"), "^--first-check: 2 for 1 --first; give one for each --first, or none: then a reply may be"),
    ],
)
def test_a_check_that_cannot_be_is_refused_in_one_line(check: tuple[str, ...], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        _plan("a", check=check)


def test_a_file_is_said_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "login").write_bytes(b"AUTH \\r{x}\0")
    assert _plan(f"@{tmp_path / 'login'}").setup[0].sends == b"AUTH \\r{x}\0"


@pytest.mark.parametrize(
    ("first", "expect", "said"),
    [
        pytest.param((r"a\q",), (), r"^--first: column 2: unknown escape \\q", id="an escape"),
        pytest.param(("{n}",), (), r"^--first: column 1: no field can stand here", id="a field"),
        pytest.param(
            ("@/nowhere/at all",), (), r"^--first: @/nowhere/at all cannot be read: No such file", id="a file"
        ),
        pytest.param(("@a\0b",), (), r"^--first: @a.*b cannot be read: .*null", id="no name of a file"),
        pytest.param(("a", "b"), ("line",), "^--first-expect: 1 for 2 --first; give one for each", id="too few"),
        pytest.param((), ("line",), "^--first-expect: given without a --first; give one", id="of nothing"),
        pytest.param(("a",), ("lines",), "^--first-expect: expected .*; did you mean line", id="a typing error"),
        pytest.param(("a",), ("echo",), "^--first-expect: .*'echo', which does not say where a reply ends$", id="echo"),
        pytest.param(("",), ("none",), "^--first: '' says nothing, and .* waits for nothing", id="nothing at all"),
        pytest.param(("a",) * (MOST_STEPS + 1), (), "^--first: 65 are given; at most 64 can be$", id="too many"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(first: tuple[str, ...], expect: tuple[str, ...], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        _plan(*first, expect=expect)


def test_a_file_that_is_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(bytes(MOST_STEP_BYTES + 1))
    with pytest.raises(OptionError, match=r"^--first: @.*long has more than 1 MiB$"):
        _plan(f"@{tmp_path / 'long'}")


def test_what_is_said_is_nowhere_but_in_the_plan(tmp_path: Path) -> None:
    (tmp_path / "login").write_text(_SECRET)
    plan = _plan("", rf"AUTH {_SECRET}\r\n", f"@{tmp_path / 'login'}")
    printed = encode(plan.shown)
    assert _SECRET not in printed
    assert f"{_SECRET.encode()!r}" not in printed
    digest = hashlib.sha256(f"AUTH {_SECRET}\r\n".encode()).hexdigest()[:8]
    said = [one["text"] for one in json.loads(printed)["load"]["setup"]]
    assert said == [
        "",
        f"*** (14 B, sha256 {digest})",
        f"*** (7 B, sha256 {hashlib.sha256(b'hunter2').hexdigest()[:8]})",
    ]
    # The command that repeats the run says it no more than that, but knows the file.
    assert option_words(plan.given.options) == ["--first", "", "--first", "***", "--first", f"@{tmp_path / 'login'}"]


def test_runs_that_say_the_same_have_the_same_load() -> None:
    assert _plan("a").load == _plan(r"\x61").load != _plan("b").load
