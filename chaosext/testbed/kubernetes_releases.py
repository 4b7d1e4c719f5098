"""The Kubernetes releases that the testbed runs, and what differs between them. Pure.

The oldest is the one from which on kube-controller-manager's grace period is 50 s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from chaosext.model.errors import Refused
from chaosext.testbed.versions import KUBERNETES_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

OPTION = "--kubernetes"
ASKED = re.compile(r"v?(?P<minor>[0-9]+\.[0-9]+)(?P<patch>\.[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesRelease:
    """The release of one minor version.

    `version` is built from Go modules: the newest that the Go module proxy lists. `node_tag` and `node_digest` are
    kind's image of the same minor version, kindest/node on Docker Hub.
    """

    version: str
    node_tag: str
    node_digest: str


# Node images: the release notes of kind 0.33.0, for 1.33 of kind 0.32.0, for 1.32 of kind 0.31.0.
RELEASES: Mapping[str, KubernetesRelease] = {
    "1.32": KubernetesRelease(
        version="v1.32.13",
        node_tag="v1.32.11",
        node_digest="sha256:5fc52d52a7b9574015299724bd68f183702956aa4a2116ae75a63cb574b35af8",
    ),
    "1.33": KubernetesRelease(
        version="v1.33.13",
        node_tag="v1.33.12",
        node_digest="sha256:3f5c8443c620245e4d355cfe09e96a91ead32ceaa569d3f1ca9edf0cb2fe2ff4",
    ),
    "1.34": KubernetesRelease(
        version=KUBERNETES_VERSION,
        node_tag="v1.34.11",
        node_digest="sha256:44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d",
    ),
    "1.35": KubernetesRelease(
        version="v1.35.4",
        node_tag="v1.35.8",
        node_digest="sha256:07b2536e30b803ed61d1677a79df6115f798ce64c80f9e22f6ed45afd09323c0",
    ),
    "1.36": KubernetesRelease(
        version="v1.36.3",
        node_tag="v1.36.4",
        node_digest="sha256:099e049362a1526b2db71494e1947aae99bd16290d7c895f2b7ea312e3cbfaed",
    ),
    "1.37": KubernetesRelease(
        version="v1.37.2",
        node_tag="v1.37.0",
        node_digest="sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5",
    ),
}
"""Releases by minor version, oldest first."""

KUBELET_REFUSES_CGROUP_V1_SINCE = (1, 35)
"""Kubernetes 1.35 changed the default of kubelet's `failCgroupV1` to true."""


def minor_of(version: str) -> str:
    """Return the minor version, such as "1.33", of "v1.33.13" or "1.33"; "" if it is not a version."""
    found = ASKED.fullmatch(version)
    return found["minor"] if found else ""


DEFAULT_KUBERNETES = minor_of(KUBERNETES_VERSION)
"""The minor version that runs where none is asked for."""


def numbers_of(version: str) -> tuple[int, int]:
    """Return (1, 33) for "v1.33.13" or "1.33". Raises ValueError if it is not a version."""
    major, _, minor = minor_of(version).partition(".")
    return int(major), int(minor)


def release_of(asked: str) -> KubernetesRelease:
    """Return the release of the minor version of `asked`. Raises `Refused` for one that is not in `RELEASES`."""
    found = RELEASES.get(minor_of(asked))
    if found is None:
        raise Refused(
            f"{OPTION} {asked!r} is not a version of Kubernetes that the testbed runs",
            f"use one of {', '.join(RELEASES)}, or a patch release of these such as {KUBERNETES_VERSION}",
        )
    return found


def version_to_build(asked: str) -> str:
    """Return the version that `asked` means: "v1.33.13" for "1.33", "v1.33.6" for "1.33.6". Raises `Refused`."""
    release = release_of(asked)
    return f"v{asked.removeprefix('v')}" if asked.count(".") > 1 else release.version


def is_asked_for(version: str, asked: str) -> bool:
    """Return whether `version` is what `asked` names: a minor version means each of its patch releases."""
    if asked.count(".") > 1:
        return version == f"v{asked.removeprefix('v')}"
    return minor_of(version) == minor_of(asked)


def fit_config(config: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return kind's configuration `config` with what nodes of that version need in addition.

    Arguments of kubeadm's components stay maps: kind translates them for the versions that want lists.
    """
    if numbers_of(version) < KUBELET_REFUSES_CGROUP_V1_SINCE:
        return dict(config)
    patch = yaml.safe_dump({"kind": "KubeletConfiguration", "failCgroupV1": False}, sort_keys=False)
    return {**config, "kubeadmConfigPatches": [*(config.get("kubeadmConfigPatches") or []), patch]}
