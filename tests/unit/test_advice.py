from __future__ import annotations

import errno

import pytest

from loadkit.measure.names import STEPS, OwnError, error_name
from loadkit.report.advice import EXHAUSTED, advise, breaks, explain, main_error, say_cause
from loadkit.report.record import Advised
from loadkit.wire.protocol import REPLY_ERRORS

_OWN = [error_name(number) for name, number in vars(OwnError).items() if name.isupper()]
_COMMON = (
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EMFILE,
    errno.ENFILE,
    errno.EADDRNOTAVAIL,
    errno.EADDRINUSE,
    errno.ETIMEDOUT,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENOBUFS,
    errno.EACCES,
)


@pytest.mark.parametrize("name", [*map(error_name, _COMMON), "CONNECT_TIMEOUT", "RUN_ENDED", "AT_LIMIT", "UNKNOWN"])
def test_what_goes_wrong_in_a_connect_has_its_own_advice(name: str) -> None:
    assert "man 3 errno" not in advise("connect", name)


@pytest.mark.parametrize("name", ["ECONNRESET", "CLOSED_BY_PEER", "WRONG_BYTES", "EXTRA_BYTES", "REPLY_TIMEOUT"])
def test_what_goes_wrong_in_a_receive_has_its_own_advice(name: str) -> None:
    assert "man 3 errno" not in advise("receive", name)


@pytest.mark.parametrize("name", REPLY_ERRORS)
def test_what_can_be_wrong_with_a_reply_has_its_own_advice_and_is_the_target_s(name: str) -> None:
    assert "man 3 errno" not in advise("reply", name)
    assert explain("reply", name).party == "target"


@pytest.mark.parametrize("name", ["EPIPE", "ECONNRESET", "CLOSED_BY_PEER", "ENOBUFS", "ETIMEDOUT"])
def test_what_goes_wrong_in_a_send_has_its_own_advice(name: str) -> None:
    assert "man 3 errno" not in advise("send", name)


def test_the_step_decides_what_a_reset_means() -> None:
    assert "accept queue" in advise("connect", "ECONNRESET")
    assert "see its log" in advise("receive", "ECONNRESET")


def test_an_error_nobody_thought_of_points_to_where_it_is_explained() -> None:
    assert "man 3 errno" in advise("close", "EXFULL")
    assert "EXFULL" in advise("close", "EXFULL")


@pytest.mark.parametrize("step", STEPS)
def test_every_error_of_every_step_has_one_line(step: str) -> None:
    for name in [*errno.errorcode.values(), *_OWN]:
        text = advise(step, name)
        assert text
        assert "\n" not in text


@pytest.mark.parametrize("step", STEPS)
def test_the_cause_has_the_error_s_name_once_and_is_the_beginning_of_its_advice(step: str) -> None:
    for name in [*map(error_name, _COMMON), *_OWN, "EXFULL"]:
        assert say_cause(step, name).count(name) == 1
        assert advise(step, name).startswith(explain(step, name).cause)


def test_what_this_machine_ran_out_of_is_this_machine_s() -> None:
    assert {explain("connect", name).party for name in EXHAUSTED} == {"machine"}


def test_a_known_cause_is_not_asked_for() -> None:
    for step in STEPS:
        for name in [*errno.errorcode.values(), *_OWN]:
            assert "?" not in advise(step, name)


def test_the_serve_end_s_peer_is_the_client() -> None:
    for name in ("ECONNRESET", "CLOSED_BY_PEER", "EPIPE"):
        assert "client" in advise("receive", name, is_serve=True)
        assert "target" not in advise("receive", name, is_serve=True)


def test_the_main_error_is_that_of_the_most_connections() -> None:
    rows = [
        Advised("ramp", "connect", "EMFILE", 2, ""),
        Advised("ramp", "connect", "ECONNREFUSED", 3, ""),
        Advised("hold", "connect", "EMFILE", 2, ""),
    ]
    assert main_error(rows) == ("connect", "EMFILE")
    assert main_error([]) is None


def test_a_wrong_reply_ends_no_connection_and_other_errors_of_an_open_one_do() -> None:
    assert not breaks("reply", "WRONG_REPLY")
    assert all(breaks("reply", name) for name in REPLY_ERRORS if name != "WRONG_REPLY")
    assert breaks("receive", "CLOSED_BY_PEER")
    assert not breaks("connect", "ECONNREFUSED")
