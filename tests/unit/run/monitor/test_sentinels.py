"""Sentinels while a run goes on and at its end: what is read, what is missing, and that nobody is held up."""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from loopback_lab import TOKEN, SentinelLab, run_context, wait_for

from chaosext.model.errors import Refused, Unreachable
from chaosext.model.signal import Sample, Signal, StreamHead, Watched
from chaosext.model.timeline import Kind
from chaosext.run.agents import sentinel_pods
from chaosext.run.monitor import sentinel_reader, sentinels
from chaosext.run.monitor.sentinel_reader import NodeReading
from chaosext.run.monitor.sentinels import HEARD, CurrentPlan, Sentinels
from chaosext.safety.audit_log import audit_log
from chaosext.sentinel.sample_log import head_line, parse_record, sample_line
from chaosext.sentinel.watch_plan import Sidecar, WatchPlan
from chaosext.timeline.clock_offsets import ClockReading
from chaosext.timeline.outages import outages, unobserved
from chaosext.timeline.recorder import Recorder
from chaosext.timeline.sentinel_client import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.model.result import Window
    from chaosext.model.timeline import Event

NODES = ("a", "b")
FAKETIME = next(map(str, Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), "")
DNS = Signal(kind=Watched.DNS_UDP, target="10.2.112.10", label="kube-dns")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SentinelLab]:
    made = SentinelLab(tmp_path / "records", *NODES)
    monkeypatch.setattr(sentinel_pods, "place", made.placed)
    monkeypatch.setattr(sentinel_pods, "remove", made.removed)
    monkeypatch.setattr(sentinel_pods, "new_token", lambda: TOKEN)
    monkeypatch.setattr(sentinels, "gather", lambda *_: None)
    monkeypatch.setattr(sentinels, "ClusterModel", lambda *_: SimpleNamespace(bgp=None))
    monkeypatch.setattr(sentinels, "plan_for", lambda *_: made.plan)
    monkeypatch.setattr(sentinels, "EVERY_S", 0.1)
    monkeypatch.setattr(sentinels, "CALM_S", 0.2)
    monkeypatch.setattr(sentinels, "COLLECT_S", 3.0)
    yield made
    made.close()


class Run:
    """A run with its sentinels in place."""

    def __init__(self, lab: SentinelLab, directory: Path) -> None:
        self.recorder = Recorder()
        self.zero_s = time.monotonic()
        self.recorder.set_zero(self.zero_s)
        self.context = run_context(self.recorder, directory)
        self.objects: Any = SimpleNamespace(has_begun=False)
        self.sentinels = Sentinels(self.context, cluster=None, namespace="chaosext")  # type: ignore[arg-type]
        self.lab, self.directory = lab, directory

    def place(self) -> Run:
        settings: Any = SimpleNamespace(namespaces=(), sentinel_image="", sentinel_port=self.lab.port)
        self.sentinels.place(settings, self.objects, 600.0)
        return self

    def now_s(self) -> float:
        return time.monotonic() - self.zero_s

    def kept(self, node: str) -> bytes:
        return (self.directory / "sentinels" / f"{node}.jsonl").read_bytes()

    def entries(self, node: str) -> list[StreamHead | Sample]:
        return list(parse_record(self.kept(node).decode().splitlines()))

    def of(self, kind: Kind) -> list[Event]:
        return [event for event in self.recorder.events if event.kind is kind]

    def gaps(self, node: str) -> tuple[Window, ...]:
        return unobserved(self.recorder.events).get(node, ())


@pytest.fixture
def run(lab: SentinelLab, tmp_path: Path) -> Run:
    return Run(lab, tmp_path / "run")


def samples(entries: list[StreamHead | Sample]) -> list[Sample]:
    return [each for each in entries if isinstance(each, Sample)]


def test_the_method_begins_when_all_have_sampled(run: Run) -> None:
    run.place()
    assert all(len(samples(run.entries(node))) >= 3 for node in NODES)
    assert set(run.context.stash[HEARD]) == set(NODES)
    run.sentinels.finish()


