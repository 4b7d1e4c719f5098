"""What people write: experiments, settings, limits, pins, intents, kubeconfigs: understood, or refused."""

from __future__ import annotations

import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from chaosext.cli.main import invoke
from chaosext.cluster.client import Cluster
from chaosext.experiment.cut_request import CutRequest
from chaosext.experiment.load import load_experiment
from chaosext.experiment.operator_limits import limits_in_force, read_limits
from chaosext.experiment.resolve import resolve
from chaosext.experiment.settings import settings_from
from chaosext.model.errors import Inconclusive, Refused, Unreachable
from chaosext.model.paths import state_home
from chaosext.run.fault import paths_before
from chaosext.run.fault.inject import plan
from chaosext.safety.intent import IntentLog
from chaosext.safety.pins import Pin, read_pins, verify
from tests.trust.fuzz import mutate
from tests.trust.fuzz.stage import CONTEXT
from tests.trust.fuzz.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

EXPERIMENTS = Path(__file__).parents[3] / "experiments"
SMALL = {
    "title": "small",
    "description": "what the fuzzer mutates most, because it is read fast",
    "configuration": {
        "chaosext_transport": "netns",
        "chaosext_max_ttl_s": 60,
        "at": {"type": "env", "key": "HOME"},
    },
    "secrets": {"kubernetes": {"KUBERNETES_CONTEXT": CONTEXT}},
    "controls": [{"name": "c", "provider": {"type": "python", "module": "chaosext.controls"}}],
    "steady-state-hypothesis": {
        "title": "steady",
        "probes": [
            {
                "type": "probe",
                "name": "p",
                "tolerance": {"type": "regex", "target": "status", "pattern": "^healthy$"},
                "provider": {
                    "type": "python",
                    "module": "chaosext.probes",
                    "func": "bgp_established",
                    "secrets": ["kubernetes"],
                },
            }
        ],
    },
    "method": [
        {
            "type": "action",
            "name": "cut",
            "provider": {
                "type": "python",
                "module": "chaosext.actions",
                "func": "sever_control_plane",
                "arguments": {"ttl_s": 30, "families": ["ipv4"], "peers": ["10.0.0.1", "10.244.0.0/16"]},
                "secrets": ["kubernetes"],
            },
        },
    ],
    "rollbacks": [],
}
WISH = {
    "ttl_s": 30,
    "peers": ["10.0.0.1", "10.244.0.0/16", "fd00::1"],
    "families": ["ipv4", "ipv6"],
    "uplinks": ["eth0"],
}
CONFIGURATION = {
    "chaosext_transport": "netns",
    "chaosext_namespaces": ["shop"],
    "chaosext_max_ttl_s": 60,
    "chaosext_lookups": 2,
    "chaosext_leaf": "leaf",
    "chaosext_sentinel": True,
    "chaosext_sentinel_port": 9853,
    "chaosext_request_timeout_s": 3,
    "chaosext_allowed_hours": ["Mon-Sun 00:00-24:00 UTC"],
    "chaosext_max_node_share": 0.5,
}
ENVIRONMENT = {
    "CHAOSEXT_TRANSPORT": "netns",
    "CHAOSEXT_LEAF": "leaf",
    "CHAOSEXT_MAX_TTL_S": "60",
    "CHAOSEXT_LOOKUPS": "2",
    "CHAOSEXT_ALLOWED_HOURS": "Mon-Fri 09:00-16:00 UTC",
}
LIMITS = {
    "max_ttl_s": 300,
    "max_node_share": 0.5,
    "protected_nodes": ["db-*"],
    "protected_namespaces": ["payments"],
    "allowed_hours": ["Mon-Fri 09:00-16:00 Europe/Berlin"],
}
PIN = {"context": CONTEXT, "server": "https://127.0.0.1:6443", "ca_sha256": "c0ffee", "kube_system_uid": "u"}
INTENT = {
    "at": "2026-10-02T12:00:00.000+00:00",
    "boot": "b",
    "uptime_s": 12.5,
    "holder": "host/b/4026531836/1/7",
    "run": "r1",
    "event": "intent",
    "context": CONTEXT,
    "owner": "a@b",
    "nodes": ["cp1", "cp2"],
    "ttl_s": 30.0,
    "transport": "netns",
}
GONE = {**INTENT, "event": "gone", "nodes": ["cp1"]}
PATHS = {
    "at": 4e9,
    "paths": [{"source": "w", "towards": "cp", "host": "10.0.0.1", "port": 6443, "reach": "open"}],
    "blind": [],
    "kept": [{"source": "cp", "towards": "cp2", "host": "10.0.0.2", "port": 2380, "reach": "open"}],
    "left_out": {"paths": 2, "nodes": ["w2"]},
}
KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "other",
    "contexts": [{"name": CONTEXT, "context": {"cluster": "c", "user": "u"}}],
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1", "tls-server-name": "x"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
}


