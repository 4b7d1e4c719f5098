"""chaosext: rehearse a network cutover before you do it for real.

Chaos Toolkit actions and probes that cut a Kubernetes control plane off from its nodes, check the steady
state (DNS resolvable, xDS synced, probes healthy) and verify the rollback, which reschedules kube-dns.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def discover(discover_system: bool = True) -> dict[str, Any]:
    """Return what `chaos discover chaosext` lists: every action and probe of this extension."""
    from chaoslib.discovery.discover import discover_actions, discover_probes, initialize_discovery_result

    found: dict[str, Any] = initialize_discovery_result("chaosext", __version__, "kubernetes")
    found["activities"].extend(discover_actions("chaosext.actions"))
    found["activities"].extend(discover_probes("chaosext.probes"))
    return found
