"""The command `explain`: what would become of one message, and why, without a server."""

import argparse
import json
import os
from collections.abc import Sequence
from typing import Any

from thoughtgate_proxy.core.config.mistakes import found, listed, one_line
from thoughtgate_proxy.core.config.values import Source
from thoughtgate_proxy.core.policy import identity
from thoughtgate_proxy.core.policy.cedar import PolicySet
from thoughtgate_proxy.core.policy.decision import Outcome
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.policy.explanation import Explainer, Explanation, ExplanationStep
from thoughtgate_proxy.core.policy.identity import Identity, IdentityRefused
from thoughtgate_proxy.core.protocol import strict_json
from thoughtgate_proxy.core.protocol.methods import GATED, NOTIFICATIONS
from thoughtgate_proxy.runtime.config_loader import Loaded

EXIT = {Outcome.FORWARD: 0, Outcome.DENY: 3, Outcome.HOLD: 4}
BAD_ARGUMENTS = 1
EPILOG = (
    "Exit code: 0 it goes on, 3 it is denied, 4 it needs a human's approval; 1 the configuration "
    "or the arguments are no good, 2 wrong usage."
)
_WORDS = {Outcome.FORWARD: "forward", Outcome.DENY: "deny", Outcome.HOLD: "needs approval"}
_DECISION = (
    "outcome", "gate", "reason", "rule", "match", "policies", "errors", "workflow", "observed",
    "config",
)  # fmt: skip
_WITH_ARGUMENTS = ("tools/call", "prompts/get")


class UsageError(Exception):
    """The options do not fit together, or do not fit this configuration: one line."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's own options and words."""
    parser.epilog = EPILOG
    parser.set_defaults(refuse=parser.error)
    parser.add_argument("file", metavar="FILE", help="the configuration; - for standard input")
    parser.add_argument("method", metavar="METHOD", help="such as tools/call")
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="the tool or prompt, or the resource's URI"
    )
    parser.add_argument(
        "--identity", metavar="TEAM/APP", required=True, help="the principal: who would call"
    )
    parser.add_argument("--arguments", metavar="JSON", help="the call's arguments, an object")
    parser.add_argument("--source", metavar="ID", help="needed where there are several")
    parser.add_argument(
        "--ref",
        choices=("prompt", "resource"),
        help="what NAME is, for completion/complete (default: prompt)",
    )
    parser.add_argument("--namespace", metavar="NAME", help="the principal's namespace")
    parser.add_argument("--pod", metavar="NAME", help="the principal's pod")
    parser.add_argument(
        "--label",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="one more of the pod's labels, beside those of --identity; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace, loaded: Loaded) -> tuple[int, str]:
    """The exit code and what to print. Raises `UsageError`."""
    principal = _identity(options)
    source = _source(options.source, loaded.config.enabled_sources)
    arguments = None if options.arguments is None else os.fsencode(options.arguments)
    _check_usage(options)
    if arguments is not None:
        try:
            strict_json.loads(arguments, loaded.config.limits.json_depth)
        except strict_json.UnreadableJSON as error:
            return BAD_ARGUMENTS, f"--arguments: {error}"
    policies = PolicySet(loaded.policies, principal) if loaded.policies.policies else None
    gate = PolicyEngine(loaded.config, loaded.digest, policies)
    body = message(options.method, options.name, arguments, options.ref)
    explained = Explainer(gate, source, loaded.policies, loaded.lines).explain(body)
    shown = _as_json if options.json else _as_text
    return EXIT[explained.outcome], shown(explained, options, principal, source)


def message(method: str, name: str | None, arguments: bytes | None, ref: str | None) -> bytes:
    """The body that an agent would send. `arguments` are one JSON document, put in as they are."""
    params: dict[str, Any]
    match method:
        case _ if name is None:
            params = {}
        case "resources/read" | "resources/subscribe":
            params = {"uri": name}
        case "subscriptions/listen":
            params = {"notifications": {"resourceSubscriptions": [name]}}
        case "completion/complete":
            key = "uri" if ref == "resource" else "name"
            params = {"ref": {"type": f"ref/{ref or 'prompt'}", key: name}}
        case _:
            params = {"name": name}
    envelope: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if method not in NOTIFICATIONS:
        envelope["id"] = 1
    written = json.dumps(params).encode()
    if arguments is not None:
        written = b'%b, "arguments": %b}' % (written[:-1], arguments)
    return b'%b, "params": %b}' % (json.dumps(envelope).encode()[:-1], written)


def _check_usage(options: argparse.Namespace) -> None:
    method = found(options.method)
    if options.method in GATED and options.name is None:
        raise UsageError(f"{method} needs a NAME")
    if options.method not in GATED and options.name is not None:
        raise UsageError(f"{method} takes no NAME; allowed: with {listed(GATED)}")
    if options.arguments is not None and options.method not in _WITH_ARGUMENTS:
        raise UsageError(f"--arguments: allowed with {listed(_WITH_ARGUMENTS)}")
    if options.ref is not None and options.method != "completion/complete":
        raise UsageError("--ref: allowed with `completion/complete`")


def _source(id: str | None, sources: Sequence[Source]) -> Source:
    if id is None and len(sources) == 1:
        return sources[0]
    allowed = listed(source.id for source in sources)
    if id is None:
        raise UsageError(f"--source: needed, as there are several; allowed: {allowed}")
    chosen = next((source for source in sources if source.id == id), None)
    if chosen is None:
        raise UsageError(f"--source: found {found(id)}; allowed: {allowed}")
    return chosen


def _identity(options: argparse.Namespace) -> Identity:
    try:
        principal = identity.from_words(options.identity, options.namespace, options.pod)
    except IdentityRefused as refused:
        raise UsageError(f"--identity: {refused}") from refused
    labels = dict(principal.labels)
    for label in options.label:
        key, sign, value = label.partition("=")
        try:
            # Through the door of the labels file.
            read = identity.parse_labels(f'{key}="{value}"')
        except IdentityRefused:
            read = {}
        if not sign or set(read) != {key}:
            raise UsageError(
                f"--label: found {found(label)}; allowed: key=value, both legal in Kubernetes"
            )
        if key in labels or key in (*identity.APP_LABELS, identity.TEAM_LABEL):
            raise UsageError(f"--label: {found(key)} is given already, or part of --identity")
        labels |= read
    return identity.from_labels(labels, options.namespace, options.pod)


def _as_text(
    explained: Explanation, options: argparse.Namespace, principal: Identity, source: Source
) -> str:
    target = f" {found(options.name)}" if options.name is not None else ""
    lines = [
        f'Agent::"{principal.agent}" asks `{source.id}` for {one_line(options.method)}{target}',
        "",
    ]
    lines += map(_line, explained.steps)
    lines += ["", one_line(f"{_WORDS[explained.outcome]}: {explained.reason}")]
    return "\n".join(lines)


def _line(step: ExplanationStep) -> str:
    at = f"  ({', '.join(step.at)})" if step.at else ""
    return one_line(f"{step.gate:<11} {step.verdict:<10} {step.text}{at}".rstrip())


def _as_json(
    explained: Explanation, options: argparse.Namespace, principal: Identity, source: Source
) -> str:
    decision = explained.decision
    facts = {
        "outcome": explained.outcome,
        "reason": explained.reason,
        "principal": principal.agent,
        "source": source.id,
        "method": options.method,
        "name": options.name,
        "gates": [
            {"gate": step.gate, "verdict": step.verdict, "text": step.text, "at": step.at}
            for step in explained.steps
        ],
        "decision": decision and {key: getattr(decision, key) for key in _DECISION},
    }
    return json.dumps(facts, indent=2)
