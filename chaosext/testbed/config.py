"""The configuration of a testbed: a frozen blueprint, derived from kind-config.yaml and a few options.

Blueprints are compared by their records, so that `up` can distinguish the same testbed from a different one.
"""

from __future__ import annotations

import copy
import hashlib
import ipaddress
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from chaosext.cluster.object_files import parse_yaml
from chaosext.model.errors import Refused
from chaosext.model.files import read_file
from chaosext.rehearsal.mitigate.nodelocal_dns import LOCAL_IP
from chaosext.testbed.bed_choices import (
    ControlPlaneTimings,
    StoryMitigation,
    chosen,
)
from chaosext.testbed.bed_options import BedOptions, make_options
from chaosext.testbed.kubernetes_releases import fit_config
from chaosext.testbed.versions import KUBERNETES_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

KindConfig = dict[str, Any]
"""kind's configuration (kind.x-k8s.io/v1alpha4), as parsed from YAML."""

DEFAULT_NAME = "chaosext"
SECOND_OF = "second of"
"""Key of a second cluster's record; its value is the testbed's name."""
SECOND_WORKERS = 1
"""The second cluster takes over and is never cut, so it is as small as possible."""
KIND_API_VERSION = "kind.x-k8s.io/v1alpha4"
# kind's defaults (kind 0.33, pkg/internal/apis/config/default.go).
DEFAULT_POD_SUBNET = "10.244.0.0/16"
DEFAULT_SERVICE_SUBNET = "10.96.0.0/16"

ACCELERATED_FLAGS: Mapping[str, Mapping[str, str]] = {
    "controllerManager": {"node-monitor-grace-period": "20s"},
    "apiServer": {
        "default-not-ready-toleration-seconds": "20",
        "default-unreachable-toleration-seconds": "20",
    },
}
"""kubeadm's component -> flag -> value, with which a cutover takes one minute instead of six."""

# Kubernetes' defaults: kube-controller-manager 1.32+ and the DefaultTolerationSeconds admission plugin.
DEFAULT_GRACE = "50s"
DEFAULT_TOLERATION_S = "300"

KUBEADM_CONTROLLERS = "*,bootstrapsigner,tokencleaner"
"""kube-controller-manager's `--controllers` (cmd/kubeadm/app/phases/controlplane/manifests.go)."""

KUBELET_PATCH: dict[str, Any] = {"kind": "KubeletConfiguration", "clusterDNS": [LOCAL_IP]}
"""For kind: kubeadm then gives every kubelet the cache's address for its Pods."""

NO_EVICTIONS = "-taint-eviction-controller"
"""Turns evictions off, with Kubernetes 1.29 or newer, as `pause-evictions` of `chaosext rehearse` does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """A testbed as configured. `kind_config` already has all that kind and kubeadm must know of the options.

    `second_of`: the testbed whose second cluster this is; both share a load balancer, and are brought up and
    removed together. "" for none.
    """

    name: str
    kind_config: KindConfig
    options: BedOptions
    timings: ControlPlaneTimings = ControlPlaneTimings.ACCELERATED
    second_of: str = ""

    @property
    def control_planes(self) -> int:
        """The number of control-plane nodes."""
        return len(nodes_of(self.kind_config, "control-plane"))

    @property
    def workers(self) -> int:
        """The number of workers."""
        return len(nodes_of(self.kind_config, "worker"))

    @property
    def pod_subnet(self) -> str:
        """The Pods' IPv4 prefix, such as 10.244.0.0/16."""
        return str(_networking(self.kind_config).get("podSubnet") or DEFAULT_POD_SUBNET)

    @property
    def service_subnet(self) -> str:
        """The Services' IPv4 prefix; kube-dns has its tenth address."""
        return str(_networking(self.kind_config).get("serviceSubnet") or DEFAULT_SERVICE_SUBNET)

    @property
    def context(self) -> str:
        """The name of the kubeconfig context that kind creates."""
        return f"kind-{self.name}"

    def kind_yaml(self, kubernetes: str = KUBERNETES_VERSION) -> str:
        """Return the configuration for `kind create cluster --config -` of nodes with that version of Kubernetes."""
        return yaml.safe_dump(fit_config(self.kind_config, kubernetes), sort_keys=False)

    def record(
        self, *, node_image: str, image_source: str, kubernetes: str = KUBERNETES_VERSION
    ) -> dict[str, str]:
        """Return what identifies this configuration.

        `up` stores it on the testbed, and compares it at the next `up`.
        """
        digest = hashlib.sha256(json.dumps(self.kind_config, sort_keys=True).encode()).hexdigest()
        return {
            "kubernetes": kubernetes,
            "control planes": str(self.control_planes),
            "workers": str(self.workers),
            "timings": self.timings.value,
            **self.options.record(),
            "images": image_source,
            "node image": node_image,
            "kind configuration": digest[:16],
            **timings_in_force(self.kind_config),
            **({SECOND_OF: self.second_of} if self.second_of else {}),
        }


