"""Files of /proc and /sys, which the kernel writes and a container may hide."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["text_of"]


def text_of(path: Path) -> str:
    """Returns the file's text, "" if it cannot be read.

    Names in it are bytes to the kernel, whatever the locale. They are decoded as os.listdir() decodes them, so that a
    path made of them can be opened.
    """
    try:
        return os.fsdecode(path.read_bytes())
    except OSError:
        return ""
