from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from loadkit.errors import Interrupted
from loadkit.run.signals import ENDING, Interrupts, hold, name_of


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Gives the signals their handlers back."""
    before = {number: signal.getsignal(number) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (signal.SIGKILL, "SIGKILL"),
        (signal.SIGRTMIN, "SIGRTMIN"),
        (signal.SIGRTMIN + 6, "SIGRTMIN+6"),
        (signal.SIGRTMAX, "SIGRTMAX"),
        (signal.SIGRTMIN - 1, f"signal {signal.SIGRTMIN - 1}"),  # libc's own
    ],
)
def test_every_signal_has_a_name(number: int, name: str) -> None:
    assert name_of(number) == name


def test_a_signal_ends_a_wait_and_says_with_which_status_there_was_no_run() -> None:
    signal.signal(signal.SIGTERM, lambda *_: pytest.fail("ours has it"))
    with Interrupts() as interrupts:
        interrupts.check()
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        assert interrupts.wait([], 60.0) == []
        assert (interrupts.count, interrupts.first) == (1, "SIGTERM")
        assert interrupts.wait([], 0.0) == []  # and no other one
        with pytest.raises(Interrupted, match=r"^SIGTERM ended the command before it had begun$") as interrupted:
            interrupts.check()
    assert interrupted.value.exit_status == 143


def test_a_signal_that_ends_a_linger_is_forgotten() -> None:
    with Interrupts() as interrupts:
        interrupts.stop()
        interrupts.begin_report()
        interrupts.end_report()
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        interrupts.linger(60.0)
        assert (interrupts.count, interrupts.first) == (1, "SIGINT")
        interrupts.linger(0.01)
        assert interrupts.count == 1


def test_a_wait_returns_what_is_readable() -> None:
    one, other = socket.socketpair()
    with one, other, Interrupts() as interrupts:
        assert interrupts.wait([one, other], 0.0) == []
        other.send(b"!")
        assert interrupts.wait([one.fileno(), other], 60.0) == [one.fileno()]
        interrupts.stop()
        assert interrupts.wait([one, other], 60.0) == [one]


def test_handlers_and_the_wake_up_descriptor_are_given_back() -> None:
    before = [signal.getsignal(number) for number in ENDING]
    with Interrupts():
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    assert [signal.getsignal(number) for number in ENDING] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_the_wake_up_descriptor_of_an_event_loop_stays_its_own() -> None:
    ours, loops = socket.socketpair()
    with ours, loops:
        loops.setblocking(False)
        signal.set_wakeup_fd(loops.fileno())
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGINT)
            assert interrupts.count == 1
        assert signal.set_wakeup_fd(-1) == loops.fileno()


@pytest.mark.parametrize("is_command", [True, False])
def test_what_is_ignored_is_never_taken(is_command: bool) -> None:
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    with Interrupts(is_command) as interrupts:
        for number in ENDING:
            signal.raise_signal(number)
        assert interrupts.numbers == []
        assert all(signal.getsignal(number) == signal.SIG_IGN for number in ENDING)


def test_a_program_keeps_what_it_has_a_use_for_and_the_command_takes_all() -> None:
    def ours(*_: object) -> None:
        pytest.fail("it was sent")

    for number in ENDING:
        signal.signal(number, ours)
    for is_command, left in ((False, [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]), (True, [])):
        with Interrupts(is_command):
            assert [number for number in ENDING if signal.getsignal(number) is ours] == left


def test_a_thread_takes_none() -> None:
    before = [signal.getsignal(number) for number in ENDING]

    def enter() -> None:
        with Interrupts(is_command=True) as interrupts:
            assert [signal.getsignal(number) for number in ENDING] == before
            interrupts.leave()
            assert (interrupts.count, interrupts.wait([], 60.0)) == (2, [])

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()


def test_signals_that_are_held_come_afterwards() -> None:
    with Interrupts() as interrupts:
        with hold():
            for number in ENDING:
                signal.raise_signal(number)  # to this thread
            assert interrupts.numbers == []
        assert sorted(interrupts.numbers) == sorted(ENDING)
