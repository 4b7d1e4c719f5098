"""A journal names an experiment's secrets and holds none of them."""

from __future__ import annotations

import json

from chaosext.run.judging.redaction import redacted

SECRETS = {
    "kubernetes": {"KUBERNETES_CONTEXT": "kind-chaosext", "KUBERNETES_API_KEY": "s3cr3t"},
    "entry": {"token": {"type": "env", "key": "TOKEN", "value": "s3cr3t"}},
    "bare": "s3cr3t",
}


def test_no_value_of_a_secret_is_left_but_which_cluster_was_meant() -> None:
    journal = {"status": "completed", "experiment": {"title": "t", "secrets": SECRETS}}
    text = json.dumps(redacted(journal))
    assert "s3cr3t" not in text
    assert "kind-chaosext" in text
    assert "KUBERNETES_API_KEY" in text


def test_the_experiment_itself_keeps_its_secrets() -> None:
    experiment = {"secrets": SECRETS}
    redacted({"experiment": experiment})
    assert experiment["secrets"]["kubernetes"]["KUBERNETES_API_KEY"] == "s3cr3t"  # type: ignore[index]


def test_a_journal_without_an_experiment_is_as_it_was() -> None:
    assert redacted({"status": "aborted"}) == {"status": "aborted"}
    assert redacted({"experiment": {"secrets": ["s3cr3t"]}}) == {"experiment": {"secrets": "(redacted)"}}
