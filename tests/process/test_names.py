"""Names with several addresses, and addresses with a zone, in a network namespace with a hosts file of its own."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.namespaces import network_namespace

pytestmark = pytest.mark.slow

SHORT = ("-c", "5", "-n", "50", "--no-progress")
PACED = ("-c", "5", "-R", "100", "-n", "50", "--no-progress")
_LINK = (
    "ip link add eth7 type veth peer name eth8",
    "ip link set eth7 up",
    "ip link set eth8 up",
    "ip -6 addr add fe80::1/64 dev eth7 nodad",
    "ip -6 addr add fe80::2/64 dev eth7 nodad",
)
_SERVED = """
import json, subprocess, sys, time
from pathlib import Path

ready, listen, options, commands = sys.argv[1], sys.argv[2], *map(json.loads, sys.argv[3:])
loadkit = [sys.executable, "-m", "loadkit"]
server = subprocess.Popen([*loadkit, "serve", listen, "-w", "1", "--ready-file", ready, *options])
try:
    while not Path(ready).exists() and server.poll() is None:
        time.sleep(0.02)
    for command in commands:
        done = subprocess.run([*loadkit, *command], capture_output=True, text=True)
        print(json.dumps([done.returncode, done.stdout, done.stderr]))
finally:
    server.kill()
    server.wait()
"""


@dataclass
class Done:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost two\n::1 localhost\n127.0.0.9 two\n")
    return path


def beside(
    wrapper: tuple[str, ...], folder: Path, listen: str, *commands: tuple[str, ...], options: tuple[str, ...] = ()
) -> list[Done]:
    """Runs loadkit's commands one after another beside a serve end."""
    texts = (listen, json.dumps(options), json.dumps(commands))
    said = subprocess.run(
        (*wrapper, sys.executable, "-c", _SERVED, str(folder / "ready.json"), *texts),
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    done = [Done(*json.loads(line)) for line in said.stdout.splitlines()]
    assert len(done) == len(commands), said.stderr
    return done


def test_a_link_local_address_works_at_both_ends(engine: tuple[str, ...], tmp_path: Path) -> None:
    place, record = "[fe80::1%eth7]:7000", tmp_path / "run.json"
    ping, blast = beside(
        network_namespace(*_LINK),
        tmp_path,
        place,
        ("ping", place),
        ("blast", place, "--source", "fe80::2%eth7", "--journey", "-o", str(record), *PACED, *engine),
        options=(*engine, "--probes"),
    )
    assert ping.out.startswith(f"{place} echoed 64 B in "), ping
    assert blast.status == 0, blast
    read = json.loads(record.read_text())
    assert read["target"]["addresses"] == ["fe80::1%eth7"]
    assert read["target"]["is_local"] is True
    assert read["errors"] == []
    assert read["journey_missing"] is None


def test_a_link_local_address_reaches_a_server_on_all_addresses(tmp_path: Path) -> None:
    place = "[fe80::1%eth7]:7000"
    blast, doctor = beside(
        network_namespace(*_LINK),
        tmp_path,
        "[::]:7000",
        ("blast", place, *SHORT),
        ("doctor", "-c", "10", place, "--source", "fe80::2%eth7"),
    )
    assert blast.status == 0, blast
    assert doctor.status == 0, doctor
    assert "1 of 1 source address(es) can be connected from" in doctor.out


def test_a_source_that_its_link_does_not_have_is_refused_with_the_line_that_adds_it(tmp_path: Path) -> None:
    place, source = "[fe80::1%eth7]:7000", "fe80::77%eth7"
    doctor, blast = beside(
        network_namespace(*_LINK),
        tmp_path,
        place,
        ("doctor", "-c", "10", place, "--source", source),
        ("blast", place, "--source", source, *SHORT),
    )
    assert (doctor.status, blast.status, blast.out) == (1, 1, "")
    assert "ip -6 addr add fe80::77/64 dev eth7 nodad" in doctor.out
    assert "ip -6 addr add fe80::77/64 dev eth7 nodad" in blast.err


@functools.cache
def order_of(wrapper: tuple[str, ...], name: str) -> list[str]:
    """Returns the addresses of a name in the order in which the C library gives them."""
    script = f"import socket; print(*(a[0] for *_, a in socket.getaddrinfo({name!r}, 1, type=socket.SOCK_STREAM)))"
    said = subprocess.run((*wrapper, sys.executable, "-c", script), capture_output=True, text=True, check=True)
    return said.stdout.split()


def test_serve_listens_on_all_addresses_of_a_name_and_a_dead_first_one_is_passed_over(
    engine: tuple[str, ...], hosts: Path, tmp_path: Path
) -> None:
    wrapper = network_namespace(hosts=hosts)
    dead, alive = order_of(wrapper, "two")
    hosts.write_text(hosts.read_text() + f"{alive} served\n::1 served\n")
    blast, *pings = beside(
        wrapper,
        tmp_path,
        "served:7000",
        ("blast", "two:7000", *SHORT, *engine),
        ("ping", "two:7000"),
        ("ping", "[::1]:7000"),
        options=engine,
    )
    assert sorted(json.loads((tmp_path / "ready.json").read_text())["addresses"]) == [alive, "::1"]
    assert blast.status == 0, blast
    assert f"two = {alive}, port 7000" in blast.out
    assert blast.err.startswith(f"loadkit: two:7000: {dead}: the first connection failed: Connection refused ")
    assert blast.err.endswith(f"; going on to {alive}\n")
    assert len(blast.err.splitlines()) == 1
    assert [one.out.partition(" echoed ")[0] for one in pings] == [f"two:7000 at {alive}", "[::1]:7000"]


def test_a_first_address_that_works_is_used_and_if_none_does_all_are_named(hosts: Path, tmp_path: Path) -> None:
    wrapper = network_namespace(hosts=hosts)
    first, _ = order_of(wrapper, "two")
    commands = [("ping", "two:7000"), ("blast", "two:7001", *SHORT), ("ping", "two:7001")]
    ping, no_blast, no_ping = beside(wrapper, tmp_path, "0.0.0.0:7000", *commands)
    assert ping.out.startswith(f"two:7000 at {first} echoed ")
    for done in (no_blast, no_ping):
        assert (done.status, done.out) == (1, "")
    passed_over, line = no_blast.err.splitlines()
    assert passed_over.startswith(f"loadkit: two:7001: {first}: ")
    for address in ("127.0.0.1", "127.0.0.9"):
        assert f"{address}: the first connection failed: Connection refused (ECONNREFUSED); " in line
    assert len(no_ping.err.splitlines()) == 1


def test_sources_choose_among_the_addresses_of_a_name(hosts: Path, tmp_path: Path) -> None:
    commands = [("blast", "localhost:7000", "--source", source, *SHORT) for source in ("127.0.0.2", "::1")]
    v4, v6 = beside(network_namespace(hosts=hosts), tmp_path, "localhost:7000", *commands)
    assert (v4.status, v4.err, v6.status, v6.err) == (0, "", 0, "")
    assert "localhost = 127.0.0.1, port 7000" in v4.out
    assert "localhost = ::1, port 7000" in v6.out


def test_serve_leaves_out_an_address_that_this_machine_has_not(hosts: Path, tmp_path: Path) -> None:
    without_v6 = network_namespace("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6", hosts=hosts)
    [ping] = beside(without_v6, tmp_path, "localhost:0", ("ping", "127.0.0.1:1"))
    assert ping.status == 1
    assert json.loads((tmp_path / "ready.json").read_text())["addresses"] == ["127.0.0.1"]
