"""What nodes and API servers answer: understood, or an error that says so; and never a certainty that isn't one."""

from __future__ import annotations

import json
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from chaosext.checks import baseline_inventory, check_names
from chaosext.checks import cut_effective as cut_check
from chaosext.checks.bgp_established import LEAF_SCRIPT
from chaosext.checks.dns_resolvable import SCRIPT as DNS
from chaosext.checks.suite import STEADY_STATE, Surroundings, run_checks
from chaosext.checks.tcp_reachability import SCRIPT as TCP
from chaosext.checks.xds_synced import REQUIRED, TYPE_URLS
from chaosext.cluster.client import PATHS, Cluster
from chaosext.experiment.settings import Settings
from chaosext.model.errors import Inconclusive, Refused, Unreachable
from chaosext.model.findings import Status
from chaosext.model.owner import Claim, Holder
from chaosext.nodes.bird import BIRD_SCRIPT
from chaosext.nodes.node_network import SCRIPT as NETWORK
from chaosext.nodes.node_network import read_network
from chaosext.nodes.shell import NodeAccess
from chaosext.partition.apply import arm, heal, inspect, require_free, verify
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.partition.nft import drops_nothing
from chaosext.partition.nft import lost as nft_lost
from chaosext.partition.node_lock import lock_nodes, remove_lock
from chaosext.partition.scripts import ARM, HEAL, INSPECT, LOCK, VERIFY
from chaosext.run.fault.cut_plan import survey
from chaosext.run.preflight import brief
from tests.trust.fuzz import mutate
from tests.trust.fuzz.stage import Api, Node, answers, blocked, lost, node, opened, resolved, sample
from tests.trust.fuzz.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Callable

NODE = "chaosext-control-plane"
CUT = Cut(
    run="r1",
    owner="alice@laptop",
    nodes=(NodeCut(node=NODE, uplinks=("eth0", "eth1")),),
    peers=peers_of(["10.0.0.1", "fd00::1"], ["10.244.0.0/16"]),
    ttl_s=30.0,
)
SETTINGS = Settings(context="c")
CLAIM = Claim(
    run="r1",
    owner="a@b",
    holder=Holder(host="laptop", boot="b0071d", pids="4026531836", pid=77, started=12345),
)
NOT_UNSAFE = (Refused, Inconclusive, Unreachable)


def spoilt(script: str, answer: str | Callable[[str], str]) -> Node:
    return Node(NODE, {**node(NODE).answers, script: answer})


# Arming, healing, looking: what nft says


def _arm(answer: str, *, may_be_armed: bool = True) -> None:
    """What was refused had touched nothing; what was touched and is not as asked was taken back."""
    shell = spoilt(ARM, answer)
    try:
        arm(CUT, {NODE: shell})
    except (Refused, Unreachable):
        assert not shell.touched, f"refused, but {len(shell.touched)} transactions were sent"
        raise
    assert may_be_armed, "armed, though what was read back is not the cut"


def _half_armed(rng: Random) -> str:
    """What was read back lacks something; and then the answer is damaged as well."""
    whole = _lessened(rng, sample()["node"]["arm"])
    return whole if rng.random() < 0.2 else mutate.embedded(rng, whole)


def _lessened(rng: Random, answer: str) -> str:
    """The answer, with a set or a dropping rule gone from its last listing of the run's table."""
    lines = answer.split("\n")
    index = max(index for index, line in enumerate(lines) if line.startswith('{"nftables"'))
    found = json.loads(lines[index])
    items = [item for item in found["nftables"] if "metainfo" not in item]
    found["nftables"].remove(
        rng.choice([item for item in items if "set" in item or "drop" in json.dumps(item)])
    )
    lines[index] = json.dumps(found)
    return "\n".join(lines)


def _torn_before_the_end(rng: Random) -> str:
    whole = sample()["node"]["arm"]
    return whole[: rng.randrange(whole.rindex("@@chaosext end") + len("@@chaosext end"))]


def _busy(rng: Random) -> str:
    """Another run's live cut is on the node; the answer is cut off, or ends in noise."""
    whole = sample()["node"]["busy"].replace("chaosext_r1", "chaosext_other").replace("run=r1", "run=other")
    return mutate.torn(rng, whole) if rng.random() < 0.7 else whole + mutate.torn(rng, whole)


def _must_not_touch(answer: str) -> None:
    shell = spoilt(ARM, answer)
    try:
        arm(CUT, {NODE: shell})
    finally:
        assert not shell.touched, "rules were sent to a node that another run has cut"
    raise AssertionError("armed")


def _heal(answer: str, *, may_be_gone: bool = True) -> None:
    (found,) = heal("r1", {NODE: spoilt(HEAL, answer)}).nodes
    assert found.gone or found.problem
    assert may_be_gone or not found.gone, "said to be gone"


