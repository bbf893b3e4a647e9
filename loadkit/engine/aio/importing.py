"""The app that a worker runs, imported in the worker itself, and found to be one."""

from __future__ import annotations

import asyncio
import functools
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from loadkit.errors import AppError
from loadkit.plan.app import AppSpec

__all__ = ["import_app", "make_protocol", "protocol_factory", "said_in_a_line"]

Factory = Callable[[], asyncio.BaseProtocol]

_WANTED = "a function or class without arguments that makes an asyncio.Protocol, or an async function (reader, writer)"


@functools.cache
def import_app(spec: AppSpec) -> Callable[..., Any]:
    """Imports the app and returns what it names, once a process. Raises AppError in one line."""
    if spec.folder is not None and sys.path[:1] != [spec.folder]:
        sys.path.insert(0, spec.folder)
    module = _module(spec)
    try:
        app: Callable[..., Any] = attrgetter(spec.name)(module)
    except AttributeError:
        raise AppError(f"app {spec}: {spec.module} has no {spec.name}") from None
    if not callable(app):
        raise AppError(f"app {spec}: it is {_a(app)}, which cannot be called; it has to be {_WANTED}")
    if inspect.iscoroutinefunction(app) and not _takes(app, 2):
        raise AppError(f"app {spec}: it is async, so it has to take two arguments: (reader, writer)")
    if not inspect.iscoroutinefunction(app) and not _takes(app, 0):
        raise AppError(f"app {spec}: it cannot be called without arguments; it has to be {_WANTED}")
    return app


def protocol_factory(app: Callable[..., Any]) -> Factory:
    """Returns what loop.create_server takes: of an async (reader, writer), what asyncio.start_server makes of it."""
    if not inspect.iscoroutinefunction(app):
        return app

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await app(reader, writer)
        except BaseException:
            writer.close()  # asyncio's early releases of 3.11 leave the peer waiting
            raise

    return lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader(), serve)


def make_protocol(spec: AppSpec, factory: Factory) -> asyncio.BaseProtocol:
    """Calls the factory. Raises AppError when it fails, or makes something else than a protocol."""
    try:
        protocol = factory()
    except Exception as error:
        raise AppError(f"app {spec}: calling it failed: {said_in_a_line(error)}") from error
    # asyncio asks for no base class: what has the methods is a protocol.
    is_one = hasattr(protocol, "connection_made") and hasattr(protocol, "connection_lost")
    if (
        isinstance(protocol, type)
        or not is_one
        or not (hasattr(protocol, "data_received") or hasattr(protocol, "buffer_updated"))
    ):
        if inspect.iscoroutine(protocol):
            protocol.close()
        raise AppError(f"app {spec}: what it made is {_a(protocol)}, which is not an asyncio.Protocol")
    return protocol


def said_in_a_line(error: BaseException) -> str:
    """Returns the error's kind and words, and the file and line that it comes from."""
    words = " ".join(f"{type(error).__name__}: {error}".split())
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_machinery(frame.filename)]
    return f"{words} ({frames[-1].filename}:{frames[-1].lineno})" if frames else words


def _is_machinery(file: str) -> bool:
    return file.startswith("<frozen") or file in (__file__, importlib.__file__)


def _module(spec: AppSpec) -> ModuleType:
    try:
        return _named(spec) if spec.file is None else _of_file(spec, spec.file)
    except ModuleNotFoundError as error:
        if error.name and f"{spec.module}.".startswith(f"{error.name}."):
            where = f" in {spec.folder} or" if spec.folder else ""
            raise AppError(f"app {spec}: there is no module {error.name}{where} on Python's path") from None
        raise _failed(spec, error) from error
    except (Exception, SystemExit) as error:
        raise _failed(spec, error) from error


def _failed(spec: AppSpec, error: BaseException) -> AppError:
    return AppError(f"app {spec}: importing it failed: {said_in_a_line(error)}")


def _named(spec: AppSpec) -> ModuleType:
    importlib.invalidate_caches()
    return importlib.import_module(spec.module)


def _of_file(spec: AppSpec, file: str) -> ModuleType:
    try:
        module = _named(spec)
    except ModuleNotFoundError as error:
        if not error.name or not f"{spec.module}.".startswith(f"{error.name}."):
            raise
    else:
        if Path(getattr(module, "__file__", None) or "").absolute() == Path(file):
            return module
    found = importlib.util.spec_from_file_location(spec.module, file)
    if found is None or found.loader is None:
        raise ImportError(f"{file} is no Python source")
    module = importlib.util.module_from_spec(found)
    # As import does: what the module defines is looked up there, by dataclasses for one.
    sys.modules[spec.module] = module
    found.loader.exec_module(module)
    return module


def _takes(app: Callable[..., Any], arguments: int) -> bool:
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return True  # it does not say; calling it will tell
    try:
        signature.bind(*[None] * arguments)
    except TypeError:
        return False
    return True


def _a(thing: object) -> str:
    return "None" if thing is None else f"of type {type(thing).__name__}"
