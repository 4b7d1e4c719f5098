"""Until pin, approval and limits hold nothing of an experiment is run, imported, asked or sent; nor by a look at it."""

from __future__ import annotations

import http.server
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import crash_activities
import pytest
from crash_stage import BRIEFING, HEAL, act, experiment, without_a_cluster

from chaosext import controls
from chaosext.cli.main import invoke
from chaosext.cluster.client import Cluster
from chaosext.experiment.load import load_experiment
from chaosext.experiment.resolve import resolve
from chaosext.model.errors import Refused
from chaosext.report.render.formats import Ending
from chaosext.run import chaostoolkit, dry_run, runner
from chaosext.run.session import connection
from chaosext.run.session import run_context as contexts
from chaosext.safety.pins import Pin, write_pin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Making = Callable[["Stage"], dict[str, Any]]

CONTEXT = "kind-nowhere"
PIN = Pin(context=CONTEXT, server="https://nowhere", ca_sha256="", kube_system_uid="uid")


class Stage:
    """Where an experiment could leave its traces: a file, and an HTTP server that counts who asks it."""

    def __init__(self, folder: Path, url: str, asked: list[str]) -> None:
        self.folder, self.url, self.asked = folder, url, asked
        self.trace = folder / "trace"

    def module(self, name: str, text: str = "") -> str:
        """A module of the experiment's own, which leaves a trace when it is imported."""
        left = f"with open({str(self.trace)!r}, 'a') as file:\n    file.write('imported {name}\\n')\n"
        (self.folder / f"{name}.py").write_text(f"{left}{text}")
        return name

    @property
    def traces(self) -> list[str]:
        return [*(self.trace.read_text().splitlines() if self.trace.exists() else ()), *self.asked]


def command(stage: Stage, says: str = "7") -> dict[str, Any]:
    script = f"echo run >>{stage.trace}; echo {says}"
    provider = {"type": "process", "path": "sh", "arguments": ["-c", script]}
    return {"type": "probe", "name": "a command", "provider": provider}


def call(stage: Stage) -> dict[str, Any]:
    return {"type": "probe", "name": "a call", "provider": {"type": "http", "url": f"{stage.url}/asked"}}


def python(stage: Stage, kind: str = "probe") -> dict[str, Any]:
    module = stage.module("of_the_experiment", "def look(value=None):\n    return 1\n")
    provider = {"type": "python", "module": module, "func": "look"}
    return {"type": kind, "name": "a function", "provider": provider}


def control(stage: Stage) -> dict[str, Any]:
    text = f"def validate_control(control):\n    raise SystemExit({str(stage.trace)!r})\n"
    return {"name": "c", "provider": {"type": "python", "module": stage.module("a_control", text)}}


def with_control(stage: Stage) -> dict[str, Any]:
    return {**experiment([]), "controls": [control(stage)]}


def with_activitys_control(stage: Stage) -> dict[str, Any]:
    return experiment([{**act("mark", word="x"), "controls": [control(stage)]}])


def with_tolerance(stage: Stage) -> dict[str, Any]:
    tolerance = python(stage)
    tolerance["provider"]["arguments"] = {"value": None}
    probe = {**act("answer", kind="probe", value=1), "tolerance": tolerance}
    return experiment([], probes=[probe])


def with_condition(stage: Stage) -> dict[str, Any]:
    condition = {"probe": {**python(stage), "tolerance": 1}, "every_s": 1}
    return experiment([], chaosext_stop_conditions=[condition])


def with_command_condition(stage: Stage) -> dict[str, Any]:
    condition = {"probe": {**command(stage), "tolerance": 0}, "every_s": 1}
    return experiment([], chaosext_stop_conditions=[condition])


def with_query(stage: Stage) -> dict[str, Any]:
    return experiment([], chaosext_stop_conditions=[{"promql": "up", "url": stage.url, "every_s": 1}])


