"""Asking another process' run to heal and to end, and seeing that it did: by its Lease, else by a signal."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.cluster.lease import LEASE, look_at_notes, request_abort
from chaosext.model.errors import Refused, Unreachable
from chaosext.run.stop.abort_listener import HEALED
from chaosext.safety.intent import intent_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaosext.cluster.client import Cluster
    from chaosext.cluster.lease import Notes
    from chaosext.model.owner import Holder, LockFacts
    from chaosext.safety.intent import Outstanding

POLL_S = 1.0
TELL_S = 5.0
SIGNAL_AFTER_S = 10.0
"""A run looks at its Lease every 2 s; one that doesn't answer by then, on this machine, is told by a signal."""

SEEN, ENDED, NOT_SEEN = 0, 30, 40


@dataclass(slots=True, kw_only=True)
class Asking:
    """An abort under way. `run`: "" is whoever has the cluster. `tell` is given a line for people, as it goes."""

    cluster: Cluster
    reason: str
    tell: Callable[[str], None]
    run: str = ""
    wait_s: float = 60.0
    _signalled: bool = False

    def through(self) -> int:
        """Ask, and wait for the answer: 0 seen healed, 30 ended without an answer, 40 not seen over in time.

        Raises `Refused` where there is nothing to abort.
        """
        try:
            notes = look_at_notes(self.cluster)
            lock = self._wanted(notes)
            if lock.may_be_taken:
                return self._dead(notes)
            request_abort(self.cluster, self.reason)
        except Unreachable as error:
            return self._through_this_machine(error)
        self.tell(f"asked run {lock.run} of {lock.owner} to heal and to end")
        return self._wait(lock)

    def _wanted(self, notes: Notes) -> LockFacts:
        context, lock = self.cluster.context, notes.lock
        if lock is None or not lock.run:
            raise Refused(
                f"there is nothing to abort: no run holds {LEASE} of context {context}",
                "see `chaosext status` for what is on its nodes",
            )
        if self.run and self.run != lock.run:
            raise Refused(
                f"run {self.run} does not hold {LEASE} of context {context}: {lock} does",
                f"`chaosext abort --run {lock.run}` aborts that one",
            )
        return lock

    def _wait(self, lock: LockFacts) -> int:
        began_s, told_s, notes = time.monotonic(), 0.0, None
        while (waited_s := time.monotonic() - began_s) < self.wait_s:
            time.sleep(POLL_S)
            with suppress(Unreachable):
                notes = look_at_notes(self.cluster)
            over = None if notes is None else self._over(lock, notes)
            if over is not None:
                return over
            if waited_s >= SIGNAL_AFTER_S:
                self._signal(lock.holder)
            if waited_s - told_s >= TELL_S:
                told_s = waited_s
                self.tell(f"waiting for run {lock.run}: {waited_s:.0f} s of {self.wait_s:g} s")
        self.tell(f"run {lock.run} did not answer within {self.wait_s:g} s")
        return self._left_to_the_kernel(notes)

    def _over(self, lock: LockFacts, notes: Notes) -> int | None:
        """How it ended; None: it has not."""
        if notes.lock is None or notes.lock.run != lock.run:
            self.tell(
                f"run {lock.run} has ended, and gave {LEASE} back before it answered: its report says how"
            )
            return ENDED
        if notes.answer:
            self.tell(f"run {lock.run}: {notes.answer}")
            return SEEN if notes.answer.startswith(HEALED) else NOT_SEEN
        return self._dead(notes) if notes.lock.may_be_taken else None

    def _dead(self, notes: Notes) -> int:
        self.tell(f"{notes.lock}: its runner is dead, or does not renew {LEASE}")
        return self._left_to_the_kernel(notes)

    def _left_to_the_kernel(self, notes: Notes | None) -> int:
        """What heals a cut whose runner does not: the kernel's timeout, or a cleanup."""
        cut = notes.in_force if notes else None
        if notes is None or cut is None:
            self.tell(
                "whether a cut is in force is not known: `chaosext status` looks, `chaosext cleanup` removes it"
            )
            return NOT_SEEN
        remaining_s = (cut.until - notes.now).total_seconds()
        if remaining_s <= 0:
            self.tell("the kernel has let go of its cut: its TTL is over")
            return SEEN
        sooner = f", or {cut.dead_man_s:g} s after the runner has died" if cut.dead_man_s else ""
        self.tell(
            f"the kernel lets go of its cut in {remaining_s:.0f} s at the latest ({cut.until:%H:%M:%S} UTC){sooner}; "
            "`chaosext cleanup` removes it now"
        )
        return NOT_SEEN

    def _signal(self, holder: Holder | None) -> None:
        """SIGTERM heals within seconds, and plays no rollbacks; only to a process that is seen from here."""
        if self._signalled or holder is None or not holder.is_here or holder.is_dead:
            return
        self._signalled = True
        try:
            os.kill(holder.pid, signal.SIGTERM)
            self.tell(f"it does not answer; SIGTERM was sent to its process {holder.pid}")
        except OSError as error:
            self.tell(
                f"it does not answer, and its process {holder.pid} can't be signalled ({error.strerror})"
            )

    def _through_this_machine(self, error: Unreachable) -> int:
        """Without an API server: a run of this machine, known by its intent log, by a signal."""
        known = next((each for each in intent_log().outstanding() if self._is_meant(each)), None)
        if known is None or known.holder is None:
            raise Refused(
                f"{error.message}, and no run of this machine is known to be cutting there",
                "run it where the runner is, or `chaosext cleanup` where the nodes can be entered",
            )
        self._signal(known.holder)
        return self._wait_until_gone(known.run)

    def _is_meant(self, known: Outstanding) -> bool:
        here = known.holder is not None and known.holder.is_here and known.is_running
        return here and self.run in ("", known.run) and known.context == self.cluster.context

    def _wait_until_gone(self, run: str) -> int:
        deadline_s = time.monotonic() + self.wait_s
        while time.monotonic() < deadline_s:
            if all(each.run != run or each.is_over for each in intent_log().outstanding()):
                self.tell(f"run {run}: its cut was seen gone on every node")
                return SEEN
            time.sleep(POLL_S / 4)
        self.tell(f"the cut of run {run} was not seen gone: see `chaosext status`")
        return NOT_SEEN
