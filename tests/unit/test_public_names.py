"""The names of `import loadkit`: there when asked for, and typed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import loadkit
import loadkit.errors
from loadkit.cli.serve import serve
from loadkit.library.keywords import BlastOptions, ServeOptions
from loadkit.library.options import read_serve_options
from loadkit.profile.blast import Profile
from loadkit.profile.option import options_of


@pytest.mark.parametrize("name", loadkit.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(loadkit, name) is not None
    assert name in dir(loadkit)


def test_every_error_is_public() -> None:
    assert set(loadkit.errors.__all__) <= set(loadkit.__all__)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'blats'"):
        loadkit.blats  # noqa: B018 - asking for it is the test


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(loadkit.__file__).parent / "py.typed").exists()


def test_the_keywords_of_blast_are_the_options_of_the_command() -> None:
    assert BlastOptions.__annotations__.keys() == options_of(Profile).keys()


def test_the_keywords_of_serve_are_the_options_of_the_command() -> None:
    flags = {parameter.name for parameter in serve.params} - {"listen", "profile", "ready_file", "output", "quiet"}
    assert ServeOptions.__annotations__.keys() == flags
    # Each one can be read: None is one not given.
    assert read_serve_options(dict.fromkeys(ServeOptions.__annotations__)) == {"grace": 0}


_PROGRAM = """
import asyncio
import loadkit

async def main() -> None:
    async with loadkit.serve(workers=2, app=asyncio.Protocol) as server:
        record = await loadkit.blast(server, connections="10k", rate=2.5, slo=["errors==0"])
    reveal_type(record)
    reveal_type(loadkit.check(record, "errors==0")[0].ok)

loadkit.sync.blast(7000, conections=5)
loadkit.sync.blast(7000, engine="fast")
with loadkit.sync.serve(worker=2):
    pass
"""


@pytest.mark.slow
def test_a_type_checker_knows_the_options(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(_PROGRAM)
    root = Path(loadkit.__file__).parents[1]  # where mypy looks for packages, and keeps what it knows of them
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(tmp_path / "program.py")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=100)
    assert 'Revealed type is "loadkit.report.record.run.RunRecord"' in done.stdout
    assert 'Revealed type is "bool"' in done.stdout
    wrong = re.findall(
        r"program\.py:(\d+): error: .*\b(conections|fast|worker)\b.*\[([\w-]+)\]$", done.stdout, re.MULTILINE
    )
    assert wrong == [("11", "conections", "call-arg"), ("12", "fast", "arg-type"), ("13", "worker", "call-arg")]
    assert done.stdout.count("error:") == len(wrong)
