"""Cedar policies at load: each with a name, a file and a line, and refused with them if broken."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from thoughtgate_proxy.core import lazy_import
from thoughtgate_proxy.core.config.cedar_guards import guarded
from thoughtgate_proxy.core.config.cedar_scope import ANY, ScopePart, Uid, part
from thoughtgate_proxy.core.config.cedar_text import (
    Statement,
    culprit,
    mark_at,
    statements,
    tokens,
    too_deep,
)
from thoughtgate_proxy.core.config.cedar_types import CannotGuardError, Guarded
from thoughtgate_proxy.core.config.mistakes import Mark, Mistake, found, listed, nearest, one_line

# Several megabytes and a tenth of the start, for nothing where there are no policies.
cedarpy = lazy_import.loaded("cedarpy")

ACTIONS: Final = ("Forward", "Approve")
"""What the gate asks Cedar; a policy about any other action would never apply."""
PRINCIPALS: Final = ("Agent", "Team", "Namespace")
RESOURCES: Final = ("Tool", "Prompt", "Resource")


@dataclass(frozen=True, slots=True)
class CedarText:
    """One file of policies, or the inline text.

    `name` is what policies are called after; `file`, `line` and `indent` say where the text is:
    one within the configuration starts further down and is moved to the right.
    """

    name: str
    file: str
    text: str
    line: int = 1
    indent: int = 0

    def mark(self, offset: int) -> Mark:
        """Where an offset in the text stands in the file."""
        mark = mark_at(self.text, offset)
        return Mark(mark.line + self.line - 1, mark.column + self.indent)


@dataclass(frozen=True, slots=True)
class CedarPolicy:
    """One policy. `id` is its `@id`, else `NAME#INDEX` (from 0); unique in its set.

    `text` is what stands in the file, `guarded` what is evaluated; `principal` and `action` are
    what its scope says of them.
    """

    id: str
    text: str
    file: str
    line: int
    guarded: Guarded
    principal: ScopePart = ANY
    action: ScopePart = ANY


@dataclass(frozen=True, slots=True)
class CedarPolicies:
    """The whole set, in order, and the schema's text.

    cedarpy calls the policies of a text `policy0`, `policy1`, ... by position, so `policyN` of
    `PolicySet.from_str(self.enforced)` is `policies[N]`.
    """

    policies: tuple[CedarPolicy, ...] = ()
    schema: str | None = None

    @property
    def text(self) -> str:
        """All policies as one Cedar text, as they are written."""
        return "\n".join(policy.text for policy in self.policies)

    @property
    def enforced(self) -> str:
        """All policies as one Cedar text, as they are evaluated."""
        return "\n".join(policy.guarded.text for policy in self.policies)

    @property
    def reads(self) -> frozenset[tuple[str, ...]]:
        """The paths of arguments that some policy asks for."""
        return frozenset().union(*(policy.guarded.reads for policy in self.policies))

    @property
    def values(self) -> frozenset[tuple[str, ...]]:
        """The paths of arguments whose whole value some policy needs."""
        return frozenset().union(*(policy.guarded.values for policy in self.policies))

    @property
    def attributes(self) -> frozenset[str]:
        """Those of the resource that some policy needs, beside the plain texts."""
        return frozenset().union(*(policy.guarded.attributes for policy in self.policies))

    def concerning(self, principal: Uid, above: frozenset[Uid], action: Uid) -> "CedarPolicies":
        """The policies whose scope can be about them; the others could not change an answer.

        `above` are the principal's ancestors. Cedar takes a policy whose scope does not match for
        one that is not there, and a scope cannot fail.
        """
        some = (
            policy
            for policy in self.policies
            if policy.principal.can_be(principal, above) and policy.action.can_be(action)
        )
        return CedarPolicies(tuple(some), self.schema)

    def named(self, positional: str) -> str:
        """The id of what cedarpy calls `policyN`; anything else as it is."""
        policy = self.at(positional)
        return policy.id if policy else positional

    def at(self, positional: str) -> CedarPolicy | None:
        """The policy that cedarpy calls `policyN`."""
        number = positional.removeprefix("policy")
        known = number != positional and number.isdecimal() and int(number) < len(self.policies)
        return self.policies[int(number)] if known else None


def load_policies(
    texts: Iterable[CedarText], schema: CedarText | None
) -> tuple[CedarPolicies, list[Mistake]]:
    """All policies, each parsed alone, checked against the schema if there is one.

    Where there are mistakes the policies are those that could be read.
    """
    mistakes: list[Mistake] = []
    policies: list[CedarPolicy] = []
    marks: dict[str, tuple[str, Mark]] = {}
    for text in texts:
        for index, statement in enumerate(statements(text.text)):
            mark = text.mark(statement.start)
            problems, head = _read(statement)
            name = (head and head.name) or f"{text.name}#{index}"
            if name in marks:
                file, first = marks[name]
                problems.append((0, f"the id {found(name)} is taken: {file}:{first.line}"))
            marks.setdefault(name, (text.file, mark))
            for offset, message in problems:
                where = text.mark(statement.start + offset)
                mistakes.append(Mistake(text.file, where, "", one_line(message)))
            if head and not problems:
                parts = (head.guarded, head.principal, head.action)
                policies.append(CedarPolicy(name, statement.text, text.file, mark.line, *parts))
    loaded = CedarPolicies(tuple(policies), schema.text if schema else None)
    mistakes += _whole(loaded)
    if schema:
        mistakes += _checked(loaded, schema)
    return loaded, mistakes


@dataclass(frozen=True, slots=True)
class _PolicyHead:
    """A policy's scope, its `@id` if it has one that says something, and what is evaluated."""

    principal: ScopePart
    action: ScopePart
    resource: ScopePart
    name: str | None
    guarded: Guarded


