"""`chaosext diagnose`: what is broken in a cluster, why, and what fixes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaosext.cli.answer import Form, answers, say_data
from chaosext.cli.options import InputFile, Names, cluster_options, context_or_current
from chaosext.cli.page_files import check_places, report_option, write_pages
from chaosext.cli.rehearsal_view import WordsKept
from chaosext.model.printable import say, shown
from chaosext.nodes.shell import DOCKER, NAMESPACE, POD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from chaosext.cluster.client import Cluster
    from chaosext.diagnose.cluster_sight import ClusterSight
    from chaosext.diagnose.collection import CollectedSight
    from chaosext.diagnose.root_causes import Diagnosis
    from chaosext.nodes.shell import NodeShell

AUTO, SSH, NONE = "auto", "ssh", "none"


@click.command(cls=WordsKept)
@cluster_options()
@click.option(
    "--snapshot",
    "snapshots",
    type=InputFile("snapshot"),
    multiple=True,
    help="Diagnose a recorded cluster: files, directories, archives, or - for stdin (repeatable: together one).",
)
@click.option(
    "--transport",
    type=Names([AUTO, DOCKER, SSH, POD, NONE]),
    default=AUTO,
    show_default=True,
    help="How to enter the nodes. auto: kind's containers if they are here; ssh: as root or with sudo, also while no "
    "API server answers; pod: short-lived Pods, created on the cluster (its context must be pinned); none: API only.",
)
@click.option(
    "--node",
    "nodes",
    multiple=True,
    metavar="NAME[=[USER@]HOST]",
    help="With transport ssh: where a node is, if ssh does not know its name, and which there are while no API server "
    "answers (repeatable).",
)
@click.option("--leaf", default="", help="Container of the leaf router.  [default: <cluster>-leaf]")
@click.option(
    "--namespace",
    "-n",
    default=NAMESPACE,
    show_default=True,
    help="The namespace of the Pods of transport `pod`.",
)
@report_option
@click.option(
    "--keep-snapshot",
    "keep",
    type=click.Path(path_type=Path),
    help="Keep what was seen, for --snapshot; gzip where it ends in .gz.",
)
@click.option(
    "--verbose", "-v", is_flag=True, help="Print everything, too: each symptom, evidence and command."
)
@answers("chaosext.diagnosis/v1")
def diagnose(
    context: str | None,
    snapshots: tuple[Path, ...],
    transport: str,
    nodes: tuple[str, ...],
    leaf: str,
    namespace: str,
    reports: tuple[Path, ...],
    keep: Path | None,
    verbose: bool,
    form: Form,
) -> int:
    """Diagnose a cluster in trouble, whatever caused it: what is broken, since when, why, for whom, and what fixes it.

    Read-only, without a run, within a minute. It works from the API alone; with access to nodes it also measures DNS,
    BGP and what the nodes themselves show, also while the API server is out of reach. It never calls a cluster healthy
    of which it did not see everything.

    \b
    Needs get and list of nodes, pods, namespaces, services, endpointslices, events, workloads, leases, webhook
    configurations and Calico's resources, and exec into istiod; what may not be read is named.

    \b
    Examples:
      chaosext diagnose
      chaosext diagnose --context production-eu --report incident.html
      chaosext diagnose --context production-eu --transport ssh --node cp-1=root@10.0.0.2 --node w-1=root@10.0.0.5
      chaosext diagnose --context production-eu --keep-snapshot incident.json.gz
      chaosext diagnose --snapshot incident.json.gz -v                           again, offline
      kubectl get nodes,pods,services,endpointslices,events,deployments,replicasets,statefulsets,daemonsets,leases -A \\
        -o json | chaosext diagnose --snapshot -

    \b
    Exit code:
      0   healthy: nothing is broken, and everything was seen
      10  broken, and explained: root causes for all symptoms
      11  broken, and a symptom has no known cause
      20  refused: an option or a snapshot is not valid
      30  can't tell: nothing broken was seen, but not everything was seen
    """
    _check_options(context, snapshots, keep)
    check_places(reports)
    access = _Access(transport, _destinations(nodes, transport), leaf, namespace)
    sight = _recorded(snapshots) if snapshots else _live(context, access, keep)
    from chaosext.diagnose.root_causes import diagnose as diagnosed

    found = diagnosed(sight)
    write_pages(reports, _renderers(found))
    _say(found, form, verbose=verbose)
    return found.exit_code


def _check_options(context: str | None, snapshots: tuple[Path, ...], keep: Path | None) -> None:
    from chaosext.model.errors import Refused

    if context and snapshots:
        fix = "set --context to diagnose a live cluster, or --snapshot to diagnose a recorded one"
        raise Refused("--context and --snapshot: both given", fix)
    if keep and snapshots:
        raise Refused("--keep-snapshot: the source already is a snapshot", "leave it out")


def _recorded(snapshots: tuple[Path, ...]) -> ClusterSight:
    from chaosext.diagnose.cluster_sight import sight_of
    from chaosext.rehearsal.snapshot.snapshot_files import Reading, read_files

    reading = Reading()
    listed = read_files(snapshots, reading, with_events=True)
    say(str(reading), err=True)
    return sight_of(listed)


@dataclass(frozen=True, slots=True)
class _Access:
    """How to enter nodes. `destinations`: node -> where ssh finds it; `leaf`: the leaf's container."""

    transport: str
    destinations: Mapping[str, str]
    leaf: str
    namespace: str


