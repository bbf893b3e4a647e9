"""What is said of a target whose first reply was not right: what was seen, and no more."""

from __future__ import annotations

import msgspec
import pytest

from loadkit.errors import UnreachableError
from loadkit.plan.target import EMBEDDED, Target
from loadkit.run.first import first_failure
from loadkit.wire.echo import echo_script
from loadkit.wire.script import Stream
from tests.golden.made_up import MS, made_up_plan, page

_PLAN = made_up_plan(
    target=Target("example.org", ("192.0.2.7",), 6379), timeout_ns=300 * MS, connect_timeout_ns=700 * MS
)
_SCRIPT = echo_script(_PLAN.load.size_bytes)
_ECHO = bytes(Stream(echo_script(_PLAN.load.size_bytes)).messages[0])
_NO_ECHO = "it is not an echo server, or it"
_LIMIT = (
    f"{_NO_ECHO} turns connections away: see its log, and its limit of connections (loadkit serve --max-connections)"
)


@pytest.mark.parametrize(
    ("error", "came", "text"),
    [
        pytest.param(
            ("receive", "WRONG_BYTES"),
            b"-ERR unknown command\r\n",
            "replied `-ERR unknown command` to an echo message: this looks like Redis; --expect is for other protocols",
            id="a known protocol",
        ),
        pytest.param(
            ("receive", "WRONG_BYTES"),
            b"hello\r\n",
            "replied `hello` to an echo message: it is not an echo server; --expect is for other protocols",
            id="an unknown one",
        ),
        pytest.param(
            ("receive", "ECONNRESET"),
            b"ERROR\r\n",
            "replied `ERROR` to an echo message: this looks like memcached; --expect is for other protocols",
            id="what came tells more than how it ended",
        ),
        pytest.param(
            ("receive", "EXTRA_BYTES"),
            _ECHO + b"!",
            "sent back more than the 64 B of the first message: it is not an echo server; --expect is for other "
            "protocols",
            id="more than the message",
        ),
        pytest.param(
            ("receive", "EXTRA_BYTES"),
            b"HTTP/1.1 400 Bad Request\r\n" + b"x" * 100,
            "replied `HTTP/1.1 400 Bad Request…` to an echo message: this looks like HTTP; --expect is for other "
            "protocols",
            id="more than the message, and other bytes",
        ),
        pytest.param(
            ("receive", "WRONG_BYTES"),
            _ECHO[:-1] + b"!",
            "sent back other bytes than the 64 B it got, from byte 64 on: it is not an echo server; --expect is for "
            "other protocols",
            id="an echo that goes wrong",
        ),
        pytest.param(
            ("connect", "ECONNREFUSED"),
            b"",
            ": the first connection failed: Connection refused (ECONNREFUSED); start the server, check the address and "
            "port, or leave HOST:PORT out to blast an embedded server",
            id="refused",
        ),
        pytest.param(
            ("receive", "CLOSED_BY_PEER"), b"", f"closed the first connection without a reply; {_LIMIT}", id="closed"
        ),
        pytest.param(
            ("receive", "CLOSED_BY_PEER"),
            _ECHO[:20],
            f"closed the first connection after 20 B of the 64 B of its reply; {_LIMIT}",
            id="closed in the middle",
        ),
        pytest.param(
            ("receive", "ECONNRESET"), b"", f"reset the first connection without a reply; {_LIMIT}", id="reset"
        ),
        pytest.param(
            ("connect", "ECONNRESET"), b"", f"reset the first connection without a reply; {_LIMIT}", id="reset early"
        ),
        pytest.param(
            ("receive", "REPLY_TIMEOUT"),
            b"",
            f"did not reply to the first message within 300 ms; {_NO_ECHO} is stuck or slow: check the address and "
            f"port, or raise --timeout",
            id="silent",
        ),
        pytest.param(
            ("receive", "REPLY_TIMEOUT"),
            _ECHO[:20],
            f"sent 20 B of the 64 B of its reply, and no more within 300 ms; {_NO_ECHO} is stuck or slow: check the "
            f"address and port, or raise --timeout",
            id="half a reply",
        ),
    ],
)
def test_the_line_says_what_was_seen(error: tuple[str, str], came: bytes, text: str) -> None:
    failed = first_failure(_PLAN, 6379, page(errors={error: 1}, received_bytes=len(came)), came, _SCRIPT)
    assert str(failed) == f"example.org:6379{' ' * (text[0] != ':')}{text}"
    assert failed.exit_status == 1
    assert isinstance(failed, UnreachableError) is (error in (("connect", "ECONNREFUSED"),))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            ("connect", "CONNECT_TIMEOUT"),
            "no answer to the first connect within 700 ms; a firewall or a full accept queue",
        ),
        (("connect", "EHOSTUNREACH"), "the first connection failed: No route to host (EHOSTUNREACH); "),
        (
            ("connect", "EADDRNOTAVAIL"),
            "the first connection failed: Cannot assign requested address (EADDRNOTAVAIL); all local ports",
        ),
        (("receive", "UNKNOWN"), "the first connection failed: UNKNOWN; "),
    ],
)
def test_what_kept_it_from_connecting_is_named_with_its_advice(error: tuple[str, str], text: str) -> None:
    failed = first_failure(_PLAN, 6379, page(errors={error: 1}), b"", _SCRIPT)
    assert str(failed).startswith(f"example.org:6379: {text}")
    # Another address of the name may do.
    assert isinstance(failed, UnreachableError) is (error[0] == "connect")


