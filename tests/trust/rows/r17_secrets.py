"""Row 17: secrets planted wherever a run could come across them; none is in anything that the run leaves or says."""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaosext.model.redact import pattern_of
from tests.trust.lab.activities import mark
from tests.trust.lab.stage import Outcome, stage
from tests.trust.lab.trial import experiment
from tests.trust.lab.watching import lease_left
from tests.trust.row import Effort, Ground, Measured, Row

if TYPE_CHECKING:
    from tests.trust.lab.trial import Activity, Trial

TIMES = {Effort.FAST: 1, Effort.FULL: 5}
HOW = ("run", "run --json", "chaos run")

ENVIRONMENT = ("DB_PASSWORD", "API_TOKEN", "GREETING")
KUBECONFIG = ("token", "password", "client-key-data", "exec-env", "server-password")
NUMBERS = ("number in the configuration", "number among secrets", "number as an argument")
PLACES = (
    *ENVIRONMENT,
    *NUMBERS,
    "configuration from the environment",
    "configuration in the file",
    "secret from the environment",
    "secret in the file",
    "secret of Kubernetes",
    "header",
    "cookie",
    "user of a URL",
    "path of a URL",
    "query of a URL",
    "HTTP argument",
    "Python argument",
    "argument of a command",
    *KUBECONFIG,
    "output",
    "output of a command",
    "exception",
    "print",
    "print of a child",
    "log",
)
"""Where a secret is planted, each of its own: 30 places."""

Item = tuple[str, int]


def in_namespaces(effort: Effort) -> Measured:
    items = [(how, turn) for turn in range(TIMES[effort]) for how in HOW]
    return stage().play(planted, items, unit=f"of {len(PLACES)} secrets found")


def planted(trial: Trial, item: Item) -> Outcome:
    how, _ = item
    outcome = Outcome()
    plants = {place: f"Zq{secrets.token_hex(12)}" for place in PLACES}
    plants |= {place: str(10**14 + secrets.randbelow(10**15)) for place in NUMBERS}
    environment = _plant(trial, plants)
    path = str(trial.write(_experiment(plants), "planted.json"))
    if how == "chaos run":
        process = trial.call("tests.trust.rows.r17_secrets:chaos", path, **environment)
    else:
        process = trial.command(*how.split(), path, **environment)
    code = process.wait(60)
    spilt = {"severed", "spilt", "listed", "burst", "rolled"} - trial.marks.keys()
    outcome.expect(not spilt, f"exit {code}, never came to {spilt}: {trial.out[-300:]!r}")
    outcome.expect(bool(trial.journal) and bool(trial.result), "there is no journal, or no result")
    found = {place for place, secret in plants.items() for text in _left(trial) if _holds(text, secret)}
    outcome.figure = float(len(found))
    outcome.failures += [f"found: {place} in {_where(trial, plants[place])}" for place in sorted(found)]
    outcome.residue += lease_left(trial.lab)
    return outcome


def _plant(trial: Trial, plants: dict[str, str]) -> dict[str, str]:
    """In the kubeconfig, and in the environment that is returned."""
    path = trial.home / ".kube" / "config"
    config = json.loads(path.read_text())
    user = {name: plants[name] for name in ("password", "client-key-data")} | {"username": "somebody"}
    plugin = {"command": "true", "env": [{"name": "NAME", "value": plants["exec-env"]}]}
    config["users"][0]["user"]["token"] = plants["token"]
    config["users"] += [{"name": "other", "user": user}, {"name": "third", "user": {"exec": plugin}}]
    elsewhere = {"server": f"https://u:{plants['server-password']}@127.0.0.1:1"}
    config["clusters"].append({"name": "other", "cluster": elsewhere})
    path.write_text(json.dumps(config))
    spilling = ("output", "exception", "print", "print of a child", "log", "output of a command")
    (trial.home / "spill").write_text(json.dumps({place: plants[place] for place in spilling}))
    (trial.home / "listing").write_text(plants["output of a command"])
    named = {name: plants[name] for name in ENVIRONMENT}
    more = ("configuration from the environment", "secret from the environment")
    return named | {f"FROM_{place.split()[0].upper()}": plants[place] for place in more}


