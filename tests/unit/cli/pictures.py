"""Runs as they stood at some moment: the story of the night, and one of 100 nodes."""

from __future__ import annotations

from dataclasses import replace

from stories import BRIEFING, CP, ONE, STORIES, TWO

from chaosext.model.result import Lane
from chaosext.observe.outages import outages, unobserved
from chaosext.run.telling.picture import Picture

NIGHT = STORIES["deviated-rollback-verified"]


def night(now_s: float | None, **more: object) -> Picture:
    """The night `now_s` after the cut; a sentinel on each node is heard of, and what comes later is not known."""
    events = tuple(event for event in NIGHT.events if now_s is not None and event.t_s <= now_s)
    picture = Picture(
        run=NIGHT.run,
        experiment=NIGHT.experiment,
        doing="method: the control plane has moved kube-dns",
        doing_s=12.4,
        now_s=now_s,
        ready=dict.fromkeys((CP, ONE, TWO), True),
        heard_s=dict.fromkeys((CP, ONE, TWO), 0.8),
        briefing=BRIEFING,
        events=events,
        outages=outages(events),
        unobserved=unobserved(events),
    )
    return replace(picture, **more)  # type: ignore[arg-type]


def hundred(now_s: float) -> Picture:
    """100 nodes, of which 53 have no DNS, 12 are not heard of any more, and the rest has it again or always had."""
    nodes = [f"worker-{number}" for number in range(1, 101)]
    dead = {
        f"Node/{node}": ((55.0 + number / 50, None if number < 60 else 200.0 + number),)
        for number, node in enumerate(nodes[:80])
    }
    lost = {f"Node/{node}": ((20.4, 54.0 + number / 10),) for number, node in enumerate(nodes)}
    return night(
        now_s,
        ready=dict.fromkeys((CP, *nodes), True),
        heard_s={node: 40.0 if number % 9 == 0 else 0.3 for number, node in enumerate((CP, *nodes))},
        outages={Lane.DNS: dead, Lane.NODE_READY: lost},
    )


PICTURES = {
    "before": night(None, doing="gate: BGP is established"),
    "cut": night(47.3, in_force=True, ttl_s=72.7, let_go_s=24.1),
    "one-unseen": night(
        50.0, in_force=True, ttl_s=70.0, let_go_s=70.0, heard_s={CP: 0.4, ONE: 0.4, TWO: 21.0}
    ),
    "dns-dead": night(120.0, doing="method: the cluster heals itself, and stays well"),
    "over": night(190.4, doing="", verdict=NIGHT.verdict),
    "hundred": hundred(480.0),
}
SIZES = {"80x24": (80, 24), "60x16": (60, 16), "120x45": (120, 45)}
