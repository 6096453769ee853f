"""What a human reads in Slack about one request, as Block Kit. Pure.

INVARIANT: text that an agent or a server wrote stands in `rich_text_preformatted` elements alone,
where Slack interprets nothing, each in a box of its own, quoted and escaped: it cannot forge a
line, a link, a mention or a box. What stands elsewhere is this file's, or was matched against a
pattern that leaves no room.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, assert_never

from thoughtgate_proxy.approvals.channels.slack.workflow import SlackWorkflow
from thoughtgate_proxy.core import safe_text
from thoughtgate_proxy.core.approval import Approval, Ending, State, VoteValue
from thoughtgate_proxy.core.config.values import Kind, Workflow
from thoughtgate_proxy.core.safe_text import SafeText

Block = dict[str, Any]

EVENT_TYPE: Final = "thoughtgate_approval"
"""The type of the metadata that marks our messages; its payload's `id` is the request's."""

# Slack refuses a text object of more, and blocks that come to about 13,200 characters together;
# how it counts those is documented nowhere (slackapi/bolt-js, issues 2509 and 2867), so the
# measure here is the largest of those that fit what others saw: escaped JSON.
MOST_TEXT: Final = 3_000
MOST_BLOCKS: Final = 12_000
# What a box shows of a text that stands in the file as a whole; the first that makes it fit.
_BEGINNINGS: Final = (1_000, 300, 80)
_MENTIONS_A_BLOCK: Final = 100
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PERSON = re.compile(r"[UW][A-Z0-9]{2,20}")
_NOUNS: Final = {Kind.TOOL: "tool", Kind.PROMPT: "prompt", Kind.RESOURCE: "resource"}

_CANCELLED: Final = {
    Ending.CANCELLED: " by its caller",
    Ending.DISCONNECTED: ", as its caller left",
    Ending.FROZEN: ": the configuration freezes all calls",
    Ending.RECONFIGURED: ": the configuration is not what it was",
    Ending.TURNED_AWAY: ": its server turned it away each time that it was sent",
    Ending.RULED_OUT: ": the rules, asked again before sending, said no",
    Ending.NOT_TOLD: ": this message was taken as never posted, and nothing on it counts",
}


@dataclass(frozen=True, slots=True)
class File:
    """What is too long for a message, as plain text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """`text` is what a notification shows; `file` must be in the channel before the message."""

    text: str
    blocks: Sequence[Block]
    file: File | None = None


@dataclass(frozen=True, slots=True)
class _Box:
    """A labelled text of somebody else's."""

    label: str
    text: str


def question(approval: Approval, workflow: SlackWorkflow, note: str = "") -> Message:
    """The question. `note` is a sentence of ours that stands first."""
    several = f" {approval.required} different approvers are needed." * (approval.required > 1)
    lines = [
        (
            f"*An agent asks to use a {_NOUNS[approval.call.kind]}.* Approve with :+1: or "
            ":white_check_mark:, reject with :-1: or :x:. To say why you reject, reply in this "
            "message's thread before you react."
        ),
        f"Decide before {_time(approval.expires)}; after that it is denied.{several}",
    ]
    if note:
        lines.insert(0, f":information_source: {note}")
    if workflow.approvers is None:
        lines.append(
            ":warning: Anyone in this channel may decide: the workflow lists no approvers."
        )
    calls = [_mention(name) for name in workflow.mention]
    starts = range(0, len(calls), _MENTIONS_A_BLOCK)
    heads = [" ".join(calls[start : start + _MENTIONS_A_BLOCK]) for start in starts]
    heads.append("\n".join(lines))
    return _message("Approval needed", heads, _boxes(approval, workflow.redact_fields), approval)


