r"""`--live`: a panel on the whole screen, drawn twice a second in the process that watches over a run.

The other screen of the terminal (xterm's 1049) is shown, so what was there before is there again afterwards. The
terminal is put back on every way out of the run, also by an exception; where the process ends at once, at the third
signal, Interrupts calls `leave` first, and at one that ends a process without any of ours being asked, such as SIGQUIT,
`_die` does. Ctrl-Z and Ctrl-\\ mean nothing meanwhile: a shell would go on in our screen. If the process is stopped all
the same and goes on in the background, the terminal is the shell's until it is in the foreground again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import sys
import termios
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO, cast

from rich.console import Console
from rich.segment import Segments

from loadkit.cli.heat import Look
from loadkit.cli.live import is_in_front
from loadkit.cli.panel import Judged, Panel
from loadkit.cli.streams import live_stream
from loadkit.report.build import build_record
from loadkit.units import NS_PER_S

if TYPE_CHECKING:
    from types import FrameType

    from rich.text import Text

    from loadkit.host import Host
    from loadkit.plan.build import Plan
    from loadkit.run.blast import Observer, Progress
    from loadkit.run.signals import Interrupts

__all__ = ["live_screen", "pause_ns"]

_FRAME_NS = NS_PER_S // 2
# The verdict so far takes as long as the record, 10 to 20 ms: so seldom that it costs a third of a percent of a core.
# Frames take a quarter (`make bench-watching`, 2026-11-26), and on a busy machine all of it takes twice as much.
_JUDGED_SHARE = 300
_LEAST_JUDGED_NS = NS_PER_S
# No verdict gets older, whatever it takes: the first of a run takes 100 ms on a busy machine, and would be the only one
# of half a minute. In ten seconds 100 ms are a percent of a core.
_MOST_JUDGED_NS = 10 * NS_PER_S
_FIRST_JUDGED_NS = 2 * NS_PER_S  # of the measured time; before that there is little to judge
# Frames wait for room for so long, once; a terminal that takes none gets no more until it has room.
_PATIENCE_S = 0.1
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"  # the other screen; no cursor; no line goes on in the next
_LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_STDIN, _STDERR = 0, 2
# What ends a process by default (signal(7)), beside faults and those that Interrupts takes.
_DEADLY = (
    *(signal.SIGQUIT, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF),
    *(signal.SIGXCPU, signal.SIGIO, signal.SIGPWR, signal.SIGSTKFLT),
)


@contextlib.contextmanager
def live_screen(plan: Plan, host: Host, interrupts: Interrupts) -> Iterator[Observer]:
    """Yields what shows a run's progress. `q` is what a first Ctrl-C is."""
    screen = Screen(plan, host, interrupts)
    interrupts.at_exit = screen.leave
    try:
        screen.enter()
        yield screen
    finally:
        screen.leave()
        interrupts.at_exit = None


