"""`chaosext heal`: what a run that died may have left, taken away. Asks no API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from chaosext.run.cutting.sweep import Swept


@click.command()
@click.option("--run", "run_id", help="Only this run, alive or not.  [default: every dead run not seen gone]")
@click.option(
    "--node", "nodes", multiple=True, help="With --run: on these nodes, whatever the log says (repeatable)."
)
def heal(run_id: str | None, nodes: tuple[str, ...]) -> int:
    """Take away cuts that an earlier run left behind; a no-op when there are none.

    The kernel lets go of every cut at its TTL by itself; this removes it earlier, and the empty tables after it.
    A run whose process lives heals itself, so only --run touches it.

    \b
    Examples:
      chaosext heal
      chaosext heal --run 20261123t230300ab12 --node chaosext-control-plane
    """
    from chaosext.model.errors import Refused
    from chaosext.run.cutting.sweep import sweep

    if nodes and not run_id:
        raise Refused("--node needs --run", "name the run, as `nft list tables` on the node shows it")
    found = False
    for swept in sweep(run_id, nodes):
        found = True
        click.echo(_line(swept))
    if not found:
        click.echo("nothing to heal")
    return 0


def _line(swept: Swept) -> str:
    report = swept.report
    if report is None:
        return f"run {swept.run}: alive, so left to itself; `chaosext heal --run {swept.run}` heals it all the same"
    gone = ", ".join(node.node for node in report.nodes if node.gone)
    seen = [f"seen gone on {gone} after {report.elapsed_s:.2f} s"] if gone else []
    over = [f"{node.node} can't be asked, but the TTL is over" for node in report.nodes if not node.gone]
    return f"run {swept.run}: {'; '.join([*seen, *over])}"
