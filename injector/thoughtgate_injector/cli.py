"""The command line: `thoughtgate-injector COMMAND`."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from thoughtgate_injector import settings_file
from thoughtgate_injector.core import names
from thoughtgate_injector.core.pod_summary import SidecarState
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.offline import commands

_EVICTED = (SidecarState.MISSING.value, SidecarState.OUTDATED.value)
_EVICTION_INTERVAL = 30.0  # seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 is success, 1 a refusal with its reasons on stderr, 2 a wrong call."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.command is None:
        parser.print_help()
        return 0
    code: int = chosen.run(chosen)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="thoughtgate-injector",
        description="Puts the ThoughtGate sidecar into the pods that ask for it.",
    )
    parser.add_argument("--version", action="version", version=version("thoughtgate"))
    subparsers = parser.add_subparsers(dest="command", metavar="command")

    run = subparsers.add_parser(
        "run", help="serve the admission webhook in a cluster", description=_run.__doc__
    )
    _add_settings(run)
    run.add_argument("--port", type=int, default=names.WEBHOOK_PORT, help="for reviews, over TLS")
    _add_health_port(run)
    run.set_defaults(run=_run)

    watch = subparsers.add_parser(
        "watch",
        help="look for opted-in pods without the sidecar, or with an old one",
        description=_watch.__doc__,
    )
    _add_settings(watch)
    _add_health_port(watch)
    watch.add_argument(
        "--evict",
        choices=sorted(_EVICTED),
        action="append",
        default=[],
        help="evict pods of controllers that are so; may be given again (default: none)",
    )
    watch.add_argument(
        "--eviction-interval",
        metavar="SECONDS",
        type=_seconds,
        default=_EVICTION_INTERVAL,
        help="between two evictions (default: %(default)s)",
    )
    watch.set_defaults(run=_watch)

    outdated = subparsers.add_parser(
        "outdated",
        help="list the workloads to restart, as commands of kubectl",
        description=_outdated.__doc__,
    )
    outdated.add_argument(
        "--settings",
        metavar="PATH",
        type=Path,
        help="the operator's settings (default: as mounted, else their ConfigMap in the cluster)",
    )
    outdated.add_argument("--context", metavar="NAME", help="of the kubeconfig")
    outdated.set_defaults(run=_outdated)
    commands.add_commands(subparsers)
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--settings",
        metavar="PATH",
        type=Path,
        default=Path(names.SETTINGS_DIR),
        help="the operator's settings: the mounted ConfigMap's folder, or the ConfigMap in a file",
    )


def _add_health_port(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--health-port", type=int, default=names.HEALTH_PORT, help="for probes and metrics"
    )


def _run(chosen: argparse.Namespace) -> int:
    """Serve admission reviews until SIGTERM."""
    # Only here: kopf and the Kubernetes client take longer to load than `inject` takes to run.
    from thoughtgate_injector import app  # noqa: PLC0415

    found = settings_file.load(chosen.settings)
    if isinstance(found, Refusal):
        return commands.fail(found.reasons)
    return app.run(found, port=chosen.port, health_port=chosen.health_port)


def _watch(chosen: argparse.Namespace) -> int:
    """Watch all pods until SIGTERM; say in events and metrics which ones are not as they ask."""
    from thoughtgate_injector.watchdog import process  # noqa: PLC0415 - as above

    found = settings_file.load(chosen.settings)
    if isinstance(found, Refusal):
        return commands.fail(found.reasons)
    return process.run(
        found,
        evict=frozenset(SidecarState(name) for name in chosen.evict),
        interval=chosen.eviction_interval,
        health_port=chosen.health_port,
    )


def _outdated(chosen: argparse.Namespace) -> int:
    """Print a command for each workload whose pods have no sidecar, or not today's."""
    from thoughtgate_injector.watchdog import process  # noqa: PLC0415 - as above

    mounted = Path(names.SETTINGS_DIR)
    path = chosen.settings or (mounted if mounted.is_dir() else None)
    found = settings_file.load(path) if path is not None else None
    if isinstance(found, Refusal):
        return commands.fail(found.reasons)
    return process.outdated(found, chosen.context)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds < float("inf"):
        raise ValueError(text)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
