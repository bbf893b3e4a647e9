"""What docs/python.md says of one's own server, as it stands there: its file is written, its commands are run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import blocks, chapter
from tests.ports import free_port

pytestmark = pytest.mark.slow

_CHAPTER = chapter("python", "Your own server under load")


def block(language: str) -> str:
    [found] = [block.text for block in blocks(_CHAPTER) if block.language == language]
    return found


@pytest.mark.parametrize("factory", ["Orders", "orders"])
def test_the_app_of_the_page_is_loaded_and_reported_by_its_own_commands(tmp_path: Path, factory: str) -> None:
    source = block("python")
    name = source.partition("\n")[0].removeprefix("# ")
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(source)
    script = block("sh")
    # A port that is free here, and less of a load, of which the last messages are waited for, however busy this machine
    # is; the SLO is not what is looked at.
    for shown, small in (
        (":7000", f":{free_port()}"),
        ("-c 1k -R 5k -d 30s", "-c 50 -R 500 -n 500"),
        ("shop.server:Orders", f"shop.server:{factory}"),
        ("p99<20ms", "p99<10s"),
    ):
        assert shown in script
        script = script.replace(shown, small)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert f"(shop.server:{factory}, " in done.stderr
    assert "serve end: 50 accepted" in done.stdout
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["messages"]["replied"] == record["messages"]["sent"] == 500
    assert record["errors"] == []
    assert json.loads((tmp_path / "serve.json").read_text())["server"]["errors"] == []
