"""Watch a kind of object, across broken connections and expired histories, until stopped."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from chaosext.cluster.bounded_http import PIECE, allowed, decoded
from chaosext.cluster.client import MOST_OBJECTS, Cluster, Expired, resource_path
from chaosext.model.errors import TooLarge, Unreachable, understood
from chaosext.model.output_bounds import MIB, too_large

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from threading import Event

    from urllib3.response import BaseHTTPResponse

CONNECT_S, READ_S = 1.5, 2.5
"""A silent stream is closed after READ_S and resumed at the same position, so that `stop` is noticed within 4 s."""

LONGEST_LINE = 4 * MIB
"""Bytes of one change: etcd stores no object larger than 1.5 MiB (its --max-request-bytes)."""

LINE_S = 10.0
"""Seconds within which a change must arrive completely, even if its bytes keep coming."""

RETRY_S = 0.5
"""Pause in seconds before retrying after an API server did not answer."""

BREATH_S = 0.1
"""Pause in seconds between two connections, so that a proxy that closes each one immediately is not flooded."""

Change = dict[str, Any]
"""`{"type": "ADDED" | "MODIFIED" | "DELETED", "object": {…}}`, as in a Kubernetes watch."""


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
    """Yield every change of a kind (plural, see `client.PATHS`), starting with all existing objects as ADDED.

    `known` (uid -> object) is what the caller has already seen: then it starts with the differences only. It
    is kept up to date, each object before its change is yielded, so that a later watch can continue from it.
    Survives broken connections (resumes from the last resourceVersion) and expired histories (lists again and
    yields what was missed). Ends within 5 s after `stop` is set. `on_answer` is called whenever the API
    server answers (at least every 3 s while it does), `on_trouble` with a message whenever it does not.
    Raises `Refused` or `NotFound` if a permission is missing, or the kind does not exist.
    """
    query = {"labelSelector": label_selector, "fieldSelector": field_selector}
    known = {} if known is None else known
    version = ""
    while not stop.is_set():
        try:
            if not version:
                items, version = _list(cluster, kind, namespace, query, stop)
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
    cluster: Cluster, kind: str, namespace: str | None, query: dict[str, str | None], stop: Event
) -> tuple[list[dict[str, Any]], str]:
    """List all objects, and the resourceVersion to watch from. Raises `Unreachable` if stopped."""
    items: list[dict[str, Any]] = []
    version = ""
    for page in cluster.pages(kind, namespace=namespace, timeout_s=CONNECT_S + READ_S, **query):
        items += page.get("items") or ()
        version = page["metadata"]["resourceVersion"]
        if stop.is_set():
            raise Unreachable(f"the list of {kind} was not waited for")
    return items, version


def _missed(known: dict[str, dict[str, Any]], items: list[dict[str, Any]]) -> Iterator[Change]:
    """Yield the changes from `known` to `items`, and update `known`.

    Deleted objects come first, then known ones, then new ones: a Pod leaves before its replacement appears.
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
    with understood("a watch"):
        uid = change["object"]["metadata"]["uid"]
    if change["type"] == "DELETED":
        known.pop(uid, None)
    elif uid in known or len(known) < MOST_OBJECTS:
        known[uid] = change["object"]
    else:
        raise TooLarge(f"a watch knows of more than {MOST_OBJECTS:,} objects")


def _follow(
    cluster: Cluster,
    path: str,
    query: dict[str, str | None],
    version: str,
    stop: Event,
    on_answer: Callable[[], None],
) -> Iterator[Change]:
    """Yield the changes of one connection, until the server closes it, it is silent, or `stop` is set."""
    asked = {**query, "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
    response = cluster.open_stream(path, asked, within_s=CONNECT_S + READ_S)
    on_answer()
    try:
        for line in _lines(_chunks(response, path, stop), path):
            on_answer()
            yield _change(line)
    finally:
        response.close()


def _chunks(response: BaseHTTPResponse, path: str, stop: Event) -> Iterator[bytes]:
    """Yield data as it arrives, until none arrives for `READ_S`."""
    from urllib3.exceptions import HTTPError, ReadTimeoutError

    while not stop.is_set():
        with allowed(READ_S, LONGEST_LINE) as allowance:
            try:
                chunk = response.read1(PIECE, decode_content=False)
            except ReadTimeoutError:
                return
            except (HTTPError, OSError) as error:
                raise allowance.error(f"a watch of {path}", type(error).__name__) from error
        if not chunk:
            return
        yield chunk


def _lines(chunks: Iterable[bytes], path: str) -> Iterator[bytes]:
    """Yield complete lines. Raises `Unreachable` for a line that is too long or too slow."""
    rest, since_s = bytearray(), monotonic()
    for chunk in chunks:
        if not rest:
            since_s = monotonic()
        rest += chunk
        if b"\n" in chunk:
            *complete, last = bytes(rest).split(b"\n")
            rest, since_s = bytearray(last), monotonic()
            yield from filter(None, complete)
        elif len(rest) > LONGEST_LINE:
            raise too_large(f"a watch of {path}: one change", LONGEST_LINE)
        elif monotonic() - since_s > LINE_S:
            raise Unreachable(f"a watch of {path}: one change took more than {LINE_S:g} s to come")


def _change(line: bytes) -> Change:
    """Parse a change. Raises `Unreachable` for anything else, and `Expired` if the history is gone."""
    with understood("a watch"):
        change: Change = decoded(line, "a watch: one change")
        kind, about = change["type"], change["object"]
        if kind == "ERROR":
            if about.get("code") == 410:
                raise Expired("the watch's history is gone")
            raise Unreachable(f"a watch ended: {about.get('message', 'no reason given')}")
        about["metadata"]["resourceVersion"]
    return change
