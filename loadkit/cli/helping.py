"""`loadkit help` and `loadkit version`."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from loadkit.cli.hints import nearest_command
from loadkit.version import __version__

__all__ = ["show_help", "version"]


def _complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    app = context.find_root().command
    names = app.list_commands(context) if isinstance(app, click.Group) else []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


_EXAMPLES = """\b
Examples:
  loadkit help blast
  loadkit help profiles show"""


@click.command("help", epilog=_EXAMPLES, short_help="the help of a command")
@click.argument("words", metavar="[COMMAND]...", nargs=-1, shell_complete=_complete)
@click.pass_context
def show_help(context: click.Context, words: tuple[str, ...]) -> None:
    """Print what `loadkit COMMAND --help` prints; without a COMMAND the list of them."""
    shown = context.find_root()
    for word in words:
        command = shown.command.get_command(shown, word) if isinstance(shown.command, click.Group) else None
        if command is None:
            raise click.UsageError(nearest_command(word, shown), context)
        shown = click.Context(command, parent=shown, info_name=word)
    click.echo(shown.get_help())


@click.command(short_help="the version of loadkit")
def version() -> None:
    """Print the version of loadkit, as `loadkit --version` does."""
    click.echo(f"loadkit, version {__version__}")
