"""Each "can" and each "cannot" of the doctor and of blast's preflight, in a namespace of its own where blast then runs.

Where it can, all connections open. Where it cannot, a run that is begun all the same does not open them; and with each
printed fix applied, the doctor says that it can, and it does. `make doctor-truth` runs all rows, the suite some.
"""

from __future__ import annotations

import enum
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.namespaces import network_namespace
from tests.process.control_groups import control_group

pytestmark = pytest.mark.slow

# A case has up to five runs, each of which takes a second on a quiet machine, a minute beside thirty other processes.
_PATIENCE_S = 500


class Says(enum.StrEnum):
    CAN = "can"
    CANNOT = "cannot"
    WARNS = "warns"  # can, and it says what may go wrong


@dataclass(frozen=True)
class Case:
    """`blast` are its options; the doctor gets the target and those of `doctor`, which are blast's where it is None."""

    blast: str
    says: Says = Says.CAN
    code: str = ""  # of the finding that says so
    doctor: str | None = None
    setup: str = ""  # lines of a shell, with `ports LOW HIGH` and `put NAME VALUE` of net.ipv4
    before: tuple[str, ...] = ()  # runs of loadkit that come first
    others: int = 0  # connections to the target that another process has open
    is_remote: bool = False  # 10.9.0.2 and fd00:9::2 are another machine, which routes 10.8.0.0/16 and fd00:8::/64 here
    has_loopback: bool = True
    fixes: int = 0  # how many of those printed are tried
    around: tuple[str, ...] = ()  # what all of it runs behind


_SHORT = " -d 300ms --warmup 0s --connect-rate 2k"
_HERE, _THERE, _THERE_V6 = "127.0.0.1:7000", "10.9.0.2:7000", "[fd00:9::2]:7000"
# 200 ports of a pair of addresses, none of which TIME_WAIT gives back within a minute.
_FEW = "ports 40000 40199; put tcp_tw_reuse 0\n"
_ONE_LOOPBACK = "ip addr add 127.0.0.1/32 dev lo; ip addr del 127.0.0.1/8 dev lo\n"
_SPARE = "ip link add d0 type veth peer name d1\n"  # an interface that is down
_NONLOCAL = "put ip_nonlocal_bind 1; echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind\n"


def _files(most: int) -> tuple[str, ...]:
    return ("prlimit", f"--nofile={most}:{most}")


def _limited(limit: str, mebibytes: int) -> tuple[str, ...]:
    return ("prlimit", f"--{limit}={mebibytes * 2**20}:{mebibytes * 2**20}")


_TWENTY = "-c 100 -w 20"