def _destinations(nodes: tuple[str, ...], transport: str) -> dict[str, str]:
    """Return node -> its destination. Raises `Refused` for nodes without transport ssh."""
    from chaosext.model.errors import Refused

    if nodes and transport != SSH:
        raise Refused("--node: only transport ssh uses it", "set --transport ssh, or leave --node out")
    parts = [each.partition("=") for each in nodes]
    return {name: destination or name for name, _, destination in parts}


def _live(context: str | None, access: _Access, keep: Path | None) -> ClusterSight:
    from chaosext.cli.snapshot import write_snapshot
    from chaosext.diagnose.cluster_sight import sight_of
    from chaosext.rehearsal.snapshot.snapshot_files import listed_of

    context = context_or_current(context)
    say(f"looking at {context}, read-only …", err=True)
    text = _collected(context, access).text()
    if keep:
        write_snapshot(str(keep), [text])
    return sight_of(listed_of(text))


def _collected(context: str, access: _Access) -> CollectedSight:
    from chaosext.cluster.client import Cluster
    from chaosext.diagnose.collection import collect

    cluster = Cluster.connect(context, request_timeout_s=8.0)
    here = _containers(context) if access.transport in (AUTO, DOCKER) else ()
    why = (
        "--transport none"
        if access.transport == NONE
        else "no container of these nodes here; see --transport"
    )

    def shells_of(names: Sequence[str]) -> Mapping[str, NodeShell]:
        if access.transport == POD:
            return _through_pods(context, access.namespace, names)
        if access.transport == SSH:
            from chaosext.nodes.ssh_shell import SshShell

            return {name: SshShell(name, access.destinations.get(name, name)) for name in names}
        from chaosext.nodes.transport import shells

        return shells(name for name in names if name in here)

    found = collect(
        cluster,
        shells_of,
        _leaf(context, access.leaf) if here else None,
        why_blind=why,
        found_nodes=lambda: here or tuple(access.destinations),
    )
    if not found.api:
        _require_pinned_cluster(cluster)
    return found


def _require_pinned_cluster(cluster: Cluster) -> None:
    """Raise `Refused` if the context was pinned to another cluster."""
    from chaosext.run.session.connection import observed_pin
    from chaosext.safety.pins import read_pins, verify

    pinned = read_pins().get(cluster.context)
    if pinned is not None:
        verify(pinned, observed_pin(cluster))


def _containers(context: str) -> tuple[str, ...]:
    """Return kind's nodes of this context's cluster that are containers here; none without docker."""
    from chaosext.model.errors import Refused
    from chaosext.nodes.transport import discover

    if not context.startswith("kind-"):
        return ()
    try:
        return discover(cluster=context.removeprefix("kind-"))
    except Refused:
        return ()


def _leaf(context: str, leaf: str) -> NodeShell | None:
    from chaosext.model.names import is_container
    from chaosext.nodes.process_shell import DockerShell

    name = leaf or f"{context.removeprefix('kind-')}-leaf"
    return DockerShell(name) if is_container(name) else None


def _through_pods(context: str, namespace: str, names: Sequence[str]) -> Mapping[str, NodeShell]:
    """Return shells in Pods on the nodes; the command's end removes them."""
    from chaosext.experiment.settings import settings_from
    from chaosext.nodes.transport import shells
    from chaosext.run.agents.node_pods import open_access

    settings = settings_from(
        {"chaosext_transport": POD, "chaosext_namespace": namespace}, {"KUBERNETES_CONTEXT": context}
    )
    return shells(names, open_access(settings, strictly=False))


def _renderers(found: Diagnosis) -> dict[str, Callable[[], str]]:
    from chaosext.diagnose.diagnosis_text import markdown, page
    from chaosext.report.render.formats import as_json

    return {
        ".html": lambda: shown(page(found)),
        ".md": lambda: shown(markdown(found)),
        ".json": lambda: as_json(found.to_json()),
    }


def _say(found: Diagnosis, form: Form, *, verbose: bool) -> None:
    """Print the data, or the details if they are wanted, and then the screen."""
    if form.is_data:
        say_data(found.to_json(), form)
        return
    from chaosext.cli.output import say_screen, screen_columns
    from chaosext.cli.rehearsal_view import said_again
    from chaosext.diagnose.diagnosis_text import detail_lines, diagnosis_screen

    if verbose or form.is_wide:
        say(*detail_lines(found), "")
    columns = screen_columns()
    more = (
        (["-v"], "every symptom, evidence and command"),
        (["--report", "incident.html"], "a page for the ticket"),
    )
    steps = tuple(said_again(["chaosext", "diagnose"], more, columns))
    say_screen(diagnosis_screen(found, steps, columns))
