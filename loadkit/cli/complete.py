"""What a shell's completion offers for values that click does not know: profiles, and the formats of an output."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

__all__ = ["complete_formats", "complete_profiles", "complete_records"]


def complete_profiles(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offers the shipped profiles; files where none of them begins so."""
    from loadkit.profile.read import load_profile, shipped_profiles

    names = [name for name in shipped_profiles() if name.startswith(incomplete)]
    found = [CompletionItem(name, help=load_profile(name, {})[0].about) for name in names]
    return found or _files(incomplete)


def complete_formats(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offers the name of a file with each suffix that is a format; files as long as there is no name."""
    from loadkit.report.formats import FORMATS

    path = Path(incomplete)
    if not incomplete or incomplete.endswith("/") or path.suffix in FORMATS:
        return _files(incomplete)
    beginning = incomplete.removesuffix(".") if incomplete.endswith(".") else incomplete.removesuffix(path.suffix)
    names = (f"{beginning}{suffix}" for suffix in FORMATS)
    return [CompletionItem(name, help=FORMATS[Path(name).suffix].text) for name in names if name.startswith(incomplete)]


def complete_records(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offers files."""
    return _files(incomplete)


def _files(incomplete: str) -> list[CompletionItem]:
    """Asks the shell to complete names of files."""
    return [CompletionItem(incomplete, type="file")]
