"""The name of a run: the only kind of text that was read and may become part of a path, a table or a label."""

from __future__ import annotations

import re
import secrets
import time

_FORM = re.compile(r"[a-z0-9]{1,20}")
"""It names an nftables table and is in a rule's comment, 128 bytes at most (libnftnl's NFTNL_UDATA_COMMENT_MAXLEN)."""


class RunId(str):
    """1 to 20 lower-case letters and digits; ValueError for anything else."""

    __slots__ = ()

    def __new__(cls, text: object) -> RunId:
        """Raises ValueError for a text that cannot name a run."""
        if not isinstance(text, str) or not _FORM.fullmatch(text):
            raise ValueError(f"{text!r:.60} can not name a run")
        return super().__new__(cls, text)

    @classmethod
    def new(cls) -> RunId:
        """UTC time and a little chance, `20261123t230300ab12`: sorts by time."""
        return cls(time.strftime("%Y%m%dt%H%M%S", time.gmtime()) + secrets.token_hex(2))


UNKNOWN = RunId("unknown")
"""Of a run whose directory names it nowhere."""
