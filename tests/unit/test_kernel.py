"""The kernel's counters, read from a made-up /proc, and what is said of them."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from loadkit.measure.kernel import KernelLook, KernelSamples, cpu_ticks, difference, read_kernel, stolen_ticks
from loadkit.report.kernel import KERNEL_RULES, kernel_record
from loadkit.report.record import Finding

_SNMP = """Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm MaxConn ActiveOpens AttemptFails OutSegs RetransSegs
Tcp: 1 -1 {opens} 2 1000 3
"""
_NETSTAT = "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPTimeouts\nTcpExt: 0 {overflows} 9 0\n"
_SOFTNET = "00000010 00000001 0000000a 00000000\n00000020 00000002 {squeezed:08x} 00000000\n"
_STAT = "cpu  {user} 0 50 800 0 0 100 50 0 0\ncpu0 1 2 3\n"
_SOCKSTAT = "sockets: used 5\nTCP: inuse 4 orphan 1 tw 2 alloc 6 mem 3\n"


def proc_of(root: Path, opens: int = 10, overflows: int = 4, squeezed: int = 5, user: int = 100) -> Path:
    for name, text in (
        ("net/snmp", _SNMP.format(opens=opens)),
        ("net/netstat", _NETSTAT.format(overflows=overflows)),
        ("net/softnet_stat", _SOFTNET.format(squeezed=squeezed)),
        ("net/sockstat", _SOCKSTAT),
        ("stat", _STAT.format(user=user)),
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def look(root: Path, **values: int) -> KernelLook:
    found = read_kernel(proc_of(root, **values))
    assert found is not None
    return found


def test_what_came_in_between_is_the_difference(tmp_path: Path) -> None:
    before, after = look(tmp_path), look(tmp_path, opens=25, overflows=5, squeezed=8, user=200)
    samples = difference(before, after)
    assert samples.counters["Tcp.ActiveOpens"] == 15
    assert samples.counters["TcpExt.ListenOverflows"] == 1
    assert samples.counters["TcpExt.ListenDrops"] == 0
    assert samples.softnet == {"dropped": 0, "squeezed": 3}
    assert samples.sockets == {"inuse": 4, "orphan": 1, "tw": 2, "alloc": 6, "mem": 3}
    assert samples.cpu["user"] == 1.0


def test_what_a_kernel_does_not_have_and_what_went_down_is_left_out(tmp_path: Path) -> None:
    before, after = look(tmp_path, opens=10), look(tmp_path, opens=9)
    assert "TcpExt.TCPBacklogDrop" not in before.counters
    assert "Tcp.MaxConn" not in before.counters
    assert "Tcp.ActiveOpens" not in difference(before, after).counters
    assert difference(before, before).cpu == {}


def test_stolen_ticks_are_those_of_the_host_among_all(tmp_path: Path) -> None:
    proc_of(tmp_path)
    before = cpu_ticks(tmp_path)
    assert before["steal"] == 50
    after = {**before, "steal": 60, "idle": 880, "user": before["user"] + 10}
    assert stolen_ticks(before, after) == (100, 10)
    assert cpu_ticks(tmp_path / "nothing") == {}


def test_a_machine_that_shows_nothing_has_none(tmp_path: Path) -> None:
    assert read_kernel(tmp_path) is None


def test_this_machine_s_own_is_read_and_never_goes_down() -> None:
    before = read_kernel()
    time.sleep(0.05)
    after = read_kernel()
    assert before is not None
    assert after is not None
    samples = difference(before, after)
    assert {"Tcp.OutSegs", "TcpExt.ListenOverflows"} <= set(samples.counters)
    assert sum(samples.cpu.values()) == pytest.approx(1.0, abs=0.01) or not samples.cpu


def codes(is_local: bool = False, softnet: dict[str, int] | None = None, **values: float) -> list[str]:
    """The findings, of one second; names with CPU time's as they are, counters' with __ for the dot."""
    cpu = {name: value for name, value in values.items() if name in ("softirq", "steal")}
    counters = {name.replace("__", "."): int(value) for name, value in values.items() if name not in cpu}
    record = kernel_record(KernelSamples(counters, softnet or {}, {}, cpu), 10**9, is_local)
    assert record is not None
    assert all(finding.text for finding in record.findings)
    return [finding.code for finding in record.findings]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({}, []),
        ({"TcpExt__ListenOverflows": 3, "TcpExt__ListenDrops": 3}, ["accept-queue"]),
        ({"TcpExt__ListenOverflows": 3, "TcpExt__ListenDrops": 4}, ["accept-queue", "syn-drops"]),
        ({"TcpExt__TCPReqQFullDoCookies": 1}, ["syn-cookies"]),
        ({"Tcp__AttemptFails": 1}, ["attempt-fails"]),
        ({"Tcp__EstabResets": 9, "Tcp__OutRsts": 9}, []),
        ({"TcpExt__TCPBacklogDrop": 1}, ["backlog-drop"]),
        ({"TcpExt__RcvPruned": 1}, ["receive-buffer"]),
        ({"TcpExt__TCPMemoryPressures": 1}, ["tcp-memory"]),
        ({"TcpExt__TCPTimeWaitOverflow": 1}, ["time-wait"]),
        ({"Tcp__OutSegs": 10_000, "Tcp__RetransSegs": 10}, []),
        ({"Tcp__OutSegs": 10_000, "Tcp__RetransSegs": 11}, ["retransmits"]),
        ({"softirq": 0.3, "steal": 0.02}, []),
        ({"softirq": 0.31, "steal": 0.021}, ["softirq", "stolen"]),
    ],
)
def test_what_matters_is_found(values: dict[str, float], found: list[str]) -> None:
    assert codes(**values) == found


def test_one_of_a_kind_is_singular() -> None:
    counters = ("ListenOverflows", "TCPReqQFullDoCookies", "TCPBacklogDrop", "RcvPruned", "TCPTimeWaitOverflow")
    samples = KernelSamples({f"TcpExt.{name}": 1 for name in counters} | {"Tcp.AttemptFails": 1}, {}, {}, {})
    record = kernel_record(samples, 10**9, is_local=True)
    assert record is not None
    for one in record.findings:
        assert re.search(r"\b(1 (connect|segment|TIME_WAIT)|once)\b", one.text), one.text


def test_soft_interrupts_are_said_to_have_done_only_what_they_did() -> None:
    def said(**softnet: int) -> str:
        record = kernel_record(KernelSamples({}, softnet, {}, {}), 10**9, is_local=True)
        assert record is not None
        return record.findings[0].text.partition(". ")[0]

    assert said(dropped=1, squeezed=0) == "a CPU's full queue dropped 1 packet"
    assert said(squeezed=2) == "the packets of soft interrupts used up a CPU's budget 2 times"
    assert said(dropped=3, squeezed=1) == (
        "a CPU's full queue dropped 3 packets, and the packets of soft interrupts used up a CPU's budget once"
    )


def test_on_loopback_soft_interrupts_do_the_receiver_s_work() -> None:
    assert codes(is_local=True, softirq=0.5) == []


@pytest.mark.parametrize(
    ("softnet", "found"),
    [({"dropped": 0, "squeezed": 1}, []), ({"squeezed": 2}, ["softnet"]), ({"dropped": 1}, ["softnet"])],
)
def test_a_budget_that_runs_out_once_a_second_is_no_finding(softnet: dict[str, int], found: list[str]) -> None:
    assert codes(softnet=softnet) == found


def found_of(window: dict[str, int], ramp: dict[str, int], is_local: bool) -> dict[str, Finding]:
    samples = [
        KernelSamples({f"Tcp{name}": count for name, count in one.items()}, {}, {}, {}) for one in (window, ramp)
    ]
    record = kernel_record(samples[0], 10**9, is_local, samples[1])
    assert record is not None
    assert record.ramp == {name: count for name, count in samples[1].counters.items() if count}
    return {finding.code: finding for finding in record.findings}


@pytest.mark.parametrize(
    ("window", "ramp", "when"),
    [
        (
            {"Ext.ListenOverflows": 12},
            {},
            "a full accept queue turned a connection away 12 times in the measured time: ",
        ),
        ({}, {"Ext.ListenOverflows": 135}, "a full accept queue turned a connection away 135 times in the ramp: "),
        (
            {"Ext.ListenOverflows": 12},
            {"Ext.ListenOverflows": 135},
            "a full accept queue turned a connection away 147 times (135 in",
        ),
    ],
)
def test_what_the_kernel_counted_in_the_ramp_is_said_as_of_the_ramp(
    window: dict[str, int], ramp: dict[str, int], when: str
) -> None:
    assert found_of(window, ramp, True)["accept-queue"].text.startswith(when)
    assert found_of(window, ramp, True)["accept-queue"].party == "target"
    assert found_of(window, ramp, False)["accept-queue"].party == "machine"


_AGAIN = {".OutSegs": 1_000, ".RetransSegs": 50}


@pytest.mark.parametrize(
    ("more", "is_local", "party", "says"),
    [
        ({}, False, "network", "The path drops packets"),
        ({"Ext.ListenOverflows": 40}, True, "target", "an accept queue was full"),
        ({"Ext.TCPBacklogDrop": 40}, True, "machine", "a socket's queue was full"),
        ({}, True, "machine", "acknowledged them too late"),
    ],
)
def test_no_path_drops_packets_on_loopback(more: dict[str, int], is_local: bool, party: str, says: str) -> None:
    for window, ramp in ((_AGAIN | more, {}), ({}, _AGAIN | more)):
        found = found_of(window, ramp, is_local)["retransmits"]
        assert found.party == party
        assert says in found.text
        assert "this machine retransmitted 50 of 1,000 segments in the" in found.text
        assert ("The path drops packets" in found.text) is not is_local


def test_each_rule_of_the_kernel_s_finds_what_it_is_for_and_names_one_of_its_parties() -> None:
    window = {"Ext.ListenOverflows": 1, "Ext.TCPReqQFullDoCookies": 1, "Ext.TCPBacklogDrop": 1, "Ext.PruneCalled": 1}
    window |= {"Ext.TCPMemoryPressures": 1, "Ext.TCPTimeWaitOverflow": 1, "Ext.ListenDrops": 2, ".AttemptFails": 1}
    counters = {f"Tcp{name}": count for name, count in (window | _AGAIN).items()}
    samples = KernelSamples(counters, {"dropped": 1}, {}, {"softirq": 0.5, "steal": 0.5})
    parties = {rule.code: rule.parties for rule in KERNEL_RULES}
    seen = set()
    for is_local in (True, False):
        record = kernel_record(samples, 10**9, is_local)
        assert record is not None
        for finding in record.findings:
            seen.add(finding.code)
            assert finding.party in parties[finding.code]
    assert seen == set(parties)


def test_what_was_not_looked_at_is_null() -> None:
    assert kernel_record(None, 1, is_local=False) is None


def test_counters_that_stood_still_are_not_in_a_record() -> None:
    record = kernel_record(KernelSamples({"Tcp.OutSegs": 5, "Tcp.InErrs": 0}, {}, {}, {}), 1, is_local=True)
    assert record is not None
    assert record.counters == {"Tcp.OutSegs": 5}