def make_blueprint(
    *,
    name: str = DEFAULT_NAME,
    config_text: str,
    network: str | None = None,
    mesh: str | None = None,
    sidecars: str | None = None,
    dns: str | None = None,
    timings: str | None = None,
    mitigations: Sequence[str] = (),
    workers: int | None = None,
    existing: Mapping[str, str] | None = None,
) -> Blueprint:
    """Return the blueprint for a kind configuration's text and the options.

    An option that is not given is as in the record of the `existing` testbed, or else the default; `workers=None`
    uses the file's number.

    Raises `Refused`, which names the field and the fix.
    """
    config, found = parse_kind_config(config_text), existing or {}
    if workers is not None and workers != len(nodes_of(config, "worker")):
        config = with_workers(config, workers)
    speed = chosen(
        ControlPlaneTimings, timings or found.get("timings", ControlPlaneTimings.ACCELERATED), "timings"
    )
    options = make_options(
        network=network, mesh=mesh, sidecars=sidecars, dns=dns, mitigations=mitigations, existing=found
    )
    timed = accelerate(config) if speed is ControlPlaneTimings.ACCELERATED else slow_down(config)
    return Blueprint(
        name=checked_name(name),
        kind_config=_checked(with_options(timed, options)),
        options=options,
        timings=speed,
    )


def second_name(name: str) -> str:
    """Return the name of the second cluster of the testbed `name`."""
    return f"{name}-b"


def second_blueprint(first: Blueprint) -> Blueprint:
    """Return the blueprint of the second cluster behind the load balancer: like `first`, but smaller.

    Raises `Refused` if its name would be too long.
    """
    control_plane = nodes_of(first.kind_config, "control-plane")[:1]
    workers = nodes_of(with_workers(first.kind_config, SECOND_WORKERS), "worker")
    config = {**copy.deepcopy(first.kind_config), "nodes": copy.deepcopy([*control_plane, *workers])}
    name = checked_name(second_name(first.name))
    return replace(first, name=name, kind_config=config, second_of=first.name)


def read_kind_config(path: Path | None = None) -> str:
    """Return the text of `path`, or of the kind-config.yaml that chaosext ships. Raises `Refused`."""
    chosen = path or shipped_kind_config()
    try:
        return read_file(chosen).decode()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        raise Refused(
            f"--config {chosen} cannot be read ({why})", "set --config to a kind configuration"
        ) from error


def shipped_kind_config() -> Path:
    """Return the path of kind-config.yaml: next to this module in a wheel, at the top of a checkout."""
    here = Path(__file__).resolve()
    shipped = here.with_name("kind-config.yaml")
    return shipped if shipped.exists() else here.parents[2] / "kind-config.yaml"


