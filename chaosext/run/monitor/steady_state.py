"""Runs the checks for a probe or a person."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chaosext.checks.check_names import CUT, MISSING
from chaosext.checks.cut_effective import CutEvidence, sampled
from chaosext.checks.suite import STEADY_STATE, require_known, run_checks, unknown
from chaosext.checks.tcp_reachability import parse_target
from chaosext.model.errors import Unreachable
from chaosext.model.findings import Finding, Status
from chaosext.model.timeline import Kind
from chaosext.run.fault import paths_before
from chaosext.run.fault.cut_plan import survey
from chaosext.run.fault.node_entry import way_into
from chaosext.run.monitor.steady_baseline import BASELINE, kept
from chaosext.run.monitor.surroundings import surroundings
from chaosext.run.monitor.wait_steady import settle
from chaosext.run.session.connection import connect
from chaosext.run.session.run_context import begun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaosext.experiment.settings import Settings
    from chaosext.run.monitor.steady_baseline import KeptBaseline
    from chaosext.run.session.run_context import RunContext


def ask(settings: Settings, name: str, **more: Any) -> Finding:
    """The finding of one check; `more` are fields of `Surroundings`."""
    require_known([name])
    (finding,) = _ask([name], settings, **more)
    return finding


def ask_now(
    settings: Settings, name: str, targets: Sequence[str] = (), *, compared: bool = True
) -> tuple[Finding, ...]:
    """The checks that a person requests: one by name, or `all` of the steady state, `compared` with the baseline."""
    names = STEADY_STATE if name == "all" else (name,)
    require_known(names)
    more: dict[str, Any] = {"tcp_targets": tuple(parse_target(target) for target in targets)}
    last = _kept(settings) if compared and name in ("all", MISSING) else None
    if last is None:
        return _ask(names, settings, **more)
    names = tuple(dict.fromkeys((*names, MISSING)))
    return tuple(_dated(each, last) for each in _ask(names, settings, baseline=last.inventory, **more))


def _kept(settings: Settings) -> KeptBaseline | None:
    """The cluster's newest baseline: the last run's, or one saved since."""
    with suppress(Unreachable):  # then every finding is unknown, and says why
        return kept(connect(settings).namespace_uid("kube-system"))
    return None


def _dated(finding: Finding, last: KeptBaseline) -> Finding:
    if finding.check != MISSING:
        return finding
    anew = "" if finding.status is Status.HEALTHY else " (`chaosext baseline save` records a new one)"
    return replace(
        finding, summary=f"{finding.summary}; the baseline is of {last.at:%Y-%m-%d %H:%M} UTC{anew}"
    )


def ask_cut(settings: Settings, before: CutEvidence | None) -> Finding:
    """Check that the cut is effective, compared with paths measured before it by this or another process."""
    return ask(settings, CUT, cut_before=before)


def _before(settings: Settings) -> CutEvidence:
    """The paths measured before the latest cut; without them, a path that answers is still known not to be cut."""
    cluster = connect(settings)
    kept = paths_before.load(cluster.namespace_uid("kube-system"))
    if kept is not None:
        return kept
    ground = survey(cluster, way_into(settings), settings)
    paths, left_out = sampled(ground.paths, {node.name for node in ground.control_plane})
    return CutEvidence(paths=paths, connects={}, blind=ground.blind, left_out=left_out)


def ask_steady_state(
    settings: Settings, context: RunContext, checks: Sequence[str] | None, *, settle_s: float, dwell_s: float
) -> dict[str, Any]:
    """Settle and dwell on `checks` (None: the whole steady state); returns the finding, JSON-ready, with its parts."""
    names = tuple(checks) if checks is not None else STEADY_STATE
    require_known(names)
    whole = names if context.stash[BASELINE] is None else tuple(dict.fromkeys((*names, MISSING)))
    settling = settle(lambda: _ask(whole, settings), settle_s=settle_s, dwell_s=dwell_s)
    finding = settling.finding
    if finding.status is Status.HEALTHY and set(STEADY_STATE) <= set(
        names
    ):  # fewer checks are not the steady state
        context.recorder.say(Kind.STEADY, f"Cluster/{settings.context}", finding.summary)
    return {
        **finding.to_json(),
        "settled_after_s": settling.settled_after_s,
        "dwelt_s": round(settling.dwelt_s, 1),
        "findings": [each.to_json() for each in settling.findings],
    }


def _ask(names: Sequence[str], settings: Settings, **more: Any) -> tuple[Finding, ...]:
    """The findings; an API server that can't list the nodes makes all of them unknown."""
    try:
        if CUT in names and more.get("cut_before") is None:
            more["cut_before"] = _before(settings)
        run = begun()
        baseline = run.stash[BASELINE] if run else None
        if baseline and MISSING in names:
            more["baseline"] = baseline.inventory
        around = replace(surroundings(settings), **more)
    except Unreachable as error:
        return tuple(unknown(name, str(error)) for name in names)
    findings = run_checks(names, around)
    if run and baseline:
        for finding in findings:
            baseline.note(finding, run.recorder)
    return findings
