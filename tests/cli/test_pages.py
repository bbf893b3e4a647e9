"""Every command that README.md and docs/ show is one: read by the command's own options, or run."""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import shlex
import shutil
import subprocess
import threading
from pathlib import Path
from typing import ClassVar

import click
import pytest
from prometheus_client.parser import text_string_to_metric_families

from loadkit.cli.app import app
from loadkit.errors import OptionError
from tests.pages import PAGES, ROOT, blocks, chapter, commands, page, prose

from .conftest import Loadkit

SHOWN = [(name, line) for name in PAGES for line in commands(page(name))]
OURS = [(name, line) for name, line in SHOWN if re.search(r"\bloadkit( \S|$)", line)]
# Those in the sentences, but for `loadkit COMMAND …` and the like.
INLINE = [
    (name, code)
    for name in PAGES
    if name not in ("CHANGELOG", "SECURITY")
    for code in re.findall(r"`(loadkit (?:blast|serve|ping|doctor|report|profiles) [^`\n…]*)`", prose(page(name)))
    if not re.search(r"\b[A-Z]{2,}\b", code)
]
# What else stands in the blocks of a shell. `make readme` runs the README's own.
OTHERS = (
    "curl ",
    "_LOADKIT_COMPLETE=",
    "docker ",
    "echo ",
    "eval ",
    "kill ",
    "make ",
    "pip install ",
    "python3 ",
    "rm ",
    "until ",
)
COMMANDS = "|".join(app.commands)
# A run smaller than the one that is shown, for a busy machine: later options go before earlier ones.
SMALL = ("-c", "50", "-R", "500", "-d", "500ms", "--warmup", "0s", "--no-progress")


def words_of(line: str) -> list[str]:
    """Returns the words behind `loadkit` of a shell's line, without redirections; of `docker run … loadkit …` too."""
    words = shlex.split(re.split(r" > | &$| && ", line)[0])
    return words[words.index("loadkit") + 1 :]


def read_command(words: list[str], folder: Path) -> str:
    """Has the command read its options as it does for a run, which ends before it begins; returns what it prints.

    Raises click.ClickException or LoadkitError for words that it does not take.
    """
    name, *rest = words
    if name == "blast":
        rest = [*rest, "--dry-run"]
        with contextlib.redirect_stdout(None), contextlib.chdir(folder):
            app.main([name, *rest], standalone_mode=False)
    elif name.startswith("-"):
        app.main(words, standalone_mode=False)
    else:
        app.commands[name].make_context(name, rest)
    return name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the profile of one's own that docs/profiles.md shows."""
    [toml] = [block.text for block in blocks(page("profiles")) if block.language == "toml"]
    (tmp_path / "my.toml").write_text(toml)
    return tmp_path


def test_every_block_says_what_it_is_written_in() -> None:
    languages = {(name, block.language) for name in PAGES for block in blocks(page(name))}
    assert {language for _name, language in languages} <= {"console", "haproxy", "python", "sh", "text", "toml", "yaml"}
    # Python is run, and so has to stand where it is: test_python_page.py, test_app_page.py, test_protocols_page.py.
    assert {name for name, language in languages if language == "python"} <= {"python", "protocols", "CONTRIBUTING"}
    assert {name for name, language in languages if language == "yaml"} <= {"ci"}


def test_every_line_of_a_shell_is_a_command_that_is_known() -> None:
    assert len(OURS) > 30
    strange = [line for pair in SHOWN if pair not in OURS and not (line := pair[1]).startswith(OTHERS)]
    assert strange == []


@pytest.mark.parametrize(("name", "line"), [pair for pair in OURS if "_LOADKIT_COMPLETE" not in pair[1]] + INLINE)
def test_a_command_is_read_by_its_options(name: str, line: str, folder: Path) -> None:
    # A name of a server that is not on this machine, and a placeholder.
    read_command([word.replace("app:7000", "127.0.0.1:7000") for word in words_of(line)], folder)


def test_a_command_that_is_none_is_seen(folder: Path) -> None:
    for words in (
        ["blast", "--sped", "3"],
        ["blast", "-c", "many"],
        ["serve", "--rate", "5k"],
        ["doctor", "--no-such"],
    ):
        with pytest.raises((click.ClickException, OptionError)):
            read_command(words, folder)


OTHER_TOOLS = [
    code
    for row in re.findall(r"^\| .*? \| (`.*?) \|", page("coming-from"), re.MULTILINE)
    for code in re.findall(r"`(.*?)`", row)
]


@pytest.mark.parametrize("code", sorted(set(OTHER_TOOLS)))
def test_what_stands_for_an_option_of_another_tool_is_one_of_ours(code: str, folder: Path) -> None:
    read_command(words_of(code if code.startswith("loadkit") else f"loadkit blast {code}"), folder)


def test_every_make_target_that_is_shown_is_one() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = {
        target
        for name in PAGES
        for line in [*commands(page(name)), *re.findall(r"`([^`\n]+)`", prose(page(name)))]
        if (made := re.match(r"(?:[A-Z_]+=\S+ )*make ([a-z -]+)", line))
        for target in made[1].split()
    }
    assert shown - targets == set()
    assert {"demo", "test", "chaos", "bench"} <= shown


