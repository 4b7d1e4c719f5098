"""`chaosext heal`: what a run that died may have left, taken away. Asks no API server."""

from __future__ import annotations

import click


@click.command()
@click.option("--run", "run_id", help="Only this run.  [default: every run in the intent log not seen gone]")
@click.option(
    "--node", "nodes", multiple=True, help="With --run: on these nodes, whatever the log says (repeatable)."
)
def heal(run_id: str | None, nodes: tuple[str, ...]) -> int:
    """Take away cuts that an earlier run left behind; a no-op when there are none.

    The kernel lets go of every cut at its TTL by itself; this removes it earlier, and the empty tables after it.

    \b
    Examples:
      chaosext heal
      chaosext heal --run 20261123t230300ab12 --node chaosext-control-plane
    """
    from chaosext.model.errors import Refused
    from chaosext.run.fault import heal_outstanding

    if nodes and not run_id:
        raise Refused("--node needs --run", "name the run, as `nft list tables` on the node shows it")
    reports = heal_outstanding(run_id, nodes)
    for report in reports:
        where = ", ".join(node.node for node in report.nodes)
        click.echo(f"run {report.run}: seen gone on {where} after {report.elapsed_s:.2f} s")
    if not reports:
        click.echo("nothing to heal")
    return 0
