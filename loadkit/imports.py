"""The modules that loadkit needs: another one that Python finds in the place of one of them is said in one line."""

from __future__ import annotations

import contextlib
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from loadkit.errors import PreflightError
from loadkit.limits import LIMITS, refusal

__all__ = ["importing", "shadow_of"]

# What loadkit needs beside the standard library, and what `--metrics` does: pyproject.toml.
DEPENDENCIES = ("click", "msgspec", "numpy", "prometheus_client", "rich", "uvloop")


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Turns an error inside that comes of a wrong module, or of a limit, into the PreflightError that names it."""
    try:
        yield
    except (ImportError, AttributeError) as error:
        shadow = shadow_of(error)
        if shadow is None:
            raise
        raise shadow from None
    except OSError as error:
        # A module that is imported late has a file to be opened.
        if error.errno not in LIMITS:
            raise
        raise refusal(error, "go on") from None


def shadow_of(error: BaseException) -> PreflightError | None:
    """Returns what to say of a failed import, or of a name that a module lacks, if that module is a wrong one.

    None if that is not what failed, or the module is where the right one is installed.
    """
    name = _module_of(error).partition(".")[0]
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None or _is_in_place(name, Path(file)):
        return None
    return PreflightError(
        f"{file} is imported in the place of {name!r}, a module that loadkit needs ({error}): rename that file, or "
        f"take its folder off Python's path"
    )


def _module_of(error: BaseException) -> str:
    if isinstance(error, AttributeError):
        return error.obj.__name__ if isinstance(error.obj, ModuleType) else ""
    return (error.name or "") if isinstance(error, ImportError) else ""


def _is_in_place(name: str, file: Path) -> bool:
    """Whether the module is installed, or loadkit does not need it from elsewhere."""
    is_installed = bool({"site-packages", "dist-packages"} & set(file.parts))
    if name in DEPENDENCIES:
        return is_installed
    folders = {Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "platstdlib")}
    return name not in sys.stdlib_module_names or (bool(folders & set(file.resolve().parents)) and not is_installed)
