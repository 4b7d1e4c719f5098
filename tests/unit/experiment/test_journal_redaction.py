"""A journal keeps what is known to be harmless, and of all else its kind and size."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chaosext.experiment.journal_redaction import FAILED, error_form, form, redacted

SECRETS = {
    "kubernetes": {"KUBERNETES_CONTEXT": "kind-chaosext", "KUBERNETES_API_KEY": "s3cr3t"},
    "entry": {"token": {"type": "env", "key": "TOKEN", "value": "s3cr3t"}},
    "bare": "s3cr3t",
}
OURS = {
    "type": "probe",
    "name": "DNS",
    "tolerance": ["healthy"],
    "provider": {
        "type": "python",
        "module": "chaosext.probes",
        "func": "tcp_reachability",
        "arguments": {"targets": ["a:1"]},
    },
}
THEIRS = {
    "type": "probe",
    "name": "theirs",
    "tolerance": {"type": "range", "range": [1, 2]},
    "provider": {
        "type": "http",
        "url": "https://me:s3cr3t@entry.example:8443/hooks/s3cr3t?token=s3cr3t",
        "headers": {"Authorization": "Bearer s3cr3t"},
        "arguments": {"password": "s3cr3t", "count": 3, "from": "${token}", "nested": {"s3cr3t": 1}},
        "proxies": {"http": "http://s3cr3t@proxy"},
        "timeout": [1, 2],
    },
}


def test_no_value_of_a_secret_is_left_but_which_cluster_was_meant() -> None:
    text = json.dumps(redacted({"status": "completed", "experiment": {"title": "t", "secrets": SECRETS}}))
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


def test_our_own_activities_are_kept_whole() -> None:
    finding = {
        "check": "dns",
        "status": "unhealthy",
        "summary": "dead on worker",
        "evidence": [{"detail": "timed out"}],
    }
    run = {
        "activity": OURS,
        "output": finding,
        "status": "failed",
        "exception": ["chaosext.model.errors.Unsafe: left"],
        "raised": {"error": "Unsafe", "message": "left"},
    }
    assert redacted({"run": [run], "experiment": {"method": [OURS]}}) == {
        "run": [run],
        "experiment": {"method": [OURS]},
    }


def test_of_others_only_the_form_is_kept() -> None:
    (kept,) = redacted({"experiment": {"method": [THEIRS]}})["experiment"]["method"]
    assert kept["provider"] == {
        "type": "http",
        "url": "https://entry.example:8443",
        "headers": {"Authorization": "(redacted)"},
        "arguments": {
            "password": "(text of 6)",
            "count": "(number)",
            "from": "${token}",
            "nested": "(mapping of 1)",
        },
        "proxies": "(mapping of 1)",
        "timeout": "(list of 2)",
    }
    assert (kept["name"], kept["tolerance"]) == (THEIRS["name"], THEIRS["tolerance"])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (True, "(yes or no)"),
        (None, None),
        (2.5, "(number)"),
        (12345678, "(number)"),
        ("healthy", "healthy"),
        ("s3cr3t", "(text of 6)"),
        (["s3cr3t"], "(list of 1)"),
        ({"status": 200, "body": "s3cr3t"}, {"status": 200}),
        ({"status": 12345678}, "(mapping of 1)"),
        ({"status": True}, "(mapping of 1)"),
        ({"status": 200.5}, "(mapping of 1)"),
        ({"status": "unknown", "summary": "s3cr3t"}, {"status": "unknown"}),
        ({"status": "s3cr3t"}, "(mapping of 1)"),
        ({"status": {"status": "s3cr3t"}}, "(mapping of 1)"),
        (b"s3cr3t", "(bytes of 1)"),
    ],
)
def test_the_form_of_an_answer(value: Any, said: Any) -> None:
    assert form(value) == said
    assert form(said) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("RuntimeError: s3cr3t", "RuntimeError: (text of 6)"),
        ("RuntimeError", "RuntimeError: (text of 0)"),
        ("their.Error: a: b\nc", "their.Error: (text of 6)"),
        (f"{FAILED}s3cr3t", "chaoslib.exceptions.ActivityFailed: (text of 6)"),
        ("failed to connect to https://s3cr3t", "error: (text of 35)"),
        ("process activity took too long to complete", "process activity took too long to complete"),
    ],
)
def test_the_form_of_an_error(text: str, said: str) -> None:
    assert error_form(f"{FAILED}{text}\n") == FAILED + said
    assert error_form(FAILED + said) == FAILED + said


SECRET = 73310427


def hidden(secret: Any) -> dict[str, Any]:
    """A journal with a secret of any type in every place that is nobody's to read."""
    probe = {
        "type": "probe",
        "name": secret,
        "tolerance": {
            "type": "probe",
            "name": "t",
            "provider": {"type": "http", "arguments": {"pin": secret}},
        },
        "provider": {
            "type": "http",
            "module": secret,
            "timeout": {"s": secret},
            "arguments": {"pin": secret, "more": [secret]},
            "headers": {"pin": secret},
            "verify_tls": [secret],
            "unknown": secret,
        },
        "background": [secret],
        "controls": [{"name": secret}],
    }
    run = {"activity": probe, "output": secret, "status": secret, "start": secret, "exception": [secret]}
    run["raised"] = {"error": secret, "message": secret}
    return {
        "node": secret,
        "abort_reason": secret,
        "unknown": secret,
        "experiment": {
            "title": secret,
            "tags": [secret],
            "configuration": {"pin": secret, "of": {"type": "env", "key": secret, "default": secret}},
            "secrets": {"g": {"pin": secret, "KUBERNETES_CONTEXT": secret}, "bare": secret},
            "method": [probe],
            "runtime": {"pin": secret},
        },
        "run": [run, {**run, "output": {"status": secret, "body": secret}}, {**run, "output": [secret]}],
    }


