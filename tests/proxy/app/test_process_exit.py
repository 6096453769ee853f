"""A proxy that cannot start ends with the reason, for `kubectl describe` to show."""

import os
import subprocess
import sys

import pytest

_KUBELET_BYTES = 2048  # what FallbackToLogsOnError keeps: the end of both streams


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        ({"THOUGHTGATE_ADMIN_PORT": "tcp://10.0.0.1:80"}, "THOUGHTGATE_ADMIN_PORT: `tcp://"),
        ({"THOUGHTGATE_CONFIG": "/nowhere/config.yaml"}, "/nowhere/config.yaml"),
    ],
)
def test_the_last_line_of_the_log_says_why(env: dict[str, str], reason: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "thoughtgate_proxy.cli.main", "run", "--identity", "team/app"],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    line = ended.stdout[-_KUBELET_BYTES:].decode().splitlines()[-1]
    assert reason in line
    assert not line.startswith("{")
