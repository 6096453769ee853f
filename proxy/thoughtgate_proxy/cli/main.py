"""The command `thoughtgate-proxy`: run the proxy, or work on its configuration offline."""

import argparse
import contextlib
import json
import os
import resource
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from thoughtgate_proxy.approvals.channels.catalog import CHANNELS
from thoughtgate_proxy.approvals.channels.channel import (
    ChannelReport,
    ChannelSettings,
    ChannelType,
    check_channels,
)
from thoughtgate_proxy.cli import approvals, explain
from thoughtgate_proxy.core.config.mistakes import ConfigNotKnown, ConfigRefused, Mistake
from thoughtgate_proxy.core.config.values import Config
from thoughtgate_proxy.core.config.workflows import WorkflowTypes
from thoughtgate_proxy.runtime.config_loader import Loaded, load, load_text

DEFAULT_CONFIG = "/etc/thoughtgate/config.yaml"


def main(
    arguments: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    channels: Mapping[str, ChannelType] = CHANNELS,
) -> int:
    """The command's exit code: 0 good, 1 refused, 2 wrong usage (raised by argparse).

    `explain` has more of them: `explain.EXIT`. `channels` are those that workflows may ask.
    """
    environ = os.environ if environ is None else environ
    parser = _parser()
    options, more = parser.parse_known_args(arguments)
    late = options.command == "explain" and options.name is None and len(more) == 1
    if late and not more[0].startswith("-"):
        # Before 3.12.7 argparse ends METHOD [NAME] at the first option that stands between them.
        options.name = more.pop()
    if more:
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    if options.command == "check":
        apart = None if options.apart else environ
        return _check(options.file, apart, channels, online=options.online)
    if options.command == "explain":
        return _explain(options, environ, channels)
    if options.command == "schema":
        return _schema(channels)
    if options.command == "approvals":
        return approvals.run(options)
    # Only now, as it brings the network's libraries, and `check` is to answer at once.
    from thoughtgate_proxy.app.process import run  # noqa: PLC0415

    config = options.config or environ.get("THOUGHTGATE_CONFIG") or DEFAULT_CONFIG
    _allow_connections()
    return run(Path(config), options.identity, environ, channels)


def _allow_connections() -> None:
    """Open as many files as the process may: some runtimes start it with 1024 at first."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # then what it has must do
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="thoughtgate-proxy", description=__doc__)
    parser.add_argument("--version", action=_Version, nargs=0, help="say the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="serve until SIGTERM")
    run.add_argument(
        "--config",
        metavar="FILE",
        help=f"the configuration (default: $THOUGHTGATE_CONFIG, else {DEFAULT_CONFIG})",
    )
    run.add_argument(
        "--identity",
        metavar="TEAM/APP",
        help="the principal outside of a cluster, where no pod labels tell it",
    )
    check = commands.add_parser(
        "check", help="say what is wrong with a configuration, without the network"
    )
    check.add_argument("file", metavar="FILE", help="the configuration; - for standard input")
    how = check.add_mutually_exclusive_group()
    how.add_argument(
        "--online",
        action="store_true",
        help="ask the channels too, as the environment of `run` says: of Slack the token, scopes, "
        "channels, approvers",
    )
    how.add_argument(
        "--apart",
        action="store_true",
        help="judge it apart from its pod: what only the pod has (variables without a default, "
        "files outside of the configuration's folder) is passed over with a warning",
    )
    explain.add_options(
        commands.add_parser("explain", help="say what would become of a call, and why, offline")
    )
    approvals.add_options(
        commands.add_parser("approvals", help="decide what waits on a pod's approvals page")
    )
    commands.add_parser("schema", help="print the configuration's JSON Schema, for editors")
    return parser


class _Version(argparse.Action):
    """Looks the version up only when asked, as that alone would load much of the network."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415

        print(f"thoughtgate-proxy {version('thoughtgate')}")
        parser.exit()


