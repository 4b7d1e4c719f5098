"""How a Pod network is set up on the testbed: one frozen value per network, which the stages of `up` follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.testbed.leaf import AS_NUMBER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaosext.testbed.containers import NodeContainer
    from chaosext.testbed.kubectl import Manifest
    from chaosext.testbed.node_images import ImageSet


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInputs:
    """What a network's manifests and scripts are made from.

    `nodes` are the Kubernetes nodes with their addresses, `leaf_ips` are the leafs' addresses, and `api_host` is the
    name of the only API server ("" if there are several).
    """

    pod_subnet: str
    service_subnet: str
    nodes: tuple[NodeContainer, ...]
    leaf_ips: tuple[str, ...]
    api_host: str
    images: ImageSet

    @property
    def leaf_ip(self) -> str:
        """The address of the first leaf, for most networks the only one."""
        return self.leaf_ips[0]


def no_script(_inputs: NetworkInputs, _node: NodeContainer) -> str:
    """Return the script of a network that needs nothing on its nodes."""
    return ""


def no_marks(_inputs: NetworkInputs) -> Sequence[Manifest]:
    """Return the marks of a network for which all nodes are alike."""
    return ()


def no_images(_images: ImageSet) -> tuple[str, ...]:
    """Return the images of a network without an agent."""
    return ()


def no_session(*_nodes: NodeContainer) -> bool:
    """Answer that there is no BGP session."""
    return False


def first_leaf(_node: NodeContainer) -> int:
    """Return the index of the first leaf, for networks without another."""
    return 0


def every_node(_node: NodeContainer) -> bool:
    """Whether a node has a session with its leaf, for a network in which each has one."""
    return True


def is_worker(node: NodeContainer) -> bool:
    """Whether the node is a worker."""
    return node.role == "worker"


def is_control_plane(node: NodeContainer) -> bool:
    """Whether the node is a control-plane node."""
    return node.role == "control-plane"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSetup:
    """A Pod network of the testbed.

    Attributes:
        batches: returns the objects to apply, batch after batch; `up` waits until a batch's custom resource
            definitions are established before it applies the next.
        agent: namespace and name of the DaemonSet that runs on each node; None if nothing of the network runs there.
        agent_images: returns the names of the images that the agent's Pods use.
        plugins: CNI plugins that kind's node image lacks, which `up` copies onto the nodes.
        has_leaf_session: whether a node has a BGP session with its leaf, which `up` and `status` then expect.
        leaf_as_numbers: the AS of each leaf, which the nodes that peer with it have, too. Further leafs peer with the
            first one by eBGP, which passes their routes on.
        leaf_of: returns the index of a node's leaf.
        has_node_session: whether two nodes have a BGP session with each other, which BIRD on each of them reports.
        node_marks: returns Nodes with the labels and annotations that the network needs; applied once all nodes
            have joined.
        node_script: returns a bash script for a node, which may run again at each `up`; "" for none.
        cni_is_usable: a bash script for a node that fails until Pods can be started there.
    """

    batches: Callable[[NetworkInputs], Sequence[Sequence[Manifest]]]
    agent: tuple[str, str] | None
    agent_images: Callable[[ImageSet], tuple[str, ...]] = no_images
    plugins: tuple[str, ...] = ()
    has_leaf_session: Callable[[NodeContainer], bool] = no_session
    leaf_as_numbers: tuple[int, ...] = (AS_NUMBER,)
    leaf_of: Callable[[NodeContainer], int] = first_leaf
    has_node_session: Callable[[NodeContainer, NodeContainer], bool] = no_session
    node_marks: Callable[[NetworkInputs], Sequence[Manifest]] = no_marks
    node_script: Callable[[NetworkInputs, NodeContainer], str] = no_script
    cni_is_usable: str = "true"

    @property
    def log_command(self) -> str:
        """The command that shows why Pods can't be started, as a person types it."""
        if self.agent is None:
            return "`journalctl --unit kubelet` on the node"
        space, name = self.agent
        return f"`kubectl --namespace {space} logs daemonset/{name}`"
