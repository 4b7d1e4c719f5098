"""What is known to be unhealthy, as experiments, plans and files name it: strict, expiring, approved by value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from chaosext.experiment.cutover_plan_file import read_cutover
from chaosext.experiment.known_unhealthy_entries import LONGEST, read_known, require_in_force
from chaosext.experiment.load import load_experiment
from chaosext.experiment.resolve import resolve
from chaosext.experiment.settings import settings_from
from chaosext.model.errors import Refused
from chaosext.run.session.approval import intended

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.experiment.resolve import Resolved

SECRETS = {"KUBERNETES_CONTEXT": "kind-chaosext"}
SOON = datetime.now(UTC) + timedelta(days=14)
ENTRY = {
    "check": "probes_healthy",
    "object": "Pod/shop/cart-*",
    "reason": "CHG-4711",
    "until": SOON.isoformat(),
}


def settings(*entries: Any) -> Any:
    return settings_from({"chaosext_known_unhealthy": list(entries)}, SECRETS)


def test_an_entry_is_read_as_it_is_meant() -> None:
    (known,) = settings({**ENTRY, "was": "1 of 3"}).known
    assert (str(known), known.reason, known.until, known.was) == (
        "probes_healthy: Pod/shop/cart-*",
        "CHG-4711",
        SOON,
        "1 of 3",
    )
    assert hash(settings(ENTRY)) == hash(settings(ENTRY))


def test_a_date_is_good_until_its_end() -> None:
    (known,) = settings({**ENTRY, "until": "2026-12-24"}).known
    assert known.until == datetime(2026, 12, 25, tzinfo=UTC)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({**ENTRY, "check": "probes"}, "unknown check 'probes'"),
        ({**ENTRY, "check": "nothing_missing"}, "unknown check 'nothing_missing'"),
        ({**ENTRY, "check": "dns_after_heal"}, "unknown check"),
        ({**ENTRY, "object": ""}, "known_unhealthy[0].object"),
        ({**ENTRY, "object": "Pod/shop/cart\x1b[2J"}, "known_unhealthy[0].object"),
        ({**ENTRY, "reason": ""}, "known_unhealthy[0].reason"),
        ({**ENTRY, "until": "2026-12-24T06:00"}, "has no time zone"),
        ({**ENTRY, "until": "never"}, "known_unhealthy[0].until"),
        ({**ENTRY, "until": None}, "is not a date"),
        ({**ENTRY, "was": "most"}, "is not a share"),
        ({key: value for key, value in ENTRY.items() if key != "until"}, "known_unhealthy[0].until"),
        ({key: value for key, value in ENTRY.items() if key != "reason"}, "known_unhealthy[0].reason"),
        ({**ENTRY, "unti": "2026-12-24"}, "known_unhealthy[0].unti: unknown key: did you mean until"),
        ("Pod/shop/cart-*", "known_unhealthy[0]"),
    ],
)
def test_an_entry_that_is_none_is_refused_by_its_field(entry: Any, said: str) -> None:
    with pytest.raises(Refused) as refused:
        settings(entry)
    assert said in str(refused.value)


def test_a_file_is_read_with_its_experiment_and_never_later() -> None:
    """Else what was approved would be the name of a file."""
    with pytest.raises(Refused, match="a file is read with the experiment"):
        settings_from({"chaosext_known_unhealthy": "known.yaml"}, SECRETS)


def experiment(folder: Path, known: Any, **more: Any) -> Path:
    value = {
        "title": "t",
        "description": "d",
        "configuration": {"chaosext_known_unhealthy": known, **more},
        "secrets": {"k8s": SECRETS},
        "method": [
            {
                "type": "action",
                "name": "heal",
                "provider": {
                    "type": "python",
                    "module": "chaosext.actions",
                    "func": "heal_control_plane",
                    "secrets": ["k8s"],
                },
            }
        ],
    }
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(value))
    return path


def resolved(folder: Path, known: Any) -> Resolved:
    return resolve(load_experiment(experiment(folder, known)))


@pytest.mark.parametrize("written", [{"known_unhealthy": [ENTRY]}, [ENTRY]])
def test_a_file_beside_the_experiment_is_the_same_as_its_entries(tmp_path: Path, written: Any) -> None:
    inline = resolved(tmp_path, [ENTRY])
    (tmp_path / "known.yaml").write_text(yaml.safe_dump(written))
    by_file = resolved(tmp_path, "known.yaml")
    assert by_file.settings == inline.settings
    assert intended(by_file).sha256 == intended(inline).sha256


@pytest.mark.parametrize(
    "change",
    [{"object": "Pod/shop/front-*"}, {"until": (SOON + timedelta(days=1)).isoformat()}, {"reason": "x"}],
)
def test_every_word_of_an_entry_is_in_the_digest_that_is_approved(
    tmp_path: Path, change: dict[str, str]
) -> None:
    (tmp_path / "known.yaml").write_text(yaml.safe_dump([ENTRY]))
    before = intended(resolved(tmp_path, "known.yaml")).sha256
    (tmp_path / "known.yaml").write_text(yaml.safe_dump([{**ENTRY, **change}]))
    assert intended(resolved(tmp_path, "known.yaml")).sha256 != before


def test_a_date_that_yaml_reads_survives_as_text(tmp_path: Path) -> None:
    (tmp_path / "known.yaml").write_text(
        "- {check: probes_healthy, object: Pod/shop/cart-*, reason: r, until: 2099-01-01}\n"
    )
    loaded = load_experiment(experiment(tmp_path, "known.yaml"))
    assert loaded["configuration"]["chaosext_known_unhealthy"][0]["until"] == "2099-01-01"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "neither YAML nor JSON"),
        ("title: no list", "a list of entries is expected"),
        ("- check: x\n  check: y\n", "occurs twice"),
        ("#" * (5 << 20) + "\n- x\n", "MiB"),
    ],
)
def test_a_file_that_is_none_is_refused_by_its_name(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "known.yaml").write_text(text)
    with pytest.raises(Refused) as refused:
        resolved(tmp_path, "known.yaml")
    assert "known.yaml" in str(refused.value)
    assert said in str(refused.value)
    with pytest.raises(Refused, match="No such file"):
        resolved(tmp_path, "nowhere.yaml")


def test_an_expired_entry_refuses_with_its_name(tmp_path: Path) -> None:
    over = {**ENTRY, "until": "2026-01-01"}
    with pytest.raises(Refused) as refused:
        resolved(tmp_path, [ENTRY, over])
    assert str(refused.value).startswith(
        "chaosext_known_unhealthy: probes_healthy: Pod/shop/cart-* expired on 2026-01-02 00:00 UTC (CHG-4711): "
    )


def test_nothing_is_accepted_for_long() -> None:
    now = datetime.now(UTC)
    (known,) = settings({**ENTRY, "until": (now + LONGEST + timedelta(minutes=1)).isoformat()}).known
    with pytest.raises(Refused, match="90 days"):
        require_in_force([known], now)
    require_in_force([known], now + timedelta(hours=1))


def test_a_saved_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "known.yaml"
    (known,) = settings({**ENTRY, "was": "1 of 3"}).known
    path.write_text(yaml.safe_dump({"known_unhealthy": [known.to_json()]}))
    assert read_known(path) == (known,)
    path.write_text(yaml.safe_dump([{**ENTRY, "check": "nonsense"}]))
    with pytest.raises(Refused, match="unknown check 'nonsense'"):
        read_known(path)


AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
PLAN = "title: t\ncut: {nodes: [worker-1], for: 8m}\nknown_unhealthy: "


def plan(folder: Path, known: str) -> Any:
    path = folder / "cutover.yaml"
    path.write_text(PLAN + known)
    return read_cutover(path, AT)[0]


def test_a_plan_names_objects_inline_or_by_a_file_beside_it(tmp_path: Path) -> None:
    text = "[{check: kube_dns_redundant, object: Service/kube-system/kube-dns, reason: one node, until: 2026-12-01}]"
    inline = plan(tmp_path, text)
    (tmp_path / "known.yaml").write_text(text)
    assert plan(tmp_path, "known.yaml") == inline
    assert str(inline.known[0]) == "kube_dns_redundant: Service/kube-system/kube-dns"


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (
            "[{check: self_heals, object: x, reason: r, until: 2026-12-01}]",
            "known_unhealthy[0].check: no such check",
        ),
        (
            "[{check: nodes_ready, object: Node/w, reason: r, until: 2026-11-01}]",
            "nodes_ready: Node/w expired on",
        ),
        ("[{check: nodes_ready, object: Node/w, reason: r, until: 2027-11-01}]", "90 days"),
        ("[{check: nodes_ready, object: Node/w, reason: r}]", "known_unhealthy[0].until"),
        (
            "[{check: nodes_ready, objekt: Node/w, object: x, reason: r, until: 2026-12-01}]",
            "did you mean object",
        ),
        ("nowhere.yaml", "nowhere.yaml"),
    ],
)
def test_a_plan_with_an_entry_that_is_none_is_refused(tmp_path: Path, known: str, said: str) -> None:
    with pytest.raises(Refused) as refused:
        plan(tmp_path, known)
    assert said in str(refused.value)