def _read(statement: Statement) -> tuple[list[tuple[int, str]], _PolicyHead | None]:
    """What is wrong with one policy, as offsets in it and messages; and its head if it has one."""
    if too_big := statement.too_big:
        return [(0, too_big)], None
    try:
        cedarpy.PolicySet.from_str(statement.text)
        said = json.loads(cedarpy.policies_to_json_str(statement.head))
    except ValueError as error:
        offset = culprit(statement, str(error), cedarpy.PolicySet.from_str)
        end = "; a policy ends with `;`" if statement.tokens[-1].text != ";" else ""
        return [(offset, f"not Cedar: {error}{end}")], None
    for template in said["templates"].values():
        slots = _slots(template)
        return [(0, f"a template ({slots}) is never linked here; allowed: a plain policy")], None
    for policy in said["staticPolicies"].values():
        name = policy.get("annotations", {}).get("id")
        problems = []
        try:
            safe = guarded(statement)
        except CannotGuardError as error:
            safe, problems = Guarded(""), [(_last(statement, error.word), str(error))]
        head = _PolicyHead(
            part(policy["principal"]),
            part(policy["action"]),
            part(policy["resource"]),
            name if isinstance(name, str) else None,
            safe,
        )
        problems += _never_applies(statement, head)
        return problems, None if problems else head
    return [(0, "not Cedar: no policy stands here")], None


def _never_applies(statement: Statement, head: _PolicyHead) -> Iterator[tuple[int, str]]:
    """Scopes that match nothing the gate asks: a `forbid` with a typing error forbids nothing."""
    for word, said, types in (
        ("principal", head.principal, PRINCIPALS),
        ("resource", head.resource, RESOURCES),
    ):
        for kind, _ in said.named():
            if kind not in types:
                message = (
                    f"no {word} has the type {found(kind)}, so the policy never applies; "
                    f"allowed: {listed(types)}{nearest(kind, types)}"
                )
                yield _offset(statement, kind), message
    for kind, name in head.action.named():
        if kind != "Action" or name not in ACTIONS:
            quoted = json.dumps(name, ensure_ascii=False)
            asked = [f'Action::"{action}"' for action in ACTIONS]
            message = (
                f"the gate never asks for {found(f'{kind}::{quoted}')}, so the policy never "
                f"applies; allowed: {listed(asked)}{nearest(name, ACTIONS)}"
            )
            yield _offset(statement, quoted), message


def _slots(template: Mapping[str, Any]) -> str:
    return ", ".join(f"`{slot}`" for slot in ("?principal", "?resource") if slot in str(template))


def _offset(statement: Statement, text: str) -> int:
    word = text.split("::", maxsplit=1)[0]
    return next((token.start for token in statement.tokens if token.text == word), 0)


def _last(statement: Statement, word: str) -> int:
    """Where a word of the conditions stands last, or the policy's start."""
    quoted = json.dumps(word)
    ends = (t.start for t in reversed(statement.tokens) if t.text in (word, quoted))
    return next(ends, 0)


def _whole(loaded: CedarPolicies) -> Iterator[Mistake]:
    """INVARIANT: the set that is evaluated is the policies as they were cut, one for one."""
    if not loaded.policies:
        return
    try:
        together = len(cedarpy.PolicySet.from_str(loaded.enforced)) == len(loaded.policies)
    except ValueError:
        together = False
    if not together:
        yield Mistake(loaded.policies[0].file, None, "", "not Cedar: the policies run together")


def _checked(loaded: CedarPolicies, schema: CedarText) -> Iterator[Mistake]:
    """What Cedar's validator says."""
    is_json = schema.text.lstrip().startswith("{")
    parse = cedarpy.Schema.from_json_str if is_json else cedarpy.Schema.from_str
    whole = Statement(schema.text, 0, tuple(tokens(schema.text)))
    try:
        if deep := too_deep(whole.tokens, "([{<", ")]}>"):
            raise ValueError(deep)
        parse(schema.text)
    except ValueError as error:
        message = str(error).removeprefix("error parsing schema: ")
        offset = 0 if is_json else culprit(whole, message, parse)
        yield Mistake(schema.file, schema.mark(offset), "", one_line(f"not a schema: {message}"))
        return
    for problem in cedarpy.validate_policies(loaded.text, schema.text).errors:
        number = problem.policy_id.removeprefix("policy")
        message = problem.error.removeprefix(f"for policy `{problem.policy_id}`, ")
        policy = loaded.policies[int(number)] if number.isdecimal() else None
        yield Mistake(
            policy.file if policy else schema.file,
            Mark(policy.line, 1) if policy else None,
            "",
            one_line(f"against the schema: {message}"),
        )
