"""`chaosext baseline`: saves what is accepted as unhealthy on a cluster that is never fully healthy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from chaosext.cli.answer import OutputFile
from chaosext.cli.options import InputFile, cluster_options, context_or_current
from chaosext.model.printable import say

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from chaosext.experiment.settings import Settings
    from chaosext.model.known_unhealthy import KnownUnhealthy


@click.group()
def baseline() -> None:
    """Save the known unhealthy objects of a cluster, so that runs and the gate judge "as before or better".

    \b
    Examples:
      chaosext baseline save --context production-eu -o known.yaml --until 14d --reason CHG-4711
      chaosext check all --context production-eu --known known.yaml
    """


@baseline.command()
@cluster_options("Kubernetes context.  [default: the experiment's, else the kubeconfig's current context]")
@click.option(
    "--namespace",
    "-n",
    "namespaces",
    multiple=True,
    help="Whose Pods are judged (repeatable).  [default: shop, or the experiment's]",
)
@click.option(
    "--experiment",
    type=InputFile("experiment"),
    help="Take context and settings (namespaces, the way into nodes) from this experiment.",
)
@click.option("--output", "-o", type=OutputFile(), required=True, help="The file, YAML; - for stdout.")
@click.option(
    "--until",
    required=True,
    metavar="WHEN",
    help="Accepted until then, at most 90 days: 2026-12-24T06:00+01:00, or from now on: 8h, 14d.",
)
@click.option("--reason", default="", help="Why, such as the number of a change.  [default: who saved it]")
def save(
    context: str | None,
    namespaces: tuple[str, ...],
    experiment: Path | None,
    output: str,
    until: str,
    reason: str,
) -> int:
    """Save every object that is unhealthy now as known until a date. Changes nothing on the cluster.

    Name the file in an experiment's `chaosext_known_unhealthy`, or in `known_unhealthy` of a cutover plan. An object
    that stays as it was, or gets better, then neither refuses a run nor makes it deviate; an object that gets worse
    does, and so does an expired entry. Edit the reasons: they are in every report. From now on `chaosext check all`
    also compares with the objects that exist now.

    The file excludes unknown answers, and cluster DNS that is dead on every node.

    \b
    Examples:
      chaosext baseline save -o known.yaml --until 14d
      chaosext baseline save --experiment control-plane-partition -o known.yaml --until 14d

    Exit code: 0 saved, 20 refused, 30 saved, but something is unknown and not in the file.
    """
    from chaosext.cli.approve import moment
    from chaosext.cli.snapshot import write_snapshot
    from chaosext.experiment.known_unhealthy_entries import require_in_force
    from chaosext.run.monitor.steady_baseline import observe
    from chaosext.run.session.run_context import owner

    now = datetime.now(UTC)
    ends, settings = moment(until, now), _settings(context, namespaces, experiment)
    seen = observe(settings, ends, reason or f"unhealthy when {owner()} saved the baseline")
    require_in_force(seen.entries, now, "--until")
    write_snapshot(output, [_text(seen.entries, settings.context, now)])
    for entry in seen.entries:
        say(f"known until {ends:%Y-%m-%d %H:%M} UTC: {entry} ({entry.was} well)", err=True)
    for line in seen.unknown:
        say(f"unknown, and therefore not in the file: {line}", err=True)
    if not seen.entries:
        say("nothing is unhealthy: there is nothing to save", err=True)
    return 30 if seen.unknown else 0


def _settings(context: str | None, namespaces: tuple[str, ...], experiment: Path | None) -> Settings:
    from chaosext.experiment.known_unhealthy_entries import SETTING
    from chaosext.experiment.load import load_experiment
    from chaosext.experiment.resolve import resolve
    from chaosext.experiment.settings import settings_from

    if experiment:
        loaded = load_experiment(experiment)
        (loaded.get("configuration") or {}).pop(SETTING, None)  # these are saved again, even if expired
        settings = resolve(loaded, context=context, source=str(experiment)).settings
        return settings.model_copy(update={"namespaces": namespaces}) if namespaces else settings
    configuration = {"chaosext_namespaces": list(namespaces)} if namespaces else {}
    return settings_from(configuration, {"KUBERNETES_CONTEXT": context_or_current(context)})


def _text(entries: Iterable[KnownUnhealthy], context: str, now: datetime) -> str:
    from chaosext.cluster.yaml_writer import as_yaml

    head = (
        f"# Known to be unhealthy on {context}, saved {now:%Y-%m-%d %H:%M} UTC by `chaosext baseline save`.\n"
    )
    body = {"known_unhealthy": [entry.to_json() for entry in entries]}
    return head + as_yaml(body)
