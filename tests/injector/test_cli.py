"""The command line, as a process."""

import subprocess
import sys
from pathlib import Path

import pytest

PODS = Path(__file__).parent / "pods"


def run(*arguments: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "thoughtgate_injector.cli", *arguments],
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_inject_prints_the_patched_pod_and_takes_its_own_output() -> None:
    once = run("inject", "-f", str(PODS / "minimal.yaml"))
    assert (once.returncode, once.stderr) == (0, b"")
    assert b"name: thoughtgate\n" in once.stdout
    twice = run("inject", "-f", "-", stdin=once.stdout)
    assert (twice.returncode, twice.stdout) == (0, once.stdout)


def test_a_refused_pod_prints_nothing_but_the_reason() -> None:
    result = run("inject", "-f", str(PODS / "refused/misspelt-word.yaml"))
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr == (
        b"error: Pod/a: annotation `thoughtgate.io/inject` is `flase`; allowed: `true`, `false`, "
        b"as a string in quotes\n"
    )


@pytest.mark.parametrize("stdin", [b"a: [", b"\xff\xfe", b"a: 1\na: 2"])
def test_bad_input_prints_nothing_but_the_reason(stdin: bytes) -> None:
    result = run("inject", "-f", "-", stdin=stdin)
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.startswith(b"error: ")
    assert b"Traceback" not in result.stderr


def test_a_missing_file_is_said_by_name() -> None:
    result = run("inject", "-f", "/nowhere.yaml")
    assert result.returncode == 1
    assert result.stderr == b"error: `/nowhere.yaml` cannot be read: no such file or directory\n"


def test_settings_are_read_and_all_their_mistakes_said(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("kind: ConfigMap\ndata: {sidecar.images: 'other:v9 old:v8'}\n")
    pod = str(PODS / "minimal.yaml")
    assert b"image: other:v9" in run("inject", "--settings", str(settings), "-f", pod).stdout
    settings.write_text("kind: ConfigMap\ndata: {sidecar.imge: x, options.allowed: x}\n")
    result = run("inject", "--settings", str(settings), "-f", pod)
    assert (result.returncode, result.stdout) == (1, b"")
    assert len(result.stderr.splitlines()) == 2
    started = run("run", "--settings", str(settings))
    assert (started.returncode, started.stderr) == (1, result.stderr)


def test_settings_are_read_from_the_folder_of_a_mounted_config_map(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "sidecar.images").write_text("other:v9\n")
    pod = str(PODS / "minimal.yaml")
    assert b"image: other:v9" in run("inject", "--settings", str(tmp_path), "-f", pod).stdout


@pytest.mark.parametrize("text", ["a: [", "[]", "kind: Pod", "kind: ConfigMap\ndata: {x: 1}"])
def test_settings_that_are_no_config_map_are_refused(tmp_path: Path, text: str) -> None:
    (settings := tmp_path / "settings.yaml").write_text(text)
    result = run("run", "--settings", str(settings))
    assert result.returncode == 1
    assert result.stderr.startswith(b"error: the settings")


def test_help_is_printed_without_a_command() -> None:
    result = run()
    assert result.returncode == 0
    assert b"inject" in result.stdout


def test_run_outside_a_cluster_says_so(tmp_path: Path) -> None:
    result = run("run", "--settings", str(tmp_path))
    assert result.returncode == 1
    assert b"no pod with a service account" in result.stderr
