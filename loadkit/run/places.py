"""Where a serve end listens, held by the parent of its workers: ports, or the path of a UNIX socket.

A port is held by a SO_REUSEPORT socket of the parent on each address, bound but not listening: it holds the port while
a worker is replaced, and gets no connections. Each worker has listeners of its own, and the kernel's hash spreads
connections over them.

A UNIX socket knows no SO_REUSEPORT (unix(7)): the parent binds it and listens, and every worker inherits this one
listener and accepts from it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from loadkit.endpoint import family_of, is_unix, say_error, sockaddr_of, unix_path
from loadkit.errors import PreflightError
from loadkit.limits import limit_of, setting_up
from loadkit.plan.serve import ServePlan
from loadkit.run.unix_address import kind_of_file
from loadkit.run.worker import listen_on

__all__ = ["Place", "bind_advice", "hold_place"]

# This many ports that are free on the first address are tried on the others.
_FREE_PORTS = 20
# A path is tried again so often if another process makes it, or removes it, at the same time.
_TRIES = 5


class Place(Protocol):
    """What is held. `port` is 0 for a UNIX socket. `inherited` are the listeners that workers inherit, if any."""

    port: int
    inherited: tuple[int, ...]

    def leave(self) -> None:
        """Has nobody find it any more, as far as that goes without its workers. Any number of times."""

    def close(self) -> None:
        """Frees it."""


def hold_place(plan: ServePlan) -> Place:
    """Binds where the plan says. Raises PreflightError for an address, a port or a path that cannot be had."""
    if is_unix(plan.addresses[0]):
        return _UnixPlace(plan.addresses[0], plan.backlog, plan.socket_mode)
    return _Ports(plan.addresses, plan.port)


class _Ports:
    inherited: tuple[int, ...] = ()

    def __init__(self, addresses: Sequence[str], port: int) -> None:
        self._anchors = _reserve_port(addresses, port)
        self.port: int = self._anchors[0].getsockname()[1]

    def leave(self) -> None:
        pass  # each worker ends its own listeners

    def close(self) -> None:
        for anchor in self._anchors:
            anchor.close()


class _UnixPlace:
    """`mode` are the permissions of the path; None: those that the umask leaves."""

    port = 0

    def __init__(self, address: str, backlog: int, mode: int | None) -> None:
        self._address = address
        path = unix_path(address)
        self._path = None if path is None else Path(path)
        self._identity: tuple[int, int] | None = None  # of the file that is ours
        with setting_up("make a socket"):
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._bind(mode)
            self._listener.listen(backlog)
        except OSError as error:
            self.close()
            raise PreflightError(f"cannot listen on {address}: {say_error(error)}; {self._advice(error)}") from None
        except BaseException:
            self.close()
            raise
        self.inherited: tuple[int, ...] = (self._listener.fileno(),)

    def leave(self) -> None:
        """Removes the path: what connects from now on finds nothing. One that another process has made stays."""
        if self._path is None or self._identity is None:
            return
        with contextlib.suppress(OSError):
            # The number of a file is not given out again as long as the socket holds on to it: this is ours, or not.
            if _identity(self._path.lstat()) == self._identity:
                self._path.unlink()
        self._identity = None

    def close(self) -> None:
        self.leave()
        self._listener.close()

    def _bind(self, mode: int | None) -> None:
        if mode is not None:
            # The file gets the socket's permissions less the umask (unix_bind_bsd in net/unix/af_unix.c): at no time
            # it has others than these.
            os.fchmod(self._listener.fileno(), mode)
        for left in reversed(range(_TRIES)):
            try:
                self._listener.bind(sockaddr_of(self._address, 0))
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or self._path is None or not left:
                    raise
                _remove_stale(self._path, self._address)
        if self._path is not None:
            self._identity = _identity(self._path.lstat())
            if mode is not None:
                self._path.chmod(mode)

    def _advice(self, error: OSError) -> str:
        folder = Path() if self._path is None else self._path.parent
        known = {
            errno.EADDRINUSE: "a server listens there: stop it, or take another path",
            errno.ENOENT: (
                f"{folder} takes no files: give another path"
                if folder.is_dir()
                else f"its folder is missing: mkdir -p {folder}"
            ),
            errno.ENOTDIR: f"{folder} is not a folder: give another path",
            errno.EACCES: f"this user may not make a file in {folder}: give another path, or change its permissions",
            errno.EPERM: f"{folder} takes no sockets: give another path",
            errno.EROFS: "its file system is read-only: give another path, such as in /run or /tmp",
        }
        return known.get(error.errno or 0) or limit_of(error) or "see `loadkit doctor`"


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _remove_stale(path: Path, address: str) -> None:
    """Removes the socket of a server that has ended: nothing answers at it.

    Raises OSError with EADDRINUSE if a server does, and PreflightError if it is another file, or cannot be asked.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise PreflightError(
            f"cannot listen on {address}: there is {kind_of_file(found.st_mode)} at this path; loadkit removes nothing "
            f"but the sockets of servers that have ended: remove it, or take another path"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as asker:
        try:
            asker.connect(str(path))
        except ConnectionRefusedError:
            pass
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EPROTOTYPE):  # its queue is full, or it takes datagrams
                raise PreflightError(
                    f"cannot listen on {address}: {say_error(error)} at asking whether a server listens there; take "
                    f"another path"
                ) from None
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)) from None
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    with contextlib.suppress(FileNotFoundError):
        if _identity(path.lstat()) == _identity(found):
            path.unlink()


def _reserve_port(addresses: Sequence[str], port: int) -> list[socket.socket]:
    """Binds the port on every address without listening; port 0 finds one that is free on all.

    Raises PreflightError saying which address cannot be had.
    """
    for _ in range(_FREE_PORTS):
        anchors: list[socket.socket] = []
        try:
            for address in addresses if port else ():
                _refuse_taken(address, port)
            for address in addresses:
                anchors += listen_on([address], anchors[0].getsockname()[1] if anchors else port, None)
            return anchors
        except OSError as error:
            reason, refused = error, address
        for anchor in anchors:
            anchor.close()
        # A port free on the first address may be taken on another: try the next one.
        if port or not anchors or reason.errno != errno.EADDRINUSE:
            break
    raise PreflightError(f"cannot listen on {refused} port {port}: {say_error(reason)}; {bind_advice(reason)}")


def _refuse_taken(address: str, port: int) -> None:
    """Raises OSError if a server has the port: SO_REUSEPORT would share it silently, and a bind without it fails."""
    with socket.socket(family_of(address), socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(sockaddr_of(address, port))


def bind_advice(error: OSError) -> str:
    """Returns what to do about an address and port that cannot be bound."""
    known = {
        errno.EADDRINUSE: "another socket has the port (`ss -tanp` shows which): stop its process, or take port 0, a "
        "free one",
        errno.EACCES: "ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE: take one above 1023",
        errno.EADDRNOTAVAIL: "the address is not one of this machine's: `ip addr` lists them",
    }
    return known.get(error.errno or 0) or limit_of(error) or "see `loadkit doctor`"
