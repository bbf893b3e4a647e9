"""Packets that are lost before the measured time, and in it: those that were lost in it are reported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.namespaces import network_namespace

pytestmark = pytest.mark.slow

# Loopback is down for 0.3 s in the warm-up, and again in the hold: what each connection sends then is sent once more.
_SCRIPT = """
import json, re, subprocess, sys, time

from loadkit.host import read_host
from loadkit.engine.registry import choose_engine
from loadkit.plan.build import build_plan
from loadkit.profile.read import load_profile
from loadkit.report.build import build_record
from loadkit.run.blast import run_blast

counts = {}


def retransmitted():
    said = subprocess.run(["ss", "-tinO"], capture_output=True, text=True, check=True).stdout
    ours = [line for line in said.splitlines() if re.search(r" 127.0.0.1:[0-9]+ +127.0.0.1:%d " % port(), line)]
    return sum(int(found[1]) for line in ours if (found := re.search(r" retrans:[0-9]+/([0-9]+)", line)))


def port():
    said = subprocess.run(["ss", "-tlnH"], capture_output=True, text=True, check=True).stdout
    return int(said.split()[3].rpartition(":")[2])


def lose_some():
    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
    time.sleep(0.3)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    time.sleep(1.0)


def observe(progress):
    if progress.phase == "warm-up" and "warm-up" not in counts:
        lose_some()
        counts["warm-up"] = retransmitted()
    if progress.phase == "hold" and "before" not in counts:
        counts["before"] = retransmitted()
        lose_some()
        counts["after"] = retransmitted()


options = {"connections": "10", "rate": "200", "warmup": "4s", "duration": "5s", "engine": sys.argv[1]}
profile, sources = load_profile(None, options)
plan = build_plan(profile, sources, read_host(), None, choose_engine(profile.engine))
samples = run_blast(plan, observe)
tcp = build_record(plan, read_host(), samples).tcp
print(json.dumps({**counts, "watched": tcp.watched, "noted": tcp.retransmits_per_connection * tcp.watched}))
"""


@pytest.mark.parametrize("engine", ["native", "uvloop", "asyncio"])
def test_retransmissions_are_those_of_the_measured_time(engine: str) -> None:
    command = (*network_namespace(), sys.executable, "-c", _SCRIPT, engine)
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["watched"] == 10
    assert said["warm-up"] >= 10, "each connection lost something before the measured time"
    assert said["after"] - said["before"] >= 10, "and in it"
    assert said["after"] - said["before"] <= round(said["noted"]) < said["after"]
