from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from loadkit.doctor.check import examine
from loadkit.doctor.demand import Demand, demand_of_blast, demand_of_plan
from loadkit.doctor.finding import Finding, Level
from loadkit.errors import PreflightError
from loadkit.plan.addresses import plan_routes
from loadkit.plan.build import build_plan
from loadkit.plan.target import Target
from loadkit.profile.blast import Close, Profile
from loadkit.sockets import Sockets
from loadkit.units import Count, Duration
from tests.golden.made_up import ENGINE
from tests.unit.examined import LOCAL, REMOTE, check_form, codes, demanded, find
from tests.unit.made_up import made_up_host

_V6 = Target("::1", ("::1",), 9000)
_WIDER = 'sysctl -w net.ipv4.ip_local_port_range="1024 65535"'


def _found(code: str, demand: Demand) -> Finding:
    [found] = [finding for finding in examine(demand) if finding.code == code]
    check_form(found)
    return found


def _sockets(used: int = 0, waiting: int = 0, listening: int = 0) -> Sockets:
    """What there is towards the target from one source, which is also the one that the kernel chooses."""
    pairs = (("10.0.0.9", "10.0.0.1"), (None, "10.0.0.1"))
    return Sockets(
        used=dict.fromkeys(pairs, used) if used else {},
        waiting=dict.fromkeys(pairs, waiting) if waiting else {},
        bound=frozenset(range(40_000, 40_000 + listening)),
        listeners=frozenset(),
    )


_TABLE = [
    pytest.param(500_000, None, {}, Level.OK, "", "", id="loopback has addresses enough"),
    pytest.param(500_000, LOCAL, {}, Level.OK, "", "", id="and sources enough"),
    pytest.param(8_000, REMOTE, {}, Level.OK, "", "", id="8,000 on a pair"),
    pytest.param(
        28_233,
        REMOTE,
        {},
        Level.FAIL,
        # 60,999 - 32,768 + 1
        "28,233 connections need more ports than there are: 1 source address(es) x 1 destination(s) x 28,232 "
        "ephemeral ports = 28,232",
        "--source CIDR with 4 addresses",  # 28,233 / 8,000
        id="more than there are",
    ),
    pytest.param(
        10,
        REMOTE,
        {"reserved_ports": 28_232},
        Level.FAIL,
        "10 connections need more ports",
        _WIDER,
        id="all reserved, towards another machine",
    ),
    pytest.param(
        10,
        LOCAL,
        {"reserved_ports": 28_232},
        Level.FAIL,
        "10 connections need more ports",
        _WIDER,
        id="all reserved",
    ),
    pytest.param(
        10,
        LOCAL,
        {"port_low": 1024, "port_high": 65_535, "reserved_ports": 64_512},
        Level.FAIL,
        "10 connections need more ports",
        "fewer ports in net.ipv4.ip_local_reserved_ports",
        id="all of the whole range reserved",
    ),
    pytest.param(30_000, _V6, {}, Level.FAIL, "30,000 connections", "127.0.0.1 in its place", id="one address of IPv6"),
]


@pytest.mark.parametrize(("connections", "target", "facts", "level", "why", "fix"), _TABLE)
def test_each_finding_says_why_and_the_line_that_mends_it(
    connections: int, target: Target | None, facts: Mapping[str, Any], level: Level, why: str, fix: str
) -> None:
    found = find("ports", connections, target, **facts)
    assert found.level is level, found
    assert found.why.startswith(why)
    assert found.fix.startswith(fix)


@pytest.mark.parametrize(
    ("connections", "facts", "source", "wider"),
    [
        # 65,535 - 1,024 + 1
        pytest.param(64_512, {}, (), True, id="just enough"),
        pytest.param(64_513, {}, (), False, id="one too few"),
        pytest.param(129_024, {}, ("10.1.0.0/30",), True, id="just enough of two sources"),
        pytest.param(129_025, {}, ("10.1.0.0/30",), False, id="one too few of two sources"),
        pytest.param(70_000, {"port_low": 1024, "port_high": 65_535}, (), False, id="as wide as it gets"),
    ],
)
def test_a_wider_range_is_advised_where_it_suffices(
    connections: int, facts: Mapping[str, Any], source: tuple[str, ...], wider: bool
) -> None:
    found = find("ports", connections, REMOTE, source=source, **facts)
    assert found.level is Level.FAIL
    assert (_WIDER in found.fix) == wider
    assert bool(found.sysctls) == wider


