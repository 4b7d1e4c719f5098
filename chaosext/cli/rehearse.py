"""`chaosext rehearse`: predicts the effects of a cut from a snapshot; touches nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from chaosext.cli.answer import Form, answers, say_answer, say_data
from chaosext.cli.cut_search import search_options
from chaosext.cli.options import FileOrText, InputFile, Names
from chaosext.cli.page_files import check_places, report_option, write_rehearsal
from chaosext.cli.rehearsal_view import Details, WordsKept, show
from chaosext.model.printable import say, say_document

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from chaosext.cli.cut_search import CutSearch
    from chaosext.rehearsal.predict.scenarios import Scenario
    from chaosext.rehearsal.simulate.planned_cut import Flap, Plan
    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.world import World

MITIGATIONS = (
    "dns-affinity",
    "bgp-on-control-plane",
    "reflectors-off-control-plane",
    "nodelocal-dns",
    "serve-stale",
    "pause-evictions",
    "longer-tolerations",
    "zones",
    "spread",
    "workload-tolerations",
    "workload-spread",
    "dns-capture",
)
"""The names in `chaosext.rehearsal.mitigate.mitigations`, repeated here so that `--help` does not import it."""

WITHOUT_ADVICE = 0.7
"""Share of the time budget for the prediction itself, if advice follows."""

CUT_FOR_S = 480.0
"""Duration of the cut by default, seconds."""

FAILS_WITH = {"deviated": 10, "unknown": 30, "worse": 10}
"""--fail-on -> exit code; the first that applies."""


class Duration(click.ParamType):  # type: ignore[type-arg]
    """Seconds in Go's notation ("1h2m3s", "480s", "500ms"), or a plain number."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from chaosext.rehearsal.predict.scenarios import seconds

        try:
            return seconds(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Positive(Duration):
    """A duration greater than zero."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = super().convert(value, param, ctx)
        if not 0 < found < float("inf"):
            self.fail(f"{value!r} is not longer than 0; write e.g. 5m", param, ctx)
        return found


TIME_BUDGET = "5m"

time_budget_option = click.option(
    "--time-budget",
    "time_budget_s",
    type=Positive(),
    default=TIME_BUDGET,
    show_default=True,
    help="Stop simulating after this time; what was not simulated by then is unknown.",
)


controller_manager_option = click.option(
    "--controller-manager-arg",
    "controller_manager_args",
    metavar="NAME=VALUE",
    multiple=True,
    help="A kube-controller-manager argument, e.g. node-monitor-grace-period=40s (repeatable).",
)
apiserver_option = click.option(
    "--apiserver-arg",
    "apiserver_args",
    metavar="NAME=VALUE",
    multiple=True,
    help="A kube-apiserver argument, e.g. default-unreachable-toleration-seconds=60 (repeatable).",
)

fabric_hears_option = click.option(
    "--fabric-hears",
    metavar="NODES",
    default="",
    help="Nodes whose Pods every node reaches, whatever is cut off: names, a label selector, or all. "
    "For a network that the snapshot does not show.",
)
hold_time_option = click.option(
    "--hold-time", "hold_s", type=Positive(), help="Hold time of BGP sessions between nodes.  [default: 240s]"
)


class Flapping(click.ParamType):  # type: ignore[type-arg]
    """A cut that comes and goes."""

    name = "flap"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Flap:
        from chaosext.rehearsal.predict.scenarios import flap

        try:
            return flap(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Instant(click.ParamType):  # type: ignore[type-arg]
    """A time in ISO 8601 with its offset."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time; write e.g. 2026-11-23T21:00:00Z", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no offset; write e.g. {value}Z", param, ctx)
        return moment


@click.command(cls=WordsKept)
@click.argument("files", nargs=-1, type=InputFile("snapshot"), metavar="[SNAPSHOT]...")
@click.option(
    "--snapshot",
    "snapshots",
    type=InputFile("snapshot"),
    multiple=True,
    help="What `chaosext snapshot` or `kubectl get` wrote, a dump, a directory, an archive, - for stdin (repeatable).",
)
@click.option(
    "--cut-nodes",
    metavar="NODES",
    default="",
    help="Which nodes lose the control plane: names, or a label selector.  [default: all without its role]",
)
@click.option("--cut-for", type=Duration(), help="How long.  [default: 480s]")
@click.option(
    "--flap",
    "flapping",
    metavar="on=TIME,off=TIME,times=N",
    type=Flapping(),
    help="Instead of --cut-for: N cuts, each as long as `on`, `off` apart, e.g. on=15s,off=10s,times=7.",
)
@click.option(
    "--horizon",
    type=Duration(),
    help="End of the prediction, counted from the (first) cut.  [default: 7m after the heal or rollback, at least 15m]",
)
@click.option(
    "--rollback-at", type=Duration(), help="When kube-dns is rescheduled, counted from the (first) cut."
)
@click.option(
    "--cut-at",
    type=Instant(),
    help="Time of the (first) cut, if the snapshot is as old: its Leases then give their ages.",
)
@controller_manager_option
@apiserver_option
@fabric_hears_option
@hold_time_option
@click.option(
    "--with",
    "mitigations",
    type=Names(MITIGATIONS),
    multiple=True,
    help="Simulate with this mitigation in place (repeatable).",
)
@click.option(
    "--change",
    "changes",
    type=FileOrText(),
    metavar="CHANGE",
    multiple=True,
    help="Predict what a change makes worse or better: a file of patches or manifests, - for stdin, "
    "or e.g. 'drain: worker-1' (repeatable).",
)
@click.option(
    "--scenarios",
    type=InputFile("scenarios"),
    help="Simulate the scenarios in FILE (JSON or YAML), with one line of result each.",
)
@click.option(
    "--samples",
    type=click.IntRange(1, 100_000),
    help="Number of random simulations.  [default: enumerated where few, else by size; with --scenarios 8]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed.")
@click.option(
    "--advice/--no-advice",
    default=True,
    help="Simulate every mitigation, too, and rank them.  [default: advice]",
)
@search_options(Positive())
@time_budget_option
@click.option("--timeline", is_flag=True, help="Print the predicted events, too: when, how likely, what.")
@click.option(
    "--assumptions", is_flag=True, help="Print, too, what is assumed, and the evidence, timings and method."
)
@click.option(
    "--verbose", "-v", is_flag=True, help="Print everything, too: each event, each node, all advice."
)
@click.option(
    "--patch",
    type=Names(MITIGATIONS),
    help="Only print the commands that put this mitigation in place.",
)
@report_option
@answers("chaosext.rehearsal/v1")
@click.option(
    "--fail-on",
    "fail_on",
    type=Names(list(FAILS_WITH)),
    multiple=True,
    help="End with 10 for deviated, 30 for unknown, 10 for worse with --change (repeatable).",
)
def rehearse(
    files: tuple[Path, ...],
    snapshots: tuple[Path, ...],
    cut_nodes: str,
    cut_for: float | None,
    flapping: Flap | None,
    horizon: float | None,
    rollback_at: float | None,
    cut_at: datetime | None,
    controller_manager_args: tuple[str, ...],
    apiserver_args: tuple[str, ...],
    fabric_hears: str,
    hold_s: float | None,
    mitigations: tuple[str, ...],
    changes: tuple[str, ...],
    scenarios: Path | None,
    samples: int | None,
    seed: int,
    advice: bool,
    time_budget_s: float,
    timeline: bool,
    assumptions: bool,
    verbose: bool,
    patch: str | None,
    reports: tuple[Path, ...],
    form: Form,
    fail_on: tuple[str, ...],
    search: CutSearch | None,
) -> int:
    """Predict the effects of a cut: which events, when, whether the cluster heals, which workloads are affected, and
    which change would prevent it.

    Reads a snapshot of the cluster and nothing else: no cluster, no network. A snapshot is JSON or YAML of kubectl's, a
    dump (`kubectl cluster-info dump`, must-gather, a support bundle), or an archive. What it lacks is assumed, and
    listed as an assumption, or unknown. Two calls with the same input print the same bytes, unless the time budget is
    used up: then the output says how many of the simulations were made, and everything that these do not show is
    unknown.

    \b
    Examples:
      chaosext rehearse example:story                       a bundled one (`chaosext examples`): no cluster needed
      chaosext snapshot -o cluster.json                     or, without chaosext on that machine:
      kubectl get nodes,pods,services,namespaces,deployments,replicasets,daemonsets,statefulsets,\\
        poddisruptionbudgets -A -o json > cluster.json
      for kind in bgppeers bgpconfigurations ippools felixconfigurations; do     Calico's, where it runs
        kubectl get --raw /apis/crd.projectcalico.org/v1/$kind; done >> cluster.json
      chaosext rehearse --snapshot cluster.json --cut-nodes 'topology.kubernetes.io/zone=b'
      kubectl cluster-info dump --all-namespaces | chaosext rehearse --snapshot -
      chaosext rehearse --snapshot must-gather.tar.gz
      chaosext rehearse --snapshot cluster.json --with dns-affinity         would this change prevent it?
      chaosext rehearse --snapshot cluster.json --report cut.html           a page with its picture
      chaosext rehearse --snapshot cluster.json --json --fail-on deviated   for a pipeline
      chaosext rehearse --snapshot cluster.json --flap on=15s,off=10s,times=7
      chaosext rehearse --snapshot cluster.json --scenarios scenarios.yaml
      chaosext rehearse example:story --longest                             how long may it last?
      chaosext rehearse example:story --worst                               which rack or node is the dangerous one?
      chaosext rehearse example:story --change 'BGPPeer/leaf: null'         what would this change break?
      chaosext rehearse example:story --change 'drain: worker-1' --fail-on worse

    \b
    FILE of --scenarios is a list: {name: b-lost, cut_nodes: zone=b, cut_for: 8m, with: [dns-affinity]},
    or with flap: {on: 15s, off: 10s, times: 7} instead of cut_for;
    what it leaves out is as on the command line.

    \b
    Exit code:
      0   predicted
      10  --fail-on deviated, and it is predicted to deviate (with --scenarios: any of them; with --change: then);
          --fail-on worse, and a --change makes anything worse
      20  refused: the snapshot or an option is not valid; the message names it
      30  --fail-on unknown, and the outcome is unknown
    """
    from chaosext.model.errors import Refused
    from chaosext.rehearsal.mitigate.mitigations import commands, mitigated
    from chaosext.rehearsal.network.declared_network import SaidNetwork, declared
    from chaosext.rehearsal.predict.scenarios import Scenario
    from chaosext.rehearsal.simulate.time_budget import TimeBudget
    from chaosext.rehearsal.snapshot.reader import read_snapshot
    from chaosext.rehearsal.snapshot.snapshot_files import Reading

    reading = Reading()
    check_places(reports, without={"--patch": patch, "--scenarios": scenarios, "--change": changes})
    if flapping and cut_for is not None:
        raise Refused("--flap and --cut-for are both set", "remove one of them")
    if not (files or snapshots):
        raise Refused(
            "no snapshot is named", "name a file, - for stdin, or try `chaosext rehearse example:story`"
        )
    inputs = (*files, *snapshots)
    said = SaidNetwork(fabric_hears=fabric_hears, hold_s=hold_s)
    wanted = Scenario(
        cut_nodes=cut_nodes,
        cut_for_s=CUT_FOR_S if cut_for is None else cut_for,
        flap=flapping,
        horizon_s=horizon,
        rollback_s=rollback_at,
        cut_at=cut_at,
        mitigations=mitigations,
        seed=seed,
    )
    budget = TimeBudget.of(time_budget_s)
    if search:
        search.require_alone(
            {
                "--cut-nodes": cut_nodes or None,
                "--cut-for": cut_for,
                "--flap": flapping,
                "--rollback-at": rollback_at,
                "--horizon": horizon,
                "--scenarios": scenarios,
                "--samples": samples,
                "--change": changes or None,
                "--patch": patch,
                "--report": reports or None,
            }
        )
    if changes or "worse" in fail_on:
        from chaosext.cli.change_answer import ClusterReader, Input, rehearse_changes
        from chaosext.rehearsal.predict.cluster_state import Question

        verdicts = rehearse_changes(
            Input(snapshots=inputs, changes=changes, without={"--scenarios": scenarios, "--patch": patch}),
            ClusterReader(arguments=(*controller_manager_args, *apiserver_args), network=said),
            Question(wanted=wanted, samples=samples, budget=budget),
            form,
        )
        return _exit_code(verdicts, fail_on)
    world = read_snapshot(
        inputs,
        controller_manager_args=controller_manager_args,
        apiserver_args=apiserver_args,
        reading=reading,
    )
    if not reading.is_one_file:
        say(str(reading), err=True)
    world = declared(world, said, "--fabric-hears")
    if search:
        return _exit_code(search.answer(world, wanted, cut_for, budget, form), fail_on)
    if scenarios is not None:
        return _exit_code(_rehearse_all(world, scenarios, wanted, samples, budget, form), fail_on)
    plan = wanted.plan(world)
    world = mitigated(world, plan, mitigations)
    if patch:
        say_document(commands(world, plan, patch))
        return 0
    found = _predicted(world, plan, samples, seed, budget, advice=advice)
    write_rehearsal(reports, found, world, plan, files=inputs, mitigations=mitigations)
    if form.is_data:
        say_data(found.to_json(), form)
    else:
        everything = verbose or form.is_wide
        show(found, world, plan, Details(timeline=timeline, assumptions=assumptions, verbose=everything))
    return _exit_code([found.verdict.value], fail_on)


def _predicted(
    world: World, plan: Plan, samples: int | None, seed: int, budget: TimeBudget, *, advice: bool
) -> Prediction:
    from chaosext.cli.beside import beside
    from chaosext.cli.output import SimulationProgress
    from chaosext.rehearsal.predict.predict import rehearse as predict
    from chaosext.rehearsal.predict.recommendations import advised, takes_memory, tried

    with SimulationProgress() as progress:
        first = replace(budget.share(WITHOUT_ADVICE if advice else 1.0), tell=progress.of("simulations"))
        rest = replace(budget, tell=progress.of("looking for fixes, simulations of each"))
        trials = partial(tried, world, plan, samples=samples, seed=seed, budget=rest)
        with beside(trials, alone=not advice or takes_memory(world)) as mitigations:
            found = predict(world, plan, samples=samples, seed=seed, budget=first)
            return advised(found, world, plan, trials=mitigations) if advice else found


def _rehearse_all(
    world: World,
    file: Path,
    wanted: Scenario,
    samples: int | None,
    budget: TimeBudget,
    form: Form,
) -> Sequence[str]:
    """Simulate a file of scenarios and print the results; returns their verdicts."""
    from chaosext.cli.output import SimulationProgress
    from chaosext.cli.prediction_text import scenario_lines
    from chaosext.cluster.object_files import read_document
    from chaosext.rehearsal.predict.scenarios import SCHEMA, scenarios_from

    scenarios = scenarios_from(read_document(file, "--scenarios")[0], wanted)
    rows: list[dict[str, Any]] = []
    with SimulationProgress() as progress:
        tell = progress.of("scenarios")
        for row in play_all(world, scenarios, samples, budget):
            rows.append(row)
            tell(len(rows), len(scenarios))
    said = {"schema": SCHEMA, "assumptions": list(world.assumptions), "scenarios": rows}
    say_answer(said, scenario_lines(rows), form)
    return [row["verdict"] for row in rows]


def _exit_code(verdicts: Sequence[str], fail_on: Sequence[str]) -> int:
    """Return the exit code of the verdicts in --fail-on; deviated, which is certain, wins over unknown."""
    failed = (code for word, code in FAILS_WITH.items() if word in fail_on and word in verdicts)
    return next(failed, 0)


ALONE = 8
"""Up to this many scenarios are simulated in this process."""


def play_all(
    world: World, scenarios: Sequence[Scenario], samples: int | None, budget: TimeBudget
) -> Iterator[dict[str, Any]]:
    """Yield the results of the scenarios in their order. Raises `Refused` for the first invalid one."""
    from chaosext.cli.forked import on_all_cores
    from chaosext.rehearsal.predict.scenarios import ScenarioRunner

    return on_all_cores(ScenarioRunner(world, samples, budget).play, scenarios, alone=ALONE)