def home(name: str) -> Path:
    """A file of this process' own: the worker has put its home in a fresh directory."""
    return Path(os.environ["HOME"]) / name


def _file(good: Any, *texts: str) -> Callable[[Random], bytes]:
    """A file that holds `good`, malformed; or one of `texts`, malformed as a text."""

    def draw(rng: Random) -> bytes:
        if texts and rng.random() < 0.3:
            return mutate.text(rng, rng.choice(texts))
        return mutate.spelt(rng, mutate.value(rng, good))

    return draw


def _lines(*good: Any) -> Callable[[Random], bytes]:
    def draw(rng: Random) -> bytes:
        lines = [mutate.spelt(rng, mutate.value(rng, each) if rng.random() < 0.6 else each) for each in good]
        written = b"\n".join(lines) + b"\n"
        return mutate.text(rng, written.decode(errors="replace")) if rng.random() < 0.3 else written

    return draw


def _read(name: str, reader: Callable[[Path], object]) -> Callable[[bytes], object]:
    def feed(data: bytes) -> object:
        path = home(name)
        path.write_bytes(data)
        return reader(path)

    return feed


def _experiment(path: Path) -> None:
    for _, wish in resolve(load_experiment(path)).wishes():
        assert isinstance(wish, CutRequest)


def _pins(path: Path) -> None:
    """One that is understood must name its cluster, or nothing could be compared with it."""
    for pinned in read_pins(path).values():
        verify(Pin(**PIN), pinned)


def _intents(path: Path) -> None:
    for each in IntentLog(path).outstanding():
        assert isinstance(each.is_running, bool)
        assert all(isinstance(text, str) and text for text in (each.run, each.way.transport, *each.nodes)), (
            each
        )


def _baseline(path: Path) -> None:
    kept = state_home() / "baseline-fuzz.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    path.replace(kept)
    found = paths_before.load("fuzz")
    assert found is None or all(found.connects[each].reach for each in (*found.paths, *found.kept))


def _kubeconfig(path: Path) -> None:
    cluster = REAL_CONNECT(CONTEXT, str(path))
    assert cluster.server.startswith("https://")
    assert isinstance(cluster.ca_sha256, str)


REAL_CONNECT = Cluster.connect


def _settings(drawn: Any) -> None:
    settings = settings_from(*drawn)
    assert 0 < settings.request_timeout_s <= 120
    limits_in_force(settings)


def _plan(drawn: Any) -> None:
    """As the action does it: what is asked for, on a cluster that answers well."""
    settings = settings_from(CONFIGURATION, {"KUBERNETES_CONTEXT": CONTEXT})
    wish = CutRequest.from_arguments(drawn if isinstance(drawn, dict) else {"ttl_s": drawn})
    cut = plan(settings, wish, run="r1", owner="a@b").cut
    assert 1 <= cut.ttl_s <= 60
    assert all(peer.prefixlen for peer in cut.peers)


def _environment(drawn: dict[str, str]) -> None:
    """An experiment whose configuration comes from the environment."""
    path = home("environment.json")
    before = dict(os.environ)
    os.environ.update(
        {key: text for key, text in drawn.items() if (key + text).isprintable() and "=" not in key}
    )
    try:
        asked = {key.lower(): {"type": "env", "key": key} for key in ENVIRONMENT}
        path.write_text(json.dumps({**SMALL, "configuration": asked}))
        _experiment(path)
    finally:
        os.environ.clear()
        os.environ.update(before)


def _draw_environment(rng: Random) -> dict[str, str]:
    changed = mutate.value(rng, ENVIRONMENT)
    members = changed.items() if isinstance(changed, dict) else ()
    return {key: text for key, text in members if key and isinstance(text, str) and len(text) < 4000}


