"""Whether what has to be fixed can be fixed from here: root in a container mostly lacks the capabilities."""

from __future__ import annotations

from collections.abc import Sequence

from loadkit.doctor.finding import Finding, Level
from loadkit.doctor.ulimits import AS_ROOT, ULIMIT_CODES
from loadkit.host import Host

__all__ = ["check_capabilities"]

_NAMES = {12: "CAP_NET_ADMIN", 24: "CAP_SYS_RESOURCE"}  # linux/capability.h
_NET_SYSCTLS, _OTHER_SYSCTLS = "writable net.* sysctls", "writable other sysctls"


def check_capabilities(host: Host, findings: Sequence[Finding]) -> Finding | None:
    """Returns whether the fixes of `findings` can be applied in here; None if the machine does not say."""
    if host.capabilities is None:
        return None
    has = {name for bit, name in _NAMES.items() if host.capabilities >> bit & 1}
    seen = ", ".join(f"{name} {'yes' if name in has else 'no'}" for name in _NAMES.values())
    if host.in_user_namespace:
        # capabilities(7): only what belongs to the namespace, as a network may, and a limit does not.
        seen += " (in a user namespace, where CAP_SYS_RESOURCE does not count)"
        has -= {"CAP_SYS_RESOURCE"}
    for name, is_there in ((_NET_SYSCTLS, host.can_set_net_sysctls), (_OTHER_SYSCTLS, host.can_set_other_sysctls)):
        seen += f", {name} {'yes' if is_there else 'no'}"
        has |= {name} if is_there else set()
    wanted: dict[str, list[str]] = {}
    for finding in findings:
        if need := _need(finding):
            wanted.setdefault(need, []).append(finding.code)
    missing = [need for need in wanted if need not in has]
    needed = "; ".join(f"{need} for {', '.join(codes)}" for need, codes in wanted.items())
    if not missing:
        return Finding("capabilities", Level.OK, seen, needed or "none", in_runs=False)
    why = "; ".join(f"{', '.join(wanted[need])} cannot be fixed from in here without {need}" for need in missing)
    fix = "as root of the machine, or from outside the container (docker run --ulimit or --sysctl)"
    # No option gives back what a user namespace takes away, and no option makes docker's /proc/sys writable.
    if not host.in_user_namespace and all(need.startswith("CAP_") for need in missing):
        adds = " ".join(f"--cap-add {need.removeprefix('CAP_')}" for need in missing)
        fix += f", or docker run {adds}"
    return Finding("capabilities", Level.WARN, seen, needed, why, fix, in_runs=False)


def _need(finding: Finding) -> str | None:
    """Returns which capability applying the fix takes; None if it takes no capability."""
    if finding.level is Level.OK:
        return None
    if finding.code in ("nofile", "nproc"):
        return "CAP_SYS_RESOURCE"
    if finding.code in ULIMIT_CODES:
        return "CAP_SYS_RESOURCE" if AS_ROOT in finding.fix else None
    if finding.code == "sources" or finding.code.startswith("nic-"):
        return "CAP_NET_ADMIN"
    if not finding.sysctls:
        return None
    return _NET_SYSCTLS if all(sysctl.startswith("net.") for sysctl in finding.sysctls) else _OTHER_SYSCTLS
