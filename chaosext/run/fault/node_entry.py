"""How to enter nodes while a cut may be active: only those that stay reachable."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from chaosext.run.agents.node_pods import open_access
from chaosext.run.fault.state import reachable

if TYPE_CHECKING:
    from chaosext.experiment.settings import Settings
    from chaosext.nodes.shell import NodeAccess


def way_into(settings: Settings, *, strictly: bool = True) -> NodeAccess:
    """As `open_access`, without the nodes that the current run's cut blocks access to."""
    access = open_access(settings, strictly=strictly)
    return replace(access, only=reachable()) if access.asks_the_api_server else access
