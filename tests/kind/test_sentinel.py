"""The sentinels' word against an independent witness, over a night on the real cluster. Takes some ten minutes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.experiment.settings import settings_from
from chaosext.model.signal import Mark, Sample, StreamHead, Watched
from chaosext.model.timeline import Kind
from chaosext.run.monitor.sentinels import Sentinels
from chaosext.run.monitor.surroundings import surroundings
from chaosext.run.monitor.watchers import Watching
from chaosext.run.session.connection import connect_to_act
from chaosext.run.session.run_context import start
from chaosext.sentinel.sample_log import parse_record
from chaosext.timeline.outages import outages, unobserved
from chaosext.timeline.sample_windows import signal_windows

from .conftest import BIN, CONTEXT, EXPERIMENT, NAME, docker, kubectl, node_names
from .witness import Witnesses, residue, sentinels, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chaosext.model.result import Window
    from chaosext.model.timeline import Event
    from chaosext.run.session.run_context import RunContext

AGREE_S = 1.5
"""By how much the sentinels' windows may differ from what was seen 20 times a second, at both ends."""

MOST_OF_A_CORE, MOST_BYTES = 0.02, 64 << 20
LEFT_S = 5.0
SETTLED_S = 10.0
"""kubelet takes a Pod's directory away some seconds after the Pod."""

WORKER, OTHER = f"{NAME}-worker", f"{NAME}-worker2"


@pytest.fixture(scope="module", autouse=True)
def _the_image_is_there() -> None:
    subprocess.run([str(BIN / "chaosext"), "testbed", "up"], capture_output=True, timeout=300, check=True)


@dataclass
class Cost:
    """What each sentinel cost, looked at from outside each second."""

    cpu: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def watched(self) -> Iterator[None]:
        stop = threading.Event()
        watching = threading.Thread(target=self._watch, args=(stop,), daemon=True)
        watching.start()
        yield
        stop.set()
        watching.join(10)

    def _watch(self, stop: threading.Event) -> None:
        while not stop.wait(1.0):
            for node, each in sentinels().items():
                try:
                    self.cpu.setdefault(node, []).append((time.monotonic(), each.cpu_s))
                    self.peak_bytes[node] = each.peak_rss_bytes
                except OSError:  # it has just ended
                    continue

    def share(self, node: str) -> float:
        """Of a core, from some seconds after its start on: starting Python is no part of watching."""
        (start_s, start), (end_s, end) = self.cpu[node][5], self.cpu[node][-1]
        return (end - start) / (end_s - start_s)


@dataclass(frozen=True)
class Night:
    """The whole experiment, with what was seen of it from outside."""

    directory: Path
    exit_code: int
    witnesses: Witnesses
    cost: Cost

    @property
    def result(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.directory / "result.json").read_text())
        return value

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.directory / "timeline.jsonl").read_text().splitlines()]

    def samples(self, node: str) -> list[Sample]:
        """With their times counted from the cut."""
        path = self.directory / "sentinels" / f"{node}.jsonl"
        entries = parse_record(path.read_text().splitlines())
        return [
            Sample(each.n, self.from_cut_s(node, each.mono_s), each.marks)
            for each in entries
            if isinstance(each, Sample)
        ]

    def from_cut_s(self, node: str, mono_s: float) -> float:
        """By clocks.json; kind's nodes are of one boot."""
        clocks = json.loads((self.directory / "sentinels" / "clocks.json").read_text())
        ((_, offset),) = clocks["nodes"][node].items()
        return float(mono_s + offset["from_cut_s"])

    def told(self, node: str) -> list[list[float]]:
        """Its outages as the result has them; what only a second without a sample divides is one."""
        unobserved = [end_s for _, end_s in self.result["unobserved_s"].get(node, [])]
        found: list[list[float]] = []
        for start_s, end_s in self.result["dns_outages_s"][f"Node/{node}"]:
            if found and start_s in unobserved:
                found[-1][1] = end_s
            else:
                found.append([start_s, end_s])
        return found

    def witnessed(self, node: str) -> list[Window]:
        """The prober's outages that began after the cut."""
        seen = [
            (self.from_cut_s(node, start_s), self.from_cut_s(node, end_s))
            for start_s, end_s in self.witnesses.lookups[node].outages()
        ]
        return [window for window in seen if window[0] > -1.0]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    root, cost = tmp_path_factory.mktemp("night"), Cost()
    argv = [str(BIN / "chaosext"), "run", str(EXPERIMENT), "--run-dir", str(root)]
    with Witnesses() as witnesses, cost.watched():
        done = subprocess.run(argv, cwd=root, capture_output=True, text=True, timeout=900, check=False)
    for node, each in witnesses.lookups.items():  # for who wants to know why it did not agree
        (root / f"{node}.lookups").write_text(
            "".join(f"{at_s} {int(ok)}\n" for at_s, ok in sorted(each.seen))
        )
    assert done.returncode == 10, done.stdout + done.stderr
    return Night((root / "latest").resolve(), done.returncode, witnesses, cost)