def parse_kind_config(text: str) -> KindConfig:
    """Parse the configuration. Raises `Refused` unless it is a kind cluster of the supported version."""
    try:
        config = parse_yaml(text)
    except ValueError as error:
        raise Refused(f"the kind configuration is not YAML ({error})", "fix the file") from error
    if not isinstance(config, dict) or config.get("kind") != "Cluster":
        raise Refused(
            "the kind configuration's `kind` is not Cluster", f"start from {shipped_kind_config().name}"
        )
    if config.get("apiVersion") != KIND_API_VERSION:
        raise Refused(
            f"the kind configuration's `apiVersion` is {config.get('apiVersion')!r}",
            f"set it to {KIND_API_VERSION}",
        )
    return config


def nodes_of(config: KindConfig, role: str) -> list[dict[str, Any]]:
    """Return the configuration's nodes with that role."""
    return [node for node in config.get("nodes") or [] if node.get("role") == role]


def with_workers(config: KindConfig, count: int) -> KindConfig:
    """Return the configuration with `count` workers: the first ones stay, additional ones are copies of the last.

    Raises `Refused` for a count below 1.
    """
    if count < 1:
        raise Refused(f"workers is {count}", "set it to at least 1: a cut needs nodes to cut off")
    present = nodes_of(config, "worker") or [{"role": "worker"}]
    workers = [copy.deepcopy(present[min(index, len(present) - 1)]) for index in range(count)]
    return {**config, "nodes": [*copy.deepcopy(nodes_of(config, "control-plane")), *workers]}


def accelerate(config: KindConfig) -> KindConfig:
    """Return the configuration with the accelerated flags; flags that it sets itself stay."""
    missing = {
        component: absent
        for component, flags in ACCELERATED_FLAGS.items()
        if (absent := {flag: value for flag, value in flags.items() if flag not in _flags(config, component)})
    }
    if not missing:
        return config
    return _patched(config, _flags_patch(missing))


def with_options(config: KindConfig, options: BedOptions) -> KindConfig:
    """Return the configuration with what kubelets and the control plane must know of the options."""
    if options.caches_on_nodes:
        config = _patched(config, KUBELET_PATCH)
    if StoryMitigation.PAUSE_EVICTIONS in options.mitigations:
        running = _flags(config, "controllerManager").get("controllers", KUBEADM_CONTROLLERS)
        config = _patched(
            config, _flags_patch({"controllerManager": {"controllers": f"{running},{NO_EVICTIONS}"}})
        )
    return config


def slow_down(config: KindConfig) -> KindConfig:
    """Return the configuration without the flags that `accelerate` sets, so that Kubernetes' defaults apply."""
    return _map_patches(config, _without_timings)


def timings_in_force(config: KindConfig) -> dict[str, str]:
    """Return the cluster's grace period and tolerations, in Kubernetes' notation."""
    manager, api = _flags(config, "controllerManager"), _flags(config, "apiServer")
    return {
        "node-monitor-grace-period": manager.get("node-monitor-grace-period", DEFAULT_GRACE),
        "not-ready toleration": _seconds(api, "default-not-ready-toleration-seconds"),
        "unreachable toleration": _seconds(api, "default-unreachable-toleration-seconds"),
    }