_CASES = {
    # -- ports
    "loopback has addresses enough": Case(f"{_HERE} -c 300", setup=_FEW),
    "the embedded server takes a port": Case("-c 200", setup=_FEW),
    "all ports of a pair": Case(f"{_THERE} -c 200", setup=_FEW, is_remote=True),
    "all ports of a pair, an odd number": Case(f"{_THERE} -c 201", setup="ports 40000 40200", is_remote=True),
    "one more than the ports of a pair": Case(
        f"{_THERE} -c 201", Says.CANNOT, "ports", setup=_FEW, is_remote=True, fixes=2
    ),
    "reserved ports": Case(
        f"{_THERE} -c 101",
        Says.CANNOT,
        "ports",
        setup=_FEW + "put ip_local_reserved_ports 40000-40099",
        is_remote=True,
        fixes=2,
    ),
    "what is left of reserved ports": Case(
        f"{_THERE} -c 100", setup=_FEW + "put ip_local_reserved_ports 40000-40099", is_remote=True
    ),
    "all ports are reserved": Case(
        f"{_THERE} -c 1",
        Says.CANNOT,
        "ports",
        setup=_FEW + "put ip_local_reserved_ports 40000-40199",
        is_remote=True,
        fixes=1,
    ),
    "all ports are reserved, loopback": Case(
        f"{_HERE} -c 1", Says.CANNOT, "ports", setup=_FEW + "put ip_local_reserved_ports 40000-40199", fixes=1
    ),
    "a port": Case(f"{_THERE} -c 1", setup="ports 40000 40000", is_remote=True),
    "one port for two": Case(
        f"{_THERE} -c 2", Says.CANNOT, "ports", setup="ports 40000 40000", is_remote=True, fixes=2
    ),
    "ports below 1024": Case(
        f"{_THERE} -c 100", setup="put ip_unprivileged_port_start 0; ports 100 199", is_remote=True
    ),
    "the target's port is one of the range": Case(f"{_HERE} -c 300", setup="ports 6950 7049; put tcp_tw_reuse 0"),
    "ports that other processes have": Case(
        f"{_THERE} -c 101", Says.CANNOT, "ports", setup=_FEW, others=100, is_remote=True, fixes=2
    ),
    "what other processes leave": Case(f"{_THERE} -c 100", setup=_FEW, others=100, is_remote=True),
    "one address of IPv6": Case("[::1]:7000 -c 201", Says.CANNOT, "ports", setup=_FEW, fixes=2),
    "ports of TIME_WAIT": Case(
        f"{_THERE} -c 101",
        Says.CANNOT,
        "ports",
        setup=_FEW,
        before=(f"blast {_THERE} -c 100 -n 100 --close fin -q",),
        is_remote=True,
        fixes=2,
    ),
    "what is left of TIME_WAIT": Case(
        f"{_THERE} -c 100", setup=_FEW, before=(f"blast {_THERE} -c 100 -n 100 --close fin -q",), is_remote=True
    ),
    # -- loopback
    "one address of loopback": Case(f"{_HERE} -c 200", setup=_FEW + _ONE_LOOPBACK),
    "one address of loopback is too few": Case(
        f"{_HERE} -c 201", Says.CANNOT, "ports", setup=_FEW + _ONE_LOOPBACK, fixes=2
    ),
    "one address of loopback for the embedded server": Case("-c 199", setup=_FEW + _ONE_LOOPBACK),
    "one address of loopback is too few for the embedded server": Case(
        "-c 200", Says.CANNOT, "ports", setup=_FEW + _ONE_LOOPBACK, fixes=2
    ),
    "one address of loopback that others may be bound to": Case(
        f"{_HERE} -c 201", Says.CANNOT, "ports", setup=_FEW + _ONE_LOOPBACK + _NONLOCAL, fixes=2
    ),
    "a source that loopback has not": Case(
        f"{_HERE} -c 10 --source 127.0.0.2", Says.CANNOT, "sources", setup=_ONE_LOOPBACK, fixes=1
    ),
    "loopback that is down": Case("-c 10", Says.CANNOT, "route", has_loopback=False, fixes=1),
    "loopback without IPv6": Case(
        "[::1]:7000 -c 10", Says.CANNOT, "route", setup="echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6", fixes=1
    ),
    "loopback that has lost ::1": Case(
        "[::1]:7000 -c 10", Says.CANNOT, "route", setup="ip -6 addr del ::1/128 dev lo", fixes=1
    ),
    # -- sources
    "a source of this machine": Case(f"{_THERE} -c 10 --source 10.9.0.1", is_remote=True),
    "a source that a local route has": Case(
        f"{_THERE} -c 10 --source 10.8.0.0/30", setup="ip route add local 10.8.0.0/24 dev lo", is_remote=True
    ),
    "a source of no interface": Case(
        f"{_THERE} -c 10 --source 10.8.0.7", Says.CANNOT, "sources", is_remote=True, fixes=1
    ),
    "a source of no interface that may be bound to": Case(
        f"{_THERE} -c 10 --source 10.8.0.7", Says.CANNOT, "sources", setup=_NONLOCAL, is_remote=True, fixes=1
    ),
    "a source of loopback": Case(f"{_THERE} -c 10 --source 127.0.0.1", Says.CANNOT, "sources", is_remote=True),
    "a source of loopback to an address of this machine": Case(
        "10.7.0.1:7000 -c 10 --source 127.0.0.1", setup="ip addr add 10.7.0.1/32 dev lo"
    ),
    "a source of this machine, IPv6": Case(f"{_THERE_V6} -c 10 --source fd00:9::1", is_remote=True),
    "a source of no interface, IPv6": Case(
        f"{_THERE_V6} -c 10 --source fd00:9::7", Says.CANNOT, "sources", is_remote=True, fixes=1
    ),
    "a source of no interface that is routed here, IPv6": Case(
        f"{_THERE_V6} -c 10 --source fd00:8::7", Says.CANNOT, "sources", is_remote=True, fixes=1
    ),
    "a source of no interface that may be bound to, IPv6": Case(
        f"{_THERE_V6} -c 10 --source fd00:8::7", Says.CANNOT, "sources", setup=_NONLOCAL, is_remote=True, fixes=1
    ),
    "a source of no interface to this machine, IPv6": Case(
        "[::1]:7000 -c 10 --source fd00:8::/125", Says.CANNOT, "sources", fixes=1
    ),
    "a source of loopback, IPv6": Case(f"{_THERE_V6} -c 10 --source ::1", Says.CANNOT, "sources", is_remote=True),
    "a source that is not settled yet, IPv6": Case(
        f"{_THERE_V6} -c 10 --source fd00:9::5",
        Says.CANNOT,
        "sources",
        # The kernel asks for it once a second, 600 times.
        setup="echo 600 > /proc/sys/net/ipv6/conf/v0/dad_transmits; ip -6 addr add fd00:9::5/64 dev v0",
        is_remote=True,
    ),
    "as many sources as it takes": Case(
        f"{_THERE} -c 400 --source 10.8.0.0/30", setup=_FEW + "ip route add local 10.8.0.0/24 dev lo", is_remote=True
    ),
    "one connection more than the sources have ports": Case(
        f"{_THERE} -c 401 --source 10.8.0.0/30",
        Says.CANNOT,
        "ports",
        setup=_FEW + "ip route add local 10.8.0.0/24 dev lo",
        is_remote=True,
        fixes=2,
    ),
    "a source of an interface that is down": Case(
        f"{_THERE} -c 10 --source 10.8.0.1", setup=_SPARE + "ip addr add 10.8.0.1/32 dev d0", is_remote=True
    ),
    "a source of an interface that is down, IPv6": Case(
        f"{_THERE_V6} -c 10 --source fd00:8::1",
        setup=_SPARE + "ip -6 addr add fd00:8::1/128 dev d0 nodad",
        is_remote=True,
    ),
    # -- routes
    "a target that no route leads to": Case("10.99.0.1:7000 -c 10", Says.CANNOT, "route"),
    **{
        f"a target that the routes call {kind}": Case(
            "10.99.0.1:7000 -c 10", Says.CANNOT, "route", setup=f"ip route add {kind} 10.99.0.0/16"
        )
        for kind in ("blackhole", "prohibit", "unreachable")
    },
    **{
        f"a target that the routes call {kind}, IPv6": Case(
            "[fd99::1]:7000 -c 10", Says.CANNOT, "route", setup=f"ip -6 route add {kind} fd99::/64 dev lo"
        )
        for kind in ("blackhole", "unreachable")
    },
    # -- TIME_WAIT: 20 connections that last 200 ms are 100 a second
    "closed connections that there are ports for": Case(
        f"{_HERE} -c 20 --lifetime 200ms --close fin -d 1700ms --warmup 0s", setup=_FEW
    ),
    "half of the closed connections are too many": Case(
        f"{_HERE} -c 20 --lifetime 50ms --close fin -d 2s --warmup 0s", Says.CANNOT, "time-wait", setup=_FEW, fixes=4
    ),
    "a second would do for the closed connections": Case(
        f"{_THERE} -c 20 --lifetime 200ms --close fin -d 4s --warmup 0s",
        Says.CANNOT,
        "time-wait",
        setup=_FEW,
        is_remote=True,
        fixes=4,
    ),
    "closed connections that may be too many": Case(
        f"{_HERE} -c 20 --lifetime 100ms --close fin -d 1500ms --warmup 0s", Says.WARNS, "time-wait", setup=_FEW
    ),
    "the drain closes none": Case(
        f"{_HERE} -c 20 --lifetime 100ms --close fin -d 9s --warmup 0s --timeout 20s",
        setup="ports 40000 41899; put tcp_tw_reuse 0",
    ),
    "few buckets of TIME_WAIT": Case(
        f"{_HERE} -c 20 --lifetime 20ms --close fin -d 2s --warmup 0s",
        Says.WARNS,
        "tw-buckets",
        setup=_FEW + "put tcp_max_tw_buckets 100",
    ),
    "connections of one exchange, and few buckets": Case(
        f"{_HERE} -c 20 --lifetime 0 --close fin -d 1s --warmup 0s", setup=_FEW + "put tcp_max_tw_buckets 100"
    ),
    "closed connections whose ports come again": Case(
        f"{_HERE} -c 20 --lifetime 200ms --close fin -d 4s --warmup 0s", setup="ports 40000 40199"
    ),
    "without timestamps no port comes again": Case(
        f"{_HERE} -c 20 --lifetime 200ms --close fin -d 4s --warmup 0s",
        Says.CANNOT,
        "time-wait",
        setup="ports 40000 40199; put tcp_timestamps 0",
        fixes=4,
    ),
    "ports come again later": Case(
        f"{_HERE} -c 20 --lifetime 200ms --close fin -d 4s --warmup 0s",
        Says.CANNOT,
        "time-wait",
        setup="ports 40000 40199; put tcp_tw_reuse_delay 30000",
        fixes=4,
    ),
    "TIME_WAIT of a run before": Case(
        f"{_THERE} -c 20 --lifetime 200ms --close fin -d 1200ms --warmup 0s",
        Says.WARNS,
        "time-wait",
        setup=_FEW,
        before=(f"blast {_THERE} -c 100 -n 100 --close fin -q",),
        is_remote=True,
    ),
    "a churn that there are ports for": Case(
        f"{_HERE} -c 20 --lifetime 125ms --close fin -d 3s --warmup 0s",
        doctor=f"{_HERE} -c 20 --churn 160",
        setup="ports 40000 40199",
    ),
    "a churn that there are no ports for": Case(
        f"{_HERE} -c 20 --lifetime 40ms --close fin -d 3s --warmup 0s",
        Says.CANNOT,
        "time-wait",
        doctor=f"{_HERE} -c 20 --churn 500",
        setup="ports 40000 40199",
        fixes=4,
    ),
    # -- the listener
    "a short accept queue": Case("-c 200", Says.WARNS, "somaxconn", setup="echo 8 > /proc/sys/net/core/somaxconn"),
    "few half-open connections": Case(
        "-c 200", Says.WARNS, "syn-backlog", setup="put tcp_max_syn_backlog 16; put tcp_syncookies 0"
    ),
    # -- files of a process
    "few files": Case("-c 56", Says.WARNS, "nofile", around=_files(64)),
    "just enough files, uvloop": Case("-c 28 --engine uvloop", doctor="-c 28", around=_files(64)),
    "fewer files than the parent of so many workers needs": Case(
        "-c 500", Says.CANNOT, "parent", around=_files(64), fixes=1
    ),
    "fewer files than a process needs": Case("-c 1", Says.CANNOT, "nofile", around=_files(16), fixes=1),
    # -- other limits of a process: 20 workers share 203 MiB, and the embedded server has 3 MiB
    "address space that is too small for the shared memory": Case(
        _TWENTY, Says.CANNOT, "address-space", around=_limited("as", 380), fixes=1
    ),
    "address space that may be too small": Case(_TWENTY, Says.WARNS, "address-space", around=_limited("as", 560)),
    "enough address space": Case(_TWENTY, around=_limited("as", 680)),
    "too little data": Case(_TWENTY, Says.CANNOT, "data-size", around=_limited("data", 170), fixes=1),
    "data that may be too little": Case(_TWENTY, Says.WARNS, "data-size", around=_limited("data", 260)),
    "enough data": Case(_TWENTY, around=_limited("data", 400)),
    "files that are too small for the shared memory": Case(
        _TWENTY, Says.CANNOT, "file-size", around=_limited("fsize", 202), fixes=1
    ),
    "files that are just large enough": Case(_TWENTY, around=_limited("fsize", 203)),
    # -- cores
    "one core": Case("-c 100", around=("taskset", "--cpu-list", str(min(os.sched_getaffinity(0))))),
}
_SAMPLE = (
    "one address of loopback is too few",
    "a source of no interface, IPv6",
    "few buckets of TIME_WAIT",
    "address space that is too small for the shared memory",
)
_ROWS = [
    pytest.param(case, id=name, marks=() if name in _SAMPLE else (pytest.mark.lengthy,))
    for name, case in _CASES.items()
]


