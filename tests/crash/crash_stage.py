"""Experiments made of `crash_activities`, and a stage without a cluster to run them on."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

from chaosext.model.result import Briefing
from chaosext.run import runner

Activity = dict[str, Any]

BRIEFING = Briefing(
    context="kind-nowhere", timings={}, outlook=(), unpeered_nodes=("cp",), kube_dns_nodes=("worker",)
)


def act(func: str, *, kind: str = "action", name: str = "", **arguments: Any) -> Activity:
    """An activity of `crash_activities`."""
    provider = {"type": "python", "module": "crash_activities", "func": func, "arguments": arguments}
    return {"type": kind, "name": name or f"{func} {arguments}", "provider": provider}


def ours(func: str, *, kind: str = "action", **arguments: Any) -> Activity:
    """An activity of chaosext itself."""
    module = "chaosext.actions" if kind == "action" else "chaosext.probes"
    provider = {"type": "python", "module": module, "func": func, "arguments": arguments, "secrets": ["k8s"]}
    return {"type": kind, "name": func, "provider": provider}


def gate(value: Any = "well", tolerance: Any = "well") -> Activity:
    """A probe of the hypothesis."""
    return {**act("answer", kind="probe", name="gate", value=value), "tolerance": tolerance}


HEAL = ours("heal_control_plane")
"""Nothing was cut, so it heals nothing; it names the secrets that every run needs."""


def experiment(
    method: list[Activity],
    *,
    probes: list[Activity] | None = None,
    rollbacks: list[Activity] | None = None,
    **configuration: Any,
) -> dict[str, Any]:
    return {
        "title": "a small one",
        "configuration": configuration,
        "description": "made for a test",
        "secrets": {"k8s": {"KUBERNETES_CONTEXT": "kind-nowhere"}},
        "steady-state-hypothesis": {"title": "all is well", "probes": probes or [gate()]},
        "method": method,
        "rollbacks": [HEAL, *(rollbacks or [])],
    }


def without_a_cluster(setattr_: Any = setattr) -> None:
    """Put away what a strict run asks a cluster for; everything else of it is real."""
    setattr_(runner, "ready", lambda _resolved, _run: BRIEFING)
    setattr_(runner, "surroundings", lambda _settings: None)
    setattr_(runner, "Watching", lambda *_: nullcontext(SimpleNamespace(objects=None)))
