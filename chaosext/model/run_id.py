"""The ID of a run: the only text read from outside that may become part of a path, a table name or a label."""

from __future__ import annotations

import re
import secrets
import time

_FORM = re.compile(r"[a-z0-9]{1,20}")
"""It is part of an nftables table name and of a rule comment, which is limited to 128 bytes (libnftnl,
NFTNL_UDATA_COMMENT_MAXLEN)."""


class RunId(str):
    """1 to 20 lower-case letters and digits. Raises ValueError for anything else."""

    __slots__ = ()

    def __new__(cls, text: object) -> RunId:
        """Raises ValueError for a text that is not a valid run ID."""
        if not isinstance(text, str) or not _FORM.fullmatch(text):
            raise ValueError(f"{text!r:.60} can not name a run")
        return super().__new__(cls, text)

    @classmethod
    def new(cls) -> RunId:
        """Generate an ID from the UTC time and a random suffix, such as `20261123t230300ab12`: it sorts by time."""
        return cls(time.strftime("%Y%m%dt%H%M%S", time.gmtime()) + secrets.token_hex(2))


UNKNOWN = RunId("unknown")
"""Stands for a run whose directory does not name it."""
