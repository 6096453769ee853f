"""Gate 2: the first rule that matches gives the action."""

from dataclasses import dataclass

from thoughtgate_proxy.core.bounded_cache import BoundedCache
from thoughtgate_proxy.core.config.values import Action, Governance, Kind, Rule
from thoughtgate_proxy.core.policy.glob import FirstMatch
from thoughtgate_proxy.core.protocol.uri import readings


@dataclass(frozen=True, slots=True)
class Applied:
    """The rule that applies to a name: its number from 0, or None for the default."""

    number: int | None
    rule: Rule | None
    action: Action


@dataclass(frozen=True, slots=True)
class Conflict:
    """A resource's URI and another reading of it meet different rules (numbers, None the default).

    Such a reading is its normal form, or the path that a server could make of it.
    """

    raw: int | None
    other: int | None
    reading: str


class Rules:
    """The rules of one configuration, as one source meets them."""

    def __init__(self, governance: Governance, source: str) -> None:
        self._rules = governance.rules
        self._default = governance.defaults.action
        self._match = {
            kind: FirstMatch(
                (number, rule.match)
                for number, rule in enumerate(governance.rules)
                if rule.kind in (None, kind) and rule.source in (None, source)
            )
            for kind in Kind
        }
        # More, and longer, names than most servers list.
        self._known = BoundedCache[tuple[Kind, str], Applied | Conflict](most=4096, longest=256)

    def apply(self, kind: Kind, name: str) -> Applied | Conflict:
        """What the rules say of `name`, remembered for the life of the configuration."""
        found = self._known.get((kind, name))
        if found is None:
            found = self._first(kind, name)
            self._known.put((kind, name), found, len(name))
        return found

    def _first(self, kind: Kind, name: str) -> Applied | Conflict:
        number = self._match[kind](name)
        if kind is Kind.RESOURCE:
            for reading in readings(name)[1:]:
                other = self._match[kind](reading)
                if other != number:
                    return Conflict(number, other, reading)
        if number is None:
            return Applied(None, None, self._default)
        return Applied(number, self._rules[number], self._rules[number].action)
