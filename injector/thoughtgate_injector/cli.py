"""The command line: `thoughtgate-injector run` and `thoughtgate-injector inject`."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from thoughtgate_injector import offline, settings_source
from thoughtgate_injector.core import names
from thoughtgate_injector.core.refusal import Refusal, refused, shown
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.core.verdict import Entry

_NAMESPACES = {"enabled": Entry.NAMESPACE, "true": Entry.NAMESPACE, "required": Entry.REQUIRED}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 is success, 1 a refusal with its reasons on stderr, 2 a wrong call."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.command == "inject":
        return _inject(chosen)
    if chosen.command == "run":
        return _run(chosen)
    parser.print_help()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="thoughtgate-injector",
        description="Puts the ThoughtGate sidecar into the pods that ask for it.",
    )
    parser.add_argument("--version", action="version", version=version("thoughtgate"))
    commands = parser.add_subparsers(dest="command", metavar="command")

    run = commands.add_parser(
        "run", help="serve the admission webhook in a cluster", description=_run.__doc__
    )
    run.add_argument(
        "--settings",
        metavar="PATH",
        type=Path,
        default=Path(names.SETTINGS_DIR),
        help="the operator's settings: the mounted ConfigMap's folder, or the ConfigMap in a file",
    )
    run.add_argument("--port", type=int, default=names.WEBHOOK_PORT, help="for reviews, over TLS")
    run.add_argument(
        "--health-port", type=int, default=names.HEALTH_PORT, help="for probes and metrics"
    )

    inject = commands.add_parser(
        "inject",
        help="print manifests with the sidecar in them, without a cluster",
        description=_inject.__doc__,
    )
    inject.add_argument(
        "-f", "--filename", metavar="FILE", required=True, help="YAML or JSON; `-` is stdin"
    )
    inject.add_argument(
        "--settings",
        metavar="PATH",
        type=Path,
        help="the operator's settings: their ConfigMap in a file (default: as shipped)",
    )
    inject.add_argument(
        "--namespace-inject",
        choices=sorted(_NAMESPACES),
        help="what the label thoughtgate.io/inject of the target namespace says (default: none)",
    )
    return parser


def _inject(chosen: argparse.Namespace) -> int:
    """Print the manifests; where a pod is refused print nothing but the reasons, on stderr."""
    found = settings_source.load(chosen.settings) if chosen.settings is not None else Settings()
    if isinstance(found, Refusal):
        return _refuse(found)
    text = _text(chosen.filename)
    if isinstance(text, Refusal):
        return _refuse(text)
    reviewer = Reviewer(found, version("thoughtgate"))
    result = offline.inject(text, reviewer, _NAMESPACES.get(chosen.namespace_inject))
    if isinstance(result, Refusal):
        return _refuse(result)
    for warning in result.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    sys.stdout.buffer.write(result.text.encode())
    sys.stdout.buffer.flush()
    return 0


def _run(chosen: argparse.Namespace) -> int:
    """Serve admission reviews until SIGTERM."""
    # Only here: kopf and the Kubernetes client take longer to load than `inject` takes to run.
    from thoughtgate_injector import app  # noqa: PLC0415

    found = settings_source.load(chosen.settings)
    if isinstance(found, Refusal):
        return _refuse(found)
    return app.run(found, port=chosen.port, health_port=chosen.health_port)


def _text(name: str) -> str | Refusal:
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return content.decode()
    except OSError as error:
        return refused(f"{shown(name)} cannot be read: {(error.strerror or '').lower()}")
    except UnicodeDecodeError as error:
        return refused(f"{shown(name)} is not UTF-8: {error.reason}")


def _refuse(refusal: Refusal) -> int:
    for reason in refusal.reasons:
        print(f"error: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
