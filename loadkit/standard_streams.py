"""Standard streams that a program was started without, or has closed.

The next socket or file that is opened gets the number of such a stream. What is printed then goes there, and a program
that is started has it as its own stream.
"""

from __future__ import annotations

import os

__all__ = ["fill"]


def fill() -> list[int]:
    """Opens the null device in the place of each standard stream that is closed, and returns the file descriptors.

    Programs that are started inherit them, as they would the streams. Raises OSError.
    """
    filled = []
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # It gets the lowest free number, which is this one.
            filled.append(os.open(os.devnull, os.O_RDWR))
            os.set_inheritable(fd, True)
    return filled