def _not_healed(rng: Random) -> str:
    """The table is still there, or that is not said to the end."""
    whole = sample()["node"]["heal"]
    if rng.random() < 0.5:
        return whole[: rng.randrange(whole.rindex("@@chaosext end") + len("@@chaosext end"))]
    left = whole.replace("@@chaosext tables\n", "@@chaosext tables\ntable inet chaosext_r1\n")
    return left + mutate.torn(rng, "table ip x\n" * 3)


def _inspect(answer: str) -> None:
    shells = {NODE: spoilt(INSPECT, answer)}
    (found,) = inspect(shells)
    assert found.problem or found.tables or "chaosext_r1" not in answer or found.tables == ()
    require_free(CUT, shells)


def _verify(answer: str, *, may_be_whole: bool = True) -> None:
    """What is said of a cut in force is that it is whole, or what it lacks, or that the node did not say."""
    (found,) = verify(CUT, {NODE: spoilt(VERIFY, answer)})
    if not found.problem:
        missing = nft_lost(CUT, CUT.nodes[0], found.table)
        assert may_be_whole or missing, "whole, though a rule or an address is gone"
        assert drops_nothing(found.table) in (True, False)


def _cut_lessened(rng: Random) -> str:
    whole = _lessened(rng, sample()["node"]["verify"])
    return whole if rng.random() < 0.2 else mutate.embedded(rng, whole)


def _lock(answer: str) -> None:
    shells = {NODE: spoilt(LOCK, answer)}
    remove_lock("r1", shells)
    lock_nodes(CLAIM, shells)


def _network(answer: str) -> None:
    found = read_network(spoilt(NETWORK, answer), ["172.18.0.3"])
    assert found.uplinks
    assert all(isinstance(uplink, str) and uplink for uplink in found.uplinks), found


# Checks: what nodes say of the network


def _proof(seed: str) -> None:
    """One path is left open, and the nodes' answers are damaged: no proof of a cut may come of it."""
    rng = Random(seed)
    good = {name: node(name) for name in _workers()}
    paths = tuple(
        cut_check.Path(source=name, towards=NODE, target=cut_check.Target("172.18.0.3", port))
        for name in good
        for port in (6443, 10250)
    )
    before = cut_check.gather(paths, {name: Node(name, {TCP: opened}) for name in good})
    leaky, index = rng.choice(sorted(good)), rng.randrange(2)

    def damaged(name: str, stdin: str) -> str:
        said = blocked(stdin)
        if name == leaky:
            said = said.replace(f"{index} 124 ", f"{index} 0 ")
        return mutate.damaged(rng, said) if rng.random() < 0.8 else said

    shells = {name: Node(name, {TCP: partial(damaged, name)}) for name in good}
    finding = cut_check.judge(before, cut_check.gather(paths, shells))
    assert finding.status is not Status.HEALTHY, f"proven: {finding.summary}"


def _workers() -> list[str]:
    return [each["metadata"]["name"] for each in sample()["api"]["nodes"]][1:]


def _dns(seed: str) -> None:
    """A third of the lookups is lost, and the answers are damaged: DNS is not healthy."""
    rng = Random(seed)

    def damaged(stdin: str) -> str:
        return mutate.damaged(rng, lost(stdin))

    around = _around({DNS: damaged if rng.random() < 0.8 else lost})
    _require_not_healthy(check_names.DNS, around)


def _bgp(seed: str) -> None:
    """One session is not Established, by BIRD or by FRR, and what they say is damaged."""
    rng = Random(seed)
    if rng.random() < 0.5:
        damaged = {BIRD_SCRIPT: mutate.damaged(rng, _bird_with_one_down())}
    else:
        summary = json.loads(sample()["frr"])
        for family in summary.values():
            family["peers"]["172.18.0.4"]["state"] = "Active"
        damaged = {LEAF_SCRIPT: _json(rng, json.dumps(summary))}
    _require_not_healthy(check_names.BGP, _around(damaged))


def _bird_with_one_down() -> str:
    """Two sessions: another one that is up comes before the leaf's, which is down."""
    good: str = sample()["bird"]
    begin = good.index("1002-", good.index("BGP") - 40)
    session, end = good[begin : good.index("0000 ")], good[good.index("0000 ") :]
    other = session.replace("172.18.0.5", "172.18.0.99")
    return good[:begin] + other + session.replace("Established", "Active") + end


def _json(rng: Random, good: str) -> str:
    if rng.random() < 0.4:
        return mutate.text(rng, good).decode(errors="replace")
    return mutate.spelt(rng, mutate.value(rng, json.loads(good))).decode(errors="replace")


def _xds(seed: str) -> None:
    """A proxy has not acknowledged something that it needs, and istiod's list is damaged."""
    rng = Random(seed)
    listed = json.loads(sample()["syncz"])
    proxy, what = rng.choice(listed), rng.choice(REQUIRED)
    proxy[f"{what}_acked"] = proxy["resources"][TYPE_URLS[what]]["acked"] = "an older nonce"
    _require_not_healthy(check_names.XDS, _around({}, Api(syncz=_json(rng, json.dumps(listed)))))


