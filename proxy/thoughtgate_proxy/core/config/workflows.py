"""Checks of one approval workflow: what its adapter needs, and who may decide."""

import re

from thoughtgate_proxy.core.config.mistakes import Findings, Place, found
from thoughtgate_proxy.core.config.values import Adapter, Workflow

_SLACK_GROUP = re.compile(r"S[A-Z0-9]{2,20}")
_SLACK_APPROVER = re.compile(r"[UWS][A-Z0-9]{2,20}|[^@\s<>]+@[^@\s<>]+\.[^@\s<>]+")
_PAGE_APPROVER = re.compile(r"[A-Za-z0-9._@+-]{1,64}")


def check_workflow(workflow: Workflow, place: Place, findings: Findings) -> None:
    """Note what is wrong or unwise with one workflow."""
    if findings.spoiled(place):
        return
    if not findings.spoiled((*place, "adapter")):
        _adapter(workflow, place, findings)
    if not findings.spoiled((*place, "approvers")):
        _approvers(workflow, place, findings)


def _adapter(workflow: Workflow, place: Place, findings: Findings) -> None:
    if workflow.adapter is Adapter.SLACK:
        if workflow.channel is None:
            findings.mistake(
                (*place, "channel"), 'missing; required: a channel such as `"#approvals"`'
            )
        return
    for key in ("channel", "mention"):
        if (*place, key) in findings.marks:
            findings.mistake((*place, key), "the adapter `page` has none; leave the key out")


def _approvers(workflow: Workflow, place: Place, findings: Findings) -> None:
    at = (*place, "approvers")
    if workflow.approvers is None:
        if findings.spoiled((*place, "required"), (*place, "adapter")):
            return
        if workflow.required > 1:
            findings.mistake(
                (*place, "required"),
                f"found `{workflow.required}`, which counts listed approvers; add `approvers`",
            )
        else:
            whom = "in the channel" if workflow.adapter is Adapter.SLACK else "with a token"
            findings.warning(place, f"no `approvers`: anyone {whom} may decide")
        return
    if not workflow.approvers:
        findings.mistake(at, "nobody could decide; add a name, or leave the key out")
        return
    listed_well = [
        _listed_well(name, workflow, (*at, index), findings)
        for index, name in enumerate(workflow.approvers)
    ]
    if not all(listed_well) or findings.spoiled((*place, "required"), (*place, "adapter")):
        return
    groups = workflow.adapter is Adapter.SLACK and any(
        _SLACK_GROUP.fullmatch(name) for name in workflow.approvers
    )
    if not groups and workflow.required > len(workflow.approvers):
        findings.mistake(
            (*place, "required"),
            f"found `{workflow.required}`, with {len(workflow.approvers)} in `approvers`; "
            "allowed: at most as many",
        )


def _listed_well(name: str, workflow: Workflow, at: Place, findings: Findings) -> bool:
    """Whether an entry of `approvers` has the adapter's form and stands there once."""
    if findings.spoiled(at):
        return False
    *list_at, index = at
    earlier = [
        other.casefold()
        for number, other in enumerate(workflow.approvers or ())
        if number < int(index) and not findings.spoiled((*list_at, number))
    ]
    # Case does not tell e-mail addresses apart, and nobody may count twice.
    if name.casefold() in earlier:
        findings.mistake(at, f"found {found(name)} a second time; allowed: once")
        return False
    if workflow.adapter is Adapter.SLACK and not _SLACK_APPROVER.fullmatch(name):
        findings.mistake(
            at,
            f"found {found(name)}; allowed: a Slack user id `U...`, a user group's id `S...`, or "
            "an e-mail address",
        )
        return False
    if workflow.adapter is Adapter.PAGE and not _PAGE_APPROVER.fullmatch(name):
        findings.mistake(
            at, f"found {found(name)}; allowed: 1 to 64 of the characters `A-Z a-z 0-9 . _ @ + -`"
        )
        return False
    return True
