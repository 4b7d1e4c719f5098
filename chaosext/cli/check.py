"""`chaosext check`: runs checks and prints their findings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chaosext.cli.answer import Form, answers, say_answer
from chaosext.cli.options import InputFile, cluster_options, context_or_current, quiet

if TYPE_CHECKING:
    from collections.abc import Iterable

EXIT_CODES = {"healthy": 0, "not applicable": 0, "unhealthy": 10, "unknown": 30}

ALL = "all"


def _names() -> Iterable[str]:
    from chaosext.checks.suite import CHECKS

    return (*CHECKS, ALL)


@click.command()
@click.argument("name", shell_complete=quiet(_names))
@cluster_options()
@click.option(
    "--namespace",
    "-n",
    "namespaces",
    multiple=True,
    help="Whose Pods are judged (repeatable).  [default: shop]",
)
@click.option("--target", "targets", multiple=True, help="host:port for tcp_reachability (repeatable).")
@click.option("--leaf", default="", help="Container of the leaf router.  [default: <cluster>-leaf]")
@click.option(
    "--lookups",
    type=int,
    default=10,
    show_default=True,
    help="DNS lookups per node and address, UDP and TCP in turn.",
)
@click.option(
    "--known",
    type=InputFile(),
    help="Known unhealthy objects, as `chaosext baseline save` writes them: they may stay as they are.",
)
@click.option("--verbose", "-v", is_flag=True, help="Print all evidence.")
@answers()
def check(
    name: str,
    context: str | None,
    namespaces: tuple[str, ...],
    targets: tuple[str, ...],
    leaf: str,
    lookups: int,
    known: Path | None,
    verbose: bool,
    form: Form,
) -> int:
    """Run the check NAME, or `all` checks of the steady state.

    If a run or `chaosext baseline save` took a baseline of the cluster within a day, `all` compares with it: an object
    that is missing or smaller is unhealthy (nothing_missing).

    \b
    NAME is one of nodes_ready, kubelets_connected, nodes_reach_pods, dns_resolvable, xds_synced, probes_healthy,
    bgp_established, kube_dns_on_peered_nodes, nothing_missing, cut_effective, tcp_reachability, all.

    \b
    Examples:
      chaosext check all
      chaosext check dns_resolvable --json
      chaosext check tcp_reachability --target 10.2.112.10:53 --target 10.2.112.1:443

    A check of something that the cluster does not have, such as BGP, is not applicable: it counts neither way.

    Exit code: 0 healthy or not applicable, 10 unhealthy, 30 unknown, 20 refused.
    """
    from chaosext.checks.suite import require_known
    from chaosext.cli.output import finding_lines
    from chaosext.experiment.known_unhealthy_entries import SETTING, with_entries
    from chaosext.experiment.settings import settings_from
    from chaosext.model.findings import worst
    from chaosext.run.monitor.steady_state import ask_now

    if name != ALL:
        require_known([name])
    configuration: dict[str, Any] = {"chaosext_leaf": leaf, "chaosext_lookups": lookups}
    if namespaces:
        configuration["chaosext_namespaces"] = list(namespaces)
    if known:
        configuration = with_entries({**configuration, SETTING: str(known)}, Path())
    settings = settings_from(configuration, {"KUBERNETES_CONTEXT": context_or_current(context)})
    findings = ask_now(settings, name, targets)
    lines = (line for finding in findings for line in finding_lines(finding, verbose=verbose or form.is_wide))
    say_answer([finding.to_json() for finding in findings], lines, form)
    return EXIT_CODES[worst(finding.status for finding in findings).value]
