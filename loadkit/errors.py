"""The error tree, by whose fault it is. Each error is one line that names the place and the way out."""

from __future__ import annotations

from loadkit.printable import printable, shortened

__all__ = [
    "AppError",
    "Interrupted",
    "LoadkitError",
    "OptionError",
    "OutputError",
    "PreflightError",
    "ProfileError",
    "RecordError",
    "TargetError",
    "UnreachableError",
    "WorkerError",
]


class LoadkitError(Exception):
    """Something went wrong that the reader of the message can fix. `exit_status` is what the command exits with.

    As text it is one printable line, whatever it quotes: no terminal or CI runner takes it as a command, and what is
    very long is cut in the middle.
    """

    exit_status = 1

    def __str__(self) -> str:
        """Returns the message in one printable line."""
        text = shortened(printable(super().__str__()))
        # A CI runner executes a line that begins with "::". A word before it keeps file names and addresses intact.
        return f"error: {text}" if text.startswith("::") else text


class OptionError(LoadkitError):
    """An option of the command line, or an argument of a library call, is wrong."""

    exit_status = 2


class ProfileError(LoadkitError):
    """A profile file is wrong; the message names file and key path."""


class OutputError(LoadkitError):
    """An output file cannot be written."""


class RecordError(LoadkitError):
    """A record cannot be read, or cannot be combined with the others."""


class PreflightError(LoadkitError):
    """The machine, as it is set up, cannot do what was asked; the message shows the calculation."""


class TargetError(LoadkitError):
    """The peer cannot be reached or does not answer as expected."""


class UnreachableError(TargetError):
    """No connection could be opened to an address of the peer; another address of its name may work."""

    def __init__(self, where: str, reason: str = "", way_out: str = "") -> None:
        super().__init__(f"{where}: {reason}; {way_out}" if reason else where)
        self.where = where
        self.reason = reason
        self.way_out = way_out


class WorkerError(LoadkitError):
    """One of our own worker processes failed."""


class AppError(LoadkitError):
    """The app given to serve cannot be imported, or is not an app."""


class Interrupted(LoadkitError):
    """A signal came before there was anything to report. `exit_status` is 128 plus its number."""
