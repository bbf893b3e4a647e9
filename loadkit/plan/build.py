"""A plan: a load, and where it runs. A profile and the facts of the host go in; what cannot work is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from loadkit.errors import OptionError
from loadkit.host import Host
from loadkit.plan.engine import ChosenEngine
from loadkit.plan.load import Load, build_load
from loadkit.plan.origins import DEFAULT, DERIVED, Sources, origins_of
from loadkit.plan.placement import Placement, place
from loadkit.plan.sockets import socket_origins
from loadkit.plan.target import Target
from loadkit.profile.blast import PhaseSpec, Profile
from loadkit.profile.read import phased
from loadkit.profile.setup import steps_of, talks_of
from loadkit.profile.spell import GivenOptions
from loadkit.profile.tags import tags_of
from loadkit.sockets import Sockets
from loadkit.wire.setup import Step

__all__ = ["Given", "Origins", "Plan", "build_plan"]


class Given(msgspec.Struct, frozen=True):
    """How a run was asked for, in words that ask for it again.

    `options` has what was given beside the profile, as text; `phased` those options that the profile sets phase by
    phase, and that can therefore not be given. `slo` are the objectives, `tags` the notes of the run, and
    `abort_on` the conditions that end it early.
    """

    profile: str | None = None
    options: GivenOptions = {}
    phased: tuple[str, ...] = ()
    slo: tuple[str, ...] = ()
    tags: dict[str, str] = {}
    abort_on: tuple[str, ...] = ()


class Origins(msgspec.Struct, frozen=True):
    """Where each value came from: default, profile, option, `environment LOADKIT_…` or derived by the plan.

    `load` and `placement` have the names of the fields of Load and Placement, `sockets` those of the socket options.
    """

    target: str
    profile: str
    slo: str
    load: dict[str, str]
    placement: dict[str, str]
    sockets: dict[str, str] = {}

    def is_given(self, name: str) -> bool:
        """Whether a field of the load or of the placement was asked for: by an option, the environment or a profile."""
        origin = self.load.get(name) or self.placement.get(name)
        return origin not in (None, DEFAULT, DERIVED)


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A blast run, decided: one load, and its placements, one per machine.

    `setup` is what is said on each connection before its first message, in clear. It goes to the workers, and into no
    record; `shown` is the plan without it.
    """

    target: Target
    load: Load
    placements: Annotated[tuple[Placement, ...], msgspec.Meta(min_length=1)]
    origins: Origins
    given: Given
    setup: tuple[Step, ...] = ()

    @property
    def shown(self) -> Plan:
        """The plan as it may be printed."""
        return msgspec.structs.replace(self, setup=())

    @property
    def here(self) -> Placement:
        """The placement on this machine."""
        return self.placements[0]


def build_plan(
    profile: Profile,
    sources: Sources,
    host: Host,
    target: Target | None,
    engine: ChosenEngine,
    *,
    name: str | None = None,
    sockets: Sockets | None = None,
    options: GivenOptions | None = None,
    fresh_seed: int = 0,
    contents: Mapping[str, bytes] | None = None,
) -> Plan:
    """Decides a blast run against `target`, or against an embedded server when it is None.

    `options` are those given beside the profile `name`; `profile` has them already. `sockets` are those around the
    target's port, if they are known: the run avoids their ports. `fresh_seed` is for random values if no
    seed was given. `contents` has the files that messages name.
    Raises OptionError, ProfileError or PreflightError for what cannot work.
    """
    _check_messages(profile, sources)
    setup = steps_of(talks_of(profile.first, profile.first_expect, profile.first_check))
    load = build_load(profile, fresh_seed, contents, host.free_memory_bytes, setup)
    where, placement = place(load, profile, host, target, engine, sockets)
    return Plan(
        target=where,
        load=load,
        placements=(placement,),
        origins=Origins(
            target=DEFAULT if target is None else sources.get("target", "option"),
            profile=DEFAULT if name is None else sources.get("profile", "option"),
            slo=sources.get("slo", DEFAULT),
            load=origins_of(Load, sources),
            placement=origins_of(Placement, sources),
            sockets=socket_origins(sources),
        ),
        given=Given(
            name,
            options or {},
            phased([_said(spec) for spec in profile.phases]),
            profile.slo,
            tags_of(profile.tag),
            profile.abort_on,
        ),
        setup=setup,
    )


def _check_messages(profile: Profile, sources: Sources) -> None:
    """Refuses options about messages that exclude each other."""
    if profile.send and sources.get("size", DEFAULT) != DEFAULT:
        raise OptionError(
            "--send and -s exclude each other: a text has the length that it has ({bytes:SIZE} is a field of any "
            "length); leave one of them out"
        )
    if not profile.send and sources.get("order", DEFAULT) != DEFAULT:
        raise OptionError("--order: there is nothing to order without --send; give the texts with --send")


def _said(spec: PhaseSpec) -> dict[str, object]:
    """Returns what a phase says for itself."""
    return {name: value for name in spec.__struct_fields__ if (value := getattr(spec, name)) is not None}