def test_past_what_connect_finds_fast_the_plan_chooses_the_ports_and_all_is_well() -> None:
    found = find("ports", 8_001, REMOTE)
    assert found.level is Level.OK
    assert "1 source(s) x 1 destination(s), at most 8,001 of 28,232 ports each" in found.seen
    demand = demanded(8_001, REMOTE)
    assert all(route.ports == (32_768, 60_999) for route in demand.routes)
    left_to_the_kernel = tuple(msgspec.structs.replace(route, ports=None) for route in demand.routes)
    warned = _found("ports", replace(demand, routes=left_to_the_kernel))
    assert warned.level is Level.WARN
    assert warned.why.startswith("8,001 connections between two addresses: past 8,000 each connect searches")


def test_too_few_ports_are_refused_in_the_plan_s_words() -> None:
    with pytest.raises(PreflightError) as refused:
        plan_routes(30_000, (None,), REMOTE.addresses, 28_232)
    assert str(refused.value).startswith(find("ports", 30_000, REMOTE).why)


def test_sources_and_destinations_are_counted_as_the_plan_has_them() -> None:
    assert ": 3 source(s) x 1 destination(s), at most 6,667 of" in find("ports", 20_000, LOCAL).seen  # 20,000 / 8,000
    found = find("ports", 20_000, REMOTE, source=("10.1.0.0/24",))
    assert ": 3 source(s) x 1 destination(s), at most 6,667 of" in found.seen
    # Embedded: a serve end listens on all of 127.0.0.0/8.
    assert ": 1 source(s) x 3 destination(s), at most 6,667 of" in find("ports", 20_000, None).seen


def test_what_is_in_use_is_said_once() -> None:
    found = find("ports", 1000, REMOTE, sockets=_sockets(used=500, waiting=300))
    assert found.level is Level.OK
    assert "(500 in use towards that port, 300 of them in TIME_WAIT)" in found.seen
    assert "in use" not in find("ports", 1000, REMOTE, sockets=_sockets()).seen


def test_listeners_take_ports_from_all() -> None:
    found = find("ports", 1000, REMOTE, sockets=_sockets(listening=32))
    assert "less 0 reserved and 32 that something listens on" in found.seen
    assert "of 28,200 ports each" in found.seen  # 28,232 - 32


def test_time_waits_in_the_way_are_named_and_waited_for() -> None:
    # 28,232 - 10,000 = 18,232 are free
    sockets = _sockets(used=10_000, waiting=9_000)
    assert find("ports", 18_232, REMOTE, sockets=sockets).level is Level.OK
    found = find("ports", 18_233, REMOTE, sockets=sockets)
    assert found.level is Level.FAIL
    assert "less 10,000 in use or TIME_WAIT = 18,232" in found.why
    assert found.fix.startswith("wait 60 s until the 9,000 in TIME_WAIT are gone, or --source CIDR with 3 addresses")
    # With 9,000 more there are 27,232.
    assert "wait 60 s" in find("ports", 27_232, REMOTE, sockets=sockets).fix
    assert "wait 60 s" not in find("ports", 27_233, REMOTE, sockets=sockets).fix


@pytest.mark.parametrize("target", [None, LOCAL], ids=["embedded", "a server of this machine"])
def test_where_loopback_has_one_address_more_are_added(target: Target | None) -> None:
    found = find("ports", 30_000, target, loopback_addresses=1)
    assert found.level is Level.FAIL
    assert found.fix.startswith("ip addr add 127.0.0.1/8 dev lo (as root), and loadkit takes as many")
    assert _WIDER in found.fix
    assert find("ports", 28_231, target, loopback_addresses=1).level is Level.OK
    assert find("ports", 30_000, target).level is Level.OK


