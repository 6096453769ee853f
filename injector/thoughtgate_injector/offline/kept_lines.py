"""The lines of a text that a change left as they were, after the whole was written anew."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

_LINES: Final = re.compile(r"[^\n]*\n|[^\n]+")
# Comparing takes time by the square of the lines in the worst case.
_COMPARED: Final = 20_000


def kept(text: str, unchanged: str, changed: str) -> str:
    """Give `changed`, with the lines of `text` where a YAML library would only write them anew.

    `unchanged` is what it makes of `text`: a line of it that is also in `changed` stands for the
    lines of `text` that it was made of.
    """
    own, old, new = _LINES.findall(text), _LINES.findall(unchanged), _LINES.findall(changed)
    if len(own) > _COMPARED:
        return changed
    open_end = bool(own) and not own[-1].endswith("\n")
    if open_end:
        own[-1] += "\n"
    sources = _sources(own, old)
    lines: list[str] = []
    for tag, start, end, new_start, new_end in SequenceMatcher(None, old, new).get_opcodes():
        if tag != "equal":
            lines += new[new_start:new_end]
            continue
        at = start
        while at < end:
            found = sources.get(at)
            if found is not None and found.old_end <= end:
                lines += own[found.own_start : found.own_end]
                at = found.old_end
            else:  # of several lines that were made together some were changed
                lines.append(old[at])
                at += 1
    joined = "".join(lines)
    return joined.removesuffix("\n") if open_end else joined


@dataclass(slots=True)
class _Source:
    """Lines of the old text, and where what was made of them ends."""

    own_start: int
    own_end: int
    old_end: int


def _sources(own: Sequence[str], old: Sequence[str]) -> dict[int, _Source]:
    """Give the lines of `own` that became lines of `old`, by the first of those."""
    found: dict[int, _Source] = {}
    last: _Source | None = None
    bare, bare_old = (["".join(line.split()) for line in lines] for lines in (own, old))
    for _, start, end, old_start, old_end in SequenceMatcher(None, bare, bare_old).get_opcodes():
        if end - start == old_end - old_start:
            for number in range(end - start):
                last = _Source(start + number, start + number + 1, old_start + number + 1)
                found[old_start + number] = last
        elif old_start < old_end:
            last = found[old_start] = _Source(start, end, old_end)
        elif last is not None:
            last.own_end = end  # an empty line that ruamel.yaml leaves out, for instance
    return found
