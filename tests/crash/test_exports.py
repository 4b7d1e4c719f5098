"""Whoever else is told of a run, it goes as it would without: refused before anything, or said in a line at its end."""

from __future__ import annotations

import signal
import socket
import time
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
from collector import collector, told
from crash_run import Run
from crash_stage import act, experiment

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


def ends_with(run: Run) -> tuple[int, str]:
    output, _ = run.process.communicate(timeout=30)
    return run.process.returncode, output


def short() -> dict[str, Any]:
    return experiment([act("mark", name="make a mark", word="method")])


@pytest.mark.parametrize("place", ["/", "nowhere/chaosext.prom", "65536"])
def test_metrics_that_can_not_be_exported_refuse_the_run_before_anything(tmp_path: Path, place: str) -> None:
    with Run(tmp_path, short(), "--metrics", place) as run:
        code, output = ends_with(run)
        assert code == 20
        assert output.startswith("chaosext: --metrics")
        assert "     fix: give a file" in output
        assert run.words() == []
        assert not run.directory.exists()


def test_a_port_that_is_taken_refuses_the_run_and_may_be_expected(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with Run(tmp_path, short(), "--metrics", port, "--expect", "refused") as run:
            code, output = ends_with(run)
            assert code == 0
            assert "Address already in use" in output
            assert run.words() == []


def test_the_file_tells_how_the_run_ended(tmp_path: Path) -> None:
    path = tmp_path / "chaosext.prom"
    with Run(tmp_path, short(), "--metrics", str(path)) as run:
        code, output = ends_with(run)
        assert (code, f"metrics: {path}" in output) == (0, True)
    text = path.read_text()
    assert 'chaosext_verdict{verdict="passed"} 1.0' in text
    assert 'experiment="a small one"' in text
    assert "chaosext_cut_in_force 0.0" in text


def test_a_run_is_scraped_while_it_goes_on(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Run(tmp_path, experiment([act("snooze", word="asleep", seconds=60)]), "--metrics", str(port)) as run:
        run.wait_for("asleep")
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            assert b"chaosext_run_over 0.0" in answer.read()
        assert run.ends_after(signal.SIGTERM) == 143


def test_the_run_is_a_trace_with_each_activity_in_it(tmp_path: Path) -> None:
    with (
        collector() as server,
        Run(tmp_path, short(), OTEL_EXPORTER_OTLP_ENDPOINT=server.endpoint) as run,
    ):
        code, output = ends_with(run)
        assert (code, "traces" in output) == (0, False)
    found = {span.name: span for span in server.spans}
    assert found.keys() == {"chaosext run", "gate", "make a mark", "heal_control_plane"}
    assert told(found["chaosext run"])["chaosext.verdict"] == "passed"
    whole, mark = found["chaosext run"], found["make a mark"]
    assert whole.start_time_unix_nano <= mark.start_time_unix_nano <= mark.end_time_unix_nano
    assert mark.end_time_unix_nano <= whole.end_time_unix_nano


def test_a_collector_that_hangs_costs_the_end_of_a_run_two_seconds_and_a_line(tmp_path: Path) -> None:
    with (
        collector(hangs=True) as server,
        Run(tmp_path, short(), OTEL_EXPORTER_OTLP_ENDPOINT=server.endpoint) as run,
    ):
        while not server.requests:
            assert run.process.poll() is None
            time.sleep(0.02)
        began_s = time.monotonic()
        code, output = ends_with(run)
        assert time.monotonic() - began_s < 4
        assert code == 0
        assert output.splitlines()[-1].startswith("no traces: the collector did not accept them")


def test_a_run_that_is_told_to_leave_leaves_in_time_though_its_collector_hangs(tmp_path: Path) -> None:
    value = experiment([act("snooze", word="asleep", seconds=60)])
    with (
        collector(hangs=True) as server,
        Run(tmp_path, value, OTEL_EXPORTER_OTLP_ENDPOINT=server.endpoint) as run,
    ):
        run.wait_for("asleep")
        assert run.ends_after(signal.SIGINT) == 130


def test_an_endpoint_without_opentelemetry_is_a_line_with_its_fix_and_no_failure(tmp_path: Path) -> None:
    absent = tmp_path / "absent" / "opentelemetry"
    absent.mkdir(parents=True)
    (absent / "__init__.py").write_text("raise ImportError('not installed')\n")
    elsewhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "PYTHONPATH": str(absent.parent)}
    with Run(tmp_path, short(), **elsewhere) as run:
        code, output = ends_with(run)
        assert code == 0
        assert (
            output.count("no traces: OpenTelemetry is not installed; fix: pip install 'chaosext[otel]'") == 1
        )
