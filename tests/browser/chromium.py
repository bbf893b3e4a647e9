"""A real Chromium without a window, driven over its debugging pipe (DevTools protocol), with the network cut."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Chromium", "Tab", "find_chromium", "started"]

# Whoever waits longer for an answer has hung; a machine may be busy.
_PATIENCE_S = 60
# The browser reads commands from this descriptor and writes answers to that one.
_COMMANDS, _ANSWERS = 3, 4
_OPTIONS = (
    "--headless",
    "--no-sandbox",  # root, in a container
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    # No name resolves but this machine's own address.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)


def find_chromium() -> str | None:
    """Returns where it is installed, None if it is not."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextlib.contextmanager
def started(program: str, folder: Path) -> Iterator[Chromium]:
    """Starts a browser whose files are in the folder, and ends it with all of its processes."""
    commands, write_end = os.pipe()
    read_end, answers = os.pipe()
    # Above the numbers that they are to have.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (commands, answers)]

    def become() -> None:
        os.dup2(high[0], _COMMANDS)
        os.dup2(high[1], _ANSWERS)

    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *_OPTIONS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(_COMMANDS, _ANSWERS),
            preexec_fn=become,
            start_new_session=True,
            env={**os.environ, "HOME": str(folder)},
        )
    for fd in (commands, answers, *high):
        os.close(fd)
    try:
        yield Chromium(read_end, write_end)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
        os.close(read_end)
        os.close(write_end)


class Chromium:
    """The browser's end of the pipe: commands with their results, and the events that came in between."""

    def __init__(self, read_end: int, write_end: int) -> None:
        self.events: list[dict[str, Any]] = []
        self._read_end, self._write_end = read_end, write_end
        self._numbers = itertools.count(1)
        self._buffer = b""

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Has a command carried out, and returns its result. Raises AssertionError if it fails."""
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        text = json.dumps(command).encode() + b"\0"
        while text:
            text = text[os.write(self._write_end, text) :]
        while True:
            message = self._next()
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                result: dict[str, Any] = message["result"]
                return result
            self.events.append(message)

    def wait_for(self, method: str, session: str) -> dict[str, Any]:
        """Returns the next event of that name, one that has come already or one to come."""
        while True:
            for at, event in enumerate(self.events):
                if event.get("method") == method and event.get("sessionId") == session:
                    return self.events.pop(at)
            self.events.append(self._next())

    def tab(self) -> Tab:
        """Opens an empty page of its own."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Tab(self, target, session)

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read_end], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(self._read_end, 1 << 20) if ready else b""
            assert part, "the browser has ended, or does not answer"
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


class Tab:
    """A page of the browser."""

    def __init__(self, browser: Chromium, target: str, session: str) -> None:
        self._browser, self._target, self._session = browser, target, session
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Has a command carried out for this page."""
        return self._browser.call(method, self._session, **parameters)

    def show(
        self, width: int = 1280, height: int = 900, *, dark: bool = False, paper: bool = False, script: bool = True
    ) -> None:
        """Sets how the page is looked at: its colours, on a screen or on paper, how wide, and with scripts or not."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="print" if paper else "screen", features=[scheme])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setScriptExecutionDisabled", value=not script)

    def open(self, url: str) -> None:
        """Opens an address, and returns once the page is there."""
        found = self.call("Page.navigate", url=url)
        assert "errorText" not in found, found
        self._browser.wait_for("Page.loadEventFired", self._session)

    def value(self, expression: str) -> Any:
        """Returns what a JavaScript expression comes to on the page; it works where the page's own scripts are off."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def picture(self, *, whole: bool = True) -> bytes:
        """Returns the page as PNG: all of it, or what can be seen at once."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def printed(self) -> bytes:
        """Returns the page as PDF."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"])

    def requested(self) -> list[str]:
        """Returns the addresses that the page has asked for."""
        return [event["params"]["request"]["url"] for event in self._events("Network.requestWillBeSent")]

    def complaints(self) -> list[str]:
        """Returns what the browser has logged: refused styles and scripts, errors."""
        return [event["params"]["entry"]["text"] for event in self._events("Log.entryAdded")]

    def close(self) -> None:
        """Closes the page."""
        self._browser.call("Target.closeTarget", targetId=self._target)

    def _events(self, method: str) -> list[dict[str, Any]]:
        self.call("Runtime.evaluate", expression="0")  # what came before has been read after it
        events = self._browser.events
        return [one for one in events if one.get("method") == method and one.get("sessionId") == self._session]
