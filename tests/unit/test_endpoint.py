"""What the system says of an error, in words."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from loadkit.endpoint import say_error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ECONNREFUSED, "Connection refused"), os.strerror(errno.ECONNREFUSED)),
        (OSError(errno.ECONNREFUSED, ""), os.strerror(errno.ECONNREFUSED)),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (OSError("bad things"), "bad things"),
        (OSError(), "OSError"),
    ],
)
def test_an_error_is_said_in_the_system_s_words(error: OSError, says: str) -> None:
    assert say_error(error) == says


def test_a_number_of_getaddrinfo_is_not_taken_for_an_errno() -> None:
    with socket.socket(socket.AF_INET) as sock, pytest.raises(socket.gaierror) as caught:
        sock.connect_ex(("::1", 7))
    assert caught.value.errno is not None
    assert caught.value.errno < 0
    assert "Unknown error" not in say_error(caught.value)
