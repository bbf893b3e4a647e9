"""The `loadkit` command: its subcommands, and the one place where errors become a line and an exit status."""

from __future__ import annotations

import sys

import click

from loadkit.cli.blast import blast
from loadkit.cli.doctor import doctor
from loadkit.cli.environment import PREFIX, naming_variables
from loadkit.cli.helping import show_help, version
from loadkit.cli.hints import HintingGroup, nearest_first
from loadkit.cli.ping import ping
from loadkit.cli.profiles import profiles
from loadkit.cli.report import report
from loadkit.cli.serve import serve
from loadkit.errors import LoadkitError
from loadkit.imports import importing
from loadkit.limits import within_memory
from loadkit.printable import printable, shortened
from loadkit.version import __version__

__all__ = ["run"]

EXAMPLES = """\b
Examples:
  loadkit blast -c 1k -R 10k                    both ends on this machine
  loadkit serve 0.0.0.0:7000                    and on another machine:
  loadkit blast 10.0.0.5:7000 -c 1k -R 10k
  loadkit help blast                            all options, in groups"""
COMPLETION = """\b
Completion of commands, options, profiles, engines and formats: put one line
into the start-up file of your shell.
  bash  eval "$(_LOADKIT_COMPLETE=bash_source loadkit)"
  zsh   eval "$(_LOADKIT_COMPLETE=zsh_source loadkit)"
  fish  _LOADKIT_COMPLETE=fish_source loadkit | source"""
ENVIRONMENT = """\b
Environment: each option has a variable. The command line overrides it.
  LOADKIT_BLAST_RATE=5k       the same as loadkit blast --rate 5k
  LOADKIT_BLAST_SLO='A B'     several values, with spaces between them
  LOADKIT_BLAST_TARGET, LOADKIT_SERVE_LISTEN, LOADKIT_PING_TARGET and
  LOADKIT_DOCTOR_TARGET       the HOST:PORT of each command"""
EXIT_STATUSES = """\b
Exit status:
  0        fine
  1        could not run: profile, machine, or a target that does not echo
  2        wrong usage
  3        an SLO was not met, or --abort-on ended the run
  4        the run is invalid: the requested load was not offered
  128 + n  ended by signal n (130: Ctrl-C, 143: SIGTERM), with the record of
           a run up to then; a server that one signal stops exits with 0"""


@click.group(
    cls=HintingGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "auto_envvar_prefix": PREFIX},
    epilog=f"{EXAMPLES}\n\n{COMPLETION}\n\n{ENVIRONMENT}\n\n{EXIT_STATUSES}",
    no_args_is_help=True,
)
# LOADKIT_VERSION is a name that others use too, for a version.
@click.version_option(__version__, prog_name="loadkit", allow_from_autoenv=False)
def app() -> None:
    """Measure TCP at scale: an echo server, the swarm that loads it, and a verdict on the numbers."""


for _command in (serve, blast, ping, doctor, report, profiles, show_help, version):
    app.add_command(_command)


def run() -> None:
    """Runs the command line and exits."""
    try:
        with importing(), within_memory():
            status = app.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        text = _said(error)
        _complain(naming_variables(text, context) if context else text, context)
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except LoadkitError as error:
        _complain(str(error))
        sys.exit(error.exit_status)
    sys.exit(status if isinstance(status, int) else 0)


def _said(error: click.ClickException) -> str:
    """Returns an error of the command line in the words of the others: the option, then what was expected."""
    if isinstance(error, click.NoSuchOption):
        return nearest_first(error)
    if isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter) and error.param:
        return f"{error.param.opts[-1]}: {error.message}"
    return error.format_message()


def _complain(text: str, context: click.Context | None = None) -> None:
    hint = f" (see `{context.command_path} --help`)" if context else ""
    click.echo(f"{shortened(printable(f'loadkit: {text}'))}{hint}", err=True)
