"""The layers and fences of DESIGN.md, read from the source with `ast`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_PACKAGE = _ROOT / "loadkit"
_FILES = sorted(_PACKAGE.rglob("*.py"))

# The part of loadkit a module belongs to -> the parts it may import, beside its own. `doctor` may be asked by `cli`
# alone, and `report` and `engine` never meet.
_FLOOR = {
    "printable",
    "log",
    "errors",
    "units",
    "chance",
    "distribution",
    "procfs",
    "standard_streams",
    "cgroup",
    "host",
    "sockets",
    "endpoint",
    "limits",
    "imports",
    "reserve",
    "version",
}
_PLAN = _FLOOR | {"profile", "wire", "plan"}
_MEASURED = _PLAN | {"measure"}
_MAY_IMPORT = {
    "printable": set[str](),
    "log": {"printable"},
    "errors": {"printable"},
    "units": {"errors"},
    "chance": set[str](),
    "distribution": {"chance", "units"},
    "procfs": set[str](),
    "standard_streams": set[str](),
    "cgroup": {"procfs"},
    "host": {"procfs", "cgroup", "sockets", "errors"},
    "limits": {"errors", "units"},
    "imports": {"errors", "limits"},
    "reserve": set[str](),
    "sockets": {"procfs", "endpoint"},
    "endpoint": set[str](),
    "version": set[str](),
    "wire": _FLOOR,
    "profile": _FLOOR | {"wire"},
    "plan": _FLOOR | {"profile", "wire"},
    "measure": _PLAN,
    "engine": _MEASURED,
    "report": _MEASURED,
    "doctor": _MEASURED,
    "run": _MEASURED | {"engine", "report"},
    "library": _MEASURED | {"engine", "report", "doctor", "run"},
    "sync": _MEASURED | {"engine", "report", "doctor", "run", "library"},
    "cli": _MEASURED | {"engine", "report", "doctor", "run", "library"},
    "__main__": {"cli", "errors", "imports"},
    "pytest_plugin": _MEASURED | {"report", "library", "sync"},
    # The public names: what a program that uses loadkit as a library needs.
    "__init__": _MEASURED | {"engine", "report", "doctor", "run", "library", "sync"},
}

# A foreign module -> where alone it may be imported (prefixes of the path inside loadkit/).
_FENCES = {
    "click": ("cli/",),
    "rich": ("cli/",),
    "hdrh": (),  # the tests alone: measure/histogram.py is ours
    "uvloop": ("engine/aio/",),
    "pytest": ("pytest_plugin/",),
    "multiprocessing": ("run/",),
    "prometheus_client": ("run/metrics.py",),
}
_TALKS = ("cli/", "__main__.py")
# What it starts inherits the environment, and has to leave out what makes a Python print.
_ENVIRONMENT = ("run/interpreter.py",)

# What writes files. The others write a name that the kernel shows, and make an empty file to be locked.
_WRITES = ("library/files.py", "run/worker.py", "pytest_plugin/blaster.py")

# Names of the standard library that DESIGN.md's layout has on purpose; each is a word of the glossary and is imported
# as loadkit.…, so nothing is shadowed.
_STDLIB_NAMES_ALLOWED = {
    "profile": "a profile is what a run is asked by; the standard library's is a deprecated profiler",
}
_SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "lib", "tools"}


def _inside(path: Path) -> str:
    return path.relative_to(_PACKAGE).as_posix()


def _part(path: Path) -> str:
    first = path.relative_to(_PACKAGE).parts[0]
    return first.removesuffix(".py")


def _imports(path: Path, tree: ast.AST) -> Iterator[str]:
    """Yields the full dotted names a module imports, wherever in it the import stands."""
    package = ["loadkit", *path.relative_to(_PACKAGE).parts[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _layer_breaks(path: Path, source: str) -> list[str]:
    own = _part(path)
    found = []
    for name in _imports(path, ast.parse(source)):
        parts = name.split(".")
        if parts[0] == "loadkit" and len(parts) > 1:
            other = parts[1]
            if other in _MAY_IMPORT and other != own and other not in _MAY_IMPORT[own]:
                found.append(f"{_inside(path)} imports {name}")
    return found


def _module(path: Path) -> str:
    """Returns the dotted name of a file's module; a package's is that of its `__init__.py`."""
    return ".".join(path.relative_to(_ROOT).with_suffix("").parts).removesuffix(".__init__")


def _reaches(path: Path, tree: ast.AST, modules: set[str]) -> set[str]:
    """Returns which of `modules` a module imports, in a function, for a type checker or by a string of its name too."""
    names = set(_imports(path, tree))
    names |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    names = {name for name in names if name.startswith("loadkit.")}
    # `from loadkit.units import NS_PER_S` names something of a module, or a name of the package itself.
    return {name if name in modules else name.rpartition(".")[0] for name in names} & modules


def _import_circles(sources: dict[Path, str]) -> list[str]:
    """Returns one circle for each set of modules that import each other."""
    modules = {_module(path) for path in sources}
    return _circles({_module(path): _reaches(path, ast.parse(source), modules) for path, source in sources.items()})


def _circles(edges: dict[str, set[str]]) -> list[str]:
    """Returns one circle for each set of nodes that reach each other."""
    found, seen = [], set[str]()
    for start in sorted(edges):
        came_from = {start: start}
        line = [start]
        for module in line:
            for other in sorted(edges[module] - {module}):
                if other == start and start not in seen:
                    circle = [module]
                    while circle[-1] != start:
                        circle.append(came_from[circle[-1]])
                    seen |= set(circle)
                    found.append(" -> ".join([*reversed(circle), start]))
                if other not in came_from:
                    came_from[other] = module
                    line.append(other)
    return found


def _fence_breaks(path: Path, source: str) -> list[str]:
    where = _inside(path)
    return [
        f"{where} imports {name}"
        for name in _imports(path, ast.parse(source))
        for fenced, allowed in _FENCES.items()
        if name.split(".")[0] == fenced and not where.startswith(allowed)
    ]


def _talk(path: Path, source: str) -> list[str]:
    """Returns what only cli/ may do: print, leave the process, read the environment."""
    where = _inside(path)
    environment = set[str]() if where in _ENVIRONMENT else {"os.environ", "os.environb", "os.getenv"}
    if where.startswith(_TALKS):
        return []
    tree = ast.parse(source)
    found = [f"{where}: {name}" for name in _imports(path, tree) if name in {"sys.exit"} | environment]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"print", "exit", "quit"}:
            found.append(f"{where}:{node.lineno} {node.func.id}()")
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in {"sys.exit"} | environment:
                found.append(f"{where}:{node.lineno} {name}")
    return found


def _file_breaks(path: Path, source: str) -> list[str]:
    """Returns what writes a file elsewhere than in library/files.py, or reads one in the encoding of the locale."""
    where, found = _inside(path), []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        name = called.rpartition(".")[2]
        is_os = called.startswith("os.")
        words = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        mode = next((word for word in words if set(word) <= set("rwaxbt+")), "r")
        opens = name == "open" and not is_os
        writes = name in {"write_text", "write_bytes", "mkstemp", "NamedTemporaryFile"}
        writes |= is_os and (name in {"rename", "replace", "link"} or "O_CREAT" in ast.unparse(node))
        writes |= opens and bool(set("wax+") & set(mode))
        if writes and where not in _WRITES:
            found.append(f"{where}:{node.lineno} writes a file: {called}")
        is_text = (opens and "b" not in mode) or name in {"read_text", "write_text"}
        if is_text and "encoding" not in {word.arg for word in node.keywords}:
            found.append(f"{where}:{node.lineno} reads by the locale: {called}")
    return found


def _family_guesses(path: Path, source: str) -> list[str]:
    """Returns what tells IPv6 by a colon elsewhere than in endpoint.py, where is_v6() does."""
    where = _inside(path)
    return [
        f"{where}:{node.lineno} {ast.unparse(node)}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Constant) and node.left.value == ":"
        if where != "endpoint.py"
    ]


def _each_file(rule: object) -> list[str]:
    return [line for path in _FILES for line in rule(path, path.read_text())]  # type: ignore[operator]


def test_every_part_of_loadkit_has_its_place_in_the_layers() -> None:
    assert {_part(path) for path in _FILES} <= set(_MAY_IMPORT)


def test_a_layer_never_imports_one_above_it() -> None:
    assert _each_file(_layer_breaks) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert _import_circles({path: path.read_text() for path in _FILES}) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("from loadkit.engine.fake import X", "import loadkit.engine.base", id="at the top"),
        pytest.param("from loadkit.engine import fake", "from . import base", id="by the package, relative"),
        pytest.param("from .fake import X", "def f():\n    from loadkit.engine.base import Y", id="in a function"),
        pytest.param("from .fake import X", "if TYPE_CHECKING:\n    from .base import Y", id="for a type checker"),
        pytest.param("from .fake import X", "import_module('loadkit.engine.base')", id="by its name"),
        pytest.param("from .stamps import X", "from .base import Y", id="by a third one"),
    ],
)
def test_the_rule_sees_circles(one: str, other: str) -> None:
    engine = _PACKAGE / "engine"
    through = {engine / "stamps.py": "from .fake import X"} if "stamps" in one else {}
    modules = {engine / "base.py": one, engine / "fake.py": other, **through}
    way = " -> ".join(f"loadkit.engine.{name}" for name in ("base", *(["stamps"] if through else []), "fake", "base"))
    assert _import_circles(modules) == [way]
    assert _import_circles({**modules, engine / "fake.py": "import loadkit.engine.fake, loadkit.units"}) == []


def test_fenced_libraries_are_imported_in_their_place_alone() -> None:
    assert _each_file(_fence_breaks) == []


def test_only_the_command_line_talks() -> None:
    assert _each_file(_talk) == []


def test_files_are_written_in_one_place_and_read_as_utf_8() -> None:
    assert _each_file(_file_breaks) == []


def test_ipv6_is_told_by_a_colon_in_one_place() -> None:
    assert _each_file(_family_guesses) == []


@pytest.mark.parametrize(
    ("rule", "where", "source"),
    [
        pytest.param(_family_guesses, "plan/addresses.py", "return ':' not in address", id="a colon for IPv6"),
        pytest.param(_file_breaks, "cli/serve.py", "path.write_text(text, encoding='utf-8')", id="write_text"),
        pytest.param(_file_breaks, "cli/serve.py", "open(path, 'wb')", id="open to write"),
        pytest.param(_file_breaks, "cli/serve.py", "os.open(path, os.O_WRONLY | os.O_CREAT)", id="os.open to write"),
        pytest.param(_file_breaks, "cli/serve.py", "os.replace(one, other)", id="os.replace"),
        pytest.param(_file_breaks, "host.py", "path.read_text()", id="read by the locale"),
        pytest.param(_file_breaks, "host.py", "path.open()", id="open by the locale"),
        pytest.param(_layer_breaks, "plan/build.py", "from loadkit.measure.board import Board", id="upwards"),
        pytest.param(_layer_breaks, "plan/build.py", "from loadkit import engine", id="upwards, the package"),
        pytest.param(_layer_breaks, "plan/build.py", "from ..run import blast", id="upwards, relative"),
        pytest.param(_layer_breaks, "plan/build.py", "def f():\n    import loadkit.cli", id="upwards, in a function"),
        pytest.param(_layer_breaks, "engine/fake.py", "import loadkit.report.record", id="engine and report"),
        pytest.param(_layer_breaks, "report/record/run.py", "import loadkit.engine.base", id="report and engine"),
        pytest.param(_layer_breaks, "run/blast.py", "import loadkit.doctor.check", id="run and doctor"),
        pytest.param(_layer_breaks, "library/blast.py", "import loadkit.cli.live", id="library and cli"),
        pytest.param(_layer_breaks, "run/blast.py", "from loadkit.library import blast", id="run and library"),
        pytest.param(_layer_breaks, "units.py", "import loadkit.host", id="within the floor"),
        pytest.param(_fence_breaks, "report/as_text.py", "from rich.table import Table", id="rich in a report"),
        pytest.param(_fence_breaks, "run/worker.py", "import uvloop", id="uvloop in a runner"),
        pytest.param(_fence_breaks, "measure/samples.py", "import hdrh.histogram", id="hdrh elsewhere"),
        pytest.param(_fence_breaks, "run/exposed.py", "import prometheus_client.core", id="the client of Prometheus"),
        pytest.param(_fence_breaks, "engine/aio/loop.py", "from multiprocessing import Pipe", id="processes"),
        pytest.param(_talk, "report/as_text.py", "print(1)", id="print"),
        pytest.param(_talk, "run/blast.py", "import sys\nsys.exit(1)", id="sys.exit"),
        pytest.param(_talk, "run/blast.py", "from sys import exit", id="sys.exit by its name"),
        pytest.param(_talk, "host.py", "import os\nos.environ.get('X')", id="os.environ"),
    ],
)
def test_the_rules_see_what_they_forbid(rule: object, where: str, source: str) -> None:
    assert rule(_PACKAGE / where, source)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("rule", "where", "source"),
    [
        pytest.param(_family_guesses, "endpoint.py", "return ':' in address", id="a colon for IPv6"),
        pytest.param(_layer_breaks, "plan/build.py", "from loadkit.profile.blast import Profile", id="downwards"),
        pytest.param(_layer_breaks, "plan/build.py", "from loadkit.plan.pacing import every", id="the own part"),
        pytest.param(
            _layer_breaks, "report/record/run.py", "from loadkit.version import __version__", id="the version"
        ),
        pytest.param(_file_breaks, "host.py", "path.open('rb'); text.replace(a, b)", id="bytes"),
        pytest.param(_file_breaks, "host.py", "os.open(path, os.O_RDONLY)", id="os.open to read"),
        pytest.param(_fence_breaks, "cli/serve.py", "import click", id="click in cli"),
        pytest.param(_talk, "cli/serve.py", "print(1)", id="print in cli"),
    ],
)
def test_the_rules_let_pass_what_they_allow(rule: object, where: str, source: str) -> None:
    assert not rule(_PACKAGE / where, source)  # type: ignore[operator]


# A comment, a string or a character, or a directive with the lines that it continues on.
_NO_CODE = re.compile(
    r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|^[ \t]*#(?:\\\n|[^\n])*""", re.DOTALL | re.MULTILINE
)
_NAMES = re.compile(r"(?<![\w.])(?<!->)[A-Za-z_]\w*")


