"""What of the image can be told without building it; tests/image/checks.py tries the rest."""

from __future__ import annotations

import re

import yaml

from loadkit import __version__
from loadkit.report.formats import FORMATS
from tests.pages import ROOT, chapter

DOCKERFILE = (ROOT / "Dockerfile").read_text()
CHAPTER = chapter("ci", "In a container")


def test_the_images_version_is_the_packages() -> None:
    assert re.findall(r'image\.version="(.*)"', DOCKERFILE) == [__version__]


def test_every_source_of_the_dockerfile_is_let_through_and_nothing_else_is() -> None:
    copied = [
        word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()
    ]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert sorted(copied) == sorted(line.removeprefix("!") for line in ignored if line.startswith("!"))
    assert "*" in ignored
    # What was compiled on this machine would go into the wheel instead of what the builder compiles.
    assert "**/*.so" in ignored
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_has_the_bytecode_of_every_format() -> None:
    source = (ROOT / "loadkit/report/formats.py").read_text()
    modules = set(re.findall(r"^    from (loadkit\.report\.as_\w+) import", source, re.MULTILINE))
    assert len(modules) == len(FORMATS) - 1  # the record's own module comes with any of them
    compiled = set(re.findall(r"loadkit\.report\.as_\w+", DOCKERFILE))
    assert modules <= compiled


def test_the_older_builder_can_build_it() -> None:
    assert re.findall(r"<<|--link|--mount|--start-interval|^# *syntax", DOCKERFILE, re.MULTILINE) == []


def test_the_stand_in_alone_knows_of_an_index() -> None:
    assert re.findall(r"index-url|trusted-host|PIP_|http:|https:", DOCKERFILE) == []


def test_the_two_containers_of_the_page_wait_for_health_and_leave_the_gate_to_blast() -> None:
    [text] = re.findall(r"^```yaml\n(.*?)^```$", CHAPTER, re.DOTALL | re.MULTILINE)
    services = yaml.safe_load(text)["services"]
    assert list(services) == ["serve", "blast"]
    assert services["blast"]["depends_on"] == {"serve": {"condition": "service_healthy"}}
    assert "--slo" in services["blast"]["command"]
    assert "up --exit-code-from blast" in CHAPTER
