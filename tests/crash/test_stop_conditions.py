"""A stop condition ends the method and plays the rollbacks: real processes, and a real HTTP server as Prometheus."""

from __future__ import annotations

import json
import signal
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from crash_run import Run
from crash_stage import act, experiment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NONE: dict[str, Any] = {"status": "success", "data": {"resultType": "vector", "result": []}}
SERIES = {"metric": {"__name__": "errors", "job": "shop"}, "value": [1.0, "7"]}
TRUE = {"status": "success", "data": {"resultType": "vector", "result": [SERIES]}}


class Prometheus(ThreadingHTTPServer):
    """Answers every query with `says`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.says: dict[str, Any] = NONE
        self.asked_at: list[float] = []

    def condition(self, **more: Any) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.server_port}"
        return {"name": "errors", "promql": "errors > 0", "url": url, "every_s": 1, **more}


class _Handler(BaseHTTPRequestHandler):
    server: Prometheus

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        data = json.dumps(self.server.says).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.server.asked_at.append(time.monotonic())


@contextmanager
def serving() -> Iterator[Prometheus]:
    server = Prometheus()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    with serving() as server:
        yield server


def playing(
    first: dict[str, Any], *conditions: dict[str, Any], rollback: dict[str, Any] | None = None
) -> dict[str, Any]:
    rollbacks = [rollback or act("mark", word="back")]
    return experiment(
        [first, act("mark", word="next")], rollbacks=rollbacks, chaosext_stop_conditions=list(conditions)
    )


ASLEEP = act("snooze", word="asleep", seconds=60)


@pytest.mark.parametrize(
    ("first", "words"),
    [
        pytest.param(ASLEEP, ["asleep", "back"], id="an activity that sleeps"),
        pytest.param(ASLEEP | {"pauses": {"after": 60}}, ["asleep", "back"], id="with a pause after it"),
        pytest.param(
            act("stay", word="asleep", seconds=60),
            ["asleep", "asleep-swallowed", "back"],
            id="one that swallows what it is told",
        ),
    ],
)
def test_what_plays_is_left_and_the_rollbacks_are_played(
    tmp_path: Path, prometheus: Prometheus, first: dict[str, Any], words: list[str]
) -> None:
    with Run(tmp_path, playing(first, prometheus.condition())) as run:
        run.wait_for("asleep")
        prometheus.says = TRUE
        assert run.process.wait(timeout=15) == 130
        assert run.words() == words
        result = run.result()
        assert (result["verdict"], result["stopped"]) == (
            "interrupted",
            {"by": "stop_condition", "name": "errors", "reason": 'errors{job="shop"} 7'},
        )
        assert "stop condition 'errors': errors{job=\"shop\"} 7; nothing had been cut" in result["reasons"]
        assert run.journal()["status"] == "interrupted"


def test_a_pause_before_an_activity_is_left_as_well(tmp_path: Path, prometheus: Prometheus) -> None:
    first = act("mark", word="first")
    value = playing(first, prometheus.condition())
    value["method"][1]["pauses"] = {"before": 60}
    with Run(tmp_path, value) as run:
        run.wait_for("first")
        prometheus.says = TRUE
        assert run.process.wait(timeout=15) == 130
        assert run.words() == ["first", "back"]


def test_an_activity_that_never_leaves_does_not_hold_the_run_up(
    tmp_path: Path, prometheus: Prometheus
) -> None:
    with Run(tmp_path, playing(act("swallow_all", word="asleep"), prometheus.condition())) as run:
        run.wait_for("asleep")
        prometheus.says = TRUE
        assert run.process.wait(timeout=25) == 130
        assert run.result()["stopped"]["name"] == "errors"
        assert "back" not in run.words()


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (TRUE, "stop condition 'errors' is already true: errors{job=\"shop\"} 7"),
        ({"status": "error", "errorType": "bad_data", "error": "parse error"}, "can't be asked: bad_data"),
    ],
)
def test_what_is_true_or_unknown_at_the_start_is_refused_and_nothing_is_played(
    tmp_path: Path, prometheus: Prometheus, says: dict[str, Any], why: str
) -> None:
    prometheus.says = says
    with Run(tmp_path, playing(ASLEEP, prometheus.condition())) as run:
        assert run.process.wait(timeout=30) == 20
        assert run.words() == []
        assert why in run.result()["reasons"][0]


def test_nobody_is_stopped_by_what_is_not_known_for_a_while(tmp_path: Path, prometheus: Prometheus) -> None:
    value = playing(act("snooze", word="asleep", seconds=4), prometheus.condition(unknown_s=60))
    with Run(tmp_path, value) as run:
        run.wait_for("asleep")
        prometheus.says = {}
        assert run.process.wait(timeout=30) == 0
        assert run.words() == ["asleep", "asleep-woke", "next", "back"]
        assert run.result()["stopped"] is None


def test_what_stays_unknown_stops(tmp_path: Path, prometheus: Prometheus) -> None:
    with Run(tmp_path, playing(ASLEEP, prometheus.condition(unknown_s=2))) as run:
        run.wait_for("asleep")
        prometheus.says = {}
        assert run.process.wait(timeout=20) == 130
        assert "unknown for" in run.result()["stopped"]["reason"]


def test_the_rollbacks_are_not_stopped_but_by_a_signal(tmp_path: Path, prometheus: Prometheus) -> None:
    value = playing(ASLEEP, prometheus.condition(), rollback=act("snooze", word="restoring", seconds=60))
    with Run(tmp_path, value) as run:
        run.wait_for("asleep")
        prometheus.says = TRUE
        run.wait_for("restoring")
        time.sleep(2.5)  # the condition stays true, and would have been asked twice
        assert "restoring-woke" not in run.words()
        assert run.process.poll() is None
        assert run.ends_after(signal.SIGTERM) == 143


def test_a_probe_of_chaos_toolkit_stops_when_it_is_out_of_its_tolerance(tmp_path: Path) -> None:
    probe = {
        **act("answer_in_turn", kind="probe", values=["well", "well", "ill", "ill", "ill"]),
        "tolerance": "well",
    }
    condition = {"probe": probe, "every_s": 1, "name": "wellness"}
    with Run(tmp_path, playing(ASLEEP, condition)) as run:
        assert run.process.wait(timeout=30) == 130
        assert run.result()["stopped"] == {
            "by": "stop_condition",
            "name": "wellness",
            "reason": "out of tolerance",
        }
        assert run.words()[-1] == "back"


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({}, "exactly one of promql, check, probe is needed"),
        ({"promql": "up == 0"}, "promql and url require each other"),
        ({"promql": "up", "url": "file:///etc"}, "url must be http://"),
        ({"promql": "up", "url": "http://u:p@h"}, "url names a password"),
        ({"promql": "up", "url": "http://h", "every": 1}, "did you mean every_s?"),
        ({"promql": "up", "url": "https://h", "token_secret": "p.token"}, "the experiment has no secret"),
        ({"promql": "up", "url": "http://h", "token_secret": "p.token"}, "sent over plain http"),
        ({"promql": "up", "url": "http://127.0.0.1", "token_file": "/t"}, "sent over plain http"),
        ({"check": "dns"}, "unknown check 'dns'"),
        ({"check": "dns_resolvable", "must_be": "well"}, "must_be"),
        ({"check": "dns_resolvable", "timeout_s": 0}, "timeout_s"),
        ({"probe": {"type": "action"}}, "a probe has `type: probe`"),
        (
            {"probe": {**act("mark", kind="probe", word="x"), "tolerance": True, "provder": 1}},
            "did you mean provider?",
        ),
    ],
)
def test_a_condition_that_is_none_is_refused_by_its_field(
    tmp_path: Path, condition: dict[str, Any], said: str
) -> None:
    with Run(tmp_path, playing(ASLEEP, condition)) as run:
        output = run.process.communicate(timeout=30)[0]
        assert run.process.returncode == 20
        assert said in output
        assert "chaosext_stop_conditions[0]" in output
        assert run.words() == []