def _c_parts(source: str) -> Iterator[tuple[str, set[str]]]:
    """Yields each function with the names that its body has; and "" with those of data that is initialized."""
    code = re.sub(r"__attribute__\(\(.*?\)\)", " ", _NO_CODE.sub(" ", source))
    depth, begin, head = 0, 0, ""
    for match in re.finditer(r"[{};]", code):
        at = match.start()
        if match[0] == "{":
            depth += 1
            if depth == 1:
                head, begin = code[begin:at], at
        elif match[0] == "}":
            depth -= 1
            if depth == 0:
                function = re.fullmatch(r"[^=;]*?(\w+)\s*\([^=;]*\)\s*", head)
                yield function[1] if function else "", set(_NAMES.findall(code[begin:at]))
                begin = match.end()
        elif depth == 0:
            begin = match.end()


def _c_reaches(sources: dict[str, str]) -> dict[str, set[str]]:
    """Returns which other files each C file calls, or names a function of, in the inline functions it calls too."""
    parts = {name: list(_c_parts(source)) for name, source in sources.items()}
    inline = {
        function: names for file, of in parts.items() if file.endswith(".h") for function, names in of if function
    }
    static = {
        (file, function)
        for file, source in sources.items()
        for function in re.findall(r"^static [^;={]*?(\w+)\(", _NO_CODE.sub(" ", source), re.MULTILINE)
    }
    home = {
        function: file
        for file, of in parts.items()
        for function, _ in of
        if function and file.endswith(".c") and (file, function) not in static
    }
    edges = {}
    for file in (file for file in sources if file.endswith(".c")):
        reached = set[str]().union(*(names for _, names in parts[file]))
        own = {function for function, _ in parts[file]}
        waiting = reached & set(inline)
        while waiting:
            more = inline[waiting.pop()] - reached
            reached |= more
            waiting |= more & set(inline)
        edges[file] = {home[name] for name in reached - own if name in home} - {file}
    return edges


