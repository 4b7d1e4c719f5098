"""The nodes that a plan cuts, given as node names or as a Kubernetes label selector.

Source of the selector's grammar: k8s.io/apimachinery/pkg/labels/selector.go (`Parse`).
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from chaosext.model.errors import Refused
from chaosext.rehearsal.snapshot.node_patterns import selects
from chaosext.rehearsal.snapshot.world import Doubt, LabelSelector, Requirement

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from chaosext.rehearsal.snapshot.world import Node, World

_BETWEEN = re.compile(r",(?![^(]*\))")
"""A comma outside parentheses."""

_KEY = r"([A-Za-z0-9][A-Za-z0-9._/-]*)"
_IN = re.compile(rf"{_KEY}\s+(in|notin)\s+\(([^()]*)\)")
_EQUALS = re.compile(rf"{_KEY}\s*(==|!=|=)\s*([A-Za-z0-9._-]*)")
_THERE = re.compile(rf"(!?)\s*{_KEY}")

FIELD = "--cut-nodes"
FIX = "name nodes (cp-1,worker-1), or a label selector (topology.kubernetes.io/zone in (a,b),!gpu)"


def cut_nodes(world: World, wanted: str = "") -> frozenset[str]:
    """Return the names of the nodes that `wanted` selects; "" selects every node without a control-plane role.

    If any part of `wanted` is a node's name, every part is read as a name; otherwise `wanted` is a label
    selector. Raises `Refused` if it selects no node.
    """
    if not wanted.strip():
        found = frozenset(node.name for node in world.nodes if not node.control_plane)
        if not found:
            names = [node.name for node in world.nodes]
            raise Refused(every_node_controls(names), f"name the nodes to cut off, e.g. {FIELD} {names[0]}")
        return found
    return selected(world, wanted, FIELD)


def selected(world: World, wanted: str, field: str) -> frozenset[str]:
    """Return the names of the nodes that `wanted` names or selects. Raises `Refused`, naming `field`, for none."""
    known = {node.name for node in world.nodes}
    parts = [part.strip() for part in _BETWEEN.split(wanted) if part.strip()]
    if known.intersection(parts):
        return _named(parts, known, field)
    found = matching(world, wanted, field)
    if not found:
        near = get_close_matches(wanted, known, n=1)
        some = f"did you mean {near[0]}?" if near else f"nodes are {', '.join(sorted(known)[:3])}, …"
        raise Refused(
            f"{field} {wanted!r} is neither a node's name nor a selector that matches a node",
            f"{FIX}; {some}",
        )
    return found


def every_node_controls(names: Sequence[str]) -> str:
    """Say why no node is cut where every node has a control-plane role."""
    some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"every node has a control-plane role ({some}), so no node is cut without being named"


def majority_lost(world: World, cut: Collection[str]) -> tuple[Doubt, ...]:
    """Doubt a cut that leaves less than a majority of the control-plane nodes together: etcd stops then."""
    masters = [node.name for node in world.nodes if node.control_plane]
    lost = sum(name in cut for name in masters)
    if not lost or 2 * lost < len(masters):
        return ()
    why = f"{lost} of {len(masters)} are cut off, which leaves etcd no majority; what follows isn't modelled"
    return (Doubt(subject="control-plane nodes", why=why),)


def matching(world: World, selector: str, field: str) -> frozenset[str]:
    """Return the names of the nodes whose labels match. Raises `Refused`, naming `field`, for an invalid selector."""
    parts = [part.strip() for part in _BETWEEN.split(selector) if part.strip()]
    wanted = LabelSelector(requirements=tuple(_requirement(part, field) for part in parts))
    return frozenset(node.name for node in world.nodes if selects(wanted, node.labels))


def separation(nodes: Sequence[Node], cut: Collection[str]) -> Callable[[int, int], bool]:
    """Return a function that tests whether the cut separates two nodes, given by their numbers.

    The cut sits on the control-plane nodes and drops traffic from the nodes named in `cut`. It separates a
    cut node from a control-plane node that is not cut itself.
    """
    is_cut = [node.name in cut for node in nodes]

    def separated(one: int, other: int) -> bool:
        if is_cut[one] == is_cut[other]:
            return False
        return nodes[other if is_cut[one] else one].control_plane

    return separated


def _named(parts: list[str], known: set[str], field: str) -> frozenset[str]:
    if unknown := sorted(set(parts) - known):
        raise Refused(f"{field}: {', '.join(unknown)}: no such node", FIX)
    return frozenset(parts)


def _requirement(part: str, field: str) -> Requirement:
    if match := _IN.fullmatch(part):
        values = tuple(value.strip() for value in match[3].split(","))
        return Requirement(key=match[1], operator="In" if match[2] == "in" else "NotIn", values=values)
    if match := _EQUALS.fullmatch(part):
        return Requirement(key=match[1], operator="NotIn" if match[2] == "!=" else "In", values=(match[3],))
    if match := _THERE.fullmatch(part):
        return Requirement(key=match[2], operator="DoesNotExist" if match[1] else "Exists")
    raise Refused(f"{field}: {part!r} is neither a node's name nor a label selector", FIX)
