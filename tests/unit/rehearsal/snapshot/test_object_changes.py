"""Merging patches into objects, and objects into a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_snapshots import leafed, written

from chaosext.model.errors import Refused
from chaosext.rehearsal.snapshot.object_changes import (
    Drain,
    Objects,
    Patch,
    changes_in,
    merged,
    said_of,
    with_objects,
)
from chaosext.rehearsal.snapshot.snapshot_files import plain, read_files

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.rehearsal.snapshot.snapshot_files import Listed

NAMES = st.sampled_from(["a", "b", "spec", "labels"])
VALUES = st.recursive(
    st.integers() | st.text(max_size=3) | st.booleans(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


@pytest.fixture
def listed(tmp_path: Path) -> Listed:
    return read_files([written(leafed(), tmp_path / "snapshot.json")])


def only(*documents: Any) -> Patch | Drain:
    (found,) = changes_in(documents, "--change")
    return found


@given(OBJECTS)
def test_an_empty_patch_changes_nothing(value: dict[str, Any]):
    assert merged(value, {}) == value


@given(OBJECTS, OBJECTS)
def test_a_patch_applied_twice_is_as_applied_once(value: dict[str, Any], patch: dict[str, Any]):
    once = merged(value, patch)
    assert merged(once, patch) == once


@given(OBJECTS)
def test_every_field_set_to_null_is_removed(value: dict[str, Any]):
    assert merged(value, dict.fromkeys(value)) == {}


def test_merge_patches_are_as_in_rfc_7386():
    assert merged({"a": "b", "c": {"d": "e", "f": "g"}}, {"a": "z", "c": {"f": None}}) == {
        "a": "z",
        "c": {"d": "e"},
    }
    assert merged({"a": [1, 2]}, {"a": [3]}) == {"a": [3]}
    assert merged({}, {"a": {"b": {"c": None}}}) == {"a": {"b": {}}}


def test_lists_with_a_merge_key_are_merged_by_it():
    taints = [{"key": "a", "effect": "NoSchedule"}, {"key": "b", "effect": "NoExecute"}]
    added = merged({"taints": taints}, {"taints": [{"key": "c"}, {"key": "a", "value": "x"}]})
    assert [each["key"] for each in added["taints"]] == ["a", "b", "c"]
    assert added["taints"][0] == {"key": "a", "effect": "NoSchedule", "value": "x"}
    removed = merged({"taints": taints}, {"taints": [{"key": "a", "$patch": "delete"}]})
    assert removed == {"taints": taints[1:]}
    assert merged({"taints": taints}, {"taints": [{"$patch": "replace"}, {"key": "z"}]}) == {
        "taints": [{"key": "z"}]
    }


def test_an_unknown_directive_is_an_error():
    with pytest.raises(ValueError, match="not supported"):
        merged({}, {"$patch": "delete"})


def test_the_forms_of_a_change():
    assert only({"Node/worker-1": {"spec": {}}}) == Patch(
        kind="Node", namespace="", name="worker-1", body={"spec": {}}
    )
    assert only({"Pod/shop/x": None}) == Patch(kind="Pod", namespace="shop", name="x", body=None)
    assert only({"drain": ["a", "b"]}) == Drain(nodes="a,b")
    manifest = {"apiVersion": "projectcalico.org/v3", "kind": "Node", "metadata": {"name": "x"}}
    found = only({"items": [manifest]})
    assert isinstance(found, Patch)
    assert (found.kind, found.may_add) == ("CalicoNode", True)
    removed = only({"kind": "Node", "metadata": {"name": "x"}, "$patch": "delete"})
    assert isinstance(removed, Patch)
    assert removed.body is None


@pytest.mark.parametrize("kind", ["node", "Nodes", "NODE"])
def test_a_kind_is_found_in_any_case(listed: Listed, kind: str):
    objects = Objects(listed)
    objects.apply(only({f"{kind}/worker-1": {"metadata": {"labels": {"rack": None}}}}))
    body = objects.get(("Node", "", "worker-1"))
    assert body is not None
    assert "rack" not in body["metadata"]["labels"]


def test_a_name_in_two_namespaces_has_to_be_told(listed: Listed):
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "kube-dns"}}
    objects = Objects(listed)
    objects.apply(only(service))
    with pytest.raises(Refused, match="several namespaces: kube-system, shop"):
        objects.apply(only({"Service/kube-dns": None}))


def test_a_removed_object_still_proves_that_its_kind_was_asked_for(listed: Listed):
    found = with_objects(listed, {("BGPPeer", "", "leaf"): None})
    assert found.items["BGPPeer"] == []
    assert found.has("BGPPeer")
    assert listed.items["BGPPeer"], "the snapshot itself does not change"


def test_objects_of_other_groups_count_as_signs_of_their_projects(listed: Listed):
    manifest = {"apiVersion": "cilium.io/v2", "kind": "CiliumNode", "metadata": {"name": "x"}}
    objects = Objects(listed)
    objects.apply(only(manifest))
    assert objects.listed.others["cilium.io", "CiliumNode"] == "CiliumNode/x"
    objects.apply(only({"apiVersion": "cilium.io/v2", "$patch": "delete", **manifest}))
    assert ("cilium.io", "CiliumNode") not in objects.listed.others


def test_a_patch_changes_one_field_and_no_other(listed: Listed):
    objects = Objects(listed)
    objects.apply(only({"BGPPeer/leaf": {"spec": {"peerIP": "192.0.2.9"}}}))
    ((_, raw),) = objects.listed.items["BGPPeer"]
    before = plain(listed.items["BGPPeer"][0][1])
    assert plain(raw) == merged(before, {"spec": {"peerIP": "192.0.2.9"}})
    assert said_of(before, plain(raw)) == "spec.peerIP 192.0.2.1 -> 192.0.2.9"


def test_words_name_two_fields_at_most():
    assert said_of(None, {}) == "added"
    assert said_of({}, None) == "removed"
    assert said_of({"a": 1, "b": 1}, {"a": 2, "c": {"d": 1}}) == "a 1 -> 2, b removed and 1 more"
