"""Routes by GoBGP: kube-router's sessions between nodes and with the fabric, and those of Cilium's BGP control plane.

kube-router: each node has a session with each other. Those that the cut separates end with the hold time, and take
their routes with them. Graceful restart keeps these for its restart time, as it takes an expired hold time for a
restart (GoBGP, `established`; older versions do not, so both are possible). A node that announces to the fabric is
reached through it.

Cilium: each node has sessions with the fabric only, which do not cross the cut. Pods on a node that announces nothing
are reached by nobody else: no node learns routes, and the fabric has none. The sessions end with the agent. Before
1.18 its liveness probe fails without the API server, so that it may be killed in the cut, and it cannot start until
the heal.

Source: kube-router, docs/bgp.md, docs/user-guide.md and pkg/controllers/routing; Cilium, "BGP Control Plane",
cilium #38458 and its Helm chart's liveness probe (every 30 s, 10 failures). Not seen, but for GoBGP's sessions
(bgp_sessions.py).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from chaosext.model.duration_text import short_duration
from chaosext.rehearsal.network.bgp_sessions import GOBGP, changes_s, silences
from chaosext.rehearsal.network.routes import Proof, Routes
from chaosext.rehearsal.snapshot.cut_targets import separation
from chaosext.rehearsal.snapshot.world import Doubt, Plugin

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaosext.rehearsal.network.routes import Periods
    from chaosext.rehearsal.snapshot.world import World

AGENT_ENDS_WITHIN_S = (240.0, 390.0)
"""When Cilium's agent is killed after the begin of a cut: after 10 failures, 30 s apart, and its grace period."""

AGENT_RETURNS_WITHIN_S = (0.0, 420.0)
"""When it announces again after the heal: a back-off of up to 300 s, its start, and BGP's first attempts."""


class GobgpRoutes(Routes):
    """Routes of kube-router or Cilium's BGP, while the nodes in `cut` are cut off in `periods`."""

    uses_bgp = True

    def __init__(self, world: World, cut: frozenset[str], periods: Periods = ()) -> None:
        self._network, self._periods = world.network, periods
        self._cut = [node.name in cut for node in world.nodes]
        self._separated = separation(world.nodes, cut)
        self._announces = [node.name in world.network.announcing for node in world.nodes]
        self._hubs = [
            node.control_plane and not is_cut for node, is_cut in zip(world.nodes, self._cut, strict=True)
        ]
        self._speaker = GOBGP._replace(lingers_s=world.network.lingers_s)
        self._silences = silences(self._speaker, periods, world.network.hold_s)

    @cached_property
    def proof(self) -> Proof:  # type: ignore[override]
        silent = (each for each in self._silences if isinstance(each, Doubt)) if self._is_crossed else ()
        return Proof(rests_on=self._rests_on, doubts=(*self._network.doubts, *silent))

    @property
    def _rests_on(self) -> str:
        if not self._is_crossed:
            return f"{self._network.shown}; none of its sessions crosses the cut"
        low, high = (
            short_duration(round(each)) for each in self._speaker.ends_within_s(self._network.hold_s)
        )
        restart = ", graceful restart" if self._network.lingers_s else ""
        return (
            f"{self._network.shown}; routes across the cut end {low} to {high} after it "
            f"(hold time {short_duration(self._network.hold_s)}{restart}) and return within "
            f"{short_duration(self._speaker.returns_within_s[1])} of the heal"
        )

    @property
    def _is_meshed(self) -> bool:
        return self._network.plugin is Plugin.KUBE_ROUTER and self._network.full_mesh is not False

    @property
    def _is_crossed(self) -> bool:
        return self._is_meshed and any(self._cut) and any(self._hubs)

    def changes_s(self, between: Callable[[float, float], float]) -> tuple[float, ...]:
        if self._is_crossed:
            return changes_s(self._speaker, self._network.hold_s, self._silences, between)
        return self._agents_end_s(between) if self._network.agents_end else ()

    def _agents_end_s(self, between: Callable[[float, float], float]) -> tuple[float, ...]:
        """Return when the agents of the cut nodes end and announce again."""
        found: list[float] = []
        for begin, end in self._periods:
            lost_s = begin + between(*AGENT_ENDS_WITHIN_S)
            if found and found[-1] > begin:
                found[-1] = end + between(*AGENT_RETURNS_WITHIN_S)
            elif lost_s < end:
                found += (lost_s, end + between(*AGENT_RETURNS_WITHIN_S))
        return tuple(found)

    def announces(self, host: int) -> bool:
        return self._announces[host] or self._is_meshed

    def _reaches(self, client: int, host: int, changes: int) -> bool:
        are_lost = changes % 2 == 1
        if not self._is_meshed:
            return self._announces[host] and not (are_lost and self._cut[host])
        return self._announces[host] or not (are_lost and self._separated(client, host))

    def kind(self, number: int) -> tuple[object, ...]:
        return (self._announces[number],)
