"""Control plane timings: from command-line arguments, else the snapshot's static Pods, else Kubernetes' defaults."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from chaosext.cluster.timings import (
    DEFAULT_GRACE_S,
    GRACE_FLAG,
    PERIOD_FLAG,
    TOLERATION_FLAG,
    timings_of,
)
from chaosext.model.errors import Refused
from chaosext.rehearsal.snapshot.world import ControlPlane

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DURATIONS = (GRACE_FLAG, PERIOD_FLAG)
"""Flags whose value is a Go duration; TOLERATION_FLAG is a number of seconds."""

_DURATION = re.compile(r"(\d+(\.\d+)?(ms|h|m|s))+")

_RATES: Mapping[str, tuple[str, type[float] | type[int]]] = {
    "node-eviction-rate": ("eviction_rate", float),
    "secondary-node-eviction-rate": ("secondary_eviction_rate", float),
    "unhealthy-zone-threshold": ("unhealthy_threshold", float),
    "large-cluster-size-threshold": ("large_cluster_size", int),
    "kube-api-qps": ("api_qps", float),
    "kube-api-burst": ("api_burst", int),
}

TIMING_FLAGS = frozenset((*DURATIONS, TOLERATION_FLAG, *_RATES))
"""Every flag that affects a prediction."""


def control_plane(static: Mapping[str, str] | None, given: Sequence[str], version: str) -> ControlPlane:
    """Return the timings and rates of the control plane.

    `static` holds the flags of the static Pods, or None if the snapshot has none. `given` are flags as
    `--name=value`; they override `static`.

    Raises `Refused`, naming the flag, if a given flag has an invalid value, and ValueError if a static one
    has.
    """
    flags = {name: value for name, value in (static or {}).items() if name in TIMING_FLAGS}
    for name, value in flags.items():
        _check(name, value)
    flags |= _given(given)
    grace_s = _grace_s(version)
    timings = timings_of(flags, grace_s=grace_s, source=_source(static, given, version))
    rates: dict[str, Any] = {
        name: number(flags[flag]) for flag, (name, number) in _RATES.items() if flag in flags
    }
    return ControlPlane(timings=timings, version=version, **rates)


def _given(flags: Sequence[str]) -> dict[str, str]:
    return dict(map(_split, flags))


def _split(flag: str) -> tuple[str, str]:
    match = re.fullmatch(r"-{0,2}([a-z][a-z0-9-]*)=(.+)", flag)
    fix = f"write e.g. {GRACE_FLAG}=40s; known are {', '.join(sorted(TIMING_FLAGS))}"
    if not match or match[1] not in TIMING_FLAGS:
        raise Refused(
            f"--controller-manager-arg/--apiserver-arg {flag!r} does not affect the prediction", fix
        )
    try:
        _check(match[1], match[2])
    except ValueError as error:
        raise Refused(f"--controller-manager-arg/--apiserver-arg {flag!r}: {error}", fix) from None
    return match[1], match[2]


def _check(name: str, value: str) -> None:
    """Raise ValueError if the flag can't have this value."""
    if name in DURATIONS and not _DURATION.fullmatch(value):
        raise ValueError(f"{value!r} is not a duration such as 40s")
    if name == TOLERATION_FLAG and not value.isdecimal():
        raise ValueError(f"{value!r} is not a number of seconds")
    if name in _RATES and not (math.isfinite(_RATES[name][1](value)) and _RATES[name][1](value) >= 0):
        raise ValueError(f"{value!r} is not a rate")


def _source(static: Mapping[str, str] | None, given: Sequence[str], version: str) -> str:
    if given:
        return "arguments of the command line, which override the snapshot's"
    if static is not None:
        return "arguments of the static Pods kube-controller-manager and kube-apiserver, and Kubernetes' defaults"
    return (
        f"the defaults of Kubernetes {version}" if version else "Kubernetes' defaults, of an unknown version"
    )


def minor(version: str) -> tuple[int, int]:
    """Return (major, minor) of "v1.34.4", or (0, 0) if `version` is not a version."""
    match = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _grace_s(version: str) -> float:
    """Return the default of --node-monitor-grace-period: 40 s before 1.32 (its changelog), else 50 s."""
    return 40.0 if (0, 0) < minor(version) < (1, 32) else DEFAULT_GRACE_S
