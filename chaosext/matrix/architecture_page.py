"""The page of the matrix, docs/architectures.md: made from kept runs alone, byte for byte. Pure."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from chaosext.matrix.cell_review import Accuracy, CellReview, repeated
from chaosext.matrix.cells import MESHES, NETWORKS, SAME_AS, MatrixCell, planned_cells
from chaosext.matrix.documented import DOCUMENTED
from chaosext.matrix.machine_lateness import LATE_S
from chaosext.rehearsal.simulate.prediction import Dns, Forecast, said_share
from chaosext.report.units import duration, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from chaosext.matrix.calibration import Calibration
    from chaosext.matrix.kept_runs import CellFailure, Explanation, KeptRun

PREVENTS = 0.95
"""A mitigation prevents the outage, by prediction, if the cut passes with at least this probability."""

HEAD = """\
# What a lost control plane costs

The same cut on every architecture that the testbed builds: the control plane is cut off from all workers until
kube-dns has moved, or for 90 s (1 control-plane node, 2 workers, 20 s grace period and 20 s tolerations, unless a row
says otherwise). Networks with BGP sessions to control-plane nodes are cut for 5 minutes, because such a session ends
with its hold time. Each row was predicted from a snapshot before its run began; the prediction's digest and time are
kept with the run.

This page is made from the kept runs in `matrix/` alone: `chaosext matrix page`. How to play a cell:
[Testbed](testbed.md#the-matrix).

| mark | meaning |
|---|---|
| seen | played on a real cluster, on that day, with the versions above the table |
| predicted | simulated on the snapshot of a cell that was seen |
| from documents | neither: what documentation and issue trackers say |
"""


COLUMNS = (
    "mesh",
    "DNS",
    "mitigation",
    "during the cut",
    "after the heal",
    "heals by itself?",
    "what prevents it",
    "seen",
)


@dataclass(frozen=True)
class _Seen:
    """A cell with all its reviews."""

    cell: MatrixCell
    reviews: tuple[CellReview, ...]

    @property
    def last(self) -> CellReview:
        return self.reviews[-1]

    @property
    def heals(self) -> bool | None:
        """Whether every run healed by itself; None if one is not known and the others did."""
        healed = [each.heals for each in self.reviews]
        return False if False in healed else None if None in healed else True


def architecture_page(
    runs: Sequence[KeptRun], failures: Sequence[CellFailure], explanations: Sequence[Explanation]
) -> str:
    """Return the page in Markdown."""
    reviews = [CellReview(kept) for kept in sorted(runs, key=lambda kept: (kept.cell.name, kept.run))]
    order = {cell: number for number, cell in enumerate(planned_cells())}
    cells = sorted(
        {each.kept.cell for each in reviews}, key=lambda cell: (order.get(cell, len(order)), cell.name)
    )
    seen = [_Seen(cell, tuple(each for each in reviews if each.kept.cell == cell)) for cell in cells]
    lines = [
        *HEAD.splitlines(),
        *_overview(seen),
        *_networks(seen),
        *_documents(),
        *_accuracy(reviews, explanations),
        *_missing(seen, failures),
    ]
    return "\n".join(lines) + "\n"


def _overview(seen: Sequence[_Seen]) -> Iterator[str]:
    """Yield a table of all networks and meshes with the default DNS and without mitigations."""
    played = {each.cell: each for each in seen}
    yield from ("", "## At a glance", "", "After the heal, with CoreDNS on workers and no mitigation:", "")
    yield f"| | {' | '.join(MESHES)} |"
    yield f"|{'---|' * (1 + len(MESHES))}"
    for network in NETWORKS:
        cells = (MatrixCell(network=network, mesh=mesh) for mesh in MESHES)
        words = (_glance(played[cell]) if cell in played else "not seen" for cell in cells)
        yield f"| {network} | {' | '.join(words)} |"


def _glance(row: _Seen) -> str:
    """Return what a cell shows, in a few words."""
    if row.heals:
        lost = any(each.dns_during is not Dns.RESOLVABLE or each.routes_lost_s for each in row.reviews)
        return "heals; outage during the cut" if lost else "heals"
    return "not known" if row.heals is None else f"**{after_heal(row.reviews).replace('**', '')}**"


def _networks(seen: Sequence[_Seen]) -> Iterator[str]:
    for network in NETWORKS:
        rows = [each for each in seen if each.cell.network == network]
        if not rows:
            continue
        yield from ("", f"## {network}", "", _versions(rows), "")
        yield f"| {' | '.join(COLUMNS)} |"
        yield f"|{'---|' * len(COLUMNS)}"
        for each in rows:
            yield f"| {' | '.join(_row(each, seen))} |"


def _versions(rows: Sequence[_Seen]) -> str:
    """Return a line with the versions; more than one of a component if the rows differ."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        for review in row.reviews:
            for name, version in review.kept.versions.items():
                found.setdefault(name, {})[version] = None
    return ", ".join(f"{name} {' and '.join(versions)}" for name, versions in sorted(found.items())) + "."


def _row(row: _Seen, seen: Sequence[_Seen]) -> Iterator[str]:
    cell = row.cell
    yield cell.mesh
    yield cell.dns
    yield ", ".join((*cell.mitigations, *([f"({cell.variant} timings)"] if cell.variant else []))) or "–"
    yield during_cut(row.last)
    yield after_heal(row.reviews)
    yield _heals(row)
    yield _prevents(row, seen)
    yield _when(row.reviews)


def during_cut(review: CellReview) -> str:
    """Return what a run showed while the cut lasted, in one line."""
    return "; ".join(_during(review))


def _during(review: CellReview) -> Iterator[str]:
    lost = review.not_ready
    if lost:
        evicted = f", {review.evicted} Pods evicted" if review.evicted else ""
        yield f"{len(lost)} nodes NotReady after {duration(lost[0].t_s)}{evicted}"
    match review.dns_during:
        case Dns.RESOLVABLE:
            yield "DNS answers on workers"
        case Dns.UNKNOWN:
            yield "DNS not known"
        case state:
            where = "workers" if state is Dns.DEAD else "some workers"
            since = f" after {duration(review.dns_lost_s)}" if review.dns_lost_s is not None else ""
            yield f"**DNS dead on {where}**{since}"
    if review.routes_lost_s is not None:
        yield f"**Pod routes between workers lost** after {duration(review.routes_lost_s)}"
    if review.kube_dns_moved_to:
        yield f"kube-dns moves to {listed(map(_role, review.kube_dns_moved_to))}"


def _role(node: str) -> str:
    """Return a node's name without its testbed's: `control-plane`, `worker2`."""
    return next((node[node.index(role) :] for role in ("control-plane", "worker") if role in node), node)


def after_heal(reviews: Sequence[CellReview]) -> str:
    """Return what the runs of a cell showed after the heal, in one line."""
    states = Counter(each.dns_after for each in reviews)
    if len(states) > 1:
        return listed(
            f"DNS {state} in {count} of {len(reviews)} runs" for state, count in states.most_common()
        )
    return "; ".join(_after(reviews[-1]))


def _after(review: CellReview) -> Iterator[str]:
    match review.dns_after:
        case Dns.RESOLVABLE:
            outage = f" after {duration(review.dns_outage_s)} without" if review.dns_outage_s >= 1 else ""
            yield f"DNS answers{outage}"
        case Dns.UNKNOWN:
            yield "DNS not known"
        case state:
            yield f"**DNS {state} on workers**"
    if review.stuck:
        yield f"**{len(review.stuck)} Pod{'s' * (len(review.stuck) > 1)} stuck**"


def _heals(row: _Seen) -> str:
    if row.heals is None:
        return "not known"
    if row.heals:
        times = [each.recovered_s for each in row.reviews if each.recovered_s is not None]
        return f"yes, in {duration(max(times))}" if times else "yes"
    healed = sum(each.heals is True for each in row.reviews)
    return f"**no**, in {len(row.reviews) - healed} of {len(row.reviews)} runs" if healed else "**no**"


def _prevents(row: _Seen, seen: Sequence[_Seen]) -> str:
    """Return which mitigations prevent the outage: those seen first, then those predicted on this cell's snapshot."""
    if row.heals is not False or row.cell.mitigations:
        return "–"
    played = {name: other for other in seen for name in _differs_by(other.cell, row.cell)}
    works = [f"{name} (seen)" for name, other in sorted(played.items()) if other.heals]
    predicted = [
        f"{each.mitigation} (predicted)"
        for each in row.last.kept.prevents
        if each.passes >= PREVENTS and each.mitigation not in played
    ]
    return ", ".join((*works, *predicted)) or "not known"


def _differs_by(cell: MatrixCell, base: MatrixCell) -> Iterator[str]:
    """Yield the mitigation that `cell` is `base` with."""
    if cell.without_mitigations == base and len(cell.mitigations) == 1:
        yield cell.mitigations[0]
    for name, (field, value) in SAME_AS.items():
        is_else_same = all(
            getattr(cell, each) == getattr(base, each)
            for each in ("network", "mesh", "dns", "mitigations", "variant")
            if each != field
        )
        if is_else_same and getattr(cell, field) == value and getattr(base, field) != value:
            yield name


def _when(reviews: Sequence[CellReview]) -> str:
    last = reviews[-1].kept
    more = f" and {len(reviews) - 1} more" if len(reviews) > 1 else ""
    return f"{last.date}, run {last.run}{more}"


def _documents() -> Iterator[str]:
    yield from (
        "",
        "## From documents",
        "",
        "The testbed can't build these; nothing here was seen by chaosext.",
        "",
    )
    yield "| architecture | during the cut | after the heal | heals by itself? | what prevents it | sources |"
    yield "|---|---|---|---|---|---|"
    for each in DOCUMENTED:
        parts = (each.name, each.during, each.after, each.heals, each.prevents, each.sources)
        yield f"| {' | '.join(parts)} |"


def _accuracy(reviews: Sequence[CellReview], explanations: Sequence[Explanation]) -> Iterator[str]:
    found = Accuracy.of(reviews)
    yield from ("", "## How right the predictions were", "")
    yield "| | |"
    yield "|---|---|"
    yield f"| cells seen; runs | {len({each.kept.cell for each in reviews})}; {found.runs} |"
    yield f"| DNS after the heal among the predicted outcomes | {found.foreseen} of {found.runs} |"
    unknown = sum(each.data.forecast == Forecast.UNKNOWN for each in reviews)
    yield f"| predictions that say unknown, so that nothing was predicted | {unknown} |"
    yield f"| predicted verdict observed | {found.verdicts} of {found.runs} |"
    yield f"| expected events that came in their time | {_in_time(found)} |"
    punctual = Accuracy.of([each for each in reviews if not each.is_late])
    yield f"| the same, on a machine less than {LATE_S:g} s late (runs: {punctual.runs}) | {_in_time(punctual)} |"
    yield from _repeats(repeated(reviews))
    yield from _misses(reviews, explanations)


def _in_time(found: Accuracy) -> str:
    share = f" ({said_share(found.in_time / found.expected)})" if found.expected else ""
    return f"{found.in_time:,} of {found.expected:,}{share}"


def _repeats(counts: Sequence[Calibration]) -> Iterator[str]:
    if counts:
        yield from (
            "",
            "Cells played five times or more; p is that of an exact binomial test, a miss up to 0.01:",
            "",
        )
        yield "| outcome | came | predicted | p |"
        yield "|---|---|---|---|"
        for each in counts:
            came = f"{each.count} of {each.repeats}"
            yield f"| {each.what} | {came} | {said_share(each.probability)} | {each.p_value:.2f} |"


def _misses(reviews: Sequence[CellReview], explanations: Sequence[Explanation]) -> Iterator[str]:
    rows = [(each, miss, alike) for each in reviews for miss, alike in _grouped(each.misses)]
    if not rows:
        return
    yield from (
        "",
        "### Misses",
        "",
        "Every difference between a run and its prediction; those alike in one row:",
        "",
    )
    yield "| cell | run | machine | difference | explanation |"
    yield "|---|---|---|---|---|"
    for review, miss, alike in rows:
        kept, more = review.kept, f", and {alike - 1} more like it" if alike > 1 else ""
        late = "not measured" if kept.late_s is None else f"{kept.late_s:.1f} s late"
        why = _explained(kept, miss, explanations)
        yield f"| {kept.cell} | {kept.run} | {late} | {_cell_text(miss)}{more} | {why} |"


OF_ONE_POD = re.compile(r"-(?:[a-z0-9]{5}\b|\*)|after .*")
"""What differs between differences that are alike: the Pod, and its times."""


def _grouped(misses: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Return the first of differences that are alike, and how many there are."""
    found: dict[str, list[str]] = {}
    for miss in misses:
        found.setdefault(OF_ONE_POD.sub("", miss), []).append(miss)
    return ((alike[0], len(alike)) for alike in found.values())


def _explained(kept: KeptRun, miss: str, explanations: Iterable[Explanation]) -> str:
    found = (
        each.why
        for each in explanations
        if fnmatchcase(kept.cell.name, each.cells)
        and fnmatchcase(kept.run, each.runs)
        and fnmatchcase(miss, each.difference)
    )
    return next(found, "**not explained**")


def _cell_text(text: str) -> str:
    """Return a text for a table in Markdown."""
    return text.replace("|", "\\|").replace("*", "\\*")


def _missing(seen: Sequence[_Seen], failures: Sequence[CellFailure]) -> Iterator[str]:
    known = {each.cell for each in seen}
    left = [cell for cell in planned_cells() if cell not in known]
    yield from ("", "## Not seen yet", "")
    yield f"{len(left)} of {len(planned_cells())} cells of the matrix; `chaosext matrix list` shows them."
    if failures:
        yield from ("", "Cells that could not be played:", "")
        yield "| cell | step | reason | date |"
        yield "|---|---|---|---|"
        for each in sorted(failures, key=lambda each: each.cell):
            yield f"| {each.cell} | {each.step} | {_cell_text(each.reason)} | {each.at[:10]} |"