def outcome(
    approval: Approval, workflow: Workflow | None, standing: Sequence[Block] = ()
) -> Message:
    """What became of it, in place of the question; without a workflow, no arguments are shown.

    `standing` are the message's blocks so far, of which the boxes stay if the call's body, from
    which they were written, is not kept any more.
    """
    title, line = _became(approval)
    if approval.caller_left and not approval.state.final:
        line += " The caller has left, and must ask again for the call to be sent."
    if not approval.call.body:
        boxes_so_far = [block for block in standing if block.get("type") == "rich_text"]
        return Message(title, [_section(line), *boxes_so_far])
    boxes = _boxes(approval, None if workflow is None else workflow.redact_fields)
    if approval.reason:
        boxes.insert(0, _Box("What became of it", _quoted(approval.reason)))
    return _message(title, [line], boxes, approval)


def visible(message: Mapping[str, Any]) -> str:
    """All that a human sees of a message's blocks, without white space.

    Of a message as it was posted and as it is read back it is the same, unless somebody changed it.
    """
    found: list[str] = []
    _leaves([message.get(part) or [] for part in ("blocks", "attachments", "files")], found)
    text = "".join(found)
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(entity, character)
    return re.sub(r"\s+", "", text)


# What Slack adds to blocks that it keeps, or what only says how something looks.
_UNSEEN: Final = frozenset(
    {"block_id", "type", "verbatim", "emoji", "unicode", "style", "border", "indent"}
)


def _leaves(value: Any, found: list[str]) -> None:
    if isinstance(value, dict):
        for key in sorted(value):
            if key not in _UNSEEN:
                _leaves(value[key], found)
    elif isinstance(value, list):
        for item in value:
            _leaves(item, found)
    elif isinstance(value, str):
        found.append(value)


def _became(approval: Approval) -> tuple[str, str]:
    when = _time(approval.decided or approval.ended or approval.opened)
    ended = _time(approval.ended or approval.decided or approval.opened)
    approved = f":white_check_mark: *Approved* by {_people(approval, VoteValue.APPROVE)}, {when}."
    match approval.state:
        case State.PENDING:
            return "Approval needed", ":hourglass: *Not decided yet.*"
        case State.APPROVED:
            until = approval.valid_until
            counts = f" It counts until {_time(until)}." if until is not None else ""
            used = (
                "Not done yet: the server could not take it."
                if approval.reason
                else "Not used yet."
            )
            return "Approved", f"{approved} {used}{counts} A rejection still stops it."
        case State.SENDING:
            return "Approved", f"{approved} It is being sent."
        case State.DONE:
            return "Done", f"{approved} It was sent once, and the server answered {ended}."
        case State.UNKNOWN:
            return "Unknown", (
                f"{approved} :grey_question: We were cut off while sending, {ended}: whether the "
                "server acted is not known. It is not sent again by itself."
            )
        case State.REJECTED:
            who = _people(approval, VoteValue.REJECT)
            return "Rejected", f":x: *Rejected* by {who}, {when}. Nothing was sent."
        case State.EXPIRED if approval.enough:
            return "Expired", f"{approved} :hourglass: It was never used, and lapsed {ended}."
        case State.EXPIRED:
            count = f"{len(approval.approvers)} of {approval.required} approved"
            return "Timed out", f":hourglass: *Timed out* {ended}: {count}. Nothing was sent."
        case State.CANCELLED:
            why = "" if approval.ending is None else _CANCELLED.get(approval.ending, "")
            return "Cancelled", f":no_entry_sign: *Cancelled*{why}, {ended}. Nothing was sent."
        case _:
            assert_never(approval.state)


def _message(
    title: str, heads: Sequence[str], boxes: Sequence[_Box], approval: Approval
) -> Message:
    noun, name = _NOUNS[approval.call.kind], approval.call.name
    text = f"{title}: {noun} {name}" if _PLAIN_NAME.fullmatch(name) else f"{title}: a {noun}"
    first = [_section(head) for head in heads]
    whole = [*first, _rich(boxes)]
    if _measure(whole) <= MOST_BLOCKS:
        return Message(text, whole)
    safe_id = re.sub("[^A-Za-z0-9-]", "", approval.id)[:60]
    file = File(f"request-{safe_id}.txt", "\n".join(f"{box.label}:\n{box.text}\n" for box in boxes))
    for most in _BEGINNINGS:
        short = [*first, _rich([_beginning(box, most, file.name) for box in boxes])]
        if _measure(short) <= MOST_BLOCKS:
            break
    return Message(text, short, file)