def differences(recorded: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """List what `wanted` would change, each as `timings: accelerated → production`; empty if nothing."""
    names = [*wanted, *(name for name in recorded if name not in wanted)]
    return [
        f"{name}: {recorded.get(name, 'absent')} → {wanted.get(name, 'absent')}"
        for name in names
        if recorded.get(name) != wanted.get(name)
    ]


def checked_name(name: str) -> str:
    """Return `name` if Docker, kind and Kubernetes all accept it. Raises `Refused`."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?", name):
        raise Refused(
            f"name {name!r} is not a valid cluster name",
            "use at most 30 of a-z, 0-9 and '-', not at the ends",
        )
    return name


def _flags_patch(flags: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return a patch of kubeadm's configuration that sets flags: component -> flag -> value."""
    return {"kind": "ClusterConfiguration"} | {
        name: {"extraArgs": dict(each)} for name, each in flags.items()
    }


def _patched(config: KindConfig, patch: dict[str, Any]) -> KindConfig:
    patches = [*(config.get("kubeadmConfigPatches") or []), yaml.safe_dump(patch, sort_keys=False)]
    return {**config, "kubeadmConfigPatches": patches}


def _seconds(flags: Mapping[str, str], name: str) -> str:
    return f"{flags.get(name, DEFAULT_TOLERATION_S)}s"


def _networking(config: KindConfig) -> dict[str, Any]:
    return config.get("networking") or {}


def _checked(config: KindConfig) -> KindConfig:
    """Return the configuration if the testbed can be built with it. Raises `Refused` otherwise."""
    if not nodes_of(config, "control-plane"):
        raise Refused(
            "the kind configuration has no control-plane node", "add `- role: control-plane` to `nodes`"
        )
    if not nodes_of(config, "worker"):
        raise Refused(
            "the kind configuration has no worker", "add `- role: worker` to `nodes`, or use --workers"
        )
    if not _networking(config).get("disableDefaultCNI"):
        raise Refused(
            "networking.disableDefaultCNI is not true", "set it to true: the testbed installs a network"
        )
    for field in ("podSubnet", "serviceSubnet"):
        _check_ipv4_prefix(field, _networking(config).get(field))
    return config


def _check_ipv4_prefix(field: str, value: str | None) -> None:
    try:
        ipaddress.IPv4Network(value or DEFAULT_POD_SUBNET)
    except ValueError as error:
        raise Refused(
            f"networking.{field} is not an IPv4 prefix ({error})", "write e.g. 10.244.0.0/16"
        ) from error


def _flags(config: KindConfig, component: str) -> dict[str, str]:
    """Return all extra flags that the configuration's patches set for a control-plane component."""
    found: dict[str, str] = {}
    for text in _patches(config):
        for document in _documents(text):
            found |= _extra_args(document, component)
    return found


def _documents(patch: str) -> list[Any]:
    try:
        return list(yaml.safe_load_all(patch))
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise Refused(f"kubeadmConfigPatches: not YAML: {said:.200}", "fix the patch") from None


def _patches(config: KindConfig) -> list[str]:
    everywhere = (config, *nodes_of(config, "control-plane"))
    return [text for place in everywhere for text in place.get("kubeadmConfigPatches") or []]


def _extra_args(document: Any, component: str) -> dict[str, str]:
    if not isinstance(document, dict) or document.get("kind") != "ClusterConfiguration":
        return {}
    flags = (document.get(component) or {}).get("extraArgs") or {}
    if not isinstance(flags, dict):
        raise Refused(
            f"kubeadmConfigPatches: {component}.extraArgs is a list",
            "write a map: kind 0.33 uses kubeadm's v1beta3",
        )
    return {name: str(value) for name, value in flags.items()}


def _map_patches(config: KindConfig, change: Callable[[str], str]) -> KindConfig:
    changed = copy.deepcopy(config)
    for place in (changed, *nodes_of(changed, "control-plane")):
        if "kubeadmConfigPatches" in place:
            kept = [text for text in map(change, place["kubeadmConfigPatches"]) if text]
            place["kubeadmConfigPatches"] = kept
    return changed


def _without_timings(text: str) -> str:
    """Return a patch without the accelerating flags; "" if nothing else is in it."""
    documents = [_strip(document) for document in _documents(text) if isinstance(document, dict)]
    return yaml.safe_dump_all((each for each in documents if set(each) - {"kind"}), sort_keys=False)


def _strip(document: dict[str, Any]) -> dict[str, Any]:
    stripped = copy.deepcopy(document)
    for component, flags in ACCELERATED_FLAGS.items():
        given = _extra_args(stripped, component)
        if given.keys() & flags.keys():
            stripped[component]["extraArgs"] = {key: given[key] for key in given if key not in flags}
            _drop_if_empty(stripped, component)
    return stripped


def _drop_if_empty(document: dict[str, Any], component: str) -> None:
    if not document[component]["extraArgs"]:
        del document[component]["extraArgs"]
    if not document[component]:
        del document[component]
