"""The control plane's way to Pods on workers: a static route through the leaf. There is none back. Pure."""

from __future__ import annotations

UNIT = "chaosext-pod-route.service"


def route_script(*, pod_subnet: str, leaf_ip: str) -> str:
    """A bash script for a control-plane node: sets the route now and, by a systemd unit, at every start."""
    return f"""\
cat > /etc/systemd/system/{UNIT} <<'UNIT'
[Unit]
Description=Route to the Pod network through the leaf
After=network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=ip route replace {pod_subnet} via {leaf_ip}

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --quiet {UNIT}
systemctl restart {UNIT}
"""
