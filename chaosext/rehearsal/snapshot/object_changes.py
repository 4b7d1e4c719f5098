"""Changes of the objects in a snapshot, made before they are read: merged, added and removed, with what follows.

A patch is a strategic or JSON merge patch, or a manifest as for `kubectl apply`. What the cluster's controllers do
with it follows here for Pods: a new template reaches them, replicas come and go, and those of a removed workload or
node go, too. A Pod that has to be scheduled again has no node afterwards.

Source: Kubernetes' documentation, "Update API Objects in Place Using kubectl patch"; merge keys from k8s.io/api
core/v1 (patchMergeKey); plugin/pkg/admission/defaulttolerationseconds.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from chaosext.model.errors import MALFORMED, Refused, did_you_mean
from chaosext.rehearsal.snapshot import documents as doc
from chaosext.rehearsal.snapshot.snapshot_files import group_of, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from chaosext.rehearsal.snapshot.snapshot_files import Listed

Body = dict[str, Any]
Key = tuple[str, str, str]
"""chaosext's name of a kind, namespace, name."""

SOURCE = "--change"

FIX = "write e.g. 'Node/worker-1: {metadata: {labels: {rack: null}}}', a manifest, or 'drain: worker-1'"

MERGE_KEYS: Mapping[str, str] = {
    "containers": "name",
    "initContainers": "name",
    "taints": "key",
    "webhooks": "name",
}
"""Lists whose elements are merged by a key; every other list is replaced."""

DIRECTIVE, IGNORED = "$patch", ("$setElementOrder/", "$retainKeys")

WITH_TEMPLATE = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")
SCALED = ("Deployment", "ReplicaSet", "StatefulSet")

NO_NODE_OF_ITS_OWN = ("ReplicaSet", "StatefulSet", "Deployment", "Job", "ReplicationController")
"""Owners that make a new Pod, on any node, for one that is evicted."""

PLACING = frozenset({"affinity", "nodeSelector", "topologySpreadConstraints", "nodeName"})
"""Fields of a Pod's spec that decide on its node: with others, its Pods are taken to stay where they are."""