def test_what_every_node_sees_is_told_at_its_time_whoever_reads_it(run: Run, lab: SentinelLab) -> None:
    run.place()
    closed_s = run.now_s()
    lab.target.close()
    wait_for(lambda: len(run.of(Kind.TARGET_LOST)) == 2)
    opened_s = run.now_s()
    lab.target.open()
    wait_for(lambda: len(run.of(Kind.TARGET_RESTORED)) == 2)
    run.sentinels.finish()
    found = outages(run.recorder.events)
    windows = [window for lane in found.values() for each in lane.values() for window in each]
    assert len(windows) == 2
    for start_s, end_s in windows:
        assert start_s == pytest.approx(closed_s, abs=0.5)
        assert end_s == pytest.approx(opened_s, abs=0.5)
    assert not any(run.gaps(node) for node in NODES)


def test_that_they_are_gone_is_in_the_audit_log(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run.place()
    run.sentinels.finish()
    assert [entry.says["event"] for entry in audit_log().verified().entries] == ["sentinels_removed"]


def test_the_record_is_kept_as_it_was_written(run: Run, lab: SentinelLab) -> None:
    run.place()
    wait_for(lambda: len(samples(run.entries("a"))) > 10)
    run.sentinels.finish()
    wait_for(lambda: run.kept("a") == lab.record("a"))  # what it tells is on its disk a moment later
    numbers = [each.n for each in samples(run.entries("a"))]
    assert numbers == list(range(len(numbers)))


def test_a_node_that_hangs_holds_up_no_other_and_loses_nothing(
    run: Run, lab: SentinelLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaosext.timeline.sentinel_client.TIMEOUT_S", 60.0)
    run.place()
    monkeypatch.setattr(NodeReading, "visit", slow_to("a", NodeReading.visit, 1.5))
    before = len(samples(run.entries("b")))
    wait_for(lambda: len(samples(run.entries("b"))) > before + 10)
    monkeypatch.undo()
    monkeypatch.setattr(sentinel_pods, "remove", lab.removed)
    monkeypatch.setattr("chaosext.timeline.sentinel_client.TIMEOUT_S", 60.0)  # a busy machine takes its time
    monkeypatch.setattr("chaosext.run.monitor.sentinels.COLLECT_S", 120.0)
    run.sentinels.finish()
    wait_for(lambda: run.kept("a") == lab.record("a"))  # what it tells is on its disk a moment later
    assert run.gaps("a") == ()


def slow_to(node: str, visit: Any, seconds: float) -> Any:
    def slowly(self: NodeReading, plan: WatchPlan) -> None:
        if self.node == node:
            time.sleep(seconds)
            raise Unreachable("no answer")
        visit(self, plan)

    return slowly


def test_a_sentinel_that_was_stopped_has_a_gap_and_says_so(run: Run, lab: SentinelLab) -> None:
    run.place()
    lab.stop("a")
    stopped_s = run.now_s()
    time.sleep(1.5)
    lab.resume("a")
    resumed_s = run.now_s()
    wait_for(lambda: bool(run.of(Kind.OBSERVATION_RESTORED)))
    run.sentinels.finish()
    ((start_s, end_s),) = run.gaps("a")
    assert start_s == pytest.approx(stopped_s, abs=0.5)
    assert end_s == pytest.approx(resumed_s, abs=0.5)
    assert run.gaps("b") == ()


def test_a_sentinel_that_was_killed_and_came_back_goes_on_in_its_record(run: Run, lab: SentinelLab) -> None:
    run.place()
    lab.kill("a")
    time.sleep(1)
    lab.start("a")
    wait_for(lambda: bool(run.of(Kind.OBSERVATION_RESTORED)))
    run.sentinels.finish()
    kept = run.kept("a")
    # What it tells is on its disk a moment later; on a busy machine it takes one more sample before it has ended.
    wait_for(lambda: lab.record("a")[: len(kept)] == kept)
    assert sum(isinstance(each, StreamHead) for each in run.entries("a")) == 2
    assert len(run.gaps("a")) == 1


def test_a_record_that_ends_before_the_run_is_an_observation_lost(run: Run, lab: SentinelLab) -> None:
    run.place()
    killed_s = run.now_s()
    lab.kill("a")
    time.sleep(1)
    run.sentinels.finish()
    ((start_s, end_s),) = run.gaps("a")
    assert start_s == pytest.approx(killed_s, abs=0.6)
    assert end_s is None
    assert all(back_s is not None for _, back_s in run.gaps("b"))  # a busy machine may miss a sample of 0.2 s


def test_a_run_that_must_leave_waits_for_no_node_and_no_api_server(
    run: Run, lab: SentinelLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.place()
    for node in NODES:
        lab.stop(node)
    monkeypatch.setattr(sentinel_pods, "remove", lambda *_, **__: time.sleep(30))
    left_s = time.monotonic()
    run.sentinels.finish(within_s=-1.0)
    assert time.monotonic() - left_s < sentinels.SHORTEST_END_S + 0.5
    assert "chaosext cleanup" in run.sentinels.problems[0]


def test_a_run_that_is_hurried_at_its_end_waits_for_them_no_longer(
    run: Run, lab: SentinelLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.place()
    lab.stop("a")
    monkeypatch.setattr(sentinel_pods, "remove", lambda *_, **__: time.sleep(30))
    monkeypatch.setattr(sentinels, "COLLECT_S", 20.0)
    hurried = threading.Event()
    threading.Timer(0.5, hurried.set).start()
    left_s = time.monotonic()
    run.sentinels.finish(hurried=hurried)
    assert time.monotonic() - left_s < 3
    assert "chaosext cleanup" in run.sentinels.problems[0]


def test_nodes_that_are_gone_keep_no_other_from_being_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than there are hands, each waited for as long as may be."""
    ended = []

    class Reading:
        def __init__(self, node: str) -> None:
            self.node = node

        def end(self) -> None:
            if self.node != "z":
                time.sleep(0.2)
                raise Unreachable("gone")
            ended.append(self.node)

    monkeypatch.setattr(sentinels, "HANDS", 4)
    gathering: Any = Sentinels(run_context(Recorder(), tmp_path), cluster=None, namespace="chaosext")  # type: ignore[arg-type]
    gathering._readings = {node: Reading(node) for node in "abcdefghz"}
    gathering._collect(1.5)
    assert ended == ["z"]


def test_a_node_that_is_away_is_asked_less_often_and_one_that_hiccups_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, plan = Reader("a", "127.0.0.1", 9, TOKEN), WatchPlan(run="r1")  # where nobody listens
    reading = NodeReading(reader, tmp_path / "a.jsonl", Recorder(), plan)
    dues = []
    for _ in range(2):
        with pytest.raises(Unreachable):
            reading.visit(plan)
        dues.append(reading.is_due)
    assert dues == [True, False]
    monkeypatch.setattr(sentinel_reader, "AWAY_S", 0.0)
    with pytest.raises(Unreachable):
        reading.visit(plan)
    assert reading.is_due


def test_whatever_goes_wrong_at_the_end_no_verdict_is_lost(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.place()
    monkeypatch.setattr(NodeReading, "close", lambda *_: 1 / 0)
    run.sentinels.finish()
    assert run.sentinels.problems == [
        "the sentinels' records may be incomplete: ZeroDivisionError: division by zero"
    ]


def test_whatever_the_api_server_tells_the_sentinels_are_read(run: Run) -> None:
    run.objects = SimpleNamespace(has_begun=True, dns_endpoints=None, meshed=())
    run.place()
    before = len(samples(run.entries("a")))
    wait_for(lambda: len(samples(run.entries("a"))) > before + 10)
    run.sentinels.finish()
    assert [event.object for event in run.of(Kind.OBSERVATION_LOST)] == ["Watch/what to watch"]


def test_a_record_without_an_end_fills_no_disk(
    run: Run, lab: SentinelLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.place()
    monkeypatch.setattr(sentinel_reader, "LARGEST_RECORD_BYTES", len(run.kept("a")) + 100)
    wait_for(lambda: len(run.of(Kind.OBSERVATION_LOST)) == 2)
    assert {event.object for event in run.of(Kind.OBSERVATION_LOST)} == {
        "Watch/sentinel on a",
        "Watch/sentinel on b",
    }
    size = len(run.kept("a"))
    time.sleep(1)
    run.sentinels.finish()
    assert len(run.kept("a")) == size
    assert run.gaps("a")[-1][1] is None


def test_a_head_is_of_the_node_that_it_was_read_from_and_nobody_is_heard_of_later_than_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one node could say of another that it is well, and be well itself for good."""
    now = ClockReading(boot="b", mono_s=0, wall_s=0, sent_s=0, answered_s=0, own_wall_s=0)
    head = StreamHead(run="r1", node="another", boot="b", mono_s=0, wall_s=0, signals=(DNS,))
    lines = [head_line(head), *(sample_line(Sample(n, 1e6 + n, "t")) for n in range(3))]
    said = "".join(f"{line}\n" for line in lines).encode()
    monkeypatch.setattr(Reader, "clock", lambda _: now)
    monkeypatch.setattr(Reader, "read_from", lambda _, offset: (said[offset:], len(said)))
    recorder = Recorder()
    recorder.set_zero(0.0)
    plan = WatchPlan(run="r1")
    reading = NodeReading(Reader("a", "127.0.0.1", 9, TOKEN), tmp_path / "a.jsonl", recorder, plan)
    with suppress(Unreachable):
        reading.visit(plan)  # which it can't be told
    assert {event.object for event in recorder.events if event.kind is Kind.DNS_DEAD} == {"Node/a"}
    assert reading.heard_s is not None
    assert reading.heard_s <= time.monotonic()


def test_a_plan_that_has_changed_is_put_to_every_node_and_to_one_that_started_anew(
    run: Run, lab: SentinelLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(lab.plan, tcp=())
    monkeypatch.setattr(sentinels, "planned_anew", lambda *_: other)
    run.objects.dns_endpoints = run.objects.meshed = run.objects.pods = ()
    run.place()
    run.objects.has_begun = True
    wait_for(lambda: all(last_head(run, node).signals == () for node in NODES))
    lab.kill("a")
    lab.start("a")
    wait_for(lambda: heads(run, "a") >= 4)  # placed with, put; started anew with the first, put again
    assert last_head(run, "a").signals == ()
    assert run.gaps("b") == ()
    run.sentinels.finish()


def test_a_node_that_a_change_is_not_about_is_left_alone(
    run: Run, lab: SentinelLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(lab.plan, sidecars=(Sidecar(node="a", pod="Pod/shop/cart", address="127.0.0.9"),))
    monkeypatch.setattr(sentinels, "planned_anew", lambda *_: other)
    run.objects.dns_endpoints = run.objects.meshed = run.objects.pods = ()
    run.place()
    run.objects.has_begun = True
    wait_for(lambda: heads(run, "a") == 2)
    time.sleep(0.5)
    assert (heads(run, "a"), heads(run, "b")) == (2, 1)
    run.sentinels.finish()


def last_head(run: Run, node: str) -> StreamHead:
    return [each for each in run.entries(node) if isinstance(each, StreamHead)][-1]


def heads(run: Run, node: str) -> int:
    return sum(isinstance(each, StreamHead) for each in run.entries(node))


def test_a_plan_is_put_when_nothing_changes_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = [WatchPlan(run="r", istiod=str(number)) for number in range(4)]
    seen = iter(plans[1:])
    monkeypatch.setattr(sentinels, "planned_anew", lambda *_: next(seen, plans[-1]))
    monkeypatch.setattr(sentinels, "CALM_S", 0.1)
    objects: Any = SimpleNamespace(has_begun=True, dns_endpoints=(), meshed=(), pods=())
    expected = CurrentPlan(plans[0], objects)
    assert [expected.look() for _ in range(4)] == [plans[0]] * 4
    time.sleep(0.15)
    assert expected.look() == plans[-1]


@pytest.mark.skipif(not FAKETIME, reason="libfaketime is not here: apt-get install faketime")
def test_a_node_whose_wall_clock_is_90_s_ahead_is_told_so_and_its_news_are_in_time(
    run: Run, lab: SentinelLab
) -> None:
    faked = {"LD_PRELOAD": FAKETIME, "FAKETIME": "+90s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    lab.more["a"] = faked
    run.place()
    closed_s = run.now_s()
    lab.target.close()
    wait_for(lambda: len(run.of(Kind.TARGET_LOST)) == 2)
    run.sentinels.finish()
    skews = {node: clock.wall_skew_s for node, clock in run.sentinels.clocks.items()}
    assert skews == {"a": pytest.approx(90, abs=1), "b": pytest.approx(0, abs=1)}
    assert [event.t_s for event in run.of(Kind.TARGET_LOST)] == [pytest.approx(closed_s, abs=0.5)] * 2


def test_the_clocks_are_stated_and_written_down(run: Run) -> None:
    run.place()
    run.sentinels.finish()
    run.sentinels.write_clocks()
    assert {event.object for event in run.of(Kind.CLOCK)} == {"Node/a", "Node/b"}
    clock = run.sentinels.clocks["a"]
    assert clock.offset_s == pytest.approx(0, abs=0.1)  # one machine, one clock
    assert clock.error_s < 0.1
    written = json.loads((run.directory / "sentinels" / "clocks.json").read_text())
    assert written["schema"] == "chaosext.clocks/v1"
    ((boot, offset),) = written["nodes"]["a"].items()
    head = run.entries("a")[0]
    assert isinstance(head, StreamHead)
    assert boot == head.boot
    assert 0 < head.mono_s + offset["from_cut_s"] < run.now_s()


def test_sentinels_that_can_t_be_read_refuse_the_run_and_are_taken_away(
    run: Run, lab: SentinelLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentinels, "SAMPLED_S", 0.3)
    monkeypatch.setattr(sentinel_pods, "new_token", lambda: "another-token-than-theirs")
    with pytest.raises(Refused, match=f"sentinels on a, b .*{lab.port}.*chaosext_sentinel: false"):
        run.place()
    assert all(process.poll() is not None for process in lab.processes.values())


def test_what_a_full_disk_does_not_take_is_written_later(tmp_path: Path) -> None:
    path = tmp_path / "not there yet" / "a.jsonl"
    kept = sentinel_reader.AppendOnlyFile(path)
    kept.append(b"one\n")
    path.parent.mkdir()
    kept.append(b"two\n")
    path.write_bytes(b"one\ntwo\nthr")  # what a disk took of the next before it was full
    kept.append(b"three\n")
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_observations_of_a_boot_whose_clock_was_never_asked_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = ClockReading(boot="other", mono_s=0, wall_s=0, sent_s=0, answered_s=0, own_wall_s=0)
    monkeypatch.setattr(Reader, "clock", lambda _: elsewhere)
    recorder = Recorder()
    recorder.set_zero(time.monotonic())
    with closing(SentinelLab(tmp_path, "a")) as lab:
        lab.placed()
        lab.target.close()
        with closing(lab.reader("a")) as reader:
            reading = NodeReading(reader, tmp_path / "a.jsonl", recorder, lab.plan)
            wait_for(lambda: lab.record("a").count(b'"r"') > 3)
            reading.visit(lab.plan)
            reading.close(time.monotonic())
    (lost,) = recorder.events
    assert (lost.kind, lost.object) == (Kind.OBSERVATION_LOST, "Node/a")
    assert "never measured" in lost.detail
