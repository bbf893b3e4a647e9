from __future__ import annotations

import pytest

from loadkit.doctor.check import examine
from loadkit.doctor.finding import failing
from loadkit.doctor.preflight import in_our_words, preflight
from loadkit.errors import PreflightError
from tests.unit.examined import REMOTE, demanded


def test_the_first_thing_that_fails_is_refused_in_the_doctor_s_line() -> None:
    demand = demanded(file_max=1, memory_available_bytes=1)
    with pytest.raises(PreflightError) as refused:
        preflight(demand)
    assert [finding.code for finding in failing(examine(demand))] == ["file-max", "memory"]
    assert str(refused.value) == failing(examine(demand))[0].line


def test_what_limits_the_run_is_warned_of_and_what_makes_any_run_less_exact_is_not() -> None:
    demand = demanded(somaxconn=1, steal_share=0.5, governor="powersave", clock_source="hpet", capabilities=0, cpus=8)
    assert [finding.code for finding in preflight(demand)] == ["somaxconn"]


def test_a_small_run_has_nothing_to_be_told() -> None:
    assert preflight(demanded(100)) == ()


def test_a_million_here_is_told_of_the_processes_that_it_takes() -> None:
    # The machine that docs/scale.md speaks of.
    facts = {"memory_available_bytes": 23 * 2**30, "file_max": 2_465_610, "tcp_mem_pages": (1, 2, 575_664)}
    warned = preflight(demanded(10**6, None, nr_open=1_048_576, **facts))
    assert [finding.code for finding in warned] == ["nofile", "tcp_mem"]


def test_sources_of_nobody_s_are_refused_before_the_first_socket() -> None:
    with pytest.raises(PreflightError, match=r"^sources: 0 of 1 .* ip route add local"):
        preflight(demanded(1000, REMOTE, source=("192.0.2.77",)))  # RFC 5737


def test_what_the_plan_refuses_is_said_in_the_doctor_s_words_where_it_has_some() -> None:
    error = PreflightError("the plan's")
    assert str(in_our_words(error, demanded(30_000, REMOTE))).startswith("ports: ip_local_port_range")
    assert in_our_words(error, demanded(10, REMOTE)) is error
