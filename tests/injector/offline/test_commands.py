"""`uninject` and `validate`, and input from files and folders, as processes."""

from pathlib import Path

import pytest

from tests.injector.test_cli import PODS, run
from thoughtgate_injector import cli
from thoughtgate_injector.offline import commands
from thoughtgate_injector.webhook.config_check import ConfigChecker

EXAMPLES = Path(__file__).parents[3] / "examples"
POD = (EXAMPLES / "pod.yaml").read_text()


def test_uninject_takes_back_what_inject_did() -> None:
    injected = run("inject", "-f", str(EXAMPLES / "pod.yaml")).stdout
    assert injected != POD.encode()
    result = run("uninject", "-f", "-", stdin=injected)
    assert (result.returncode, result.stdout, result.stderr) == (0, POD.encode(), b"")


def test_several_files_and_folders_become_documents_of_one_stream(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text("b: 1")
    (tmp_path / "a.json").write_text('{"a": 1}')
    (tmp_path / "c.txt").write_text("not: this")
    (tmp_path / "d.yaml").write_text("--- # d\nd: 1\n")
    result = run("inject", "-f", "-", "-f", str(tmp_path), stdin=b"first: 1\n")
    assert result.stdout == b'first: 1\n---\n{"a": 1}\n---\nb: 1\n--- # d\nd: 1\n'
    (tmp_path / "empty").mkdir()
    result = run("inject", "-f", str(tmp_path / "empty"))
    assert (result.returncode, result.stdout) == (1, b"")
    assert b"holds no file" in result.stderr


def test_of_several_files_each_message_names_its_own(tmp_path: Path) -> None:
    bad, worse = tmp_path / "bad.yaml", tmp_path / "worse.yaml"
    bad.write_text(POD.replace('"true"', '"flase"'))
    worse.write_text("a: [")
    result = run("inject", "-f", str(bad), "-f", str(worse), "-f", str(EXAMPLES))
    assert (result.returncode, result.stdout) == (1, b"")
    lines = result.stderr.decode().splitlines()
    assert lines[0].startswith(f"error: {bad}: Pod/my-agent: annotation ")
    assert lines[1].startswith(f"error: {worse}: the input is no YAML: ")


def test_validate_says_what_the_webhooks_would_say() -> None:
    result = run("validate", "-f", str(EXAMPLES))
    assert result.returncode == 0
    config, pod = EXAMPLES / "config.yaml", EXAMPLES / "pod.yaml"
    lines = result.stdout.decode().splitlines()
    assert lines[0] == f"{config}: ConfigMap/thoughtgate-config: accepted"
    assert lines[1].startswith(f"{config}: ConfigMap/thoughtgate-config: warning: config.yaml:26:")
    assert lines[2:] == [f"{pod}: Pod/my-agent: injected"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"true"', '"false"', "Pod/my-agent: skipped: `thoughtgate.io/inject` is `false`"),
        ('"true"', '"flase"', "Pod/my-agent: refused: annotation `thoughtgate.io/inject` is"),
        ("spec:", "spec:\n  hostNetwork: true", "Pod/my-agent: refused: `spec.hostNetwork` is"),
        (
            'inject: "true"',
            "injct: x",
            (
                "Pod/my-agent: warning: `thoughtgate.io/injct` does nothing on a pod that is not "
                "opted in; the nearest key is `thoughtgate.io/inject`"
            ),
        ),
        (
            'inject: "true"',
            "profile: light",
            (
                "Pod/my-agent: warning: `thoughtgate.io/profile` does nothing on a pod that is not "
                "opted in"
            ),
        ),
    ],
)
def test_validate_gives_each_reason_and_an_exit_code(old: str, new: str, said: str) -> None:
    text = POD.replace(old, new, 1)
    assert text != POD
    result = run("validate", "-f", "-", stdin=text.encode())
    assert any(line.startswith(said) for line in result.stdout.decode().splitlines())
    assert result.returncode == (1 if "refused" in said else 0)