def _around(changed: dict[str, Any], api: Cluster | None = None) -> Surroundings:
    api = api or Api()
    shells = {name: Node(name, {**node(name).answers, **changed}) for name in (NODE, *_workers())}
    leaf = Node("leaf", {**answers(), **changed})
    return Surroundings(cluster=api, shells=shells, leaf=leaf, namespaces=("shop",), dns_lookups=3)


def _require_not_healthy(check: str, around: Surroundings) -> None:
    (finding,) = run_checks((check,), around)
    assert finding.status is not Status.HEALTHY, f"{check} is healthy: {finding.summary}"


def all_is_well() -> None:
    """The sample itself is healthy, armed, healed and free: or what is fuzzed would not be what is meant."""
    asked = (
        check_names.NODES,
        check_names.KUBELETS,
        check_names.DNS,
        check_names.XDS,
        check_names.BGP,
        check_names.PLACEMENT,
    )
    findings = run_checks(asked, _around({}))
    assert all(finding.status is Status.HEALTHY for finding in findings), findings
    arm(CUT, {NODE: node(NODE)})
    require_free(CUT, {NODE: node(NODE)})
    (state,) = verify(CUT, {NODE: node(NODE)})
    assert not state.problem, state
    assert not nft_lost(CUT, CUT.nodes[0], state.table), state
    assert heal("r1", {NODE: node(NODE)}).left == ()
    assert resolved("2 2\n") == ""


# What the API server says


def _draw_api(rng: Random) -> dict[str, bytes]:
    kind = rng.choice([kind for kind in PATHS if sample()["api"].get(kind)])
    found = sample()["api"][kind]
    single = kind in ("services", "namespaces")
    good = rng.choice(found) if single and rng.random() < 0.7 else {"items": found, "metadata": {}}
    written = mutate.spelt(rng, mutate.value(rng, good))
    return {kind: mutate.text(rng, json.dumps(good)) if rng.random() < 0.15 else written}


def _api(spoilt: dict[str, bytes]) -> None:
    """Every check ends in a finding; what is asked before a cut is refused, or understood."""
    api = Api(spoilt)
    run_checks(STEADY_STATE, _around({}, api))
    try:
        survey(api, NodeAccess(transport="netns"), SETTINGS)
        brief(api, SETTINGS, 30.0)
        baseline_inventory.gather(api, ("shop",))
    finally:
        assert not api.touched


SUBJECTS = (
    Subject(
        name="nft-arm",
        share=60,
        draw=lambda rng: mutate.embedded(rng, sample()["node"]["arm"]),
        feed=_arm,
        allowed=NOT_UNSAFE,
    ),
    Subject(
        name="nft-half-armed",
        share=50,
        draw=_half_armed,
        feed=partial(_arm, may_be_armed=False),
        allowed=NOT_UNSAFE,
    ),
    Subject(
        name="nft-torn",
        share=20,
        draw=_torn_before_the_end,
        feed=partial(_arm, may_be_armed=False),
        allowed=NOT_UNSAFE,
    ),
    Subject(name="nft-busy", share=20, draw=_busy, feed=_must_not_touch),
    Subject(
        name="nft-heal", share=40, draw=lambda rng: mutate.embedded(rng, sample()["node"]["heal"]), feed=_heal
    ),
    Subject(name="nft-not-healed", share=30, draw=_not_healed, feed=partial(_heal, may_be_gone=False)),
    Subject(
        name="nft-inspect",
        share=50,
        draw=lambda rng: mutate.embedded(rng, sample()["node"]["inspect"]),
        feed=_inspect,
    ),
    Subject(
        name="nft-verify",
        share=40,
        draw=lambda rng: mutate.embedded(rng, sample()["node"]["verify"]),
        feed=_verify,
    ),
    Subject(name="nft-lessened", share=30, draw=_cut_lessened, feed=partial(_verify, may_be_whole=False)),
    Subject(
        name="nft-lock",
        share=40,
        draw=lambda rng: mutate.embedded(rng, sample()["node"]["lock"]),
        feed=_lock,
        allowed=NOT_UNSAFE,
    ),
    Subject(
        name="ip-json",
        share=60,
        draw=lambda rng: mutate.embedded(rng, sample()["network"][NODE]),
        feed=_network,
        allowed=(Refused, Unreachable),
    ),
    Subject(name="tcp-lines", share=60, draw=lambda rng: str(rng.random()), feed=_proof),
    Subject(name="dns-lines", share=25, draw=lambda rng: str(rng.random()), feed=_dns),
    Subject(name="bgp", share=40, draw=lambda rng: str(rng.random()), feed=_bgp),
    Subject(name="istiod", share=40, draw=lambda rng: str(rng.random()), feed=_xds),
    Subject(name="api-server", share=50, draw=_draw_api, feed=_api, allowed=(Refused, Unreachable)),
)
