"""Watching a kind of object, through broken connections and expired histories, until told to stop."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from chaosext.cluster.client import Cluster, Expired, resource_path
from chaosext.model.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from threading import Event

CONNECT_S, READ_S = 1.5, 2.5
"""A silent stream is left after READ_S and taken up again where it was: so `stop` is seen within 4 s."""

RETRY_S = 0.5
"""Pause before asking again an API server that didn't answer."""

BREATH_S = 0.1
"""Pause between two connections, so that a proxy which closes each of them at once isn't hammered."""

Change = dict[str, Any]
"""`{"type": "ADDED" | "MODIFIED" | "DELETED", "object": {…}}`, as a Kubernetes watch says it."""


def watch(
    cluster: Cluster,
    kind: str,
    stop: Event,
    *,
    namespace: str | None = None,
    label_selector: str | None = None,
    field_selector: str | None = None,
    known: dict[str, dict[str, Any]] | None = None,
    on_answer: Callable[[], None] = lambda: None,
    on_trouble: Callable[[str], None] = lambda message: None,
) -> Iterator[Change]:
    """Every change of a kind (plural, see `client.PATHS`), beginning with all that is there, as ADDED.

    `known` (uid -> object) is what the caller has seen already: the beginning is then only what differs from
    it. It is kept up to date, each object before its change is told, so that a later watch can go on from it.
    Survives broken connections (resumes from the last resourceVersion) and expired histories (lists again
    and says what was missed). Ends within 5 s after `stop` is set. `on_answer` hears whenever the API server
    answers (while it does, each 3 s at least); `on_trouble`, in words, whenever it doesn't. Raises `Refused`
    or `NotFound` when we may not watch, or there is nothing of that kind.
    """
    query = {"labelSelector": label_selector, "fieldSelector": field_selector}
    known = {} if known is None else known
    version = ""
    while not stop.is_set():
        try:
            if not version:
                items, version = _list(cluster, kind, namespace, query)
                on_answer()
                yield from _missed(known, items)
            path = resource_path(kind, namespace=namespace)
            for change in _follow(cluster, path, query, version, stop, on_answer):
                version = change["object"]["metadata"]["resourceVersion"]
                if change["type"] != "BOOKMARK":
                    _remember(known, change)
                    yield change
            stop.wait(BREATH_S)
        except Expired:
            version = ""
        except Unreachable as error:
            on_trouble(str(error))
            stop.wait(RETRY_S)


def _list(
    cluster: Cluster, kind: str, namespace: str | None, query: dict[str, str | None]
) -> tuple[list[dict[str, Any]], str]:
    """Everything there is now, and the resourceVersion from which to follow."""
    items: list[dict[str, Any]] = []
    version = ""
    for page in cluster.pages(kind, namespace=namespace, timeout_s=CONNECT_S + READ_S, **query):
        items += page.get("items") or ()
        version = page["metadata"]["resourceVersion"]
    return items, version


def _missed(known: dict[str, dict[str, Any]], items: list[dict[str, Any]]) -> Iterator[Change]:
    """The changes that lead from what is `known` to what `items` say; `known` is brought up to date.

    Whoever has gone comes first, then who was known, then who is new: a Pod leaves before another replaces it.
    """
    current = {item["metadata"]["uid"]: item for item in items}
    for uid in [uid for uid in known if uid not in current]:
        yield {"type": "DELETED", "object": known.pop(uid)}
    for uid in sorted(current, key=lambda uid: uid not in known):
        item, before = current[uid], known.get(uid)
        known[uid] = item
        if before is None:
            yield {"type": "ADDED", "object": item}
        elif before["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
            yield {"type": "MODIFIED", "object": item}


def _remember(known: dict[str, dict[str, Any]], change: Change) -> None:
    uid = change["object"]["metadata"]["uid"]
    if change["type"] == "DELETED":
        known.pop(uid, None)
    else:
        known[uid] = change["object"]


def _follow(
    cluster: Cluster,
    path: str,
    query: dict[str, str | None],
    version: str,
    stop: Event,
    on_answer: Callable[[], None],
) -> Iterator[Change]:
    """The changes of one connection; it ends when the server ends it, goes silent, or `stop` is set."""
    from urllib3.exceptions import HTTPError, ReadTimeoutError

    asked = {**query, "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
    response = cluster.open_stream(path, asked, connect_s=CONNECT_S, read_s=READ_S)
    on_answer()
    try:
        for line in _lines(response.stream(1 << 16)):
            on_answer()
            yield _change(line)
            if stop.is_set():
                return
    except ReadTimeoutError:
        return
    except (HTTPError, OSError) as error:
        raise Unreachable(f"a watch of {path} broke off ({type(error).__name__})") from error
    finally:
        response.close()


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The complete lines in a stream of chunks."""
    rest = b""
    for chunk in chunks:
        *complete, rest = (rest + chunk).split(b"\n")
        yield from filter(None, complete)


def _change(line: bytes) -> Change:
    change: Change = json.loads(line)
    if change["type"] == "ERROR":
        status = change["object"]
        if status.get("code") == 410:
            raise Expired("the watch's history is gone")
        raise Unreachable(f"a watch ended: {status.get('message', 'no reason given')}")
    return change
