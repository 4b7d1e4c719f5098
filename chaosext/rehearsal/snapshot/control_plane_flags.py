"""Control plane settings: from the command line's flags, else the snapshot's, else Kubernetes' defaults.

A snapshot has flags in the static Pods of kubeadm, and in annotations of the servers of k3s and RKE2.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import shlex
from typing import TYPE_CHECKING, Any

from chaosext.cluster.timings import (
    DEFAULT_GRACE_S,
    GRACE_FLAG,
    PERIOD_FLAG,
    TOLERATION_FLAG,
    timings_of,
)
from chaosext.model.errors import Refused
from chaosext.rehearsal.snapshot.flag_names import FLAGS
from chaosext.rehearsal.snapshot.world import ControlPlane

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Flags = dict[str, str]
"""Name -> value of each flag; "true" for one without a value."""

STATIC_PODS = "the static Pods kube-controller-manager and kube-apiserver"
SERVERS = "the k3s or RKE2 servers, in an annotation of their nodes"
"""Where a snapshot has flags."""

OPTION = "--controller-manager-arg/--apiserver-arg"

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
"""Every flag that changes a prediction."""

CONTROLLERS, TAINT_MANAGER, NO_PLUGINS, GATES = (
    "controllers",
    "enable-taint-manager",
    "disable-admission-plugins",
    "feature-gates",
)

READ_FLAGS = TIMING_FLAGS | {CONTROLLERS, TAINT_MANAGER, NO_PLUGINS, GATES}
"""Every flag that is read: with the others, some values make the prediction unknown."""

NEEDED_CONTROLLERS: Mapping[str, str] = {
    "node-lifecycle-controller": "nodelifecycle",
    "endpointslice-controller": "endpointslice",
    "deployment-controller": "deployment",
    "replicaset-controller": "replicaset",
    "daemonset-controller": "daemonset",
    "statefulset-controller": "statefulset",
    "job-controller": "job",
    "pod-garbage-collector-controller": "podgc",
}
"""Controllers that a prediction takes for running -> their older name (controller-manager, cmd/.../names)."""

TAINT_EVICTION, TAINT_EVICTION_SINCE = "taint-eviction-controller", (1, 29)
"""The controller that evicts Pods, and the version that separated it from the node lifecycle controller."""

LEASE_GATE, LEASE_GATE_SINCE = "NodeControllerLeaseCircuitBreaker", (1, 37)
"""The feature gate of kube-controller-manager, on by default since that version, behind `asks_for_leases`."""

GATES_THAT_MATTER = ("DeploymentPodReplacementPolicy=true", "TaintBasedEvictions=false")
"""Settings of feature gates that change when Pods are evicted or replaced."""

NODE_ARGS = ("k3s.io/node-args", "rke2.io/node-args")
"""Annotations of nodes in which k3s and RKE2 keep the arguments of their server or agent, as a JSON array."""

_COMPONENT_ARG = re.compile(r"--(kube-controller-manager|kube-apiserver)-arg(?:=(.*))?", re.DOTALL)


def control_plane(
    static: Mapping[str, str] | None, given: Mapping[str, str], version: str, where: str = STATIC_PODS
) -> ControlPlane:
    """Return the timings and rates of the control plane.

    `static` holds the flags in the snapshot, or None if it has none, and `where` says in what. `given` are
    those of the command line, which override `static`.

    Raises ValueError if a static flag has an invalid value.
    """
    flags = {name: value for name, value in (static or {}).items() if name in TIMING_FLAGS}
    for name, value in flags.items():
        _check(name, value)
    flags |= {name: value for name, value in given.items() if name in TIMING_FLAGS}
    grace_s = _grace_s(version)
    timings = timings_of(flags, grace_s=grace_s, source=_source(static, given, version, where))
    rates: dict[str, Any] = {
        name: number(flags[flag]) for flag, (name, number) in _RATES.items() if flag in flags
    }
    return ControlPlane(timings=timings, version=version, **rates)


# -- the command line's flags ------------------------------------------------------------------------------------


def given_flags(arguments: Sequence[str]) -> Flags:
    """Parse flags as they are pasted: `--name=value`, `name=value`, `--name value`, `--name`, or several of them.

    Raises `Refused`, naming the flag, for one that no version of the programs has, or an invalid value.
    """
    return dict(pair for argument in arguments for pair in _parsed(argument))


def idle(flags: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the flags that have no effect on a prediction."""
    return tuple(name for name in flags if name not in READ_FLAGS)


def _parsed(argument: str) -> Iterator[tuple[str, str]]:
    words = _words(argument)
    while words:
        word = words.pop(0)
        name, equals, value = word.lstrip("-").partition("=")
        if not equals:
            value = words.pop(0) if words and not words[0].startswith("-") else "true"
        yield _checked(name.replace("_", "-"), value, argument)


