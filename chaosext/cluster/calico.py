"""What is asked of Calico's resources beyond those that have a value of their own in objects.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.cluster.client import NotFound

if TYPE_CHECKING:
    from chaosext.cluster.client import Cluster


def has_calico(cluster: Cluster) -> bool:
    """Whether Calico's resources exist in this cluster."""
    try:
        cluster.ippools()
    except NotFound:
        return False
    return True