def test_a_server_of_our_own_is_called_so() -> None:
    plan = made_up_plan(target=Target(EMBEDDED, ("127.0.0.1",), 0, embedded=True))
    failed = first_failure(plan, 40_000, page(errors={("receive", "CLOSED_BY_PEER"): 1}), b"", _SCRIPT)
    assert str(failed).startswith("the embedded server at 127.0.0.1:40000 closed the first connection")


@pytest.mark.parametrize(
    ("error", "said"), [("WRONG_BYTES", "other bytes than the 1 KiB it got: "), ("EXTRA_BYTES", "more than the 1 KiB ")]
)
def test_of_a_long_message_no_more_is_said_than_the_first_bytes_tell(error: str, said: str) -> None:
    plan = made_up_plan(size_bytes=1024)
    first_bytes = bytes(Stream(echo_script(1024)).messages[0][:128])
    failed = first_failure(plan, 40_000, page(errors={("receive", error): 1}), first_bytes, echo_script(1024))
    assert f"sent back {said}" in str(failed)


@pytest.mark.parametrize(
    ("error", "came", "text"),
    [
        pytest.param(
            ("reply", "TOO_LONG"),
            b"HTTP/1.1 400 Bad Request\r\n",
            "replied `HTTP/1.1 400 Bad Request`, this looks like HTTP: the reply was longer than it may be "
            "(--expect len:u32be, TOO_LONG)",
            id="a length that is none",
        ),
        pytest.param(
            ("receive", "EXTRA_BYTES"),
            b"\x00\x00\x00\x00\x00",
            r"sent more than the first message's reply, `\x00\x00\x00\x00\x00`: is it --expect len:u32be?",
            id="more than a reply",
        ),
        pytest.param(
            ("receive", "CLOSED_BY_PEER"),
            b"",
            "closed the first connection without a reply (--expect len:u32be): see its log, and what it is sent",
            id="closed",
        ),
        pytest.param(
            ("receive", "ECONNRESET"),
            b"\x00",
            r"reset the first connection after `\x00`, which is no whole reply (--expect len:u32be): see its log, and "
            r"what it is sent",
            id="reset in the middle",
        ),
        pytest.param(
            ("receive", "REPLY_TIMEOUT"),
            b"",
            "did not reply within 300 ms (--expect len:u32be): check what it is sent and where its replies end, or "
            "raise --timeout",
            id="silent",
        ),
        pytest.param(
            ("receive", "REPLY_TIMEOUT"),
            b"SSH-2.0-x\r\n",
            "sent `SSH-2.0-x`, this looks like SSH, and no end of it within 300 ms (--expect len:u32be): check what it "
            "is sent and where its replies end, or raise --timeout",
            id="no end",
        ),
        pytest.param(
            ("receive", "ETIMEDOUT"),
            b"",
            ": the first connection failed: Connection timed out (ETIMEDOUT); the kernel got no acknowledgement for "
            "minutes: check whether the peer is up, and the path to it",
            id="an error like any other",
        ),
    ],
)
def test_the_line_says_what_was_seen_of_a_target_that_is_no_echo(
    error: tuple[str, str], came: bytes, text: str
) -> None:
    load = msgspec.structs.replace(_PLAN.load, expect="len:u32be")
    plan = msgspec.structs.replace(_PLAN, load=load)
    failed = first_failure(plan, 6379, page(errors={error: 1}, received_bytes=len(came)), came, _SCRIPT)
    assert str(failed) == f"example.org:6379{' ' * (text[0] != ':')}{text}"
