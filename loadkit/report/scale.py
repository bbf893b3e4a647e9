"""What opening, holding and closing many connections took: from samples to the record, and from there to words."""

from __future__ import annotations

import itertools

from loadkit.measure.samples import MemorySamples, RunSamples
from loadkit.plan.addresses import is_loopback
from loadkit.plan.memory import estimate_memory
from loadkit.plan.model import Plan
from loadkit.report.record import Memory, Opening, RunRecord
from loadkit.units import NS_PER_S, format_count, format_duration, format_rate, format_size

__all__ = ["memory_line", "memory_record", "opening_line", "opening_record"]

# Of fewer nobody asks how long they took.
ENOUGH_CONNECTIONS = 1_000
_TENTHS = 10
# The parent looks every 50 ms (run/blast.py): the rate of a tenth that is shorter than two looks would be made up.
ENOUGH_NS = _TENTHS * 100_000_000


def opening_record(plan: Plan, samples: RunSamples) -> Opening | None:
    """Returns how the first connections opened; None where none did."""
    settled_ns = max((worker.state["settled_ns"] for worker in samples.workers), default=0) - samples.start_ns
    opened = sum(worker.phases[0].counters["opened"] for worker in samples.workers)
    if settled_ns <= 0 or not opened:
        return None
    first = plan.phases[0].connections
    deciles = None
    if settled_ns >= ENOUGH_NS and len(samples.tenths_ns) == _TENTHS:
        edges = (0, *samples.tenths_ns)
        spans = [max(1, end - begin) for begin, end in itertools.pairwise(edges)]
        deciles = tuple(round(first / _TENTHS * NS_PER_S / span, 1) for span in spans)
    return Opening(opened, settled_ns, deciles, samples.stopped_opening)


def memory_record(plan: Plan, samples: RunSamples) -> Memory | None:
    """Returns what the open connections took, beside what the doctor had reckoned for so many."""
    memory = samples.memory
    if memory is None:
        return None
    local = all(is_loopback(address) for address in plan.target.addresses)
    estimate = estimate_memory(
        memory.connections,
        kernel_ends=2 if local else 1,
        blast=True,
        serve=plan.serve is not None,
        engine=plan.engine,
        workers=plan.workers + (plan.serve.workers if plan.serve else 0),
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
        first, *_, last = opening.deciles_per_s
        text += (
            f": {format_rate(first)} the first tenth, {format_rate(last)} the last ({last / first:.2f} x), "
            f"{format_rate(min(opening.deciles_per_s))} the slowest"
        )
    if opening.stopped:
        text += f"; no more were opened: {opening.stopped}"
    return text


def memory_line(record: RunRecord) -> str | None:
    """Returns what a connection cost, and how far the doctor's estimate was off."""
    memory = record.memory
    if memory is None:
        return None
    parts = [f"kernel {_each(memory.kernel_bytes, memory)}", f"blast end {_each(memory.blast_bytes, memory)}"]
    if memory.serve_bytes is not None:
        parts.append(f"serve end {_each(memory.serve_bytes, memory)}")
    off = (memory.estimated_bytes - memory.used_bytes) / memory.used_bytes if memory.used_bytes else 0.0
    return (
        f"a connection: {', '.join(parts)}; processes {format_size(memory.processes_bytes)}; "
        f"{format_size(memory.used_bytes)} in all, the doctor's estimate was {format_size(memory.estimated_bytes)} "
        f"({off:+.0%})"
    )


def _used(memory: MemorySamples) -> int:
    return memory.kernel_bytes + memory.blast_bytes + (memory.serve_bytes or 0) + memory.processes_bytes


def _each(amount: int, memory: Memory) -> str:
    return format_size(round(amount / memory.connections))
