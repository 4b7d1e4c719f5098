"""Taking, renewing and giving back the nodes' lock, on nodes that keep it as nft would, and can be in any trouble."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace

import pytest

from chaosext.model.errors import Refused, Unreachable
from chaosext.model.owner import LOCK_S, Claim, me
from chaosext.nodes.shell import ShellResult
from chaosext.partition import node_lock
from chaosext.partition.apply import TIMEOUT_S
from chaosext.partition.node_lock import ATTEMPTS, lock_nodes, remove_lock, renew_lock
from chaosext.partition.scripts import LOCK

CLAIM = Claim(run="mine", owner="alice@laptop")
THEIRS = Claim(run="theirs", owner="bob@desk")
DEAD = Claim(run="dead", owner="carl@gone", holder=replace(me(), pid=2**22 + 1))


@dataclass
class Locked:
    """A node with a lock of the run `name` ("": free). What others do `meanwhile` comes before each transaction."""

    node: str
    name: str = ""
    comment: str = ""
    live: bool = True
    trouble: Exception | str | None = None
    meanwhile: list[Locked] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        assert script == LOCK
        self.calls.append(timeout_s)
        self.told.append(stdin)
        if isinstance(self.trouble, Exception):
            raise self.trouble
        if self.trouble is not None:
            return ShellResult(4, self.trouble, "said on stderr")
        if self.meanwhile:
            other = self.meanwhile.pop(0)
            self.name, self.comment, self.live = other.name, other.comment, other.live
        error = self._apply(stdin)
        return ShellResult(
            0, f"@@chaosext nft\n{error}\n@@chaosext lock\n{self._json()}\n@@chaosext end\n", ""
        )

    def _apply(self, transaction: str) -> str:
        gone = re.search(
            r"delete set inet chaosext.lock run_(\w+)|flush set inet chaosext.lock run_(\w+)", transaction
        )
        if gone and self.name != (gone[1] or gone[2]):
            return "Error: No such file or directory"
        creates = "create table" in transaction
        if creates and self.name and not gone:
            return "Error: File exists"
        if "delete set" in transaction:
            self.name = ""
        if made := re.search(r'run_(\w+) \{ 1 timeout (\d+)ms comment "(.*)" \}', transaction):
            self.name, self.comment, self.live = made[1], made[3], True
        return ""

    def _json(self) -> str:
        if not self.name:
            return ""
        element = {"elem": {"val": 1, "timeout": 60, "expires": 42, "comment": self.comment}}
        held = {"family": "inet", "name": f"run_{self.name}", **({"elem": [element]} if self.live else {})}
        return json.dumps({"nftables": [{"table": {}}, {"set": held}]})


def held(node: str, claim: Claim, *, live: bool = True) -> Locked:
    return Locked(node, name=claim.run, comment=f"owner={claim.owner} holder={claim.holder}", live=live)


def free() -> dict[str, Locked]:
    return {name: Locked(name) for name in ("n2", "n1", "n3")}


def names(nodes: dict[str, Locked]) -> dict[str, str]:
    return {name: node.name for name, node in nodes.items()}


def test_every_node_is_locked_the_first_by_name_before_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes, passed = free(), []
    monkeypatch.setattr(node_lock, "crash_point", lambda name: passed.append((name, names(nodes))))
    lock_nodes(CLAIM, nodes)
    every = dict.fromkeys(nodes, "mine")
    assert names(nodes) == every
    assert passed == [("first-node-locked", {"n2": "", "n1": "mine", "n3": ""}), ("nodes-locked", every)]
    assert {timeout_s for node in nodes.values() for timeout_s in node.calls} == {TIMEOUT_S}
    assert f"timeout {LOCK_S * 1000}ms" in nodes["n1"].told[0]
    assert "owner=alice@laptop" in nodes["n3"].comment


def test_times_are_handed_on() -> None:
    nodes = free()
    lock_nodes(CLAIM, nodes, ttl_s=7.0, timeout_s=3.0)
    assert all("timeout 7000ms" in node.told[0] and node.calls == [3.0] for node in nodes.values())
    renew_lock(CLAIM, nodes, ttl_s=8.0, timeout_s=4.0)
    assert all("timeout 8000ms" in node.told[1] and node.calls[1:] == [4.0] for node in nodes.values())
    renew_lock(CLAIM, nodes)
    assert f"timeout {LOCK_S * 1000}ms" in nodes["n1"].told[2]
    remove_lock("mine", nodes, timeout_s=5.0)
    assert all(node.calls[2:] == [TIMEOUT_S, 5.0] for node in nodes.values())


def test_taking_it_again_is_no_trouble() -> None:
    nodes = free()
    lock_nodes(CLAIM, nodes)
    lock_nodes(CLAIM, nodes)
    assert set(names(nodes).values()) == {"mine"}


def test_who_holds_it_is_told_and_what_was_got_is_given_back() -> None:
    nodes = {**free(), "n3": held("n3", THEIRS)}
    with pytest.raises(Refused) as refused:
        lock_nodes(CLAIM, nodes, timeout_s=3.0)
    assert "run theirs of bob@desk holds node n3" in refused.value.message
    assert "else it expires in 42 s" in refused.value.message
    assert names(nodes) == {"n1": "", "n2": "", "n3": "theirs"}
    assert {timeout_s for node in nodes.values() for timeout_s in node.calls} == {3.0}


def test_the_first_node_alone_decides() -> None:
    nodes = {**free(), "n1": held("n1", THEIRS)}
    with pytest.raises(Refused, match="holds node n1"):
        lock_nodes(CLAIM, nodes)
    asked = {name: [text for text in node.told if "create table" in text] for name, node in nodes.items()}
    assert {name: len(texts) for name, texts in asked.items()} == {"n1": 1, "n2": 0, "n3": 0}
    assert nodes["n1"].name == "theirs"


@pytest.mark.parametrize("before", [held("n1", THEIRS, live=False), held("n1", DEAD)])
def test_an_expired_lock_and_that_of_a_dead_process_are_taken_over(before: Locked) -> None:
    nodes = {"n1": replace(before, told=[], calls=[])}
    lock_nodes(CLAIM, nodes, ttl_s=7.0)
    assert names(nodes) == {"n1": "mine"}
    assert len(nodes["n1"].told) == 2
    assert "timeout 7000ms" in nodes["n1"].told[1]
    assert f"delete set inet chaosext.lock run_{before.name}" in nodes["n1"].told[1]


def test_a_lock_that_changes_hands_is_tried_for_again_and_not_for_ever() -> None:
    expired = held("n1", THEIRS, live=False)
    hands = [replace(expired, name=f"other{number}") for number in range(ATTEMPTS)]
    nodes = {"n1": Locked("n1", meanwhile=hands)}
    with pytest.raises(Refused) as refused:
        lock_nodes(CLAIM, nodes)
    assert refused.value.message == "lock: node n1 can't be locked (Error: No such file or directory)"
    assert refused.value.fix == "run again"
    assert len([text for text in nodes["n1"].told if "create table" in text]) == ATTEMPTS
    nodes = {"n1": Locked("n1", meanwhile=[expired])}
    lock_nodes(CLAIM, nodes)
    assert names(nodes) == {"n1": "mine"}


def test_a_lock_that_vanishes_each_time_is_said_so() -> None:
    class Slippery(Locked):
        def _apply(self, transaction: str) -> str:
            return ""

    with pytest.raises(Refused, match=r"node n1 can't be locked \(others are faster\)"):
        lock_nodes(CLAIM, {"n1": Slippery("n1")})


@pytest.mark.parametrize("error", [Unreachable("n3: dead"), KeyboardInterrupt()])
def test_whatever_goes_wrong_leaves_no_lock(error: BaseException) -> None:
    nodes = free()

    class Dying(Locked):
        def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
            raise error

    with pytest.raises(type(error)):
        lock_nodes(
            CLAIM, {**nodes, "n3": Dying("n3")} if isinstance(error, Unreachable) else _breaking(nodes, error)
        )
    assert names(nodes) == dict.fromkeys(nodes, "")


def _breaking(nodes: dict[str, Locked], error: BaseException) -> dict[str, Locked]:
    """The last node is interrupted once, when it is asked for its lock."""
    run, raised = nodes["n3"].run, []

    def once(script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        if not raised:
            raised.append(True)
            raise error
        return run(script, stdin=stdin, timeout_s=timeout_s)

    nodes["n3"].run = once  # type: ignore[method-assign]
    return nodes


ANSWERS = {
    "@@chaosext failed\nnft is not installed\n": "nft is not installed",
    "": "said on stderr",
    "@@chaosext nft\n@@chaosext end\n": "said on stderr",
    "@@chaosext lock\n@@chaosext end\n": "said on stderr",
}


@pytest.mark.parametrize("said", ANSWERS)
def test_a_node_that_gives_no_answer_is_refused(said: str) -> None:
    with pytest.raises(Refused) as refused:
        lock_nodes(CLAIM, {"n1": Locked("n1", trouble=said)})
    assert refused.value.message.startswith("lock: node n1: ")
    assert ANSWERS[said] in refused.value.message
    assert refused.value.fix == "see `nft list tables` there"


def test_an_answer_that_is_not_nfts_is_refused() -> None:
    said = "@@chaosext nft\n@@chaosext lock\n[]\n@@chaosext end\n"
    with pytest.raises(Refused) as refused:
        lock_nodes(CLAIM, {"n1": Locked("n1", trouble=said)})
    assert refused.value.message.startswith("lock: node n1: not an answer of nft -j")
    assert refused.value.fix == "see `nft list table inet chaosext.lock` there"


def test_without_a_word_the_script_ended_early() -> None:
    class Silent(Locked):
        def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
            return ShellResult(0, "", "")

    with pytest.raises(Refused, match="lock: node n1: the script ended early"):
        lock_nodes(CLAIM, {"n1": Silent("n1")})


def test_renewing_says_which_nodes_are_lost_and_to_whom() -> None:
    nodes = {
        "n1": held("n1", CLAIM),
        "n2": held("n2", THEIRS),
        "n3": Locked("n3"),
        "n4": Locked("n4", trouble=Unreachable("dead")),
        "n5": Locked("n5", trouble=""),
    }
    assert renew_lock(CLAIM, nodes) == {
        "n2": "run theirs of bob@desk took it over",
        "n3": "it is no longer held",
    }
    assert nodes["n2"].name == "theirs"


def test_giving_back_leaves_others_locks_alone_and_may_be_repeated() -> None:
    nodes = {"n1": held("n1", CLAIM), "n2": held("n2", THEIRS), "n3": Locked("n3")}
    assert remove_lock("mine", nodes) == {}
    assert names(nodes) == {"n1": "", "n2": "theirs", "n3": ""}
    assert remove_lock("mine", nodes) == {}
    with pytest.raises(Refused, match="can not name a run"):
        remove_lock("R!", nodes)


def test_where_it_may_be_left_is_said() -> None:
    class Stubborn(Locked):
        error = ""

        def _apply(self, transaction: str) -> str:
            return self.error

    class Busy(Stubborn):
        error = "Error: Device or resource busy"

    nodes = {
        "n1": Stubborn("n1", name="mine"),
        "n2": Busy("n2", name="mine"),
        "n3": Locked("n3", trouble=Unreachable("n3: dead")),
        "n4": Busy("n4", name="theirs"),
    }
    assert remove_lock("mine", nodes) == {
        "n1": "it is still there",
        "n2": "Error: Device or resource busy",
        "n3": "n3: dead",
    }


def test_its_own_lock_that_has_expired_is_taken_anew() -> None:
    nodes = {"n1": held("n1", CLAIM, live=False)}
    lock_nodes(CLAIM, nodes)
    assert (nodes["n1"].name, nodes["n1"].live) == ("mine", True)
