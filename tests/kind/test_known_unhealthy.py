"""On the testbed: one workload that is never well refuses the night, and is no reason once it is saved as known."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from .conftest import CONTEXT, kubectl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import Outcome

FAILS_S = 90


@pytest.fixture
def relic(tmp_path: Path) -> Iterator[str]:
    """A Deployment in shop that is never Ready, whose Pods move like any others; its name."""
    catalog = yaml.safe_load(kubectl("-n", "shop", "get", "deployment", "catalog", "-o", "yaml"))
    template: dict[str, Any] = catalog["spec"]["template"]
    container = template["spec"]["containers"][0]
    container["readinessProbe"]["httpGet"]["port"] = 9
    container.pop("livenessProbe")
    template["metadata"] = {"labels": {"app": "relic", "sidecar.istio.io/inject": "false"}}
    template["spec"].pop("topologySpreadConstraints", None)
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "relic", "namespace": "shop"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "relic"}}, "template": template},
    }
    asking = ["docker", "exec", "-i", f"{CONTEXT.removeprefix('kind-')}-control-plane"]
    asking += ["kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "apply", "-f", "-"]
    subprocess.run(asking, input=yaml.safe_dump(manifest), text=True, check=True, timeout=60)
    yield "relic"
    with suppress(subprocess.CalledProcessError):
        kubectl("-n", "shop", "delete", "deployment", "relic", "--wait", "--ignore-not-found")


@pytest.mark.usefixtures("steady_afterwards")
def test_what_is_saved_as_known_refuses_no_run_and_the_night_ends_as_ever(
    relic: str,
    command: Callable[..., Outcome],
    run: Callable[..., Outcome],
    experiment: dict[str, Any],
    tmp_path: Path,
) -> None:
    until = time.monotonic() + FAILS_S
    while f"Pod/shop/{relic}" not in (asked := command("chaosext", "check", "all", "--json")).stdout:
        assert time.monotonic() < until, asked
        time.sleep(2)
    assert asked.exit_code == 10
    refused = run(experiment)
    assert refused.exit_code == 20, refused

    words = ("-o", "known.yaml", "--until", "1d", "--reason", "CHG-4711")
    saved = command("chaosext", "baseline", "save", "--context", CONTEXT, *words)
    assert saved.exit_code == 0, saved
    known = yaml.safe_load((tmp_path / "known.yaml").read_text())
    assert f"Pod/shop/{relic}-*" in str(known)
    asked = command("chaosext", "check", "all", "--context", CONTEXT, "--known", str(tmp_path / "known.yaml"))
    assert asked.exit_code == 0, asked

    experiment["configuration"]["chaosext_known_unhealthy"] = "known.yaml"
    night = run(experiment)
    assert night.exit_code == 10, night
    assert night.result["rollback_verified"] is True
    assert f"Pod/shop/{relic}-*" in {each["object"] for each in night.result["known_unhealthy"]}
    assert not any(relic in each for each in night.result["reasons"])