def _invoked(*arguments: str) -> tuple[int, str]:
    """The command line's exit code, and all that it says."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = invoke(list(arguments))
    return code, said.getvalue()


def _dry_run(path: Path) -> None:
    """As people ask for it: understood or refused, and no fault of ours."""
    for arguments in (("run", str(path), "--dry-run"), ("preflight", str(path), "--json")):
        code, said = _invoked(*arguments)
        assert code in (0, Refused.exit_code), f"{arguments[0]} ended with {code}: {said}"


COMMANDS = (
    ("cleanup", "--dry-run", "--transport", "netns", "--run"),
    ("cleanup", "--dry-run", "--transport", "netns", "--node"),
    ("status", "--transport", "netns", "--node"),
    ("status", "--transport"),
    ("pin", "--context"),
    ("pin", "--remove"),
    ("check", "tcp_reachability", "--target"),
    ("check",),
    ("check", "bgp_established", "--context"),
    ("audit", "show", "--run"),
    ("run",),
    ("testbed",),
    (),
)


WORDS = (
    "",
    " ",
    "--",
    "-",
    "-x",
    "a/b",
    "../x",
    "r1",
    "R1",
    "cp1",
    "10.0.0.1:53",
    "[::1]:0",
    "é",
    "all",
    "docker",
)


def _arguments(rng: Random) -> list[str]:
    odd = repr(rng.choice(mutate.ODD)).strip("'")[:200] if rng.random() < 0.5 else rng.choice(WORDS)
    return [*rng.choice(COMMANDS), odd]


def _commands(drawn: list[str]) -> None:
    code, said = _invoked(*drawn)
    assert "internal error" not in said, said
    assert code in (0, 10, 20, 30, 40), f"ended with {code}: {said}"


def _draw_settings(rng: Random) -> Any:
    configuration = mutate.value(rng, CONFIGURATION)
    secrets = {"KUBERNETES_CONTEXT": CONTEXT}
    return configuration if isinstance(configuration, dict) else {}, (
        mutate.value(rng, secrets) if rng.random() < 0.2 else secrets
    )


YAML = yaml.safe_dump(SMALL, sort_keys=False)


def all_is_well() -> None:
    """What is mutated is understood as it is: or only refusals would be tried."""
    whole = (EXPERIMENTS / "control-plane-partition.yaml").read_text()
    for text in (YAML, json.dumps(SMALL), whole):
        _read("good.yaml", _experiment)(text.encode())
    assert _invoked("run", str(_kept(YAML)), "--dry-run")[0] == 0
    _settings((CONFIGURATION, {"KUBERNETES_CONTEXT": CONTEXT}))
    _plan(WISH)
    _environment(ENVIRONMENT)
    read_limits(_kept(yaml.safe_dump(LIMITS)))
    assert len(read_pins(_kept(json.dumps({CONTEXT: PIN})))) == 1
    assert len(IntentLog(_kept("\n".join(map(json.dumps, (INTENT, GONE))))).outstanding()) == 1
    _kubeconfig(_kept(yaml.safe_dump(KUBECONFIG)))
    _baseline(_kept(json.dumps(PATHS)))
    assert paths_before.load("fuzz")


def _kept(text: str) -> Path:
    path = home("good")
    path.write_text(text)
    return path


SUBJECTS = (
    Subject(name="experiment", share=90, draw=_file(SMALL, YAML), feed=_read("small.yaml", _experiment)),
    Subject(
        name="experiment-whole",
        share=4,
        draw=_file(yaml.safe_load((EXPERIMENTS / "control-plane-partition.yaml").read_text())),
        feed=_read("whole.yaml", _experiment),
    ),
    Subject(name="dry-run", share=8, draw=_file(SMALL, YAML), feed=_read("dry.yaml", _dry_run)),
    Subject(name="command-line", share=15, draw=_arguments, feed=_commands),
    Subject(name="settings", share=120, draw=_draw_settings, feed=_settings),
    Subject(name="environment", share=10, draw=_draw_environment, feed=_environment),
    Subject(name="arguments", share=90, draw=lambda rng: mutate.value(rng, WISH), feed=_plan),
    Subject(
        name="limits",
        share=60,
        draw=_file(LIMITS, yaml.safe_dump(LIMITS)),
        feed=_read("limits.yaml", read_limits),
    ),
    Subject(name="pins", share=60, draw=_file({CONTEXT: PIN, "other": PIN}), feed=_read("pins.json", _pins)),
    Subject(
        name="intents",
        share=80,
        draw=_lines(INTENT, GONE, INTENT),
        feed=_read("intent.jsonl", _intents),
        allowed=(Refused, Inconclusive),
    ),
    Subject(name="baseline", share=40, draw=_file(PATHS), feed=_read("baseline.json", _baseline)),
    Subject(
        name="kubeconfig",
        share=30,
        draw=_file(KUBECONFIG, yaml.safe_dump(KUBECONFIG)),
        feed=_read("kubeconfig", _kubeconfig),
        allowed=(Refused, Unreachable),
    ),
)