@pytest.mark.parametrize("case", _ROWS)
def test_what_it_says_is_what_happens(case: Case, tmp_path: Path) -> None:
    found = _stage(case, tmp_path)
    run = found["run"]
    _assert_says(case, found)
    if case.says is Says.CAN or (case.says is Says.WARNS and case.code in _SLOWS):
        _assert_opened(case, run)
    if case.says is not Says.CANNOT:
        return
    truth = found["truth"]
    assert truth["errors"] or not truth["opened"], truth
    _, _, fix = run["err"].rpartition("; fix: ")
    ways = [way for text in _ALTERNATIVES.split(fix.strip()) if (way := _apply(case, text))]
    assert len(ways) == case.fixes, fix
    for way in ways:
        mended = _stage(way, tmp_path)
        _assert_says(way, mended)
        _assert_opened(way, mended["run"])


_ALTERNATIVES = re.compile(r"[,;] or ")
# Of these warnings a run is slow, or less safe, and opens all of its connections.
_SLOWS = ("nofile", "somaxconn", "syn-backlog", "tw-buckets")


def _assert_says(case: Case, found: dict[str, Any]) -> None:
    run, doctor = found["run"], found.get("doctor")
    if case.says is Says.CANNOT:
        assert run["status"] == 1
        assert run["err"].startswith(f"loadkit: {case.code}: "), run
    elif case.says is Says.WARNS:
        assert f"loadkit: warning: {case.code}: " in run["err"], run
    else:
        assert "warning" not in run["err"], run
    if doctor:
        level = {Says.CAN: "ok", Says.CANNOT: "fail", Says.WARNS: "warn"}[case.says]
        assert doctor["status"] == (case.says is Says.CANNOT), doctor
        levels = {finding["code"]: finding["level"] for finding in doctor["findings"]}
        assert not case.code or levels.get(case.code, "ok") == level, doctor


