"""`chaosext testbed`: creates and removes testbeds. Heavy imports happen only when a command runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chaosext.cli.answer import Form, answers, say_answer
from chaosext.cli.options import InputFile
from chaosext.model.printable import say_document

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.testbed.config import Blueprint
    from chaosext.testbed.health import BedStatus, NodeHealth
    from chaosext.testbed.pair import EntryStatus, PairStatus
    from chaosext.testbed.stage_progress import Progress

NOT_STEADY = 10
STEADY_S = 60.0

NAME = click.option("--name", default="chaosext", show_default=True, help="The testbed's name.")
FORCE = click.option("--force", is_flag=True, help="Continue even if a run is using the testbed.")

UP_EXAMPLES = """\b
Examples:
  chaosext testbed up
  chaosext testbed up --timings production --workers 3
  chaosext testbed up --images bundle-full.tar
  chaosext testbed up --network calico-reflectors
  chaosext testbed up --sidecars classic                          the incident, as it was
  chaosext testbed up --dns nodelocal --mitigation serve-stale
  chaosext testbed up --kubernetes 1.37
  chaosext testbed up --clusters 2       a second cluster, NAME-b, a load balancer, and customers
"""


@click.group()
def testbed() -> None:
    """Bring a testbed up and down: kind, a Pod network, a leaf router, Istio, a shop."""


@testbed.command(epilog=UP_EXAMPLES)
@NAME
@click.option(
    "--images",
    default="auto",
    show_default=True,
    metavar="auto|registry|PATH",
    help="Where images come from: a registry, or an image bundle (PATH: a directory, or a tar file of one). auto: the "
    "registry where it answers, else the newest bundle in the cache that fits.",
)
@click.option(
    "--registry", metavar="HOST:PORT", help="Pull from this mirror instead of the official registries."
)
@click.option(
    "--kubernetes",
    metavar="VERSION",
    help="A minor version, 1.32 to 1.37, or a patch release such as v1.33.13.  "
    "[default: as it is, that of the bundle at PATH, 1.34]",
)
@click.option(
    "--network",
    metavar="NAME",
    help="How Pods reach each other: calico-bgp (the incident's: only workers peer with the leaf), calico-mesh "
    "(every node with every other), calico-racks (an AS and a leaf per rack), calico-reflectors (through the "
    "control-plane nodes), calico-vxlan, flannel (VXLAN), kube-router (BGP between all nodes) or macvlan (addresses of "
    "the fabric).  [default: as it is, calico-bgp]",
)
@click.option(
    "--mesh",
    metavar="NAME",
    help="istio, istio-dns-capture (sidecars answer lookups of Services), or none.  [default: as it is, istio]",
)
@click.option(
    "--sidecars",
    metavar="native|classic",
    help="Envoy as a native sidecar, or beside the application as in the incident.  [default: as it is, native]",
)
@click.option(
    "--dns",
    metavar="NAME",
    help="coredns (on two workers), nodelocal (a cache on each node), nodelocal-serve-stale, dns-daemonset (a server "
    "on each node), or on-control-plane (as on a fresh kubeadm cluster).  [default: as it is, coredns]",
)
@click.option(
    "--timings",
    metavar="accelerated|production",
    help="20 s grace and 20 s tolerations, or Kubernetes' defaults (50 s and 300 s).  "
    "[default: as it is, accelerated]",
)
@click.option(
    "--mitigation",
    "mitigations",
    multiple=True,
    metavar="NAME",
    help="A change that `chaosext rehearse` may recommend, by its name, such as dns-affinity; repeatable.  "
    "[default: as it is, none]",
)
@click.option(
    "--clusters",
    type=click.IntRange(1, 2),
    help="2: a second, smaller cluster with the same shop, a load balancer in front of both, and customers.  "
    "[default: as it is, 1]",
)
@click.option(
    "--workers", type=int, help="Number of workers.  [default: as it is, or as the configuration says, 2]"
)
@click.option(
    "--config",
    type=InputFile(),
    metavar="FILE",
    help="Path of a kind configuration.  [default: the bundled one]",
)
@FORCE
@answers()
def up(
    name: str,
    images: str,
    registry: str | None,
    kubernetes: str | None,
    network: str | None,
    mesh: str | None,
    sidecars: str | None,
    dns: str | None,
    timings: str | None,
    mitigations: tuple[str, ...],
    clusters: int | None,
    workers: int | None,
    config: Path | None,
    force: bool,
    form: Form,
) -> None:
    """Bring the testbed to its steady state. If an earlier `up` was interrupted, continue there.

    Its cluster is then pinned: a context of that name that leads elsewhere is refused, here and by every action.
    Refused while a run uses the testbed.
    """
    from chaosext.testbed.bringup import bring_up
    from chaosext.testbed.config import checked_name, make_blueprint, read_kind_config
    from chaosext.testbed.lifecycle import existing_record
    from chaosext.testbed.stage_progress import Progress

    existing = existing_record(checked_name(name))
    if workers is None and config is None and "workers" in existing:
        workers = int(existing["workers"])
    blueprint = make_blueprint(
        name=name,
        config_text=read_kind_config(config),
        network=network,
        mesh=mesh,
        sidecars=sidecars,
        dns=dns,
        timings=timings,
        mitigations=mitigations,
        workers=workers,
        existing=existing,
    )
    _require_no_run(name, force=force)
    second = _second(blueprint, clusters)
    progress = Progress()
    status = bring_up(
        blueprint,
        progress,
        second=second,
        images=images,
        registry=registry,
        kubernetes=kubernetes or existing.get("kubernetes"),
    )
    for each in filter(None, (blueprint, second)):
        _pin(each)
        _require_steady_state(each.context, progress)
    _show(status, form)


def _second(blueprint: Blueprint, clusters: int | None) -> Blueprint | None:
    """Return the second cluster, if it exists or is requested.

    Raises `Refused` if it exists but 1 is requested.
    """
    from chaosext.model.errors import Refused
    from chaosext.testbed import pair
    from chaosext.testbed.commands import CommandFailed
    from chaosext.testbed.config import second_blueprint, second_name

    try:
        there = pair.has_second(blueprint.name)
    except CommandFailed:  # no engine yet, so no cluster either
        there = False
    if there and clusters == 1:
        fix = f"run `chaosext testbed down --name {second_name(blueprint.name)}`, or remove --clusters"
        raise Refused(f"testbed {blueprint.name} has a second cluster", fix)
    return second_blueprint(blueprint) if there or clusters == 2 else None


def _pin(blueprint: Blueprint) -> None:
    from chaosext.run.session.connection import pin_made
    from chaosext.testbed.kubectl import Kubectl, first_control_plane

    node = Kubectl(first_control_plane(blueprint.name))
    pin_made(blueprint.context, kube_system_uid=node.kube_system_uid(), ca_sha256=node.ca_sha256())


def _require_no_run(name: str, *, force: bool) -> None:
    """Raise `Refused` while a run uses one of the testbed's clusters, unless `force` is set."""
    from chaosext.run.fault.run_lock import require_no_run
    from chaosext.testbed.config import checked_name, second_name

    if not force:
        for each in (checked_name(name), second_name(name)):
            require_no_run(f"kind-{each}", "or add --force, which breaks that run")


