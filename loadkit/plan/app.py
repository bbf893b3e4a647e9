"""The app that a serve end runs instead of echoing, by its name: workers are other processes, and import it themselves.

What crosses over is a module and a name in it, never an object: a lambda, or a function made inside another one, has no
name that another process could find it by.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from loadkit.errors import OptionError

__all__ = ["AppSpec", "app_of", "parse_app"]

_WAY_OUT = "give a function or a class at the top of a module, or its name as package.module:factory"


class AppSpec(msgspec.Struct, frozen=True):
    """Where an app is found: attribute `name` (dots reach into classes) of `module`.

    `folder` is put at the front of sys.path before the module is imported. If `file` is given, the module has to be the
    one in that file: it is loaded from there if importing it by name brings another module, or no module.
    """

    module: str
    name: str
    folder: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        """Returns it as it is written on the command line."""
        return f"{self.module}:{self.name}"


def parse_app(text: str, folder: str | None = None) -> AppSpec:
    """Reads `package.module:factory`. Raises OptionError for a text that is not of this form."""
    module, colon, name = text.partition(":")
    words = [*module.split("."), *name.split(".")]
    if not colon or not all(word.isidentifier() for word in words):
        raise OptionError(
            f"--app: {text!r} is not the name of an app; give package.module:factory, such as shop.server:Orders"
        )
    return AppSpec(module, name, folder)


def app_of(factory: Callable[..., Any]) -> AppSpec:
    """Returns where other processes find the function or class. Raises OptionError for one that they cannot find."""
    module = sys.modules.get(getattr(factory, "__module__", None) or "")
    name = getattr(factory, "__qualname__", "")
    if not callable(factory) or module is None or not name:
        raise OptionError(f"app: {factory!r} has no name that worker processes could import it by; {_WAY_OUT}")
    if "<" in name:  # <lambda>, and what is <locals> to a function
        raise OptionError(f"app: {name} is made while its function runs, and workers cannot import it; {_WAY_OUT}")
    try:
        found = attrgetter(name)(module)
    except AttributeError:
        found = None
    if found != factory:
        raise OptionError(f"app: {module.__name__}:{name} is something else than the factory given; {_WAY_OUT}")
    return _spec(module, name)


def _spec(module: ModuleType, name: str) -> AppSpec:
    full = module.__name__
    if full == "__main__" and module.__spec__ is not None:
        full = module.__spec__.name  # python -m
    source = getattr(module, "__file__", None)
    if source is None:
        if full == "__main__":
            raise OptionError(f"app: {name} stands in no file, so that workers cannot import it; {_WAY_OUT}")
        return AppSpec(full, name)
    file = Path(source).absolute()
    if full == "__main__":
        full = file.stem
    # Up from the file, a folder for each dot: from there the module has its full name.
    depth = full.count(".") + (file.name == "__init__.py")
    return AppSpec(full, name, str(file.parents[depth]), str(file))
