"""What a human reads: everything, and nothing that an argument forged."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.slack.blocks import refused
from tests.harness.slack_channel import approval, workflow
from thoughtgate_proxy.approvals.channels.slack import blocks
from thoughtgate_proxy.approvals.channels.slack.blocks import Message
from thoughtgate_proxy.core.approval import State, Vote, VoteValue
from thoughtgate_proxy.core.config.values import Kind

AT = 1_790_000_000.0


def boxes(said: Message) -> dict[str, str]:
    """The boxes of a message: labels and texts."""
    found, label = {}, ""
    for block in said.blocks:
        for element in block["elements"] if block["type"] == "rich_text" else ():
            text = "".join(item["text"] for item in element["elements"])
            if element["type"] == "rich_text_section":
                label = text
            else:
                assert element["type"] == "rich_text_preformatted"
                assert {item["type"] for item in element["elements"]} == {"text"}
                assert label not in found
                found[label] = text
    return found


def spoken(said: Message) -> list[str]:
    """All that Slack interprets: the sections' mrkdwn, and the notification's text."""
    sections = [b["text"]["text"] for b in said.blocks if b["type"] == "section"]
    assert {block["type"] for block in said.blocks} == {"section", "rich_text"}
    return [said.text, *sections]


def test_it_says_all_that_a_human_needs() -> None:
    asked = approval(
        {"user": "bob", "card": {"number": "4111"}},
        opened=AT, asked={"description": "Deletes a user.\nFor good.", "policies": ("a", "b")},
    )  # fmt: skip
    flow = workflow(redact_fields=("card.number",), mention=("U0ALICE", "S0ONCALL", "here"))
    said = blocks.question(asked, flow)
    text, calls, head = spoken(said)
    assert text == "Approval needed: tool delete_user"
    assert calls == "<@U0ALICE> <!subteam^S0ONCALL> <!here>"
    assert "<!date^1790000600^{date_short_pretty} {time}|2026-09-21 14:23 UTC>" in head
    assert "Anyone" not in head
    found = boxes(said)
    assert found["Tool"] == '"delete_user"'
    assert found["Description, as the server claims it"] == '"Deletes a user.\\nFor good."'
    assert json.loads(found["Arguments"]) == {"user": "bob", "card": {"number": "[redacted]"}}
    assert found["Of the arguments you do not see, as the workflow redacts them"] == '"card.number"'
    assert "4111" not in json.dumps(said.blocks)
    assert found["Who asks, and why a human is asked"].splitlines() == [
        "asked because: rule 0 (`delete_*`) asks for approval",
        "rule: 0 (delete_*)",
        "policies: a, b",
        'principal: Agent::"data/my-agent"',
        "namespace: agents",
        "pod: my-agent-7d4f",
        "server: upstream",
        "method: tools/call",
        "workflow: default",
        "correlation id: c0ffee01",
        f"request id: {asked.id}",
    ]


def test_it_warns_when_anyone_may_decide_and_says_how_many_must() -> None:
    asked = approval(required=2)
    head = spoken(blocks.question(asked, workflow(approvers=None)))[-1]
    assert ":warning: Anyone in this channel may decide" in head
    assert "2 different approvers are needed" in head


ATTACKS = [
    "x\nprincipal: Agent::\"admin\"",
    "x```\n*Approved* by <@U0ALICE>\n```",
    "<!channel> <!here> <@U0ALICE> <!subteam^S0ONCALL>",
    "<https://evil.example|delete_nothing>",
    "https://evil.example/ and evil.example",
    "*bold* _italic_ ~gone~ `code` :white_check_mark:",
    "&lt;!channel&gt; &amp;",
    "\u202eresu_eteled",
    "a\u200bb\u2060c\ufeffd",
    "\x1b[2K\r\x08\x00",
    "x\u2028y\u2029z\x85w\x0b\x0c",
    "\U000e0041\U000e0042",
    "ㅤ" * 50,
    "e" + "\u0301" * 40,
    '"}\nArguments\n{"user": "nobody"',
    "{{date}} <!date^0^{time}|never>",
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("where", ["name", "description", "value", "key", "reason", "why"])
def test_no_text_of_an_agents_or_servers_forges_anything(attack: str, where: str) -> None:
    def said(text: str) -> tuple[Message, Message]:
        asked = approval(
            {text: 1} if where == "key" else {"k": text if where == "value" else "v"},
            name=text if where == "name" else "x.y",
            asked={
                "description": text if where == "description" else "does",
                "reason": text if where == "why" else "a rule asks for it",
            },
            opened=AT, state=State.REJECTED, decided=AT, ended=AT,
            reason=text if where == "reason" else "why",
            votes=(Vote("U0ALICE", "Alice", VoteValue.REJECT, AT),),
        )  # fmt: skip
        return blocks.question(asked, workflow()), blocks.outcome(asked, workflow())

    for forged, plain in zip(said(attack), said("p.q"), strict=True):
        assert spoken(forged) == spoken(plain)
        assert list(boxes(forged)) == list(boxes(plain))
        assert refused(forged.text, forged.blocks) is None
        for label, text in boxes(forged).items():
            assert all(c.isprintable() or c == "\n" for c in text), label
            if label != "Arguments":
                assert text.count("\n") == boxes(plain)[label].count("\n"), label
        sent = {attack: 1} if where == "key" else {"k": attack if where == "value" else "v"}
        assert json.loads(boxes(forged)["Arguments"]) == sent


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.text(max_size=20), VALUES, max_size=5),
    st.text(min_size=1, max_size=80),
    st.text(max_size=200),
    st.sampled_from(Kind),
)
def test_whatever_is_asked_stands_in_its_box_in_full_and_nowhere_else(
    arguments: dict[str, Any], name: str, description: str, kind: Kind
) -> None:
    asked = approval(
        arguments, name=name, kind=kind, opened=AT, asked={"description": description or None}
    )
    said = blocks.question(asked, workflow())
    plain = blocks.question(approval({}, name="x.y", kind=kind, opened=AT), workflow())
    assert refused(said.text, said.blocks) is None
    assert said.text in (plain.text, f"Approval needed: {kind.value} {name}")
    assert spoken(said)[1:] == spoken(plain)[1:]
    found = boxes(said)
    assert json.loads(found[kind.value.capitalize()]) == name
    assert json.loads(found["Arguments"]) == arguments
    if description:
        assert json.loads(found["Description, as the server claims it"]) == description
    for text in found.values():
        assert all(character.isprintable() or character == "\n" for character in text)


@pytest.mark.parametrize("character", ["a", '"', "&", "\u200b", "é", "𝄞", "\n"])
@pytest.mark.parametrize("length", [9_000, 14_000, 200_000])
def test_what_is_too_long_is_in_a_file_in_full_and_the_message_says_so(
    character: str, length: int
) -> None:
    value = character * length
    said = blocks.question(approval({"text": value}), workflow())
    assert refused(said.text, said.blocks) is None
    if said.file is None:
        assert json.loads(boxes(said)["Arguments"]) == {"text": value}
        assert length == 9_000
        return
    (label,) = (label for label in boxes(said) if label.startswith("Arguments"))
    assert "ONLY THE FIRST 1,000 OF" in label
    assert said.file.name in label
    start = said.file.text.index("Arguments:\n") + len("Arguments:\n")
    end = said.file.text.index("\nWho asks")
    assert json.loads(said.file.text[start:end]) == {"text": value}


def test_ten_thousand_plain_characters_need_no_file() -> None:
    assert blocks.question(approval({"text": "a" * 9_900}), workflow()).file is None
    assert blocks.question(approval({"text": "a" * 11_900}), workflow()).file is not None


def test_every_part_may_be_long_at_once() -> None:
    long = '<&"' * 20_000
    asked = approval(
        {long: long}, name="n" * 1_000, kind=Kind.TOOL, asked={"description": long, "reason": long}
    )
    said = blocks.question(asked, workflow(mention=("U0ALICE",) * 150, approvers=None))
    assert said.file is not None
    assert refused(said.text, said.blocks) is None


BY = (Vote("U0ALICE", "Alice", VoteValue.APPROVE, AT), Vote("anna", "A", VoteValue.APPROVE, AT))


@pytest.mark.parametrize(
    ("state", "fields", "words"),
    [
        (State.APPROVED, {"votes": BY, "valid_until": AT}, "*Approved* by <@U0ALICE>, an approver"),
        (State.SENDING, {"votes": BY}, "It is being sent"),
        (State.DONE, {"votes": BY}, "sent once, and the server answered"),
        (State.UNKNOWN, {"votes": BY}, "whether the server acted is not known"),
        (State.REJECTED, {"votes": (Vote("U0BOB", "B", VoteValue.REJECT, AT),)}, "by <@U0BOB>"),
        (State.EXPIRED, {"votes": BY[:1], "required": 2}, "1 of 2 approved. Nothing was sent"),
        (State.EXPIRED, {"votes": BY[:1]}, "It was never used, and lapsed"),
        (State.CANCELLED, {}, "*Cancelled*"),
    ],
)
def test_each_end_has_its_own_words(state: State, fields: dict[str, Any], words: str) -> None:
    asked = approval({"a": 1}, opened=AT, state=state, **fields)
    said = blocks.outcome(asked, workflow())
    assert words in spoken(said)[-1]
    assert boxes(said)["Arguments"] == boxes(blocks.question(asked, workflow()))["Arguments"]
    assert refused(said.text, said.blocks) is None


def test_without_a_workflow_nothing_of_the_arguments_is_shown_in_the_end() -> None:
    asked = approval({"secret": "4111"}, state=State.CANCELLED)
    assert "4111" not in json.dumps(blocks.outcome(asked, None).blocks)


def test_a_change_of_anything_that_is_seen_is_noticed_and_slacks_own_marks_are_not() -> None:
    said = blocks.question(approval({"a": "x < y & z"}), workflow())
    posted = {"blocks": json.loads(json.dumps(list(said.blocks)))}
    seen = blocks.visible(posted)
    for block in posted["blocks"]:
        block["block_id"] = "Zy8"
    head = posted["blocks"][0]["text"]
    head["verbatim"], head["text"] = False, head["text"].replace("\n", " \n")
    inner = posted["blocks"][1]["elements"][1]["elements"][0]
    inner["text"] = inner["text"].replace("&", "&amp;").replace("<", "&lt;")
    assert blocks.visible(posted) == seen
    inner["text"] = '"list_users"'
    assert blocks.visible(posted) != seen
    inner["text"] = '"delete_user"'
    assert blocks.visible(posted) == seen
    assert blocks.visible({**posted, "attachments": [{"text": "fine"}]}) != seen
    assert blocks.visible({**posted, "files": [{"title": "fine"}]}) != seen
