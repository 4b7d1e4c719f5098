"""Every example of `--help` that needs no cluster runs from the installed wheel, in an empty directory."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from printed import Printed, commands, of

HELP = [each for each in of("chaosext", commands()) if each.place.startswith("chaosext/cli/")]

LIVE = {
    "abort",
    "baseline",
    "check",
    "cleanup",
    "failover",
    "gameday",
    "matrix",
    "preflight",
    "run",
    "snapshot",
    "status",
    "testbed",
}
"""Commands that ask a cluster, or nodes."""

LIVE_OPTIONS = {"--context", "--kubeconfigs", "--revoke", "run/latest"}
"""What makes other commands do so, or names what only a run leaves."""

BGP_PEER = """
apiVersion: crd.projectcalico.org/v1
kind: BGPPeer
metadata: {name: leaf-d}
spec: {peerIP: 10.255.0.4, asNumber: 64512, nodeSelector: topology.kubernetes.io/zone == 'd'}
"""

INCIDENT = Path(__file__).parents[1] / "golden" / "diagnose" / "story.json.gz"

ANSWERS = {0, 10, 30}
"""Exit codes of an answer; 20 is a refusal, and 70 a bug."""


def needs_no_cluster(printed: Printed) -> bool:
    """Whether it is a whole command, not a mention of one, and asks no cluster and for no run."""
    words = printed.words[1:]
    is_live = words[0] in LIVE or words[0] == "report" or bool(LIVE_OPTIONS.intersection(words))
    is_plan_alone = words[0] == "gate" and "--snapshot" not in words
    is_approval = words[0] == "approve" and "--list" not in words
    is_mention = (
        words[-1] == "--snapshot"
        or list(words[-2:]) == ["--snapshot", "-"]
        or not any("-" in word or ":" in word for word in words[1:])
    )
    if words[0] in ("examples", "config"):
        return True
    return not (is_live or is_plan_alone or is_approval or is_mention or "run/latest/result.json" in words)


OFFLINE = sorted({each.text: each for each in HELP if needs_no_cluster(each)}.values(), key=str)


def environment(installed: Path, folder: Path) -> dict[str, str]:
    homes = {name: str(folder / name) for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")}
    return {**os.environ, **homes, "PYTHONPATH": str(installed), "KUBECONFIG": str(folder / "none")}


def chaosext(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "chaosext", *words],
        env=environment(installed, folder),
        cwd=folder,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def folder(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files are that other examples write, or that users have."""
    made = tmp_path_factory.mktemp("work")
    for name, file in (
        ("larger", "cluster.json"),
        ("larger", "before.json"),
        ("larger", "after.json"),
        ("story", "seen.json.gz"),
        ("mitigated", "yesterday.json.gz"),
        ("story", "today.json.gz"),
        ("all-workers", "cutover.yaml"),
        ("zones", "scenarios.yaml"),
        ("gameday", "gameday.yaml"),
        ("fleet", "fleet.yaml"),
    ):
        done = chaosext(installed, made, "examples", name)
        assert done.returncode == 0, done.stderr
        (made / file).write_bytes(done.stdout)
    (made / "new-bgppeer.yaml").write_text(BGP_PEER)
    (made / "incident.json.gz").write_bytes(INCIDENT.read_bytes())
    with tarfile.open(made / "must-gather.tar.gz", "w:gz") as archive:
        archive.add(made / "cluster.json", "must-gather/cluster.json")
    return made


def test_examples_are_found_at_all() -> None:
    words = {each.words[1] for each in OFFLINE}
    assert words >= {"rehearse", "gate", "schedule", "examples", "config", "audit", "pin", "fleet"}
    assert len(OFFLINE) > 25


@pytest.mark.parametrize("printed", OFFLINE, ids=str)
def test_an_example_runs_from_the_wheel(printed: Printed, installed: Path, folder: Path) -> None:
    words = shlex.split(printed.text)[1:]
    if words[0] == "rehearse" and "--scenarios" not in words:
        words += ["--no-advice"]  # which takes its time, and has tests of its own
    done = chaosext(installed, folder, *words)
    assert done.returncode in ANSWERS, done.stderr.decode()
    assert b"internal error" not in done.stderr
