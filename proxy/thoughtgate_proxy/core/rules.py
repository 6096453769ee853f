"""Gate 2: the first rule that matches gives the action."""

from dataclasses import dataclass

from thoughtgate_proxy.core.config.values import Action, Governance, Kind, Rule
from thoughtgate_proxy.core.glob import FirstMatch
from thoughtgate_proxy.core.uri import normalised

# More names than any server lists; an agent that makes names up must not fill the memory.
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Applied:
    """The rule that applies to a name: its number from 0, or None for the default."""

    number: int | None
    rule: Rule | None
    action: Action


@dataclass(frozen=True, slots=True)
class Conflict:
    """A resource's URI and its normal form meet different rules (numbers, None the default)."""

    raw: int | None
    normal: int | None


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
        self._seen: dict[tuple[Kind, str], Applied | Conflict] = {}

    def apply(self, kind: Kind, name: str) -> Applied | Conflict:
        """What the rules say of `name`, remembered for the life of the configuration."""
        found = self._seen.get((kind, name))
        if found is None:
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            found = self._seen[kind, name] = self._first(kind, name)
        return found

    def _first(self, kind: Kind, name: str) -> Applied | Conflict:
        number = self._match[kind](name)
        if kind is Kind.RESOURCE:
            normal = self._match[kind](normalised(name))
            if normal != number:
                return Conflict(number, normal)
        if number is None:
            return Applied(None, None, self._default)
        return Applied(number, self._rules[number], self._rules[number].action)
