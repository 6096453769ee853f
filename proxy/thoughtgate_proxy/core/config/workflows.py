"""Checks of one approval workflow: what its adapter needs, and who may decide."""

import re

from thoughtgate_proxy.core.config.mistakes import Findings, Place, found
from thoughtgate_proxy.core.config.values import Adapter, Workflow

_SLACK_GROUP = re.compile(r"S[A-Z0-9]{2,20}")
SLACK_APPROVER = r"[UWS][A-Z0-9]{2,20}|[^@\s<>]+@[^@\s<>]+\.[^@\s<>]+"
PAGE_APPROVER = "[A-Za-z0-9._@+-]{1,64}"


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
    seen: set[str] = set()
    listed_well = True
    for index, name in enumerate(workflow.approvers):
        if findings.spoiled((*at, index)):
            listed_well = False
            continue
        # Case does not tell e-mail addresses apart, and nobody may count twice.
        wrong = "stands there a second time" if name.casefold() in seen else _form(name, workflow)
        seen.add(name.casefold())
        if wrong:
            findings.mistake((*at, index), f"found {found(name)}, which {wrong}")
            listed_well = False
    if not listed_well or findings.spoiled((*place, "required"), (*place, "adapter")):
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


def _form(name: str, workflow: Workflow) -> str | None:
    """What is wrong with an approver's name for the workflow's adapter."""
    if workflow.adapter is Adapter.SLACK and not re.fullmatch(SLACK_APPROVER, name):
        return (
            "Slack does not know; allowed: a user id `U...`, a user group's id `S...`, or an "
            "e-mail address"
        )
    if workflow.adapter is Adapter.PAGE and not re.fullmatch(PAGE_APPROVER, name):
        return "is no name; allowed: 1 to 64 of the characters `A-Z a-z 0-9 . _ @ + -`"
    return None
