"""Which CNI plugin gives Pods their network, by the configuration on each node: for networks without any agent.

The container runtime takes the first configuration by name (containerd, CRI plugin: `max_conf_num = 1`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from chaosext.checks.fan_out import ask_all
from chaosext.model.errors import MALFORMED, Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chaosext.nodes.shell import NodeShell

ON_THE_FABRIC = ("macvlan", "ipvlan")
"""Plugins that make Pods hosts of the nodes' own network (containernetworking/plugins): no node routes to another's."""

DIRECTORY = "/etc/cni/net.d"
LARGEST_BYTES = 1 << 16
ASK_TIMEOUT_S = 5.0

SCRIPT = f"""
export LC_ALL=C
for each in {DIRECTORY}/*; do
  case $each in *.conf|*.conflist|*.json) head -c {LARGEST_BYTES} "$each"; exit ;; esac
done
"""
"""bash expands names in order."""


def plugin_on_all(shells: Mapping[str, NodeShell], nodes: Sequence[str]) -> str:
    """Return the CNI plugin that all of `nodes` are configured with; "" if one differs or can't be read."""
    if not nodes or not set(nodes) <= shells.keys():
        return ""
    found = set(ask_all({node: shells[node] for node in nodes}, _plugin).values())
    first = found.pop()
    return first if isinstance(first, str) and not found else ""


def _plugin(shell: NodeShell) -> str:
    result = shell.run(SCRIPT, timeout_s=ASK_TIMEOUT_S)
    if result.exit_code:
        raise Unreachable(f"the CNI configuration on {shell.node} can't be read")
    return parse_plugin(result.stdout)


def parse_plugin(text: str) -> str:
    """Return the type of the first plugin in a CNI configuration (`.conf` or `.conflist`); "" if there is none."""
    try:
        value = json.loads(text)
        first = value["plugins"][0] if "plugins" in value else value
        return str(first["type"])
    except MALFORMED:
        return ""
