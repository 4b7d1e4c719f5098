"""What a command asks of API servers, as rights: recorded in its processes, whichever library sends a request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chaosext.gameday.rights import Right

VARIABLE = "RECORDED_REQUESTS"

SITE = f"""
import os
import urllib3.poolmanager
import websocket

def note(method, url):
    with open(os.environ["{VARIABLE}"], "a") as file:
        file.write(f"{{method}} {{url}}\\n")

def urlopen(self, method, url, *more, _urlopen=urllib3.poolmanager.PoolManager.urlopen, **named):
    note(method, url)
    return _urlopen(self, method, url, *more, **named)

def connect(self, url, *more, _connect=websocket.WebSocket.connect, **named):
    note("GET", url)
    return _connect(self, url, *more, **named)

urllib3.poolmanager.PoolManager.urlopen = urlopen
websocket.WebSocket.connect = connect
"""
"""As sitecustomize.py on a process' PYTHONPATH: each request is a line of the file that `VARIABLE` names."""

PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]+))?"
    r"/(?P<resource>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<subresource>.+))?)?"
)
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def recorder(directory: Path) -> dict[str, str]:
    """Environment variables under which Python processes record their requests in `directory`."""
    (directory / "sitecustomize.py").write_text(SITE)
    return {"PYTHONPATH": str(directory), VARIABLE: str(directory / "requests")}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as RBAC sees it."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str

    @classmethod
    def parse(cls, line: str) -> Self | None:
        method, _, url = line.partition(" ")
        address = urlsplit(url)
        found = PATH.fullmatch(address.path)
        if found is None:
            return None
        said = found.groupdict("")
        watched = parse_qs(address.query).get("watch") in (["1"], ["true"])
        read = "get" if said["name"] else "watch" if watched else "list"
        below = f"/{said['subresource']}" if said["subresource"] else ""
        verb = VERBS.get(method, read)
        return cls(verb, said["group"], said["resource"] + below, said["namespace"], said["name"])

    def needs(self, right: Right) -> bool:
        """Whether it takes this right; one for the whole cluster is for each namespace."""
        return (
            (self.verb, self.group, self.resource) == (right.verb, right.group, right.resource)
            and right.namespace in ("", self.namespace)
            and right.name in ("", self.name)
        )


def recorded(directory: Path) -> Iterator[Asked]:
    """What was asked, in its order."""
    for line in (directory / "requests").read_text().splitlines():
        if asked := Asked.parse(line):
            yield asked
