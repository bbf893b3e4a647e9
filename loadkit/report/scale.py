"""What opening, holding and closing many connections took: from samples to the record, and in words."""

from __future__ import annotations

import itertools

from loadkit.measure.memory import MemorySamples
from loadkit.measure.run_samples import TENTHS, RunSamples, tenth_of
from loadkit.plan.addresses import is_here
from loadkit.plan.build import Plan
from loadkit.plan.load import Load
from loadkit.plan.memory import estimate_memory
from loadkit.report.record import Memory, Opening, RunRecord
from loadkit.units import NS_PER_S, format_count, format_duration, format_rate, format_size

__all__ = ["memory_line", "memory_record", "opening_line", "opening_record", "paced_connects"]

# With fewer connections the opening is too short to be worth a line.
ENOUGH_CONNECTIONS = 1_000
# The parent looks twice per tenth, and at most every 5 ms (run/blast.py). The rate of a tenth that is shorter than two
# looks would mean nothing.
ENOUGH_NS = TENTHS * 2 * 5_000_000


def paced_connects(samples: RunSamples) -> tuple[int, int] | None:
    """Returns how many connections the ramp opened after the run's first, and the time in ns; None if no other opened.

    The first is open when the ramp begins. The others are due one interval of the connect rate apart from then on.
    """
    opened, duration_ns = _opened(samples)
    return (opened - 1, duration_ns) if opened > 1 and duration_ns > 0 else None


def opening_record(load: Load, samples: RunSamples) -> Opening | None:
    """Returns how the connections of the ramp opened; None if the run did not get that far."""
    opened, duration_ns = _opened(samples)
    if not opened:
        return None
    first = load.phases[0].connections
    deciles = None
    # With fewer connections the first tenth is the run's first connection alone.
    if duration_ns >= ENOUGH_NS and first > TENTHS and len(samples.tenths_ns) == TENTHS:
        numbers = itertools.pairwise((1, *(tenth_of(first, index) for index in range(TENTHS))))
        edges = itertools.pairwise((0, *samples.tenths_ns))
        deciles = tuple(
            round((until - since) * NS_PER_S / max(1, end - begin), 1)
            for (since, until), (begin, end) in zip(numbers, edges, strict=True)
        )
    return Opening(opened, duration_ns, deciles, samples.stopped_opening)


def _opened(samples: RunSamples) -> tuple[int, int]:
    """Returns how many connections opened until the end of the ramp, and from its start until the last was settled."""
    settled_ns = max((worker.state["settled_ns"] for worker in samples.workers), default=0)
    if samples.ramp_ns is None or not settled_ns:
        return 0, 0
    opened = sum(worker.phases[0].counters["opened"] for worker in samples.workers)
    return opened, max(0, settled_ns - samples.ramp_ns)


def memory_record(plan: Plan, samples: RunSamples) -> Memory | None:
    """Returns what the open connections took, and what the doctor estimates for that number."""
    memory, here = samples.memory, plan.here
    if memory is None:
        return None
    estimate = estimate_memory(
        memory.connections,
        kernel_ends=2 if is_here(plan.target) else 1,
        is_unix=plan.target.is_unix,
        blast_workers=here.workers,
        serve_workers=here.serve.workers if here.serve else 0,
        engine=here.engine,
    )
    return Memory(
        connections=memory.connections,
        kernel_bytes=memory.kernel_bytes,
        blast_bytes=memory.blast_bytes,
        serve_bytes=memory.serve_bytes,
        processes_bytes=memory.processes_bytes,
        used_bytes=_used(memory),
        estimated_bytes=estimate.total_bytes,
    )


def opening_line(record: RunRecord) -> str | None:
    """Returns how long the first connections took, and whether the rate fell with their number."""
    opening = record.opening
    if opening is None or opening.opened < ENOUGH_CONNECTIONS:
        return None
    text = f"{format_count(opening.opened)} in {format_duration(opening.duration_ns)}"
    if opening.deciles_per_s:
        first, last = opening.deciles_per_s[0], opening.deciles_per_s[-1]
        times = f" ({last / first:.2f} x)" if first else ""
        text += (
            f": first tenth {format_rate(first)}, last {format_rate(last)}{times}, slowest "
            f"{format_rate(min(opening.deciles_per_s))}"
        )
    if record.load.connect_rate_hz is None:
        text += "; a closed loop of connects (--connect-rate max), so `connect` includes no wait for a schedule"
    if opening.stopped:
        text += f"; no more were opened: {opening.stopped}"
    return text


def memory_line(record: RunRecord) -> str | None:
    """Returns what a connection cost, and how far the doctor's estimate was off."""
    memory = record.memory
    if memory is None or not memory.connections:
        return None
    parts = [f"kernel {_each(memory.kernel_bytes, memory)}", f"blast end {_each(memory.blast_bytes, memory)}"]
    if memory.serve_bytes is not None:
        parts.append(f"serve end {_each(memory.serve_bytes, memory)}")
    off = (memory.estimated_bytes - memory.used_bytes) / memory.used_bytes if memory.used_bytes else 0.0
    return (
        f"per connection: {', '.join(parts)}; processes {format_size(memory.processes_bytes)}; total "
        f"{format_size(memory.used_bytes)}, estimated by the doctor {format_size(memory.estimated_bytes)} ({off:+.0%})"
    )


def _used(memory: MemorySamples) -> int:
    return memory.kernel_bytes + memory.blast_bytes + (memory.serve_bytes or 0) + memory.processes_bytes


def _each(amount: int, memory: Memory) -> str:
    return format_size(round(amount / memory.connections))
