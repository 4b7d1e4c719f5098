"""The timeline: many threads in, dated lines out, and nothing that hinders the run."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from chaosext.model.timeline import Event, Kind
from chaosext.timeline.object_events import Note
from chaosext.timeline.recorder import Recorder

if TYPE_CHECKING:
    from pathlib import Path

THREADS, NOTES = 8, 100


def note(detail: str) -> Note:
    return Note(kind=Kind.POD_READY, object="Pod/shop/cart", detail=detail)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_times_count_from_the_cut() -> None:
    recorder = Recorder()
    recorder.note(note("before"), "x", at_s=90.0)
    recorder.set_zero(100.0)
    recorder.note(note("after"), "x", at_s=105.5)
    assert [(event.t_s, event.detail) for event in recorder.events] == [(-10.0, "before"), (5.5, "after")]


def test_a_second_cut_keeps_the_first_zero() -> None:
    recorder = Recorder()
    recorder.set_zero(100.0)
    recorder.set_zero(200.0)
    recorder.note(note("late"), "x", at_s=201.0)
    assert recorder.events[0].t_s == 101.0


def test_nothing_is_told_before_the_cut(tmp_path: Path) -> None:
    told: list[Event] = []
    recorder = Recorder(tmp_path / "timeline.jsonl", sink=told.append)
    recorder.say(Kind.STEADY, "Cluster/x", "all well")
    assert not told
    assert recorder.events == ()
    recorder.close()
    assert [event.detail for event in told] == ["all well"]
    assert 0 <= told[0].t_s < 60
    assert [line["detail"] for line in lines(tmp_path / "timeline.jsonl")] == ["all well"]


def test_closing_twice_tells_once() -> None:
    recorder = Recorder()
    recorder.say(Kind.STEADY, "Cluster/x", "all well")
    recorder.close()
    recorder.close()
    assert len(recorder.events) == 1


def test_events_are_in_the_order_of_time_however_they_come(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "timeline.jsonl")
    recorder.set_zero(0.0)
    for at_s in (3.0, 1.0, 2.0):
        recorder.note(note(str(at_s)), "x", at_s=at_s)
    assert [event.t_s for event in recorder.events] == [1.0, 2.0, 3.0]


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    told: list[Event] = []
    recorder = Recorder(tmp_path / "timeline.jsonl", sink=told.append)

    def watch(number: int) -> None:
        for index in range(NOTES):
            recorder.note(note(f"{number}-{index}"), f"thread {number}", at_s=float(index))

    threads = [threading.Thread(target=watch, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    recorder.set_zero(0.0)
    for thread in threads:
        thread.join()

    deadline_s = time.monotonic() + 5
    while (
        len(told) < THREADS * NOTES and time.monotonic() < deadline_s
    ):  # they are told from a thread of its own
        time.sleep(0.01)
    written = [str(line["detail"]) for line in lines(tmp_path / "timeline.jsonl")]
    wanted = {f"{number}-{index}" for number in range(THREADS) for index in range(NOTES)}
    assert len(written) == len(told) == len(recorder.events) == THREADS * NOTES
    assert set(written) == wanted
    assert written == [event.detail for event in told]
    for number in range(THREADS):
        own = [detail for detail in written if detail.startswith(f"{number}-")]
        assert own == [f"{number}-{index}" for index in range(NOTES)]
    assert [event.t_s for event in recorder.events] == sorted(event.t_s for event in recorder.events)


@pytest.mark.parametrize(
    "error", [BrokenPipeError("nobody reads"), UnicodeEncodeError("ascii", "é", 0, 1, "no")]
)
def test_a_sink_that_fails_hinders_nobody(error: Exception) -> None:
    def sink(_event: Event) -> None:
        raise error

    recorder = Recorder(sink=sink)
    recorder.set_zero(time.monotonic())
    recorder.say(Kind.HEAL, "Node/cp", "cut taken away")
    assert [event.kind for event in recorder.events] == [Kind.HEAL]


def test_a_full_disk_hinders_nobody(tmp_path: Path) -> None:
    told: list[Event] = []
    recorder = Recorder(tmp_path / "no" / "such" / "directory", sink=told.append)
    recorder.set_zero(time.monotonic())
    recorder.say(Kind.HEAL, "Node/cp", "cut taken away")
    recorder.close()
    assert [event.kind for event in told] == [Kind.HEAL]


def test_a_stalled_terminal_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaosext.timeline.recorder.PARTING_S", 0.1)
    stalled = threading.Event()
    recorder = Recorder(sink=lambda event: stalled.wait(30) and None)
    recorder.set_zero(time.monotonic())
    started_s = time.monotonic()
    for _ in range(100):
        recorder.say(Kind.HEAL, "Node/cp", "cut taken away")
    recorder.close()
    stalled.set()
    assert time.monotonic() - started_s < 5
    assert len(recorder.events) == 100
