"""`loadkit blast`."""

from __future__ import annotations

import signal
from typing import Any

import click

from loadkit.cli.environment import Command, origins
from loadkit.cli.github import find_summary, github_option
from loadkit.cli.options import given, profile_options
from loadkit.cli.output import check_format, check_writable, find_json, output_option
from loadkit.cli.preflight import check_machine
from loadkit.cli.publish import publish

__all__ = ["blast"]

_EXAMPLES = """\b
Examples:
  loadkit blast                                     embedded server, 1,000 connections, closed loop, 10 s
  loadkit blast -c 10k -R 20k -d 30s -o run.json    open loop, with a record
  loadkit blast 10.0.0.5:7000 -c 100k --source 10.0.1.0/28
  loadkit blast --profile churn --slo 'connect.p99<50ms' --slo 'errors==0'
  loadkit blast 10.0.0.5:7000 --slo 'latency.p99<5ms' -o run.json -o run.xml --github    in a pipeline"""


@click.command(cls=Command, epilog=_EXAMPLES, short_help="open very many connections, and say how long all took")
@click.argument("target", metavar="[HOST:PORT]", required=False, envvar="LOADKIT_BLAST_TARGET")
@profile_options
@click.option("--profile", metavar="NAME|FILE", help="a scenario: `loadkit profiles` lists those shipped")
@output_option
@github_option
@click.option("--dry-run", is_flag=True, help="print the plan as JSON and do nothing")
@click.option("--no-progress", is_flag=True, help="no live view (there is none either when stderr is not a terminal)")
@click.option("-q", "--quiet", is_flag=True, help="print the verdict line alone")
def blast(
    target: str | None,
    profile: str | None,
    output: tuple[str, ...],
    github: bool,
    dry_run: bool,
    no_progress: bool,
    quiet: bool,
    **values: Any,
) -> int:
    """Open many connections to HOST:PORT, send messages, and say how long everything took.

    Without HOST:PORT it starts an embedded `loadkit serve` on a free loopback port for the run.
    """
    from loadkit.doctor.demand import demand_of_blast, demand_of_plan
    from loadkit.doctor.preflight import in_our_words
    from loadkit.engine.registry import choose_engine
    from loadkit.errors import PreflightError
    from loadkit.host import raise_nofile, read_host
    from loadkit.plan.build import build_plan
    from loadkit.profile.load import load_profile
    from loadkit.report.as_text import as_text
    from loadkit.report.build import build_record
    from loadkit.report.slo import parse_slo
    from loadkit.run.target import resolve
    from loadkit.sockets import read_sockets

    from_environment = origins(click.get_current_context())
    asked, sources = load_profile(profile, given(values), from_environment)
    sources |= {key: origin for key, origin in from_environment.items() if key in ("target", "profile")}
    for path in output:
        check_format(path)
    for expression in asked.slo:
        parse_slo(expression)
    summary = find_summary(github and not dry_run)
    raise_nofile()
    host = read_host()
    where = resolve(target) if target else None
    sockets = read_sockets(where.port, where.addresses, (host.port_low, host.port_high)) if where else None
    try:
        plan = build_plan(asked, sources, host, where, profile, sockets)
    except PreflightError as error:
        if asked.phases:
            raise  # which the doctor knows nothing of
        demand = demand_of_blast(host, int(asked.connections), where, asked.engine, sockets, asked.source)
        raise in_our_words(error, demand) from None
    if dry_run:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(plan), indent=2).decode())
        return 0
    check_machine(demand_of_plan(host, plan, choose_engine(plan.engine, plan.edge_triggered), sockets), quiet)
    for path in output:
        check_writable(path)

    from loadkit.cli.live import live_view
    from loadkit.run.blast import run_blast

    with live_view(enabled=not (no_progress or quiet)) as observer:
        plan, samples = run_blast(plan, observer)
    record = build_record(plan, host, samples)
    text = as_text(record, find_json(output))
    publish(record, text.splitlines()[0] if quiet else text, output, summary)
    if samples.interrupted:
        return 128 + int(signal.Signals[samples.interrupted])
    if record.verdict.state == "invalid":
        return 4
    return 0 if all(objective.ok for objective in record.slo) else 3
