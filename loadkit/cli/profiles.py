"""`loadkit profiles`."""

from __future__ import annotations

import click

from loadkit.cli.complete import complete_profiles
from loadkit.cli.hints import HintingGroup
from loadkit.printable import page

__all__ = ["profiles"]


_EXAMPLES = """\b
Examples:
  loadkit profiles                              the shipped profiles
  loadkit profiles show ramp > my.toml          the beginning of your own
  loadkit blast --profile my.toml"""


_SHOW_EXAMPLES = """\b
Examples:
  loadkit profiles show steady                  its file, with comments
  loadkit profiles show ramp > my.toml          the beginning of your own"""


@click.group(
    cls=HintingGroup,
    invoke_without_command=True,
    epilog=_EXAMPLES,
    short_help="list the shipped scenarios, or show one",
)
@click.pass_context
def profiles(context: click.Context) -> None:
    """List the shipped profiles, or show one."""
    if context.invoked_subcommand is None:
        context.invoke(list_profiles)


@profiles.command("list")
def list_profiles() -> None:
    """List the shipped profiles: name and what each is for."""
    from loadkit.profile.read import load_profile, shipped_profiles

    names = shipped_profiles()
    width = max(map(len, names))
    for name in names:
        click.echo(f"{name:<{width}}  {load_profile(name, {})[0].about}")


@profiles.command("show", epilog=_SHOW_EXAMPLES)
@click.argument("name", shell_complete=complete_profiles)
def show_profile(name: str) -> None:
    """Print a profile's file, to read or to start your own from."""
    from loadkit.profile.read import read_profile_text

    click.echo(page(read_profile_text(name)[1].rstrip("\n")))
