"""The cluster's timings: how long until a silent node counts as lost, and until its Pods are evicted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

DEFAULT_GRACE_S = 50.0
"""kube-controller-manager `--node-monitor-grace-period` since 1.32 (pkg/controller/nodelifecycle/config/v1alpha1)."""

DEFAULT_TOLERATION_S = 300.0
"""kube-apiserver `--default-unreachable-toleration-seconds` (plugin/pkg/admission/defaulttolerationseconds)."""

MONITOR_PERIOD_S = 5.0
"""kube-controller-manager `--node-monitor-period`."""

GRACE_FLAG = "node-monitor-grace-period"
TOLERATION_FLAG = "default-unreachable-toleration-seconds"
PERIOD_FLAG = "node-monitor-period"

_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """All in seconds. `source`: where they were read from."""

    grace_s: float = DEFAULT_GRACE_S
    toleration_s: float = DEFAULT_TOLERATION_S
    monitor_period_s: float = MONITOR_PERIOD_S
    source: str = "Kubernetes' defaults; no static Pod names others"

    @property
    def eviction_s(self) -> float:
        """Seconds from the cut until the first evictions are due, at the latest."""
        return self.grace_s + self.monitor_period_s + self.toleration_s

    def to_json(self) -> dict[str, Any]:
        return {
            "node_monitor_grace_period_s": self.grace_s,
            "default_toleration_s": self.toleration_s,
            "node_monitor_period_s": self.monitor_period_s,
            "source": self.source,
        }


def timings_from(pods: Iterable[Mapping[str, Any]]) -> Timings:
    """Parse the timings from the arguments of the control plane's static Pods (`pods`: Pod JSON of kube-system)."""
    flags = flags_from(pods)
    if not flags.keys() & {GRACE_FLAG, TOLERATION_FLAG, PERIOD_FLAG}:
        return Timings()
    return timings_of(flags, source="arguments of the static Pods kube-controller-manager and kube-apiserver")


def timings_of(flags: Mapping[str, str], *, source: str, grace_s: float = DEFAULT_GRACE_S) -> Timings:
    """The timings set by `flags` (name -> value). `grace_s`: the version's default grace period."""
    return Timings(
        grace_s=_seconds(flags.get(GRACE_FLAG), grace_s),
        toleration_s=_seconds(flags.get(TOLERATION_FLAG), DEFAULT_TOLERATION_S),
        monitor_period_s=_seconds(flags.get(PERIOD_FLAG), MONITOR_PERIOD_S),
        source=source,
    )


def flags_from(pods: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Name -> value of every `--name=value` in the commands and arguments of `pods` (Pod JSON)."""
    return dict(_flags(pods))


def _flags(pods: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for pod in pods:
        for container in pod.get("spec", {}).get("containers", ()):
            for argument in (*(container.get("command") or ()), *(container.get("args") or ())):
                if match := re.fullmatch(r"--([a-z-]+)=(.*)", argument):
                    yield match[1], match[2]


def _seconds(text: str | None, default: float) -> float:
    """Parse a Go duration ("1m20s") or a bare number of seconds; `default` if absent or unreadable."""
    if text is None:
        return default
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", text)
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts) if parts else default
