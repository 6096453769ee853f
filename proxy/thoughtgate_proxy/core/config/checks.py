"""What no single value shows: ids that are taken, names that lead nowhere, settings that clash.

Each function looks at one thing and skips what already has a mistake, where no value stands.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec.structs import replace

from thoughtgate_proxy.core.config.mistakes import Findings, Place, found, listed, nearest
from thoughtgate_proxy.core.config.scalars import READERS, UnreadableError
from thoughtgate_proxy.core.config.values import (
    Action,
    Config,
    Credential,
    Expose,
    ExposeMode,
    Mode,
    Rule,
    Source,
)
from thoughtgate_proxy.core.config.when import check_when
from thoughtgate_proxy.core.config.workflows import WorkflowTypes, check_workflow

_ASKING = {Action.APPROVE, Action.POLICY}
_SECRET_WORDS = ("authorization", "cookie", "key", "token", "secret")


def check(
    config: Config, environ: Mapping[str, str] | None, types: WorkflowTypes, findings: Findings
) -> None:
    """Note all mistakes and warnings about `config` as a whole."""
    _source_list(config, findings)
    for index, source in enumerate(config.sources):
        _expose(source.expose, ("sources", index, "expose"), findings)
        _paths(source, ("sources", index), findings)
        _headers(source, ("sources", index, "headers"), environ, findings)
    _default_action(config, findings)
    for index, rule in enumerate(config.governance.rules):
        _rule_approval(rule, config, ("governance", "rules", index), findings)
        check_when(rule, ("governance", "rules", index), findings)
    _rule_sources(config, findings)
    _rules_reached(config.governance.rules, findings)
    for name, workflow in config.approval.items():
        check_workflow(workflow, types, ("approval", name), findings)
    _cedar(config, findings)
    _posture(config, findings)


def resolved(config: Config) -> Config:
    """`config` with the workflow named in every rule that can ask for an approval."""
    rules = tuple(
        replace(rule, approval=rule.approval or config.default_workflow)
        if rule.action in _ASKING
        else rule
        for rule in config.governance.rules
    )
    return replace(config, governance=replace(config.governance, rules=rules))


def _source_list(config: Config, findings: Findings) -> None:
    if findings.spoiled(("sources",)):
        return
    seen: dict[str, int] = {}
    for index, source in enumerate(config.sources):
        place = ("sources", index, "id")
        if findings.spoiled(place):
            continue
        if source.id in seen:
            message = f"found {found(source.id)}, which is the id of sources[{seen[source.id]}] too"
            findings.mistake(place, f"{message}; allowed: each id once")
        seen.setdefault(source.id, index)
    places = [("sources", index, "enabled") for index in range(len(config.sources))]
    if not findings.spoiled(*places) and not config.enabled_sources:
        found_none = "no source is enabled" if config.sources else "the list is empty"
        findings.mistake(("sources",), f"{found_none}; required: at least one")


def _expose(expose: Expose, place: Place, findings: Findings) -> None:
    if findings.spoiled((*place, "mode"), (*place, "tools")):
        return
    given = (*place, "tools") in findings.marks
    if expose.mode is ExposeMode.ALL and given:
        findings.mistake(
            (*place, "tools"), "the mode `all` shows every tool; allowed: no `tools` with it"
        )
    elif expose.mode is not ExposeMode.ALL and not given:
        findings.mistake(
            (*place, "tools"), f"missing; required: a list, for the mode `{expose.mode.value}`"
        )


def _paths(source: Source, place: Place, findings: Findings) -> None:
    if findings.spoiled((*place, "url"), (*place, "paths")) or not source.paths:
        return
    url = urlsplit(source.url)
    if url.path or url.query:
        findings.mistake(
            (*place, "paths"), "the `url` has a path, which is the one endpoint; allowed: without"
        )


def _headers(
    source: Source, place: Place, environ: Mapping[str, str] | None, findings: Findings
) -> None:
    seen: dict[str, str] = {}
    for name, value in source.headers.items():
        at = (*place, name)
        if name.lower() in seen:
            findings.mistake(at, f"the same header as `{seen[name.lower()]}`; allowed: once")
        seen.setdefault(name.lower(), name)
        if findings.spoiled(at):
            continue
        if isinstance(value, Credential):
            _credential(value, at, environ, findings)
        elif at not in findings.expanded and any(word in name.lower() for word in _SECRET_WORDS):
            findings.warning(
                at, "looks like a secret in plain text; rather `{env: NAME}` or `{file: PATH}`"
            )


def _credential(
    credential: Credential, place: Place, environ: Mapping[str, str] | None, findings: Findings
) -> None:
    if findings.spoiled((*place, "env"), (*place, "file")):
        return
    if (credential.env is None) == (credential.file is None):
        findings.mistake(place, "required: exactly one of `env` and `file`")
    elif credential.env is not None:
        at = (*place, "env")
        if environ is None:
            findings.not_known(
                at, f"the variable `{credential.env}` is not known here; the sidecar must have it"
            )
            return
        value = environ.get(credential.env)
        if not value:
            state = "not set" if value is None else "empty"
            findings.mistake(
                at, f"the variable `{credential.env}` is {state}", kind=f"its variable is {state}"
            )
            return
        try:
            READERS["header value"].read(value)
        except UnreadableError as error:
            findings.mistake(at, f"the value of `{credential.env}` is not {error}")


def _workflow_for(action: Action, config: Config, place: Place, findings: Findings) -> None:
    """That an approval which names no workflow has one."""
    if findings.spoiled(("approval",)) or config.default_workflow is not None:
        return
    if config.approval:
        findings.mistake(
            place,
            f"which workflow? allowed: {listed(config.approval)} as a rule's `approval`, or a "
            "workflow called `default`",
        )
    elif action is Action.APPROVE:
        findings.mistake(
            place, "`approve` needs a workflow, and `approval` has none; add `approval.default`"
        )


def _default_action(config: Config, findings: Findings) -> None:
    """The default action has what it needs."""
    place: Place = ("governance", "defaults", "action")
    if findings.spoiled(place):
        return
    action = config.governance.defaults.action
    if action in _ASKING:
        _workflow_for(action, config, place, findings)
    if action is Action.POLICY:
        _policies_for(config, place, findings)


def _policies_for(config: Config, place: Place, findings: Findings) -> None:
    if not findings.spoiled(("cedar", "policies"), ("cedar", "inline")) and not config.cedar.given:
        findings.mistake(place, "`policy` needs Cedar policies; add `cedar.policies`")


def _rule_sources(config: Config, findings: Findings) -> None:
    places = [("sources", index, "id") for index in range(len(config.sources))]
    if findings.spoiled(("sources",), *places):
        return
    enabled = {source.id: source.enabled for source in config.sources}
    for index, rule in enumerate(config.governance.rules):
        at: Place = ("governance", "rules", index, "source")
        if rule.source is None or findings.spoiled(at):
            continue
        if rule.source not in enabled:
            findings.mistake(
                at,
                f"found {found(rule.source)}; allowed: {listed(enabled)}"
                f"{nearest(rule.source, enabled)}",
            )
        elif enabled[rule.source] is False:
            findings.warning(at, f"the source {found(rule.source)} is not enabled")


def _rule_approval(rule: Rule, config: Config, place: Place, findings: Findings) -> None:
    action_at, approval_at = (*place, "action"), (*place, "approval")
    if findings.spoiled(action_at):
        return
    if rule.action is Action.POLICY:
        _policies_for(config, action_at, findings)
    if findings.spoiled(approval_at):
        return
    if rule.approval is None:
        if rule.action in _ASKING:
            _workflow_for(rule.action, config, action_at, findings)
    elif rule.action not in _ASKING:
        findings.mistake(
            approval_at,
            f"the action `{rule.action.value}` asks nobody; allowed: with `approve` and `policy`",
        )
    elif rule.approval not in config.approval and not findings.spoiled(("approval",)):
        names = list(config.approval)
        allowed = listed(names) or "nothing, as there is no workflow under `approval`"
        findings.mistake(
            approval_at,
            f"found {found(rule.approval)}; allowed: {allowed}{nearest(rule.approval, names)}",
        )


def _rules_reached(rules: tuple[Rule, ...], findings: Findings) -> None:
    """Warn of a rule that an earlier one hides; only where that is plain to see."""
    earlier: dict[str, list[int]] = {}
    for index, rule in enumerate(rules):
        place: Place = ("governance", "rules", index)
        if findings.spoiled(*((*place, key) for key in ("match", "kind", "source"))):
            continue
        for number in earlier.get("*", []) + earlier.get(rule.match, []):
            hiding = rules[number]
            if hiding.kind in (None, rule.kind) and hiding.source in (None, rule.source):
                message = f"never reached: governance.rules[{number}] matches all of it first"
                findings.warning(place, message)
                break
        else:
            if not rule.when and not findings.spoiled((*place, "when")):
                earlier.setdefault(rule.match, []).append(index)


def _cedar(config: Config, findings: Findings) -> None:
    if findings.spoiled(("cedar",), ("cedar", "policies"), ("cedar", "inline")):
        return
    if config.cedar.schema is not None and not config.cedar.given:
        findings.mistake(("cedar", "schema"), "there are no policies; add `cedar.policies`")
    actions = {config.governance.defaults.action, *(r.action for r in config.governance.rules)}
    if config.cedar.given and Action.POLICY not in actions:
        findings.warning(("cedar",), "never asked: no rule and no default has the action `policy`")


def _posture(config: Config, findings: Findings) -> None:
    if config.governance.mode is Mode.OBSERVE:
        findings.warning(("governance", "mode"), "`observe` refuses no call, it only logs")
    if config.governance.freeze is True:
        findings.warning(("governance", "freeze"), "every gated call is denied")
