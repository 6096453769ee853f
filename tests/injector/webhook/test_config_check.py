"""The proxy's own check, run as a process with limits."""

import asyncio
import sys
from pathlib import Path

import pytest
import yaml

from tests.harness.wait import run
from thoughtgate_injector.core import config_map
from thoughtgate_injector.core.config_map import ConfigFiles
from thoughtgate_injector.webhook import config_check
from thoughtgate_injector.webhook.config_check import CheckFailure, CheckResult, ConfigChecker

EXAMPLE = yaml.safe_load(
    (Path(__file__).parents[3] / "examples" / "config.yaml").read_text(encoding="utf-8")
)
MINIMAL = (
    b"schema: 1\nsources: [{id: a, url: 'http://a'}]\ngovernance: {defaults: {action: deny}}\n"
)


def files(config: bytes = MINIMAL, **beside: bytes) -> ConfigFiles:
    return ConfigFiles(config, beside)


def python(script: str) -> tuple[str, ...]:
    return (sys.executable, "-c", script)


@run
async def test_the_example_is_good_with_its_policies_and_has_a_warning() -> None:
    example = config_map.read(EXAMPLE)
    assert isinstance(example, ConfigFiles)
    checked = await ConfigChecker(limit=60.0).check(example)
    assert isinstance(checked, CheckResult)
    assert checked.mistakes == ()
    assert [line.split(": ")[1] for line in checked.warnings] == ["approval.default"]
    assert checked.warnings[0].startswith("config.yaml:")


@run
async def test_all_mistakes_come_with_the_files_names_as_in_the_configmap() -> None:
    config = MINIMAL.replace(b"deny", b"policy") + b"cedar: {policies: [a.cedar]}\nzzz: 1\n"
    checked = await ConfigChecker(limit=60.0).check(
        ConfigFiles(config, {"a.cedar": b"permit(principal);"})
    )
    assert isinstance(checked, CheckResult)
    assert [line.partition(": ")[0] for line in checked.mistakes] == [
        "config.yaml:5:1",
        checked.mistakes[1].partition(": ")[0],
    ]
    assert checked.mistakes[1].startswith("a.cedar:1:")


@run
async def test_the_pods_variables_and_the_injectors_files_are_no_mistake_and_not_read() -> None:
    config = MINIMAL.replace(b"http://a", b"${URL}").replace(b"deny", b"policy")
    checked = await ConfigChecker(limit=60.0).check(
        files(config + b"cedar: {policies: [/etc/passwd]}\n")
    )
    assert isinstance(checked, CheckResult)
    assert checked.mistakes == ()
    assert len(checked.warnings) == 2
    assert "root:" not in "".join(checked.warnings)


@run
async def test_a_key_that_is_a_modules_name_is_not_imported(tmp_path: Path) -> None:
    mark = tmp_path / "imported"
    evil = f"open({str(mark)!r}, 'w')\n".encode()
    beside = {f"{name}.py": evil for name in ("yaml", "argparse", "sitecustomize", "cedarpy")}
    assert await ConfigChecker(limit=60.0).check(ConfigFiles(MINIMAL, beside)) == CheckResult(
        (), ()
    )
    assert not mark.exists()


@run
async def test_the_injectors_environment_stays_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_INJECTOR", "x")
    script = "import os, sys; print(sorted(os.environ), file=sys.stderr)"
    checked = await ConfigChecker(python(script), limit=60.0).check(files())
    assert isinstance(checked, CheckResult)
    assert "SECRET" not in checked.warnings[0]


@run
async def test_what_takes_too_long_is_ended_and_not_checked() -> None:
    script = "import os, sys, time; print(os.getpid(), flush=True, file=sys.stderr); time.sleep(60)"
    result = await ConfigChecker(python(script), limit=1).check(files())
    assert result == CheckFailure("the check took longer than 1 s")
    pattern = b"print(os.getpid(), flush=True"
    assert not _running(pattern)


def _running(pattern: bytes) -> list[Path]:
    return [each for each in Path("/proc").iterdir() if pattern in _command(each)]


def _command(process: Path) -> bytes:
    try:
        # An ended process that is not yet reaped has no command line any more.
        return (process / "cmdline").read_bytes() if process.name.isdigit() else b""
    except OSError:
        return b""


@run
async def test_what_needs_too_much_memory_is_not_checked() -> None:
    script = "import sys; sys.stdin.read(); b'x' * (256 << 20)"
    result = await ConfigChecker(python(script), limit=60.0).check(files())
    assert isinstance(result, CheckFailure)
    assert "memory" in result.reason


@run
async def test_no_more_is_read_than_the_limit_of_output() -> None:
    script = "import sys; sys.stderr.write('mistake\\n' * 1_000_000); sys.exit(1)"
    result = await ConfigChecker(python(script), limit=60.0).check(files())
    assert isinstance(result, CheckResult)
    assert sum(map(len, result.mistakes)) <= config_check.OUTPUT
    assert result.mistakes[-1] == "more mistakes follow"


@run
async def test_input_that_nobody_reads_is_no_failure() -> None:
    result = await ConfigChecker(python("pass"), limit=60.0).check(files(b"x" * (1 << 20)))
    assert result == CheckResult((), ())


@run
async def test_a_program_that_is_missing_is_said() -> None:
    result = await ConfigChecker(("/nowhere",), limit=60.0).check(files())
    assert result == CheckFailure("the check could not be run: no such file or directory")


@run
async def test_two_run_at_once_some_wait_and_the_rest_is_not_checked(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = (
        "import sys, time\n"
        f"log = open({str(log)!r}, 'a')\n"
        "print('+', file=log, flush=True)\n"
        f"while open({str(log)!r}).read().count('+') < {config_check.AT_ONCE}: time.sleep(0.01)\n"
        "time.sleep(0.1)  # for those that would be too many\n"
        "print('-', file=log, flush=True)"
    )
    checker = ConfigChecker(python(script), limit=30)
    results = await asyncio.gather(
        *(checker.check(files()) for _ in range(config_check.WAITING + 3))
    )
    assert results.count(CheckFailure("too many configurations at once")) == 3
    assert results.count(CheckResult((), ())) == config_check.WAITING
    running, most = 0, 0
    for sign in log.read_text().split():
        running += 1 if sign == "+" else -1
        most = max(most, running)
    assert (running, most) == (0, config_check.AT_ONCE)
