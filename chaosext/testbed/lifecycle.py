"""A testbed's lifecycle: up (resumable; fast if it is up already), status, down (leaves nothing)."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from chaosext.model.errors import ChaosextError, Refused, Unreachable
from chaosext.testbed import containers, delivery, kubeconfig_entry, leaf
from chaosext.testbed.bed_lock import locked
from chaosext.testbed.commands import CommandFailed
from chaosext.testbed.config import differences
from chaosext.testbed.health import BedStatus, read_status
from chaosext.testbed.kubectl import Kubectl, first_control_plane
from chaosext.testbed.stages import BringUp
from chaosext.testbed.wait import NotInTime

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.testbed.config import Blueprint
    from chaosext.testbed.containers import NodeContainer
    from chaosext.testbed.node_images import ImageSet
    from chaosext.testbed.stage_progress import Progress


def up(blueprint: Blueprint, images: ImageSet, progress: Progress) -> BedStatus:
    """Bring the testbed to its steady state and return its status; a steady one is not changed.

    Only nodes that have stopped since kind created them, and do not recover, are created again.

    Raises:
        Refused: the name belongs to another testbed, or to a cluster that is not a testbed.
        NotInTime: the steady state was not reached; names what is missing. What exists then stays for
            inspection, and the
            next `up` continues from it.
    """
    with _alone(blueprint.name, progress):
        claim(blueprint, images)
        _deliver_images(blueprint.name, images, progress)
        found = _status_if_up(blueprint.name)
        if found and found.steady and kubeconfig_entry.has_context(blueprint.context):
            progress.line(f"Testbed {blueprint.name} is up and steady")
            return found
        return _bring_up(blueprint, images, progress)


def _bring_up(blueprint: Blueprint, images: ImageSet, progress: Progress) -> BedStatus:
    bring_up = BringUp(blueprint, images, progress, lambda: status(blueprint.name))
    try:
        return bring_up.run()
    except NotInTime as error:
        if not any(each.has_stopped for each in bring_up.machines()):
            raise
        progress.line(f"{error}")
    with progress.stage(f"Remove the nodes of {blueprint.name}, which did not recover after a stop"):
        containers.remove(bring_up.machines())
    return BringUp(blueprint, images, progress, lambda: status(blueprint.name)).run()


def _deliver_images(name: str, images: ImageSet, progress: Progress) -> None:
    """Load new versions of chaosext's own images; a testbed that is up needs nothing else for them."""
    machines = containers.cluster_containers(name)
    if machines and all(each.running for each in machines):
        with suppress(CommandFailed):  # nodes that can't load it now are brought up first
            delivery.deliver(machines, images.delivered, progress.stage)


def claim(blueprint: Blueprint, images: ImageSet) -> None:
    """Claim the name for this testbed by its leaf container. Raises `Refused` if the name is taken."""
    name, wanted = blueprint.name, _record(blueprint, images)
    mark = _mark(name)
    if mark is None:
        if containers.cluster_containers(name):
            raise _not_ours(name)
        leaf.make_leaf(name, images.leaf_image, wanted)
    elif changes := differences(leaf.recorded(mark) or {}, wanted):
        raise Refused(
            f"testbed {name} is up with another configuration ({'; '.join(changes)})",
            f"run `chaosext testbed down --name {name}` first, or choose another --name",
        )


def existing_record(name: str) -> Mapping[str, str]:
    """Return the record of the testbed with that name; {} if there is none, or no engine answers."""
    try:
        mark = containers.find_container(leaf.leaf_name(name))
    except CommandFailed:
        return {}
    return (leaf.recorded(mark) if mark else None) or {}


def status(name: str) -> BedStatus:
    """Return the testbed's status.

    Raises `Refused` if there is no testbed, `Unreachable` or `CommandFailed` if it does not answer.
    """
    mark = _mark(name)
    machines = containers.cluster_containers(name)
    if mark is None or not machines:
        raise _absent(name)
    others = leaf.further_leafs(name)
    if stopped := [each.name for each in (mark, *others, *machines) if not each.running]:
        raise Unreachable(f"{', '.join(stopped)} not running", f"run `chaosext testbed up --name {name}`")
    return read_status(
        Kubectl(first_control_plane(name)),
        name=name,
        leaf=mark,
        further_leafs=others,
        record=leaf.recorded(mark) or {},
        containers=machines,
    )


def down(name: str, progress: Progress) -> bool:
    """Remove the testbed: nodes, leafs, kubeconfig context, and kind's network if the testbed created it.

    Returns False, and changes nothing, if there is no testbed. Raises `Refused` if the cluster of that name
    is not a testbed.
    """
    with _alone(name, progress):
        mark = _mark(name)
        machines = containers.cluster_containers(name)
        if mark is None and machines:
            raise _not_ours(name)
        if mark is None:
            return False
        _take_away(name, mark, machines, progress)
    return True


def _take_away(
    name: str, mark: NodeContainer, machines: tuple[NodeContainer, ...], progress: Progress
) -> None:
    with progress.stage(f"Remove testbed {name}"):
        kubeconfig_entry.forget_context(f"kind-{name}")
        containers.remove([*machines, *leaf.further_leafs(name)])
        containers.remove([mark])  # last: it marks the nodes as the testbed's
        _remove_network(mark)


@contextmanager
def _alone(name: str, progress: Progress) -> Iterator[None]:
    """Allow one `up` or `down` of a testbed at a time.

    A second one would mistake nodes that are being created for leftovers.
    """
    with locked(
        f"testbed-{name}",
        lambda: progress.line(f"Waiting for another `up` or `down` of testbed {name} to end"),
    ):
        yield


def standalone_kubeconfig(name: str) -> str:
    """Return a kubeconfig of the testbed alone. Raises `Refused` if there is no testbed."""
    machines = containers.cluster_containers(name)
    if not machines:
        raise _absent(name)
    return kubeconfig_entry.print_kubeconfig(machines, f"kind-{name}")


def _record(blueprint: Blueprint, images: ImageSet) -> dict[str, str]:
    return blueprint.record(
        node_image=images.node_image, image_source=images.source, kubernetes=images.kubernetes
    )


def _mark(name: str) -> NodeContainer | None:
    """Return the testbed's leaf, or None. Raises `Refused` if another container has its name."""
    found = containers.find_container(leaf.leaf_name(name))
    if found is not None and leaf.recorded(found) is None:
        raise Refused(f"container {found.name} is not a leaf of chaosext", "choose another --name")
    return found


def _status_if_up(name: str) -> BedStatus | None:
    try:
        return status(name)
    except ChaosextError:
        return None


def _remove_network(mark: NodeContainer) -> None:
    if leaf.made_network(mark) and containers.network_exists() and not containers.network_in_use():
        containers.docker("network", "rm", containers.KIND_NETWORK)


def _not_ours(name: str) -> Refused:
    return Refused(
        f"a kind cluster named {name} exists, and is not a testbed of chaosext",
        f"choose another --name, or remove it yourself (kind delete cluster --name {name})",
    )


def _absent(name: str) -> Refused:
    return Refused(f"there is no testbed named {name}", f"run `chaosext testbed up --name {name}`")