def _flags(command: click.Command) -> set[str]:
    return {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}


# Of docker, pytest, iperf3 and our own plugin.
FOREIGN = {"--cap-drop", "--cpus", "--cpuset-cpus", "--env", "--init", "--loadkit-record-dir", "--memory", "--network"}
FOREIGN |= {
    "--pids-limit",
    "--sysctl",
    "--ulimit",
    "--user",
    "--volume",
    "--exit-code-from",
    "--no-healthcheck",
    "--update-golden",
}


@pytest.mark.parametrize("name", [name for name in PAGES if name not in ("CHANGELOG", "coming-from")])
def test_every_option_that_the_prose_names_is_one(name: str) -> None:
    known = {"--help", "--version"}.union(*map(_flags, app.commands.values()), FOREIGN)
    named = {
        flag for code in re.findall(r"`([^`]+)`", prose(page(name))) for flag in re.findall(r"--[a-z][a-z-]+", code)
    }
    assert named - known == set()


@pytest.mark.slow
def test_the_first_run_of_the_readme_is_one(loadkit: Loadkit) -> None:
    [shown] = [block for block in blocks(chapter("README", "A first run")) if block.language == "console"]
    [line] = commands(chapter("README", "A first run"))
    done = loadkit(*words_of(line), *SMALL)
    assert done.returncode in (0, 3, 4), done.stderr  # 3 and 4: a machine too busy
    # What is shown is what it prints: the verdict with the same words, then the same lines in the same order.
    first, printed = done.stdout.split("\n", 1)
    said = re.sub(r", \d+ SLOs? missed$", "", first)  # a machine too busy for the objectives
    assert re.findall(r"[a-z]{3,}", said)[1:] == re.findall(r"[a-z]{3,}", shown.text.splitlines()[1])[1:]
    labels = [label for label in re.findall(r"^(SLO|[a-z]+)\b.*", shown.text, re.MULTILINE) if label != "valid"]
    assert labels == ["SLO", "SLO", "next", "target"]
    assert re.findall(r"^(SLO|next|target)\b", printed, re.MULTILINE) == labels
    # The whole of it is on the page of the report, with its lines in the order that they are printed in.
    whole = blocks(chapter("report", "How to read a report"))[0].text
    assert whole.startswith(shown.text.removesuffix("…\n"))
    lines = _labels(printed)
    order = [label for label in _labels(whole) if label in lines]
    assert order == [label for label in lines if label in order]
    assert {"target", "messages", "bytes", "CPU per reply", "wake-ups", "machine"} <= set(order)
    again = loadkit("report", "run.json")
    assert again.stdout.partition("\n")[0] == first


def _labels(text: str) -> list[str]:
    # An objective is met or not, and a worker has a number.
    return list(dict.fromkeys(re.findall(r"^(?!SLO)([A-Za-z][\w-]*(?: [a-zA-Z]+)*)  +\S", text, re.MULTILINE)))


class _Gateway(http.server.BaseHTTPRequestHandler):
    """Takes note of what is pushed, as a Pushgateway does."""

    pushed: ClassVar[list[tuple[str, str]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.pushed.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Says nothing."""


@pytest.mark.slow
def test_the_line_for_a_pushgateway_pushes_the_totals(loadkit: Loadkit, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        assert not os.environ.get("LOADKIT_SKIP_NOTHING"), "curl is missing"
        pytest.skip("curl is missing")
    [line] = [line for line in commands(page("metrics")) if line.startswith("curl ")]
    assert loadkit("report", str(ROOT / "tests/golden/open_loop.json"), "-o", "run.om").returncode == 0
    with http.server.HTTPServer(("127.0.0.1", 0), _Gateway) as gateway:
        threading.Thread(target=gateway.handle_request, daemon=True).start()
        here = line.replace("gateway.example:9091", f"127.0.0.1:{gateway.server_port}")
        subprocess.run(["sh", "-c", here], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    [(path, body)] = _Gateway.pushed
    assert path == "/metrics/job/blast"
    found = {one.name for family in text_string_to_metric_families(body) for one in family.samples}
    assert {"loadkit_messages_replied_total", "loadkit_latency_seconds_bucket", "loadkit_verdict"} <= found


@pytest.mark.slow
def test_the_objective_that_cannot_be_met_is_missed(loadkit: Loadkit) -> None:
    [line] = [line for name, line in OURS if name == "ci" and line.endswith("p99<1us'")]
    done = loadkit(*words_of(line), "--no-progress")
    assert done.returncode in (3, 4), done.stderr  # 4: a machine too busy to send
    assert re.search(r"^SLO MISSED +latency\.p99<1us", done.stdout, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for _name, line in OURS if re.search(r"loadkit (doctor|profiles)", line)])
def test_what_is_quick_is_run(loadkit: Loadkit, line: str) -> None:
    done = loadkit(*words_of(line))
    assert done.returncode in ((0, 1) if "doctor" in line else (0,)), done.stderr
    assert done.stdout
    assert "Traceback" not in done.stderr
