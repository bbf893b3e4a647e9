"""What a shell's completion offers for values that click cannot list: profiles, and the formats of an output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from loadkit.report.formats import Format

__all__ = ["complete_profiles", "complete_records", "completes_formats"]

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def complete_profiles(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offers the shipped profiles that begin so; files if there is no such profile."""
    from loadkit.profile.read import load_profile, shipped_profiles

    names = [name for name in shipped_profiles() if name.startswith(incomplete)]
    found = [CompletionItem(name, help=load_profile(name, {})[0].about) for name in names]
    return found or _files(incomplete)


def completes_formats(formats: Mapping[str, Format]) -> Completer:
    """Returns what offers the name of a file with each suffix of the formats; files as long as there is no name."""

    def complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        path = Path(incomplete)
        if not incomplete or incomplete.endswith("/") or path.suffix in formats:
            return _files(incomplete)
        beginning = incomplete.removesuffix("." if incomplete.endswith(".") else path.suffix)
        names = {f"{beginning}{suffix}": one.text for suffix, one in formats.items()}
        return [CompletionItem(name, help=text) for name, text in names.items() if name.startswith(incomplete)]

    return complete


def complete_records(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offers files."""
    return _files(incomplete)


def _files(incomplete: str) -> list[CompletionItem]:
    """Asks the shell to complete names of files."""
    return [CompletionItem(incomplete, type="file")]
