"""Where limits are set, and that a file which is not valid is no licence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chaosext.experiment import operator_limits
from chaosext.experiment.settings import settings_from
from chaosext.model.errors import Refused

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.safety.limits import Limits

WHOLE = """
max_ttl_s: 300
max_node_share: 0.5
protected_nodes: [db-*, cp-2]
protected_namespaces: bank
allowed_hours:
  - Mon-Fri 09:00-16:00 Europe/Berlin
  - Sat 22:00-04:00 UTC
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(operator_limits, "SYSTEM_WIDE", tmp_path / "etc" / "limits.yaml")
    monkeypatch.delenv(operator_limits.VARIABLE, raising=False)
    return tmp_path


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def in_force(**configuration: Any) -> tuple[Limits, ...]:
    settings = settings_from(
        {f"chaosext_{key}": value for key, value in configuration.items()}, {"KUBERNETES_CONTEXT": "kind-a"}
    )
    return operator_limits.limits_in_force(settings)


def test_every_key(home: Path) -> None:
    found = operator_limits.read_limits(put(home / "limits.yaml", WHOLE))
    assert (found.max_ttl_s, found.max_node_share) == (300, 0.5)
    assert (found.protected_nodes, found.protected_namespaces) == (("db-*", "cp-2"), ("bank",))
    assert [hours.text for hours in found.allowed_hours] == [
        "Mon-Fri 09:00-16:00 Europe/Berlin",
        "Sat 22:00-04:00 UTC",
    ]
    assert found.place == str(home / "limits.yaml")


def test_no_file_takes_the_place_of_another(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert operator_limits.limits_paths() == ()
    system = put(home / "etc" / "limits.yaml", WHOLE)
    users = put(home / "config" / "chaosext" / "limits.yaml", "max_ttl_s: 3600")
    named = put(home / "named.yaml", "max_ttl_s: 3000")
    monkeypatch.setenv(operator_limits.VARIABLE, str(named))
    assert operator_limits.limits_paths() == (system, users, named)
    assert sorted({each.max_ttl_s for each in in_force() if each.max_ttl_s}) == [300, 3000, 3600]


def test_a_file_that_can_not_be_looked_at_is_not_passed_over(home: Path) -> None:
    (home / "etc").symlink_to(home / "etc")
    with pytest.raises(Refused, match=r"limits .*/limits\.yaml: (Too many|No such|Permission)"):
        in_force()


def test_all_places_hold_and_are_named(home: Path) -> None:
    path = put(home / "etc" / "limits.yaml", WHOLE)
    places = [(each.place, each.prefix, each.max_ttl_s) for each in in_force(max_ttl_s=600)]
    assert places == [
        ("chaosext itself", "", 3600),
        (str(path), "", 300),
        ("the experiment", "configuration.chaosext_", 600),
    ]


def test_without_a_file_the_built_in_limits_hold() -> None:
    assert [(each.max_ttl_s, each.max_node_share) for each in in_force()] == [(900, 0.75), (None, None)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_ttl: 5", "max_ttl: unknown key"),
        ("max_ttl_s: soon", "max_ttl_s: Input should be a valid number"),
        ("max_ttl_s: .nan", "max_ttl_s: Input should be"),
        ("max_ttl_s: 3601", "max_ttl_s: Input should be less than or equal to 3600"),
        ("max_node_share: 0", "max_node_share: Input should be greater than 0"),
        ("allowed_hours: always", "allowed_hours: allowed_hours: 'always'"),
        ("allowed_hours: []", "allowed_hours: it is empty"),
        ("protected_nodes: [1]", "protected_nodes[0]: Input should be a valid string"),
        ("protected_nodes:", "protected_nodes: a list is expected"),
        ("", "a mapping is expected"),
        ("- max_ttl_s", "a mapping is expected"),
        ("{", "neither YAML nor JSON"),
        ("max_ttl_s: 2001-99-99", "neither YAML nor JSON"),
    ],
)
def test_a_file_that_is_not_understood_is_refused_by_name(home: Path, text: str, said: str) -> None:
    path = put(home / "etc" / "limits.yaml", text)
    with pytest.raises(Refused) as refused:
        in_force()
    assert str(path) in refused.value.message
    assert said in refused.value.message
    assert refused.value.fix


def test_a_file_that_is_named_has_to_be_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(home / "etc" / "limits.yaml", WHOLE)
    monkeypatch.setenv(operator_limits.VARIABLE, str(home / "gone.yaml"))
    with pytest.raises(Refused, match=r"limits .*gone\.yaml: No such file"):
        in_force()


def test_a_file_that_leads_nowhere_is_not_passed_over(home: Path) -> None:
    (home / "etc").mkdir()
    (home / "etc" / "limits.yaml").symlink_to(home / "nowhere")
    with pytest.raises(Refused, match=r"limits .*/limits\.yaml: (Too many|No such|Permission)"):
        in_force()
