"""`chaosext snapshot` against a little API server: paged, whole or not at all, and nothing secret in it."""

from __future__ import annotations

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlparse

import pytest
from checkout import ROOT

from chaosext.cli.main import invoke
from chaosext.cluster import client, kubeconfig
from chaosext.cluster.client import Cluster, resource_path
from chaosext.rehearsal.snapshot.prune import CONFIGS, WANTED
from chaosext.rehearsal.snapshot.reader import read_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chaosext.rehearsal.snapshot.prune import ObjectKind

STORY = ROOT / "examples" / "snapshots" / "story.json"
CALICOS = ("BGPPeer", "BGPConfiguration", "IPPool")
PAGE = 5


class Api(ThreadingHTTPServer):
    """Serves the story's objects in pages. `missing`: kinds that it answers 404 to; `forbidden`: 403."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.missing: set[str] = set()
        self.forbidden: set[str] = set()
        self.asked: list[str] = []
        self.items = json.loads(STORY.read_text())["items"]
        self.kinds = {_path(each): each.kind for each in WANTED}

    def reply(self, path: str, query: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        self.asked.append(path)
        if path == "/version":
            return 200, {"gitVersion": "v1.34.4"}
        kind = self.kinds[path]
        if kind in self.missing or kind in self.forbidden:
            return 404 if kind in self.missing else 403, {"message": f"no {kind}"}
        found = [_with_secrets(each) for each in self.items if each["kind"] == kind]
        if kind == "ConfigMap":
            found = [each for each in found if each["metadata"]["name"] == path.rpartition("/")[2]]
            return (200, found[0]) if found else (404, {"message": "not found"})
        start = int(query.get("continue", ["0"])[0])
        more = str(start + PAGE) if start + PAGE < len(found) else ""
        return 200, {
            "kind": f"{kind}List",
            "metadata": {"continue": more},
            "items": found[start : start + PAGE],
        }


def _path(each: ObjectKind) -> str:
    return resource_path(each.plural, each.name, namespace=each.namespace or None)


def _with_secrets(each: dict[str, Any]) -> dict[str, Any]:
    made = json.loads(json.dumps(each))
    made["metadata"].setdefault("annotations", {})["note"] = "s3cr3t"
    for container in made.get("spec", {}).get("containers") or ():
        container["env"] = [{"name": "PASSWORD", "value": "s3cr3t"}]
    return {key: value for key, value in made.items() if key not in ("kind", "apiVersion")}


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        asked = urlparse(self.path)
        status, said = self.server.reply(asked.path, parse_qs(asked.query))
        data = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    from kubernetes.client import Configuration

    server = Api()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    configuration = Configuration(host=f"http://127.0.0.1:{server.server_port}")
    cluster = Cluster(context="kind-test", configuration=configuration)
    monkeypatch.setattr(client.Cluster, "connect", lambda *_, **__: cluster)
    monkeypatch.setattr(kubeconfig, "current_context", lambda: "kind-test")
    yield server
    server.shutdown()
    server.server_close()


def test_a_snapshot_is_a_plain_list_that_is_rehearsed_like_the_cluster(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    assert invoke(["snapshot", "-o", str(path)]) == 0
    listed = json.loads(path.read_text())
    assert (listed["kind"], listed["apiVersion"]) == ("List", "v1")
    assert "s3cr3t" not in path.read_text()
    taken, bundled = read_snapshot([path]), read_snapshot([STORY])
    assert [pod.subject for pod in taken.pods] == [pod.subject for pod in bundled.pods]
    assert taken.nodes == bundled.nodes
    assert taken.network == bundled.network
    assert taken.control_plane.version == "v1.34.4"
    assert taken.taken_at is not None
    assert taken.missing == frozenset()


def test_it_is_asked_for_page_by_page(api: Api, tmp_path: Path) -> None:
    invoke(["snapshot", "-o", str(tmp_path / "c.json")])
    pods = sum(each["kind"] == "Pod" for each in api.items)
    assert api.asked.count("/api/v1/pods") == -(-pods // PAGE)


def test_it_is_zipped_where_its_name_says_so(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "c.json.gz"
    assert invoke(["snapshot", "-o", str(path)]) == 0
    assert json.loads(gzip.decompress(path.read_bytes()))["kind"] == "List"


def test_without_calico_it_says_so_and_is_written(
    api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.missing.update(CALICOS)
    assert invoke(["snapshot", "-o", str(tmp_path / "c.json")]) == 0
    assert "not in the snapshot: BGPPeer (the cluster doesn't know this kind)" in capsys.readouterr().err
    assert "BGPPeer" in " ".join(read_snapshot([tmp_path / "c.json"]).missing)


def test_what_it_may_not_read_it_says_in_the_snapshot_too(api: Api, tmp_path: Path) -> None:
    api.forbidden.add("FelixConfiguration")
    assert invoke(["snapshot", "-o", str(tmp_path / "c.json")]) == 0
    doubts = read_snapshot([tmp_path / "c.json"]).network.doubts
    assert [each.subject for each in doubts] == ["FelixConfiguration"]


def test_what_may_not_be_read_is_said(api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api.forbidden.add("PodDisruptionBudget")
    assert invoke(["snapshot", "-o", str(tmp_path / "c.json")]) == 0
    assert "not in the snapshot: PodDisruptionBudget" in capsys.readouterr().err
    assert "PodDisruptionBudget" in read_snapshot([tmp_path / "c.json"]).missing


@pytest.mark.parametrize("kind", ["Node", "Pod"])
def test_without_nodes_or_pods_there_is_none_and_no_half_file(api: Api, tmp_path: Path, kind: str) -> None:
    api.forbidden.add(kind)
    assert invoke(["snapshot", "-o", str(tmp_path / "c.json")]) == 20
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cant_be_written_is_refused(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["snapshot", "-o", "/nowhere/c.json"]) == 20
    assert "--output /nowhere/c.json" in capsys.readouterr().err


def test_it_may_go_to_stdout(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["snapshot", "-o", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "List"


def test_the_documented_rights_are_those_that_it_needs() -> None:
    import yaml

    role = yaml.safe_load((STORY.parents[2] / "deploy" / "rehearsal" / "rbac.yaml").read_text())
    granted = {name for rule in role["rules"] for name in rule["resources"]}
    assert granted == {each.plural for each in WANTED}
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get", "list"}
    (configs,) = (rule for rule in role["rules"] if "configmaps" in rule["resources"])
    assert (configs["resourceNames"], configs["verbs"]) == (list(CONFIGS), ["get"])


def test_of_cilium_s_settings_only_how_it_routes_is_kept(api: Api, tmp_path: Path) -> None:
    data = {"routing-mode": "tunnel", "etcd-config": "s3cr3t", "ipam": "cluster-pool"}
    meta = {"name": "cilium-config", "namespace": "kube-system"}
    api.items.append({"kind": "ConfigMap", "apiVersion": "v1", "metadata": meta, "data": data})
    assert invoke(["snapshot", "-o", str(tmp_path / "c.json")]) == 0
    (kept,) = (
        each for each in json.loads((tmp_path / "c.json").read_text())["items"] if each["kind"] == "ConfigMap"
    )
    assert kept["data"] == {"routing-mode": "tunnel", "ipam": "cluster-pool"}


def test_where_there_is_no_cilium_nothing_is_missed(
    api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["snapshot", "-o", str(tmp_path / "c.json")]) == 0
    assert "ConfigMap" not in capsys.readouterr().err


@pytest.mark.parametrize("has_cilium", [True, False])
def test_ciliums_kinds_are_asked_for_where_it_has_settings(
    api: Api, tmp_path: Path, has_cilium: bool
) -> None:
    if has_cilium:
        api.items.append(
            {"kind": "ConfigMap", "metadata": {"name": "cilium-config", "namespace": "kube-system"}}
        )
    assert invoke(["snapshot", "-o", str(tmp_path / "c.json")]) == 0
    assert ("/apis/cilium.io/v2alpha1/ciliumbgpadvertisements" in api.asked) is has_cilium