def _assert_opened(case: Case, run: dict[str, Any]) -> None:
    """Asserts that all connections opened; those of churn again and again."""
    assert run["status"] in (0, 4), run  # a busy machine may make it invalid, not the ports
    assert run["errors"] == {}, run
    [asked] = re.findall(r"-c (\d+)", case.blast)
    assert run["opened"] >= int(asked), run


def _apply(case: Case, fix: str) -> Case | None:
    """Returns the case with a printed fix applied; None for what is for a container, or takes a minute."""
    if fix.startswith(("docker", "systemd", "wait", "a --source", "ip route get")):
        return None
    blast, setup = case.blast, case.setup
    lines, _, rest = fix.partition(" (as root")
    if fix.startswith("ulimit -Hn "):  # no limit can be raised from in here
        # What starts the workers can then; these are more than the cores all the same.
        then = (Says.WARNS, "nofile") if case.code == "parent" else (Says.CAN, "")
        return replace(case, around=_files(int(lines.split()[-1])), says=then[0], code=then[1])
    if raised := re.match(r"ulimit -([vdf]) (\w+)", fix):
        name = {"v": "as", "d": "data", "f": "fsize"}[raised[1]]
        size = raised[2] if raised[2] == "unlimited" else str(int(raised[2]) * 1024)
        return replace(case, around=("prlimit", f"--{name}={size}:{size}"), says=Says.CAN, code="")
    if fix.startswith("--source CIDR"):
        setup += "\nip route add local 10.8.0.0/16 dev lo"
        blast += " --source 10.8.0.0/24"
    elif fix.startswith("--"):
        blast += " " + " ".join(fix.rstrip(",").split()[:2]).rstrip(",")
    elif fix.startswith("127.0.0.1 in its place"):
        blast = blast.replace("[::1]", "127.0.0.1")
    elif fix.startswith("fewer ports in net.ipv4.ip_local_reserved_ports"):
        setup += "\nset ip_local_reserved_ports ''"
    else:
        assert fix.startswith(("sysctl -w ", "ip ", "for ")), fix
        setup += f"\n{lines}"
        blast += rest.partition(" and ")[2] and f" {rest.partition(' and ')[2]}" if "--source" in rest else ""
    return replace(case, blast=blast, setup=setup, says=Says.CAN, code="", doctor=None)


