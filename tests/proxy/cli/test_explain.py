"""`explain`: what it says of a call, with which lines, and with which exit code."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness.policy import AGENT, CONFIGS
from thoughtgate_proxy.approvals.channels.catalog import CHANNELS
from thoughtgate_proxy.cli.main import main
from thoughtgate_proxy.runtime.config_loader import load_text

REFERENCE = CONFIGS / "reference.yaml"
ONE = "schema: 1\nsources: [{id: a, url: 'http://a'%s}]\n"
CEDAR = (
    (ONE % "")
    + """governance: {defaults: {action: policy}}
approval: {team: {adapter: page, approvers: [anna, ben], required: 2, timeout: 1h30m}}
cedar:
  inline: |
    @id("ours") permit(principal in Namespace::"agents", action == Action::"Forward", resource)
      when { principal.labels has tier && principal.labels.tier == "gold" };
    @id("small") permit(principal, action == Action::"Approve", resource)
      when { resource.arguments has amount && resource.arguments.amount < 10 };
    @id("never") forbid(principal, action, resource == Tool::"a/drop");
"""
)


@pytest.fixture
def said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `explain` on a configuration's text; gives the exit code and the lines."""

    def run(text: str, *words: str) -> tuple[int, list[str]]:
        path = tmp_path / "c.yaml"
        path.write_text(text)
        code = main(["explain", str(path), "--identity", AGENT, *words], {})
        return code, capsys.readouterr().out.replace(f"{tmp_path}/", "").splitlines()

    return run


