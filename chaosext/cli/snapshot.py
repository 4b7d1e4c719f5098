"""`chaosext snapshot`: saves what a rehearsal needs from a live cluster, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaosext.cli.answer import OutputFile
from chaosext.cli.options import cluster_options, context_or_current
from chaosext.model.printable import say, say_document

if TYPE_CHECKING:
    from collections.abc import Iterable

STDOUT = "-"


@click.command()
@cluster_options()
@click.option(
    "--output",
    "-o",
    type=OutputFile(),
    required=True,
    help="The file; gzip where its name ends in .gz; - for stdout.",
)
@click.option(
    "--page-timeout",
    "page_s",
    type=click.FloatRange(1, 600),
    default=60.0,
    show_default=True,
    help="Timeout for one page of 500 objects, seconds.",
)
def snapshot(context: str | None, output: str, page_s: float) -> int:
    """Save the objects of a cluster that `chaosext rehearse` needs, as a plain Kubernetes List. Read-only.

    Keeps only the fields that a prediction depends on: no Secret, no environment but whether a sidecar of Istio
    answers lookups, no image, no command, no header of a hook or probe, no ConfigMap except how Cilium routes and what
    DNS kubelets hand out, no annotation except Calico's addresses, flannel's backend, kube-router's peers and a
    Service's topology, and of the arguments of the control plane (k3s' and RKE2's, too) and of kube-router those that
    change a prediction.

    \b
    Needs get and list of nodes, pods, namespaces, services, deployments, replicasets, statefulsets, daemonsets, jobs,
    poddisruptionbudgets, mutatingwebhookconfigurations, validatingwebhookconfigurations, leases (in kube-node-lease),
    Calico's bgppeers, bgpconfigurations, ippools, felixconfigurations, Cilium's ciliumbgppeeringpolicies,
    ciliumbgpclusterconfigs, ciliumbgppeerconfigs, ciliumbgpadvertisements, and get of the ConfigMaps cilium-config,
    kubelet-config, node-local-dns and nodelocaldns in kube-system: deploy/rehearsal/rbac.yaml. What may not be read is
    said, and then assumed, or unknown.

    \b
    Examples:
      chaosext snapshot --context production-eu -o cluster.json.gz
      chaosext snapshot -o - | gzip > cluster.json.gz

    Exit code: 0 written, 20 refused (no permission to read nodes or Pods, or the file cannot be written), 30 no
    answer.
    """
    from chaosext.checks.live_objects import Taking
    from chaosext.cluster.client import Cluster

    context = context_or_current(context)
    taking = Taking(cluster=Cluster.connect(context), page_s=page_s)
    write_snapshot(output, taking.text())
    for kind, why in taking.missed.items():
        say(f"not in the snapshot: {kind} ({why})", err=True)
    counted = ", ".join(f"{number} {kind}" for kind, number in taking.counts.items() if number)
    say(f"snapshot of {context}: {counted}", err=True)
    return 0


def write_snapshot(output: str, pieces: Iterable[str]) -> None:
    """Write a snapshot into a file, completely or not at all, or to stdout. Raises `Refused` if it fails."""
    from chaosext.model.errors import Refused
    from chaosext.model.files import write_pieces

    if output == STDOUT:
        for piece in pieces:
            say_document(piece)
        return
    try:
        write_pieces(Path(output), pieces, fsync=False, gzipped=output.endswith(".gz"))
    except OSError as error:
        raise Refused(
            f"--output {output}: {error.strerror or error}", "choose a file that you can write"
        ) from None
