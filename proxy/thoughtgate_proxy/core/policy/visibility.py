"""Gate 1: which tools of a source exist for the agent at all."""

from thoughtgate_proxy.core.config.values import Expose, ExposeMode
from thoughtgate_proxy.core.policy.glob import FirstMatch


class Visibility:
    """One source's `expose`."""

    def __init__(self, expose: Expose) -> None:
        self.shows_all = expose.mode is ExposeMode.ALL
        self._wanted = expose.mode is ExposeMode.ALLOWLIST
        self._match = FirstMatch(enumerate(expose.tools))

    def shows(self, tool: str) -> bool:
        """Whether the agent may know of `tool`."""
        return self.shows_all or (self._match(tool) is not None) is self._wanted
