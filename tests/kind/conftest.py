"""Tests on the real testbed: `chaosext testbed up --sidecars classic` first. They leave it in its steady state."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from chaosext.nodes.image_names import REGISTRY, runner_image
from chaosext.nodes.transport import discover
from chaosext.testbed.kubectl import SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = os.environ.get("CHAOSEXT_TESTBED", "chaosext")
"""The testbed that they use."""

CONTEXT = f"kind-{NAME}"
ROOT = Path(__file__).parents[2]
EXPERIMENT = ROOT / "experiments" / "control-plane-partition.yaml"
BIN = Path(sys.executable).parent

PATIENCE_S = 360
"""Longer than the longest CrashLoopBackOff (5 min, kubelet's MaxContainerBackOff)."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.kind)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended; `directory` is the run's, if it made one."""

    exit_code: int
    stdout: str
    stderr: str
    directory: Path

    @property
    def result(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.directory / "latest" / "result.json").read_text())
        return value

    @property
    def events(self) -> list[dict[str, Any]]:
        lines = (self.directory / "latest" / "timeline.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


def docker(*words: str, timeout_s: float = 30) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=timeout_s, check=True)
    return done.stdout


def node_names() -> list[str]:
    return list(discover(cluster=NAME))


def brought_image() -> str:
    """The runner's on the nodes, where the sources went on since `testbed up`; else "": the one that is usual."""
    listed = docker("exec", f"{NAME}-control-plane", "ctr", "-n", "k8s.io", "images", "ls", "-q").split()
    brought = [name for name in listed if name.startswith(f"{REGISTRY}/chaosext:")]
    return "" if runner_image() in brought else brought[-1]


def rulesets() -> dict[str, str]:
    """Every node's rules without their counters."""
    return {name: docker("exec", name, "nft", "-s", "list", "ruleset") for name in node_names()}


def kubectl(*words: str, timeout_s: float = 60) -> str:
    asking = ("kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", f"--server={SERVER}")
    return docker("exec", f"{NAME}-control-plane", *asking, *words, timeout_s=timeout_s)


SHIM = """#!/bin/sh
[ "$1" = --context ] && [ "$2" = {context} ] && shift 2 || exit 64
exec docker exec -i {name}-control-plane kubectl --kubeconfig=/etc/kubernetes/admin.conf "$@"
"""
"""kubectl where there is none: of the testbed's own, and of its context only."""


def run_as_printed(commands: str, directory: Path, timeout_s: float = 600) -> str:
    """What people would paste into a shell; its output. Raises CalledProcessError."""
    shim = directory / "bin" / "kubectl"
    shim.parent.mkdir(exist_ok=True)
    shim.write_text(SHIM.format(context=CONTEXT, name=NAME))
    shim.chmod(0o755)
    done = subprocess.run(
        ["bash", "-euc", commands],
        stdin=subprocess.DEVNULL,
        env=os.environ | {"PATH": f"{shim.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=True,
    )
    return done.stdout


@pytest.fixture(scope="session", autouse=True)
def testbed() -> None:
    """Skip, saying why, where there is no testbed."""
    try:
        if f"{NAME}-control-plane" in node_names():
            return
    except (OSError, subprocess.SubprocessError):
        pass
    pytest.skip(f"no testbed named {NAME} is up: run `chaosext testbed up`")


@pytest.fixture
def experiment() -> dict[str, Any]:
    """The main experiment, to be changed by a test."""
    value: dict[str, Any] = copy.deepcopy(yaml.safe_load(EXPERIMENT.read_text()))
    return value


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Outcome]:
    """Run a command of the installed distribution, outside the checkout, with a run directory of its own."""

    def run(*words: str, timeout_s: float = 600, **environment: str) -> Outcome:
        directory = tmp_path / "run"
        done = subprocess.run(
            [str(BIN / words[0]), *words[1:]],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=timeout_s,
            env=os.environ | {"CHAOSEXT_RUN_DIR": str(directory)} | environment,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr, directory)

    return run


@pytest.fixture
def run(command: Callable[..., Outcome], tmp_path: Path) -> Callable[..., Outcome]:
    """Run an experiment given as a value with `chaosext run`."""

    def start(value: dict[str, Any], *words: str, **environment: str) -> Outcome:
        path = tmp_path / "experiment.yaml"
        path.write_text(yaml.safe_dump(value))
        return command("chaosext", "run", str(path), *words, **environment)

    return start


@pytest.fixture
def rules_stay() -> Iterator[None]:
    """Nothing may have touched any node's rules when the test ends."""
    before = rulesets()
    yield
    assert rulesets() == before


def activity(value: dict[str, Any], func: str) -> dict[str, Any]:
    """The first activity in the experiment `value` that calls `func`."""
    sections = (value["steady-state-hypothesis"]["probes"], value["method"], value["rollbacks"])
    found: dict[str, Any] = next(
        each for section in sections for each in section if each["provider"]["func"] == func
    )
    return found


def without(value: dict[str, Any], func: str) -> dict[str, Any]:
    """The experiment without the activities that call `func`."""
    for section in ("method", "rollbacks"):
        value[section] = [each for each in value[section] if each["provider"]["func"] != func]
    return value


@pytest.fixture
def kubeconfig(command: Callable[..., Outcome]) -> dict[str, Any]:
    """The testbed's own kubeconfig, as a value."""
    value: dict[str, Any] = yaml.safe_load(command("chaosext", "testbed", "kubeconfig").stdout)
    return value


@pytest.fixture
def kubeconfig_to_nowhere(kubeconfig: dict[str, Any], tmp_path: Path) -> str:
    """The same context, with a server where nobody listens."""
    kubeconfig["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    return _written(kubeconfig, tmp_path)


@pytest.fixture
def kubeconfig_by_another_name(kubeconfig: dict[str, Any], tmp_path: Path) -> str:
    """The same context, with the same server by another of its names: not what was pinned."""
    cluster = kubeconfig["clusters"][0]["cluster"]
    cluster["server"] = cluster["server"].replace("127.0.0.1", "localhost")
    return _written(kubeconfig, tmp_path)


def _written(value: dict[str, Any], directory: Path) -> str:
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(value))
    return str(path)


@pytest.fixture
def steady_afterwards(command: Callable[..., Outcome]) -> Iterator[None]:
    """A test that leaves kube-dns astray must not spoil the next one."""
    yield
    assert command("chaosext", "testbed", "up", timeout_s=PATIENCE_S).exit_code == 0
