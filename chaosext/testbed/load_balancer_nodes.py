"""The load balancer in front of two testbeds, and its customers: two containers on kind's network.

The load balancer is Envoy with health checks that exercise the same path as a customer. The customers send a
steady load. Nothing is retried, because a purchase that may have succeeded must not be repeated; so customers
notice an outage until its cluster is taken out.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaosext.model.load_balancer_state import Member
from chaosext.nodes.load_balancer import (
    ADMIN_PORT,
    ASSIGNMENT,
    METADATA,
    SERVICE,
    EnvoyEntry,
    assignment,
    when,
)
from chaosext.nodes.process_shell import DockerShell
from chaosext.testbed import containers, shop_install
from chaosext.testbed.cache import key_of
from chaosext.testbed.containers import docker
from chaosext.testbed.leaf import TESTBED_LABEL
from chaosext.testbed.node_images import CUSTOMERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chaosext.testbed.containers import NodeContainer

KEY_LABEL = "chaosext.testbed.load_balancer_nodes"
"""Label with a key of what the container was made of; a container with another key is replaced."""

BOOTSTRAP = "/etc/envoy/envoy.json"
ENVOY = ("/usr/local/bin/envoy", "--config-path", BOOTSTRAP, "--log-level", "warning", "--concurrency", "1")
PORT = 8080

ANSWERS_S = 30.0
"""Timeout of Envoy's first answer after its start, seconds: one is usual, more on a busy machine."""

CONNECT_S = 1
ROUTE_S = 15
"""Envoy's default timeout of a route: longer than any customer waits, as is usual."""

CHECK_PATH = "/call"
"""storefront calls catalog by its name, so this check fails if DNS or the mesh fails."""
CHECK_EVERY_S, CHECK_TIMEOUT_S = 2, 1
FAILED_CHECKS = PASSED_CHECKS = 3
"""This many results in a row take an address out, or back in: about 6 s."""

RATE = 20
"""Requests per second: one failure in a thousand shows within a minute, and two CPU cores can bear the load."""
PATIENCE_S = 2
"""Timeout of a customer, seconds: shorter than the shop's own (3 s), so that a slow answer counts as lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a container is made of. `files` (path -> text) are copied into it when it is created."""

    name: str
    image: str
    command: Sequence[str]
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """A key that changes if the container must be replaced; the clusters behind it may change at any time."""
        return key_of([self.image, list(self.command), self.files.get(BOOTSTRAP)])


def entry_name(testbed: str) -> str:
    """Return the name of the load balancer's container."""
    return f"{testbed}-entry"


def customers_name(testbed: str) -> str:
    """Return the name of the customers' container."""
    return f"{testbed}-customers"


def door(testbed: str) -> EnvoyEntry:
    """Return the client for the testbed's load balancer."""
    return EnvoyEntry(envoy=DockerShell(entry_name(testbed)), customers=DockerShell(customers_name(testbed)))


def members(testbeds: Iterable[str]) -> tuple[Member, ...]:
    """Return the testbeds' clusters, each with the storefront's NodePort on its workers.

    Raises `CommandFailed`.
    """
    return tuple(
        Member(
            cluster=each,
            addresses=tuple(
                f"{machine.ipv4}:{shop_install.NODE_PORT}"
                for machine in containers.cluster_containers(each)
                if machine.role == "worker"
            ),
        )
        for each in sorted(testbeds)
    )


def ensure_entry(testbed: str, image: str, behind: tuple[Member, ...]) -> None:
    """Run the load balancer and its customers, with `behind` as its clusters; a drained cluster stays drained.

    Raises `CommandFailed`, or `Unreachable` if Envoy does not answer.
    """
    files = {BOOTSTRAP: json.dumps(bootstrap()), ASSIGNMENT: assignment(behind)}
    _ensure(testbed, Recipe(name=entry_name(testbed), image=image, command=ENVOY, files=files))
    _place(testbed, behind)
    _ensure(testbed, Recipe(name=customers_name(testbed), image=image, command=_buying(testbed)))


def found(testbed: str) -> tuple[NodeContainer, ...]:
    """Return the existing containers of the testbed's load balancer and customers. Raises `CommandFailed`."""
    names = (entry_name(testbed), customers_name(testbed))
    there = (containers.find_container(name) for name in names)
    return tuple(each for each in there if each and each.labels.get(TESTBED_LABEL) == testbed)


