"""The policies as data: nothing that the roles grant is left out. What they refuse is tried in tests/apiserver."""

from __future__ import annotations

import json
from typing import Any

import pytest
from gamedays import EXPERIMENTS, settings

from chaosext.gameday.admission import Agents, node_pod, policies, sentinels, trials
from chaosext.gameday.cel import ANYTHING, Maybe, OneOf, Text, checks, condition, either, literal, over
from chaosext.gameday.effective_experiment import agents_of, effective
from chaosext.gameday.rights import rights
from chaosext.model.errors import Refused

AGENTS = Agents(namespace="chaosext", node_image="n", sentinel_image="s", sentinel_port=9853)
WRITES = {"create": "CREATE", "update": "UPDATE", "delete": "DELETE", "get": "CONNECT"}


def specs(agents: Agents = AGENTS) -> dict[str, Any]:
    return dict(policies("night", agents))


class TestPolicies:
    def test_policies_confine_the_runners_account_and_fail_closed(self) -> None:
        for spec in specs().values():
            (matched,) = spec["matchConditions"]
            account = '"system:serviceaccount:chaosext:night"'
            assert matched["expression"] == f"request.userInfo.username == {account}"
            assert spec["failurePolicy"] == "Fail"

    def test_every_right_to_change_something_is_one_of_the_requests_and_no_other_is(self) -> None:
        first = specs()["chaosext-night-requests"]["validations"][0]["expression"]
        asked = json.loads(first.partition(" in ")[2])
        granted = {
            f"{'CONNECT' if '/' in each.resource else WRITES[each.verb]} {each.resource} in {each.namespace}"
            for each in rights("night", "chaosext")
            if each.verb in ("create", "update", "delete") or "/" in each.resource
        }
        assert set(asked) == granted
        assert len(asked) == len(set(asked))

    def test_every_resource_that_may_be_changed_is_matched_with_all_below_it(self) -> None:
        rules = specs()["chaosext-night-requests"]["matchConstraints"]["resourceRules"]
        matched = {(rule["apiGroups"][0], each) for rule in rules for each in rule["resources"]}
        for right in rights("night", "chaosext"):
            if right.verb in ("create", "update", "delete"):
                kind = right.resource.partition("/")[0]
                assert {(right.group, kind), (right.group, f"{kind}/*")} <= matched, right
        assert all(rule["operations"] == ["*"] for rule in rules)

    def test_names_of_two_game_days_differ(self) -> None:
        elsewhere = Agents(namespace="other", node_image="n", sentinel_image="s", sentinel_port=9853)
        assert not set(specs()) & {*dict(policies("day", AGENTS)), *dict(policies("night", elsewhere))}

    def test_no_message_has_a_line_break(self) -> None:
        """An API server refuses such a policy."""
        for spec in specs().values():
            assert not [each for each in spec["validations"] if "\n" in each["message"] + each["expression"]]

    def test_images_are_named_exactly(self) -> None:
        assert node_pod(AGENTS)["spec"]["containers"][0]["image"] == "n"
        assert sentinels(AGENTS)["spec"]["template"]["spec"]["containers"][0]["image"] == "s"

    def test_there_is_a_trial_of_each_policy(self) -> None:
        assert {policy for policy, _, _ in trials("night", AGENTS)} == set(specs())


class TestAgents:
    def test_they_have_the_images_that_the_run_uses(self) -> None:
        wanted = settings(image="runner", configuration={"chaosext_sentinel_image": "small"})
        found = agents_of(wanted, effective(wanted, EXPERIMENTS))
        assert (found.node_image, found.sentinel_image) == ("runner", "small")

    def test_without_an_image_they_have_those_of_the_testbed(self) -> None:
        found = agents_of(settings(), effective(settings(), EXPERIMENTS))
        assert found.node_image.startswith("chaosext.local/shell:")
        assert found.sentinel_image.startswith("chaosext.local/sentinel:")

    @pytest.mark.parametrize("key", ["chaosext_sentinel_image", "chaosext_sentinel_port"])
    def test_a_value_that_is_looked_up_when_the_experiment_runs_is_refused(self, key: str) -> None:
        experiment: Any = {"configuration": {key: {"type": "env", "key": "IMAGE"}}}
        with pytest.raises(Refused, match=f"configuration.{key}: its value is only known"):
            agents_of(settings(), experiment)


class TestConditions:
    def test_a_mapping_is_closed(self) -> None:
        first, *others = checks("it", {"a": Text("x+"), "b": Maybe(1)})
        assert first.condition == 'it.all(key, key in ["a", "b"])'
        assert [each.condition for each in others] == [
            '"a" in it && (it["a"].matches("^(x+)$"))',
            '!("b" in it) || it["b"] == 1',
        ]

    def test_a_refusal_names_the_field(self) -> None:
        shape = {"spec": {"containers": [{"image": Text(), "name": "node"}]}}
        said = [each.message for each in checks("it", shape)]
        assert 'spec.containers[0].name must be "node"' in said
        assert "spec.containers must have 1 item(s)" in said

    def test_what_is_nested_in_an_alternative_is_closed_too(self) -> None:
        said = condition("it", OneOf(([], [{"a": Maybe("")}])))
        assert said.startswith("(it == []) || (size(it) == 1 && ")
        assert 'it[0].all(key, key in ["a"])' in said

    def test_what_may_be_anything_needs_no_condition(self) -> None:
        assert [each.condition for each in checks("it", {"a": Maybe(ANYTHING)})] == [
            'it.all(key, key in ["a"])'
        ]

    @pytest.mark.parametrize(
        ("value", "written"),
        [
            ("a'\"\\\n", '"a\'\\"\\\\\\n"'),
            (["a", "b"], '["a", "b"]'),
            (["a", 1], '[dyn("a"), dyn(1)]'),
            ({"a": "b"}, '{"a": "b"}'),
            ({"a": True, "b": None}, '{"a": dyn(true), "b": dyn(null)}'),
            ({}, "{}"),
        ],
    )
    def test_literals_are_of_one_type(self, value: Any, written: str) -> None:
        assert literal(value) == written

    def test_values_are_put_in_the_place_of_others(self) -> None:
        assert over({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 3}], "d": 4}) == {"a": [{"b": 3, "c": 2}], "d": 4}
        assert over({"a": [1]}, {"a": [2, 3]}) == {"a": [2, 3]}

    def test_two_shapes_are_one_where_they_are_alike(self) -> None:
        assert either({"a": 1, "b": [{"c": 1}]}, {"a": 2, "b": [{"c": 1}]}) == {
            "a": OneOf((1, 2)),
            "b": [{"c": 1}],
        }
        assert either({"a": 1}, {"b": 1}) == OneOf(({"a": 1}, {"b": 1}))