def _load(file: str, environ: Mapping[str, str] | None, channels: WorkflowTypes) -> Loaded | None:
    """The configuration, or None after saying every mistake."""
    try:
        if file == "-":
            return load_text(sys.stdin.buffer.read(), "<stdin>", Path(), environ, channels)
        return load(Path(file), environ, channels)
    except ConfigRefused as refused:
        for mistake in refused.mistakes:
            print(mistake, file=sys.stderr)
        count = len(refused.mistakes)
        print(f"{count} mistake{'s' if count != 1 else ''}", file=sys.stderr)
        return None


def _check(
    file: str,
    environ: Mapping[str, str] | None,
    channels: Mapping[str, ChannelType],
    *,
    online: bool,
) -> int:
    try:
        loaded = _load(file, environ, channels)
    except ConfigNotKnown as partly:
        _warn(partly.warnings)
        return 0
    if loaded is None:
        return 1
    _warn(loaded.warnings)
    reports: dict[str, ChannelReport] = {}
    if environ is not None:
        settings = ChannelSettings.of(environ, offline=True)
        reports = check_channels(loaded.config, channels, settings)
    _warn([Mistake(file, None, *each) for one in reports.values() for each in one.warnings])
    print(summary(loaded))
    if online and environ is not None:
        _check_online(loaded.config, environ, channels, reports)
    mistakes = [Mistake(file, None, *each) for one in reports.values() for each in one.mistakes]
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    return 1 if mistakes else 0


def _check_online(
    config: Config,
    environ: Mapping[str, str],
    channels: Mapping[str, ChannelType],
    reports: dict[str, ChannelReport],
) -> None:
    """Ask where humans are asked, and print what is well; mistakes go to `reports`."""
    for name, channel in channels.items():
        if channel.check_online is None or (name in reports and reports[name].mistakes):
            continue
        notes = ["no workflow asks there"]
        if name in reports:
            settings = ChannelSettings.of(environ)
            reports[name] = channel.check_online(config.workflows_of(name), settings)
            notes = reports[name].notes
        for note in notes:
            print(f"{f'{name}:':<11}{note}")


def _warn(warnings: Sequence[Mistake]) -> None:
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _explain(
    options: argparse.Namespace, environ: Mapping[str, str], channels: WorkflowTypes
) -> int:
    loaded = _load(options.file, environ, channels)
    if loaded is None:
        return 1
    try:
        code, text = explain.run(options, loaded)
    except explain.UsageError as error:
        options.refuse(str(error))
    print(text, file=sys.stderr if code == explain.BAD_ARGUMENTS else sys.stdout)
    return code


def _schema(channels: WorkflowTypes) -> int:
    # Only here: no other command needs it, and `run` pays for each import at every start.
    from thoughtgate_proxy.core.config.json_schema import json_schema  # noqa: PLC0415

    print(json.dumps(json_schema(channels), indent=2))
    return 0


def summary(loaded: Loaded) -> str:
    """What a configuration comes to, in a few lines."""
    config = loaded.config
    lines = [f"sources:   {_sources(config)}", f"rules:     {_rules(config)}"]
    lines.append(f"default:   {config.governance.defaults.action.value}")
    workflows = (f"{name} ({flow.adapter})" for name, flow in config.approval.items())
    lines.append(f"workflows: {', '.join(workflows) or 'none'}")
    lines.append(f"policies:  {len(loaded.policies.policies) or 'none'}")
    lines.append(f"digest:    {loaded.digest}")
    return "\n".join(lines)


def _sources(config: Config) -> str:
    return ", ".join(
        f"{source.id} ({source.url})" if source.enabled else f"{source.id} (not enabled)"
        for source in config.sources
    )


def _rules(config: Config) -> str:
    counts = Counter(rule.action.value for rule in config.governance.rules)
    each = ", ".join(f"{count} {action}" for action, count in sorted(counts.items()))
    return f"{len(config.governance.rules)} ({each})" if each else "none"


if __name__ == "__main__":
    sys.exit(main())
