"""What people have is read: every format, directory and archive of the same objects is the same cluster."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import zipfile
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from listings import CALICO_API, KUBE_DNS, SMALL, item, listed, node, pod, written

from chaosext.model.errors import Refused
from chaosext.rehearsal.snapshot import input_files
from chaosext.rehearsal.snapshot.reader import read_snapshot
from chaosext.rehearsal.snapshot.snapshot_files import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from chaosext.rehearsal.snapshot.world import World

    Item = dict[str, Any]


def facts(world: World) -> Any:
    """Everything that a prediction depends on."""
    pods = [(each.subject, each.node, each.owner, each.ready, each.spec.labels) for each in world.pods]
    return world.nodes, pods, world.workloads, world.dns, world.network, world.missing, world.assumptions


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("small") / "cluster.json"
    return facts(read_snapshot([written(path, listed(*SMALL))]))


# -- formats -----------------------------------------------------------------------------------------------------


def as_array(items: Sequence[Item]) -> bytes:
    return json.dumps(list(items)).encode()


def as_array_of_lists(items: Sequence[Item]) -> bytes:
    return json.dumps([listed(*items[:3]), listed(*items[3:])]).encode()


def as_stream(items: Sequence[Item]) -> bytes:
    return "".join(json.dumps(each) for each in items).encode()


def as_yaml_list(items: Sequence[Item]) -> bytes:
    return yaml.safe_dump(listed(*items)).encode()


def as_indented_yaml_list(items: Sequence[Item]) -> bytes:
    text = yaml.safe_dump(list(items))
    return (
        "apiVersion: v1\nkind: List\nitems:\n" + "".join(f"  {line}\n" for line in text.splitlines())
    ).encode()


def as_flow_yaml(items: Sequence[Item]) -> bytes:
    return b"# by hand\n" + yaml.safe_dump(listed(*items), default_flow_style=True).encode()


def as_yaml_stream(items: Sequence[Item]) -> bytes:
    return yaml.safe_dump_all(items, explicit_start=True).encode()


def as_yaml_array(items: Sequence[Item]) -> bytes:
    return yaml.safe_dump(list(items)).encode()


def as_utf_16(items: Sequence[Item]) -> bytes:
    """As PowerShell's `>` writes it."""
    return json.dumps(listed(*items)).encode("utf-16")


def as_dump(items: Sequence[Item]) -> bytes:
    """As `kubectl cluster-info dump` prints it: the logs of each container between Lists."""
    marks = "==== START {0} ====\n{1}\n==== END {0} ====\n"
    logs = "logs for container main of pod shop/cart-1"
    parts = [json.dumps(listed(each), indent=4) + "\n" for each in items]
    middle, last = (marks.format(logs, text) for text in ('{"level": "info"} {[ no JSON', ""))
    return "".join([*parts[:4], middle, *parts[4:], last]).encode()


FORMATS: tuple[Callable[[Sequence[Item]], bytes], ...] = (
    as_array,
    as_array_of_lists,
    as_stream,
    as_yaml_list,
    as_indented_yaml_list,
    as_flow_yaml,
    as_yaml_stream,
    as_yaml_array,
    as_utf_16,
    as_dump,
)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.__name__)
def test_every_format_is_the_same_cluster(
    tmp_path: Path, small: Any, form: Callable[[Sequence[Item]], bytes]
) -> None:
    path = tmp_path / "cluster"
    path.write_bytes(form(SMALL))
    assert facts(read_snapshot([path])) == small


@given(data=st.data())
def test_order_and_format_mean_nothing(
    tmp_path_factory: pytest.TempPathFactory, small: Any, data: Any
) -> None:
    home = tmp_path_factory.mktemp("parts")
    items = data.draw(st.permutations(SMALL))
    cut = sorted(data.draw(st.sets(st.integers(1, len(items) - 1), max_size=3)))
    parts = [items[begin:end] for begin, end in zip([0, *cut], [*cut, len(items)], strict=True)]
    for number, part in enumerate(parts):
        form = data.draw(st.sampled_from(FORMATS))
        (home / f"{number}.txt").write_bytes(data.draw(st.sampled_from([bytes, gzip.compress]))(form(part)))
    named = data.draw(st.booleans())
    assert facts(read_snapshot(sorted(home.iterdir()) if named else [home])) == small


