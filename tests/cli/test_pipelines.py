"""The pipelines: those that docs/ci.md shows, and loadkit's own."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Serve
from tests.pages import ROOT, blocks, chapter

from .conftest import Loadkit

WORKFLOW = ROOT / ".github/workflows/ci.yml"
EXAMPLES = [block for block in blocks(chapter("ci", "In your pipeline")) if block.language]
GITHUB, GITLAB, _DOCKER = (text for _language, text in EXAMPLES)


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _texts(child)


def _blasts(example: str, language: str) -> list[list[str]]:
    """The arguments of each `loadkit blast` of an example, as its shell would have them."""
    texts = [example] if language == "sh" else _texts(yaml.safe_load(example))
    words = [shlex.split(text, comments=True) for text in texts if re.search(r"loadkit\s[\s\\\\]*blast", text)]
    return [line[line.index("blast") :] for line in words]


def test_each_example_says_what_it_is_written_in() -> None:
    assert [language for language, _text in EXAMPLES] == ["yaml", "yaml", "sh"]


@pytest.mark.slow
@pytest.mark.parametrize(("language", "example"), EXAMPLES, ids=["GitHub", "GitLab", "docker"])
def test_loadkit_takes_the_command_lines_of_the_examples(loadkit: Loadkit, language: str, example: str) -> None:
    blasts = _blasts(example, language)
    assert len(blasts) == 1
    # No such host here.
    [arguments] = [[word.replace("app:7000", "127.0.0.1:7000") for word in line] for line in blasts]
    assert arguments.count("-o") == example.count("-o ") > 0
    done = loadkit(*arguments, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert loadkit(*arguments, "--no-such-option", "--dry-run").returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize(("language", "example"), EXAMPLES, ids=["GitHub", "GitLab", "docker"])
def test_the_examples_leave_what_they_promise(
    loadkit: Loadkit, serve: Serve, tmp_path: Path, language: str, example: str
) -> None:
    [arguments] = _blasts(example, language)
    target = f"127.0.0.1:{serve().port}"
    here = [target if word.endswith(":7000") else word.removeprefix("/out/") for word in arguments]
    smaller = ("-c", "20", "-R", "200", "-d", "300ms", "--warmup", "0s", "--no-progress")
    done = loadkit(*here, *smaller, env={"GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")})
    assert done.returncode in (0, 3, 4), done.stderr  # 3 and 4: a machine too busy for the SLO, or to send on time
    assert "loadkit-record" in (tmp_path / "run.json").read_text()
    written = {word for word in here if word.startswith("run.")} | ({"summary.md"} if "--github" in here else set())
    assert written <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schema", "example"), [("github-workflows", GITHUB), ("gitlab-ci", GITLAB)], ids=["GitHub", "GitLab"]
)
def test_the_examples_are_what_their_system_reads(tmp_path: Path, schema: str, example: str) -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    # The last one is broken, so that one can see that the schema looks.
    for text, status in ((example, 0), (re.sub("(steps|script):", "stages:", example), 1)):
        (tmp_path / "ci.yml").write_text(text)
        done = subprocess.run([*check, "ci.yml"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == status, done.stdout + done.stderr


def test_every_step_of_our_workflow_is_a_make_target_or_a_pinned_action() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    steps = [step for job in jobs for step in job["steps"]]
    runs = {step["run"].removeprefix("make ") for step in steps if "run" in step} - {'"$TARGET"'}
    runs |= {target for job in jobs for target in job.get("strategy", {}).get("matrix", {}).get("target", ())}
    without_dockerfile = set() if (ROOT / "Dockerfile").exists() else {"test-image"}
    assert runs - targets == without_dockerfile
    # What has to pass before anything lands is run there too.
    assert set(re.findall(r"^make ([a-z-]+)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)) - runs == set()
    uses = [step["uses"] for step in steps if "run" not in step]
    assert [name for name in uses if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", name)] == []


def test_our_workflow_tests_every_python_that_the_package_names() -> None:
    matrix = yaml.safe_load(WORKFLOW.read_text())["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert matrix == ["3.11", "3.12", "3.13", "3.14"]
    assert f'requires-python = ">={matrix[0]}"' in (ROOT / "pyproject.toml").read_text()
