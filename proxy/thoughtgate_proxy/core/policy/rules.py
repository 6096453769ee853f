"""Gate 2: the first rule that matches gives the action."""

from dataclasses import dataclass

from thoughtgate_proxy.core.bounded_cache import BoundedCache
from thoughtgate_proxy.core.config.values import Action, Governance, Kind, Rule
from thoughtgate_proxy.core.policy.conditions import Conditions
from thoughtgate_proxy.core.policy.glob import FirstMatch
from thoughtgate_proxy.core.protocol.uri import readings


@dataclass(frozen=True, slots=True)
class Applied:
    """A rule that can apply to a name: its number from 0, or None for the default.

    `when` are its conditions on the arguments; None: it applies whatever they are.
    """

    number: int | None
    rule: Rule | None
    action: Action
    when: Conditions | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """A resource's URI and another reading of it meet different rules.

    `raw` and `other` are the first rules that they can meet (numbers, None the default). Such a
    reading is its normal form, or the path that a server could make of it.
    """

    raw: int | None
    other: int | None
    reading: str


Matching = tuple[Applied, ...]
"""The rules that a name can meet, in order; the last one has no conditions."""


class Rules:
    """The rules of one configuration, as one source meets them."""

    def __init__(self, governance: Governance, source: str) -> None:
        self._default = Applied(None, None, governance.defaults.action)
        about = {
            kind: [
                Applied(number, rule, rule.action, Conditions(rule.when) if rule.when else None)
                for number, rule in enumerate(governance.rules)
                if rule.kind in (None, kind) and rule.source in (None, source)
            ]
            for kind in Kind
        }
        self._plain = {
            kind: FirstMatch((n, _match(one)) for n, one in enumerate(some) if one.when is None)
            for kind, some in about.items()
        }
        self._conditional = {
            kind: [
                (n, one, FirstMatch([(n, _match(one))]))
                for n, one in enumerate(some)
                if one.when is not None
            ]
            for kind, some in about.items()
        }
        self._about = about
        # More, and longer, names than most servers list.
        self._known = BoundedCache[tuple[Kind, str], Matching | Conflict](most=4096, longest=256)

    def matching(self, kind: Kind, name: str) -> Matching | Conflict:
        """What the rules can say of `name`, remembered for the life of the configuration."""
        found = self._known.get((kind, name))
        if found is None:
            found = self._matching(kind, name)
            self._known.put((kind, name), found, len(name))
        return found

    def _matching(self, kind: Kind, name: str) -> Matching | Conflict:
        matching = self._reached(kind, name)
        if kind is Kind.RESOURCE:
            for reading in readings(name)[1:]:
                other = self._reached(kind, reading)
                if other != matching:
                    pairs = zip(matching, other, strict=False)
                    raw, first = next(pair for pair in pairs if pair[0] != pair[1])
                    return Conflict(raw.number, first.number, reading)
        return matching

    def _reached(self, kind: Kind, name: str) -> Matching:
        last = self._plain[kind](name)
        conditional = [
            one
            for place, one, match in self._conditional[kind]
            if (last is None or place < last) and match(name) is not None
        ]
        return (*conditional, self._default if last is None else self._about[kind][last])


def _match(applied: Applied) -> str:
    return applied.rule.match if applied.rule else "*"
