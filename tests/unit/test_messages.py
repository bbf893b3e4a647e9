"""What is asked to be sent, as a plan has it: sizes, pools, files; and what is refused before anything is opened."""

from __future__ import annotations

import hashlib
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec
import pytest

from loadkit.errors import OptionError
from loadkit.plan.build import Plan, build_plan
from loadkit.plan.messages import files_named, messages_of, script_of
from loadkit.plan.split import split
from loadkit.profile.contents import read_contents
from loadkit.profile.read import load_profile
from loadkit.run.pool import pool_of
from loadkit.wire.render import MOST_MESSAGES
from tests.golden.made_up import ENGINE
from tests.unit.made_up import made_up_host


def _plan(memory: int = 2**34, **options: Any) -> Plan:
    """Returns the plan of a run with these options, on a machine with so much memory."""
    profile, sources = load_profile(None, options)
    host = made_up_host(memory_available_bytes=memory)
    contents = read_contents("--send", files_named(profile.send), memory)
    return build_plan(profile, sources, host, None, ENGINE, contents=contents)


def test_messages_of_one_size_need_no_pool() -> None:
    load = _plan(size="1KiB").load
    assert (load.size_bytes, load.sizes, load.pool) == (1024, None, None)
    assert load.wire.script.size == 1024
    assert pool_of(load) is None


def test_sizes_that_differ_are_drawn_before_the_run() -> None:
    load = _plan(size="uniform:64B-4KiB").load
    assert (load.size_bytes, load.sizes) == (2080, "uniform:64B-4KiB")
    assert load.pool is not None
    assert load.pool.messages == MOST_MESSAGES
    script = pool_of(load)
    assert script is not None
    lengths = [end - begin for begin, end in zip((0, *script.ends), script.ends, strict=False)]
    assert (min(lengths), max(lengths)) == (64, 4096)
    assert fmean(lengths) == pytest.approx(2080, rel=0.01)
    assert script.starts == MOST_MESSAGES


def test_a_pool_is_what_the_plan_said() -> None:
    load = _plan(send=["get {n} {rand:1-100000}\\n", "put {hex:8}\\n"]).load
    assert load.pool is not None
    script = pool_of(load)
    assert script is not None
    assert len(script.ends) == load.pool.messages == MOST_MESSAGES
    assert len(script.content) / load.pool.messages == pytest.approx(load.pool.mean_bytes, rel=0.01)
    held = len(script.content) + 8 * len(script.ends) + 8 * len(script.patches) + 4 * len(script.ends)
    assert held == pytest.approx(load.pool.memory_bytes, rel=0.01)
    assert load.size_bytes == round(load.pool.mean_bytes)


def test_of_a_file_the_load_has_its_length_and_a_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("one").write_bytes(b"a secret")
    plan = _plan(send=["@one", "{choice:one}!"])
    [file] = plan.load.files
    assert (file.name, file.size_bytes, file.content) == ("one", 8, "***")
    assert hashlib.sha256(b"a secret").hexdigest().startswith(file.sha256)
    assert b"secret" not in msgspec.json.encode(plan)
    Path("one").write_bytes(b"another!")
    with pytest.raises(OptionError, match="--send: one has changed since the run was planned; run again"):
        pool_of(plan.load)


def test_a_shard_has_none_of_it() -> None:
    plan = _plan(send=["x" * 100_000, "{n} {uuid}"])
    assert all(len(msgspec.json.encode(shard)) < 10_000 for shard in split(plan.load, plan.here, 7000))


def test_the_seed_decides_what_is_in_a_pool_and_nothing_else() -> None:
    load = _plan(send=["{hex:8}"]).load
    assert load.pool is not None
    pool = msgspec.structs.replace(load.pool, messages=100)
    one, again, other = (script_of(load.send, {}, load.order, None, pool, seed) for seed in (1, 1, 2))
    assert bytes(one.content) == bytes(again.content)
    assert bytes(one.content) != bytes(other.content)
    assert list(one.ends) == list(other.ends)


def test_what_is_random_says_so() -> None:
    pools = [
        _plan(**options).load.pool
        for options in (
            {"send": ["{n}"]},
            {"send": ["a", "{uuid}"]},
            {"send": ["a"], "order": "random"},
            {"size": "exp:1k"},
        )
    ]
    assert [pool.is_random for pool in pools if pool] == [False, True, True, True]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"send": ["ok", "a\\q"]}, "--send 'a\\q': column 2: unknown escape \\q"),
        ({"send": ["get {nn}"]}, "--send 'get {nn}': column 5: unknown field {nn}: there are {n} {conn}"),
        ({"send": [""]}, "--send '': column 1: an empty message cannot be sent"),
        ({"send": ["@missing"]}, "--send: cannot read missing: No such file or directory"),
        ({"send": ["@empty"]}, "--send '@empty': column 2: the file is empty"),
        ({"send": ["@."]}, "--send: cannot read .: Is a directory"),
        ({"send": ["@a\0b"]}, "--send: a"),
        ({"send": ["@/dev/null"]}, "--send: /dev/null: it is no regular file, and is read twice"),
        ({"send": ["@large"]}, "--send: large: it has 1,000,000,000,000 bytes, and 17,179,869,184 bytes of memory"),
        ({"send": ["{choice:missing}"]}, "--send: cannot read missing: No such file or directory"),
        ({"send": ["{choice:empty}"]}, "{choice:empty}: the file has no line with anything in it"),
        ({"send": ["{rand:9-1}"]}, "column 1: {rand:9-1}: 9 is above 1"),
        ({"send": ["{bytes:0}"]}, "{bytes:0}: the size has to be from 1 B to 1 GiB"),
        (
            {"send": ["{bytes:1GiB}" * 9]},
            "--send: a pool of 1 message takes 9.00 GiB, and 18.0 GiB while it is made; 16 GiB of memory are available",
        ),
        ({"send": ["x"], "size": "64"}, "--send and -s exclude each other"),
        ({"order": "random"}, "--order: there is nothing to order without --send"),
        ({"size": "0"}, "--size: 0 B is below the minimum of 1 B"),
        ({"size": "uniform:0-9"}, "--size: uniform:A-B: A: 0 B is below the minimum of 1 B"),
        ({"size": "uniform:1-2GiB"}, "--size: 2 GiB is above the maximum of 1 GiB"),
        ({"size": "pareto:1"}, "--size: expected a size such as 64B or 4KiB, or uniform:64B-4KiB"),
    ],
)
def test_what_cannot_be_sent_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").touch()
    with Path("large").open("wb") as large:
        large.truncate(10**12)  # of holes
    with pytest.raises(OptionError) as caught:
        _plan(**options)
    assert said in str(caught.value)
    assert (caught.value.exit_status, len(str(caught.value).splitlines())) == (2, 1)


def test_a_text_of_a_profile_has_no_other_rules() -> None:
    profile, _ = load_profile(None, {"send": ["a {n}"]})
    assert messages_of(profile, {}).size_bytes == 12
