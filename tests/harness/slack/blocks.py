"""What Slack refuses of a message's blocks and texts."""

import json
from typing import Any

MOST_BLOCKS = 50
MOST_TEXT_OBJECT = 3_000
# Undocumented; others measured that blocks of more characters than this together are refused
# (slackapi/bolt-js, issue 2509). The JSON with its entities is the largest way to count them.
MOST_CHARACTERS = 13_200
MOST_TEXT = 40_000
_BLOCKS = {"section", "rich_text", "context", "divider", "header", "actions", "image"}
_RICH = {"rich_text_section", "rich_text_preformatted", "rich_text_list", "rich_text_quote"}


def refused(text: str, blocks: Any) -> str | None:
    """Slack's word for what is wrong; None if nothing is."""
    if not text and not blocks:
        return "no_text"
    if len(text) > MOST_TEXT:
        return "msg_too_long"
    if blocks is None:
        return None
    if not isinstance(blocks, list):
        return "invalid_blocks_format"
    if len(blocks) > MOST_BLOCKS or not all(map(_block, blocks)):
        return "invalid_blocks"
    characters = json.dumps(blocks, ensure_ascii=False, separators=(",", ":"))
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        characters = characters.replace(character, entity)
    return "msg_blocks_too_long" if len(characters) > MOST_CHARACTERS else None


def _block(block: Any) -> bool:
    if not isinstance(block, dict) or block.get("type") not in _BLOCKS:
        return False
    match block["type"]:
        case "section":
            return _text_object(block.get("text"))
        case "context":
            return all(map(_text_object, block.get("elements", [None])))
        case "rich_text":
            elements = block.get("elements")
            return isinstance(elements, list) and bool(elements) and all(map(_rich, elements))
    return True


def _text_object(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("type") in ("mrkdwn", "plain_text")
        and isinstance(value.get("text"), str)
        and 0 < len(value["text"]) <= MOST_TEXT_OBJECT
    )


def _rich(element: Any) -> bool:
    if not isinstance(element, dict) or element.get("type") not in _RICH:
        return False
    inner = element.get("elements")
    if not isinstance(inner, list) or not inner:
        return False
    for item in inner:
        if not isinstance(item, dict):
            return False
        if element["type"] == "rich_text_preformatted" and item.get("type") not in ("text", "link"):
            return False
        if item.get("type") == "text":
            text = item.get("text")
            if not isinstance(text, str) or not 0 < len(text) <= MOST_TEXT_OBJECT:
                return False
            if set(item) - {"type", "text", "style"}:
                return False
    return True
