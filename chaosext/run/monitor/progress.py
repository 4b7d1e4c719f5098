"""The progress of a run as one value, the source of the live display and of metrics."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaosext.model import clock
from chaosext.model.result import Lane
from chaosext.model.timeline import Event, Kind
from chaosext.model.verdict import Outcome
from chaosext.run.fault.state import fault_of
from chaosext.run.monitor.sentinels import ABSENT, HEARD
from chaosext.run.monitor.watchers import OBJECTS
from chaosext.timeline.outages import cut_windows, lasts, outages, unmeasured, unobserved

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chaosext.model.clock import Moment
    from chaosext.model.result import Briefing, Outages, RunResult, Window
    from chaosext.model.verdict import Verdict
    from chaosext.run.session.run_context import RunContext

STALE_S = 5.0
"""A node not heard for longer is not observed: samples come every second, a reading may take 2 s."""

FROM_THE_API_SERVER = frozenset({Lane.NODE_READY, Lane.KUBELET, Lane.PROBES})
FROM_THE_ENTRY = frozenset({Lane.CUSTOMERS, Lane.ENTRY})
"""Lanes that the API server reports; sentinels report the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One moment of a run.

    `doing` is the current activity, for `doing_s` seconds; "" for none. `now_s` counts from the cut; None: no cut yet.
    `in_force`: the cut may be active; it expires in `let_go_s` seconds unless it is renewed, and in `ttl_s` seconds
    whatever happens. `ready`: the nodes that the control plane last reported Ready, heard `api_server_heard_s` seconds
    ago. `heard_s`: node -> seconds since its sentinel was last heard. `absent`: lanes of what the cluster does not
    have, such as BGP or a mesh. `verdict` is None while the run is in progress; `expected` is that of `--expect`.
    """

    run: str
    experiment: str
    doing: str = ""
    doing_s: float = 0.0
    now_s: float | None = None
    in_force: bool = False
    ttl_s: float = 0.0
    let_go_s: float = 0.0
    ready: Mapping[str, bool] = field(default_factory=dict)
    heard_s: Mapping[str, float] = field(default_factory=dict)
    api_server_heard_s: float = math.inf
    briefing: Briefing | None = None
    events: tuple[Event, ...] = ()
    outages: Outages = field(default_factory=dict)
    unobserved: Mapping[str, tuple[Window, ...]] = field(default_factory=dict)
    unmeasured: Outages = field(default_factory=dict)
    absent: frozenset[Lane] = frozenset()
    verdict: Verdict | None = None
    expected: Outcome | None = None

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every known node."""
        return tuple(sorted({*self.ready, *self.heard_s, *self.unobserved}))

    def is_observed(self, node: str) -> bool:
        """Whether its sentinel is heard, and its plan is known: else nothing of it counts as healthy."""
        return not lasts(self.unobserved.get(node, ())) and self.heard_s.get(node, STALE_S) < STALE_S

    @property
    def is_api_server_heard(self) -> bool:
        """Whether the API server's reports are current: the nodes' readiness, kubelet's probes."""
        return self.api_server_heard_s < STALE_S

    def unheard(self) -> tuple[Window, ...]:
        """How long the API server has been silent, if it is not heard."""
        if self.is_api_server_heard:
            return ()
        return ((max(0.0, (self.now_s or 0.0) - self.api_server_heard_s), None),)

    def unseen(self, node: str) -> tuple[Window, ...]:
        """Gaps in the observation of the node, up to now."""
        gaps = self.unobserved.get(node, ())
        if self.is_observed(node) or lasts(gaps):
            return gaps
        now_s = self.now_s or 0.0
        return (*gaps, (max(0.0, now_s - self.heard_s.get(node, now_s)), None))


@dataclass(slots=True, kw_only=True)
class LiveScene:
    """A run in progress: its progress can be read at any time, in any thread."""

    run: RunContext
    experiment: str
    briefing: Briefing | None = None
    result: RunResult | None = None

    def picture(self) -> Picture:
        run = self.run
        fault, objects = fault_of(run), run.stash[OBJECTS]
        zero_s, events = run.recorder.zero_s, run.recorder.events
        heard, (what, since_s) = run.stash[HEARD].copy(), run.doing
        now_s = time.monotonic()
        if self.result and zero_s is not None:  # observation ended here
            now_s = max([zero_s, *heard.values(), *(zero_s + event.t_s for event in events[-1:])])
        in_force = not clock.is_over(fault.expires_at) and _may_cut(run, events, self.result)
        return Picture(
            run=run.id,
            experiment=self.experiment,
            doing="" if self.result else what,
            doing_s=now_s - since_s,
            now_s=None if zero_s is None else now_s - zero_s,
            in_force=in_force,
            ttl_s=_left_s(fault.expires_at) if in_force else 0.0,
            let_go_s=_left_s(fault.keepalive.held if fault.keepalive else fault.expires_at)
            if in_force
            else 0.0,
            ready=objects.ready if objects else {},
            api_server_heard_s=now_s - (objects.answered_s if objects else -math.inf),
            heard_s={node: now_s - heard_s for node, heard_s in heard.items()},
            briefing=self.briefing,
            events=events,
            outages=outages(events),
            unobserved=unobserved(events),
            unmeasured=unmeasured(events),
            absent=run.stash[ABSENT],
            verdict=self.result.verdict if self.result else None,
            expected=self.result.expected if self.result else None,
        )


def _may_cut(run: RunContext, events: Sequence[Event], result: RunResult | None) -> bool:
    """Whether a cut was started that was not seen gone."""
    if result:
        return result.verdict.outcome is Outcome.UNSAFE
    told = sum(event.kind is Kind.CUT for event in events)
    return len(fault_of(run).cuts) > told or lasts(cut_windows(events))


def _left_s(until: Moment | None) -> float:
    age_s = until.age_s() if until else None
    return 0.0 if age_s is None else max(0.0, -age_s)
