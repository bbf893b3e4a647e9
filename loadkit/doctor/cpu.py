"""CPUs: how many we may use, how steadily they run, and by which clock.

None of it stops a run, or says how this run went: blast and serve leave it to the doctor (`in_runs`), and the verdict
reports what came of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from loadkit.doctor.demand import Demand
from loadkit.doctor.finding import Finding, Level

__all__ = ["check_cpu"]

_STEAL = 0.01  # above this the upper percentiles are the hypervisor's
# A reading of these clocks leaves user space (no vDSO) or is coarse: a microsecond or a tick instead of 20 ns.
_SLOW_CLOCKS = {"hpet", "acpi_pm", "pit", "jiffies", "refined-jiffies", "xen"}


def check_cpu(demand: Demand) -> Iterator[Finding]:
    """Yields the findings on cores, the control group's quota, governor, steal and clock source."""
    host = demand.host
    yield _cores(demand)
    if host.cgroup.cpu_cores is not None:
        yield _quota(demand, host.cgroup.cpu_cores)
    if host.governor is not None:
        yield _governor(host.governor)
    if host.steal_share is not None:
        yield _steal(host.steal_share)
    if host.clock_source is not None:
        yield _clock_source(host.clock_source)


def _cores(demand: Demand) -> Finding:
    cores, cpus = len(demand.host.cores), demand.host.cpus
    seen = f"{cores} of {cpus} core(s) may be used"
    needed = "2 or more, one core per end" if demand.embedded else "1 or more"
    everything = f"0-{cpus - 1}"
    command = "serve" if demand.serves_alone else "blast"
    fix = f"taskset -c {everything} loadkit {command} ..., or docker run --cpuset-cpus={everything}"
    if demand.embedded and cores < 2:
        if cpus < 2:
            fix = "measure on a machine with more cores, or serve on another one: loadkit blast HOST:PORT"
        return _warning(
            "cores", seen, needed, "both ends share a core, so the work of each adds to the latency of the other", fix
        )
    if cores < cpus:
        return _warning("cores", seen, needed, "an affinity mask or cpuset keeps loadkit off the other cores", fix)
    return Finding("cores", Level.OK, seen, needed, in_runs=False)


def _quota(demand: Demand, cores: float) -> Finding:
    wanted = len(demand.host.cores)
    seen, needed = f"the control group's quota gives {cores:g} core(s)", f"{wanted}, one per usable core"
    if cores >= wanted:
        return Finding("cpu-quota", Level.OK, seen, needed, in_runs=False)
    why = (
        "when the quota of a period is used up, all workers stand still until the next one, about 50 ms "
        f"(--workers auto goes by it: {len(demand.host.worker_cores)})"
    )
    return _warning("cpu-quota", seen, needed, why, f"docker run --cpus={wanted}, or systemd CPUQuota={wanted * 100}%")


def _governor(governor: str) -> Finding:
    seen, needed = f"CPU frequency governor {governor}", "performance"
    if governor == "performance":
        return Finding("governor", Level.OK, seen, needed, in_runs=False)
    why = "a core that was idle starts at a lower clock: an open loop at a low rate looks slower than a busy one"
    fix = "echo performance | tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor (as root)"
    return _warning("governor", seen, needed, why, fix)


def _steal(share: float) -> Finding:
    seen, needed = f"{share:.1%} of the CPU time since boot was stolen", f"less than {_STEAL:.0%}"
    if share < _STEAL:
        return Finding("steal", Level.OK, seen, needed, in_runs=False)
    why = "the hypervisor stops this machine for milliseconds at times: the upper percentiles include that"
    return _warning("steal", seen, needed, why, "use a machine with dedicated CPUs, or repeat a run and compare")


def _clock_source(name: str) -> Finding:
    seen, needed = f"clock source {name}", "one that needs no system call: tsc, kvm-clock, arch_sys_counter"
    if name not in _SLOW_CLOCKS:
        return Finding("clock", Level.OK, seen, needed, in_runs=False)
    why = "each reading of the clock is a system call or coarse, and each reply needs one"
    fix = (
        "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource (as root), or boot with "
        "clocksource=tsc"
    )
    return _warning("clock", seen, needed, why, fix)


def _warning(code: str, seen: str, needed: str, why: str, fix: str) -> Finding:
    return Finding(code, Level.WARN, seen, needed, why, fix, in_runs=False)
