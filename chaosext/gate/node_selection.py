"""Resolve a plan's selection to nodes; refuse one that selects no node, or control-plane nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.cluster.objects import CONTROL_PLANE_LABELS, ZONE_LABEL
from chaosext.model.errors import Refused, did_you_mean
from chaosext.rehearsal.snapshot.cut_targets import every_node_controls, majority_lost, matching
from chaosext.rehearsal.snapshot.failure_domains import rack_labels
from chaosext.rehearsal.snapshot.reader import OLD_ZONE_LABELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaosext.gate.cutover_plan import Selection
    from chaosext.rehearsal.snapshot.world import Node, World

ZONE_LABELS = (ZONE_LABEL, OLD_ZONE_LABELS[1])


def nodes_of(world: World, selection: Selection) -> frozenset[str]:
    """Return the names of the selected nodes. Raises `Refused` with the field and the fix."""
    found = _named(world, selection.names) if selection.names else _selected(world, selection)
    is_compact = all(node.control_plane for node in world.nodes)
    if not found:
        why = every_node_controls([node.name for node in world.nodes]) if is_compact else "selects no nodes"
        raise Refused(f"{_field(selection)}: {why}", _example(world))
    if is_compact:
        _require_majority(world, found, _field(selection))
    elif masters := [node for node in world.nodes if node.control_plane and node.name in found]:
        names = ", ".join(node.name for node in masters)
        raise Refused(
            f"{_field(selection)}: selects control-plane nodes ({names}); a rehearsed cutover cuts "
            "other nodes off from the control plane",
            "remove them from cut.nodes"
            if selection.names
            else f"add `selector: '!{_role(masters[0])}'` to `cut`",
        )
    return found


def _require_majority(world: World, cut: frozenset[str], field: str) -> None:
    """Refuse a cut after which a cluster of control-plane nodes only has none that works."""
    for doubt in majority_lost(world, cut):
        fix = (
            "cut off fewer than half of them"
            if len(world.nodes) > 1
            else "a single node cannot be cut off from itself"
        )
        raise Refused(f"{field}: {doubt.subject}: {doubt.why}", fix)


def _role(node: Node) -> str:
    return next((label for label in CONTROL_PLANE_LABELS if label in node.labels), CONTROL_PLANE_LABELS[0])


def _field(selection: Selection) -> str:
    parts = {
        "nodes": selection.names,
        "selector": selection.selector,
        "zones": selection.zones,
        "racks": selection.racks,
    }
    given = [f"cut.{name}" for name, value in parts.items() if value]
    return " with ".join(given)


def _named(world: World, names: Sequence[str]) -> frozenset[str]:
    known = {node.name for node in world.nodes}
    for at, name in enumerate(names):
        if name not in known:
            raise Refused(f"cut.nodes[{at}]: there is no node {name!r}", _hint(name, known))
    return frozenset(names)


def _selected(world: World, selection: Selection) -> frozenset[str]:
    found = frozenset(node.name for node in world.nodes)
    if selection.selector:
        found &= matching(world, selection.selector, "cut.selector")
    if selection.zones:
        found &= _labelled(world, ZONE_LABELS, selection.zones, "cut.zones")
    if selection.racks:
        found &= _labelled(world, (_rack_label(world, selection),), selection.racks, "cut.racks")
    return found


def _labelled(world: World, keys: Sequence[str], values: Sequence[str], field: str) -> frozenset[str]:
    of = {
        node.name: next((node.labels[key] for key in keys if key in node.labels), "") for node in world.nodes
    }
    for at, value in enumerate(values):
        if value not in of.values():
            known = set(of.values()) - {""}
            fix = (
                _hint(value, known)
                if known
                else f"use cut.nodes or cut.selector; no node has the label {keys[0]}"
            )
            raise Refused(f"{field}[{at}]: no node has the label {keys[0]}={value}", fix)
    return frozenset(name for name, value in of.items() if value in values)


def _rack_label(world: World, selection: Selection) -> str:
    """Return the plan's rack label, or else the nodes' only label whose name, after its prefix, is `rack`."""
    keys = {key for node in world.nodes for key in node.labels}
    if selection.rack_label:
        if selection.rack_label not in keys:
            raise Refused(
                f"cut.rack_label: no node has the label {selection.rack_label}",
                did_you_mean(selection.rack_label, keys),
            )
        return selection.rack_label
    racks = rack_labels(world.nodes)
    if len(racks) == 1:
        return racks[0]
    said = f"{', '.join(racks)} are possible" if racks else "no node has a label named rack"
    raise Refused(
        f"cut.racks: cannot find the label that names a rack: {said}", "set cut.rack_label to the label"
    )


def _hint(word: str, known: set[str]) -> str:
    few = sorted(known)
    return did_you_mean(word, few if len(few) <= 12 else [*_near(word, few), *few[:6]])


def _near(word: str, known: Sequence[str]) -> list[str]:
    import difflib

    return difflib.get_close_matches(word, known, n=1)


def _example(world: World) -> str:
    some = [node.name for node in world.nodes if not node.control_plane][:3]
    if not some:
        return f"name the nodes to cut off in cut.nodes, e.g. [{world.nodes[0].name}]"
    return f"name nodes ({', '.join(some)}, …), or labels of nodes"
