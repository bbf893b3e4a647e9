"""Takes the picture of a page that the documentation shows: `python picture.py run.html docs/report.png`."""

from __future__ import annotations

import base64
import sys
import tempfile
from pathlib import Path

from tests.browser.chromium import find_chromium, started

# The first charts: percentiles and latency, rate and connections over time.
_WIDTH, _HEIGHT, _SCALE = 1200, 930, 0.75
_MOST_BYTES = 200_000


def main(page: str, picture: str) -> None:
    """Writes the part of the page with its first charts as PNG."""
    program = find_chromium()
    if program is None:
        raise SystemExit("chromium (Debian: chromium) is not installed")
    with tempfile.TemporaryDirectory() as folder, started(program, Path(folder)) as browser:
        tab = browser.tab()
        tab.show(_WIDTH, _HEIGHT)
        tab.open(Path(page).resolve().as_uri())
        top = tab.value("document.querySelector('.charts').getBoundingClientRect().y + scrollY - 16")
        clip = {"x": 0, "y": top, "width": _WIDTH, "height": _HEIGHT, "scale": _SCALE}
        found = base64.b64decode(tab.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"])
    if len(found) > _MOST_BYTES:
        raise SystemExit(f"{picture}: {len(found):,} B are too many for a page of documentation")
    Path(picture).write_bytes(found)


if __name__ == "__main__":
    main(*sys.argv[1:])
