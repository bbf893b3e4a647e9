"""One browser for all tests of pages, and a server with headers of one's choice."""

from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadkit.report.as_html import as_html
from tests.browser.chromium import Chromium, Tab, find_chromium, started
from tests.pictured import PICTURED


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    program = find_chromium()
    if program is None:
        assert "LOADKIT_SKIP_NOTHING" not in os.environ, "chromium (Debian: chromium) is not installed"
        pytest.skip("chromium (Debian: chromium) is not installed")
    with started(program, tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="session")
def eye(chromium: Chromium) -> Tab:
    """A page that looks at pictures. It is opened first: one behind another is not drawn."""
    return chromium.tab()


@pytest.fixture
def tab(chromium: Chromium, eye: Tab) -> Iterator[Tab]:
    """A page in front."""
    tab = chromium.tab()
    yield tab
    tab.close()


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Writes the page of a run that never was, and returns where."""
    folder = tmp_path_factory.mktemp("pages")

    @functools.cache
    def write(name: str) -> Path:
        path = folder / f"{name.replace(' ', '-')}.html"
        path.write_text(as_html(PICTURED[name]()), encoding="utf-8")
        return path

    return write


Serve = Callable[[Path, dict[str, str]], str]


@pytest.fixture
def served() -> Iterator[Serve]:
    """Serves a file with these headers, and returns its address."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def serve(path: Path, headers: dict[str, str]) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = path.read_bytes()
                self.send_response(200 if self.path == f"/{path.name}" else 404)
                for name, value in {"Content-Type": "text/html; charset=utf-8", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_words: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}/{path.name}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