@pytest.mark.parametrize("node", [f"{NAME}-control-plane", WORKER, OTHER])
def test_dns_outages_agree_with_a_witness_at_20_hz(night: Night, node: str) -> None:
    witnessed = night.witnessed(node)
    told = night.told(node)
    assert len(told) == len(witnessed) >= 1, f"told {told}, witnessed {witnessed}"
    for (start_s, end_s), (seen_start_s, seen_end_s) in zip(told, witnessed, strict=True):
        assert start_s == pytest.approx(seen_start_s, abs=AGREE_S)
        assert end_s == pytest.approx(seen_end_s, abs=AGREE_S)


def test_no_record_has_a_gap_over_the_cut(night: Night) -> None:
    healed_s = next(event["t_s"] for event in night.events if event["kind"] == "heal")
    for node in node_names():
        over = [each for each in night.samples(node) if -2 <= each.mono_s <= healed_s + 2]
        assert over[0].mono_s < -0.5
        assert over[-1].mono_s > healed_s + 0.5
        assert [later.n - each.n for each, later in pairwise(over)] == [1] * (len(over) - 1)
        assert max(later.mono_s - each.mono_s for each, later in pairwise(over)) < 2.5
        assert not [
            window for window in night.result["unobserved_s"].get(node, []) if 0 <= window[0] <= healed_s
        ]


def test_the_run_says_what_every_party_saw(night: Night) -> None:
    kinds = {event["kind"] for event in night.events}
    assert {"dns_dead", "dns_restored", "target_lost", "route_lost", "xds_lost", "clock"} <= kinds
    assert any(event["source"] == "leaf" and event["kind"] == "route_lost" for event in night.events)
    assert set(night.result["clocks"]) == set(node_names())


def test_nothing_of_the_sentinels_is_left(night: Night) -> None:
    del night
    wait_until(lambda: residue() == [], SETTLED_S)


def test_a_sentinel_costs_next_to_nothing(night: Night) -> None:
    for node in node_names():
        assert night.cost.share(node) < MOST_OF_A_CORE
        assert night.cost.peak_bytes[node] < MOST_BYTES