def _words(argument: str) -> list[str]:
    """Return the words of an argument, as a shell splits them, without a program's name in front."""
    try:
        words = shlex.split(argument)
    except ValueError:
        words = argument.split()
    if len(words) > 1 and not re.match(r"-|[^=]*=", words[0]) and words[1].startswith("-"):
        return words[1:]
    return words or [argument]


def _checked(name: str, value: str, argument: str) -> tuple[str, str]:
    if name not in FLAGS:
        near = difflib.get_close_matches(name, sorted(FLAGS), n=1)
        hint = f"did you mean --{near[0]}?" if near else f"write e.g. {GRACE_FLAG}=40s"
        raise Refused(f"{OPTION} {argument!r}: no version of these programs has a flag --{name}", hint)
    try:
        _check(name, value)
    except ValueError as error:
        raise Refused(f"{OPTION} {argument!r}: {error}", f"write e.g. {GRACE_FLAG}=40s") from None
    return name, value


def _check(name: str, value: str) -> None:
    """Raise ValueError if the flag can't have this value."""
    if name in DURATIONS and not _DURATION.fullmatch(value):
        raise ValueError(f"{value!r} is not a duration such as 40s")
    if name == TOLERATION_FLAG and not (value.isascii() and value.isdecimal()):
        raise ValueError(f"{value!r} is not a number of seconds")
    if name in _RATES and not (math.isfinite(_RATES[name][1](value)) and _RATES[name][1](value) >= 0):
        raise ValueError(f"{value!r} is not a rate")


# -- the snapshot's flags ----------------------------------------------------------------------------------------


def distribution_flags(annotations: Iterable[Mapping[str, str]]) -> Flags | None:
    """Return the flags of the control plane in the nodes' annotations by k3s and RKE2; None without a server's."""
    found: Flags | None = None
    for notes in annotations:
        for arguments in (_json_words(notes[name]) for name in NODE_ARGS if name in notes):
            if arguments[:1] == ["server"]:
                found = (found or {}) | dict(_component_flags(arguments))
    return found


def timing_node_args(value: str) -> str:
    """Return an annotation of `NODE_ARGS` with only those arguments that are read."""
    arguments = _json_words(value)
    kept = [f"--kube-controller-manager-arg={name}={value}" for name, value in _component_flags(arguments)]
    return json.dumps([*arguments[:1], *kept]) if arguments[:1] == ["server"] else "[]"


def _json_words(value: str) -> list[str]:
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return []
    return [word for word in found if isinstance(word, str)] if isinstance(found, list) else []


def _component_flags(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    for at, word in enumerate(arguments):
        if match := _COMPONENT_ARG.fullmatch(word):
            flag = match[2] if match[2] is not None else "".join(arguments[at + 1 : at + 2])
            name, equals, value = flag.lstrip("-").partition("=")
            if name in READ_FLAGS:
                yield name, value if equals else "true"


def unmodelled(flags: Mapping[str, str]) -> Iterator[str]:
    """Yield why flags make a prediction unknown: they switch off what it takes for running."""
    listed = [each.strip() for each in flags.get(CONTROLLERS, "*").split(",")]
    for name, old in NEEDED_CONTROLLERS.items():
        names = {name, old} - {""}
        is_off = any(f"-{each}" in listed for each in names)
        if is_off or ("*" not in listed and not names & set(listed)):
            yield f"--{CONTROLLERS} leaves out {name}, and what follows isn't modelled"
    if flags.get(TAINT_MANAGER, "true").lower() in ("false", "0", "f"):
        yield f"--{TAINT_MANAGER}=false leaves out evictions, and what follows isn't modelled"
    if "DefaultTolerationSeconds" in flags.get(NO_PLUGINS, ""):
        yield f"--{NO_PLUGINS} leaves out DefaultTolerationSeconds, and what follows isn't modelled"
    for gate in GATES_THAT_MATTER:
        if gate in flags.get(GATES, ""):
            yield f"--{GATES} has {gate}, which isn't modelled"


def evicts(flags: Mapping[str, str], version: str) -> bool:
    """Whether Pods are evicted from lost nodes: since 1.29 by a controller that can be switched off."""
    listed = [each.strip() for each in flags.get(CONTROLLERS, "*").split(",")]
    if f"-{TAINT_EVICTION}" in listed:
        return False
    is_own = minor(version) >= TAINT_EVICTION_SINCE
    return not is_own or "*" in listed or TAINT_EVICTION in listed


def asks_for_leases(flags: Mapping[str, str], version: str) -> bool:
    """Whether the node lifecycle controller asks for each lost node's Lease again: pkg/features/kube_features.go."""
    return minor(version) >= LEASE_GATE_SINCE and f"{LEASE_GATE}=false" not in flags.get(GATES, "")


def _source(static: Mapping[str, str] | None, given: Mapping[str, str], version: str, where: str) -> str:
    if given.keys() & TIMING_FLAGS:
        return "arguments of the command line, which override the snapshot's"
    if static is not None:
        return f"arguments of {where}, and Kubernetes' defaults"
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