_PRELUDE = """
ports() { echo "$1 $2" > /proc/sys/net/ipv4/ip_local_port_range; }
put() { echo "$2" > "/proc/sys/net/ipv4/$1"; }
"""


def _stage(case: Case, folder: Path) -> dict[str, Any]:
    """Returns what was said and done: tests/truth/doctor_stage.py."""
    asked = case.blast.split()
    doctor = case.doctor.split() if case.doctor is not None else None
    if doctor is None and not {"--lifetime", "-w"} & set(asked):  # which it does not have
        doctor = asked
    blast = asked if "-d" in asked else [*asked, *_SHORT.split()]
    told = {
        "setup": f"{_PRELUDE}{case.setup}",
        "serves": not case.blast.startswith("-c"),
        "before": [line.split() for line in case.before],
        "others": case.others,
        "is_remote": case.is_remote,
        "doctor": doctor,
        "blast": blast,
        "goes_on": case.says is Says.CANNOT,
        "path": str(folder / "run.json"),
    }
    inside = network_namespace() if case.has_loopback else ("unshare", "--net")
    command = (*inside, *case.around, sys.executable, "-m", "tests.truth.doctor_stage")
    done = subprocess.run(
        command, input=json.dumps(told), capture_output=True, text=True, timeout=_PATIENCE_S, check=False, cwd=_ROOT
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


_ROOT = Path(__file__).parents[2]


# -- control groups: the command alone is in one, because what tests it would count too

_UNREFUSED = """
import sys
from loadkit.library import prepare
prepare.preflight = lambda _demand: ()
from loadkit.cli.app import run
run()
"""


def _in_group(
    controller: str, limit: int, *arguments: str, unrefused: bool = False, first: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs loadkit in a control group of its own with that limit, after what a shell is to do `first` in the group."""
    with control_group(controller, limit) as enter:
        how = ("-c", _UNREFUSED) if unrefused else ("-m", "loadkit")
        shell = ("/bin/sh", "-ec", f'{first}\nexec "$@"', "sh") if first else ()
        command = (*enter, *shell, sys.executable, *how, *arguments)
        return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)


def _finding(code: str, said: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    [found] = [finding for finding in json.loads(said.stdout)["findings"] if finding["code"] == code]
    return dict(found)


_FEW_CONNECTIONS = ("blast", "-c", "10", "-q", *_SHORT.split())


@pytest.mark.lengthy
def test_processes_of_a_control_group_are_counted_to_the_last_one() -> None:
    found = _finding("pids", _in_group("pids", 500, "doctor", "--json", "-c", "10"))
    [used] = re.findall(r"([\d,]+) in use", found["seen"])
    [more] = re.findall(r"^([\d,]+) more", found["needed"])
    enough = int(used) + int(more)
    assert _in_group("pids", enough, *_FEW_CONNECTIONS).returncode in (0, 4)
    refused = _in_group("pids", enough - 1, *_FEW_CONNECTIONS)
    assert (refused.returncode, refused.stderr[:15]) == (1, "loadkit: pids: ")
    truth = _in_group("pids", enough - 1, *_FEW_CONNECTIONS, unrefused=True)
    assert truth.returncode == 1
    assert truth.stderr.startswith("loadkit: cannot start a worker: Resource temporarily unavailable; ")
    [fix] = re.findall(r"--pids-limit (\d+)", refused.stderr)
    assert _in_group("pids", int(fix), *_FEW_CONNECTIONS).returncode in (0, 4)


@pytest.mark.lengthy
def test_memory_of_a_control_group_decides_what_can_run(tmp_path: Path) -> None:
    """A tenth less than what is refused is no room, and what is called enough is enough."""
    path = tmp_path / "run.json"

    def opened(connections: int, mebibytes: int, unrefused: bool = False) -> int | None:
        path.unlink(missing_ok=True)
        blast = ("blast", "-c", str(connections), "-q", "-d", "2s", "--warmup", "0s", "--no-progress", "-o", str(path))
        _in_group("memory", mebibytes * 2**20, *blast, unrefused=unrefused)
        return json.loads(path.read_text())["connections"]["opened"] if path.exists() else None

    def level(mebibytes: int) -> str:
        return str(_finding("memory", _in_group("memory", mebibytes * 2**20, "doctor", "--json", "-c", "10k"))["level"])

    assert (level(100), level(250)) == ("fail", "ok")
    assert opened(10_000, 250) == 10_000
    assert (opened(10_000, 100, unrefused=True) or 0) < 10_000
    fix = _finding("memory", _in_group("memory", 100 * 2**20, "doctor", "--json", "-c", "10k"))["fix"]
    [fewer], [more] = re.findall(r"^-c (\d+)", fix), re.findall(r"--memory=(\d+)m", fix)
    assert opened(int(fewer), 100) == int(fewer)
    assert opened(10_000, int(more)) == 10_000


@pytest.mark.lengthy
def test_page_cache_of_a_control_group_is_room_whether_its_pages_are_active_or_not(tmp_path: Path) -> None:
    path, cache = tmp_path / "run.json", tmp_path / "cache"
    # What is read twice is active (mark_page_accessed in mm/swap.c). It is written in the group, whose it is then.
    fill = f"head -c {150 * 2**20} /dev/zero > {cache}; sync {cache}; cat {cache} {cache} > /dev/null"
    group = ("memory", 250 * 2**20)
    found = _finding("memory", _in_group(*group, "doctor", "--json", "-c", "10k", first=fill))
    assert found["level"] == "ok", found
    cache.unlink()
    _in_group(*group, "blast", "-c", "10k", "-q", *_SHORT.split(), "--no-progress", "-o", str(path), first=fill)
    assert json.loads(path.read_text())["connections"]["opened"] == 10_000


@pytest.mark.lengthy
@pytest.mark.parametrize(
    ("engine", "workers", "mebibytes"),
    [("native", 8, 200), ("uvloop", 1, 150), ("uvloop", 8, 200), ("asyncio", 8, 200)],
)
def test_what_is_advised_in_little_memory_opens_beside_the_processes_of_any_engine(
    engine: str, workers: int, mebibytes: int, tmp_path: Path
) -> None:
    path = tmp_path / "run.json"

    def blast(connections: int) -> subprocess.CompletedProcess[str]:
        asked = ("blast", "-c", str(connections), "-w", str(workers), "--engine", engine, "-q", *_SHORT.split())
        return _in_group("memory", mebibytes * 2**20, *asked, "--no-progress", "-o", str(path))

    refused = blast(15_000)
    assert (refused.returncode, refused.stderr[:17]) == (1, "loadkit: memory: "), refused
    [advised] = re.findall(r"; fix: -c (\d+), or more memory", refused.stderr)
    said = blast(int(advised))
    assert "memory" not in said.stderr
    assert json.loads(path.read_text())["connections"]["opened"] == int(advised)