def test_no_files_of_c_call_each_other_in_a_circle() -> None:
    files = [path for path in _PACKAGE.rglob("*.[ch]") if "native" in path.parts]
    edges = _c_reaches({path.name: path.read_text(encoding="utf-8") for path in files})
    assert edges["blast.c"] > {"events.c", "phases.c", "connections.c"}
    assert _circles(edges) == []


@pytest.mark.parametrize(
    ("low", "header"),
    [
        pytest.param("void low(void) { high(); }", "", id="by a call"),
        pytest.param("static void own(void) { high (); }\nvoid low(void) {}", "", id="in a function of its own"),
        pytest.param("void low(void) {}\nvoid (*table[])(void) = {high};", "", id="in a table"),
        pytest.param("void low(void) { pass(); }", "static inline void pass(void) { high(); }", id="by a header"),
    ],
)
def test_the_rule_sees_circles_of_c(low: str, header: str) -> None:
    high = "__attribute__((noinline)) void high(void) { if (1) { low(); } }"
    assert _circles(_c_reaches({"high.c": high, "low.c": low, "both.h": header})) == ["high.c -> low.c -> high.c"]


def test_the_rule_lets_files_of_c_call_what_is_below() -> None:
    high = "static void own(void) { low(); }\nvoid high(void) { own(); }"
    low = 'void low(void) { puts("high()"); /* high() */ x->high = y.high; own(); }\nvoid own(void) {}'
    assert _circles(_c_reaches({"high.c": high, "low.c": low})) == []