def test_a_call_that_needs_approval_is_told_gate_by_gate(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--identity", "team/app", "tools/call", "delete_user", "--arguments", '{"id": 7}']
    asked = "workflow `default`: slack #approvals, anyone there, within 5m"
    assert main(["explain", str(REFERENCE), *words], {}) == 4
    assert capsys.readouterr().out.splitlines() == [
        'Agent::"team/app" asks `upstream` for tools/call `delete_user`',
        "",
        "visibility  passed     the source shows every tool",
        f"rules       asks       `governance.rules[0]` of 3, `delete_*`: approve  ({REFERENCE}:12)",
        "cedar       not asked",
        f"approval    asks       {asked}  ({REFERENCE}:21)",
        "",
        "needs approval: rule `delete_*` (`governance.rules[0]`) asks for a human's approval",
    ]


def test_a_call_that_no_rule_matches_meets_the_default(said: Any) -> None:
    code, lines = said(REFERENCE.read_text(), "tools/call", "get_user")
    assert code == 0
    assert (
        lines[3] == "rules       passed     none of 3 applies, so the default: forward  (c.yaml:10)"
    )
    assert lines[-1] == "forward: the default action (`governance.defaults.action`) forwards it"


def test_a_rule_that_denies_is_named_with_its_line(said: Any) -> None:
    code, lines = said(REFERENCE.read_text(), "tools/call", "admin_reset")
    assert code == 3
    assert lines[3].endswith("`governance.rules[2]` of 3, `admin_*`: deny  (c.yaml:16)")
    assert lines[-1] == "deny: rule `admin_*` (`governance.rules[2]`) denies it"


def test_a_hidden_tool_meets_no_rule(said: Any) -> None:
    hiding = ONE % ", expose: {mode: blocklist, tools: [drop]}"
    text = hiding + "governance: {defaults: {action: forward}}\n"
    code, lines = said(text, "tools/call", "drop")
    assert (code, lines[2:6]) == (
        3,
        [
            "visibility  refused    the `blocklist` of the source hides the tool  (c.yaml:2)",
            "rules       not asked",
            "cedar       not asked",
            "approval    not asked",
        ],
    )
    assert lines[-1] == "deny: Unknown tool: drop"
    code, lines = said(text, "tools/call", "get")
    assert code == 0
    assert "the `blocklist` of the source shows the tool" in lines[2]
    code, lines = said(text, "prompts/get", "drop")
    assert (code, lines[2]) == (0, "visibility  not asked  a prompt is never hidden")


def test_the_kill_switch_is_named(said: Any) -> None:
    code, lines = said(ONE % "" + "governance: {defaults: {action: forward},\n freeze: on}\n",
                       "tools/call", "x")  # fmt: skip
    assert code == 3
    assert lines[3].startswith("freeze      refused    an operator has frozen")
    assert lines[3].endswith("(c.yaml:4)")
    assert lines[4] == "rules       not asked"


def test_what_is_only_observed_goes_on(said: Any) -> None:
    text = REFERENCE.read_text().replace("governance:", "governance:\n  mode: observe")
    code, lines = said(text, "tools/call", "admin_x")
    assert code == 0
    assert lines[-1] == (
        "forward: `governance.mode` is `observe`; in `enforce` it would be denied: rule `admin_*` "
        "(`governance.rules[2]`) denies it"
    )
    code, lines = said(text, "tools/call", "drop_x")
    assert code == 0
    assert "in `enforce` a human would be asked: " in lines[-1]


def test_a_uri_with_two_readings_is_told_with_both_rules(said: Any) -> None:
    text = ONE % "" + (
        "governance:\n  defaults: {action: deny}\n  rules:\n"
        "    - {match: 'docs://public/*', action: forward}\n"
        "    - {match: 'docs://secret*', action: deny}\n"
    )
    code, lines = said(text, "resources/read", "docs://public/..%2Fsecret")
    assert code == 3
    assert lines[3].startswith("rules       refused    the URI meets rule `docs://public/*`")
    assert "(c.yaml:6, c.yaml:" in lines[3]
    code, lines = said(text, "resources/read", "docs://public/a")
    assert code == 0


def test_a_limit_is_told(said: Any) -> None:
    rule = "rules: [{match: x, action: forward, limit: 20/m}]"
    code, lines = said(ONE % "" + f"governance: {{defaults: {{action: deny}}, {rule}}}\n",
                       "tools/call", "x")  # fmt: skip
    assert code == 0
    assert lines[4] == "limit       passed     20 calls in 1m; this is the first  (c.yaml:3)"


def test_cedar_policies_are_named_with_their_lines(said: Any) -> None:
    gold = ["--namespace", "agents", "--label", "tier=gold"]
    code, lines = said(CEDAR, "tools/call", "pay", *gold)
    assert code == 0
    assert lines[3] == "rules       asks       there are none, so the default: policy  (c.yaml:3)"
    assert lines[4] == "cedar       passed     Cedar policy `ours` forwards it  (c.yaml:7)"
    code, lines = said(CEDAR, "tools/call", "drop", *gold)
    assert code == 3
    assert lines[4] == "cedar       refused    Cedar policy `never` forbids it  (c.yaml:11)"
    assert lines[5] == "approval    not asked"


def test_arguments_and_labels_decide_as_they_do_in_a_pod(said: Any) -> None:
    code, lines = said(CEDAR, "tools/call", "pay", "--arguments", '{"amount": 9}')
    assert code == 4
    assert lines[4].endswith("(c.yaml:9)")
    asked = "workflow `team`: page, 2 of anna, ben, within 1h30m"
    assert lines[5] == f"approval    asks       {asked}  (c.yaml:4)"
    assert said(CEDAR, "tools/call", "pay", "--arguments", '{"amount": 10}')[0] == 3


def test_an_error_of_cedars_is_told(said: Any) -> None:
    code, lines = said(CEDAR, "tools/call", "pay", "--arguments", '{"amount": null}')
    assert code == 3
    assert lines[-1].startswith("deny: Cedar could not decide: ")
    assert "policy `small`" in lines[-1]
    assert lines[4].endswith("(c.yaml:9)")
    gold = ["--namespace", "agents", "--label", "tier=gold"]
    errs = CEDAR.replace('Action::"Approve"', 'Action::"Forward"')
    code, lines = said(errs, "tools/call", "pay", "--arguments", '{"amount": null}', *gold)
    assert (code, lines[4][-12:]) == (3, "  (c.yaml:9)")


def test_a_policy_that_asks_for_an_approval_without_a_workflow_denies(said: Any) -> None:
    text = CEDAR.replace("approval:", "# approval:")
    code, lines = said(text, "tools/call", "pay", "--arguments", '{"amount": 9}')
    assert code == 3
    assert lines[5] == "approval    refused    there is no workflow"


def test_what_is_not_gated_goes_on(said: Any) -> None:
    text = REFERENCE.read_text()
    code, lines = said(text, "tools/list")
    assert code == 0
    assert lines[-1].startswith("forward: `tools/list` is not gated; tools that")
    assert said(text, "ping")[0] == said(text, "notifications/progress")[0] == 0


def test_an_unknown_method_is_denied_unless_its_source_lets_it_pass(said: Any) -> None:
    code, lines = said(REFERENCE.read_text(), "vendor/doThing")
    assert code == 3
    assert lines[-1].startswith("deny: Method not found: `vendor/doThing`")
    passing = ONE % ", passthrough_methods: [vendor/doThing]"
    assert said(passing + "governance: {defaults: {action: deny}}\n", "vendor/doThing")[0] == 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["a\nb"], "`name` holds a control character, or begins or ends with a blank"),
        (["a", "--arguments", "[]"], "`arguments` is a list, allowed is an object"),
    ],
)
def test_a_message_that_the_gate_refuses_unjudged_is_denied(
    said: Any, words: list[str], reason: str
) -> None:
    code, lines = said(REFERENCE.read_text(), "tools/call", *words)
    assert (code, lines[-1]) == (3, f"deny: {reason}")


def test_the_limits_of_the_configuration_hold(said: Any) -> None:
    text = REFERENCE.read_text() + "limits: {json_depth: 4}\n"
    code, lines = said(text, "tools/call", "x", "--arguments", '{"a": []}')
    assert code == 0
    code, lines = said(text, "tools/call", "x", "--arguments", '{"a": [[]]}')
    assert (code, lines[-1]) == (3, "deny: nested deeper than 4 levels")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("", "not one JSON document in UTF-8"),
        ("{} {}", "not one JSON document in UTF-8"),
        ('{}, "name": "other"', "not one JSON document in UTF-8"),
        ('{"a": NaN}', "not one JSON document in UTF-8"),
        ('{"a": 1, "a": 2}', "the key `a` stands twice in one object"),
        ("[" * 200 + "]" * 200, "nested deeper than 128 levels"),
        ('{"a": "\udcff"}', "not one JSON document in UTF-8"),
    ],
)
def test_arguments_that_are_no_strict_json_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: str, why: str
) -> None:
    words = ["--identity", "a", "tools/call", "x", "--arguments", arguments]
    assert main(["explain", str(REFERENCE), *words], {}) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"--arguments: {why}")