LOST_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
"""Taints that the API server makes every Pod tolerate for a while, unless it says something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """What happens to one object. `body` None removes it; `may_add`: it is a manifest, which may be new."""

    kind: str
    namespace: str
    name: str
    body: Body | None
    may_add: bool = False

    @property
    def subject(self) -> str:
        return subject_of((self.kind, self.namespace, self.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Nodes that are cordoned and drained, as names or a label selector."""

    nodes: str

    @property
    def subject(self) -> str:
        return f"drain of {self.nodes}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change that may be the cause of a difference. `said`: what it does, in a few words.

    `is_read`: a prediction reads what it changes; without that, its effect is unknown.
    """

    subject: str
    said: str
    apply: Callable[[Listed], Listed]
    is_read: bool = True

    def __str__(self) -> str:
        return f"{self.subject} ({self.said})" if self.said else self.subject


def subject_of(key: Key) -> str:
    """Return the name of an object, as "Node/worker-1" or "Pod/shop/cart-0"."""
    return "/".join(part for part in key if part)


# -- reading changes ---------------------------------------------------------------------------------------------


def changes_in(documents: Iterable[Any], where: str) -> Iterator[Patch | Drain]:
    """Yield the changes that documents describe. Raises `Refused`, naming `where`, for anything else."""
    for found in documents:
        if not isinstance(found, dict):
            raise Refused(f"{where}: a change is a mapping, not {found!r:.60}", FIX)
        if isinstance(found.get("items"), list):
            yield from changes_in(found["items"], where)
        elif "kind" in found:
            yield _of_manifest(found, where)
        else:
            for name, body in found.items():
                yield _by_name(str(name), body, where)


def _of_manifest(found: Body, where: str) -> Patch:
    meta, kind, version = found.get("metadata"), found.get("kind"), found.get("apiVersion", "")
    name = meta.get("name") if isinstance(meta, dict) else None
    if not (isinstance(kind, str) and isinstance(name, str) and name and isinstance(version, str)):
        raise Refused(f"{where}: {kind} has no metadata.name", FIX)
    namespace = str(meta.get("namespace") or "") if isinstance(meta, dict) else ""
    is_removed = found.get(DIRECTIVE) == "delete"
    body = None if is_removed else found
    return Patch(
        kind=kind_of(kind, version), namespace=namespace, name=name, body=body, may_add=bool(version)
    )


def _by_name(name: str, body: Any, where: str) -> Patch | Drain:
    """Return the change that a key and its value are: `Kind/name`, `Kind/namespace/name` or `drain`."""
    if name == "drain":
        nodes = ",".join(map(str, body)) if isinstance(body, list) else str(body or "")
        if not nodes.strip():
            raise Refused(f"{where}: drain names no node", "write 'drain: worker-1', or a label selector")
        return Drain(nodes=nodes)
    parts = name.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise Refused(f"{where}: {name!r} is neither Kind/name, Kind/namespace/name nor drain", FIX)
    if body is not None and not isinstance(body, dict):
        raise Refused(f"{where}: {name}: a patch is a mapping, or null to remove the object", FIX)
    is_removed = body is None or body.get(DIRECTIVE) == "delete"
    namespace = parts[1] if len(parts) == 3 else ""
    return Patch(kind=parts[0], namespace=namespace, name=parts[-1], body=None if is_removed else body)


# -- merging -----------------------------------------------------------------------------------------------------


def merged(value: Any, patch: Any) -> Any:
    """Return `value` with a strategic or JSON merge patch applied; null removes a field.

    Raises `ValueError` for a directive that is not supported.
    """
    if not isinstance(patch, dict):
        return patch
    is_new = patch.get(DIRECTIVE) == "replace"
    found: Body = dict(value) if isinstance(value, dict) and not is_new else {}
    for name, wanted in patch.items():
        if name.startswith("$"):
            _require_known(name, wanted)
        elif wanted is None:
            found.pop(name, None)
        elif name in MERGE_KEYS and isinstance(wanted, list) and isinstance(found.get(name), list):
            found[name] = _merged_list(found[name], wanted, MERGE_KEYS[name])
        else:
            found[name] = merged(found.get(name), wanted)
    return found


def _require_known(name: str, wanted: Any) -> None:
    if name.startswith(IGNORED) or (name == DIRECTIVE and wanted in ("replace", "merge")):
        return
    raise ValueError(f"{name}: {wanted!r:.40} is not supported; use null, or a whole list")


def _merged_list(before: list[Any], wanted: list[Any], key: str) -> list[Any]:
    """Merge elements with the same key; new ones come last."""
    if {DIRECTIVE: "replace"} in wanted:
        return [each for each in wanted if each != {DIRECTIVE: "replace"}]
    found = {_value(each, key): each for each in before}
    for each in wanted:
        name = _value(each, key)
        if isinstance(each, dict) and each.get(DIRECTIVE) == "delete":
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), each)
    return list(found.values())


def _value(element: Any, key: str) -> Any:
    if not isinstance(element, dict) or not isinstance(element.get(key), str):
        raise ValueError(f"an element of a list has no {key}: {element!r:.60}")
    return element[key]


# -- the objects of a snapshot -----------------------------------------------------------------------------------

_head = msgspec.json.Decoder(doc.Head).decode


def key_of(kind: str, raw: bytes | memoryview) -> Key:
    """Return the key of an item of this kind."""
    meta = _head(raw).metadata
    return kind, meta.namespace, meta.name


def with_objects(listed: Listed, objects: Mapping[Key, bytes | memoryview | None]) -> Listed:
    """Return the snapshot with these objects in place of those with the same key; None removes one.

    The snapshot then proves that it covers their kinds.
    """
    kinds: dict[str, dict[Key, bytes | memoryview | None]] = defaultdict(dict)
    for key, raw in objects.items():
        kinds[key[0]][key] = raw
    items = defaultdict(list, listed.items)
    others = dict(listed.others)
    for kind, changed in kinds.items():
        before = items[kind]
        found = {key_of(kind, raw): (file, raw) for file, raw in before}
        for key, raw in changed.items():
            file, _ = found.pop(key, (SOURCE, b""))
            if raw is not None:
                found[key] = file, raw
        items[kind] = [found[key] for key in sorted(found)]
        for group in _foreign_groups(before):
            others.pop(group, None)
        others |= _foreign_groups(items[kind])
    declared = listed.declared | set(kinds)
    return replace(listed, items=items, declared=declared, others=dict(sorted(others.items())))


def _foreign_groups(items: Iterable[tuple[str, bytes | memoryview]]) -> dict[tuple[str, str], str]:
    """Return (API group, kind) -> its first object, for groups that are not Kubernetes' own."""
    found: dict[tuple[str, str], str] = {}
    for _, raw in items:
        head = _head(raw)
        group = group_of(head.apiVersion)
        if "." in group and not group.endswith("k8s.io"):
            found.setdefault((group, head.kind), f"{head.kind}/{head.metadata.name}")
    return found


