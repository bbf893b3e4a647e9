"""Text is UTF-8 in files, whatever the locale, and what a terminal cannot show costs no run."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path

import pytest

from .conftest import Loadkit

pytestmark = pytest.mark.slow

# Python would otherwise take UTF-8 for the C locale (PEP 538, PEP 540).
_PLAIN = {"PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
# Locale -> (environment, what its output is read as).
LOCALES = {
    "C": ({"LC_ALL": "C", **_PLAIN}, "utf-8"),
    "latin-1": ({"LC_ALL": "C", "PYTHONIOENCODING": "latin-1", **_PLAIN}, "latin-1"),
    "C, as it is by default": ({"LC_ALL": "C"}, "utf-8"),
}
NAME = "caf\u00e9-\u2026.toml"
PROFILE = """
about = "Caf\u00e9 \u2026"
connections = 2
[[phases]]
name = "h\u00f6he \u2026"
duration = "200ms"
"""


def each(*names: str) -> pytest.MarkDecorator:
    """Runs a test in these locales."""
    return pytest.mark.parametrize(("locale", "encoding"), [pytest.param(*LOCALES[name], id=name) for name in names])


@each("C", "C, as it is by default")
def test_a_run_with_names_that_the_locale_lacks(
    loadkit: Loadkit, tmp_path: Path, locale: dict[str, str], encoding: str
) -> None:
    (tmp_path / NAME).write_text(PROFILE, encoding="utf-8")
    outputs = ("-o", "r\u00fcn.json", "-o", "run.md", "-o", "run.xml")
    done = loadkit("blast", "--profile", NAME, "-w", "1", *outputs, env=locale, encoding=encoding)
    assert (done.returncode in (0, 4), done.stderr) == (True, "")  # 4: a machine too busy
    record = json.loads((tmp_path / "r\u00fcn.json").read_text(encoding="utf-8"))
    assert record["phases"][1]["name"] == "h\u00f6he \u2026"
    assert NAME in json.dumps(record, ensure_ascii=False)
    for name in ("run.md", "run.xml"):
        (tmp_path / name).read_text(encoding="utf-8")
    again = loadkit("report", "r\u00fcn.json", env=locale, encoding=encoding)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.splitlines()[0] == done.stdout.splitlines()[0]


@each("C", "latin-1")
def test_a_plan_is_json_in_each_locale(loadkit: Loadkit, tmp_path: Path, locale: dict[str, str], encoding: str) -> None:
    (tmp_path / NAME).write_text(PROFILE, encoding="utf-8")
    done = loadkit("blast", "--profile", NAME, "--dry-run", env=locale, encoding=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["load"]["phases"][1]["name"] == "h\u00f6he \u2026"


def test_what_a_target_says_is_told_in_each_locale(loadkit: Loadkit) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(ConnectionResetError):
                connection.recv(65536)
                connection.sendall(b"-ERR " + b"a long story " * 20 + b"\r\n")
                connection.recv(65536)

        thread = threading.Thread(target=greet)
        thread.start()
        port = listener.getsockname()[1]
        done = loadkit("blast", f"127.0.0.1:{port}", "-c", "2", env=LOCALES["C"][0])
        thread.join()
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "\\u2026" in line
