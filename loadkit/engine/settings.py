"""Socket options as they are set: before connect(2) and listen(2), where buffers have to be (tcp(7))."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping

from loadkit.errors import OptionError
from loadkit.limits import setting_up
from loadkit.measure.settings import SETTINGS, Setting, Value

__all__ = ["apply_settings", "check_settings", "setting_values"]


def apply_settings(sock: socket.socket, given: Mapping[str, Value]) -> None:
    """Sets what is given on a socket. Raises OSError if the kernel refuses."""
    for setting, value in _values(given):
        if value and setting.fits(sock):
            sock.setsockopt(setting.level, setting.number, value)


def check_settings(given: Mapping[str, Value]) -> None:
    """Tries on a socket what is given. Raises OptionError with the way out for what the kernel refuses."""
    if not given:
        return
    with setting_up("make a socket"):
        tried = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with tried as sock:
        for setting, value in _values(given):
            if not value or not setting.fits(sock):
                continue
            try:
                sock.setsockopt(setting.level, setting.number, value)
            except OSError as error:
                raise OptionError(
                    f"--{setting.option}: the kernel refuses {given[setting.option]} ({error.strerror}); "
                    f"{setting.way_out()}"
                ) from None


def setting_values(given: Mapping[str, Value]) -> tuple[dict[str, int | bytes], ...]:
    """Returns the rows that the compiled core sets, and reads back: native/settings.h."""
    return tuple(
        {"family": setting.family or 0, "level": setting.level, "number": setting.number, "value": value}
        for setting, value in _values(given)
    )


def _values(given: Mapping[str, Value]) -> Iterator[tuple[Setting, bytes]]:
    """Yields each setting with what is to be set; nothing: the default stays."""
    for setting in SETTINGS:
        yield setting, setting.to_bytes(given[setting.option]) if setting.option in given else b""
