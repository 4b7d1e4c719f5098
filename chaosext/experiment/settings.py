"""The settings of an experiment or a command line: typed, with defaults; bad values are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from chaosext.experiment.invalid_settings import validated
from chaosext.experiment.known_unhealthy_entries import SteadyEntries
from chaosext.experiment.operator_limits import LimitKeys, Names
from chaosext.experiment.stop_conditions import StopCondition
from chaosext.model.errors import Refused
from chaosext.model.load_balancer_state import Failover
from chaosext.model.names import is_container, is_label, is_subdomain
from chaosext.nodes.image_names import shell_image
from chaosext.nodes.shell import DEFAULT, NAMESPACE, POD, NodeAccess
from chaosext.nodes.transport import TRANSPORTS
from chaosext.partition.cut import Side

if TYPE_CHECKING:
    from chaosext.model.known_unhealthy import KnownUnhealthy

PREFIX = "chaosext_"


def _addresses(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Validate addresses and prefixes for pydantic, which names the key."""
    for text in texts:
        ip_network(text)
    return texts


Addresses = Annotated[Names, AfterValidator(_addresses)]


def _named(is_valid: Callable[[str], bool], what: str) -> AfterValidator:
    """Return a validator of names that become arguments of commands or parts of paths: no options, no separators."""

    def named(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for name in (value,) if isinstance(value, str) else value:
            if name and not is_valid(name):
                raise ValueError(f"{name!r:.80} is not a valid name of {what}")
        return value

    return AfterValidator(named)


Container = Annotated[str, _named(is_container, "a container")]
NodeNames = Annotated[Names, _named(is_subdomain, "a node (RFC 1123 subdomain)")]
Namespace = Annotated[str, _named(is_label, "a namespace (RFC 1123 label)")]

AUTO = "auto"


class Settings(LimitKeys):
    """The `chaosext_*` keys of an experiment's `configuration` (including limits), and its context.

    An experiment sets each field as `chaosext_<field>`; `context` is chaostoolkit-kubernetes' own
    `KUBERNETES_CONTEXT` secret, so that its probes and chaosext's always use the same cluster.
    """

    context: str = Field(min_length=1, description="Kubernetes context; never the current one implicitly")
    transport: str = Field(
        DEFAULT, pattern=f"^({'|'.join(TRANSPORTS)})$", description="How chaosext enters a node"
    )
    namespace: Namespace = Field(
        NAMESPACE,
        min_length=1,
        description="The namespace of chaosext's own Pods: sentinels, and those of transport `pod`",
    )
    node_image: str = Field("", description="Their image; empty: the one that `testbed up` brings")
    cut_side: Side = Field(
        Side.CONTROL_PLANE,
        description="The side that carries the rules of a cut: `control-plane` or `nodes`",
    )
    cut_nodes: NodeNames = Field(
        (),
        description="On the side `nodes`: the nodes to cut; empty: every node without a control-plane role",
    )
    control_plane_addresses: Addresses = Field(
        (), description="On the side `nodes`: more addresses of API servers"
    )
    leaf: Container = Field(
        "",
        description="Container of the leaf router; empty: `<cluster>-leaf` on a kind context, none by transport `pod`",
    )
    entry: Container = Field(
        "",
        description="Container of the global load balancer; `auto`: `<cluster>-entry` on a kind context; "
        "empty: there is none",
    )
    entry_customers: Container = Field(
        "",
        description="Container of its customers; empty: `<cluster>-customers`, by the load balancer's name",
    )
    entry_cluster: str = Field(
        "", description="The load balancer's name of this cluster; empty: the context without its `kind-`"
    )
    failover: Failover = Field(
        Failover.HEALTH_CHECK, description="What drains a cluster: `health_check` or `by_hand`"
    )
    namespaces: tuple[Namespace, ...] = Field(
        ("shop",), description="Namespaces of the Pods that `probes_healthy` checks"
    )
    request_timeout_s: float = Field(10.0, gt=0, le=120, description="Timeout of one API call, seconds")
    activity_timeout_s: float = Field(
        300.0, gt=0, le=3600, description="Timeout of an activity, beyond its intended waits, seconds"
    )
    lookups: int = Field(
        10, ge=1, le=100, description="DNS lookups per node and address, UDP and TCP in turn"
    )
    sentinel: bool = Field(True, description="Run a sentinel on every node during the run")
    sentinel_image: str = Field(
        "", description="The sentinel's image; empty: the one that `testbed up` brings"
    )
    stop_conditions: tuple[StopCondition, ...] = Field(
        (), max_length=20, description="Conditions that heal and end the run at once"
    )
    known_unhealthy: SteadyEntries = Field(
        (), description="Objects that are known to be unhealthy, and accepted as they are until a date"
    )
    sentinel_port: int = Field(9853, ge=1, le=65535, description="Port of a sentinel on its node")

    @property
    def way(self) -> NodeAccess:
        """How nodes are entered, as configured; `open_access` opens that access."""
        if self.transport != POD:
            return NodeAccess(transport=self.transport)
        return NodeAccess(
            transport=POD,
            context=self.context,
            namespace=self.namespace,
            image=self.node_image or shell_image(),
            on_nodes=self.cut_side is Side.NODES,
        )

    @property
    def known(self) -> tuple[KnownUnhealthy, ...]:
        """Known unhealthy objects, including expired entries."""
        return tuple(entry.value for entry in self.known_unhealthy)

    @property
    def is_sealed(self) -> bool:
        """Whether a cut blocks all access to the nodes that carry it: they are entered only through an API server."""
        return self.cut_side is Side.NODES and self.transport == POD

    @property
    def leaf_container(self) -> str:
        """The leaf's container: as set, or the testbed's name for it."""
        return self.leaf or f"{self.context.removeprefix('kind-')}-leaf"

    @property
    def entry_container(self) -> str:
        """The load balancer's container: as set, or the testbed's name for it; "" for none."""
        return f"{self.cluster_at_entry}-entry" if self.entry == AUTO else self.entry

    @property
    def customers_container(self) -> str:
        """The container of the load balancer's customers."""
        return self.entry_customers or f"{self.entry_container.removesuffix('-entry')}-customers"

    @property
    def cluster_at_entry(self) -> str:
        """The load balancer's name of the context's cluster."""
        return self.entry_cluster or self.context.removeprefix("kind-")


def settings_from(configuration: Mapping[str, Any] | None, secrets: Mapping[str, Any] | None) -> Settings:
    """Return the settings of an activity. Raises `Refused`, which names the key and the fix."""
    for name, group in (("configuration", configuration), ("secrets", secrets)):
        if not isinstance(group, Mapping | None):
            raise Refused(
                f"{name}: a mapping is expected, not {type(group).__name__}",
                "compare with `chaosext examples control-plane-partition`",
            )
    values = {
        key.removeprefix(PREFIX): value
        for key, value in (configuration or {}).items()
        if isinstance(key, str) and key.startswith(PREFIX)
    }
    if "context" in values:  # chaostoolkit-kubernetes would use another cluster than chaosext
        raise Refused(f"configuration.{PREFIX}context: unknown key", "set KUBERNETES_CONTEXT in the secrets")
    context = (secrets or {}).get("KUBERNETES_CONTEXT")
    if not context:
        raise Refused(
            "secrets.KUBERNETES_CONTEXT is not set",
            "name the context in the experiment's secrets and list them in the activity's provider.secrets",
        )
    if "stop_conditions" in values:
        values["stop_conditions"] = _looked_up(values["stop_conditions"], configuration or {})
    return validated({"context": context, **values}, Settings, _key, prefix=PREFIX, hidden={"context"})


def _looked_up(value: Any, configuration: Mapping[str, Any]) -> Any:
    """Look up `${…}` in stop conditions, as in an activity's arguments."""
    from chaoslib import substitute

    return substitute(value, configuration, None)


def _key(field: str) -> str:
    return "secrets.KUBERNETES_CONTEXT" if field == "context" else f"configuration.{PREFIX}{field}"
