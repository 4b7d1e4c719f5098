"""Names of the checks: one constant each, as used on the command line and in results."""

from __future__ import annotations

NODES = "nodes_ready"
KUBELETS = "kubelets_connected"
PODS = "nodes_reach_pods"
DNS = "dns_resolvable"
XDS = "xds_synced"
PROBES = "probes_healthy"
BGP = "bgp_established"
PLACEMENT = "kube_dns_on_peered_nodes"
MISSING = "nothing_missing"
CUT = "cut_effective"
HEALED = "cut_healed"
TCP = "tcp_reachability"
ENTRY_RATIO = "entry_success_ratio"
ENTRY_SERVES = "entry_serves_from"