def test_stdin_is_read(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = io.BytesIO(json.dumps(listed(*SMALL)).encode())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(data))
    assert facts(read_snapshot([input_files.STDIN])) == small


def test_a_null_list_is_an_empty_one(tmp_path: Path) -> None:
    peers = {"apiVersion": CALICO_API, "kind": "BGPPeerList", "items": None}
    without = [each for each in SMALL if each["kind"] != "BGPPeer"]
    world = read_snapshot([written(tmp_path / "c.json", listed(*without), peers)])
    assert "BGPPeer" not in world.missing
    assert "BGPPeer" in read_snapshot([written(tmp_path / "d.json", listed(*without))]).missing


def test_a_yaml_value_keeps_its_type(tmp_path: Path) -> None:
    labels = {
        "on": "yes",
        "number": "1",
        "time": "2026-11-23T21:00:00Z",
        "empty": "",
        "text": "a\nb: - c\n--- d\n",
    }
    items = [*SMALL, node("worker-9", **labels)]
    path = tmp_path / "c.yaml"
    path.write_bytes(as_yaml_list(items))
    found = {each.name: each.labels for each in read_snapshot([path]).nodes}
    assert found["worker-9"] == {"kubernetes.io/hostname": "worker-9", **labels}


@pytest.mark.parametrize("form", [as_yaml_list, as_flow_yaml])
def test_a_truncated_yaml_list_is_refused(tmp_path: Path, form: Callable[[Sequence[Item]], bytes]) -> None:
    """Without its end it is still YAML, of fewer objects."""
    path = tmp_path / "c.yaml"
    data = form(SMALL)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(Refused, match=r"truncated|neither JSON nor YAML"):
        read_snapshot([path])


