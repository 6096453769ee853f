"""The tools' descriptions, as their servers have listed them."""

from typing import Final

from thoughtgate_proxy.mcp import raw_json

# Of a server that lists more, or longer ones, not all is remembered.
_MOST: Final = 1000
_LONGEST: Final = 4000


class ToolDescriptions:
    """Those that were listed last, by source and tool."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}

    def of(self, source: str, tool: str) -> str | None:
        """What `source` claims of `tool`; None if it has not listed it."""
        return self._known.get((source, tool))

    def learn(self, source: str, listing: bytes) -> None:
        """Take note of an answer to `tools/list`."""
        for tool in raw_json.elements(raw_json.at(listing, "result", "tools")) or ():
            name, text = raw_json.value(tool, "name"), raw_json.value(tool, "description")
            if not isinstance(name, str) or not isinstance(text, str):
                continue
            if len(text) > _LONGEST:
                text = f"{text[:_LONGEST]}… (cut here, of {len(text)} characters)"
            self._known.pop((source, name), None)
            self._known[source, name] = text
            if len(self._known) > _MOST:
                del self._known[next(iter(self._known))]
