"""The pod's labels make the principal, and no value of one can make another."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thoughtgate_proxy.core.policy.identity import (
    IdentityRefused,
    from_labels,
    from_words,
    parse_labels,
)


@pytest.mark.parametrize(
    ("labels", "agent"),
    [
        ({"app": "my-agent"}, "my-agent"),
        ({"app": "my-agent", "team": "data-engineering"}, "data-engineering/my-agent"),
        ({"app.kubernetes.io/name": "a"}, "a"),
        ({"app": "a", "app.kubernetes.io/name": "b"}, "a"),
        ({"app": "", "app.kubernetes.io/name": "b"}, "b"),
        ({"app": "a", "team": ""}, "a"),
        ({"team": "t"}, "t/pod-1"),
        ({}, "pod-1"),
    ],
)
def test_app_and_team_are_the_principal(labels: dict[str, str], agent: str) -> None:
    who = from_labels(labels, "ns", "pod-1")
    assert (who.agent, who.namespace, who.pod) == (agent, "ns", "pod-1")
    assert who.from_pod_name is agent.endswith("pod-1")


def test_without_a_label_and_a_pods_name_there_is_no_identity() -> None:
    with pytest.raises(IdentityRefused, match="POD_NAME"):
        from_labels({"team": "t"})


def test_a_labels_file_is_read_as_the_kubelet_writes_it() -> None:
    text = 'app="my-agent"\napp.kubernetes.io/name="my-agent"\npod-template-hash="7d4f"\nteam=""\n'
    assert parse_labels(text) == {
        "app": "my-agent", "app.kubernetes.io/name": "my-agent", "pod-template-hash": "7d4f",
        "team": "",
    }  # fmt: skip
    assert parse_labels("") == {}


@pytest.mark.parametrize(
    "line",
    [
        'app="a/b"', 'app="a\\nb"', 'app="a\\"b"', 'app="a" ', ' app="a"', "app=a", 'app=""a"',
        'app="a"\napp="b"', 'app="a"x', "app", '="a"', 'a=b="c"', 'app="ä"', 'a/b/c="d"',
        'app="' + "a" * 64 + '"', 'app="-a"', '__entity="a"', 'app="a"\x0bteam="b"',
        'app="a\u2028b"', 'app="a"\r\n', '/app="a"', 'app="a\x00"',
    ],
)  # fmt: skip
def test_a_file_that_no_kubelet_wrote_is_refused(line: str) -> None:
    with pytest.raises(IdentityRefused) as refused:
        parse_labels(line)
    assert str(refused.value).isascii()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("words", "agent"), [("a", "a"), ("t/a", "t/a"), ("a.b_c-d", "a.b_c-d")])
def test_words_of_the_command_line_are_an_identity(words: str, agent: str) -> None:
    assert from_words(words).agent == agent


@pytest.mark.parametrize("words", ["", "/", "/a", "t/", "a/b/c", "a b", "-a", "é", 'a"', "a\n"])
def test_other_words_are_not(words: str) -> None:
    with pytest.raises(IdentityRefused):
        from_words(words)


VALUES = st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,8}[A-Za-z0-9])?", fullmatch=True)


@settings(max_examples=100)
@given(VALUES, st.none() | VALUES, VALUES, st.none() | VALUES)
def test_two_pods_share_a_principal_only_with_the_same_app_and_team(
    app: str, team: str | None, other: str, other_team: str | None
) -> None:
    def labels(app: str, team: str | None) -> dict[str, str]:
        text = f'app="{app}"\n' + (f'team="{team}"\n' if team else "")
        return parse_labels(text)

    one, two = from_labels(labels(app, team)), from_labels(labels(other, other_team))
    assert (one.agent == two.agent) is ((app, team) == (other, other_team))
