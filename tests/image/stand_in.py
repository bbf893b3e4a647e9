"""Assembles a stand-in for the image's base where no registry can be reached: `python stand_in.py FOLDER`.

FOLDER becomes a root file system as python:3.11-slim-bookworm has it, from what this Debian machine has installed: the
essential packages, apt, the certificate store, and the CPython that runs this, under /usr/local, with pip. It carries
the machine's certificates, apt sources and /etc/pip.conf, so that apt and pip reach in a build what they reach outside.
Never publish an image that was built on it: it is for tests.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

_WANTED = ("apt", "ca-certificates")
_PRIORITIES = ("required", "essential")
# What maintainer scripts wrote, which is in no package's list.
_CONFIGURED = (
    "etc/alternatives",
    "etc/apt",
    "etc/ca-certificates.conf",
    "etc/debconf.conf",
    "etc/group",
    "etc/gshadow",
    "etc/hosts",
    "etc/ld.so.conf.d",
    "etc/nsswitch.conf",
    "etc/pam.d",
    "etc/passwd",
    "etc/pip.conf",
    "etc/shadow",
    "etc/ssl/certs",
    "usr/local/share/ca-certificates",
    "var/cache/debconf",
)
_EMPTY = ("dev", "proc", "sys", "tmp", "root", "run", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial")


def _packages() -> Mapping[str, Mapping[str, str]]:
    """Returns name -> fields of each installed package, `text` its whole paragraph."""
    found = {}
    for text in Path("/var/lib/dpkg/status").read_text().split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", text, re.MULTILINE))
        if fields.get("Status") == "install ok installed":
            found[fields["Package"]] = {**fields, "text": text}
    return found


def _closure(packages: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Returns the wanted packages and what they depend on, a virtual one being whatever provides it."""
    providers = {}
    for name, fields in packages.items():
        for provided in re.findall(r"[a-z0-9][a-z0-9+.-]+", re.sub(r"\([^)]*\)", "", fields.get("Provides", ""))):
            providers[provided] = name
    todo = [name for name, fields in packages.items() if fields.get("Essential") or fields["Priority"] in _PRIORITIES]
    todo += _WANTED
    done: dict[str, None] = {}
    while todo:
        name = todo.pop()
        name = name if name in packages else providers.get(name, "")
        if not name or name in done:
            continue
        done[name] = None
        for clause in f"{packages[name].get('Pre-Depends', '')},{packages[name].get('Depends', '')}".split(","):
            names = [re.split(r"[ (:]", choice.strip())[0] for choice in clause.split("|")]
            todo += [choice for choice in names if choice in packages or choice in providers][:1]
    return sorted(done)


def _files_of(packages: list[str]) -> Iterator[Path]:
    listed = subprocess.run(["dpkg-query", "--listfiles", *packages], capture_output=True, text=True, check=True)
    for line in dict.fromkeys(listed.stdout.splitlines()):
        if line.startswith("/") and not line.startswith(("/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/")):
            yield Path(line)


def _copy(path: Path, root: Path) -> None:
    """Copies a file, a link or an empty folder to where it really is: /bin/sh to usr/bin/sh. Owners are kept."""
    real = path.parent.resolve() / path.name
    there = root / real.relative_to("/")
    if there.is_symlink():
        return
    if real.is_dir() and not real.is_symlink():
        there.mkdir(parents=True, exist_ok=True)
    elif real.exists() or real.is_symlink():
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(real, there, follow_symlinks=False)
    else:
        return
    if not real.is_symlink():
        shutil.copystat(real, there)
        shutil.chown(there, real.stat().st_uid, real.stat().st_gid)


def _copy_python(root: Path) -> None:
    """Copies this CPython without its tests and what was installed into it, and the pip of this environment."""
    base, name = Path(sys.base_prefix), f"python{sys.version_info.major}.{sys.version_info.minor}"
    local = root / "usr/local"
    for folder in ("bin", "include"):
        (local / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy2((base / "bin" / name).resolve(), local / "bin" / name)
    for link in ("python", "python3"):
        (local / "bin" / link).symlink_to(name)
    shutil.copytree(base / "include" / name, local / "include" / name)
    leave_out = shutil.ignore_patterns(
        "__pycache__", "test", "tests", "idlelib", "tkinter", "config-*", "site-packages"
    )
    shutil.copytree(base / "lib" / name, local / "lib" / name, ignore=leave_out)
    for folder in Path(sysconfig.get_path("purelib")).glob("pip[-.]*"):
        shutil.copytree(folder, local / "lib" / name / "site-packages" / folder.name)
    shutil.copytree(Path(sysconfig.get_path("purelib"), "pip"), local / "lib" / name / "site-packages/pip")
    for library in (base / "lib").glob("libpython*.so*"):
        shutil.copy2(library, local / "lib" / library.name, follow_symlinks=False)
    for library in _libraries_of([base / "bin" / name, *(base / "lib" / name / "lib-dynload").glob("*.so")]):
        if not library.is_relative_to(base):
            _copy(library, root)
            _copy(library.resolve(), root)


def _libraries_of(binaries: list[Path]) -> set[Path]:
    shown = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=True).stdout
    return {Path(found) for found in re.findall(r"=> (/\S+) \(", shown)}


def main() -> None:
    root = Path(sys.argv[1])
    packages = _packages()
    chosen = _closure(packages)
    for folder in ("bin", "lib", "lib64", "sbin"):  # Debian's merged /usr
        if Path("/", folder).is_symlink():
            (root / folder).symlink_to(Path("/", folder).readlink())
    for path in _files_of(chosen):
        _copy(path, root)
    for name in _CONFIGURED:
        for path in sorted([Path("/", name), *Path("/", name).rglob("*")]):
            _copy(path, root)
    for name in _EMPTY:
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "var/lib/dpkg/info").mkdir(parents=True, exist_ok=True)
    (root / "var/lib/dpkg/status").write_text("".join(packages[name]["text"] + "\n\n" for name in chosen))
    for path in Path("/var/lib/dpkg/info").iterdir():
        if path.name.rpartition(".")[0].partition(":")[0] in chosen or path.name == "format":
            shutil.copy2(path, root / "var/lib/dpkg/info" / path.name)
    _copy_python(root)
    subprocess.run(["ldconfig", "-r", str(root)], check=True)


if __name__ == "__main__":
    main()