def test_validate_refuses_a_bad_configuration_with_all_mistakes() -> None:
    text = (EXAMPLES / "config.yaml").read_text().replace("schema: 1", "schema: 2\n    zzz: 1")
    result = run("validate", "-f", "-", stdin=text.encode())
    assert result.returncode == 1
    lines = result.stdout.decode().splitlines()
    assert len(lines) == 2
    assert all(line.startswith("ConfigMap/thoughtgate-config: refused: ") for line in lines)
    unlabelled = text.replace('thoughtgate.io/config: "true"', "other: label")
    assert run("validate", "-f", "-", stdin=unlabelled.encode()).stdout == b""


def test_validate_fails_where_a_configuration_could_not_be_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        commands, "ConfigChecker", lambda limit: ConfigChecker(("/nowhere",), limit)
    )
    assert cli.main(["validate", "-f", str(EXAMPLES / "config.yaml")]) == 1
    assert capsys.readouterr().out == (
        "ConfigMap/thoughtgate-config: not checked: "
        "the check could not be run: no such file or directory\n"
    )


def test_validate_takes_the_namespaces_word_and_the_operators_settings(tmp_path: Path) -> None:
    silent = POD.replace('  annotations:\n    thoughtgate.io/inject: "true"\n', "").encode()
    said = [
        run("validate", "-f", "-", "--namespace-inject", word, stdin=silent).stdout
        for word in ("enabled", "true", "required")
    ]
    assert said == [b"Pod/my-agent: injected\n"] * 3
    assert run("validate", "-f", "-", stdin=silent).stdout == (
        b"Pod/my-agent: skipped: not opted in\n"
    )
    no = POD.replace('"true"', '"false"').encode()
    refused = run("validate", "-f", "-", "--namespace-inject", "required", stdin=no)
    assert refused.returncode == 1
    pod = POD.replace("annotations:", "annotations:\n    thoughtgate.io/config: other").encode()
    assert run("validate", "-f", "-", stdin=pod).returncode == 1
    settings = tmp_path / "settings.yaml"
    text = (PODS.parents[2] / "manifests/base/settings.yaml").read_text()
    settings.write_text(text.replace('options.allowed: ""', "options.allowed: config"))
    allowed = run("validate", "-f", "-", "--settings", str(settings), stdin=pod)
    assert (allowed.returncode, allowed.stdout) == (0, b"Pod/my-agent: injected\n")


def test_a_workload_of_an_excluded_namespace_is_skipped() -> None:
    text = POD.replace("  name: my-agent", "  name: my-agent\n  namespace: kube-system")
    assert b"is excluded" in run("validate", "-f", "-", stdin=text.encode()).stdout


ROLLOUT = """apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: agent}
spec:
  template:
    metadata:
      annotations:
        thoughtgate.io/inject: "true"
    spec:
      containers:
        - {name: agent, image: x}
"""


@pytest.mark.parametrize("command", ["inject", "validate"])
def test_a_template_of_an_unknown_kind_is_left_with_words(command: str) -> None:
    line = "Rollout/agent: left to the webhook: the pod template at `spec.template` asks for"
    result = run(command, "-f", "-", stdin=ROLLOUT.encode())
    assert result.returncode == 0
    if command == "inject":
        assert result.stdout.decode() == ROLLOUT
        assert result.stderr.decode().startswith(f"warning: {line}")
    else:
        assert result.stdout.decode().startswith(line)
    strict = run(command, "-f", "-", "--strict", stdin=ROLLOUT.encode())
    assert strict.returncode == 1
    assert line in (strict.stdout + strict.stderr).decode()
    if command == "inject":
        assert strict.stdout == b""


@pytest.mark.parametrize(
    ("word", "namespace", "left"),
    [
        ('"true"', None, True),
        ('"flase"', None, True),
        ('"false"', None, False),
        ('"false"', "enabled", False),
        ('"false"', "required", True),
        (None, None, False),
        (None, "enabled", True),
    ],
)
def test_only_an_opted_in_template_is_spoken_of(
    word: str | None, namespace: str | None, left: bool
) -> None:
    text = (
        ROLLOUT.replace('"true"', word) if word else ROLLOUT.replace("thoughtgate.io/inject", "x")
    )
    label = ("--namespace-inject", namespace) if namespace else ()
    result = run("validate", "-f", "-", "--strict", *label, stdin=text.encode())
    assert (result.returncode, bool(result.stdout)) == (int(left), left)
