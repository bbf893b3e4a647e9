r"""Standard output and standard error of a command, wherever they lead.

click, rich, logging and tracebacks write to `sys.stdout` and `sys.stderr`, where `install` puts loadkit's own streams.
Printing never raises, and never decides how a command ends or whether a record is kept:

- Closed: /dev/null takes the place, before a socket or a file can get the number and be printed into.
- The reader is gone: what follows is dropped without a word.
- Full, or another error: what follows is dropped. For standard output one line on standard error says so.
- A pipe or a terminal that is not read: standard error drops what finds no room within a second. It says so once, when
  there is room again. Standard output waits for its reader, which may be a pager, until the command was told to end.
- A character that the encoding lacks is written as \u2026, which JSON and TOML read as that character.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import select
import stat
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

from loadkit.standard_streams import fill

__all__ = ["Stream", "end_soon", "install", "live_stream", "width_of"]

# A reader that is alive takes a line from a full pipe sooner. `serve` checks its workers once a second.
_PATIENCE_S = 1.0
# A write of at most this many bytes is whole or fails (pipe(7)); a pipe that poll(2) calls writable has room for it.
_MOST_BYTES = select.PIPE_BUF
# poll(2) says writable, but there is no room: a terminal with a few bytes left, or another process was faster.
_RETRY_S = 0.01
_ERRORS = "loadkit.escape"
# Columns that a report takes at least: in fewer the advice on an error would be a word per line.
_LEAST_WIDTH = 72


class Stream(io.TextIOBase):
    """A text stream to a file descriptor, whose `write` never raises OSError.

    It waits for room for `patience_s`, for ever if that is None.
    """

    def __init__(self, fd: int, encoding: str, patience_s: float | None) -> None:
        codecs.register_error(_ERRORS, _escape)
        self.patience_s = patience_s
        self._fd = fd
        self._encoding = encoding
        self._is_gone = False
        self._dropped = 0  # writes since there was room
        self._has_said = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding; what it lacks is escaped."""
        return self._encoding

    @property
    def errors(self) -> str:  # type: ignore[override]
        """What is done about characters that the encoding lacks."""
        return _ERRORS

    def fileno(self) -> int:
        """Returns the file descriptor."""
        return self._fd

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._fd)

    @property
    def is_behind(self) -> bool:
        """Whether something was dropped, and nothing written since."""
        return self._dropped > 0

    def writable(self) -> bool:
        """Whether it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Writes the text, or drops it."""
        self.write_encoded(text.encode(self._encoding, _ERRORS))
        return len(text)

    def write_encoded(self, data: bytes) -> None:
        """Writes encoded text, or drops it."""
        if self._is_gone:
            return
        try:
            self._send(data)
        except (BrokenPipeError, ConnectionResetError):
            self._is_gone = True
        except OSError as error:
            self._say_lost(f"cannot be written: {error.strerror}")

    def _send(self, data: bytes) -> None:
        patience_s = 0.0 if self._dropped else self.patience_s
        deadline = None if patience_s is None else time.monotonic() + patience_s
        if self._dropped and self is sys.stderr and not self._has_said:
            note = f"loadkit: standard error was not read: {self._dropped} message(s) for it were dropped\n"
            data = note.encode() + data
        with _unblocked(self._fd) as fd:
            while data:
                written = _write(fd, data[:_MOST_BYTES], deadline)
                if not written:
                    self._dropped += 1
                    self._say_lost("is not read")
                    return
                data = data[written:]
        if self._dropped:
            self._dropped, self._has_said = 0, True

    def _say_lost(self, why: str) -> None:
        """Says on standard error, once, that standard output has not all that it should have."""
        if self is sys.stdout and not self._has_said:
            self._has_said = True
            sys.stderr.write(f"loadkit: standard output {why}: not all of it is there\n")


class _ShellStream(Stream):
    """For a shell that asks what to complete: click writes bytes to it, for which a stream needs a `buffer`.

    Elsewhere it must have none: click would print UTF-8 into it in an ASCII locale, whatever the stream escapes.
    """

    @property
    def buffer(self) -> _Bytes:
        """What takes bytes."""
        return _Bytes(self)


class _Bytes(io.RawIOBase):
    """A stream for those who write bytes."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def write(self, data: Any) -> int:
        """Writes the bytes, or drops them."""
        self._stream.write_encoded(bytes(data))
        return len(data)


@contextlib.contextmanager
def _unblocked(fd: int) -> Iterator[int]:
    """Yields the file descriptor of a pipe or terminal opened once more, without waiting for room; of others, itself.

    O_NONBLOCK is a flag of the open file, which is shared with the shell and with other programs that write there.
    """
    again = fd
    if os.isatty(fd) or stat.S_ISFIFO(os.fstat(fd).st_mode):
        with contextlib.suppress(OSError):  # a terminal of another user; poll(2) alone has to do
            again = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        yield again
    finally:
        if again != fd:
            os.close(again)


def _write(fd: int, data: bytes, deadline: float | None) -> int:
    """Returns how many bytes were written; 0: there was no room for any by the deadline."""
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    while True:
        left_ms = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not poller.poll(left_ms):
            return 0
        try:
            return os.write(fd, data)  # an error shows here, also that the reader has gone
        except BlockingIOError:
            if left_ms == 0:
                return 0
            time.sleep(_RETRY_S)


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Escapes one character that the encoding lacks; a byte in a file's name that is no text (PEP 383) stays."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    one = error.object[error.start]
    if "\udc80" <= one <= "\udcff" and error.encoding != "utf-8":
        return one.encode("ascii", "surrogateescape"), error.start + 1
    units = one.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)), error.start + 1


def install() -> None:
    """Puts both streams in place. To be called before anything is opened that stays open."""
    with contextlib.suppress(OSError):
        fill()
    kind = _ShellStream if "_LOADKIT_COMPLETE" in os.environ else Stream
    sys.stdout = kind(1, _encoding_of(sys.stdout), None)
    sys.stderr = Stream(2, _encoding_of(sys.stderr), _PATIENCE_S)


def end_soon() -> None:
    """Has standard output wait no longer for a reader than standard error does: the command was told to end."""
    if isinstance(sys.stdout, Stream):
        sys.stdout.patience_s = _PATIENCE_S


def live_stream() -> Stream:
    """Returns standard error for what is out of date a moment later: it waits for no room at all."""
    return Stream(2, _encoding_of(sys.stderr), 0.0)


def width_of(stream: TextIO | io.TextIOBase) -> int:
    """Returns how wide a report on this stream is: as the terminal, within bounds; WIDTH if it is not a terminal."""
    from loadkit.printable import WIDTH  # later than the streams are put in place, for what it imports

    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return WIDTH
    return max(_LEAST_WIDTH, min(columns, WIDTH)) if columns else WIDTH


def _encoding_of(stream: io.TextIOBase | object) -> str:
    """Returns the encoding that Python found for it, which the locale and PYTHONIOENCODING decide."""
    return getattr(stream, "encoding", None) or "utf-8"