class Objects:
    """The objects of a snapshot while changes are made to them. `default_s`: default seconds of tolerations."""

    def __init__(self, listed: Listed, default_s: int = 300) -> None:
        self._listed, self._default_s = listed, default_s
        self._changed: dict[Key, Body | None] = {}
        self._known: dict[str, dict[Key, bytes | memoryview]] = {}
        self._read: dict[Key, doc.Pod] | None = None

    @property
    def listed(self) -> Listed:
        """The snapshot with all changes."""
        raw = {
            key: None if body is None else msgspec.json.encode(body) for key, body in self._changed.items()
        }
        return with_objects(self._listed, raw) if raw else self._listed

    @property
    def homeless(self) -> tuple[Key, ...]:
        """The changed Pods that are to be scheduled, by name."""
        changed = self._changed.items()
        return tuple(sorted(key for key, body in changed if key[0] == "Pod" and body and not _node(body)))

    def get(self, key: Key) -> Body | None:
        """Return an object as plain JSON, None if there is none."""
        if key in self._changed:
            return self._changed[key]
        raw = self._of_kind(key[0]).get(key)
        return None if raw is None else msgspec.json.decode(raw)

    def put(self, key: Key, body: Body | None) -> None:
        self._changed[key] = body

    def _of_kind(self, kind: str) -> Mapping[Key, bytes | memoryview]:
        if kind not in self._known:
            items = self._listed.items.get(kind, ())
            self._known[kind] = {key_of(kind, raw): raw for _, raw in items}
        return self._known[kind]

    def _keys(self, kind: str) -> list[Key]:
        new = (key for key in self._changed if key[0] == kind)
        every = dict.fromkeys((*self._of_kind(kind), *new))
        return [key for key in every if self._changed.get(key, ...) is not None]

    # -- patches --

    def apply(self, patch: Patch) -> None:
        """Make a change, with what follows from it. Raises `Refused` if it does not fit the snapshot."""
        try:
            self._apply(patch)
        except (*MALFORMED, msgspec.MsgspecError) as error:
            raise Refused(f"{SOURCE}: {patch.subject}: {error!s:.200}", FIX) from None

    def _apply(self, patch: Patch) -> None:
        key = self.key(patch)
        before = self.get(key)
        if patch.body is None:
            self._remove(key)
            return
        after = merged(before or {}, patch.body)
        after["metadata"] = {**(after.get("metadata") or {}), "name": key[2]}
        self.put(key, after if before is not None else {"kind": patch.kind, **after})
        kind = key[0]
        if kind == "Node" and before is None:
            self._equip(key[2])
        if kind in WITH_TEMPLATE:
            self._roll_out(key, patch.body, after)
        if kind in SCALED:
            self._scale(key, before, after)
        elif kind == "DaemonSet" and before is None:
            said = f"{SOURCE}: {patch.subject} is new, and its Pods are not in the snapshot"
            raise Refused(said, "add its Pods, too; for NodeLocal DNSCache use --with nodelocal-dns")

    def key(self, patch: Patch) -> Key:
        """Return the key of the object that is meant; without a namespace, the only one of that name."""
        kind = patch.kind if patch.may_add else self._kind(patch.kind)
        known = self._keys(kind)
        exact = (kind, patch.namespace, patch.name)
        if exact in known or patch.may_add:
            return exact
        found = [key for key in known if key[2] == patch.name and not patch.namespace]
        if len(found) == 1:
            return found[0]
        if found:
            spaces = ", ".join(sorted(key[1] for key in found))
            raise Refused(
                f"{SOURCE}: {patch.subject} is in several namespaces: {spaces}", "write Kind/namespace/name"
            )
        hint = did_you_mean(patch.subject, map(subject_of, known))
        raise Refused(
            f"{SOURCE}: the snapshot has no {patch.subject}",
            f"{hint:.200}; to add an object, write a manifest with apiVersion",
        )

    def _kind(self, name: str) -> str:
        """Return the kind that is meant, in any case, also as a plural. Raises `Refused` if the snapshot has none."""
        known = {kind.lower(): kind for kind, items in self._listed.items.items() if items}
        lower = name.lower()
        found = known.get(lower) or known.get(lower.removesuffix("s")) or known.get(lower.removesuffix("es"))
        if not found:
            raise Refused(f"{SOURCE}: the snapshot has no {name}", did_you_mean(name, known.values()))
        return found

    def _remove(self, key: Key) -> None:
        if key[0] == "Node":
            self.evict(key[2], is_gone=True)
            self.put(("CalicoNode", "", key[2]), None)
        for pod in self._pods_of(key) if key[0] in WITH_TEMPLATE else ():
            self.put(pod, None)
        self.put(key, None)

    # -- Pods --

    def evict(self, node: str, *, is_gone: bool = False) -> None:
        """Remove a node's Pods; those that a controller re-creates elsewhere lose their node instead.

        A DaemonSet's Pods stay until the node is gone.
        """
        for key, pod in self._pods():
            if pod.spec.nodeName == node and pod.status.phase not in ("Succeeded", "Failed"):
                owner = pod.metadata.owner.partition("/")[0]
                body = self.get(key)
                is_moved = body is not None and owner in NO_NODE_OF_ITS_OWN
                if is_gone or owner not in ("DaemonSet", "Node"):
                    self.put(key, _unbound(body) if is_moved and body else None)

    def _equip(self, node: str) -> None:
        """Give a new node a Pod of each DaemonSet that runs on every other node."""
        others = {key[2] for key in self._keys("Node")} - {node}
        on: dict[tuple[str, str], dict[str, Key]] = defaultdict(dict)
        for key, pod in self._pods():
            if pod.metadata.owner.startswith("DaemonSet/"):
                on[key[1], pod.metadata.owner][pod.spec.nodeName] = key
        for (namespace, owner), pods in sorted(on.items()):
            if others <= pods.keys():
                name = f"{owner.partition('/')[2]}-{node}"
                like = self.get(min(pods.values())) or {}
                own = {"metadata": {"name": name, "uid": None}, "spec": {"nodeName": node}}
                self.put(("Pod", namespace, name), merged(like, own))

    def _pods(self) -> list[tuple[Key, doc.Pod]]:
        if self._read is None:
            pods = self._listed.of("Pod", doc.Pod)
            self._read = {("Pod", pod.metadata.namespace, pod.metadata.name): pod for pod in pods}
        changed = {key: body for key, body in self._changed.items() if key[0] == "Pod"}
        kept = [(key, pod) for key, pod in self._read.items() if key not in changed]
        return kept + [(key, msgspec.convert(body, doc.Pod)) for key, body in changed.items() if body]

    def _pods_of(self, key: Key) -> list[Key]:
        """Return the Pods of a workload, a Deployment's through its ReplicaSets."""
        kind, namespace, name = key
        owners = {f"{kind}/{name}"}
        if kind == "Deployment":
            sets = ((each, self.get(each)) for each in self._keys("ReplicaSet") if each[1] == namespace)
            owners |= {f"ReplicaSet/{each[2]}" for each, body in sets if _owner(body) == f"Deployment/{name}"}
        return [
            pod
            for pod, found in self._pods()
            if pod[1] == namespace
            and found.metadata.owner in owners
            and found.status.phase not in ("Succeeded", "Failed")
        ]

    def _roll_out(self, key: Key, patch: Body, after: Body) -> None:
        """Give the Pods of a workload what a patch says of their template."""
        template = (patch.get("spec") or {}).get("template") or {}
        if not template:
            return
        meta = {
            name: value
            for name, value in (template.get("metadata") or {}).items()
            if name in ("labels", "annotations")
        }
        wanted = {"metadata": meta, "spec": template.get("spec") or {}}
        for pod in self._pods_of(key):
            body = merged(self.get(pod), wanted)
            if "tolerations" in wanted["spec"]:
                self._tolerate(body, every=key[0] == "DaemonSet", before=self.get(pod) or {})
            is_moved = key[0] in SCALED and not PLACING.isdisjoint(wanted["spec"])
            self.put(pod, _unbound(body) if is_moved else body)

    def _tolerate(self, pod: Body, *, every: bool, before: Body) -> None:
        """Add the tolerations that the API server adds; `every`: those that a DaemonSet's Pods have."""
        own = list(pod["spec"].get("tolerations") or ())
        if every:
            added = (before.get("spec") or {}).get("tolerations") or ()
            own += [each for each in added if str(each.get("key", "")).startswith("node.kubernetes.io/")]
        for taint in LOST_TAINTS:
            if not any(each.get("key", taint) == taint and _is_of_execution(each) for each in own):
                own.append(
                    {
                        "key": taint,
                        "operator": "Exists",
                        "effect": "NoExecute",
                        "tolerationSeconds": self._default_s,
                    }
                )
        pod["spec"] = {**pod["spec"], "tolerations": own}

    def _scale(self, key: Key, before: Body | None, after: Body) -> None:
        """Add or remove Pods so that there are as many as `spec.replicas` says, if that changed."""
        wanted = _replicas(after)
        if before is not None and _replicas(before) == wanted:
            return
        pods = sorted(self._pods_of(key), key=lambda pod: (len(pod[2]), pod[2]))
        for pod in pods[wanted:]:
            self.put(pod, None)
        if wanted <= len(pods):
            return
        like = self._like(key, after, pods)
        taken = {pod[2] for pod in pods}
        free = (name for number in range(wanted + len(pods)) if (name := f"{key[2]}-{number}") not in taken)
        for name in [next(free) for _ in range(wanted - len(pods))]:
            body = merged(_unbound(like), {"metadata": {"name": name, "uid": None, "resourceVersion": None}})
            self.put(("Pod", key[1], name), body)

    def _like(self, key: Key, after: Body, pods: Sequence[Key]) -> Body:
        """Return a Pod that others of the workload are like."""
        if pods:
            return self.get(pods[0]) or {}
        template = (after.get("spec") or {}).get("template")
        if not template:
            said = f"{SOURCE}: {subject_of(key)} has no Pod and no template in the snapshot"
            raise Refused(said, "set spec.template, too")
        owner = {"kind": key[0], "name": key[2], "controller": True}
        meta = {"namespace": key[1], "name": key[2], "labels": (template.get("metadata") or {}).get("labels")}
        pod = {"kind": "Pod", "metadata": {**meta, "ownerReferences": [owner]}}
        pod["spec"] = dict(template.get("spec") or {})
        self._tolerate(pod, every=False, before={})
        return pod


