"""A log that keeps its lines, and writes none."""

import time
from typing import Any

from thoughtgate_proxy.telemetry.log import Level, Log


class Lines(Log):
    """The lines of every level, as facts."""

    def __init__(self) -> None:
        super().__init__(time.time, level=Level.DEBUG)
        self.lines: list[dict[str, Any]] = []

    def always(self, message: str, level: Level = Level.INFO, **facts: Any) -> None:
        """Keep a line."""
        self.lines.append({"message": message, "level": level, **facts})

    def found(self, message: str) -> list[dict[str, Any]]:
        """The lines whose message has that in it."""
        return [line for line in self.lines if message in line["message"]]
