"""Architectures that the testbed can't build: what documents and issue trackers say about them. Data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentedArchitecture:
    """One row from documents. Each text is a table cell in Markdown; `sources` name documents and issues."""

    name: str
    during: str
    after: str
    heals: str
    prevents: str
    sources: str


DOCUMENTED = (
    DocumentedArchitecture(
        name="Cilium, tunnels",
        during="data plane stays; new Pods fail: label, identity and endpoint need the API server. Before 1.18, agents "
        "are restarted after about 5 min",
        after="backends removed meanwhile may stay active while everything is green",
        heals="not always",
        prevents="not known; agents of 1.18 and newer are not restarted",
        sources="cilium #28390, #38458, #48050",
    ),
    DocumentedArchitecture(
        name="Cilium, native routing and BGP control plane",
        during="BGP ends with the agent on a node",
        after="as calico-bgp: Pods on nodes without a session are not reached",
        heals="no, if kube-dns moved there",
        prevents="dns-affinity, or BGP on control-plane nodes",
        sources="Cilium's documentation of its BGP control plane",
    ),
    DocumentedArchitecture(
        name="Calico 3.31 or newer with `programClusterRoutes: Enabled`",
        during="routes stay: Felix programs them",
        after="routes are right",
        heals="yes",
        prevents="–",
        sources="Calico's FelixConfiguration",
    ),
    DocumentedArchitecture(
        name="Calico eBPF with Typha on control-plane nodes",
        during="Felix restarts by design when it loses Typha; such restarts have dropped traffic for up to 20 min",
        after="slow",
        heals="slowly",
        prevents="not known",
        sources="typha #196, calico #10670, felix #2421",
    ),
    DocumentedArchitecture(
        name="AWS VPC CNI, Azure CNI (addresses of the fabric), managed control plane",
        during="as macvlan: only scheduling stops. Node repair replaces NotReady nodes after 10 to 30 min on EKS, "
        "about 15 min for GKE on Azure",
        after="routes are right",
        heals="yes",
        prevents="–",
        sources="AWS: network disconnections of EKS hybrid nodes; kubernetes #131294, #131481",
    ),
    DocumentedArchitecture(
        name="OVN-Kubernetes, Antrea, kindnet",
        during="routes stay: they are local to each node",
        after="depends on the mode",
        heals="not known",
        prevents="not known",
        sources="their documentation",
    ),
    DocumentedArchitecture(
        name="Istio ambient",
        during="a new Pod's traffic waits for its workload by xDS, then fails",
        after="ztunnel finds istiod by its kube-dns name: it is stuck where DNS is dead",
        heals="not known",
        prevents="not known; DNS capture, on by default since 1.25, answers names that are known",
        sources="istio #54434",
    ),
    DocumentedArchitecture(
        name="Linkerd",
        during="running proxies go on; new ones get no identity, and `linkerd-await` holds the application for 2 min",
        after="as its network",
        heals="not known",
        prevents="not known",
        sources="Linkerd's documentation",
    ),
)
