"""A real Prometheus that scrapes an endpoint, and the value of an expression that it gives."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port

__all__ = ["Prometheus", "prometheus", "require"]

_PATIENCE_S = 60.0
_CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: loadkit
    static_configs: [{{targets: ["{target}"]}}]
"""


def require(program: str) -> None:
    """Skips the test if the program is missing, which it is nowhere where nothing may be skipped."""
    if shutil.which(program) is None:
        reason = f"{program} (Debian: apt install --no-install-recommends prometheus) is missing"
        assert not os.environ.get("LOADKIT_SKIP_NOTHING"), reason
        pytest.skip(reason)


class Prometheus:
    """One that runs, at `address`."""

    def __init__(self, address: str, process: subprocess.Popen[bytes]) -> None:
        self._address = address
        self._process = process

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Returns the labels and the value of each series; none while it does not answer yet."""
        assert self._process.poll() is None, "Prometheus has ended"
        words = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(f"http://{self._address}/api/v1/query?{words}", timeout=10) as answer:
                found: dict[str, Any] = json.load(answer)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return []
        return [(one["metric"], float(one["value"][1])) for one in found["data"]["result"]]

    def wait_for(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Returns them once there are some."""
        deadline = time.monotonic() + _PATIENCE_S
        while not (found := self.query(expression)):
            assert time.monotonic() < deadline, f"Prometheus has no {expression}"
            time.sleep(0.1)
        return found


@contextlib.contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """Runs one that scrapes the target once a second. A scrape that fails hides every series until the next."""
    require("prometheus")
    address = f"127.0.0.1:{free_port()}"
    (folder / "prometheus.yml").write_text(_CONFIG.format(target=target))
    options = (
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}",
    )
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(["prometheus", *options], stdout=log, stderr=log)
        try:
            yield Prometheus(address, process)
        finally:
            process.kill()
            process.wait()
