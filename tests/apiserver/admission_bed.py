"""A real API server on loopback, with the controllers that it needs, as the oracle starts them."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))  # the oracle lies beside the package

from chaosext.cluster.client import ApiAnswer, Cluster  # noqa: E402
from chaosext.gameday.bundle_of_manifests import compose  # noqa: E402
from chaosext.gameday.effective_experiment import agents_of, effective  # noqa: E402
from chaosext.gameday.gameday_settings import GameDaySettings  # noqa: E402
from chaosext.gameday.permission_checks import require_confined  # noqa: E402
from chaosext.gameday.server_dry_run import collection  # noqa: E402
from chaosext.model.errors import Refused  # noqa: E402
from chaosext.testbed.cache import is_kept  # noqa: E402
from chaosext.testbed.stage_progress import Progress  # noqa: E402
from hack.images import recipes  # noqa: E402
from hack.images.go import ensure_go_commands  # noqa: E402
from oracle.controlplane import CONTEXT, ControlPlane, Programs  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chaosext.gameday.admission import Agents

DAY, SPACE = "night", "chaosext"
AT_ONCE = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
IN_FORCE_S = 30.0
"""An API server compiles new policies within seconds, also on a busy machine."""


@cache
def settings() -> GameDaySettings:
    return GameDaySettings.model_validate(
        {
            "name": DAY,
            "schedule": "0 0 1 1 *",
            "image": "r.example/chaosext@sha256:" + "1" * 64,
            "cluster": {"context": CONTEXT, "kube_system_uid": "00000000-0000-0000-0000-000000000000"},
            "experiment": "control-plane-partition.yaml",
            "image_pull_secrets": ["pull"],
        }
    )


@cache
def agents() -> Agents:
    return agents_of(settings(), effective(settings(), ROOT / "experiments"))


@dataclass(frozen=True, slots=True)
class Bed:
    """`admin` may do anything; `runner` is the game day's account, with a token of its own."""

    admin: Cluster
    runner: Cluster
    connect: Callable[[str, str], Cluster]

    def create(self, obj: dict[str, Any], *, dry: bool = False, by: Cluster | None = None) -> ApiAnswer:
        query = {"dryRun": "All"} if dry else {"fieldValidation": "Strict"}
        return (by or self.admin).ask("POST", collection(obj), query=query, body=obj)

    @contextmanager
    def there(self, obj: dict[str, Any]) -> Iterator[None]:
        """An object that is there while the `with` lasts."""
        made = self.create(obj)
        assert made.status == 201, made.body
        try:
            yield
        finally:
            self.admin.ask("DELETE", f"{collection(obj)}/{made.body['metadata']['name']}", body=AT_ONCE)

    def account(self, name: str, namespace: str = SPACE) -> Cluster:
        """A client with a token of that ServiceAccount."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        token = self.admin.request("POST", path, body={"spec": {}})["status"]["token"]
        return self.connect(name, token)


@contextmanager
def running(directory: Path) -> Iterator[Bed]:
    """An API server to which everything that `chaosext schedule` writes was applied. Skips where there is none."""
    builds = recipes.etcd(), recipes.kubernetes()
    if not all(is_kept(each.name, each.inputs) for each in builds):
        pytest.skip("needs etcd and kube-apiserver, which `chaosext testbed up --images source` builds")
    etcd, kubernetes = (ensure_go_commands(each, Progress()) for each in builds)
    checked = ["--controllers=validatingadmissionpolicy-status-controller"]
    programs = Programs(etcd=etcd, kubernetes=kubernetes, kwok=directory)
    flags = ["--allow-privileged=true"]  # as kubeadm sets it
    with ControlPlane(programs, directory, controller_manager=checked, apiserver=flags) as plane:

        def connect(name: str, token: str) -> Cluster:
            config = json.loads(plane.kubeconfig.read_text())
            config["users"][0]["user"] = {"token": token}
            path = directory / f"{name}.json"
            path.write_text(json.dumps(config))
            return Cluster.connect(CONTEXT, str(path))

        admin = plane.cluster
        made = Bed(admin, admin, connect)
        _apply(made)
        ready = Bed(admin, made.account(DAY), connect)
        _await_policies(ready)
        yield ready


def _apply(bed: Bed) -> None:
    for name in ("istio-system", "shop"):
        named = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        bed.admin.request("POST", collection(named), body=named)
    runtime = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "privileged"}}
    bed.admin.request("POST", "/apis/node.k8s.io/v1/runtimeclasses", body={**runtime, "handler": "x"})
    for each in compose(settings(), ROOT / "experiments").objects:
        answer = bed.create(each)
        assert answer.status == 201, answer.body
    defaults = f"/api/v1/namespaces/{SPACE}/serviceaccounts/default"
    within(lambda: bed.admin.ask("GET", defaults).status == 200, "the namespace's default account")


def _await_policies(bed: Bed) -> None:
    def are_in_force() -> bool:
        try:
            require_confined(bed.runner, DAY, agents())
        except Refused:
            return False
        return True

    within(are_in_force, "the policies")


def within(done: Callable[[], bool], what: str) -> None:
    """Wait until it is `done`."""
    deadline_s = time.monotonic() + IN_FORCE_S
    while not done():
        assert time.monotonic() < deadline_s, f"not within {IN_FORCE_S:g} s: {what}"
        time.sleep(0.2)
