"""What the scope of a Cedar policy says of one of its parts: whom, or which action, it is about."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Uid = tuple[str, str]
"""The type and the id of an entity."""


@dataclass(frozen=True, slots=True)
class ScopePart:
    """`principal`, `action` or `resource` of a scope; all None: anything.

    `kind` is the type after `is`; `exactly` the entity after `==`; `within` those after `in`.
    """

    kind: str | None = None
    exactly: Uid | None = None
    within: tuple[Uid, ...] | None = None

    def can_be(self, uid: Uid, above: frozenset[Uid] = frozenset()) -> bool:
        """Whether an entity with these ancestors can be meant."""
        if self.kind is not None and self.kind != uid[0]:
            return False
        if self.exactly is not None and self.exactly != uid:
            return False
        return self.within is None or uid in self.within or not above.isdisjoint(self.within)

    def named(self) -> Iterator[Uid]:
        """The types, and ids, that stand there; no id after `is`."""
        if self.kind is not None:
            yield self.kind, ""
        if self.exactly is not None:
            yield self.exactly
        yield from self.within or ()


ANY = ScopePart()


def part(said: Mapping[str, Any]) -> ScopePart:
    """Read Cedar's JSON form (docs.cedarpolicy.com, "JSON policy format"). Raises `ValueError`."""
    match said["op"]:
        case "All":
            return ANY
        case "==":
            return ScopePart(exactly=_uid(said["entity"]))
        case "in":
            return ScopePart(within=_within(said))
        case "is":
            within = _within(said["in"]) if "in" in said else None
            return ScopePart(kind=said["entity_type"], within=within)
    raise ValueError(f"a scope has the operator `{said['op']}`, which is not known here")


def _within(said: Mapping[str, Any]) -> tuple[Uid, ...]:
    entities: Iterable[Mapping[str, str]] = (
        [said["entity"]] if "entity" in said else said["entities"]
    )
    return tuple(map(_uid, entities))


def _uid(entity: Mapping[str, str]) -> Uid:
    return entity["type"], entity["id"]
