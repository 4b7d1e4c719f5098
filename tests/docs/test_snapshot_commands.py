"""The documented kubectl commands make a snapshot on every cluster, with Calico and without."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from chaosext.cli.rehearse import rehearse
from chaosext.rehearsal.snapshot.reader import read_snapshot

ROOT = Path(__file__).parents[2]

KUBECTL = """#!{python}
import json, pathlib, sys
words = sys.argv[1:]
kinds = json.loads(pathlib.Path(sys.argv[0]).with_suffix(".json").read_text())
assert words.pop(0) == "get"
if "--raw" in words:
    plural = words[words.index("--raw") + 1].rpartition("/")[2]
    asked = [plural]
else:
    asked = words[0].split(",")
    assert words[-2:] == ["-o", "json"]
for each in asked:
    if each not in kinds:
        print(f"error: the server doesn't have a resource type {{each!r}}", file=sys.stderr)
        sys.exit(1)
if "--raw" in words:
    kind, version, items = kinds[plural]
    print(json.dumps({{"kind": kind + "List", "apiVersion": version, "items": items}}), end="")
else:
    items = [item for each in asked for item in kinds[each][2]]
    print(json.dumps({{"kind": "List", "apiVersion": "v1", "items": items}}, indent=4))
"""
"""kubectl, as far as it matters: it prints nothing if it is asked for a kind that the cluster does not have."""


def documented() -> str:
    """The commands in docs/rehearsal.md."""
    text = (ROOT / "docs" / "rehearsal.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?ms)^```\n(.*?)^```", text)
    return next(block for block in blocks if "kubectl get nodes," in block)


def printed() -> str:
    """The commands in `chaosext rehearse --help`."""
    text = rehearse.get_help(click.Context(rehearse, terminal_width=200, max_content_width=200))
    lines = text.splitlines()
    begin = next(at for at, line in enumerate(lines) if "kubectl get nodes," in line)
    end = next(at for at, line in enumerate(lines) if "--cut-nodes 'topology" in line)
    said = (re.split(r"\s{3,}(?=\S)", line.strip())[0] for line in lines[begin:end])
    return "\n".join(said)


def cluster(*, with_calico: bool) -> dict[str, Any]:
    """Plural -> (kind, apiVersion, items) of every kind that the cluster has."""
    items = json.loads((ROOT / "examples" / "snapshots" / "story.json").read_text())["items"]
    core = ("Node", "Pod", "Service", "Namespace", "Deployment", "ReplicaSet", "DaemonSet", "StatefulSet")
    kinds = [
        *core,
        "PodDisruptionBudget",
        "Lease",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
        "ConfigMap",
    ]
    kinds += ["BGPPeer", "BGPConfiguration", "IPPool", "FelixConfiguration"] if with_calico else []
    return {
        f"{kind.lower()}s": (
            kind,
            "crd.projectcalico.org/v1" if kind in kinds[13:] else "v1",
            [each for each in items if each["kind"] == kind],
        )
        for kind in kinds
    }


@pytest.mark.parametrize("commands", [documented(), printed()], ids=["docs", "help"])
@pytest.mark.parametrize("with_calico", [True, False], ids=["calico", "no-calico"])
def test_the_commands_make_a_snapshot_on_every_cluster(
    tmp_path: Path, commands: str, with_calico: bool
) -> None:
    fake = tmp_path / "bin" / "kubectl"
    fake.parent.mkdir()
    fake.write_text(KUBECTL.format(python=sys.executable))
    fake.chmod(0o755)
    fake.with_suffix(".json").write_text(json.dumps(cluster(with_calico=with_calico)))
    kubectls = commands.partition("chaosext rehearse")[0]
    subprocess.run(
        ["bash", "-c", kubectls],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{fake.parent}:{os.environ['PATH']}"},
        check=False,
        timeout=60,
    )
    world = read_snapshot([tmp_path / "cluster.json"])
    assert len(world.nodes) == 3
    assert ("BGPPeer" not in world.missing) or not with_calico
    assert len(world.network.peers) == with_calico
