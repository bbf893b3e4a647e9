"""loadkit's log: what it has to say beside its results, to the handlers of the program that it runs in."""

from __future__ import annotations

import logging

from loadkit.printable import page, printable

__all__ = ["log"]


class _Clean(logging.Filter):
    """Cleans what is logged: messages quote peers and apps, and so do the exceptions of an app."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Makes the message one line, and the traceback one that a terminal does not obey (`exc_text` is its cache)."""
        record.msg, record.args = printable(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = page(logging.Formatter().formatException(record.exc_info))
        return True


log = logging.getLogger("loadkit")
log.addFilter(_Clean())
