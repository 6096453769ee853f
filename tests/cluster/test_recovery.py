"""Nothing is left behind: neither by a good end nor, at the next start, by a crash."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster import cluster, exclusive
from tests.cluster.configuration import PAUSE_IMAGE

# Somebody else's cluster may have to end first.
pytestmark = [pytest.mark.node, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
TRACES = [
    "containerd-shim", "mount /tmp/thoughtgate-cluster-", "link thoughtgate0", "KUBE-SERVICES",
    "cgroup", "file /var/lib/kubelet", "ip_forward 1",
]  # fmt: skip


@pytest.fixture(autouse=True)
def nobody_elses_cluster() -> None:
    """These tests need the machine to be without a cluster."""
    try:
        cluster.check_possible()
    except cluster.ClusterUnavailableError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no cluster, and CI=true demands one: {error}", pytrace=False)
        pytest.skip(f"no cluster: {error}")


def machine() -> set[str]:
    """What a cluster could leave, found without the harness's own eyes."""
    names = re.compile(r"thoughtgate-cluster|thoughtgate0|containerd|kube|cni|veth")
    mounts = Path("/proc/self/mountinfo").read_text()
    found = {f"mount {line.split()[4]}" for line in mounts.splitlines()}
    found |= {f"link {path.name}" for path in Path("/sys/class/net").iterdir()}
    for family in ("iptables", "ip6tables"):
        rules = subprocess.check_output([f"{family}-save"], text=True).splitlines()
        found |= {f"{family} {rule}" for rule in rules if rule.startswith("-A") or "KUBE" in rule}
    for switch in ("net/ipv4/ip_forward", "vm/overcommit_memory", "kernel/panic_on_oops"):
        found.add(f"{switch} {(Path('/proc/sys') / switch).read_text()}")
    for root in ("/tmp", "/run", "/run/lock", "/var/lib", "/var/log", "/usr/libexec", "/run/netns"):
        found |= {f"file {file}" for file in Path(root).glob("*") if names.search(file.name)}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        # The API server of other tests, which may run beside these, is no part of a cluster.
        beside = "/thoughtgate-api-" in words
        if re.search(r"node-binary|dns-binary|containerd|/pause", words) and not beside:
            found.add(f"process {process.name} {words}")
    cgroups = Path("/sys/fs/cgroup")
    return found | {f"cgroup {path}" for path in cgroups.glob("**/") if names.search(path.name)}


@contextmanager
def started() -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """`make cluster` in a script's background, and the environment that it tells of."""
    # What a shell does there: the program begins with SIGINT ignored.
    background = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    command = [*background, sys.executable, "-m", "tests.cluster", "--without-images"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line.startswith("export KUBECONFIG="), "it ended before it was up"
            told = re.fullmatch(r"export KUBECONFIG=(\S+) PATH=(\S+):\$PATH\n", line)
            assert told
            yield process, {"KUBECONFIG": told[1], "PATH": f"{told[2]}:{os.environ['PATH']}"}
        finally:
            process.kill()


def run_a_pod(env: dict[str, str]) -> None:
    """A pod of the only image that is always there."""
    run = ["kubectl", "run", "idle", f"--image={PAUSE_IMAGE}", "--image-pull-policy=Never"]
    subprocess.run(run, env={**os.environ, **env}, check=True, stdout=subprocess.DEVNULL)
    wait = ["kubectl", "wait", "--for=condition=Ready", "pod/idle", "--timeout=60s"]
    subprocess.run(wait, env={**os.environ, **env}, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_nothing_is_left_after_a_crash_and_the_next_run(number: signal.Signals) -> None:
    with exclusive.alone(print):  # nor does another test run's cluster come and go meanwhile
        before = machine()
    with started() as (process, env):
        run_a_pod(env)
        process.send_signal(signal.SIGKILL)
        process.wait()
        until_gone(lambda: [line for line in machine() if "node-binary" in line])
    crashed = machine() - before
    for trace in TRACES:
        assert any(trace in line for line in crashed), f"a crash leaves no {trace}: is this blind?"
    with started() as (process, env):
        run_a_pod(env)
        process.send_signal(number)
        assert process.wait(timeout=60) == 0, "it ends as it is told"
    with exclusive.alone(print):
        after = machine()
    assert after - before == set()
    assert before - after == set()


def until_gone(what: Callable[[], list[str]], limit: float = 60) -> None:
    """Waits until nothing of this is left."""
    deadline = time.monotonic() + limit
    while there := what():
        assert time.monotonic() < deadline, f"still there: {there}"
        time.sleep(0.05)
