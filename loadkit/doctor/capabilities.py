"""Whether what is to be mended can be mended from here: root in a container mostly lacks what it takes."""

from __future__ import annotations

from collections.abc import Sequence

from loadkit.doctor.finding import Finding, Level
from loadkit.host import Host

__all__ = ["check_capabilities"]

_NAMES = {12: "NET_ADMIN", 21: "SYS_ADMIN", 24: "SYS_RESOURCE"}  # linux/capability.h


def check_capabilities(host: Host, findings: Sequence[Finding]) -> Finding | None:
    """Returns whether the fixes of `findings` can be applied in here; None where the machine does not say."""
    held = host.capabilities
    if held is None:
        return None
    has = {name for bit, name in _NAMES.items() if held >> bit & 1}
    seen = ", ".join(f"CAP_{name} {'yes' if name in has else 'no'}" for name in _NAMES.values())
    wanted = {name: codes for name in _NAMES.values() if (codes := _wanting(name, findings))}
    missing = {name: codes for name, codes in wanted.items() if name not in has}
    needed = ", ".join(f"CAP_{name} for {', '.join(codes)}" for name, codes in wanted.items())
    if not missing:
        return Finding("capabilities", Level.OK, seen, needed or "none", in_runs=False)
    why = "; ".join(
        f"{', '.join(codes)} cannot be mended from in here without CAP_{name}" for name, codes in missing.items()
    )
    adds = " ".join(f"--cap-add {name}" for name in missing)
    fix = f"mend it from outside (root on the host, docker run --ulimit or --sysctl), or docker run {adds}"
    return Finding("capabilities", Level.WARN, seen, needed, why, fix, in_runs=False)


def _wanting(name: str, findings: Sequence[Finding]) -> list[str]:
    """Returns the codes of the findings whose fix needs the capability."""
    return [finding.code for finding in findings if finding.level is not Level.OK and _needs(finding) == name]


def _needs(finding: Finding) -> str | None:
    """Returns the capability that the fix takes (capabilities(7)); of fs.* and kernel.* root's own files."""
    if finding.code in ("nofile", "nproc"):
        return "SYS_RESOURCE"
    if finding.code.startswith("nic-") or any(sysctl.startswith("net.") for sysctl in finding.sysctls):
        return "NET_ADMIN"
    return None