def test_workers_with_addresses_of_their_own_need_as_many_of_loopback() -> None:
    # 40,000 x 1.15 are more than two workers' files, and fewer than the ports of the one address.
    facts = {"port_low": 1024, "port_high": 65_535}
    assert find("ports", 40_000, None, **facts).level is Level.OK
    found = find("ports", 40_000, None, loopback_addresses=1, **facts)
    assert found.level is Level.FAIL
    assert found.why.startswith("40,000 connections take 3 workers to serve, each with 2 address(es) of loopback")
    assert found.fix.startswith("ip addr add 127.0.0.1/8 dev lo")


def test_an_embedded_server_has_one_of_the_ports() -> None:
    few = {"port_low": 40_000, "port_high": 40_199}
    assert "1 source(s) x 1 destination(s), at most 199 of 199 ports" in find("ports", 199, None, **few).seen
    assert "1 source(s) x 2 destination(s), at most 100 of 199 ports" in find("ports", 200, None, **few).seen


def test_a_serve_end_alone_needs_no_ports() -> None:
    assert not {"ports", "sources"} & set(codes(1000, serve=True))


# 28,232 ports of one pair of addresses, 1,000 of them open
_CHURN = [
    # 28,232 - 1,000 = 27,232 in 60 s
    pytest.param(REMOTE, 0, 27_232 / 60, "", "", id="a minute: just enough"),
    pytest.param(REMOTE, 0, 460, "= 454/s at most", "net.ipv4.tcp_tw_reuse=1", id="a minute: too fast"),
    pytest.param(REMOTE, 2, 460, "/ 60 s", "net.ipv4.tcp_tw_reuse=1", id="2 is for loopback alone"),
    pytest.param(REMOTE, 0, 27_232, "/ 60 s", "net.ipv4.tcp_tw_reuse=1", id="a minute: a second would do"),
    pytest.param(REMOTE, 0, 27_233, "/ 60 s", "", id="a minute: nor would a second"),
    pytest.param(REMOTE, 1, 27_232, "", "", id="reused after a second: just enough"),
    # 1,000 + 63,512 = 64,512
    pytest.param(
        REMOTE, 1, 63_512, "/ 1 s", "net.ipv4.ip_local_port_range=1024 65535", id="reused: all ports would do"
    ),
    pytest.param(REMOTE, 1, 63_513, "(28,232 - 1,000) / 1 s = 27,232/s at most", "", id="reused: nor would all"),
    pytest.param(LOCAL, 2, 27_232, "", "", id="on loopback: just enough"),
    pytest.param(LOCAL, None, 460, "/ 60 s", "net.ipv4.tcp_tw_reuse=1", id="not known"),
]


@pytest.mark.parametrize(("target", "reuse", "churn_hz", "why", "sysctl"), _CHURN)
def test_time_wait_leaves_ports_for_a_certain_churn(
    target: Target, reuse: int | None, churn_hz: float, why: str, sysctl: str
) -> None:
    found = find("time-wait", 1000, target, churn_hz=churn_hz, tw_reuse=reuse)
    assert found.level is (Level.FAIL if why else Level.OK), found
    assert why in found.why
    assert found.sysctls == ((sysctl,) if sysctl else ())
    # 1,000 / 453.9 = 2.2; 1,000 / 27,232 = 0.04
    lifetime = "3s" if "/ 60 s" in found.why else "1s"
    assert found.fix.startswith(f"--close rst, which leaves none; or --lifetime {lifetime} or longer" if why else "")


def _free(
    connections: int = 20, target: Target = LOCAL, options: dict[str, Any] | None = None, **facts: Any
) -> Finding:
    """Returns what is found of connections that each last for one exchange."""
    profile = Profile(connections=Count(connections), lifetime=Duration(0), close=Close.FIN, workers=Count(1))
    profile = msgspec.structs.replace(profile, duration=Duration.parse("3s"), warmup=Duration(0), **(options or {}))
    host = made_up_host(**facts)
    return _found("time-wait", demand_of_plan(host, build_plan(profile, {}, host, target, ENGINE)))