def bootstrap() -> dict[str, Any]:
    """Return Envoy's configuration (envoy.config.bootstrap.v3). Pure."""
    return {
        "node": {"id": "entry", "cluster": "entry"},
        "admin": {"address": _address("127.0.0.1", ADMIN_PORT)},
        "static_resources": {"listeners": [_listener()], "clusters": [_clusters()]},
    }


def _listener() -> dict[str, Any]:
    http = "envoy.extensions.filters"
    served_by = {"key": "x-served-by", "value": f"%UPSTREAM_METADATA({METADATA}:cluster)%"}
    host = {
        "name": SERVICE,
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": SERVICE, "timeout": f"{ROUTE_S}s"}}],
        "response_headers_to_add": [{"header": served_by}],
    }
    manager = {
        "@type": f"type.googleapis.com/{http}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": SERVICE,
        "route_config": {"name": SERVICE, "virtual_hosts": [host]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"type.googleapis.com/{http}.http.router.v3.Router"},
            }
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {"name": SERVICE, "address": _address("0.0.0.0", PORT), "filter_chains": [{"filters": filters}]}  # noqa: S104


def _clusters() -> dict[str, Any]:
    """Return Envoy's upstream: serving clusters get equal shares, others nothing (no panic threshold)."""
    return {
        "name": SERVICE,
        "type": "EDS",
        "connect_timeout": f"{CONNECT_S}s",
        "eds_cluster_config": {
            "service_name": SERVICE,
            "eds_config": {"resource_api_version": "V3", "path_config_source": {"path": ASSIGNMENT}},
        },
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "locality_weighted_lb_config": {}},
        "health_checks": [
            {
                "timeout": f"{CHECK_TIMEOUT_S}s",
                "interval": f"{CHECK_EVERY_S}s",
                "no_traffic_interval": f"{CHECK_EVERY_S}s",
                "unhealthy_threshold": FAILED_CHECKS,
                "healthy_threshold": PASSED_CHECKS,
                "http_health_check": {"path": CHECK_PATH, "host": SERVICE},
            }
        ],
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _buying(testbed: str) -> tuple[str, ...]:
    url = f"http://{entry_name(testbed)}:{PORT}{CHECK_PATH}"
    return (CUSTOMERS, "buy", f"-url={url}", f"-rate={RATE}", f"-timeout={PATIENCE_S}s")


def _ensure(testbed: str, recipe: Recipe) -> None:
    there = containers.find_container(recipe.name)
    if there is not None and there.labels.get(KEY_LABEL) != recipe.key:
        containers.remove([there])
        there = None
    if there is None:
        _make(testbed, recipe)
        there = containers.find_container(recipe.name)
    containers.start_stopped([there] if there else [])


def _make(testbed: str, recipe: Recipe) -> None:
    labels = {TESTBED_LABEL: testbed, KEY_LABEL: recipe.key}
    flags = [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
    docker(
        "create", "--name", recipe.name, "--hostname", recipe.name, "--network", containers.KIND_NETWORK,
        "--restart=unless-stopped", *flags, recipe.image, *recipe.command,
    )  # fmt: skip
    for path, text in recipe.files.items():
        _copy(recipe.name, path, text)


def _copy(container: str, path: str, text: str) -> None:
    with tempfile.TemporaryDirectory() as aside:
        file = Path(aside, path.lstrip("/"))
        file.parent.mkdir(parents=True)
        file.write_text(text)
        for each in (file, *file.parents):
            if each.is_relative_to(aside):
                each.chmod(0o755)
        docker("cp", f"{aside}/.", f"{container}:/")


def _place(testbed: str, behind: tuple[Member, ...]) -> None:
    """Update the addresses behind the load balancer if they changed. Waits for an Envoy that is starting."""
    entry = door(testbed)
    before = {each.cluster: each for each in when(entry, lambda _: True, ANSWERS_S)}
    wanted = tuple(
        replace(before.get(each.cluster, each), addresses=each.addresses, healthy=0) for each in behind
    )
    if {each.cluster: each.addresses for each in before.values()} != {
        each.cluster: each.addresses for each in wanted
    }:
        _copy(entry_name(testbed), ASSIGNMENT, assignment(wanted))
        docker("restart", "--time", "1", entry_name(testbed))
