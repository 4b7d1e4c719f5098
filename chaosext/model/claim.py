"""A claim to a cluster: which run wants it for itself, whose it is, and which process stands for it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from chaosext.model.holder import Holder, me

LOCK_S = 60
"""How long a lock holds when nobody renews it, in seconds: four of its holder's renewals may fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """`run` (lower-case letters and digits) of `owner` (`user@host`), for which the process `holder` acts."""

    run: str
    owner: str
    holder: Holder = field(default_factory=me)

    def __str__(self) -> str:
        return f"run {self.run} of {self.owner}"


def known_dead(holder: Holder | None) -> bool:
    """Whether the process is known to have ended: one of this very boot that is no more.

    Hosts may share a name (every fresh virtual machine's is the same), and a name may have been cut short to fit;
    the boot's id tells machines apart. A lock held in an earlier boot of this machine expires by itself.
    """
    return holder is not None and holder.boot == me().boot and replace(holder, host=me().host).is_dead


def parsed(text: str | None) -> Holder | None:
    """What `str(holder)` wrote; None for anything else."""
    try:
        return Holder.parse(text or "")
    except ValueError:
        return None


def shortened(holder: Holder, length: int) -> Holder:
    """The same process, its host's name cut so that `str` of it has `length` characters at the most."""
    beyond = len(str(holder)) - length
    return holder if beyond <= 0 else replace(holder, host=holder.host[:-beyond])