def test_no_line_of_c_has_more_than_120_columns() -> None:
    # clang-format leaves the bodies of macros alone.
    for path in _PACKAGE.rglob("*.[ch]"):
        assert [line for line in path.read_text(encoding="utf-8").splitlines() if len(line) > 120] == [], path


def test_no_name_shadows_the_standard_library_without_a_reason() -> None:
    names = {path.stem for path in _FILES} | {path.parent.name for path in _FILES}
    names -= {"__init__", "__main__"}  # each package has its own
    assert names & set(sys.stdlib_module_names) == set(_STDLIB_NAMES_ALLOWED)


def test_every_name_says_what_is_inside() -> None:
    names = {path.stem for path in _FILES} | {path.parent.name for path in _FILES}
    assert names & _SAYS_NOTHING == set()


def test_every_package_of_the_tree_goes_into_the_wheel() -> None:
    setup = tomllib.loads((_ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    tree = {".".join(path.parent.relative_to(_ROOT).parts) for path in _FILES}
    assert set(setup["packages"]) == tree | {"loadkit.shipped"}
    assert setup["package-dir"]["loadkit.shipped"] == "profiles"


_HEAVY = ("uvloop", "numpy")
_SAY_WHAT_IS_LOADED = f"import sys; print(sorted(set({_HEAVY!r}) & set(sys.modules)), file=sys.stderr)"


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=_ROOT, capture_output=True, text=True, timeout=60)


def test_importing_loadkit_imports_neither_uvloop_nor_numpy() -> None:
    done = _python("-c", f"import loadkit; {_SAY_WHAT_IS_LOADED}")
    assert (done.returncode, done.stderr) == (0, "[]\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [[], ["serve"], ["blast"], ["ping"], ["doctor"], ["report"], ["profiles"]], ids=" ".join
)
def test_help_answers_without_uvloop_and_numpy(command: list[str]) -> None:
    leave = f"import atexit; atexit.register(lambda: exec({_SAY_WHAT_IS_LOADED!r}))"
    run = "import runpy, sys; runpy.run_module('loadkit', run_name='__main__', alter_sys=True)"
    done = _python("-c", f"{leave}; {run}", *command, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
    assert done.stderr == "[]\n"
