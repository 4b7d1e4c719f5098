"""`chaosext failover`: drain and restore a cluster at the load balancer in front of several, by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chaosext.cli.answer import Form, answers, say_answer
from chaosext.cli.options import cluster_options
from chaosext.model.printable import say

if TYPE_CHECKING:
    from chaosext.model.load_balancer_state import Member
    from chaosext.safety.audit_log import AuditEvent
    from chaosext.safety.intent import Changed

NOT_ALL_SERVE = 10
WINDOW_S = 5.0

LOAD_BALANCER = click.option(
    "--load-balancer",
    default="chaosext-entry",
    show_default=True,
    help="Name of the load balancer's container.",
)


@click.group()
def failover() -> None:
    """Show the load balancer in front of several clusters; drain a cluster from it, and restore it.

    \b
    Examples:
      chaosext failover show
      chaosext failover drain chaosext
      chaosext failover restore chaosext
    """


@failover.command()
@LOAD_BALANCER
@answers()
def show(load_balancer: str, form: Form) -> int:
    """Show to which clusters the load balancer sends requests, and how many of the customers' requests succeed.

    \b
    Examples:
      chaosext failover show
      chaosext failover show --load-balancer way-entry --json

    \b
    Exit code:
      0   every cluster serves, and at least 99.9% of the requests of the last 5 s succeeded
      10  a cluster does not serve, or too many requests failed, or none ended
      30  the load balancer is unreachable
    """
    from chaosext.checks.customer_requests import judge_ratio
    from chaosext.model.findings import Status
    from chaosext.run.session.connection import entry_in

    balancer = entry_in(load_balancer)
    members, finding = balancer.look(), judge_ratio(load_balancer, balancer.requests(WINDOW_S))
    well = finding.status is Status.HEALTHY and all(each.serves for each in members)
    said = {
        "entry": load_balancer,
        "members": [each.to_json() for each in members],
        "customers": finding.to_json(),
        "well": well,
    }
    say_answer(said, (*map(_line, members), f"customers: {finding.summary}"), form)
    return 0 if well else NOT_ALL_SERVE


@failover.command()
@click.argument("cluster")
@LOAD_BALANCER
@answers()
def drain(cluster: str, load_balancer: str, form: Form) -> None:
    """Send no new requests to CLUSTER until it is restored; requests in flight finish normally. Idempotent.

    Refused if no other cluster serves.

    \b
    Example:
      chaosext failover drain chaosext
    """
    from chaosext.run.rollback.cluster_drain import in_audit, require_others
    from chaosext.run.session.connection import entry_in, require_member
    from chaosext.safety.audit_log import AuditEvent

    balancer = entry_in(load_balancer)
    if not require_member(balancer, cluster).drained:
        require_others(balancer, cluster)
        _note(AuditEvent.DRAINING, in_audit(balancer, cluster))
        balancer.change(cluster, drained=True)
    _say(require_member(balancer, cluster), form)


@failover.command()
@click.argument("cluster")
@LOAD_BALANCER
@cluster_options("CLUSTER's Kubernetes context.  [default: kind-CLUSTER]")
@click.option(
    "--settle",
    "settle_s",
    type=float,
    default=60.0,
    show_default=True,
    help="Seconds within which the steady state must be reached.",
)
@click.option(
    "--dwell",
    "dwell_s",
    type=float,
    default=15.0,
    show_default=True,
    help="Seconds for which the steady state must hold.",
)
@click.option("--unasked", is_flag=True, help="Restore it without checking its steady state.")
@answers()
def restore(
    cluster: str,
    load_balancer: str,
    context: str | None,
    settle_s: float,
    dwell_s: float,
    unasked: bool,
    form: Form,
) -> None:
    """Send requests to CLUSTER again, once its steady state has held. Idempotent.

    If a run left CLUSTER drained, its failover mode is restored as well.

    \b
    Examples:
      chaosext failover restore chaosext
      chaosext failover restore prod-eu --load-balancer lb-1 --context prod-eu
    """
    from chaosext.run.rollback.cluster_drain import in_audit, take_back
    from chaosext.run.session.connection import entry_in, require_member
    from chaosext.safety.audit_log import AuditEvent
    from chaosext.safety.intent import write_as_found

    balancer, found = entry_in(load_balancer), _left(load_balancer, cluster)
    mode = found.failover if found else None
    if require_member(balancer, cluster).drained:
        if not unasked:
            _require_steady(cluster, context or f"kind-{cluster}", settle_s=settle_s, dwell_s=dwell_s)
        take_back(balancer, cluster, mode)
        _note(AuditEvent.TAKEN_BACK, in_audit(balancer, cluster))
    elif mode:
        balancer.change(cluster, failover=mode)
    if found:
        write_as_found(found)
    _say(require_member(balancer, cluster), form)


def _note(event: AuditEvent, at_entry: str) -> None:
    """Write to the audit log. A failure is only a warning: during an outage the action matters more."""
    from chaosext.run.session.run_context import owner
    from chaosext.safety.audit_log import Deed, note

    if isinstance(problem := note(Deed(event=event, owner=owner(), at_entry=at_entry)), str):
        say(f"not in the audit log: {event.value}: {problem}", err=True)


def _left(load_balancer: str, cluster: str) -> Changed | None:
    """Return what a run left changed at the load balancer, or None."""
    from chaosext.safety.intent import changed, intent_log

    left = changed(intent_log().entries())
    return next((each for each in left if (each.entry, each.cluster) == (load_balancer, cluster)), None)


def _require_steady(cluster: str, context: str, *, settle_s: float, dwell_s: float) -> None:
    """Raise `Inconclusive` unless the cluster's steady state holds."""
    from chaosext.experiment.settings import settings_from
    from chaosext.model.errors import Inconclusive
    from chaosext.model.findings import Status
    from chaosext.run.monitor.steady_state import ask_now
    from chaosext.run.monitor.wait_steady import settle

    settings = settings_from({}, {"KUBERNETES_CONTEXT": context})
    asked = settle(lambda: ask_now(settings, "all"), settle_s=settle_s, dwell_s=dwell_s)
    if asked.finding.status is not Status.HEALTHY:
        raise Inconclusive(
            f"cluster {cluster} stays drained, because its steady state is not confirmed: {asked.finding.summary}",
            f"run `chaosext check all --verbose --context {context}`; --unasked restores it without a check",
        )


def _say(member: Member, form: Form) -> None:
    say_answer(member.to_json(), [_line(member)], form)


def _line(member: Member) -> str:
    return f"{member.cluster}: {member.state}"
