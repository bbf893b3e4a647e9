"""A record as OpenMetrics, read back by Prometheus' own client."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from prometheus_client import parser as text_format
from prometheus_client.openmetrics import parser as openmetrics

from loadkit.measure.names import TIMES
from loadkit.report.as_openmetrics import as_openmetrics
from loadkit.report.families import MOST_VALUES, OTHERS
from loadkit.report.record import RunRecord
from loadkit.report.serve import load_serve
from tests.golden.made_up import RUNS, awkward
from tests.hostile.records import served
from tests.pages import chapter

Labels = dict[str, str]


def samples(text: str) -> Iterator[tuple[str, Labels, float]]:
    for family in openmetrics.text_string_to_metric_families(text):
        assert family.documentation
        yield from ((one.name, one.labels, one.value) for one in family.samples)


def value(record: RunRecord, name: str, **labels: str) -> float:
    [found] = [number for one, its, number in samples(as_openmetrics(record)) if (one, its) == (name, labels)]
    return found


@pytest.mark.parametrize("name", [*RUNS, "awkward"])
def test_the_totals_are_those_of_the_record(name: str) -> None:
    record = awkward() if name == "awkward" else RUNS[name]()
    text = as_openmetrics(record)
    assert text.endswith("\n# EOF\n")
    found = list(samples(text))
    assert all(metric.startswith("loadkit_") for metric, _labels, _value in found)

    def total(metric: str) -> float:
        return sum(number for one, _labels, number in found if one == metric)

    for state in record.messages.__struct_fields__:
        assert total(f"loadkit_messages_{state}_total") == sum(getattr(one.messages, state) for one in record.phases)
    assert total("loadkit_connects_opened_total") == record.connections.opened
    assert total("loadkit_errors_total") == sum(row.count for one in record.phases for row in one.errors)
    for time in TIMES:
        histograms = [one.histograms[time] for one in record.phases if one.kind != "drain"]
        assert total(f"loadkit_{time}_seconds_count") == sum(one.count + one.dropped for one in histograms if one)
        assert total(f"loadkit_{time}_seconds_sum") == pytest.approx(sum(one.sum for one in histograms if one) / 1e9)
    if record.server:
        assert total("loadkit_serve_connections_opened_total") == record.server.accepted


def test_the_verdict_the_objectives_and_the_exact_percentiles_are_there() -> None:
    record = RUNS["saturated"]()
    assert value(record, "loadkit_verdict", state="invalid") == 1
    assert value(record, "loadkit_verdict", state="valid") == 0
    assert [slo.expr for slo in record.slo if not slo.ok][:2] == ["latency.p99<5ms", "errors==0"]
    assert value(record, "loadkit_slo_met", slo="latency.p99<5ms") == 0
    assert value(record, "loadkit_slo_met", slo="replies_per_s>=200") == int(record.slo[3].ok)
    # 5 ms is a standard bucket already; latencies are 1 ms and 30 ms
    assert value(record, "loadkit_latency_seconds_bucket", phase="hold", le="0.005") == 500
    assert value(record, "loadkit_window_seconds") == 10
    replied = sum(one.messages.replied for one in record.phases if one.kind == "hold")
    assert value(record, "loadkit_replies_per_second") == record.rates.replies_per_s == replied / 10
    sound = RUNS["open_loop"]()
    assert value(sound, "loadkit_percentile_seconds", time="latency", percentile="50") == (
        sound.histograms["latency"].percentiles["50"] / 1e9  # type: ignore[union-attr, operator]
    )


def test_a_run_that_ended_in_its_ramp_has_no_figures_of_a_window() -> None:
    names = {name for name, _labels, _value in samples(as_openmetrics(RUNS["interrupted"]()))}
    assert "loadkit_connects_opened_total" in names
    assert not names & {"loadkit_window_seconds", "loadkit_replies_per_second"}
    assert value(RUNS["interrupted"](), "loadkit_run_partial") == 1


def test_the_page_names_every_metric_and_no_other() -> None:
    made = [*(make() for make in RUNS.values()), awkward()]
    made[0] = msgspec.structs.replace(made[0], tags={"build": "1"})
    ours = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for record in made
        for family in openmetrics.text_string_to_metric_families(as_openmetrics(record))
    }
    table = chapter("metrics", "What there is").partition("**Buckets.**")[0]
    assert set(re.findall(r"`(loadkit_\w+)`", table)) == ours | {"loadkit_phase_active", "loadkit_serve_errors_total"}


def test_what_reads_the_format_before_openmetrics_reads_it_too() -> None:
    text = as_openmetrics(RUNS["saturated"]())
    types = {line.split()[3] for line in text.splitlines() if line.startswith("# TYPE ")}
    assert types == {"counter", "gauge", "histogram"}  # `info` would end a node exporter's reading of the whole file
    new = {(name, frozenset(labels.items())): number for name, labels, number in samples(text)}
    old = {
        (one.name, frozenset(one.labels.items())): one.value
        for family in text_format.text_string_to_metric_families(text)
        for one in family.samples
    }
    assert old == new


def test_hostile_texts_stay_texts() -> None:
    record = RUNS["open_loop"]()
    tags = {"quoted": 'a"} 1\nloadkit_evil 1', "back\\slash": "\\n\\", "plain": "\u202e\x1b[2J"}
    target = msgspec.structs.replace(record.target, host='x"\\\n# EOF\n')
    found = list(samples(as_openmetrics(msgspec.structs.replace(record, tags=tags, target=target))))
    assert {labels["key"]: labels["value"] for name, labels, _value in found if name == "loadkit_tag_info"} == {
        "quoted": 'a"} 1 loadkit_evil 1',
        "back\\slash": "\\n\\",
        "plain": "\\u202e\\x1b[2J",
    }
    assert not any(name == "loadkit_evil" for name, _labels, _value in found)


def test_no_label_has_more_values_than_it_may_and_nothing_is_lost() -> None:
    record = RUNS["open_loop"]()
    hold = record.phases[2]
    phases = tuple(msgspec.structs.replace(hold, name=f"burst {number}") for number in range(3 * MOST_VALUES))
    workers = tuple(msgspec.structs.replace(record.workers[0], index=index) for index in range(3 * MOST_VALUES))
    changed: dict[str, Any] = {"phases": phases, "workers": workers, "tags": {f"k{n}": "v" for n in range(200)}}
    found = list(samples(as_openmetrics(msgspec.structs.replace(record, **changed))))
    for label, metric in (
        ("phase", "loadkit_messages_sent_total"),
        ("worker", "loadkit_worker_cpu_user_seconds_total"),
    ):
        ours = {labels[label]: number for name, labels, number in found if name == metric}
        assert len(ours) == MOST_VALUES + 1
        least = min(number for text, number in ours.items() if text != OTHERS)
        assert ours[OTHERS] == pytest.approx(2 * MOST_VALUES * least)
    assert sum(name == "loadkit_tag_info" for name, _labels, _value in found) == MOST_VALUES


def test_two_phases_whose_names_look_alike_are_one() -> None:
    record = RUNS["open_loop"]()
    hold = record.phases[2]
    phases = tuple(msgspec.structs.replace(hold, name=name) for name in ("a b", "a  b"))
    twice = msgspec.structs.replace(record, phases=phases)
    assert value(twice, "loadkit_messages_sent_total", phase="a b") == 2 * hold.messages.sent


def test_a_serve_end_by_itself_has_its_totals(tmp_path: Any) -> None:
    path = tmp_path / "serve.json"
    path.write_bytes(msgspec.json.encode(served()))
    record = load_serve(str(path))
    found = {name: number for name, labels, number in samples(as_openmetrics(record)) if not labels}
    assert found["loadkit_serve_connections_opened_total"] == record.server.accepted
    assert found["loadkit_serve_restarts_total"] == record.server.restarts


def test_a_counter_that_went_back_is_left_out() -> None:
    """A worker that was replaced within the measured time: what its successor has is less."""
    record = RUNS["open_loop"]()
    first, *others = record.workers
    odd = msgspec.structs.replace(first, cpu_user_ns=-1, cpu_system_ns=0)
    text = as_openmetrics(msgspec.structs.replace(record, workers=(odd, *others)))
    families = {family.name: family for family in openmetrics.text_string_to_metric_families(text)}
    of_first = {"end": "blast", "worker": str(odd.index)}
    assert all(sample.labels != of_first for sample in families["loadkit_worker_cpu_user_seconds"].samples)
    assert any(sample.labels == of_first for sample in families["loadkit_worker_cpu_system_seconds"].samples)