_FEW = {"port_low": 40_000, "port_high": 42_999}


def test_where_connections_last_for_one_exchange_the_rate_that_there_are_ports_for_is_told() -> None:
    found = _free(**_FEW)
    assert found.level is Level.WARN
    assert found.seen == "3,000 ports, tcp_tw_reuse 2: each is kept for 1 s after its connection"
    assert found.needed == "20,020 = 20 open + up to 20,000/s x 1 s"
    # 3,000 - 20
    assert found.why == (
        "at more than (3,000 - 20) / 1 s = 2,980/s of new connections, connects fail with EADDRNOTAVAIL"
    )
    # 20,020 / 3,000 = 6.7
    assert found.fix.startswith("--close rst, which leaves none; or --source 127.1.0.0/28; or sysctl -w net.ipv4.ip_lo")
    # 3 s and the ramp of 2 ms
    assert "(3,000 - 20) / 3.002 s = 993/s of" in _free(tw_reuse=0, **_FEW).why
    # (21 + 60,046) / 3,000 = 20.02; of 20 connections each has one address at the most
    assert "--source CIDR with 20 addresses" in _free(20, REMOTE, **_FEW).fix
    assert "--source CIDR with 21 addresses" in _free(30, REMOTE, **_FEW).fix


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        pytest.param({}, {}, id="28,232 ports of loopback are more than a worker closes"),
        pytest.param({"messages": Count(2960)}, _FEW, id="2,960 messages and 20 more, and 20 open"),
        pytest.param({}, {**_FEW, "tw_max": 2980}, id="the kernel keeps no more"),
        pytest.param({"source": ("127.1.0.0/28",)}, _FEW, id="seven sources"),
    ],
)
def test_nothing_is_said_where_there_are_ports_for_all(options: dict[str, Any], facts: dict[str, Any]) -> None:
    assert _free(options=options, **facts).level is Level.OK


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        pytest.param({"messages": Count(2961)}, _FEW, id="one message more"),
        pytest.param({}, {**_FEW, "tw_max": 2981}, id="one bucket more"),
        pytest.param({"source": ("127.1.0.0/29",)}, _FEW, id="six sources"),
    ],
)
def test_one_more_than_there_are_ports_for_is_warned_of(options: dict[str, Any], facts: dict[str, Any]) -> None:
    assert _free(options=options, **facts).level is Level.WARN


def test_the_number_of_time_waits_that_the_kernel_keeps_is_no_rate() -> None:
    # 460/s x 60 s = 27,600 would be more than 28,232 - 1,000; but with 5,000 the kernel frees the port at once.
    assert find("time-wait", 1000, REMOTE, churn_hz=460, tw_reuse=0, tw_max=5_000).level is Level.OK
    found = find("time-wait", 1000, REMOTE, churn_hz=460, tw_reuse=0, tw_max=27_233)
    assert found.level is Level.FAIL
    assert found.needed == "28,233 = 1,000 open + 27,233 that closed"


def test_more_sources_are_a_way_out_and_the_plan_takes_them() -> None:
    # 1,000 + 460 x 60 = 28,600
    found = find("time-wait", 1000, REMOTE, churn_hz=460, tw_reuse=0)
    assert found.level is Level.FAIL
    assert "--source CIDR with 2 addresses" in found.fix
    with_sources = demand_of_blast(
        made_up_host(tw_reuse=0), 1000, REMOTE, ENGINE, source=("10.1.0.0/24",), churn_hz=460
    )
    assert _found("time-wait", with_sources).level is Level.OK


def test_a_run_that_ends_with_its_messages_is_warned_and_not_refused() -> None:
    profile = Profile(
        connections=Count(1000), lifetime=Duration.parse("1s"), close=Close.FIN, messages=Count(1000), duration=None
    )
    host = made_up_host(tw_reuse=0)
    found = _found("time-wait", demand_of_plan(host, build_plan(profile, {}, host, REMOTE, ENGINE)))
    # 1,000/s x 60 s
    assert (found.level, found.needed) == (Level.WARN, "61,000 = 1,000 open + 1,000/s x 60 s")


