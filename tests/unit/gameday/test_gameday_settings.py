"""Settings: every bad value is refused with its field and what to do, before anything is written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from checkout import ROOT
from click.testing import CliRunner
from gamedays import EXPERIMENTS, UID, settings, values, written

from chaosext.cli.main import cli, invoke
from chaosext.experiment.load import load_experiment
from chaosext.gameday.bundle_of_manifests import compose, files_of, helm_values
from chaosext.gameday.effective_experiment import effective, longest_s
from chaosext.gameday.gameday_settings import GameDaySettings, read_settings
from chaosext.model.errors import Refused
from chaosext.safety.approvals import approval_digest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("changes", "field", "fix"),
    [
        ({"name": "Night"}, "name: String should match", "'Night'"),
        ({"name": "n" * 53}, "name: String should have at most 52", "nnn"),
        ({"namespace": "kube-system"}, "namespace: kube-system is not chaosext's own", "name a namespace"),
        ({"namespace": "istio-system"}, "namespace: istio-system is not chaosext's own", "name a namespace"),
        ({"namespace": "default"}, "namespace: default is not chaosext's own", "name a namespace"),
        ({"schedule": "61 2 * * *"}, "schedule: minute: '61' is not between 0 and 59", "61 2"),
        ({"schedule": 5}, "schedule: Input should be a valid string", "5"),
        (
            {"time_zone": "Europe/Berlim"},
            "time_zone: there is no time zone 'Europe/Berlim'",
            "such as Europe/Berlin",
        ),
        ({"time_zone": "../etc/passwd"}, "time_zone: there is no time zone", "such as Europe/Berlin"),
        ({"deadline_s": 5}, "deadline_s: Input should be greater than or equal to 60", "5"),
        ({"deadline_s": "soon"}, "deadline_s: Input should be a valid integer", "soon"),
        ({"starting_deadline_s": 1}, "starting_deadline_s: Input should be greater", "1"),
        ({"suspend": "maybe"}, "suspend: Input should be a valid boolean", "maybe"),
        ({"suspended": True}, "suspended: unknown key", "did you mean suspend?"),
        (
            {"cluster": {"context": "a", "kube_system_id": UID}},
            "cluster.kube_system_id: unknown key",
            "did you mean kube_system_uid?",
        ),
        (
            {"cluster": {"context": "a", "kube_system_uid": UID, "produktion": True}},
            "cluster.produktion: unknown key",
            "did you mean production?",
        ),
        (
            {"cluster": {"context": "", "kube_system_uid": UID}},
            "cluster.context: it is empty",
            "change ''",
        ),
        (
            {"cluster": {"context": "a", "kube_system_uid": "1"}},
            "cluster.kube_system_uid: String should match",
            "1",
        ),
        ({"history": {"failed": -1}}, "history.failed: Input should be greater", "-1"),
        ({"results": {"claim": "a", "size": "1Gi"}}, "results: claim and size", ""),
        ({"results": {"size": "1 GB"}}, "results.size: String should match", "1 GB"),
        (
            {"webhook": {"secret": "x", "url": "https://x"}},
            "webhook.url: unknown key",
            "known: key, secret",
        ),
        ({"limits": {"allowed_hours": ["Mon 9-17"]}}, "limits.allowed_hours: allowed_hours: 'Mon 9-17'", ""),
        ({"limits": {"max_ttl": 5}}, "limits.max_ttl: unknown key", "did you mean max_ttl_s?"),
        ({"limits": {"max_ttl_s": 0}}, "limits.max_ttl_s: Input should be greater than 0", "0"),
        ({"expect": "fine"}, "expect: Input should be 'passed' or 'deviated'", "fine"),
        ({"experiment": ""}, "experiment: it is empty", "compare with `chaosext examples gameday`"),
        (
            {"limits": {"allowed_hours": ["Sat 09:00-16:00 UTC"]}},
            "schedule: none of its next 200 times is within",
            "",
        ),
    ],
)
def test_a_bad_value_is_refused_by_file_field_and_fix(
    tmp_path: Path, changes: dict[str, Any], field: str, fix: str
) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(Refused) as refused:
        read_settings(path)
    assert str(path) in refused.value.message
    assert field in refused.value.message
    assert fix in refused.value.fix


@pytest.mark.parametrize("text", ["", "[]", "name: [", "just words", "a: b: c", "\x00"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(Refused, match=r"settings\.yaml"):
        read_settings(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="No such file"):
        read_settings(tmp_path / "none.yaml")


def test_the_example_is_understood() -> None:
    found = read_settings(ROOT / "deploy/gameday.yaml")
    assert effective(found, ROOT / "deploy")["configuration"]["ttl_s"] == 120


def test_the_documented_schema_is_the_settings_own() -> None:
    schema = json.loads((ROOT / "docs/schemas/gameday-settings.schema.json").read_text())
    assert schema == GameDaySettings.model_json_schema()
    jsonschema.validate(yaml.safe_load((ROOT / "deploy/gameday.yaml").read_text()), schema)


class TestExperiment:
    def test_it_enters_nodes_through_pods_and_asks_the_cluster_of_the_settings(self) -> None:
        made = effective(settings(namespace="chaos", image="r.example/chaosext:1"), EXPERIMENTS)
        assert made["configuration"]["chaosext_transport"] == "pod"
        assert made["configuration"]["chaosext_namespace"] == "chaos"
        assert made["configuration"]["chaosext_node_image"] == "r.example/chaosext:1"
        assert made["configuration"]["chaosext_sentinel_image"] == "r.example/chaosext:1"
        assert made["secrets"]["kubernetes"]["KUBERNETES_CONTEXT"] == "prod-eu"

    def test_values_of_the_settings_take_the_place_of_its_own(self) -> None:
        made = effective(
            settings(configuration={"ttl_s": 60, "chaosext_sentinel_image": "small"}, image="large"),
            EXPERIMENTS,
        )
        assert made["configuration"]["ttl_s"] == 60
        assert made["configuration"]["chaosext_sentinel_image"] == "small"

    def test_made_again_of_what_was_made_it_is_the_same_so_that_its_approval_holds(
        self, tmp_path: Path
    ) -> None:
        wanted = settings(configuration={"ttl_s": 60})
        first = effective(wanted, EXPERIMENTS)
        for name, text in files_of(wanted, first).items():
            (tmp_path / name).write_text(text)
        again = effective(read_settings(tmp_path / "settings.yaml"), tmp_path)
        assert approval_digest(again, {}) == approval_digest(first, {})

    def test_a_value_that_it_has_no_key_for_is_refused(self) -> None:
        with pytest.raises(
            Refused, match=r"configuration.ttl: the experiment has no such key.*did you mean ttl_s"
        ):
            effective(settings(configuration={"ttl": 60}), EXPERIMENTS)

    def test_a_mistyped_setting_of_ours_is_refused(self) -> None:
        with pytest.raises(Refused, match="chaosext_lokups"):
            effective(settings(configuration={"chaosext_lokups": 3}), EXPERIMENTS)

    def test_a_deadline_that_is_over_before_it_is_refused_with_one_that_is_enough(self) -> None:
        with pytest.raises(Refused, match="deadline_s: 300 s end the Job") as refused:
            effective(settings(deadline_s=300), EXPERIMENTS)
        enough = int(refused.value.fix.split()[3])
        effective(settings(deadline_s=enough), EXPERIMENTS)
        with pytest.raises(Refused):
            effective(settings(deadline_s=enough - 1), EXPERIMENTS)

    def test_a_pause_that_the_configuration_names_takes_its_time(self) -> None:
        experiment = load_experiment(EXPERIMENTS / "control-plane-partition.yaml")
        without_s = longest_s(experiment)
        experiment["configuration"]["lull_s"] = 300
        experiment["method"][0]["pauses"] = {"after": "${lull_s}"}
        assert longest_s(experiment) == without_s + 300

    def test_one_that_is_not_there_is_refused(self) -> None:
        with pytest.raises(Refused, match=r"nowhere.yaml"):
            effective(settings(experiment="nowhere.yaml"), EXPERIMENTS)


class TestCommand:
    def test_it_says_when_game_days_begin_and_writes_nothing(self, tmp_path: Path) -> None:
        path = written(tmp_path, experiment="control-plane-partition")
        done = CliRunner().invoke(cli, ["schedule", "--settings", str(path), "--check"])
        assert done.exit_code == 0
        assert "chaosext/night: next Tue " in done.stderr
        assert done.stdout == ""
        assert sorted(tmp_path.iterdir()) == [path]

    def test_it_writes_what_is_applied_and_what_is_approved(self, tmp_path: Path) -> None:
        path = written(tmp_path, experiment="control-plane-partition")
        target = tmp_path / "out"
        words = ["schedule", "--settings", str(path), "--format", "kustomize", "-o", str(target)]
        assert CliRunner().invoke(cli, words).exit_code == 0
        names = {each.name for each in target.iterdir()}
        assert names >= {"kustomization.yaml", "cronjob.yaml", "role-chaosext.yaml", "experiment.yaml"}
        resources = yaml.safe_load((target / "kustomization.yaml").read_text())["resources"]
        assert set(resources) == names - {"kustomization.yaml", "experiment.yaml"}

    @pytest.mark.parametrize(
        ("words", "problem"),
        [
            (["--settings", "none.yaml"], "No such file"),
            (["--settings", "settings.yaml", "--format", "kustomize"], "set --output to a directory"),
            (["--settings", "settings.yaml", "-o", "/proc/none"], "--output /proc/none"),
            ([], "--settings"),
        ],
    )
    def test_what_it_refuses_ends_in_20(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        words: list[str],
        problem: str,
    ) -> None:
        written(tmp_path, experiment="control-plane-partition")
        monkeypatch.chdir(tmp_path)
        assert invoke(["schedule", *words]) == 20
        assert problem in capsys.readouterr().err


def test_defaults_are_those_that_the_chart_has() -> None:
    chart = yaml.safe_load((ROOT / "deploy/helm/chaosext/values.yaml").read_text())
    assert chart.pop("create_namespace") is False
    given = yaml.safe_load(helm_values(compose(settings(), EXPERIMENTS))["values.yaml"])
    required = {*values(), "image", "files", "admission", "node_selector"}  # Helm would merge the last
    assert chart == {key: given[key] for key in given if key not in required}
