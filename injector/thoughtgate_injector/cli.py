"""The command line: `thoughtgate-injector COMMAND`."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from thoughtgate_injector import settings_file
from thoughtgate_injector.console import fail
from thoughtgate_injector.core import names
from thoughtgate_injector.core.pod_summary import SidecarState
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.verdict import Entry
from thoughtgate_injector.offline import commands

_EVICTED: Final = (SidecarState.MISSING.value, SidecarState.OUTDATED.value)
_EVICTION_INTERVAL: Final = 30.0  # seconds
NAMESPACES: Final = {
    "enabled": Entry.NAMESPACE,
    "true": Entry.NAMESPACE,
    "required": Entry.REQUIRED,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0 for success, 1 for a refusal, 2 for a usage error."""
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

    def command(name: str, run: Callable[[Any], int], help_text: str) -> argparse.ArgumentParser:
        made = subparsers.add_parser(name, help=help_text, description=run.__doc__)
        made.set_defaults(run=run)
        return made

    run = command("run", _run, "serve the admission webhook in a cluster")
    _add_mounted_settings(run)
    run.add_argument("--port", type=int, default=names.WEBHOOK_PORT, help="for reviews, over TLS")
    _add_health_port(run)

    watch = command(
        "watch", _watch, "look for opted-in pods without the sidecar, or with an old one"
    )
    _add_mounted_settings(watch)
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

    outdated = command(
        "outdated", _outdated, "list the workloads to restart, as commands of kubectl"
    )
    where = "the operator's settings (default: as mounted, else their ConfigMap in the cluster)"
    _add_settings(outdated, None, where)
    outdated.add_argument("--context", metavar="NAME", help="of the kubeconfig")

    inject = command(
        "inject", _inject, "print manifests with the sidecar in them, without a cluster"
    )
    _add_files(inject)
    _add_namespace(inject)
    uninject = command(
        "uninject", _uninject, "print manifests without the injected sidecar, as they were before"
    )
    _add_files(uninject)
    validate = command(
        "validate", _validate, "say what the webhooks would say of manifests, without a cluster"
    )
    _add_files(validate)
    _add_namespace(validate)
    return parser


def _add_settings(parser: argparse.ArgumentParser, default: Path | None, where: str) -> None:
    parser.add_argument("--settings", metavar="PATH", type=Path, default=default, help=where)


def _add_mounted_settings(parser: argparse.ArgumentParser) -> None:
    where = "the operator's settings: the mounted ConfigMap's folder, or the ConfigMap in a file"
    _add_settings(parser, Path(names.SETTINGS_DIR), where)


def _add_health_port(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--health-port", type=int, default=names.HEALTH_PORT, help="for probes and metrics"
    )


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f",
        "--filename",
        metavar="FILE",
        required=True,
        action="append",
        help="YAML or JSON, or a folder of such files; `-` is stdin; may be given again",
    )


def _add_namespace(parser: argparse.ArgumentParser) -> None:
    where = "the operator's settings: their ConfigMap in a file (default: as shipped)"
    _add_settings(parser, None, where)
    parser.add_argument(
        "--namespace-inject",
        choices=sorted(NAMESPACES),
        help="what the label thoughtgate.io/inject of the target namespace says (default: none)",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="fail where an opted-in template is of a kind that is not known here",
    )


def _run(chosen: argparse.Namespace) -> int:
    """Serve admission reviews until SIGTERM."""
    # Imported late: kopf and the Kubernetes client take longer to load than `inject` to run.
    from thoughtgate_injector import app  # noqa: PLC0415

    found = settings_file.load(chosen.settings)
    if isinstance(found, Refusal):
        return fail(found.reasons)
    return app.run(found, port=chosen.port, health_port=chosen.health_port)


def _watch(chosen: argparse.Namespace) -> int:
    """Watch all pods until SIGTERM; report opted-in pods without a current sidecar."""
    from thoughtgate_injector.watchdog import process  # noqa: PLC0415 - as above

    found = settings_file.load(chosen.settings)
    if isinstance(found, Refusal):
        return fail(found.reasons)
    return process.run(
        found,
        evict=frozenset(SidecarState(name) for name in chosen.evict),
        interval=chosen.eviction_interval,
        health_port=chosen.health_port,
    )


def _outdated(chosen: argparse.Namespace) -> int:
    """Print a command for each workload whose pods have no sidecar, or an outdated one."""
    from thoughtgate_injector.watchdog import process  # noqa: PLC0415 - as above

    mounted = Path(names.SETTINGS_DIR)
    path = chosen.settings or (mounted if mounted.is_dir() else None)
    found = settings_file.load(path) if path is not None else None
    if isinstance(found, Refusal):
        return fail(found.reasons)
    return process.outdated(found, chosen.context)


def _inject(chosen: argparse.Namespace) -> int:
    """Print the injected manifests; if a pod is refused, print only the reasons, on stderr."""
    namespace = NAMESPACES.get(chosen.namespace_inject)
    return commands.inject(chosen.filename, chosen.settings, namespace, strict=chosen.strict)


def _uninject(chosen: argparse.Namespace) -> int:
    """Print the manifests without the sidecar; if a status annotation is invalid, only why."""
    return commands.uninject(chosen.filename)


def _validate(chosen: argparse.Namespace) -> int:
    """Print a line for each pod, template and ConfigMap; exit 1 if one is refused or unchecked."""
    namespace = NAMESPACES.get(chosen.namespace_inject)
    return commands.validate(chosen.filename, chosen.settings, namespace, strict=chosen.strict)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds < float("inf"):
        raise ValueError(text)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
