"""Gate 3: Cedar, with the pod's identity as the principal."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from thoughtgate_proxy.core import lazy_import
from thoughtgate_proxy.core.config.cedar import CedarPolicies
from thoughtgate_proxy.core.config.cedar_types import ARGUMENTS, KINDS, NUMBERS
from thoughtgate_proxy.core.config.values import Kind
from thoughtgate_proxy.core.policy import cedar_values
from thoughtgate_proxy.core.policy.cedar_mismatch import mismatch
from thoughtgate_proxy.core.policy.identity import Identity
from thoughtgate_proxy.core.protocol.confusables import KeyPaths, alike

cedarpy = lazy_import.loaded("cedarpy")


class Answer(StrEnum):
    """What the policies say of a call."""

    FORWARD = "forward"
    APPROVE = "approve"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Judgement:
    """Cedar's answer, the policies that determined it, and the errors, each in one line."""

    answer: Answer
    policies: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


_RESOURCE_TYPES = {Kind.TOOL: "Tool", Kind.PROMPT: "Prompt", Kind.RESOURCE: "Resource"}
_POSITIONAL = re.compile(r"\bpolicy\d+\b")
_LONGEST_ERROR = 300
# From these words on, Cedar may quote the arguments, which logs must not hold.
_QUOTING = re.compile(r"(integer overflow|extension function|the tag|entity `Json::).*", re.DOTALL)


class PolicySet:
    """A set of policies for one principal, parsed once.

    The principal is fixed, so each action has a set of its own: the policies that can be about it.
    """

    def __init__(self, policies: CedarPolicies, identity: Identity) -> None:
        self._principal = {"type": "Agent", "id": identity.agent}
        above = frozenset((parent["type"], parent["id"]) for parent in _parents(identity))
        self._asked = []
        for action, answer in (("Forward", Answer.FORWARD), ("Approve", Answer.APPROVE)):
            some = policies.concerning(("Agent", identity.agent), above, ("Action", action))
            together = cedarpy.PolicySet.from_str(some.enforced)
            if len(together) != len(some.policies):
                raise ValueError("the Cedar policies run together")
            self._asked.append((action, answer, some, together))
        self._attributes = policies.attributes
        self._reads = KeyPaths(policies.reads)
        self._excerpt = cedar_values.Excerpt(policies.reads, policies.values)
        self._base = cedarpy.Entities.from_json_str(orjson.dumps(_entities(identity)).decode())

    def judge(
        self, kind: Kind, source: str, method: str, name: str, arguments: Mapping[str, Any]
    ) -> Judgement:
        """Ask for `Forward`, then for `Approve`; whatever is not clearly allowed is denied."""
        if found := self._reads.impostor(arguments):
            return Judgement(Answer.DENY, errors=(f"{alike(found)}, which a policy reads",))
        try:
            cedar_values.check(arguments)
        except cedar_values.Untranslatable as error:
            return Judgement(Answer.DENY, errors=(str(error),))
        resource = {"type": _RESOURCE_TYPES[kind], "id": f"{source}/{name}"}
        entity = {
            "uid": resource,
            "attrs": {
                "source": source,
                "method": method,
                "tool_name": name,
                **self._seen(arguments),
            },
            "parents": [],
        }
        try:
            entities = self._base.with_added_json_str(orjson.dumps([entity]).decode())
        except (ValueError, TypeError):
            # Cedar's own words would quote the arguments, which logs must not hold.
            return Judgement(Answer.DENY, errors=("cedar cannot read these arguments",))
        forbidding: tuple[str, ...] = ()
        for action, answer, policies, together in self._asked:
            if not policies.policies:
                continue
            result = cedarpy.is_authorized(
                {
                    "principal": self._principal,
                    "action": {"type": "Action", "id": action},
                    "resource": resource,
                    "context": {},
                },
                together,
                entities,
            )
            reasons = tuple(map(policies.named, result.diagnostics.reasons))
            errors = tuple(_error(policies, said, arguments) for said in result.diagnostics.errors)
            if result.decision not in (cedarpy.Decision.Allow, cedarpy.Decision.Deny):
                return Judgement(Answer.DENY, errors=("cedar came to no decision",))
            if errors:
                return Judgement(Answer.DENY, reasons, errors)
            if result.decision is cedarpy.Decision.Allow:
                return Judgement(answer, reasons)
            forbidding += tuple(reason for reason in reasons if reason not in forbidding)
        return Judgement(Answer.DENY, forbidding)

    def _seen(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The resource's attributes that are made of the arguments."""
        arguments = self._excerpt.of(given)
        seen = {ARGUMENTS: cedar_values.translated(arguments)}
        if NUMBERS in self._attributes:
            seen[NUMBERS] = cedar_values.decimals(arguments)
        if KINDS in self._attributes:
            seen[KINDS] = cedar_values.kinds(arguments)
        return seen


def _error(policies: CedarPolicies, said: str, arguments: Mapping[str, Any]) -> str:
    """Cedar's error in one line, with the names that the files give the policies.

    Where a value's type is why, the line says which value, what was expected and what was found.
    """
    positional = _POSITIONAL.search(said)
    policy = policies.at(positional[0]) if positional else None
    if policy and (why := mismatch(policy.guarded.uses, arguments, said)):
        return f"policy `{policy.id}`: {why}"[:_LONGEST_ERROR]
    safe = _QUOTING.sub(r"\1 …", said)
    named = _POSITIONAL.sub(lambda match: policies.named(match[0]), safe)
    return " ".join(named.split())[:_LONGEST_ERROR]


def _parents(identity: Identity) -> list[dict[str, str]]:
    parents = []
    if identity.team:
        parents.append({"type": "Team", "id": identity.team})
    if identity.namespace:
        parents.append({"type": "Namespace", "id": identity.namespace})
    return parents


def _entities(identity: Identity) -> list[dict[str, Any]]:
    parents = _parents(identity)
    attributes: dict[str, Any] = {"labels": dict(identity.labels)}
    if identity.namespace:
        attributes["namespace"] = identity.namespace
    if identity.pod:
        attributes["pod"] = identity.pod
    return [
        {"uid": {"type": "Agent", "id": identity.agent}, "attrs": attributes, "parents": parents},
        *({"uid": parent, "attrs": {}, "parents": []} for parent in parents),
    ]
