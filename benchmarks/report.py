"""The report of 100 nodes over an hour, from a run's directory: time, memory and size, against what is allowed.

The run is made up, its records are of the real form: every node samples each second; two thirds of them lose DNS in
one of three ways, some flap all the time, one sentinel is started anew in between and leaves a gap.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from chaosext.model.result import Briefing, RunResult
from chaosext.model.signal import Sample, StreamHead
from chaosext.model.timeline import Event, Kind
from chaosext.model.verdict import Outcome, Verdict
from chaosext.sentinel.sample_log import head_line, sample_line
from chaosext.sentinel.watch_plan import Named, Sidecar, WatchPlan
from chaosext.timeline.outages import outages, timing, unobserved

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES, SECONDS, SIDECARS = 100, 3600, 8
ALLOWED_S, ALLOWED_MIB, ALLOWED_HTML_MIB = 10.0, 500.0, 3.0
CUT_S, HEAL_S, BACK_S = 300.0, 900.0, 2400.0
RUN = "20261123t230300ab12"
FLAPPING = range(90, 96)
RESTARTED = 97


def main() -> None:
    """Print time, peak memory and size, each as a ratio to its limit. Raises SystemExit where one is broken."""
    with tempfile.TemporaryDirectory() as root:
        directory = Path(root) / RUN
        _write_run(directory)
        seconds, cpu_s, mib = _timed(directory)
        html_mib = (directory / "report.html").stat().st_size / 2**20
    found = (
        ("time", seconds, ALLOWED_S, "s"),
        ("CPU", cpu_s, ALLOWED_S, "s"),
        ("memory", mib, ALLOWED_MIB, "MiB"),
        ("HTML", html_mib, ALLOWED_HTML_MIB, "MiB"),
    )
    for name, value, allowed, unit in found:
        print(
            f"{name:<8}{value:8.2f} {unit:<4}{value / allowed:6.2f} x of the {allowed:g} {unit} allowed",
            flush=True,
        )
    if any(value > allowed for _, value, allowed, _ in found):
        raise SystemExit(1)


def _timed(directory: Path) -> tuple[float, float, float]:
    """Seconds, CPU seconds and peak MiB of a process of its own that reads the run and writes the page."""
    program = (
        "import resource, sys, time; from pathlib import Path; began = time.monotonic(); run = Path(sys.argv[1]);"
        "from chaosext.report.data.run_data import read_run; from chaosext.report.render.html.page import page;"
        "(run / 'report.html').write_text(page(read_run(run)), encoding='utf-8');"
        "used = resource.getrusage(resource.RUSAGE_SELF);"
        "print(time.monotonic() - began, time.process_time(), used.ru_maxrss / 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, directory], check=True, capture_output=True, text=True
    )
    seconds, cpu_s, mib = map(float, done.stdout.split())
    return seconds, cpu_s, mib


def _write_run(directory: Path) -> None:
    sentinels = directory / "sentinels"
    sentinels.mkdir(parents=True)
    plan = _plan()
    for n in range(NODES):
        with (sentinels / f"{_node(n)}.jsonl").open("w", encoding="utf-8") as record:
            record.writelines(f"{line}\n" for line in _record(plan, n))
    clock = {"from_cut_s": -CUT_S, "error_s": 0.001, "wall_skew_s": 0.0}
    clocks = {_node(n): {f"boot-{n}": clock} for n in range(NODES)}
    (sentinels / "clocks.json").write_text(json.dumps({"schema": "chaosext.clocks/v1", "nodes": clocks}))
    events = tuple(sorted(_events(), key=lambda event: event.t_s))
    (directory / "timeline.jsonl").write_text("".join(f"{json.dumps(event.to_json())}\n" for event in events))
    (directory / "result.json").write_text(json.dumps(_result(events).to_json()))
    (directory / "journal.json").write_text("{}")


def _node(n: int) -> str:
    return f"worker-{n + 1}"


def _plan() -> WatchPlan:
    nodes = [_node(n) for n in range(NODES)]
    return WatchPlan(
        run=RUN,
        dns_servers=(
            Named(target="10.2.112.10", label="kube-dns"),
            Named(target="10.244.0.7", label="coredns-66bc5c9577-xbx9p on cp-1"),
            Named(target="10.244.0.8", label="coredns-66bc5c9577-q8t6h on cp-1"),
        ),
        tcp=tuple(Named(target=f"10.2.0.{n}:443", label=f"service-{n}") for n in range(5)),
        sidecars=tuple(
            Sidecar(node=node, pod=f"Pod/shop/web-{node}-{each}", address="")
            for node in nodes
            for each in range(SIDECARS)
        ),
        bgp_peers=dict.fromkeys(nodes, ("172.18.0.9",)),
        routes=(Named(target="10.244.0.7"), Named(target="10.244.0.8")),
    )


def _record(plan: WatchPlan, n: int) -> Iterator[str]:
    signals = plan.signals(_node(n))
    head = StreamHead(run=RUN, node=_node(n), boot=f"boot-{n}", mono_s=0.0, wall_s=1.7e9, signals=signals)
    yield head_line(head)
    chance = random.Random(n)  # noqa: S311  the same run each time
    good = "+" * len(signals)
    for second in range(SECONDS):
        if n == RESTARTED and second == 1200:
            yield head_line(head)
        if n == RESTARTED and 1200 <= second < 1260:
            continue
        out = _lost_s(n) <= second < BACK_S + n % 7 if n < NODES // 3 * 2 else False
        marks = "t" * 3 + good[3:] if out else good
        if n in FLAPPING:
            marks = "".join("t" if chance.random() < 0.2 else mark for mark in marks)
        yield sample_line(Sample(second, float(second), marks))


def _lost_s(n: int) -> float:
    return (HEAL_S, HEAL_S + 120, CUT_S + 60)[n % 3] + n % 5 * 0.4


def _events() -> Iterator[Event]:
    yield Event(t_s=0.0, kind=Kind.CUT, object="Node/cp-1", detail="drops all nodes", source="chaosext")
    yield Event(t_s=HEAL_S - CUT_S, kind=Kind.HEAL, object="Node/cp-1", detail="healed", source="chaosext")
    for n in range(NODES):
        node, source = f"Node/{_node(n)}", f"sentinel on {_node(n)}"
        yield Event(
            t_s=40.0 + n % 10,
            kind=Kind.NODE_NOT_READY,
            object=node,
            detail="Ready is Unknown",
            source="api-server",
        )
        yield Event(
            t_s=HEAL_S - CUT_S + 5, kind=Kind.NODE_READY, object=node, detail="Ready", source="api-server"
        )
        if n < NODES // 3 * 2:
            yield Event(
                t_s=_lost_s(n) - CUT_S, kind=Kind.DNS_DEAD, object=node, detail="timed out", source=source
            )
            yield Event(
                t_s=BACK_S + n % 7 - CUT_S, kind=Kind.DNS_RESTORED, object=node, detail="", source=source
            )
        for each in range(SIDECARS * 10):
            pod = f"Pod/shop/web-{_node(n)}-{each % SIDECARS}"
            yield Event(
                t_s=700.0 + each * 9, kind=Kind.PROBE_FAILING, object=pod, detail="refused", source="kubelet"
            )


def _result(events: tuple[Event, ...]) -> RunResult:
    return RunResult(
        run=RUN,
        experiment="A hundred nodes for an hour",
        started_at="2026-11-23T23:03:00+00:00",
        duration_s=SECONDS,
        verdict=Verdict(
            outcome=Outcome.DEVIATED, reasons=("dns_resolvable: 0 of 100",), rollback_verified=True
        ),
        events=events,
        outages=outages(events),
        unobserved=unobserved(events),
        timing=timing(events),
        briefing=Briefing(
            context="bench",
            timings={},
            outlook=(),
            unpeered_nodes=("cp-1",),
            kube_dns_nodes=("worker-1", "worker-2"),
        ),
    )
