"""Cedar policies at load: each with a name, a file and a line, and refused with them if broken."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CedarText:
    """One file of policies, or the inline text; its first line is `line` of `file`."""

    file: str
    text: str
    line: int = 1


@dataclass(frozen=True, slots=True)
class CedarPolicy:
    """One policy. `id` is its `@id`, else `FILE#INDEX` (from 0); unique in its set."""

    id: str
    text: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class CedarPolicies:
    """The whole set, in order, and the schema's text.

    cedarpy calls the policies of a text `policy0`, `policy1`, ... by position, so `policyN` of
    `PolicySet.from_str(self.text)` is `policies[N]`.
    """

    policies: tuple[CedarPolicy, ...] = ()
    schema: str | None = None

    @property
    def text(self) -> str:
        """All policies as one Cedar text."""
        return "\n".join(policy.text for policy in self.policies)

    def named(self, positional: str) -> str:
        """The id of what cedarpy calls `policyN`; anything else as it is."""
        number = positional.removeprefix("policy")
        known = number != positional and number.isdecimal() and int(number) < len(self.policies)
        return self.policies[int(number)].id if known else positional