@testbed.command()
@NAME
@FORCE
@answers()
def down(name: str, force: bool, form: Form) -> None:
    """Remove the testbed: nodes, leaf, kubeconfig context and pin, and the load balancer and second cluster if it has
    them. Images stay in the Docker Engine, and image bundles in the cache. Refused while a run uses the testbed.
    """
    from chaosext.safety.pins import remove_pin
    from chaosext.testbed import lifecycle, pair
    from chaosext.testbed.config import checked_name, second_name
    from chaosext.testbed.stage_progress import Progress

    _require_no_run(name, force=force)
    progress = Progress()
    if pair.take_down(checked_name(name), progress):
        remove_pin(f"kind-{second_name(name)}")
    _forget_drains(name)
    removed = lifecycle.down(name, progress)
    if removed:
        remove_pin(f"kind-{name}")
    lines = [] if removed else [f"There is no testbed named {name}."]
    say_answer({"testbed": name, "removed": removed}, lines, form)


def _forget_drains(name: str) -> None:
    """Remove records of clusters that runs left drained at this testbed's load balancer, which is gone."""
    from chaosext.safety.intent import changed, intent_log, write_as_found
    from chaosext.testbed.load_balancer_nodes import entry_name

    for each in changed(intent_log().entries()):
        if each.entry == entry_name(name):
            write_as_found(each)


