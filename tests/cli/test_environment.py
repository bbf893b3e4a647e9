"""Options from environment variables, as a container is given them."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from loadkit.cli.app import app
from loadkit.cli.environment import PREFIX, unknown_variables

from .conftest import Loadkit

QUICK = ("-c", "5", "-n", "20", "--no-progress")


@pytest.mark.slow
def test_variables_stand_for_options_and_the_plan_names_them(loadkit: Loadkit) -> None:
    variables = {
        "LOADKIT_BLAST_TARGET": "127.0.0.1:9",
        "LOADKIT_BLAST_CONNECTIONS": "7",
        "LOADKIT_BLAST_RATE": "5k",
        "LOADKIT_BLAST_CHECK": "no",
        "LOADKIT_BLAST_SLO": "errors==0 latency.p99<5ms",
        "LOADKIT_BLAST_ABORT_ON": "error_ratio>1%  latency.p99>1s for 5s errors>9",
        "LOADKIT_BLAST_SIZE": "",  # as if it was not there
        "LOADKIT_BLAST_DEPTH": "2",
    }
    done = loadkit("blast", "--depth", "3", "--dry-run", env=variables)
    assert (done.returncode, done.stderr) == (0, "")
    plan = json.loads(done.stdout)
    load, origins = plan["load"], plan["origins"]
    assert (plan["target"]["port"], load["connections"], load["check"], load["depth"]) == (9, 7, False, 3)
    assert plan["given"]["slo"] == ["errors==0", "latency.p99<5ms"]
    assert plan["given"]["abort_on"] == ["error_ratio>1%", "latency.p99>1s for 5s", "errors>9"]
    assert (origins["target"], origins["slo"]) == ("environment LOADKIT_BLAST_TARGET", "environment LOADKIT_BLAST_SLO")
    from_environment = {name for name, source in origins["load"].items() if source.startswith("environment ")}
    assert from_environment == {"connections", "phases", "check", "content"}
    assert origins["load"]["phases"] == "environment LOADKIT_BLAST_RATE"
    assert (origins["load"]["depth"], origins["load"]["size_bytes"]) == ("option", "default")


@pytest.mark.slow
def test_a_variable_goes_before_the_profile(loadkit: Loadkit, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("connections = 5\nsize = 100\n")
    variables = {"LOADKIT_BLAST_PROFILE": "mine.toml", "LOADKIT_BLAST_CONNECTIONS": "6"}
    plan = json.loads(loadkit("blast", "--dry-run", env=variables).stdout)
    assert (plan["load"]["connections"], plan["load"]["size_bytes"]) == (6, 100)
    origins = {name: plan["origins"]["load"][name] for name in ("connections", "size_bytes")}
    origins |= {"profile": plan["origins"]["profile"]}
    assert origins == {
        "connections": "environment LOADKIT_BLAST_CONNECTIONS",
        "size_bytes": "profile",
        "profile": "environment LOADKIT_BLAST_PROFILE",
    }


@pytest.mark.slow
def test_the_record_names_the_variable(loadkit: Loadkit, tmp_path: Path) -> None:
    done = loadkit("blast", *QUICK, env={"LOADKIT_BLAST_SIZE": "100", "LOADKIT_BLAST_OUTPUT": "run.json"})
    assert done.returncode in (0, 4), done.stderr
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["load"]["size_bytes"], record["origins"]["load"]["size_bytes"]) == (
        100,
        "environment LOADKIT_BLAST_SIZE",
    )
    assert record["origins"]["load"]["connections"] == "option"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "variable", "value", "said"),
    [
        pytest.param("blast", "LOADKIT_BLAST_RATE", "fast", "--rate (LOADKIT_BLAST_RATE): expected", id="units"),
        pytest.param(
            "blast", "LOADKIT_BLAST_CONNECTIONS", "0", "--connections (LOADKIT_BLAST_CONNECTIONS): 0", id="bound"
        ),
        pytest.param("blast", "LOADKIT_BLAST_ENGINE", "warp", "(LOADKIT_BLAST_ENGINE)", id="choice"),
        pytest.param("blast", "LOADKIT_BLAST_CHECK", "perhaps", "(LOADKIT_BLAST_CHECK)", id="flag"),
        pytest.param(
            "blast", "LOADKIT_BLAST_OUTPUT", "run.xyz", "--output (LOADKIT_BLAST_OUTPUT): run.xyz", id="output"
        ),
        pytest.param("blast", "LOADKIT_BLAST_TARGET", "nowhere", "HOST:PORT (LOADKIT_BLAST_TARGET)", id="target"),
        pytest.param("serve", "LOADKIT_SERVE_BACKLOG", "x", "(LOADKIT_SERVE_BACKLOG)", id="serve"),
        pytest.param("serve", "LOADKIT_SERVE_LISTEN", "nowhere", "HOST:PORT (LOADKIT_SERVE_LISTEN)", id="listen"),
        pytest.param("doctor", "LOADKIT_DOCTOR_CHURN", "x", "--churn (LOADKIT_DOCTOR_CHURN):", id="doctor"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_variable(
    loadkit: Loadkit, command: str, variable: str, value: str, said: str
) -> None:
    done = loadkit(command, env={variable: value})
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert said in line


@pytest.mark.slow
def test_an_option_that_was_typed_is_named_without_a_variable(loadkit: Loadkit) -> None:
    done = loadkit("blast", "--rate", "fast", env={"LOADKIT_BLAST_RATE": "5k"})
    assert done.returncode == 2
    assert done.stderr.startswith("loadkit: --rate: expected")


@pytest.mark.slow
def test_a_variable_that_stands_for_nothing_is_said_but_not_to_who_wants_quiet(loadkit: Loadkit) -> None:
    variables = {"LOADKIT_BLAST_CONECTIONS": "5"}
    done = loadkit("blast", *QUICK, "--dry-run", env=variables)
    assert done.returncode == 0
    [line] = done.stderr.splitlines()
    assert line.startswith("loadkit: warning: LOADKIT_BLAST_CONECTIONS stands for no option of ")
    assert line.endswith("did you mean LOADKIT_BLAST_CONNECTIONS?")
    assert loadkit("blast", *QUICK, "--dry-run", "-q", env=variables).stderr == ""


@pytest.mark.slow
def test_a_version_in_the_environment_is_no_option(loadkit: Loadkit) -> None:
    done = loadkit("profiles", env={"LOADKIT_VERSION": "1.2.3"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "smoke" in done.stdout


def _context(command: str) -> click.Context:
    parent = click.Context(app, info_name="loadkit", auto_envvar_prefix=PREFIX)
    return click.Context(app.commands[command], parent=parent, info_name=command)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        pytest.param("LOADKIT_SERVE_WORKERS", "2", None, id="an option"),
        pytest.param("LOADKIT_SERVE_LISTEN", "7000", None, id="the argument"),
        pytest.param("LOADKIT_BLAST_RAT", "2", None, id="of another command"),
        pytest.param("LOADKIT_SERVE_WORKER", "2", "did you mean LOADKIT_SERVE_WORKERS?", id="nearly an option"),
        pytest.param("LOADKIT_SERVE_XYZ", "2", "see `loadkit serve --help`", id="like none"),
        pytest.param("LOADKIT_SERVE_PORT", "8000", "stands for no option", id="a port of one's own"),
        pytest.param("LOADKIT_SERVE_PORT", "tcp://10.0.0.1:7000", None, id="a port of Kubernetes"),
        pytest.param("LOADKIT_SERVE_SERVICE_HOST", "10.0.0.1", None, id="a service of Kubernetes"),
        pytest.param("LOADKIT_SERVE_PORT_7000_TCP_ADDR", "10.0.0.1", None, id="an address of Kubernetes"),
    ],
)
def test_which_variables_stand_for_nothing(name: str, value: str, said: str | None) -> None:
    lines = list(unknown_variables(_context("serve"), {name: value, "PATH": "/bin"}))
    assert len(lines) == (said is not None)
    assert all(line.startswith(name) and (said or "") in line for line in lines)


@pytest.mark.parametrize("command", ["serve", "blast", "ping", "doctor", "report"])
def test_every_option_has_a_variable_called_as_its_flag_is(command: str) -> None:
    context = _context(command)
    flags = [option.opts[-1] for option in app.commands[command].params if isinstance(option, click.Option)]
    assert len(flags) >= 2
    variables = {
        f"{PREFIX}_{command.upper()}_{flag.removeprefix('--').replace('-', '_').upper()}": "1" for flag in flags
    }
    assert list(unknown_variables(context, variables)) == []
