"""`chaosext entry`: the entry in front of several clusters, by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chaosext.model.printable import say, say_json

if TYPE_CHECKING:
    from chaosext.model.failover import Member
    from chaosext.safety.audit import Event
    from chaosext.safety.intent import Changed

NOT_ALL_SERVE = 10
WINDOW_S = 5.0

ENTRY = click.option("--entry", default="chaosext-entry", show_default=True, help="The entry's container.")


@click.group()
def entry() -> None:
    """Show the entry in front of several clusters; take a cluster out of it and back in, by hand.

    \b
    Examples:
      chaosext entry show
      chaosext entry drain chaosext
      chaosext entry restore chaosext
    """


@entry.command()
@ENTRY
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show(entry: str, as_json: bool) -> int:
    """Show which clusters the entry sends customers to, and what they get.

    \b
    Examples:
      chaosext entry show
      chaosext entry show --entry way-entry --json

    Exit code: 0 where every cluster serves and every customer was served in the last 5 s, else 10; 30 unreachable.
    """
    from chaosext.checks.customer_requests import judge_ratio
    from chaosext.model.findings import Status
    from chaosext.run.session.load_balancer_connection import entry_in

    door = entry_in(entry)
    members, finding = door.look(), judge_ratio(entry, door.requests(WINDOW_S))
    well = finding.status is Status.HEALTHY and all(each.serves for each in members)
    if as_json:
        said = {
            "entry": entry,
            "members": [each.to_json() for each in members],
            "customers": finding.to_json(),
        }
        say_json({**said, "well": well})
    else:
        say(*map(_line, members), f"customers: {finding.summary}")
    return 0 if well else NOT_ALL_SERVE


@entry.command()
@click.argument("cluster")
@ENTRY
def drain(cluster: str, entry: str) -> None:
    """Send no new request to CLUSTER until it is restored; those in flight end as they would. Idempotent.

    Refused where no other cluster would serve.

    \b
    Example:
      chaosext entry drain chaosext
    """
    from chaosext.run.rollback.cluster_drain import in_audit, require_others
    from chaosext.run.session.load_balancer_connection import entry_in, require_member
    from chaosext.safety.audit import Event

    door = entry_in(entry)
    if not require_member(door, cluster).drained:
        require_others(door, cluster)
        _note(Event.DRAINING, in_audit(door, cluster))
        door.change(cluster, drained=True)
    say(_line(require_member(door, cluster)))


@entry.command()
@click.argument("cluster")
@ENTRY
@click.option("--context", help="CLUSTER's Kubernetes context.  [default: kind-CLUSTER]")
@click.option(
    "--settle", "settle_s", type=float, default=60.0, show_default=True, help="Seconds it may take."
)
@click.option("--dwell", "dwell_s", type=float, default=15.0, show_default=True, help="Seconds it must hold.")
@click.option("--unasked", is_flag=True, help="Take it back in without asking for its steady state.")
def restore(
    cluster: str, entry: str, context: str | None, settle_s: float, dwell_s: float, unasked: bool
) -> None:
    """Send requests to CLUSTER again, once its steady state has held; as a run found it that has left it. Idempotent.

    \b
    Examples:
      chaosext entry restore chaosext
      chaosext entry restore prod-eu --entry lb-1 --context prod-eu
    """
    from chaosext.run.rollback.cluster_drain import in_audit, take_back
    from chaosext.run.session.load_balancer_connection import entry_in, require_member
    from chaosext.safety.audit import Event
    from chaosext.safety.intent import write_as_found

    door, found = entry_in(entry), _left(entry, cluster)
    failover = found.failover if found else None
    if require_member(door, cluster).drained:
        if not unasked:
            _require_steady(cluster, context or f"kind-{cluster}", settle_s=settle_s, dwell_s=dwell_s)
        take_back(door, cluster, failover)
        _note(Event.TAKEN_BACK, in_audit(door, cluster))
    elif failover:
        door.change(cluster, failover=failover)
    if found:
        write_as_found(found)
    say(_line(require_member(door, cluster)))


def _note(event: Event, at_entry: str) -> None:
    """Whoever helps customers in an outage is not held up by a log; what it did not take is said."""
    from chaosext.run.session.run_context import owner
    from chaosext.safety.audit import Deed, note

    if isinstance(problem := note(Deed(event=event, owner=owner(), at_entry=at_entry)), str):
        say(f"not in the audit log: {event.value}: {problem}", err=True)


def _left(entry: str, cluster: str) -> Changed | None:
    """What a run has left changed there."""
    from chaosext.safety.intent import changed, intent_log

    left = changed(intent_log().entries())
    return next((each for each in left if (each.entry, each.cluster) == (entry, cluster)), None)


def _require_steady(cluster: str, context: str, *, settle_s: float, dwell_s: float) -> None:
    """Raises `Inconclusive` where the cluster's steady state does not hold."""
    from chaosext.experiment.settings import settings_from
    from chaosext.model.errors import Inconclusive
    from chaosext.model.findings import Status
    from chaosext.run.monitor.steady_state import ask_now
    from chaosext.run.monitor.wait_steady import settle

    settings = settings_from({}, {"KUBERNETES_CONTEXT": context})
    asked = settle(lambda: ask_now(settings, "all"), settle_s=settle_s, dwell_s=dwell_s)
    if asked.finding.status is not Status.HEALTHY:
        raise Inconclusive(
            f"cluster {cluster} is not taken back, as it is not steady: {asked.finding.summary}",
            f"see `chaosext check all --verbose --context {context}`; --unasked takes it back all the same",
        )


def _line(member: Member) -> str:
    return f"{member.cluster}: {member.state}"