def test_a_lifetime_is_refused_where_half_of_its_rate_would_be_too_fast() -> None:
    profile = Profile(connections=Count(100), close=Close.FIN, duration=Duration.parse("31s"), warmup=Duration(0))
    host = made_up_host(tw_reuse=0, port_low=40_000, port_high=41_999)

    def level(lifetime: str, **more: Any) -> Level:
        plan = build_plan(msgspec.structs.replace(profile, lifetime=Duration.parse(lifetime)), {}, host, REMOTE, ENGINE)
        return _found("time-wait", replace(demand_of_plan(host, plan), **more)).level

    # 100 + 50/s x 29.01 s; 100 + 100/s x 30.01 s, and half of it; 100 + 200/s x 30.51 s, half of which is too many, too
    assert (level("2s"), level("1s"), level("500ms")) == (Level.OK, Level.WARN, Level.FAIL)
    assert level("1s", is_least_churn=True) is Level.FAIL


def test_ports_in_use_are_not_there_for_closed_connections() -> None:
    # 1,000 + 400/s x 60 s = 25,000 of 28,232
    assert find("time-wait", 1000, REMOTE, churn_hz=400, tw_reuse=0).level is Level.OK
    found = find("time-wait", 1000, REMOTE, churn_hz=400, tw_reuse=0, sockets=_sockets(used=4_000, waiting=1_000))
    assert found.level is Level.WARN
    assert found.seen.startswith("24,232 ports (less 4,000 in use or TIME_WAIT), ")
    assert found.fix.startswith("wait 60 s until the 1,000 in TIME_WAIT are gone; or ")


def test_without_timestamps_no_port_comes_again_within_the_minute() -> None:
    found = find("time-wait", 1000, LOCAL, churn_hz=1_000, timestamps=0)
    assert "tcp_timestamps 0: each is kept for 60 s" in found.seen
    assert found.sysctls == ("net.ipv4.tcp_timestamps=1",)
    found = find("time-wait", 1000, REMOTE, churn_hz=1_000, timestamps=0, tw_reuse_delay_ms=5_000)
    assert found.sysctls == (
        "net.ipv4.tcp_tw_reuse=1",
        "net.ipv4.tcp_timestamps=1",
        "net.ipv4.tcp_tw_reuse_delay=1000",
    )
    assert find("time-wait", 1000, LOCAL, churn_hz=10_000, tw_reuse_delay_ms=5_000).level is not Level.OK
    assert find("time-wait", 1000, LOCAL, churn_hz=10_000, tw_reuse_delay_ms=1_000).level is Level.OK


def test_our_own_address_is_no_loopback_to_tcp_tw_reuse() -> None:
    demand = demanded(1000, REMOTE, churn_hz=460, tw_reuse=2)
    assert _found("time-wait", replace(demand, is_own_target=True)).level is Level.FAIL


def test_where_all_ports_are_open_no_lifetime_is_long_enough() -> None:
    found = find("time-wait", 28_232, REMOTE, churn_hz=1.0)
    assert found.level is Level.FAIL
    assert "--lifetime" not in found.fix


def test_the_time_wait_table_holds_a_minute_of_churn() -> None:
    # 100/s x 60 s + 5 there already
    assert find("tw-buckets", 10, REMOTE, churn_hz=100.0, tw_max=6005, time_waits=5).level is Level.OK
    found = find("tw-buckets", 10, REMOTE, churn_hz=100.0, tw_max=6004, time_waits=5)
    assert found.level is Level.WARN
    assert found.sysctls == ("net.ipv4.tcp_max_tw_buckets=12005",)


def test_without_churn_nothing_is_said_of_time_wait() -> None:
    assert not {"time-wait", "tw-buckets"} & set(codes(1000, REMOTE, tw_max=1))


def test_a_serve_end_has_no_time_wait_because_the_other_end_closes_first() -> None:
    assert find("time-wait", 1000, serve=True, churn_hz=10_000.0).level is Level.OK
    assert "tw-buckets" not in codes(1000, serve=True, churn_hz=10_000.0, tw_max=1)