@testbed.command()
@NAME
@answers()
def status(name: str, form: Form) -> None:
    """Show nodes, BGP sessions, kube-dns, istiod, the shop, mitigations and timings; of both clusters, and the load
    balancer.

    Exit code: 0 in the steady state, 10 if something is missing, 20 if the testbed does not exist.
    """
    from chaosext.testbed import lifecycle, pair
    from chaosext.testbed.config import checked_name

    found = pair.status(checked_name(name)) if pair.has_second(name) else lifecycle.status(checked_name(name))
    _show(found, form)
    if not found.steady:
        click.get_current_context().exit(NOT_STEADY)


@testbed.command()
@NAME
def kubeconfig(name: str) -> None:
    """Print a kubeconfig of the testbed alone (`up` has merged one into yours already).

    \b
    Example:
      chaosext testbed kubeconfig > testbed.yaml; kubectl --kubeconfig testbed.yaml get nodes
    """
    from chaosext.testbed import lifecycle
    from chaosext.testbed.config import checked_name

    say_document(lifecycle.standalone_kubeconfig(checked_name(name)))


def _require_steady_state(context: str, progress: Progress) -> None:
    """Run the checks that an experiment will run, and save the cluster as the new baseline.

    Raises `NotInTime` with what is unhealthy. Objects that users added to the testbed become part of the
    baseline.
    """
    from chaosext.experiment.settings import settings_from
    from chaosext.model.findings import Status
    from chaosext.run.monitor.steady_baseline import renew
    from chaosext.run.monitor.steady_state import ask_now
    from chaosext.run.monitor.wait_steady import settle
    from chaosext.run.session.connection import connect
    from chaosext.testbed.wait import NotInTime

    settings = settings_from({}, {"KUBERNETES_CONTEXT": context})
    with progress.stage("Run every check of the steady state"):
        asked = settle(
            lambda: ask_now(settings, "all", compared=False), settle_s=STEADY_S, dwell_s=0, interval_s=0.5
        )
    if asked.finding.status is not Status.HEALTHY:
        raise NotInTime(
            f"{context} is up, but not steady after {STEADY_S:g} s: {asked.finding.summary}",
            f"see `chaosext check all --verbose --context {context}`",
        )
    renew(connect(settings), settings)


def _show(status: BedStatus | PairStatus, form: Form) -> None:

    from chaosext.testbed.pair import PairStatus

    if isinstance(status, PairStatus):
        lines = [*_lines(status.first), *_lines(status.second), *_entry_lines(status.entry)]
    else:
        lines = _lines(status)
    say_answer(status.to_json(), lines, form)


def _entry_lines(status: EntryStatus) -> list[str]:
    return [
        f"Load balancer {status.name}",
        *(f"  {each.cluster} {each.state}" for each in status.members),
        f"  {status.customers}: {status.ok} of {status.requests} requests answered in the last seconds",
        *(f"  missing: {line}" for line in status.missing),
        "  steady" if status.steady else "  not steady",
    ]


def _bgp(node: NodeHealth) -> str:
    """Return the state of a node's sessions; a state that is not good names the peers itself."""
    from chaosext.nodes.frr import ESTABLISHED

    return f"{node.bgp} with {', '.join(node.bgp_peers)}" if node.bgp == ESTABLISHED else node.bgp


def _lines(status: BedStatus) -> list[str]:
    """Return the status as text, one line per item."""
    settings = ", ".join(f"{name} {value}" for name, value in status.record.items())
    return [
        f"Testbed {status.name} ({settings})",
        f"  context {status.context}, leaf {status.leaf_ip}",
        *(
            f"  node {node.name} {node.ipv4} {'Ready' if node.ready else 'not Ready'}, BGP {_bgp(node)}"
            for node in status.nodes
        ),
        *(f"  {each.name}, BGP {each.bgp} with the first leaf" for each in status.further_leafs),
        *(f"  kube-dns {pod.name} on {pod.node or 'no node'}" for pod in status.pods if pod.kube_dns),
        *(
            f"  {each.namespace}/{each.name} {each.ready} of {each.desired} ready"
            for each in status.workloads
        ),
        *(f"  missing: {line}" for line in status.missing),
        "  steady" if status.steady else "  not steady",
    ]