@pytest.mark.parametrize("secret", [SECRET, float(SECRET), {"pin": SECRET}, [SECRET]], ids=str)
def test_a_number_is_as_good_a_secret_as_a_text(secret: Any) -> None:
    kept = redacted(hidden(secret))
    assert str(SECRET) not in json.dumps(kept)
    assert redacted(kept) == kept


def test_a_switch_stands_only_where_it_is_named() -> None:
    text = json.dumps(redacted(hidden(True)))
    assert "true" not in text


def test_times_and_switches_that_are_named_stay() -> None:
    activity = {"name": "a", "background": True, "pauses": {"before": 1, "after": "${pause}"}}
    provider = {"type": "http", "timeout": 3, "verify_tls": True}
    run = {"activity": {**activity, "provider": provider}, "duration": 2.5, "tolerance_met": False}
    state = {"steady_state_met": True, "probes": [run]}
    states = {"before": state, "after": {**state, "steady_state_met": None}, "during": [state]}
    journal = {"duration": 9.5, "deviated": False, "run": [run], "steady_states": states}
    assert redacted(journal) == journal


def test_configuration_keeps_our_own_settings_and_where_the_others_come_from() -> None:
    configuration = {
        "chaosext_namespaces": ["shop"],
        "ttl_s": {"type": "env", "key": "TTL_S", "default": 120, "env_var_type": "float"},
        "token": {"type": "env", "key": "TOKEN", "default": "s3cr3t"},
        "dsn": "postgres://s3cr3t",
        "dynamic": {
            "type": "probe",
            "name": "d",
            "provider": {"type": "process", "path": "vault", "secrets": SECRETS},
        },
    }
    kept = redacted({"experiment": {"configuration": configuration}})["experiment"]["configuration"]
    assert "s3cr3t" not in json.dumps(kept)
    assert kept["chaosext_namespaces"] == ["shop"]
    assert kept["ttl_s"] == {**configuration["ttl_s"], "default": "(number)"}  # type: ignore[dict-item]
    assert kept["token"] == {"type": "env", "key": "TOKEN", "default": "(text of 6)"}
