"""The releases of Kubernetes that the testbed runs: which are meant, and what their nodes need."""

from __future__ import annotations

import pytest
import yaml

from chaosext.model.errors import Refused
from chaosext.testbed.config import parse_kind_config, read_kind_config
from chaosext.testbed.kubernetes_releases import (
    DEFAULT_KUBERNETES,
    RELEASES,
    fit_config,
    is_asked_for,
    minor_of,
    version_to_build,
)
from chaosext.testbed.versions import KUBERNETES_VERSION

SHIPPED = parse_kind_config(read_kind_config())


def test_the_usual_version_is_one_of_the_releases_and_older_and_newer_ones_exist() -> None:
    minors = list(RELEASES)
    assert RELEASES[DEFAULT_KUBERNETES].version == KUBERNETES_VERSION
    assert minors[0] < DEFAULT_KUBERNETES < minors[-1]
    assert [minor_of(each.version) for each in RELEASES.values()] == minors


@pytest.mark.parametrize(
    ("asked", "built"),
    [("1.34", "v1.34.4"), ("v1.34", "v1.34.4"), ("v1.33.6", "v1.33.6"), ("1.33.6", "v1.33.6")],
)
def test_version_to_build_is_the_release_of_a_minor_version_or_what_is_said(asked: str, built: str) -> None:
    assert version_to_build(asked) == built


@pytest.mark.parametrize(
    "asked", ["1.31", "v1.31.4", "2.34", "1", "1.34.x", "1.34.4.1", " 1.34", "\u0661.34"]
)
def test_version_to_build_is_refused_when_the_testbed_does_not_run_it(asked: str) -> None:
    with pytest.raises(Refused, match="is not a version of Kubernetes that the testbed runs"):
        version_to_build(asked)


@pytest.mark.parametrize(
    ("version", "asked", "fits"),
    [
        ("v1.33.13", "1.33", True),
        ("v1.33.13", "v1.33.13", True),
        ("v1.33.13", "1.33.13", True),
        ("v1.33.13", "v1.33.1", False),
        ("v1.33.1", "v1.33.13", False),
        ("v1.3.13", "1.33", False),
        ("", "1.33", False),
    ],
)
def test_minor_version_stands_for_its_patch_releases(version: str, asked: str, fits: bool) -> None:
    assert is_asked_for(version, asked) is fits


def test_configuration_is_unchanged_for_kubelets_that_run_on_cgroup_v1() -> None:
    assert fit_config(SHIPPED, "v1.34.4") == SHIPPED


@pytest.mark.parametrize("version", ["v1.35.4", "v1.37.2"])
def test_configuration_permits_cgroup_v1_to_kubelets_that_refuse_it_by_default(version: str) -> None:
    *before, added = fit_config(SHIPPED, version)["kubeadmConfigPatches"]
    assert before == SHIPPED["kubeadmConfigPatches"]
    assert yaml.safe_load(added) == {"kind": "KubeletConfiguration", "failCgroupV1": False}
