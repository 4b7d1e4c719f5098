"""NodeLocal DNSCache as in Kubernetes v1.34 (cluster/addons/dns/nodelocaldns/nodelocaldns.yaml), without metrics.

The cache itself replaces `__PILLAR__CLUSTER__DNS__` and `__PILLAR__UPSTREAM__SERVERS__`. The manifests are
for kube-proxy in iptables or nftables mode; for IPVS see Kubernetes' documentation of NodeLocal DNSCache.
"""

from __future__ import annotations

from typing import Any

LOCAL_IP = "169.254.20.10"
"""The manifest's suggested link-local address."""

DOMAIN = "cluster.local"
IMAGE = "registry.k8s.io/dns/k8s-dns-node-cache:1.26.4"
NAME, NAMESPACE, UPSTREAM = "node-local-dns", "kube-system", "kube-dns-upstream"

SERVE_STALE = "serve_stale 24h immediate"
"""The line for the cache of cluster names with which expired ones are served for a day (CoreDNS, plugin `cache`)."""

JsonObject = dict[str, Any]


def manifests(dns_ip: str, selector: JsonObject) -> JsonObject:
    """Return a List of all objects; `dns_ip` is kube-dns' address, `selector` that of its Service."""
    meta = {"name": NAME, "namespace": NAMESPACE}
    items = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        _upstream(selector),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"Corefile": _corefile(dns_ip)}},
        _daemon_set(dns_ip),
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _upstream(selector: JsonObject) -> JsonObject:
    ports = [
        {"name": name, "port": 53, "protocol": protocol}
        for name, protocol in (("dns", "UDP"), ("dns-tcp", "TCP"))
    ]
    meta = {"name": UPSTREAM, "namespace": NAMESPACE, "labels": {"k8s-app": "kube-dns"}}
    spec = {"ports": ports, "selector": selector}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def _corefile(dns_ip: str) -> str:
    cluster = "__PILLAR__CLUSTER__DNS__ {\n force_tcp\n }"
    zones = {
        DOMAIN: ("cache {\n success 9984 30\n denial 9984 5\n }", cluster, f"health {LOCAL_IP}:8080"),
        "in-addr.arpa": ("cache 30", cluster, ""),
        "ip6.arpa": ("cache 30", cluster, ""),
        ".": ("cache 30", "__PILLAR__UPSTREAM__SERVERS__", ""),
    }
    return "".join(_zone(zone, dns_ip, *said) for zone, said in zones.items())


def _zone(zone: str, dns_ip: str, cache: str, forward: str, health: str) -> str:
    own = ("errors", cache, "reload", "loop", f"bind {LOCAL_IP} {dns_ip}", f"forward . {forward}", health)
    return "\n".join((f"{zone}:53 {{", *(f" {line}" for line in own if line), "}\n"))


def _daemon_set(dns_ip: str) -> JsonObject:
    labels = {"k8s-app": NAME}
    meta = {"name": NAME, "namespace": NAMESPACE, "labels": labels}
    template = {"metadata": {"labels": labels}, "spec": _pod(dns_ip)}
    spec = {
        "updateStrategy": {"rollingUpdate": {"maxUnavailable": "10%"}},
        "selector": {"matchLabels": labels},
        "template": template,
    }
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta, "spec": spec}


def _pod(dns_ip: str) -> JsonObject:
    everywhere = [{"key": "CriticalAddonsOnly", "operator": "Exists"}]
    everywhere += [{"effect": effect, "operator": "Exists"} for effect in ("NoExecute", "NoSchedule")]
    config = {"name": NAME, "items": [{"key": "Corefile", "path": "Corefile.base"}]}
    return {
        "priorityClassName": "system-node-critical",
        "serviceAccountName": NAME,
        "hostNetwork": True,
        "dnsPolicy": "Default",
        "tolerations": everywhere,
        "containers": [_container(dns_ip)],
        "volumes": [
            {"name": "xtables-lock", "hostPath": {"path": "/run/xtables.lock", "type": "FileOrCreate"}},
            {"name": "kube-dns-config", "configMap": {"name": "kube-dns", "optional": True}},
            {"name": "config-volume", "configMap": config},
        ],
    }


def _container(dns_ip: str) -> JsonObject:
    arguments = ["-localip", f"{LOCAL_IP},{dns_ip}", "-conf", "/etc/Corefile", "-upstreamsvc", UPSTREAM]
    alive = {"host": LOCAL_IP, "path": "/health", "port": 8080}
    return {
        "name": "node-cache",
        "image": IMAGE,
        "resources": {"requests": {"cpu": "25m", "memory": "5Mi"}},
        "args": arguments,
        "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}},
        "livenessProbe": {"httpGet": alive, "initialDelaySeconds": 60, "timeoutSeconds": 5},
        "volumeMounts": [
            {"mountPath": "/run/xtables.lock", "name": "xtables-lock"},
            {"mountPath": "/etc/coredns", "name": "config-volume"},
            {"mountPath": "/etc/kube-dns", "name": "kube-dns-config"},
        ],
    }
