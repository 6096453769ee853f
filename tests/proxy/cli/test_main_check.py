"""The command line: what it prints, where, and with which exit code."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proxy.core.config.test_reading import CONFIGS, MINIMAL
from thoughtgate_proxy.cli.main import main

REFERENCE = CONFIGS / "reference.yaml"


def test_a_good_file_is_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(REFERENCE)], {}) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[:5] == [
        "sources:   upstream (http://mcp-server:3000)",
        "rules:     3 (2 approve, 1 deny)",
        "default:   forward",
        "workflows: default (slack)",
        "policies:  none",
    ]
    assert err == (
        f"warning: {REFERENCE}:21:5: approval.default: no `approvers`: anyone in the channel may "
        "decide\n"
    )


def test_all_mistakes_go_to_standard_error_like_a_compilers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(MINIMAL + b"zzz: 1\naudit: {arguments: x}\n")
    assert main(["check", str(path)], {}) == 1
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0].startswith(f"{path}:4:1: zzz: unknown key; allowed: ")
    assert lines[1].startswith(f"{path}:5:20: audit.arguments: found `x`; allowed: ")
    assert lines[2:] == ["2 mistakes"]


def test_one_mistake_is_no_plural(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "none")], {}) == 1
    assert capsys.readouterr().err == f"{tmp_path}/none: no such file\n1 mistake\n"


def test_standard_input_is_read_with_paths_from_the_current_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = MINIMAL.replace(b"deny", b"policy") + b"cedar: {policies: transfer.cedar}\n"
    monkeypatch.chdir(CONFIGS)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert main(["check", "-"], {}) == 0
    assert "policies:  2" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [[], ["check"], ["check", "a", "b"], ["chek", "a"], ["run", "--colour"]]
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments, {})
    assert stopped.value.code == 2


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"], {})
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith("thoughtgate-proxy ")


def test_checking_loads_nothing_of_the_network() -> None:
    code = (
        "import sys; from thoughtgate_proxy.cli.main import main; "
        f"main(['check', {str(REFERENCE)!r}], {{}}); "
        "print([m for m in ('aiohttp', 'asyncio', 'ssl', 'socket') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def check_apart(text: bytes, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-I", "-m", "thoughtgate_proxy.cli.main", "check", "--apart", "-"],
        input=text.decode(),
        cwd=folder,
        env={"TOKEN": "x", "HOST": "http://other"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_apart_from_the_pod_its_variables_are_warnings(tmp_path: Path) -> None:
    headers = b"headers: {authorization: {env: TOKEN}, x-a: '${A}', x-b: '${B:-b}'}"
    good = MINIMAL.replace(b"'http://a'", b"'http://a', " + headers)
    result = check_apart(good, tmp_path)
    assert (result.returncode, result.stdout) == (0, "")
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == ["warning"] * 2
    assert "the variable `TOKEN` is not known here" in result.stderr
    assert "the variable `A` is not known here" in result.stderr
    # A default is what it will be, most likely: it is judged.
    bad = check_apart(MINIMAL.replace(b"http://a", b"${HOST:-a b}"), tmp_path)
    assert bad.returncode == 1
    assert "`${HOST:-a b}`" in bad.stderr
    # Mistakes beside it are still found.
    both = check_apart(good + b"zzz: 1\n", tmp_path)
    assert (both.returncode, both.stderr.splitlines()[-1]) == (1, "1 mistake")


@pytest.mark.parametrize("key", ["policies", "schema"])
@pytest.mark.parametrize("path", ["/etc/passwd", "../secret", "a/../../secret", "/etc/pass*"])
def test_apart_from_the_pod_no_file_of_the_machine_is_read(
    key: str, path: str, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("root:x:")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "a.cedar").write_text("permit(principal, action, resource);")
    policies = "" if key == "policies" else "policies: a.cedar, "
    text = MINIMAL.replace(b"deny", b"policy") + f"cedar: {{{policies}{key}: {path}}}\n".encode()
    result = check_apart(text, tmp_path / "inside")
    assert "root:" not in result.stderr
    assert f"`{path}` lies outside of the configuration's folder" in result.stderr
    assert result.returncode == 0


def test_apart_from_the_pod_files_beside_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_text("permit(principal, action);")
    text = MINIMAL.replace(b"deny", b"policy") + b"cedar: {policies: '*.cedar'}\n"
    result = check_apart(text, tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("a.cedar:1:")


PAGED = b"""schema: 1
sources: [{id: up, url: "http://127.0.0.1:9"}]
governance: {defaults: {action: approve}}
approval: {default: {adapter: page, approvers: [anna, zoe]}}
"""


def test_the_pages_tokens_are_checked_where_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, tokens = tmp_path / "c.yaml", tmp_path / "tokens"
    path.write_bytes(PAGED)
    # Outside of the pod nobody knows.
    assert main(["check", str(path)], {}) == 0
    assert capsys.readouterr().err == ""
    environ = {"THOUGHTGATE_APPROVER_TOKENS": str(tokens)}
    assert main(["check", str(path)], environ) == 1
    assert f"approval.default.adapter: the page needs `{tokens}`" in capsys.readouterr().err
    assert main(["check", "--apart", str(path)], environ) == 0
    tokens.write_text("anna:5f0c2f9b1e7d4a68b2c1\n")
    capsys.readouterr()
    assert main(["check", str(path)], environ) == 0
    assert "approval.default.approvers: `zoe` has no token" in capsys.readouterr().err