class Screen:
    """The terminal of standard error, and standard input for its keys."""

    def __init__(self, plan: Plan, host: Host, interrupts: Interrupts) -> None:
        self._plan, self._host, self._interrupts = plan, host, interrupts
        self._stream = live_stream()
        self._stream.patience_s = _PATIENCE_S
        self._console = Console(file=cast("TextIO", self._stream), highlight=False, emoji=False, markup=False)
        has_blocks = self._stream.encoding.lower().replace("-", "") in ("utf8", "utf8sig")
        has_colours = self._console.color_system in ("256", "truecolor") and not self._console.no_color
        self._panel = Panel(plan, Look(has_colours, has_blocks), "q stops" if os.isatty(_STDIN) else "Ctrl-C stops")
        self._former: list[Any] | None = None
        self._watched: list[signal.Signals] = []
        self._is_open = self._has_keys = self._was_behind = False
        self._drawn: tuple[tuple[int, int], list[Text]] = ((0, 0), [])
        self._next_ns = self._judge_ns = 0
        self._judged: Judged | None = None

    def enter(self) -> None:
        """Shows the other screen, and has keys come one by one."""
        self._is_open = True
        for number, handler in ((signal.SIGCONT, self._go_on), *((number, self._die) for number in _DEADLY)):
            if signal.getsignal(number) is signal.SIG_DFL:
                self._watched.append(number)
                signal.signal(number, handler)
        if os.isatty(_STDIN):
            with contextlib.suppress(termios.error, OSError):
                self._former = termios.tcgetattr(_STDIN)
                _set(_one_by_one())
                self._has_keys = True
        self._stream.write(_ENTER)

    def leave(self) -> None:
        """Puts the terminal back, once."""
        if not self._is_open:
            return
        self._is_open = self._has_keys = False
        sys.stderr.write(_LEAVE)  # which waits longer for room than frames do
        if self._former is not None:
            with contextlib.suppress(termios.error, OSError):
                _set(self._former)
        for number in self._watched:
            signal.signal(number, signal.SIG_DFL)

    def _die(self, number: int, _frame: FrameType | None) -> None:
        self.leave()
        signal.raise_signal(number)

    def _go_on(self, _number: int, _frame: FrameType | None) -> None:
        self._was_behind = True  # a shell has had the terminal

    def __call__(self, progress: Progress) -> None:
        """Takes note of a look, heeds the keys, and draws if it is time."""
        self._panel.note(progress)
        self._heed_keys()
        now = time.monotonic_ns()
        if now >= self._next_ns and not self._is_behind_the_shell():
            self._next_ns = now + _FRAME_NS
            self._judge(progress, now)
            self._draw(progress)

    def _heed_keys(self) -> None:
        if not self._has_keys or not select.select([_STDIN], [], [], 0)[0] or not is_in_front(_STDIN):
            return
        try:
            keys = os.read(_STDIN, 64)
        except OSError:
            keys = b""
        if not keys:  # the terminal has gone
            self._has_keys = False
        if b"q" in keys.lower():
            self._interrupts.stop()

    def _is_behind_the_shell(self) -> bool:
        """Whether the process is in the background. Back in front, it draws all anew."""
        was_behind, self._was_behind = self._was_behind, not is_in_front(_STDERR)
        if was_behind and not self._was_behind:
            self._drawn = ((0, 0), [])
            if self._has_keys:
                with contextlib.suppress(termios.error, OSError):
                    _set(_one_by_one())
            self._stream.write(_ENTER)
        return self._was_behind

    def _judge(self, progress: Progress, now: int) -> None:
        if progress.so_far is None:
            return
        self._judge_ns = self._judge_ns or now + _FIRST_JUDGED_NS
        if now < self._judge_ns:
            return
        begin = time.thread_time_ns()
        self._judged = Judged(build_record(self._plan, self._host, progress.so_far()), now)
        took = time.thread_time_ns() - begin
        self._judge_ns = now + pause_ns(took)

    def _draw(self, progress: Progress) -> None:
        """Writes the lines that are not on the screen yet; all of them at another size, or behind what was dropped."""
        size = _size()
        lines = self._panel.lines(progress, self._judged, *size)
        drawn = self._drawn[1] if self._drawn[0] == size and not self._stream.is_behind else []
        rows = [row for row, line in enumerate(lines) if row >= len(drawn) or line != drawn[row]]
        with self._console.capture() as captured:
            # As segments: rich would look where each line may be broken, which takes longer than all the rest.
            changed = itertools.chain.from_iterable(lines[row].render(self._console, end="\n") for row in rows)
            self._console.print(Segments(changed), crop=False, end="")
        # Erased first: behind a line that is as wide as the screen its last character would be.
        written = (
            f"\x1b[{row + 1};1H\x1b[K{line}\x1b[0m" for row, line in zip(rows, captured.get().split("\n"), strict=False)
        )
        self._stream.write(("" if drawn else "\x1b[2J") + "".join(written))
        self._drawn = (size, lines)


def pause_ns(took_ns: int) -> int:
    """Returns how long a verdict stands that took so much CPU time, in ns."""
    return min(max(_LEAST_JUDGED_NS, took_ns * _JUDGED_SHARE), _MOST_JUDGED_NS)


def _size() -> tuple[int, int]:
    """Returns columns and rows as they are now, whatever COLUMNS and LINES said when the command was started."""
    with contextlib.suppress(OSError):
        found = os.get_terminal_size(_STDERR)
        if found.columns and found.lines:
            return found.columns, found.lines
    return 80, 24


def _set(settings: list[Any]) -> None:
    """Sets the terminal, also from its background, where SIGTTOU would stop the process: tcsetattr(3p)."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTTOU,))
    try:
        termios.tcsetattr(_STDIN, termios.TCSANOW, settings)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _one_by_one() -> list[Any]:
    """Returns the settings of a terminal that gives each key at once, unseen, and for which two signals have no key."""
    settings = termios.tcgetattr(_STDIN)
    settings[3] &= ~(termios.ICANON | termios.ECHO)
    settings[6] = list(settings[6])
    for key in (termios.VSUSP, termios.VQUIT):
        settings[6][key] = b"\0"
    settings[6][termios.VMIN], settings[6][termios.VTIME] = 1, 0
    return settings
