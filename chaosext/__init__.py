"""chaosext: live through a network cutover before it is real.

Custom Chaos Toolkit actions and probes that sever a Kubernetes control plane from its nodes, assert the
steady state (DNS resolvable, xDS synced, probes healthy) and verify the rollback by rescheduling kube-dns.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def discover(discover_system: bool = True) -> dict[str, Any]:
    """What `chaos discover chaosext` lists: every action and probe of this extension."""
    from chaoslib.discovery.discover import discover_actions, discover_probes, initialize_discovery_result

    found: dict[str, Any] = initialize_discovery_result("chaosext", __version__, "kubernetes")
    found["activities"].extend(discover_actions("chaosext.actions"))
    found["activities"].extend(discover_probes("chaosext.probes"))
    return found