def _replicas(body: Body) -> int:
    """Return the replicas of a workload. Raises `Refused` for a value that is not a whole number."""
    said = (body.get("spec") or {}).get("replicas")
    if said is not None and (not isinstance(said, int) or isinstance(said, bool) or not 0 <= said <= 10_000):
        raise Refused(f"{SOURCE}: spec.replicas is {said!r:.40}", "set it to a whole number up to 10,000")
    return 1 if said is None else said


def _unbound(pod: Body) -> Body:
    """Return a Pod that is not on any node yet, as Ready as it was; one without a status is Ready."""
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    kept = merged(pod, {"spec": {"nodeName": None}, "metadata": {"deletionTimestamp": None}})
    return {**kept, "status": kept.get("status") or ready}


def _node(pod: Body) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def _owner(body: Body | None) -> str:
    owners = ((body or {}).get("metadata") or {}).get("ownerReferences") or ()
    return next((f"{each['kind']}/{each['name']}" for each in owners if each.get("controller")), "")


def _is_of_execution(toleration: Mapping[str, Any]) -> bool:
    return toleration.get("effect", "") in ("", "NoExecute")


# -- in words ----------------------------------------------------------------------------------------------------

MOST_FIELDS = 2
"""Fields that a line names; of the rest it says the number."""


def said_of(before: Any, after: Any) -> str:
    """Say in a few words how an object changed: added, removed, or which fields."""
    if before is None or after is None:
        return "removed" if after is None else "added"
    fields = list(_fields(before, after, ""))
    more = f" and {len(fields) - MOST_FIELDS} more" if len(fields) > MOST_FIELDS else ""
    return f"{', '.join(fields[:MOST_FIELDS])}{more}"


def _fields(before: Any, after: Any, path: str) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            yield from _fields(before.get(name), after.get(name), f"{path}.{name}" if path else name)
        return
    if after is None:
        yield f"{path} removed"
    elif before is None and _is_plain(after):
        yield f"{path} set to {after!s:.40}"
    elif before is None:
        yield f"{path} added"
    elif _is_plain(before) and _is_plain(after):
        yield f"{path} {before!s:.40} -> {after!s:.40}"
    else:
        yield f"{path} changed"


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)
