"""What the configuration knows of a channel, and the checks of one workflow that asks there."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from thoughtgate_proxy.core.config.mistakes import Findings, Place, found
from thoughtgate_proxy.core.config.values import Workflow


def _nothing(_: Workflow) -> Iterable[tuple[Place, str]]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowType:
    """The half of a channel that a configuration needs: what its workflows may say.

    `approver` is a regular expression of the names in `approvers`, `approver_form` says in words
    what is wrong with another one. `group` is an expression of those names that stand for several
    people. `anyone` ends the sentence "without `approvers` anyone ... may decide".
    """

    approver: str
    approver_form: str
    anyone: str
    group: str | None = None
    keys: type[Workflow] = Workflow
    """The Struct of its workflows: `Workflow`, or a subclass with the channel's own keys."""
    validate: Callable[[Workflow], Iterable[tuple[Place, str]]] = _nothing
    """What else is wrong with a workflow: a place within it such as `("room",)`, and one line."""

    @property
    def own_keys(self) -> frozenset[str]:
        """The keys that other channels' workflows need not have."""
        return frozenset(self.keys.__struct_fields__) - frozenset(Workflow.__struct_fields__)


WorkflowTypes = Mapping[str, WorkflowType]
"""All channels that a workflow may name as its `adapter`."""


def check_workflow(
    workflow: Workflow, types: WorkflowTypes, place: Place, findings: Findings
) -> None:
    """Note what is wrong or unwise with one workflow."""
    if findings.spoiled(place):
        return
    kind = types.get(workflow.adapter)  # none where that is a mistake, too
    # Only a workflow whose every key could be read is there to be judged.
    if kind and not any(findings.spoiled((*place, key)) for key in kind.keys.__struct_fields__):
        for within, message in kind.validate(workflow):
            findings.mistake((*place, *within), message)
    if not findings.spoiled((*place, "approvers")):
        _check_approvers(workflow, kind, place, findings)


def _check_approvers(
    workflow: Workflow, kind: WorkflowType | None, place: Place, findings: Findings
) -> None:
    at = (*place, "approvers")
    if workflow.approvers is None:
        if findings.spoiled((*place, "required")):
            return
        if workflow.required > 1:
            findings.mistake(
                (*place, "required"),
                f"found `{workflow.required}`, which counts listed approvers; add `approvers`",
            )
        elif kind:
            findings.warning(place, f"no `approvers`: anyone {kind.anyone} may decide")
        return
    if not workflow.approvers:
        findings.mistake(at, "nobody could decide; add a name, or leave the key out")
        return
    seen: set[str] = set()
    listed_well = True
    for index, name in enumerate(workflow.approvers):
        if findings.spoiled((*at, index)):
            listed_well = False
            continue
        wrong = None
        # Case does not tell e-mail addresses apart, and nobody may count twice.
        if name.casefold() in seen:
            wrong = "stands there a second time"
        elif kind and not re.fullmatch(kind.approver, name):
            wrong = kind.approver_form
        seen.add(name.casefold())
        if wrong:
            findings.mistake((*at, index), f"found {found(name)}, which {wrong}")
            listed_well = False
    if not kind or not listed_well or findings.spoiled((*place, "required")):
        return
    groups = kind.group and any(re.fullmatch(kind.group, name) for name in workflow.approvers)
    if not groups and workflow.required > len(workflow.approvers):
        findings.mistake(
            (*place, "required"),
            f"found `{workflow.required}`, with {len(workflow.approvers)} in `approvers`; "
            "allowed: at most as many",
        )
