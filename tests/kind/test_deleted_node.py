"""On the testbed: a node that is deleted during the cut is missed at the end, however well what is left fares."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import BIN, CONTEXT, EXPERIMENT, NAME, docker, kubectl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import Outcome

GONE = f"{NAME}-worker2"

CUT_S = 240
"""Until the cut is there: the steady state is asked before it."""

SETTLED_S = 300


def kinds(timeline: Path) -> set[str]:
    with suppress(OSError):
        return {json.loads(line)["kind"] for line in timeline.read_text().splitlines() if line.endswith("}")}
    return set()


@pytest.fixture
def registered_again() -> Iterator[None]:
    """The node is back whatever the test did, and Calico speaks BGP from it: what comes next starts steady."""
    yield
    bring_back()


def bring_back() -> None:
    """Register the node again, and move kube-dns off the control plane, where a scheduler short of nodes put it."""
    docker("exec", GONE, "systemctl", "restart", "kubelet")
    kubectl("wait", f"node/{GONE}", "--for=create", "--timeout=60s", timeout_s=90)
    kubectl("wait", f"node/{GONE}", "--for=condition=Ready", "--timeout=180s", timeout_s=200)
    subprocess.run([BIN / "chaosext", "testbed", "up"], check=True, timeout=600)


def test_a_node_deleted_in_the_cut_is_missed_and_the_way_back_is_not_called_verified(
    tmp_path: Path, command: Callable[..., Outcome], registered_again: None
) -> None:
    directory = tmp_path / "run"
    start = [str(BIN / "chaosext"), "run", str(EXPERIMENT)]
    with subprocess.Popen(start, cwd=tmp_path, env=os.environ | {"CHAOSEXT_RUN_DIR": str(directory)}) as run:
        until = time.monotonic() + CUT_S
        while "node_not_ready" not in kinds(directory / "latest" / "timeline.jsonl"):
            assert run.poll() is None, "the run ended before it cut"
            assert time.monotonic() < until
            time.sleep(0.5)
        kubectl("delete", "node", GONE)
        code = run.wait(timeout=600)

    result: dict[str, Any] = json.loads((directory / "latest" / "result.json").read_text())
    assert code == result["exit_code"] == 11, result
    assert result["rollback_verified"] is False
    assert any(f"Node/{GONE}" in each for each in result["reasons"]), result
    assert {"cut", "heal", "node_deleted", "object_missing"} <= kinds(directory / "latest" / "timeline.jsonl")

    asked = command("chaosext", "check", "all", "--context", CONTEXT, "--json")
    assert asked.exit_code != 0
    assert f"Node/{GONE}" in asked.stdout

    bring_back()
    until = time.monotonic() + SETTLED_S
    while (asked := command("chaosext", "check", "all", "--context", CONTEXT)).exit_code != 0:
        assert time.monotonic() < until, asked
        time.sleep(5)