def test_a_bad_configuration_is_refused_as_check_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("schema: 2\n")
    assert main(["explain", str(path), "--identity", "a", "tools/call", "x"], {}) == 1
    explained = capsys.readouterr()
    assert main(["check", str(path)], {}) == 1
    assert capsys.readouterr() == explained
    assert "mistakes" in explained.err


TWO = """schema: 1
sources: [{id: a, url: 'http://a'}, {id: b, url: 'http://b'}]
governance: {defaults: {action: deny}, rules: [{match: x, source: b, action: forward}]}
"""


def test_several_sources_are_told_apart(said: Any) -> None:
    assert said(TWO, "tools/call", "x", "--source", "a")[0] == 3
    assert said(TWO, "tools/call", "x", "--source", "b")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tools/call", "x"], "--source: needed, as there are several; allowed: `a`, `b`"),
        (["tools/call", "x", "--source", "c"], "--source: found `c`; allowed: `a`, `b`"),
        (["tools/call", "--source", "a"], "`tools/call` needs a NAME"),
        (["tools/list", "x", "--source", "a"], "`tools/list` takes no NAME; allowed: with"),
        (["tools/call", "x", "--source", "a", "--ref", "prompt"], "--ref: allowed with"),
        (["resources/read", "x", "--source", "a", "--arguments", "{}"], "--arguments: allowed"),
        (["tools/call", "x", "--label", "team=x"], "--label: `team` is given already, or part"),
        (["tools/call", "x", "--label", "app.kubernetes.io/name=x"], "--label: `app.kubernetes"),
        (["tools/call", "x", "--label", "tier"], "--label: found `tier`; allowed: key=value"),
        (["tools/call", "x", "--label", 'a=b"\nc="d'], "--label: found `a=b"),
        (["tools/call", "x", "--label", "t=a", "--label", "t=b"], "--label: `t` is given already"),
        (["tools/call", "x", "--identity", "a/b/c"], "--identity: the identity is `a/b/c`"),
        (["tools/call", "--source", "a", "x", "y"], "unrecognized arguments: x y"),
        (["tools/call", "--bogus"], "unrecognized arguments: --bogus"),
    ],
)
def test_options_that_do_not_fit_exit_2(
    said: Any, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        said(TWO, *words)
    assert stopped.value.code == 2
    assert f"error: {message}" in capsys.readouterr().err


def test_a_name_may_stand_after_an_option(said: Any) -> None:
    assert said(TWO, "tools/call", "--source", "b", "x")[0] == 0


def test_machines_get_the_same_as_json(said: Any) -> None:
    text = REFERENCE.read_text()
    code, lines = said(text, "tools/call", "admin_x", "--json")
    told = json.loads("\n".join(lines))
    digest = load_text(text.encode(), "c", CONFIGS, {}, CHANNELS).digest
    assert code == 3
    assert told["gates"][1] == {
        "gate": "rules",
        "verdict": "refused",
        "text": "`governance.rules[2]` of 3, `admin_*`: deny",
        "at": ["c.yaml:16"],
    }
    del told["gates"]
    reason = "rule `admin_*` (`governance.rules[2]`) denies it"
    assert told == {
        "outcome": "deny",
        "reason": reason,
        "principal": AGENT,
        "source": "upstream",
        "method": "tools/call",
        "name": "admin_x",
        "decision": {
            "outcome": "deny", "gate": "rules", "reason": reason, "rule": 2, "match": "admin_*",
            "policies": [], "errors": [], "workflow": None, "observed": False, "config": digest,
        },
    }  # fmt: skip


def test_a_name_forges_no_line(said: Any) -> None:
    _, lines = said(REFERENCE.read_text(), "tools/call", "x\nforward: yes")
    assert lines[0].endswith("tools/call `x\\nforward: yes`")
    assert not any(line.startswith("forward") for line in lines)
    _, lines = said(REFERENCE.read_text(), "x\nforward: yes")
    assert not any(line.startswith("forward") for line in lines)


def test_a_workflows_channel_forges_no_line(said: Any) -> None:
    text = REFERENCE.read_text().replace("#approvals", "#a\u200bb")
    _, lines = said(text, "tools/call", "drop_x")
    assert "slack #a\\u200bb, anyone there" in lines[5]


def test_explaining_loads_nothing_of_the_network() -> None:
    code = (
        "import sys; from thoughtgate_proxy.cli.main import main; "
        f"main(['explain', {str(REFERENCE)!r}, '--identity', 'a', 'tools/call', 'x']); "
        "print([m for m in ('aiohttp', 'asyncio', 'ssl', 'socket') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