MAKINGS: dict[str, Making] = {
    "a configuration told by a command": lambda stage: experiment([], x=command(stage)),
    "a configuration told by an address": lambda stage: experiment([], x=call(stage)),
    "a configuration told by Python": lambda stage: experiment([], x=python(stage)),
    "an action's module": lambda stage: experiment([python(stage, "action")]),
    "a probe's module": lambda stage: experiment([], probes=[{**python(stage), "tolerance": 1}]),
    "a rollback's module": lambda stage: experiment([], rollbacks=[python(stage, "action")]),
    "a tolerance's module": with_tolerance,
    "a control": with_control,
    "an activity's control": with_activitys_control,
    "a stop condition's module": with_condition,
    "a stop condition's command": with_command_condition,
    "a stop condition's Prometheus": with_query,
    "a gate's command": lambda stage: experiment([], probes=[{**command(stage), "tolerance": 0}]),
}
"""What of an experiment would be run or asked -> the experiment."""

LOOKS = (["run", "--dry-run"], ["preflight"], ["approve", "--dry-run"], ["approve"], ["audit", "digest"])


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("CHAOSEXT_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv(crash_activities.LOG, str(tmp_path / "log"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(contexts, "_current", None)
    connection.connect.cache_clear()
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "1")
            self.end_headers()
            self.wfile.write(b"7")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield Stage(tmp_path, f"http://127.0.0.1:{server.server_port}", asked)
        server.shutdown()
    connection.connect.cache_clear()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The cluster of the context, which is production."""
    found = SimpleNamespace(
        context=CONTEXT,
        server=PIN.server,
        ca_sha256="",
        namespace_uid=lambda _: "uid",
        environment=lambda: "production",
    )
    monkeypatch.setattr(Cluster, "connect", lambda *_, **__: found)
    monkeypatch.setattr(dry_run, "brief", lambda *_: BRIEFING)
    return found


def written(stage: Stage, value: dict[str, Any]) -> str:
    path = stage.folder / "experiment.json"
    path.write_text(json.dumps(value))
    return str(path)


@pytest.mark.parametrize("making", MAKINGS.values(), ids=MAKINGS)
def test_a_run_on_a_context_that_is_not_pinned_runs_nothing(
    stage: Stage, making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cluster, "connect", lambda *_, **__: pytest.fail("the cluster was asked"))
    assert invoke(["run", written(stage, making(stage))]) == 20
    assert stage.traces == []


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("making", MAKINGS.values(), ids=MAKINGS)
def test_a_run_that_nobody_approved_runs_nothing(
    stage: Stage, making: Making, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pin(PIN)
    assert invoke(["run", written(stage, making(stage))]) == 20
    assert stage.traces == []
    assert "only approved experiments may act" in "".join(capsys.readouterr())


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("words", LOOKS, ids=" ".join)
@pytest.mark.parametrize("making", MAKINGS.values(), ids=MAKINGS)
def test_a_look_and_an_approval_run_nothing(stage: Stage, making: Making, words: list[str]) -> None:
    write_pin(PIN)
    exit_code = invoke([*words, written(stage, making(stage))])
    told_by_a_probe = making in list(MAKINGS.values())[:3]
    assert exit_code == (20 if "approve" in words and told_by_a_probe else 0)
    assert stage.traces == []


@pytest.mark.usefixtures("cluster")
def test_limits_hold_before_anything_is_run(
    stage: Stage, cluster: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def beyond(*_: object) -> None:
        raise Refused("ttl_s: too long", "ask for less")

    write_pin(PIN)
    cluster.environment = lambda: ""
    monkeypatch.setattr(runner, "prepare", beyond)
    severing = {"type": "python", "module": "chaosext.actions", "func": "sever_control_plane"}
    cut = {
        "type": "action",
        "name": "cut",
        "provider": {**severing, "arguments": {"ttl_s": 9000}, "secrets": ["k8s"]},
    }
    value = experiment([cut, python(stage, "action")], probes=[{**command(stage), "tolerance": 0}])
    assert invoke(["run", written(stage, value)]) == 20
    assert stage.traces == []


class TestOnce:
    """A run that may act: every value is looked up once, and is the same wherever it is used."""

    @pytest.fixture
    def play(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], Any]:
        without_a_cluster(monkeypatch.setattr)

        def playing(value: dict[str, Any]) -> Any:
            path = Path(written(stage, value))
            run = contexts.start(strict=True, root=stage.folder / "run")
            return runner.run_strictly(
                resolve(load_experiment(path)), run, render=Ending(), tell=lambda _briefing: None
            )

        return playing

    def test_a_probe_of_the_configuration_is_run_once_and_its_value_stays(
        self, stage: Stage, play: Callable[[dict[str, Any]], Any]
    ) -> None:
        """The command says another number each time it is run."""
        counting = command(stage, says=f"$(wc -l <{stage.trace})")
        gate = {**act("mark", kind="probe", word="gate-${turn}"), "tolerance": "gate-${turn}"}
        result = play(
            experiment(
                [act("mark", word="method-${turn}")],
                probes=[gate],
                rollbacks=[act("mark", word="rollback-${turn}")],
                turn=counting,
            )
        )
        assert crash_activities.marks() == ["gate-1", "method-1", "gate-1", "rollback-1"]
        assert stage.traces == ["run"]
        assert result.verdict.exit_code == 0

    def test_a_value_that_looks_like_a_probe_is_a_value(
        self, stage: Stage, play: Callable[[dict[str, Any]], Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FROM_OUTSIDE", json.dumps(command(stage)))
        told = {"type": "env", "key": "FROM_OUTSIDE", "env_var_type": "json"}
        play(experiment([act("mark", word="method")], told=told))
        assert crash_activities.marks() == ["method"]
        assert stage.traces == []

    def test_an_environment_that_changes_in_between_changes_nothing(
        self, play: Callable[[dict[str, Any]], Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WORD", "first")
        monkeypatch.setattr(
            runner, "require_playable", lambda _: monkeypatch.setenv("WORD", "second"), raising=True
        )
        play(experiment([act("mark", word="${word}")], word={"type": "env", "key": "WORD"}))
        assert crash_activities.marks() == ["first"]

    @pytest.mark.parametrize(
        ("script", "said"),
        [("exit 3", "ended with exit code 3"), ("exit 127", "ended with exit code 127")],
    )
    def test_a_value_that_can_not_be_had_is_refused_and_nothing_is_played(
        self, play: Callable[[dict[str, Any]], Any], script: str, said: str
    ) -> None:
        provider = {"type": "process", "path": "sh", "arguments": ["-c", script]}
        value = experiment(
            [act("mark", word="method")], x={"type": "probe", "name": "n", "provider": provider}
        )
        with pytest.raises(Refused, match=f"configuration.x: its command {said}"):
            play(value)
        assert crash_activities.marks() == []

    def test_what_a_module_really_holds_is_checked_before_anything_is_played(
        self, stage: Stage, play: Callable[[dict[str, Any]], Any]
    ) -> None:
        module = stage.module("shifting", "def act():\n    pass\ndel act\n")
        provider = {"type": "python", "module": module, "func": "act"}
        value = experiment(
            [act("mark", word="method")],
            rollbacks=[{"type": "action", "name": "later", "provider": provider}],
        )
        with pytest.raises(Refused, match="does not expose a function called 'act'"):
            play(value)
        assert crash_activities.marks() == []


class TestPlainRun:
    """`chaos run`, for an experiment that names our control."""

    @pytest.fixture(autouse=True)
    def fresh(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        from chaoslib.run import Runner

        monkeypatch.setattr(controls, "_attended", None)
        monkeypatch.setattr(controls, "_refused", "")
        monkeypatch.setattr(Runner, "configure", Runner.configure)
        monkeypatch.chdir(stage.folder)

    def play(self, value: dict[str, Any]) -> dict[str, Any]:
        from chaoslib.experiment import ensure_experiment_is_valid, run_experiment

        mine = {"name": "chaosext", "provider": {"type": "python", "module": "chaosext.controls"}}
        whole = {**value, "controls": [mine]}
        ensure_experiment_is_valid(whole)
        journal: dict[str, Any] = run_experiment(whole, {})
        return journal

    def test_no_probe_of_the_configuration_is_run_where_the_context_is_not_pinned(self, stage: Stage) -> None:
        with pytest.raises(SystemExit):
            self.play(experiment([act("mark", word="method")], x=command(stage)))
        assert stage.traces == []

    @pytest.mark.usefixtures("cluster")
    def test_nor_on_a_production_cluster(self, stage: Stage) -> None:
        write_pin(PIN)
        with pytest.raises(SystemExit):
            self.play(experiment([act("mark", word="method")], x=command(stage)))
        assert stage.traces == []

    def test_nor_in_a_dry_run(self, stage: Stage) -> None:
        from chaoslib.types import Dry

        write_pin(PIN)
        with pytest.raises(SystemExit):
            self.play({**experiment([act("mark", word="x")], x=command(stage)), "dry": Dry.ACTIVITIES})
        assert stage.traces == []

    @pytest.mark.usefixtures("cluster")
    def test_a_hypothesis_is_not_asked_where_the_experiment_may_not_be_run(self, stage: Stage) -> None:
        value = experiment([act("mark", word="method")], probes=[{**command(stage), "tolerance": 0}])
        assert self.play(value)["status"] == "interrupted"
        assert stage.traces == []
        assert crash_activities.marks() == []

    @pytest.mark.usefixtures("cluster")
    def test_a_value_given_by_hand_needs_no_probe(
        self, stage: Stage, cluster: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from chaoslib.experiment import run_experiment

        cluster.environment = lambda: ""
        write_pin(PIN)
        chaostoolkit.hold_look_ups_back()
        watching = SimpleNamespace(__enter__=lambda: None, __exit__=lambda: None)
        monkeypatch.setattr(chaostoolkit, "brief", lambda *_: BRIEFING)
        monkeypatch.setattr(chaostoolkit, "surroundings", lambda _: None)
        monkeypatch.setattr(chaostoolkit, "Watching", lambda *_: watching)
        value = experiment([act("mark", word="${word}")], chaosext_sentinel=False, word=command(stage))
        run_experiment(value, {}, experiment_vars=({"word": "by-hand"}, {}))
        assert crash_activities.marks() == ["by-hand"]
        assert stage.traces == []


def test_what_chaosext_itself_does_is_known_before_anything_is_run(stage: Stage) -> None:
    """A cut, and every setting, is planned, limited and approved: no probe, and no Vault, has a say in it."""
    severing = {"type": "python", "module": "chaosext.actions", "func": "sever_control_plane"}
    cut = {
        "type": "action",
        "name": "cut",
        "provider": {**severing, "arguments": {"ttl_s": "${ttl}"}, "secrets": ["k8s"]},
    }
    context_in_vault = {**experiment([]), "secrets": {"k8s": {"KUBERNETES_CONTEXT": VAULTED}}}
    in_vault = {**experiment([cut]), "secrets": {"k8s": {"KUBERNETES_CONTEXT": CONTEXT, "ttl": VAULTED}}}
    for value, place in (
        (experiment([cut], ttl=command(stage)), r"method\[0\].provider.arguments: ttl"),
        (in_vault, r"method\[0\].provider.arguments: ttl"),
        (context_in_vault, "secrets.k8s.KUBERNETES_CONTEXT: its value"),
        (experiment([], chaosext_cut_nodes=command(stage)), "configuration.chaosext_cut_nodes: its value"),
        (
            experiment(
                [], x=command(stage), chaosext_stop_conditions=[{"promql": "a > ${x}", "url": "http://p"}]
            ),
            "configuration.chaosext_stop_conditions: x",
        ),
    ):
        with pytest.raises(Refused, match=f"{place} would be known only at run time"):
            resolve(load_experiment(Path(written(stage, value))))
    assert stage.traces == []


VAULTED = {"type": "vault", "path": "secret/x", "key": "k"}


class TestVault:
    @pytest.fixture(autouse=True)
    def vault(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        def read(*_: object) -> SimpleNamespace:
            stage.asked.append("vault")
            kv = SimpleNamespace(
                default_kv_version="1",
                v1=SimpleNamespace(read_secret=lambda **_: {"data": {"k": "from-vault"}}),
            )
            return SimpleNamespace(secrets=SimpleNamespace(kv=kv))

        monkeypatch.setattr("chaoslib.secret.HAS_HVAC", True)
        monkeypatch.setattr("chaoslib.secret.create_vault_client", read)

    def secretive(self, **configuration: Any) -> dict[str, Any]:
        secrets = {"k8s": {"KUBERNETES_CONTEXT": CONTEXT}, "mine": {"word": VAULTED}}
        method = [act("mark", word="${word}")]
        return {**experiment(method, rollbacks=[HEAL], **configuration), "secrets": secrets}

    @pytest.mark.usefixtures("cluster")
    @pytest.mark.parametrize("words", [["run"], *LOOKS], ids=" ".join)
    def test_it_is_not_asked_before_the_experiment_may_act(self, stage: Stage, words: list[str]) -> None:
        write_pin(PIN)
        invoke([*words, written(stage, self.secretive(vault_addr="https://vault"))])
        assert stage.traces == []

    def test_it_is_asked_once_and_only_by_https(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        without_a_cluster(monkeypatch.setattr)
        for address, asked in (("http://vault", 0), ("https://vault", 1)):
            run = contexts.start(strict=True, root=stage.folder / "run")
            resolved = resolve(load_experiment(Path(written(stage, self.secretive(vault_addr=address)))))
            try:
                runner.run_strictly(resolved, run, render=Ending(), tell=lambda _briefing: None)
            except Refused as refused:
                assert "would be sent there in the clear" in refused.message  # noqa: PT017
            assert stage.traces == ["vault"] * asked
        assert crash_activities.marks() == ["from-vault"]


@pytest.mark.parametrize(
    "provider",
    [
        {"url": "http://shop.example/", "headers": {"Authorization": "Bearer x"}},
        {"url": "http://shop.example/", "headers": {"X-Api-Key": "${key}"}},
        {"url": "http://user:opensesame@shop.example/"},
        {"url": "HTTP://shop.example/?token=x12345"},
        {"url": "http://shop.example/", "arguments": {"password": "x"}},
        {"url": "${where}/", "headers": {"Cookie": "a=b"}},
    ],
)
def test_an_activity_sends_no_credentials_over_plain_http(stage: Stage, provider: dict[str, Any]) -> None:
    activity = {"type": "probe", "name": "p", "provider": {"type": "http", **provider}}
    value = experiment([activity], where="http://shop.example", key="k")
    with pytest.raises(Refused, match=r"method\[0\].provider: it would send credentials over plain http"):
        resolve(load_experiment(Path(written(stage, value))))
    here = {**provider, "url": provider["url"].replace("shop.example", "127.0.0.1")}
    safe = {**provider, "url": provider["url"].replace("http:", "https:").replace("HTTP:", "https:")}
    for each, where in ((here, "http://127.0.0.1"), (safe, "https://shop.example")):
        activity = {"type": "probe", "name": "p", "provider": {"type": "http", **each}}
        resolve(load_experiment(Path(written(stage, experiment([activity], where=where, key="k")))))
