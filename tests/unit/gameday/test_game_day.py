"""A game day: what is refused touches nothing and is told, as is what was run, and what earlier runs had left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from gamedays import EXPERIMENTS, UID, settings

from chaosext.cluster.client import Cluster, NotFound
from chaosext.gameday import game_day
from chaosext.gameday.announcements import LONGEST_NOTE, Subject, event
from chaosext.gameday.game_day import GameDay, Ran, Told, run_experiment
from chaosext.gameday.in_cluster import is_in_cluster, kubeconfig, pin_meant
from chaosext.gameday.notify import tell
from chaosext.gameday.permission_checks import REVIEWS
from chaosext.gameday.rights import rights
from chaosext.gameday.senders import Addresses
from chaosext.model.errors import Refused, Unreachable, Unsafe
from chaosext.safety.pins import Pin, read_pins

if TYPE_CHECKING:
    from chaosext.gameday.gameday_settings import GameDaySettings

JOB = Subject(kind="Job", name="night-1", namespace="chaosext", uid="u-1")


@dataclass
class FakeCluster:
    """An API server that grants all but `denied`, has the CronJob or not, and keeps Events.

    `loose`: the kinds that no admission policy confines.
    """

    uid: str = UID
    denied: frozenset[str] = frozenset()
    cron_job: dict[str, Any] | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    takes_events: bool = True
    loose: frozenset[str] = frozenset()
    context: str = "prod-eu"
    server: str = "https://10.0.0.1"
    ca_sha256: str = ""

    def namespace_uid(self, _name: str) -> str:
        return self.uid

    def request(self, method: str, path: str, *, body: Any = None, **more: Any) -> dict[str, Any]:
        if path == REVIEWS:
            asked = body["spec"]["resourceAttributes"]
            named = next(str(each) for each in rights("night", "chaosext") if each.attributes() == asked)
            return {"status": {"allowed": named not in self.denied}}
        if method == "POST" and more.get("query") == {"dryRun": "All"}:
            return self._trial(path, body)
        if path.endswith("/events"):
            if not self.takes_events:
                raise Unreachable("no answer")
            self.events.append(body)
            return body
        if self.cron_job is None:
            raise NotFound("no such CronJob")
        return self.cron_job

    def _trial(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        kind = path.rpartition("/")[2]
        if kind in self.loose:
            return body
        end = {"leases": "requests", "pods": "pods", "daemonsets": "sentinels"}[kind]
        raise Refused(f"forbidden: ValidatingAdmissionPolicy 'chaosext-night-{end}' denied request: no")

    @property
    def said(self) -> list[tuple[str, str, str]]:
        return [(each["reason"], each["type"], each["message"]) for each in self.events]


@dataclass
class Clear:
    done: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    unsafe: bool = False

    def require_clear(self) -> None:
        if self.unsafe:
            raise Unsafe("run x may still cut cp-1", "nft delete table …")


@dataclass
class Day:
    """A game day with everything around it played."""

    monkeypatch: pytest.MonkeyPatch
    tmp_path: Path
    cluster: FakeCluster = field(default_factory=FakeCluster)
    cleanups: list[Clear] = field(default_factory=lambda: [Clear()])
    ran: Ran = field(default_factory=lambda: Ran(exit_code=0, result=RESULT))
    runs: list[tuple[Path, tuple[str, ...]]] = field(default_factory=list)
    in_pod: bool = False

    def play(self, wanted: GameDaySettings | None = None) -> dict[str, Any]:
        cleanups = iter(self.cleanups)
        self.monkeypatch.setattr(Cluster, "connect", lambda *_: self.cluster)
        self.monkeypatch.setattr(game_day, "clean_up_earlier", lambda *_: next(cleanups))
        self.monkeypatch.setattr(game_day, "run_experiment", self._run)
        day = GameDay(
            settings=wanted or settings(),
            beside=EXPERIMENTS,
            results=self.tmp_path,
            subject=JOB,
            addresses=Addresses(settings=wanted or settings(), root=self.tmp_path),
            told=Told(),
            say=lambda _: None,
            in_pod=self.in_pod,
        )
        return tell(day, day.play()).to_json()

    def _run(self, path: Path, options: list[str], _told: Told) -> Ran:
        self.runs.append((path, tuple(options)))
        return self.ran


RESULT = {"verdict": "passed", "reasons": [], "run": "r1", "experiment": "Control plane", "duration_s": 3.5}


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Day:
    return Day(monkeypatch, tmp_path)


class TestRefusals:
    def refused(self, day: Day, wanted: GameDaySettings | None = None) -> str:
        record = day.play(wanted)
        assert (record["verdict"], record["exit_code"], record["run"]) == ("refused", 20, "")
        assert day.runs == []
        ((reason, kind, message),) = day.cluster.said
        assert (reason, kind) == ("GameDayRefused", "Warning")
        assert record["reasons"][0] in message
        return message

    def test_another_cluster(self, day: Day) -> None:
        day.cluster.uid = "another"
        assert "cluster.kube_system_uid: this cluster's is another" in self.refused(day)

    def test_suspended_in_the_settings(self, day: Day) -> None:
        assert "suspend: game day chaosext/night is suspended" in self.refused(day, settings(suspend=True))

    def test_suspended_by_hand(self, day: Day) -> None:
        day.cluster.cron_job = {"spec": {"suspend": True}}
        assert "is suspended" in self.refused(day)

    def test_a_webhook_that_has_no_secret(self, day: Day) -> None:
        assert "webhook: the Secret has no readable key" in self.refused(
            day, settings(webhook={"secret": "hook"})
        )

    def test_an_experiment_that_is_not_there(self, day: Day) -> None:
        assert "none.yaml" in self.refused(day, settings(experiment="none.yaml"))

    @pytest.mark.parametrize("right", list(rights("night", "chaosext")), ids=str)
    def test_each_permission_by_its_name(self, day: Day, right: Any) -> None:
        day.cluster.denied = frozenset({str(right)})
        assert f"missing permission: {right} (to {right.why})" in self.refused(day)


class TestConfinement:
    """In a Pod the account is the settings' own, and its policies must be in force; by hand it is somebody's."""

    @pytest.fixture(autouse=True)
    def _pinned(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(game_day, "pin_meant", lambda *_: None)

    @pytest.mark.parametrize(
        ("kind", "policy"),
        [
            ("leases", "chaosext-night-requests"),
            ("pods", "chaosext-night-pods"),
            ("daemonsets", "chaosext-night-sentinels"),
        ],
    )
    def test_an_account_that_may_create_more_is_refused(self, day: Day, kind: str, policy: str) -> None:
        day.in_pod, day.cluster.loose = True, frozenset({kind})
        record = day.play()
        assert (record["verdict"], day.runs) == ("refused", [])
        assert f"admission policy {policy} is not in force" in record["reasons"][0]
        assert "apply what `chaosext schedule` writes" in record["reasons"][0]

    def test_a_confined_account_runs(self, day: Day) -> None:
        day.in_pod = True
        assert day.play()["verdict"] == "passed"

    def test_by_hand_nobodys_account_is_tried(self, day: Day) -> None:
        day.cluster.loose = frozenset({"leases", "pods", "daemonsets"})
        assert day.play()["verdict"] == "passed"


def test_what_may_still_cut_is_unsafe_and_nothing_is_run(day: Day) -> None:
    day.cleanups = [Clear(unsafe=True)]
    record = day.play()
    assert (record["verdict"], record["exit_code"], day.runs) == ("unsafe", 40, [])
    assert day.cluster.said[-1][:2] == ("GameDayUnsafe", "Warning")


class TestRun:
    def test_it_is_the_experiment_with_the_settings_in_it(self, day: Day) -> None:
        record = day.play(settings(configuration={"ttl_s": 60}, expect="deviated"))
        ((path, options),) = day.runs
        assert yaml.safe_load(path.read_text())["configuration"]["ttl_s"] == 60
        assert options == ("--context", "prod-eu", "--expect", "deviated")
        assert (record["verdict"], record["exit_code"], record["run"]) == ("passed", 0, "r1")
        assert [each[:2] for each in day.cluster.said] == [
            ("GameDayBegins", "Normal"),
            ("GameDayPassed", "Normal"),
        ]

    def test_its_exit_code_and_reasons_are_the_game_days(self, day: Day) -> None:
        day.ran = Ran(exit_code=10, result={**RESULT, "verdict": "deviated", "reasons": ["DNS died"]})
        record = day.play()
        assert (record["verdict"], record["exit_code"], record["reasons"]) == ("deviated", 10, ["DNS died"])
        assert day.cluster.said[-1] == ("GameDayDeviated", "Warning", "deviated (exit 10): DNS died")

    def test_what_it_refuses_itself_is_told_as_well(self, day: Day) -> None:
        day.ran = Ran(exit_code=20, result={"verdict": "refused", "reasons": ["stop condition is true"]})
        record = day.play()
        assert (record["verdict"], record["run"], record["facts"]) == ("refused", "", None)
        assert day.cluster.said[-1][0] == "GameDayRefused"

    def test_what_earlier_runs_left_is_told_first(self, day: Day) -> None:
        day.cleanups = [Clear(done=("removed: cut of run r0 on cp-1 (expired)",))]
        record = day.play()
        assert record["cleaned_up"] == ["removed: cut of run r0 on cp-1 (expired)"]
        assert day.cluster.said[0] == (
            "EarlierRunCleanedUp",
            "Warning",
            "removed: cut of run r0 on cp-1 (expired)",
        )

    def test_one_that_is_killed_is_cleaned_up_after_at_once(self, day: Day) -> None:
        day.ran = Ran(exit_code=-9, result=None)
        day.cleanups = [Clear(), Clear(done=("removed: cut of run r1 on cp-1 (orphaned)",))]
        record = day.play()
        assert (record["verdict"], record["exit_code"]) == ("inconclusive", 30)
        assert record["cleaned_up"] == ["removed: cut of run r1 on cp-1 (orphaned)"]
        assert "without a result (-9)" in record["reasons"][0]


class TestKeeping:
    def test_each_game_day_is_a_line(self, day: Day) -> None:
        first, second = day.play(), None
        day.cleanups = [Clear()]
        second = day.play()
        lines = (day.tmp_path / "gamedays.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in lines] == [first, second]

    def test_only_the_newest_runs_are_kept(self, day: Day) -> None:
        runs = day.tmp_path / "run"
        for number in range(5):
            (runs / f"r{number}").mkdir(parents=True)
        (runs / "latest").symlink_to("r4")
        day.play(settings(results={"keep": 2}))
        assert sorted(path.name for path in runs.iterdir()) == ["latest", "r3", "r4"]

    def test_no_event_is_no_reason_for_another_verdict(self, day: Day) -> None:
        day.cluster.takes_events = False
        record = day.play()
        assert record["exit_code"] == 0
        assert record["problems"] == [
            "no Event GameDayBegins: no answer",
            "no Event GameDayPassed: no answer",
        ]


def test_an_event_is_never_longer_than_it_may_be() -> None:
    from datetime import UTC, datetime

    made = event(JOB, "GameDayRefused", "ä" * 5000, warning=True, at=datetime(2026, 11, 23, tzinfo=UTC))
    assert len(made["message"].encode()) <= LONGEST_NOTE
    assert made["involvedObject"]["uid"] == "u-1"


class TestProcess:
    def child(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
        """`python -m chaosext` is this code."""
        (tmp_path / "chaosext").mkdir()
        (tmp_path / "chaosext" / "__init__.py").touch()
        (tmp_path / "chaosext" / "__main__.py").write_text(code)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def test_its_result_is_what_it_prints(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.child(
            monkeypatch,
            tmp_path,
            "import json, sys; print(json.dumps(sys.argv[1:])[:0] + '{}'); sys.exit(11)",
        )
        assert run_experiment(Path("x.yaml"), ["--context", "c"], Told()) == Ran(exit_code=11, result={})

    def test_one_that_is_killed_has_none(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.child(monkeypatch, tmp_path, "import os; print('{'); os.kill(os.getpid(), 9)")
        ran = run_experiment(Path("x.yaml"), [], Told())
        assert (ran.exit_code, ran.was_killed) == (-9, True)

    def test_a_refusal_without_a_word_has_left_nothing(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        self.child(monkeypatch, tmp_path, "import sys; sys.exit(20)")
        assert not run_experiment(Path("x.yaml"), [], Told()).was_killed

    def test_what_the_game_day_is_told_its_run_hears(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        self.child(
            monkeypatch,
            tmp_path,
            "import signal, sys, pathlib\n"
            'def heal(*_):\n    print(\'{"verdict": "interrupted"}\'); sys.exit(143)\n'
            "signal.signal(signal.SIGTERM, heal); pathlib.Path('up').touch(); signal.pause()",
        )
        told = Told()

        def tell_it() -> None:
            while not Path("up").exists():
                time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGTERM)

        with told.heeded():
            threading.Thread(target=tell_it).start()
            ran = run_experiment(Path("x.yaml"), [], told)
        assert (ran.exit_code, ran.result) == (143, {"verdict": "interrupted"})

    def test_before_its_run_it_ends_where_it_is(self, tmp_path: Path) -> None:
        code = (
            "import time; from pathlib import Path; from chaosext.gameday.game_day import Told\n"
            "with Told().heeded():\n    Path('up').touch(); time.sleep(60)"
        )
        process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
        while not (tmp_path / "up").exists():
            time.sleep(0.02)
        process.terminate()
        assert process.wait(30) == 143


class TestSeat:
    def test_the_kubeconfig_names_the_token_by_its_file_and_is_one_of_the_librarys(
        self, tmp_path: Path
    ) -> None:
        account = tmp_path / "account"
        account.mkdir()
        (account / "token").write_text("a-token")
        (account / "ca.crt").write_text("")
        environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
        path = tmp_path / "kubeconfig"
        path.write_text(kubeconfig("prod-eu", environment, account))
        assert "a-token" not in path.read_text()
        cluster = Cluster.connect("prod-eu", str(path))
        assert cluster.server == "https://[fd00::1]:6443"
        assert cluster._credentials()["authorization"] == "Bearer a-token"

    @pytest.mark.parametrize(
        ("host", "token", "inside"), [("10.0.0.1", True, True), ("", True, False), ("x", False, False)]
    )
    def test_it_knows_whether_it_is_in_a_pod(
        self, tmp_path: Path, host: str, token: bool, inside: bool
    ) -> None:
        if token:
            (tmp_path / "token").touch()
        assert is_in_cluster({"KUBERNETES_SERVICE_HOST": host}, tmp_path) is inside

    def test_the_cluster_that_is_meant_is_pinned_and_no_other(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        seen = Pin(context="prod-eu", server="https://10.0.0.1:443", ca_sha256="ab", kube_system_uid=UID)
        wanted = settings(cluster={"context": "prod-eu", "kube_system_uid": UID, "production": True}).cluster
        pin_meant(wanted, seen)
        assert read_pins() == {"prod-eu": replace(seen, production=True)}
        with pytest.raises(Refused, match="this cluster's is another"):
            pin_meant(wanted, replace(seen, kube_system_uid="another"))
