"""Leaving out the policies whose scope is about others changes no answer."""

from itertools import product

import cedarpy
from hypothesis import given
from hypothesis import strategies as st

from thoughtgate_proxy.core.config.cedar import CedarText, load_policies
from thoughtgate_proxy.core.config.values import Kind
from thoughtgate_proxy.core.policy.cedar import PolicySet
from thoughtgate_proxy.core.policy.identity import Identity

WHO = Identity("app", "team", {"app": "app", "team": "team"}, "space", "pod-1")
PRINCIPALS = (
    "principal",
    *(f'principal == Agent::"{name}"' for name in ("team/app", "team/other", "app")),
    *(f'principal in Agent::"{name}"' for name in ("team/app", "other")),
    *(f'principal in Team::"{name}"' for name in ("team", "other", "space")),
    *(f'principal in Namespace::"{name}"' for name in ("space", "team")),
    "principal is Agent",
    "principal is Team",
    *(f'principal is Agent in Team::"{name}"' for name in ("team", "other")),
    'principal is Namespace in Namespace::"space"',
)
ACTIONS = (
    "action",
    'action == Action::"Forward"',
    'action == Action::"Approve"',
    'action in Action::"Approve"',
    'action in [Action::"Forward", Action::"Approve"]',
    "action in []",
)
CONDITIONS = (
    "",
    'when { resource.tool_name == "t" }',
    "when { resource.arguments.n > 1 }",
    "unless { principal.labels has team }",
)
policy = st.builds(
    "{} ({}, {}, resource) {};".format,
    st.sampled_from(("permit", "permit", "forbid")),
    st.sampled_from(PRINCIPALS),
    st.sampled_from(ACTIONS),
    st.sampled_from(CONDITIONS),
)


@given(st.lists(policy, min_size=1, max_size=8), st.sampled_from(({}, {"n": 1}, {"n": 2})))
def test_the_answer_is_that_of_the_whole_set(texts: list[str], arguments: dict[str, int]) -> None:
    policies, mistakes = load_policies([CedarText("f", "f", "\n".join(texts))], None)
    assert not mistakes
    ours = PolicySet(policies, WHO)
    whole = PolicySet(policies, WHO)
    together = cedarpy.PolicySet.from_str(policies.text)
    whole._asked = [(action, answer, policies, together) for action, answer, _, _ in ours._asked]
    given_ = (Kind.TOOL, "up", "tools/call", "t", arguments)
    mine, theirs = ours.judge(*given_), whole.judge(*given_)
    assert (mine.answer, sorted(mine.policies)) == (theirs.answer, sorted(theirs.policies))
    assert sorted(mine.errors) == sorted(theirs.errors)


def test_policies_about_others_are_not_asked() -> None:
    text = "\n".join(f"permit ({p}, {a}, resource);" for p, a in product(PRINCIPALS, ACTIONS))
    policies, _ = load_policies([CedarText("f", "f", text)], None)
    mine = policies.concerning(
        ("Agent", "team/app"),
        frozenset({("Team", "team"), ("Namespace", "space")}),
        ("Action", "Approve"),
    )
    assert len(mine.policies) == 7 * 4
