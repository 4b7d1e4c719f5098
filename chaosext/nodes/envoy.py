"""Envoy as an entry: the assignment of addresses that it follows, and what it says of them. Pure.

The assignment is a file of Envoy's endpoint discovery (envoy.config.endpoint.v3.ClusterLoadAssignment), read anew when
another one is moved into its place. In it an address can be `DRAINING`: it gets no new request, and those in flight
end; and its health check can be switched off. Being a file, it outlives a restart of Envoy: who was drained stays so.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from chaosext.model.entry import Failover, Member

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SERVICE = "shop"
"""Envoy's name for all the clusters together (Envoy calls what it balances over a cluster)."""

TYPE = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"

METADATA = "envoy.lb"
"""Envoy's own namespace for metadata of an address; `%UPSTREAM_METADATA(envoy.lb:cluster)%` reads ours."""

DRAINING, HEALTHY = "DRAINING", "HEALTHY"

FAILED = "failed_active_health_check"
"""In a host's `health_status` (envoy.admin.v3.HostHealthStatus)."""


def assignment(members: Iterable[Member]) -> str:
    """The file, one line of JSON. Each cluster is a locality of the same weight, however many addresses it has."""
    localities = [_locality(each) for each in members]
    resource = {"@type": TYPE, "cluster_name": SERVICE, "endpoints": localities}
    return json.dumps({"resources": [resource]})


def parse_assignment(text: str) -> tuple[Member, ...]:
    """The members in such a file, by name; how healthy they are it doesn't say.

    Raises KeyError, TypeError or ValueError (or another of `MALFORMED`) for what `assignment` did not write.
    """
    (resource,) = json.loads(text)["resources"]
    return tuple(sorted(map(_member, resource["endpoints"]), key=lambda each: each.cluster))


def parse_healthy(text: str) -> Mapping[str, int]:
    """Cluster -> how many of its addresses don't fail Envoy's check, from admin's `/clusters?format=json`.

    A cluster none of whose addresses is healthy is not in it. Raises one of `MALFORMED` for another text.
    """
    (status,) = (each for each in json.loads(text)["cluster_statuses"] if each["name"] == SERVICE)
    hosts = status.get("host_statuses", [])
    return Counter(each["locality"]["zone"] for each in hosts if not each["health_status"].get(FAILED))


def parse_drained(text: str) -> frozenset[str]:
    """The addresses (`ip:port`) that Envoy itself says it drains: the file was read, whatever it was meant to say."""
    (status,) = (each for each in json.loads(text)["cluster_statuses"] if each["name"] == SERVICE)
    hosts = status.get("host_statuses", [])
    draining = (each for each in hosts if each["health_status"].get("eds_health_status") == DRAINING)
    return frozenset(_host_port(each["address"]) for each in draining)


def _locality(member: Member) -> dict[str, Any]:
    return {
        "locality": {"zone": member.cluster},
        "load_balancing_weight": 1,
        "lb_endpoints": [_endpoint(member, address) for address in member.addresses],
    }


def _endpoint(member: Member, address: str) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    return {
        "endpoint": {
            "address": {"socket_address": {"address": host, "port_value": int(port)}},
            "health_check_config": {
                "disable_active_health_check": member.failover is Failover.BY_HAND,
            },
        },
        "health_status": DRAINING if member.drained else HEALTHY,
        "metadata": {"filter_metadata": {METADATA: {"cluster": member.cluster}}},
    }


def _member(locality: Mapping[str, Any]) -> Member:
    endpoints = locality["lb_endpoints"]
    unchecked = all(
        each["endpoint"]["health_check_config"]["disable_active_health_check"] for each in endpoints
    )
    return Member(
        cluster=str(locality["locality"]["zone"]),
        addresses=tuple(_host_port(each["endpoint"]["address"]) for each in endpoints),
        drained=all(each["health_status"] == DRAINING for each in endpoints),
        failover=Failover.BY_HAND if unchecked else Failover.HEALTH_CHECK,
    )


def _host_port(address: Mapping[str, Any]) -> str:
    socket = address["socket_address"]
    return f"{socket['address']}:{socket['port_value']}"
