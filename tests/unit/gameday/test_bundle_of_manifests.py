"""What is applied: least privilege, nothing retried; schedule, kustomization and chart make the same objects."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from checkout import ROOT
from gamedays import EXPERIMENTS, settings

from chaosext.gameday.bundle_of_manifests import compose, helm_values, kustomize
from chaosext.gameday.gameday_settings import GameDaySettings, read_settings
from chaosext.gameday.rights import OWN, rights, rules
from chaosext.model.paths import cache_home

if TYPE_CHECKING:
    from pathlib import Path

CHART = ROOT / "deploy/helm/chaosext"

VARIANTS: dict[str, dict[str, Any]] = {
    "least": {},
    "much": {
        "namespace": "chaos",
        "image": "r.example/chaosext@sha256:" + "0" * 64,
        "image_pull_secrets": ["pull"],
        "time_zone": "Europe/Berlin",
        "suspend": True,
        "deadline_s": 7200,
        "history": {"successful": 0, "failed": 1},
        "node_selector": {"pool": "tools"},
        "configuration": {"ttl_s": 60},
        "limits": {"max_ttl_s": 300, "allowed_hours": ["Mon-Sun 00:00-24:00 UTC"]},
        "webhook": {"secret": "hook"},
        "results": {"size": "2Gi", "storage_class": "fast", "upload": {"secret": "store", "key": "put"}},
    },
    "claim": {"results": {"claim": "kept"}, "name": "other"},
}


def by_name(objects: list[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each
        for each in objects
    }


def made(**changes: Any) -> dict[tuple[str, str, str], dict[str, Any]]:
    return by_name(compose(settings(**changes), EXPERIMENTS).objects)


def tool(name: str) -> str:
    """A command on PATH, or of a testbed that was up here once."""
    built = (path / name for path in cache_home().glob("*-*") if (path / name).is_file())
    found = shutil.which(name) or next(map(str, built), None)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


def printed(*words: str) -> list[dict[str, Any]]:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


@pytest.mark.parametrize("variant", VARIANTS)
class TestOneSource:
    def test_the_chart_makes_what_schedule_writes(self, tmp_path: Path, variant: str) -> None:
        composed = compose(settings(**VARIANTS[variant]), EXPERIMENTS)
        (tmp_path / "values.yaml").write_text(helm_values(composed)["values.yaml"])
        words = [
            "template",
            "x",
            str(CHART),
            "--kube-version",
            "v1.34.0",
            "-f",
            str(tmp_path / "values.yaml"),
        ]
        rendered = printed(tool("helm"), *words, "--set", "create_namespace=true")
        assert by_name(rendered) == by_name(composed.objects)

        without = by_name(printed(tool("helm"), *words))
        assert set(by_name(composed.objects)) - set(without) == {
            ("Namespace", "", settings(**VARIANTS[variant]).namespace)
        }

    def test_the_kustomization_is_what_schedule_writes(self, tmp_path: Path, variant: str) -> None:
        composed = compose(settings(**VARIANTS[variant]), EXPERIMENTS)
        for name, text in kustomize(composed).items():
            (tmp_path / name).write_text(text)
        assert by_name(printed(tool("kubectl"), "kustomize", str(tmp_path))) == by_name(composed.objects)


def test_the_kustomize_base_in_the_repository_is_that_of_the_example() -> None:
    base = ROOT / "deploy/kustomize/base"
    composed = compose(read_settings(ROOT / "deploy/gameday.yaml"), ROOT / "deploy")
    assert {path.name: path.read_text() for path in base.iterdir()} == kustomize(composed)


class TestRunner:
    def test_it_is_unprivileged_and_where_an_api_server_is_reached(self) -> None:
        pod = made()["CronJob", "chaosext", "night"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["nodeSelector"] == {"node-role.kubernetes.io/control-plane": ""}
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "hostNetwork" not in pod
        assert not [volume for volume in pod["volumes"] if "hostPath" in volume]

    def test_nothing_is_retried_and_none_overlaps(self) -> None:
        spec = made(deadline_s=2000)["CronJob", "chaosext", "night"]["spec"]
        assert spec["concurrencyPolicy"] == "Forbid"
        job = spec["jobTemplate"]["spec"]
        assert (job["backoffLimit"], job["activeDeadlineSeconds"]) == (0, 2000)
        assert job["template"]["spec"]["restartPolicy"] == "Never"

    def test_two_game_days_share_no_object_but_their_namespace(self) -> None:
        here, there = made(), made(name="day")
        elsewhere = made(namespace="other")
        assert set(here) & set(there) == {("Namespace", "", "chaosext")}
        assert not set(here) & set(elsewhere)

    def test_no_secret_is_in_what_is_applied(self) -> None:
        mounted = made(webhook={"secret": "hook"})["CronJob", "chaosext", "night"]
        assert "'secretName': 'hook'" in str(mounted)
        assert "secretKeyRef" not in str(mounted)


class TestRights:
    def test_there_is_no_wildcard_no_secret_and_nothing_that_grants(self) -> None:
        for rule in rules("night"):
            words = {rule.group, *rule.resources, *rule.verbs}
            assert "*" not in words
            assert not words & {"secrets", "serviceaccounts/token", "impersonate", "escalate", "bind"}
            assert not {"patch", "deletecollection"} & set(rule.verbs)

    def test_cluster_wide_only_reading_is_allowed(self) -> None:
        verbs = {verb for rule in rules("night") if not rule.namespace for verb in rule.verbs}
        assert verbs <= {"get", "list", "watch"}

    def test_what_can_be_limited_to_a_name_is(self) -> None:
        for right in rights("night", "chaosext"):
            if right.resource in ("leases", "daemonsets", "cronjobs") and right.verb in (
                "get",
                "update",
                "delete",
            ):
                assert right.name, right

    def test_no_two_rules_give_the_same(self) -> None:
        known = [str(right) for right in rights("night", "chaosext")]
        assert len(known) == len(set(known))
        everywhere = {str(right) for right in rights("night", "chaosext") if not right.namespace}
        assert not [
            each for each in known if each not in everywhere and each.partition(" in ")[0] in everywhere
        ]

    def test_every_rule_is_in_a_role_of_its_namespace(self) -> None:
        objects = made()
        for rule in rules("night"):
            namespace = "chaosext" if rule.namespace == OWN else rule.namespace
            kind = "Role" if namespace else "ClusterRole"
            name = "night" if rule.namespace == OWN else "chaosext-night"
            assert rule.to_json() in objects[kind, namespace, name]["rules"]
            binding = objects[f"{kind}Binding", namespace, name]
            assert binding["roleRef"]["name"] == name
            assert binding["subjects"] == [
                {"kind": "ServiceAccount", "name": "night", "namespace": "chaosext"}
            ]


class TestAdmission:
    def test_the_account_is_confined_before_it_is_granted_anything(self) -> None:
        kinds = [each["kind"] for each in compose(settings(), EXPERIMENTS).objects]
        last_policy = max(index for index, kind in enumerate(kinds) if kind.startswith("ValidatingAdmission"))
        assert last_policy < min(kinds.index(kind) for kind in ("ClusterRoleBinding", "RoleBinding"))

    def test_each_policy_is_bound_to_deny(self) -> None:
        objects = made()
        names = {name for kind, _, name in objects if kind == "ValidatingAdmissionPolicy"}
        bound = {
            each["spec"]["policyName"]: each["spec"]["validationActions"]
            for (kind, _, _), each in objects.items()
            if kind == "ValidatingAdmissionPolicyBinding"
        }
        assert bound == {name: ["Deny"] for name in names}
        assert len(names) == 3

    @pytest.mark.parametrize(
        ("words", "problem"),
        [
            (["--set", "name=other"], "is for another account"),
            (["--set", "namespace=other"], "is for another account"),
            (["--set", "admission=null"], "generate the values with"),
            (["--set-json", "admission=[]"], "generate the values with"),
        ],
    )
    def test_a_chart_whose_policies_confine_another_account_or_none_is_not_rendered(
        self, tmp_path: Path, words: list[str], problem: str
    ) -> None:
        values = tmp_path / "values.yaml"
        values.write_text(helm_values(compose(settings(), EXPERIMENTS))["values.yaml"])
        argv = [tool("helm"), "template", "x", str(CHART), "--kube-version", "v1.34.0", "-f", str(values)]
        done = subprocess.run([*argv, *words], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0
        assert problem in done.stderr


def test_the_values_of_the_chart_are_settings_again() -> None:
    values = yaml.safe_load(helm_values(compose(settings(), EXPERIMENTS))["values.yaml"])
    del values["files"], values["admission"]
    assert GameDaySettings.model_validate(values).name == "night"
