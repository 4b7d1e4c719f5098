"""`chaosext approve`: approves experiments for clusters that are marked production."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from chaosext.cli.answer import Form, answers, say_answer, say_data
from chaosext.cli.options import InputFile, cluster_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from chaosext.cluster.client import Cluster
    from chaosext.safety.approvals import Word

CONFIG_MAP, KEY = "chaosext-approvals", "approvals.jsonl"
"""The ConfigMap that a runner in the cluster mounts; $CHAOSEXT_APPROVALS is the path of the file."""


@click.command()
@click.argument("experiment", type=InputFile("experiment"), required=False)
@cluster_options("The cluster's Kubernetes context.  [default: the one that EXPERIMENT names]")
@click.option("--by", help="Who approves.  [default: user@host]")
@click.option("--until", metavar="WHEN", help="Until then: 2026-12-24T06:00+01:00, or from now on: 8h, 30d.")
@click.option("--note", default="", help="Why, such as the number of a change.")
@click.option("--revoke", metavar="DIGEST", help="Revoke the approval with this digest (or its beginning).")
@click.option(
    "--list", "as_list", is_flag=True, help="List the approvals; with --context those of its cluster."
)
@click.option("--dry-run", is_flag=True, help="Print the digest and what it stands for; approve nothing.")
@click.option(
    "--config-map",
    is_flag=True,
    help="Print a ConfigMap with every approval of the cluster, for a runner inside of it.",
)
@click.option(
    "--namespace", "-n", default="chaosext", show_default=True, help="The ConfigMap's, for --config-map."
)
@answers()
def approve(
    experiment: Path | None,
    context: str | None,
    by: str | None,
    until: str | None,
    note: str,
    revoke: str | None,
    as_list: bool,
    dry_run: bool,
    config_map: bool,
    namespace: str,
    form: Form,
) -> int:
    """Approve EXPERIMENT, as it is now, for a cluster that is marked production. Only approved experiments run there.

    The approval is for a digest of everything that the experiment does, with each value of its configuration as it is
    looked up now, from the environment too. A change of any of them needs another approval. Nothing is run to look a
    value up: a configuration that a probe returns (`type: probe`) cannot be approved. An approval holds for one
    cluster, by the UID of its namespace kube-system, until it expires or is revoked. Mark a cluster with `chaosext pin
    --context CONTEXT --production`, or for every runner with `kubectl label namespace kube-system
    chaosext/environment=production --overwrite`.

    \b
    Examples:
      chaosext run gameday.yaml --dry-run                 what would be done
      chaosext approve gameday.yaml --until 30d --note CHG-4711
      CHAOSEXT_TTL_S=300 chaosext approve gameday.yaml    with the environment that it will be run with
      chaosext approve --list
      chaosext approve --revoke 3f8a11c0
      chaosext approve --list --context prod-eu --config-map | kubectl --context prod-eu apply -f -
    """
    from chaosext.model.errors import Refused

    asked = [
        name
        for name, given in (("EXPERIMENT", experiment), ("--revoke", revoke), ("--list", as_list))
        if given
    ]
    if len(asked) != 1:
        said = " and ".join(asked) or "nothing"
        raise Refused(f"{said}: choose exactly one", "name an experiment, --revoke or --list")
    if experiment:
        words = _approve(experiment, context, by=by, until=until, note=note, dry_run=dry_run)
    elif revoke:
        words = _revoke(revoke, context, by=by, note=note)
    else:
        words = _in_force(_uid(context))
    if config_map:
        found = words if as_list else _in_force(words[0].cluster_uid)
        say_data(_config_map(found, namespace), form if form.is_data else Form.YAML)
        return 0
    lines = [line for word in words for line in _lines(word)] or ["no approval is in force"]
    say_answer([word.to_json() for word in words], lines, form)
    return 0


def _approve(
    experiment: Path, context: str | None, *, by: str | None, until: str | None, note: str, dry_run: bool
) -> list[Word]:
    from chaosext.experiment.known_secrets import TELLING
    from chaosext.experiment.load import load_experiment
    from chaosext.experiment.resolve import resolve
    from chaosext.run.session.approval import intended
    from chaosext.run.session.run_context import owner
    from chaosext.safety.approvals import Said, Word, shown_values

    now = datetime.now(UTC)
    ends = moment(until, now) if until is not None else None
    resolved = resolve(load_experiment(experiment), source=str(experiment))
    what = intended(resolved)
    what.require_approvable()
    context = context or resolved.settings.context
    word = Word(
        said=Said.APPROVED,
        sha256=what.sha256,
        cluster_uid=_pinned(context).namespace_uid("kube-system"),
        context=context,
        by=by or owner(),
        at=now,
        title=str(resolved.experiment["title"]),
        values=shown_values({k: v for k, v in resolved.configuration.items() if not TELLING.search(str(k))}),
        until=ends,
        note=note,
    )
    if not dry_run:
        _write(word)
    return [word]


def _revoke(digest: str, context: str | None, *, by: str | None, note: str) -> list[Word]:
    """Revoke the approval whose digest begins with `digest`; `context` selects its cluster if there are several."""
    import dataclasses

    from chaosext.model.errors import Refused
    from chaosext.run.session.run_context import owner
    from chaosext.safety.approvals import Said

    found = [word for word in _in_force(_uid(context)) if word.sha256.startswith(digest.lower())]
    if len(found) != 1:
        what = "no approval" if not found else f"{len(found)} approvals"
        raise Refused(f"--revoke: {what} in force begin(s) with {digest!r}", "see `chaosext approve --list`")
    word = dataclasses.replace(
        found[0], said=Said.REVOKED, by=by or owner(), at=datetime.now(UTC), until=None, note=note
    )
    _write(word)
    return [word]


def _write(word: Word) -> None:
    """Write to the audit log first: without an entry there, nothing is approved or revoked."""
    from chaosext.run.session.run_context import owner
    from chaosext.safety.approvals import Said, write_word
    from chaosext.safety.audit_log import AuditEvent, Deed, audit_log

    event = AuditEvent.APPROVED if word.said is Said.APPROVED else AuditEvent.APPROVAL_REVOKED
    deed = Deed(
        event=event,
        owner=owner(),
        context=word.context,
        cluster_uid=word.cluster_uid,
        approval_sha256=word.sha256,
    )
    audit_log().append(deed)
    write_word(word)


def _in_force(cluster_uid: str) -> list[Word]:
    """Return the approvals in force, for one cluster or ("") for all."""
    from chaosext.safety.approvals import last_words, read_words

    now = datetime.now(UTC)
    return [
        word
        for word in last_words(read_words()).values()
        if word.holds(now) and cluster_uid in ("", word.cluster_uid)
    ]


def _uid(context: str | None) -> str:
    return _pinned(context).namespace_uid("kube-system") if context else ""


def _pinned(context: str) -> Cluster:
    from chaosext.experiment.settings import Settings
    from chaosext.run.session.connection import connect_to_act

    return connect_to_act(Settings.model_validate({"context": context}))


def moment(text: str, now: datetime) -> datetime:
    """Parse `2026-12-24T06:00+01:00`, or `8h` or `30d` from now. Raises `Refused` if invalid or in the past."""
    from chaosext.model.errors import Refused

    try:
        found = _from_now(text, now) or datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise Refused(f"--until: {text!r} is not a time", "write 2026-12-24T06:00+01:00, 8h or 30d") from None
    if found.tzinfo is None:
        raise Refused(f"--until: {text!r} has no time zone", f"write {text}Z or {text}+01:00")
    if found <= now:
        raise Refused(f"--until: {text!r} is in the past", "choose a time in the future")
    return found.astimezone(UTC)


def _from_now(text: str, now: datetime) -> datetime | None:
    unit = {"m": "minutes", "h": "hours", "d": "days"}.get(text[-1:])
    return now + timedelta(**{unit: float(text[:-1])}) if unit else None


def _config_map(words: Iterable[Word], namespace: str) -> dict[str, Any]:
    from chaosext.safety.approvals import as_line

    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP, "namespace": namespace},
        "data": {KEY: "".join(map(as_line, words))},
    }


def _lines(word: Word) -> Iterator[str]:
    until = f"until {word.until:%Y-%m-%d %H:%M} UTC" if word.until else "until it is revoked"
    yield f"{word.said.value}: {word.title}"
    yield f"  digest   {word.sha256}"
    yield f"  cluster  {word.cluster_uid} (context {word.context})"
    yield f"  by       {word.by}, {word.at:%Y-%m-%d %H:%M} UTC, {until}"
    if word.values:
        yield f"  with     {', '.join(f'{name} {value}' for name, value in sorted(word.values.items()))}"
    if word.note:
        yield f"  note     {word.note}"
