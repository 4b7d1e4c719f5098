"""Row 21: a stop condition, or an abort, heals at once, whatever plays; the method ends, the rollbacks are played."""

from __future__ import annotations

import json
import random
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from chaosext.run.stop.abort_listener import LOOK_S
from tests.trust.lab.clock import now_s
from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import experiment
from tests.trust.lab.watching import is_open, lease_left
from tests.trust.row import Effort, Ground, Measured, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.trust.lab.trial import Process, Trial

AT_MOST_S = 1.0
"""From the answer by which a condition is true to the last path that is open."""

TIMES = {Effort.FAST: 1, Effort.FULL: 10}
STAGES = {"arming": ("begin", 0.3), "proving": ("begin", 1.2), "holding": ("hold", 1.0)}
"""Stage -> the mark at which it begins, and within how many seconds after it the condition comes true."""

Item = tuple[str, str, int]


@dataclass
class Prometheus:
    """Says nothing until it is `true`; `told_s` is when it first said more."""

    true: bool = False
    told_s: float | None = None
    asked: threading.Lock = field(default_factory=threading.Lock)

    def answer(self) -> bytes:
        found: list[Any] = [{"metric": {"__name__": "errors"}, "value": [1.0, "1"]}] if self.true else []
        with self.asked:
            if self.true and self.told_s is None:
                self.told_s = now_s()
        return json.dumps({"status": "success", "data": {"resultType": "vector", "result": found}}).encode()


@contextmanager
def serving(prometheus: Prometheus) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            data = prometheus.answer()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def in_namespaces(effort: Effort) -> Measured:
    items = [(how, when, turn) for how in ASKED for when in STAGES for turn in range(TIMES[effort])]
    return stage().play(stopped, items, unit="s from what stopped it to the heal")


def stopped(trial: Trial, item: Item) -> Outcome:
    how, when, _ = item
    prometheus, outcome = Prometheus(), Outcome()
    mark, within_s = STAGES[when]
    with serving(prometheus) as url:
        plan = experiment(ttl_s=30, hold_s=20.0)
        condition = {"name": "errors", "promql": "errors > 0", "url": url, "every_s": 1}
        plan["configuration"]["chaosext_stop_conditions"] = [condition]
        process = trial.run(plan)
        if not outcome.expect(trial.reaches(mark), f"never came to {mark}: {trial.out[-300:]!r}"):
            return outcome
        time.sleep(random.Random(str(item)).uniform(0.0, within_s))
        began_s = ASKED[how](trial, prometheus, outcome)
        _judge(trial, process, outcome, how, began_s)
    return outcome


def _judge(trial: Trial, process: Process, outcome: Outcome, how: str, began_s: float | None) -> None:
    code = process.wait(60)
    outcome.expect(code == 130, f"exit {code}: {trial.out[-300:]!r}")
    outcome.expect(
        (trial.result.get("stopped") or {}).get("by") == how, f"stopped: {trial.result.get('stopped')}"
    )
    outcome.expect("rolled" in trial.marks, "the rollbacks were not played")
    outcome.expect("held" not in trial.marks, "the method went on")
    outcome.expect(is_open(trial.lab.eye), "still cut when the run had ended")
    opened_s = trial.lab.eye.open_s
    if (
        outcome.expect(began_s is not None, "nobody was told")
        and opened_s is not None
        and began_s is not None
    ):
        outcome.figure = max(0.0, opened_s - began_s)
        slack_s = LOOK_S if how == "abort" else 0.0
        outcome.expect(outcome.figure <= AT_MOST_S + slack_s, f"healed {outcome.figure:.2f} s later")
    outcome.residue += lease_left(trial.lab)


def _comes_true(trial: Trial, prometheus: Prometheus, outcome: Outcome) -> float | None:
    prometheus.true = True
    deadline_s = now_s() + 10
    while prometheus.told_s is None and now_s() < deadline_s:
        time.sleep(0.01)
    return prometheus.told_s


def _abort(trial: Trial, prometheus: Prometheus, outcome: Outcome) -> float | None:
    """By another process, with a home of its own kind: it knows the cluster's context only."""
    running = trial.newest
    asking = trial.command("abort", "--context", trial.lab.where["context"], "--reason", "a trial")
    code = asking.wait(30)
    outcome.expect(code == 0, f"abort ended with {code}: {trial.out[-300:]!r}")
    trial.newest = running
    asked = [line for line in trial.lab.api.tell()["mutations"] if line.startswith("PATCH ")]
    return float(asked[-1].split()[-1]) if asked else None


ASKED = {"stop_condition": _comes_true, "abort": _abort}

ROW = Row(
    number=21,
    title="a stop condition that comes true, an abort, each while arming, proving and holding x 10",
    bar="healed <= 1 s after the answer (an abort: 2 s more), method ended, rollbacks played",
    measures=((Ground.KERNEL, in_namespaces),),
)