def _experiment(plants: dict[str, str]) -> dict[str, Any]:
    value = experiment(ttl_s=30, hold_s=0.1, move=False)
    value["configuration"] |= {
        "token": {"type": "env", "key": "FROM_CONFIGURATION"},
        "password": plants["configuration in the file"],
        "pin": int(plants["number in the configuration"]),
    }
    value["secrets"]["vault"] = {
        "sesame": {"type": "env", "key": "FROM_SECRET"},
        "open": plants["secret in the file"],
        "pin": int(plants["number among secrets"]),
    }
    value["secrets"]["k8s"]["KUBERNETES_API_KEY"] = plants["secret of Kubernetes"]
    value["controls"] = [{"name": "chaosext", "provider": {"type": "python", "module": "chaosext.controls"}}]
    value["method"][2:2] = [_call(plants), _command(plants), _spill(plants), _mine("burst")]
    return value


def _call(plants: dict[str, str]) -> Activity:
    """Nobody listens there: what fails quotes its address."""
    where = (
        f"u:{plants['user of a URL']}@127.0.0.1:9/{plants['path of a URL']}?token={plants['query of a URL']}"
    )
    provider = {
        "type": "http",
        "url": f"http://{where}",
        "headers": {"Authorization": f"Bearer {plants['header']}", "Cookie": plants["cookie"]},
        "arguments": {"password": plants["HTTP argument"], "pin": int(plants["number as an argument"])},
        "timeout": 1,
    }
    return {"type": "probe", "name": "a call", "provider": provider}


def _command(plants: dict[str, str]) -> Activity:
    script = (
        f"cat listing; echo listed $(cut -d' ' -f1 /proc/uptime) >>marks; : {plants['argument of a command']}"
    )
    provider = {"type": "process", "path": "sh", "arguments": ["-c", script]}
    return {"type": "probe", "name": "a command", "provider": provider}


def _spill(plants: dict[str, str]) -> Activity:
    arguments = {
        "argument": plants["Python argument"],
        "looked_up": ["${token}", "${password}", "${sesame}", "${open}"],
    }
    return _mine("spill", **arguments)


def _mine(func: str, **arguments: Any) -> Activity:
    module = "tests.trust.rows.r17_secrets"
    provider = {
        "type": "python",
        "module": module,
        "func": func,
        "arguments": arguments,
        "secrets": ["vault"],
    }
    return {"type": "probe", "name": func, "provider": provider}


def spill(argument: str, looked_up: list[str], secrets: Any = None, configuration: Any = None) -> Any:
    """Say everything that it was given or can find, everywhere that it can."""
    given = json.loads(Path("spill").read_text())
    print(given["print"], argument, looked_up, secrets, configuration, dict(os.environ))
    print(given["print"], file=sys.stderr)
    subprocess.run([sys.executable, "-c", f"print({given['print of a child']!r})"], check=True)
    for name in ("chaostoolkit", "elsewhere"):
        logging.getLogger(name).error(f"{given['log']} {argument} {dict(os.environ)}")
    mark("spilt")
    return {
        "status": "healthy",
        "summary": given["output"],
        "all": [argument, looked_up, secrets, configuration],
    }


def burst() -> None:
    """Say it in what is raised."""
    mark("burst")
    raise RuntimeError(json.loads(Path("spill").read_text())["exception"], dict(os.environ))


def chaos(argv: list[str]) -> None:
    """Plain `chaos run`, as its command line does it."""
    from chaostoolkit.__main__ import cli

    try:
        cli(["--verbose", "--log-file", "chaostoolkit.log", "run", "--journal-path", "plain.json", *argv])
    except Exception:
        traceback.print_exc()
        raise


INPUTS = ("planted.json", "spill", "listing", ".kube/config")


def _left(trial: Trial) -> list[str]:
    """Every file in the home that the test has not put there itself: run, state, log, journal, output."""
    inputs = {trial.home / name for name in INPUTS}
    files = [each for each in trial.home.rglob("*") if each.is_file() and each not in inputs]
    return [each.read_text(errors="replace") for each in files]


def _holds(text: str, secret: str) -> bool:
    pattern = pattern_of([secret])
    return bool(pattern and pattern.search(text))


def _where(trial: Trial, secret: str) -> list[str]:
    return [
        str(each.relative_to(trial.home))
        for each in trial.home.rglob("*")
        if each.is_file()
        and str(each.relative_to(trial.home)) not in INPUTS
        and secret in each.read_text(errors="replace")
    ]


ROW = Row(
    number=17,
    title=f"{len(PLACES)} planted secrets (env, configuration, secrets, headers, kubeconfig)",
    bar="none in journal, report, log, audit",
    measures=((Ground.KERNEL, in_namespaces),),
)
