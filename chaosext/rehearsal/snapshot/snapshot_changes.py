"""What changed from one snapshot to another: the objects that a prediction reads, each with its fields that it reads.

Objects that only ever change together count as one: a Pod with its workload, or with a node that came or went. What
changes all the time and means nothing is left out: resourceVersions, Leases, times, conditions other than Ready.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from chaosext.model.errors import MALFORMED, Refused
from chaosext.rehearsal.snapshot import documents as doc
from chaosext.rehearsal.snapshot.networks.overlays import ANTREA_CONFIG
from chaosext.rehearsal.snapshot.object_changes import Change, key_of, said_of, subject_of, with_objects
from chaosext.rehearsal.snapshot.prune import CONFIGS, WANTED, least
from chaosext.rehearsal.snapshot.reader import WORKLOADS
from chaosext.rehearsal.snapshot.snapshot_files import HOW_TO

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.rehearsal.snapshot.object_changes import Key
    from chaosext.rehearsal.snapshot.snapshot_files import Listed

    Raw = bytes | memoryview
    Items = Mapping[Key, Raw]

UNREAD = frozenset(
    {"Lease", "Endpoints", "EndpointSlice", "ServiceAccount", "CronJob", "PersistentVolume"}
    | {"PersistentVolumeClaim", "StorageClass", "Ingress", "Role", "RoleBinding", "ClusterRole"}
    | {"ClusterRoleBinding", "NetworkPolicy", "HorizontalPodAutoscaler", "CertificateSigningRequest"}
)
"""Kinds of Kubernetes that no prediction reads; most of them change often."""

POLICY = "NetworkPolicy"
"""Part of the names of kinds that block traffic, of Kubernetes and of networks; no prediction reads them."""

_KINDS = {each.kind: each for each in WANTED if each.kind != "ConfigMap"}


def snapshot_changes(before: Listed, after: Listed) -> tuple[Change, ...]:
    """Return the changes that together make `after` of `before`, as far as a prediction reads them.

    Raises `Refused` for an object of another shape than its kind's.
    """
    groups: dict[str, dict[Key, tuple[Any, Any, Raw | None]]] = defaultdict(dict)
    found: list[Change] = []
    subjects = _Subjects(before, after)
    for kind in sorted({*before.items, *after.items, *before.declared, *after.declared}):
        if not _is_read(kind):
            continue
        if before.has(kind) is not after.has(kind):
            found.append(_covered(kind, before, after))
            continue
        for key, one, other, raw in _differing(kind, _items(before, kind), _items(after, kind)):
            groups[subjects.of(key)][key] = one, other, raw
    for subject, objects in sorted(groups.items()):
        raws = {key: raw for key, (_, _, raw) in objects.items()}
        found.append(Change(subject=subject, said=_words(objects), apply=partial(with_objects, objects=raws)))
    return (*found, *_about(before, after))


def is_read(before: Listed, after: Listed) -> bool:
    """Whether a prediction reads anything that differs between two states of one snapshot."""
    kinds = [kind for kind in after.items if after.items[kind] is not before.items.get(kind)]
    return before.others != after.others or any(
        True
        for kind in kinds
        if _is_read(kind)
        for _ in _differing(kind, _items(before, kind), _items(after, kind))
    )


def _is_read(kind: str) -> bool:
    return kind not in UNREAD and POLICY not in kind


def _items(listed: Listed, kind: str) -> Items:
    return {key_of(kind, raw): raw for _, raw in listed.items.get(kind, ())}


def _differing(kind: str, before: Items, after: Items) -> Iterator[tuple[Key, Any, Any, Raw | None]]:
    """Yield each object of which something differs that is read: in both snapshots, None if it is not there."""
    for key in sorted({*before, *after}):
        one, other = before.get(key), after.get(key)
        if one == other or (kind == "ConfigMap" and not key[2].startswith((*CONFIGS, ANTREA_CONFIG))):
            continue
        read = _read(kind, one), _read(kind, other)
        if read[0] != read[1]:
            yield key, *read, other


def _read(kind: str, raw: Raw | None) -> Any:
    """Return what a prediction reads of an object. Raises `Refused` if it has another shape than its kind's."""
    if raw is None:
        return None
    item = msgspec.json.decode(raw)
    try:
        if kind in _KINDS:
            return _without_noise(least(_KINDS[kind], item))
    except MALFORMED as error:
        raise Refused(f"{subject_of(key_of(kind, raw))}: {error}", HOW_TO) from None
    return {name: value for name, value in item.items() if name not in ("metadata", "status")}


