from __future__ import annotations

import os
import time

from loadkit.clock import Clock, MonotonicClock


def test_the_clock_reads_the_monotonic_time_of_the_machine() -> None:
    clock: Clock = MonotonicClock()
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    now = clock.now_ns()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    assert before <= now <= after


def test_the_clock_never_goes_back() -> None:
    readings = [MonotonicClock().now_ns() for _ in range(1000)]
    assert readings == sorted(readings)
    assert readings[-1] > readings[0]


def test_another_process_reads_the_same_time_line() -> None:
    reader, writer = os.pipe()
    before = MonotonicClock.now_ns()
    child = os.fork()
    if not child:
        os.write(writer, str(MonotonicClock.now_ns()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    after = MonotonicClock.now_ns()
    there = int(os.read(reader, 100))
    os.close(reader)
    os.close(writer)
    assert before < there < after
