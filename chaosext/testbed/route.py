"""Every node's way to Pods that no BGP route leads to: through the leaf, its gateway as in a datacenter. Pure.

The control plane, which has no BGP, reaches the Pods on workers this way; nobody reaches its own Pods, as the leaf
knows no route to them and discards what is sent there. Without this route such packets would leave by Docker's
gateway, and strangers out there might even answer.
"""

from __future__ import annotations

UNIT = "chaosext-pod-route.service"


def route_script(*, pod_subnet: str, leaf_ip: str) -> str:
    """A bash script for a node: sets the route now and, by a systemd unit, at every start.

    `proto kernel`, because BIRD learns any other alien route and would advertise it (BIRD 1.6, "kernel: learn").
    """
    return f"""\
cat > /etc/systemd/system/{UNIT} <<'UNIT'
[Unit]
Description=Route to the Pod network through the leaf
After=network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=ip route replace {pod_subnet} via {leaf_ip} proto kernel

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --quiet {UNIT}
systemctl restart {UNIT}
"""