def _boxes(approval: Approval, redact: Sequence[str] | None) -> list[_Box]:
    call, asked = approval.call, approval.asked
    boxes = [_Box(_NOUNS[call.kind].capitalize(), _quoted(call.name))]
    if asked.description:
        boxes.append(_Box("Description, as the server claims it", _quoted(asked.description)))
    if redact is None:
        boxes.append(_Box("Arguments", "(not shown: the workflow is gone)"))
    else:
        boxes += _arguments(safe_text.call(call.body, redact))
    facts = {
        "asked because": asked.reason,
        "rule": None if asked.rule is None else f"{asked.rule} ({asked.match or 'default'})",
        "policies": ", ".join(asked.policies),
        "principal": call.principal,
        "namespace": asked.namespace,
        "pod": asked.pod,
        "server": call.source,
        "method": call.method,
        "workflow": asked.workflow,
        "correlation id": asked.correlation,
        "request id": approval.id,
    }
    lines = (f"{name}: {safe_text.text(value)}" for name, value in facts.items() if value)
    boxes.append(_Box("Who asks, and why a human is asked", "\n".join(lines)))
    return boxes


def _arguments(call: SafeText) -> list[_Box]:
    boxes = [_Box("Arguments", call.arguments or "(none)")]
    if call.redacted:
        names = "\n".join(map(_quoted, call.redacted))
        boxes.append(_Box("Of the arguments you do not see, as the workflow redacts them", names))
    if call.others:
        boxes.append(_Box("Further parameters of the call", call.others))
    return boxes


def _beginning(box: _Box, most: int, file: str) -> _Box:
    if len(box.text) <= most:
        return box
    label = (
        f"{box.label} - ONLY THE FIRST {most:,} OF {len(box.text):,} CHARACTERS; all of them are "
        f"in the file {file} above, which you should read"
    )
    return _Box(label, box.text[:most])


def _section(text: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _rich(boxes: Sequence[_Box]) -> Block:
    elements: list[Block] = []
    for box in boxes:
        bold = {"type": "text", "text": box.label, "style": {"bold": True}}
        elements.append({"type": "rich_text_section", "elements": [bold]})
        pieces = [
            {"type": "text", "text": box.text[at : at + MOST_TEXT]}
            for at in range(0, len(box.text), MOST_TEXT)
        ]
        elements.append({"type": "rich_text_preformatted", "elements": pieces})
    return {"type": "rich_text", "elements": elements}


def _measure(blocks: Sequence[Block]) -> int:
    text = json.dumps(blocks, ensure_ascii=False, separators=(",", ":"))
    # Slack may count these as the entities that it keeps them as.
    return len(text) + 4 * text.count("&") + 3 * (text.count("<") + text.count(">"))


def _quoted(text: str) -> str:
    return safe_text.text(json.dumps(text, ensure_ascii=False))


def _mention(name: str) -> str:
    """`name` is as `core.config` reads it: nothing in it needs escaping."""
    if name in ("here", "channel"):
        return f"<!{name}>"
    return f"<!subteam^{name}>" if name.startswith("S") else f"<@{name}>"


def _people(approval: Approval, verdict: VoteValue) -> str:
    ids = [vote.approver for vote in approval.votes if vote.verdict is verdict]
    return ", ".join(f"<@{id}>" if _PERSON.fullmatch(id) else "an approver" for id in ids) or "none"


def _time(seconds: float) -> str:
    """A time, shown in each reader's own time zone."""
    utc = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"<!date^{int(seconds)}^{{date_short_pretty}} {{time}}|{utc}>"
