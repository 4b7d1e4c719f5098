"""Stages as lines: begin, notes, end with the time it took, failure."""

from __future__ import annotations

import io
import itertools
import threading

import pytest

from chaosext.testbed.stage_progress import Progress, format_elapsed


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_stage_tells_beginning_notes_and_the_time_it_took() -> None:
    clock, out = Clock(), io.StringIO()
    progress = Progress(out, clock=clock)
    clock.now_s += 1
    with progress.stage("Build kind") as stage:
        clock.now_s += 2.5
        stage.note("half way")
    assert out.getvalue().splitlines() == [
        "[    1.0 s] Build kind",
        "[    3.5 s]   Build kind: half way",
        "[    3.5 s] Build kind: done in 2.5 s",
    ]


def test_failed_stage_says_so_and_lets_the_error_through() -> None:
    out = io.StringIO()
    with pytest.raises(ValueError, match="no"), Progress(out, clock=Clock()).stage("Build kind"):
        raise ValueError("no")
    assert out.getvalue().splitlines()[-1] == "[    0.0 s] Build kind: failed after 0.0 s"


def test_long_stage_reminds_of_itself() -> None:
    reminded = threading.Event()

    class Watched(io.StringIO):
        def write(self, text: str) -> int:
            if "still running" in text:
                reminded.set()
            return super().write(text)

    with Progress(Watched(), heartbeat_s=0.01).stage("Build kubernetes"):
        assert reminded.wait(10)


def test_closed_stream_is_no_error() -> None:
    out = io.StringIO()
    out.close()
    with Progress(out).stage("Build kind") as stage:
        stage.note("nobody reads this")


def test_parallel_stages_write_whole_lines() -> None:
    out = io.StringIO()
    progress = Progress(out)

    def work(name: str) -> None:
        with progress.stage(name) as stage:
            for number in range(50):
                stage.note(str(number))

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = out.getvalue().splitlines()
    assert len(lines) == 3 * 52
    wanted = {f"  {name}: {number}" for name, number in itertools.product("abc", range(50))}
    assert wanted <= {line.split("] ", 1)[1] for line in lines}


@pytest.mark.parametrize(
    ("elapsed_s", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 00 s"), (119.6, "2 min 00 s"), (3725, "62 min 05 s")],
)
def test_elapsed(elapsed_s: float, text: str) -> None:
    assert format_elapsed(elapsed_s) == text