class Placed:
    """Sentinels without a cut, for as long as the context lives."""

    def __init__(self, directory: Path) -> None:
        self.run: RunContext = start(root=directory)
        self.settings = settings_from({}, {"KUBERNETES_CONTEXT": CONTEXT})

    def __enter__(self) -> Placed:
        self.zero_s = time.monotonic()
        self.run.recorder.set_zero(self.zero_s)
        self._watching = Watching(surroundings(self.settings), self.run.recorder)
        self._watching.__enter__()
        self.sentinels = Sentinels(self.run, connect_to_act(self.settings), self.settings.namespace)
        self.sentinels.place(self.settings, self._watching.objects, 900.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._watching.__exit__()
        self.sentinels.finish()
        self.run.recorder.close()

    def now_s(self) -> float:
        return time.monotonic() - self.zero_s

    def of(self, kind: Kind, name: str = "") -> list[Event]:
        return [event for event in self.run.recorder.events if event.kind is kind and name in event.object]

    def entries(self, node: str) -> list[StreamHead | Sample]:
        lines = (self.run.directory.path / "sentinels" / f"{node}.jsonl").read_text().splitlines()
        return list(parse_record(lines))

    def unknown(self, node: str) -> list[Window]:
        """Where it is not known whether DNS was well, seconds since `zero_s`: kind's nodes share our clock."""
        ((_, spans),) = [
            (signal, found)
            for signal, found in signal_windows(self.entries(node)).items()
            if (signal.kind, signal.label) == (Watched.DNS_UDP, "kube-dns")
        ]
        unknown = [span for span in spans if span.mark is Mark.UNKNOWN]
        return [(each.start_mono_s - self.zero_s, each.end_mono_s - self.zero_s) for each in unknown]


@pytest.fixture
def placed(tmp_path: Path) -> Iterator[Placed]:
    with Placed(tmp_path) as there:
        yield there
    wait_until(lambda: residue() == [], SETTLED_S)


@contextmanager
def istiod_cut_off(node: str) -> Iterator[None]:
    """On one node nothing gets through to istiod, in silence: connections that there are stay open, and dead."""
    table = "inet chaosext-test-xds"
    hooks = "".join(
        f"add chain {table} {hook} {{ type filter hook {hook} priority -200; }}; "
        f"add rule {table} {hook} tcp dport 15012 drop; "
        for hook in ("forward", "output")
    )
    docker("exec", node, "nft", f"add table {table}; {hooks}")
    try:
        yield
    finally:
        docker("exec", node, "nft", "delete", "table", *table.split())


def sidecars_on(node: str) -> dict[str, str]:
    """Pod -> its address."""
    selector = f"--field-selector=spec.nodeName={node},status.phase=Running"
    template = r'jsonpath={range .items[*]}Pod/shop/{.metadata.name} {.status.podIP}{"\n"}{end}'
    return dict(
        line.split() for line in kubectl("-n", "shop", "get", "pods", selector, "-o", template).splitlines()
    )


def says_ready(node: str, address: str) -> bool:
    """Its 15021, asked from its node without our code."""
    request = "printf 'GET /healthz/ready HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n'"
    said = docker(
        "exec", node, "bash", "-c", f"exec 3<>/dev/tcp/{address}/15021; {request} >&3; timeout 3 cat <&3"
    )
    return said.startswith("HTTP/1.") and " 200 " in said.splitlines()[0]


@pytest.mark.usefixtures("steady_afterwards")
def test_a_sidecar_that_says_ready_without_its_istiod_is_not_synced(placed: Placed) -> None:
    on_node = {node: sidecars_on(node) for node in (WORKER, OTHER)}
    node = max(on_node, key=lambda name: len(on_node[name]))
    pods, cut_s = on_node.pop(node), placed.now_s()
    assert len(pods) >= 2
    with istiod_cut_off(node):
        wait_until(lambda: all(placed.of(Kind.XDS_LOST, pod) for pod in pods), 20)
        assert all(says_ready(node, address) for address in pods.values())
    for pod in pods:
        (lost,) = placed.of(Kind.XDS_LOST, pod)
        assert lost.t_s == pytest.approx(cut_s, abs=4)
        assert "15021 says ready" in lost.detail
        assert not placed.of(Kind.SIDECAR_NOT_READY, pod)
    assert not any(placed.of(Kind.XDS_LOST, pod) for others in on_node.values() for pod in others)
    wait_until(lambda: all(placed.of(Kind.XDS_RESTORED, pod) for pod in pods), 60)


@pytest.mark.usefixtures("steady_afterwards")
def test_what_a_killed_sentinel_and_a_restarted_node_did_not_see_is_said_and_counts_for_nothing(
    placed: Placed,
) -> None:
    killed_s = placed.now_s()
    os.kill(sentinels()[WORKER].pid, 9)
    wait_until(lambda: bool(placed.of(Kind.OBSERVATION_RESTORED, f"Node/{WORKER}")), 60)
    restarted_s = placed.now_s()
    docker("restart", "--time", "1", OTHER, timeout_s=120)
    wait_until(lambda: bool(placed.of(Kind.OBSERVATION_RESTORED, f"Node/{OTHER}")), 180)
    time.sleep(5)
    placed.sentinels.finish()
    events = placed.run.recorder.events
    gaps = unobserved(events)
    for node, at_s in {WORKER: killed_s, OTHER: restarted_s}.items():
        start_s, end_s = gaps[node][0]
        assert start_s == pytest.approx(at_s, abs=2.5)
        assert end_s is not None
        assert (start_s, end_s) == pytest.approx(placed.unknown(node)[0], abs=0.1)
        told = [event for event in events if event.source == f"sentinel on {node}"]
        assert not [event for event in told if start_s < event.t_s < end_s]
    assert sum(isinstance(each, StreamHead) for each in placed.entries(WORKER)) >= 2
    assert gaps.get(f"{NAME}-control-plane", ()) == ()
    assert outages(events) is not None


@pytest.mark.usefixtures("steady_afterwards")
def test_a_run_that_is_told_to_leave_heals_first_and_leaves_in_time_with_what_was_seen(
    tmp_path: Path,
) -> None:
    argv = [str(BIN / "chaosext"), "run", str(EXPERIMENT), "--run-dir", str(tmp_path)]
    timeline = tmp_path / "latest" / "timeline.jsonl"
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        wait_until(lambda: timeline.exists() and '"cut"' in timeline.read_text(), 90)
        time.sleep(5)
        process.send_signal(signal.SIGINT)
        told_s = time.monotonic()
        said, _ = process.communicate(timeout=30)
        took_s = time.monotonic() - told_s
    night = Night((tmp_path / "latest").resolve(), process.returncode, Witnesses(), Cost())
    assert took_s < LEFT_S, said
    assert process.returncode == 130, said
    healed_s = next(event["t_s"] for event in night.events if event["kind"] == "heal")
    for node in node_names():
        assert night.samples(node)[-1].mono_s > healed_s - 2
    assert night.result["dns_outages_s"][f"Node/{NAME}-control-plane"]
    wait_until(lambda: residue() == [], SETTLED_S)
