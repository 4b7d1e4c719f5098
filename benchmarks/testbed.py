"""`chaosext testbed up` with warm caches against a bare `kind create cluster` of the same size and image, in turn."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.bed import CHAOSEXT

NAME = "chaosext-bench"
BARE = "chaosext-bare"
TIMEOUT_S = 1200


def main() -> None:
    """Print both times and their ratio. Touches neither the testbed `chaosext` nor the user's kubeconfig."""
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"KUBECONFIG": str(Path(home) / "kubeconfig")}
        bare_s = _timed_bare(environment)
        _run([CHAOSEXT, "testbed", "down", "--name", NAME], environment)
        try:
            up_s = _timed([CHAOSEXT, "testbed", "up", "--name", NAME], environment)
        finally:
            _run([CHAOSEXT, "testbed", "down", "--name", NAME], environment)
    print(f"bare kind create cluster {bare_s:6.1f} s")
    print(f"chaosext testbed up      {up_s:6.1f} s   {up_s / bare_s:5.2f} x the bare cluster", flush=True)


def _timed_bare(environment: dict[str, str]) -> float:
    from chaosext.testbed.bringup import ensure_images
    from chaosext.testbed.stage_progress import Progress

    images = ensure_images("auto", Progress())
    roles = [{"role": "control-plane"}, {"role": "worker"}, {"role": "worker"}]
    networking = {"disableDefaultCNI": True}  # the node image carries Calico instead of kindnet
    config = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": roles,
        "networking": networking,
    }
    kind = [str(images.kind)]
    create = [*kind, "create", "cluster", "--name", BARE, "--image", images.node_image, "--config", "-"]
    try:
        return _timed(create, environment, json.dumps(config))
    finally:
        _run([*kind, "delete", "cluster", "--name", BARE], environment)


def _timed(argv: list[str], environment: dict[str, str], stdin: str = "") -> float:
    started_s = time.monotonic()
    _run(argv, environment, stdin)
    return time.monotonic() - started_s


def _run(argv: list[str], environment: dict[str, str], stdin: str = "") -> None:
    done = subprocess.run(
        argv, capture_output=True, text=True, input=stdin, env=environment, timeout=TIMEOUT_S, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr[-2000:]}")