def test_yaml_aliases_are_bounded(tmp_path: Path) -> None:
    bomb = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    bomb += [f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    path = tmp_path / "c.yaml"
    path.write_text("kind: Node\nmetadata: {name: a}\n" + "\n".join(bomb))
    with pytest.raises(Refused, match="values"):
        read_snapshot([path])


# -- directories and archives ------------------------------------------------------------------------------------


def gathered(home: Path, cluster_scoped: str = "cluster") -> Path:
    """A tree like that of `oc adm must-gather`: one object a file, logs, and more."""
    root = home / "must-gather" / "registry-sha256-1"
    for each in SMALL:
        meta, plural = each["metadata"], f"{each['kind'].lower()}s"
        inside = f"namespaces/{meta['namespace']}" if "namespace" in meta else cluster_scoped
        place = root / inside / "core" / plural / f"{meta['name']}.yaml"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("---\n" + yaml.safe_dump(each))
    logs = root / "namespaces" / "shop" / "pods" / "cart-1" / "main" / "logs"
    logs.mkdir(parents=True)
    (logs / "current.log").write_text(json.dumps(node("stranger")))
    (logs / "previous.txt").write_text(json.dumps(node("stranger")))
    (root / "version").write_text("must-gather 4.16")
    (root / "timestamp.txt").write_text("2026-11-23 21:00:00")
    (root / "etcd_info.json").write_text('[{"Endpoint": "https://10.0.0.1:2379"}]')
    (root / "kubeadm.yaml").write_text("apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n")
    (root / "core" / "events.yaml").parent.mkdir()
    (root / "core" / "events.yaml").write_text(yaml.safe_dump(listed(item("Event", "e", "shop"))))
    return home / "must-gather"


def test_a_tree_is_read_and_its_other_files_are_passed_over(tmp_path: Path, small: Any) -> None:
    reading = Reading()
    assert facts(read_snapshot([gathered(tmp_path)], reading=reading)) == small
    assert str(reading) == "read 14 objects from 15 files; passed over 3 files without objects"


def packed(tree: Path, mode: str) -> bytes:
    data = io.BytesIO()
    if mode == "zip":
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(tree.rglob("*")):
                archive.write(path, path.relative_to(tree.parent))
    else:
        with tarfile.open(fileobj=data, mode=f"w:{mode}") as archive:
            archive.add(tree, tree.name)
    return data.getvalue()


@pytest.mark.parametrize("mode", ["", "gz", "zip"])
def test_an_archive_is_read_as_its_tree_whatever_its_name(tmp_path: Path, small: Any, mode: str) -> None:
    path = tmp_path / "bundle"
    path.write_bytes(packed(gathered(tmp_path), mode))
    assert facts(read_snapshot([path])) == small


def test_a_dump_that_leaves_out_kinds_says_them_by_its_names(tmp_path: Path) -> None:
    """As troubleshoot.sh did, and sonobuoy."""
    bare = [
        {key: value for key, value in each.items() if key not in ("kind", "apiVersion")} for each in SMALL
    ]
    kinds = [each["kind"] for each in SMALL]
    for place, kind in (
        ("cluster-resources/nodes.json", "Node"),
        ("cluster-resources/pods/kube-system.json", "Pod"),
        ("resources/ns/kube-system/core_v1_services.json", "Service"),
    ):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        found = [each for each, its in zip(bare, kinds, strict=True) if its == kind]
        (tmp_path / place).write_text(json.dumps(found))
    world = read_snapshot([tmp_path])
    assert (len(world.nodes), len(world.pods), world.dns is not None) == (3, 5, True)


def test_the_newest_of_an_object_counts(tmp_path: Path) -> None:
    old, new = node("worker-1", version="v1.30.0"), node("worker-1", version="v1.30.9")
    old["metadata"]["resourceVersion"], new["metadata"]["resourceVersion"] = "999", "1000"
    for name, items in (("a.json", (old, new)), ("b.json", (new, old))):
        world = read_snapshot([written(tmp_path / name, listed(*items))])
        assert [each.kubelet_version for each in world.nodes] == ["v1.30.9"]
        assert "objects that occur more than once count once, the newest of each: 1 Node" in world.assumptions


@pytest.mark.parametrize(
    "damaged", ['{"apiVersion": "v1", "kind": "List", "items": [', "apiVersion: v1\nkind: [Pod\n"]
)
def test_a_damaged_file_of_a_tree_is_refused_by_name(tmp_path: Path, damaged: str) -> None:
    """It may have held what would turn the answer."""
    tree = gathered(tmp_path)
    (tree / "pods.yaml").write_text(damaged)
    with pytest.raises(Refused, match=r"must-gather/pods\.yaml"):
        read_snapshot([tree])


def test_the_digest_is_of_the_plain_files_and_of_archives_as_they_are(tmp_path: Path) -> None:
    plain, zipped, archive = (tmp_path / name for name in ("a.json", "b.json.gz", "c.zip"))
    plain.write_bytes(WHOLE)
    zipped.write_bytes(gzip.compress(WHOLE))
    archive.write_bytes(packed(gathered(tmp_path), "zip"))
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.json").write_bytes(WHOLE)
    (tree / "b.log").write_bytes(b"not read")
    for path, data in ((plain, WHOLE), (zipped, WHOLE), (archive, archive.read_bytes()), (tree, WHOLE)):
        reading = Reading(hashes=True)
        read_snapshot([path], reading=reading)
        assert reading.sha256 == sha256(data).hexdigest(), path


# -- bounds ------------------------------------------------------------------------------------------------------


def of_members(*members: tuple[str, bytes | str]) -> bytes:
    """A tar of files (name, content) and of links (name, target)."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


def before_its_end(archive: bytes) -> bytes:
    """A tar that was cut off between two members."""
    size = len(archive.rstrip(b"\0"))
    return archive[: size + -size % 512]


WHOLE = json.dumps(listed(*SMALL)).encode()


def test_links_are_passed_over_and_names_lead_nowhere(tmp_path: Path, small: Any) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps(node("stranger")))
    tree = tmp_path / "tree"
    (tree / "in").mkdir(parents=True)
    (tree / "in" / "cluster.json").write_bytes(WHOLE)
    (tree / "link.json").symlink_to(secret)
    (tree / "loop").symlink_to(tree)
    os.mkfifo(tree / "pipe.json")
    assert facts(read_snapshot([tree])) == small
    archive = tmp_path / "a.tar"
    archive.write_bytes(of_members(("link.json", str(secret)), ("../../escaped.json", WHOLE)))
    assert facts(read_snapshot([archive])) == small
    assert not list(tmp_path.parent.glob("escaped.json"))


def test_a_link_in_a_zip_file_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link.json")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("../cluster.json", WHOLE)
    reading = Reading()
    read_snapshot([path], reading=reading)
    assert reading.files == 1


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (of_members(("a.json", WHOLE))[: len(WHOLE) // 2], "damaged"),
        (of_members(("a.json", WHOLE), ("b.json", WHOLE)).rstrip(b"\0"), "damaged"),
        (before_its_end(of_members(("a.json", WHOLE))), "damaged or cut off"),
        (gzip.compress(of_members(("a.json", WHOLE)))[:-100], "cut off"),
        (gzip.compress(of_members(("a.json", bytes(100 << 20)))), "expands to more than 200 times"),
        (of_members(("a.txt", b"nothing")), "no file in it has Kubernetes objects"),
        (b"PK\x03\x04" + bytes(100), "cut off"),
        (b"BZh91AY&SY" + bytes(100), "compressed with bzip2; use gzip"),
    ],
    ids=range(8),
)
def test_a_damaged_archive_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    with pytest.raises(Refused, match=says):
        read_snapshot([path])


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", bytes(100 << 20))
    with pytest.raises(Refused, match="expands to more than 200 times"):
        read_snapshot([path])


def test_a_damaged_or_encrypted_zip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.json", WHOLE)
    whole = path.read_bytes()
    encrypted = bytearray(whole)
    encrypted[6] |= 1
    encrypted[whole.rfind(b"PK\x01\x02") + 8] |= 1
    for data in (bytes(encrypted), whole.replace(WHOLE[40:60], bytes(20), 1)):
        path.write_bytes(data)
        with pytest.raises(Refused, match="damaged or encrypted"):
            read_snapshot([path])


@pytest.mark.parametrize("mode", ["", "zip", "tree"])
def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr(input_files, "MOST_FILES", 10)
    tree = gathered(tmp_path)
    path = tmp_path / "bundle"
    if mode != "tree":
        path.write_bytes(packed(tree, mode))
    with pytest.raises(Refused, match="more than 10 files"):
        read_snapshot([tree if mode == "tree" else path])


def test_a_directory_of_a_zip_file_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    end = b"PK\x05\x06" + bytes(8) + (1 << 30).to_bytes(4, "little") + bytes(6)
    path.write_bytes(b"PK\x03\x04" + end)
    with pytest.raises(Refused, match="more than"):
        read_snapshot([path])


def test_directories_that_are_too_deep_are_refused(tmp_path: Path) -> None:
    (tmp_path.joinpath(*["d"] * 40)).mkdir(parents=True)
    with pytest.raises(Refused, match="levels of directories"):
        read_snapshot([tmp_path])


def test_large_files_of_other_content_are_passed_over_at_once(tmp_path: Path, small: Any) -> None:
    (tmp_path / "cluster.json").write_bytes(WHOLE)
    (tmp_path / "log.json").write_bytes(b'{"level":"info"}\n' * 2_000 + b'{"level":')
    (tmp_path / "report.txt").write_bytes(b"a: b: c [\n" * 500_000)
    assert facts(read_snapshot([tmp_path])) == small


def test_too_many_bytes_or_too_much_time_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = gathered(tmp_path)
    monkeypatch.setattr(input_files, "MOST_BYTES", 1000)
    with pytest.raises(Refused, match="more than"):
        read_snapshot([tree])
    monkeypatch.setattr(input_files, "MOST_BYTES", 1 << 30)
    monkeypatch.setattr(input_files, "TREE_S", -1.0)
    with pytest.raises(Refused, match="to read"):
        read_snapshot([tree])


# -- kinds -------------------------------------------------------------------------------------------------------


def test_a_kind_counts_only_in_its_own_api_group(tmp_path: Path, small: Any) -> None:
    strangers = (
        item("Node", "worker-1", "longhorn-system", api="longhorn.io/v1beta2", spec={"disks": {}}),
        item("Node", "cluster", api="config.openshift.io/v1", spec={}),
        item("Service", "kube-dns", "kube-system", api="serving.knative.dev/v1", spec={"template": {}}),
        item("Deployment", "coredns", "kube-system", api="example.com/v1", spec={"replicas": "two"}),
        item("DaemonSet", "calico-node", "kube-system", api="apps.kruise.io/v1alpha1", spec={}),
        item("Job", "night", "shop", api="batch.volcano.sh/v1alpha1", spec={"parallelism": "all"}),
        item("BGPPeer", "leaf", api="frr.example.com/v1", spec={"peerIP": 5}),
        {"apiVersion": "longhorn.io/v1beta2", "kind": "NodeList", "items": []},
    )
    lists = [each for each in strangers if "items" in each]
    path = written(
        tmp_path / "c.json", listed(*SMALL, *(each for each in strangers if each not in lists)), *lists
    )
    assert facts(read_snapshot([path])) == small


def test_old_groups_of_a_kind_are_its_own(tmp_path: Path) -> None:
    old = (
        item("Deployment", "coredns", "kube-system", api="extensions/v1beta1", spec={"replicas": 2}),
        item("PodDisruptionBudget", "dns", "kube-system", api="policy/v1beta1", spec={"minAvailable": 1}),
    )
    world = read_snapshot([written(tmp_path / "c.json", listed(*SMALL, *old))])
    assert ("kube-system", "Deployment/coredns") in world.workloads
    assert [each.name for each in world.budgets] == ["dns"]


# -- what else a snapshot tells -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "label",
    [
        "node-role.kubernetes.io/control-plane",
        "node-role.kubernetes.io/master",
        "node-role.kubernetes.io/controlplane",
        "node.kubernetes.io/microk8s-controlplane",
    ],
)
def test_every_label_of_a_control_plane_is_one(tmp_path: Path, label: str) -> None:
    nodes = (node("first", **{label: "true"}), node("etcd", **{"node-role.kubernetes.io/etcd": "true"}))
    world = read_snapshot([written(tmp_path / "c.json", listed(*nodes))])
    assert {each.name: each.control_plane for each in world.nodes} == {"etcd": False, "first": True}


def test_a_node_with_a_static_api_server_is_of_the_control_plane(tmp_path: Path) -> None:
    items = (
        node("first"),
        node("second"),
        pod("kube-apiserver-first", "first", "kube-system", "Node/first"),
        pod("kube-apiserver-second", "second", "tenant-a", "ReplicaSet/kube-apiserver-second"),
    )
    world = read_snapshot([written(tmp_path / "c.json", listed(*items))])
    assert {each.name: each.control_plane for each in world.nodes} == {"first": True, "second": False}
    assert "first: assumed to be of the control plane" in " ".join(world.assumptions)


def test_a_forgotten_option_for_all_namespaces_is_doubted(tmp_path: Path) -> None:
    items = (node("cp-1"), node("worker-1"), pod("cart-1", "worker-1"), pod("cart-2", "worker-1"))
    world = read_snapshot([written(tmp_path / "c.json", listed(*items))])
    said = "all Pods are of namespace shop: was -A left out?"
    assert said in world.assumptions
    assert [each.why for each in world.doubts] == [said]


def test_a_dump_of_two_namespaces_is_doubted(tmp_path: Path) -> None:
    """`kubectl cluster-info dump` takes kube-system and the current namespace, without --all-namespaces."""
    pods = [each for each in SMALL if each["kind"] == "Pod"]
    lists = [
        {"kind": "NodeList", "apiVersion": "v1", "items": [each for each in SMALL if each["kind"] == "Node"]}
    ]
    for found in (pods, [pod("cart-1", "worker-1")]):
        lists.append({"kind": "ReplicationControllerList", "apiVersion": "v1", "items": None})
        lists.append({"kind": "PodList", "apiVersion": "v1", "items": found})
    world = read_snapshot([written(tmp_path / "c.json", *lists, listed(KUBE_DNS))])
    assert "was --all-namespaces left out?" in " ".join(map(str, world.doubts))


def test_a_must_gather_leaves_out_the_pods_of_users(tmp_path: Path) -> None:
    """So nothing is certain until they are added."""
    tree = gathered(tmp_path, "cluster-scoped-resources")
    doubt = "must-gather has no Pods of namespace shop: add `kubectl get pods -A -o json`"
    assert [each.why for each in read_snapshot([tree]).doubts] == [doubt]
    added = written(tmp_path / "pods.json", listed(pod("cart-1", "worker-1")))
    assert read_snapshot([tree, added]).doubts == ()


def test_kinds_that_no_pod_belongs_to_are_said_to_matter_to_none(tmp_path: Path) -> None:
    world = read_snapshot([written(tmp_path / "c.json", listed(*SMALL))])
    assert "the snapshot contains no StatefulSet, and no Pod that belongs to one" in world.assumptions
    assumed = "Deployment, ReplicaSet, DaemonSet, PodDisruptionBudget: the cluster is assumed to have none"
    assert f"the snapshot contains no {assumed}" in world.assumptions
    assert {"StatefulSet", "ReplicaSet", "DaemonSet", "Deployment", "PodDisruptionBudget"} <= world.missing
