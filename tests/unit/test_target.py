from __future__ import annotations

import pytest

from loadkit.run.target import resolve
from loadkit.sockets import find_source, is_own_address

# RFC 5737: of no machine.
_ELSEWHERE = "192.0.2.77"


@pytest.mark.parametrize(
    ("text", "is_local"),
    [
        ("127.0.0.1:7000", True),
        ("127.9.8.7:7000", True),
        ("[::1]:7000", True),
        ("0.0.0.0:7000", True),
        ("7000", True),
        (f"{_ELSEWHERE}:7000", False),
    ],
)
def test_a_target_knows_whether_it_is_on_this_machine(text: str, is_local: bool) -> None:
    assert resolve(text).is_local is is_local


def test_an_address_of_an_interface_is_this_machine_s_too() -> None:
    own = find_source(_ELSEWHERE, 7000)
    if own is None or own.startswith("127."):
        pytest.skip("a machine without a network")
    assert is_own_address(own, 7000)
    assert resolve(f"{own}:7000").is_local
