"""`chaosext snapshot`: what a rehearsal needs of a live cluster, in one file."""

from __future__ import annotations

import gzip
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

STDOUT = "-"


@click.command()
@click.option("--context", default="kind-chaosext", show_default=True, help="Kubernetes context.")
@click.option(
    "--output", "-o", required=True, help="The file; gzip where its name ends in .gz; - for stdout."
)
@click.option(
    "--page-timeout",
    "page_s",
    type=click.FloatRange(1, 600),
    default=60.0,
    show_default=True,
    help="Bound of one page of 500 objects, seconds.",
)
def snapshot(context: str, output: str, page_s: float) -> int:
    """Write down what `chaosext rehearse` needs of a cluster, as a plain Kubernetes List. Read-only.

    Kept are only the fields that bear on a prediction: no Secret, no environment, no image, no ConfigMap but how Cilium
    routes, no annotation but Calico's addresses and flannel's backend, and of the control plane's arguments those that
    set timings.

    \b
    Needs get and list of nodes, pods, namespaces, services, deployments, replicasets, statefulsets, daemonsets, jobs,
    poddisruptionbudgets, mutatingwebhookconfigurations, leases (in kube-node-lease), and Calico's bgppeers,
    bgpconfigurations, ippools, felixconfigurations, and get of the ConfigMap cilium-config in kube-system:
    deploy/rehearsal/rbac.yaml. What may not be read is said, and then assumed, or unknown.

    \b
    Examples:
      chaosext snapshot --context production-eu -o cluster.json.gz
      chaosext snapshot -o - | gzip > cluster.json.gz

    Exit code: 0 written, 20 refused (nodes or Pods may not be read, or the file not written), 30 no answer.
    """
    from chaosext.cluster.client import Cluster
    from chaosext.run.taking import Taking

    taking = Taking(cluster=Cluster.connect(context), page_s=page_s)
    with written(output) as file:
        file.writelines(taking.text())
    for kind, why in taking.missed.items():
        click.echo(f"not in the snapshot: {kind} ({why})", err=True)
    counted = ", ".join(f"{number} {kind}" for kind, number in taking.counts.items() if number)
    click.echo(f"snapshot of {context}: {counted}", err=True)
    return 0


@contextmanager
def written(output: str) -> Iterator[IO[str]]:
    """A file that is there whole or not at all. Raises `Refused` where it can't be written."""
    from chaosext.model.errors import Refused

    if output == STDOUT:
        yield sys.stdout
        return
    target = Path(output)
    beside = target.with_name(f".{target.name}.tmp")
    try:
        try:
            with _opened(beside, zipped=target.suffix == ".gz") as file:
                yield file
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise Refused(
            f"--output {output}: {error.strerror or error}", "name a file that you may write"
        ) from None


def _opened(path: Path, *, zipped: bool) -> IO[str]:
    return gzip.open(path, "wt", encoding="utf-8") if zipped else path.open("w", encoding="utf-8")
