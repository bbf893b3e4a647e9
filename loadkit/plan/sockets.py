"""What a plan asks of the kernel's sockets, and where each wish came from."""

from __future__ import annotations

from collections.abc import Mapping

from loadkit.profile.sockets import SocketOptions

__all__ = ["SOCKET_OPTIONS", "SocketValues", "socket_origins", "sockets_of"]

# Option -> value, of those that are given.
SocketValues = dict[str, int | str | bool]
SOCKET_OPTIONS = SocketOptions.__struct_fields__


def sockets_of(profile: SocketOptions) -> SocketValues:
    """Returns the socket options that are given for an end, without their units."""
    given = {name: value for name in SOCKET_OPTIONS if (value := getattr(profile, name)) is not None}
    return {name: value if isinstance(value, bool | str) else int(value) for name, value in given.items()}


def socket_origins(sources: Mapping[str, str]) -> dict[str, str]:
    """Returns where each of them came from: default, profile, option or `environment LOADKIT_…`."""
    return {name: sources.get(name, "default") for name in SOCKET_OPTIONS}
