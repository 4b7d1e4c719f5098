"""The checks' names: one constant each, as people type them and as results carry them."""

from __future__ import annotations

DNS = "dns_resolvable"
XDS = "xds_synced"
PROBES = "probes_healthy"
BGP = "bgp_established"
PLACEMENT = "kube_dns_on_peered_nodes"
CUT = "cut_effective"
TCP = "tcp_reachability"

DNS_NAMES = ("kubernetes.default.svc.cluster.local", "istiod.istio-system.svc.cluster.local")
"""What `dns_resolvable` looks up unless told otherwise: a name that every cluster has, and the mesh's door.
"""