def _without_noise(item: dict[str, Any]) -> dict[str, Any]:
    """Leave out the conditions that nothing reads, and when a Pod is deleted."""
    status, meta = item.get("status", {}), item["metadata"]
    if "conditions" in status:
        status["conditions"] = [each for each in status["conditions"] if each.get("type") == "Ready"]
    if "deletionTimestamp" in meta:
        meta["deletionTimestamp"] = "set"
    return item


class _Subjects:
    """Names of the changes that objects belong to."""

    def __init__(self, before: Listed, after: Listed) -> None:
        one, other = (set(_items(each, "Node")) for each in (before, after))
        self._moved = {name for _, _, name in one ^ other}
        self._above: dict[tuple[str, str], str] = {}
        self._pods: dict[Key, doc.Pod] = {}
        for listed in (before, after):
            for each in listed.of("ReplicaSet", doc.Workload):
                self._above[each.metadata.namespace, f"ReplicaSet/{each.metadata.name}"] = each.metadata.owner
            for pod in listed.of("Pod", doc.Pod):
                self._pods["Pod", pod.metadata.namespace, pod.metadata.name] = pod

    def of(self, key: Key) -> str:
        kind, namespace, name = key
        owner = ""
        if kind == "Pod":
            pod = self._pods[key]
            if pod.spec.nodeName in self._moved:
                return f"Node/{pod.spec.nodeName}"
            owner = pod.metadata.owner
            owner = self._above.get((namespace, owner)) or owner
        elif kind == "ReplicaSet":
            owner = self._above.get((namespace, f"ReplicaSet/{name}"), "")
        elif kind == "CalicoNode":
            return f"Node/{name}"
        above, _, called = owner.partition("/")
        return f"{above}/{namespace}/{called}" if above in WORKLOADS else subject_of(key)


def _words(objects: Mapping[Key, tuple[Any, Any, Raw | None]]) -> str:
    """Say what changed: the fields of a single object, else how many came, went and changed."""
    if len(objects) == 1:
        ((one, other, _),) = objects.values()
        return said_of(one, other)
    values = list(objects.values())
    counts = {
        "added": sum(one is None for one, _, _ in values),
        "removed": sum(other is None for _, other, _ in values),
        "changed": sum(one is not None and other is not None for one, other, _ in values),
    }
    kinds = {kind for kind, _, _ in objects}
    what = f"{min(kinds)}s" if len(kinds) == 1 else "objects"
    return f"{what}: " + ", ".join(f"{count} {word}" for word, count in counts.items() if count)


# -- what the snapshots cover ------------------------------------------------------------------------------------


FEW = 3
"""Up to so many objects of a kind that one snapshot lacks are named."""


def _covered(kind: str, before: Listed, after: Listed) -> Change:
    """Return the change that one snapshot covers a kind and the other has none of it, and does not say so."""
    which, known = ("second", after) if after.has(kind) else ("first", before)
    names = [subject_of(key) for key in _items(known, kind)]
    subject = ", ".join(names) if 0 < len(names) <= FEW else f"kind {kind}"
    return Change(
        subject=subject,
        said=f"only in the {which} snapshot",
        apply=partial(_with_kind, kind=kind, other=after),
    )


def _with_kind(listed: Listed, kind: str, other: Listed) -> Listed:
    items = defaultdict(list, listed.items) | {kind: list(other.items.get(kind, ()))}
    plain = kind.partition(".")[0]
    others = {key: first for key, first in listed.others.items() if key[1] != plain}
    others |= {key: first for key, first in other.others.items() if key[1] == plain}
    declared = (listed.declared - {kind}) | ({kind} & other.declared)
    return replace(
        listed, items=defaultdict(list, items), declared=declared, others=dict(sorted(others.items()))
    )


def _about(before: Listed, after: Listed) -> Iterator[Change]:
    """Yield the changes of what the snapshots say about themselves."""
    if before.version != after.version and before.version and after.version:
        said = f"{before.version} -> {after.version}"
        yield Change(subject="Kubernetes", said=said, apply=lambda to: replace(to, version=after.version))
    if before.missed != after.missed or before.is_gathered is not after.is_gathered:
        missed = ", ".join(sorted(before.missed.keys() ^ after.missed.keys())) or "other namespaces"
        yield Change(
            subject="the snapshot",
            said=f"not read in one of them: {missed}",
            apply=lambda to: replace(to, missed=after.missed, is_gathered=after.is_gathered),
        )
