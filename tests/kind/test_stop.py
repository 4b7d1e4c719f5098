"""On the testbed: a stop condition and an abort heal a real cut at once; on production only the approved is run."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from chaosext.run.stop.abort_listener import LOOK_S

from .conftest import BIN, CONTEXT, activity, docker, kubectl, node_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import Outcome

HEAL_S = 1.0
"""From the answer by which a condition is true to the heal."""


def is_cut() -> bool:
    """Whether any node carries a cut of ours; the lock's table is none."""
    listed = [docker("exec", name, "nft", "list", "tables") for name in node_names()]
    return any("table inet chaosext_" in each for each in listed)


def healed(events: list[dict[str, Any]]) -> float:
    return next(float(event["t_s"]) for event in events if event["kind"] == "heal")


def stopped_at(events: list[dict[str, Any]], kind: str) -> float:
    return next(float(event["t_s"]) for event in events if event["kind"] == kind)


@contextmanager
def prometheus(is_true: Callable[[], bool]) -> Iterator[str]:
    """Speaks GET /api/v1/query."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            found = [{"metric": {"__name__": "errors"}, "value": [1.0, "1"]}] if is_true() else []
            said = {"status": "success", "data": {"resultType": "vector", "result": found}}
            data = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def short(experiment: dict[str, Any]) -> dict[str, Any]:
    """The night, with a method that waits long in the cut."""
    experiment["secrets"]["kubernetes"]["KUBERNETES_CONTEXT"] = CONTEXT
    activity(experiment, "kube_dns_moved")["provider"]["arguments"]["timeout_s"] = 90
    return experiment


def test_a_condition_that_comes_true_in_the_cut_heals_at_once_and_the_rollbacks_bring_it_back(
    short: dict[str, Any], run: Callable[..., Outcome], steady_afterwards: None
) -> None:
    with prometheus(is_cut) as url:
        condition = {"name": "errors", "promql": "errors > 0", "url": url, "every_s": 5}
        short["configuration"]["chaosext_stop_conditions"] = [condition]
        outcome = run(short)
    assert outcome.exit_code == 130, outcome.stdout + outcome.stderr
    result = outcome.result
    assert (result["verdict"], result["rollback_verified"]) == ("interrupted", True), result["reasons"]
    assert result["stopped"]["name"] == "errors"
    assert healed(outcome.events) - stopped_at(outcome.events, "stop_condition") <= HEAL_S
    assert not is_cut()


def test_an_abort_by_kubectl_alone_is_heard_and_answered(
    short: dict[str, Any], tmp_path: Path, steady_afterwards: None
) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(short))
    directory = tmp_path / "run"
    argv = [str(BIN / "chaosext"), "run", str(path), "--run-dir", str(directory)]
    with subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        deadline_s = time.monotonic() + 180
        while not is_cut():
            assert process.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.5)
        time.sleep(2 * LOOK_S)
        noted = json.loads(kubectl("-n", "kube-system", "get", "lease", "chaosext", "-o", "json"))
        assert "until=" in noted["metadata"]["annotations"]["chaosext/cut"]
        asked_s = time.monotonic()
        kubectl("-n", "kube-system", "annotate", "lease", "chaosext", "chaosext/abort=INC-42", "--overwrite")
        while is_cut():
            assert time.monotonic() - asked_s < 30
        assert time.monotonic() - asked_s <= LOOK_S + HEAL_S + 2.0  # and what asking took
        process.communicate(timeout=600)
    assert process.returncode == 130
    result = json.loads((directory / "latest" / "result.json").read_text())
    assert result["stopped"] == {"by": "abort", "name": "", "reason": "INC-42"}
    assert result["rollback_verified"] is True, result["reasons"]


def test_there_is_nothing_to_abort_where_nothing_runs(command: Callable[..., Outcome]) -> None:
    outcome = command("chaosext", "abort", "--context", CONTEXT)
    assert outcome.exit_code == 20
    assert "nothing to abort" in outcome.stderr


@pytest.fixture
def production() -> Iterator[None]:
    kubectl("label", "namespace", "kube-system", "chaosext/environment=production", "--overwrite")
    yield
    kubectl("label", "namespace", "kube-system", "chaosext/environment-")


def test_on_production_only_the_approved_is_run_and_a_value_more_is_another_one(
    short: dict[str, Any],
    run: Callable[..., Outcome],
    command: Callable[..., Outcome],
    tmp_path: Path,
    rules_stay: None,
    production: None,
) -> None:
    approvals = tmp_path / "approvals.jsonl"
    approvals.write_text("")
    with prometheus(lambda: False) as url:
        condition = {"name": "quiet", "promql": "errors > 0", "url": url}
        short["configuration"]["chaosext_stop_conditions"] = [condition]
        refused = run(short)
        assert refused.exit_code == 20
        assert "where only approved experiments may act" in refused.stderr + refused.stdout
        path = str(tmp_path / "experiment.yaml")
        said = command("chaosext", "approve", path, "--dry-run", "-o", "json").stdout
        approvals.write_text(json.dumps(json.loads(said)[0]) + "\n")
        dry = command("chaosext", "run", path, "--dry-run", CHAOSEXT_APPROVALS=str(approvals))
        assert "a run would be refused now" not in dry.stdout
        more = {"CHAOSEXT_APPROVALS": str(approvals), "CHAOSEXT_TTL_S": "121"}
        assert (
            "it is not approved for this cluster"
            in command("chaosext", "run", path, "--dry-run", **more).stdout
        )
