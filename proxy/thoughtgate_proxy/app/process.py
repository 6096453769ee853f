"""The proxy's process: every part is built here, once, from the top to the bottom."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from thoughtgate_proxy.app import drain
from thoughtgate_proxy.app.approvals import Approvals
from thoughtgate_proxy.app.request_metrics import RequestMetrics, new_correlation_id
from thoughtgate_proxy.approvals.channels.catalog import CHANNELS
from thoughtgate_proxy.approvals.channels.channel import ChannelSettings, ChannelType
from thoughtgate_proxy.core.config.mistakes import ConfigRefused, Mistake
from thoughtgate_proxy.core.config.values import KIB, MIB, Limits
from thoughtgate_proxy.core.memory_budget import Budget
from thoughtgate_proxy.core.policy.cedar import PolicySet
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.policy.identity import Identity, IdentityRefused
from thoughtgate_proxy.gateway.gateway import ActiveConfig, Gateway
from thoughtgate_proxy.listeners.admin import Admin
from thoughtgate_proxy.listeners.approvals.server import ApprovalsPage
from thoughtgate_proxy.listeners.server import HttpServer, ParserTooLax, listen, port_of
from thoughtgate_proxy.listeners.service import ClientTimeouts, Service, Uncounted
from thoughtgate_proxy.runtime import config_loader, pod_identity
from thoughtgate_proxy.runtime.config_loader import Loaded
from thoughtgate_proxy.runtime.config_watcher import ConfigWatcher
from thoughtgate_proxy.runtime.memory_limit import TooLittleMemory, budget_bytes
from thoughtgate_proxy.runtime.settings import Settings, SettingsRefused, read_settings
from thoughtgate_proxy.telemetry.log import Level, Log
from thoughtgate_proxy.telemetry.metrics import Metrics
from thoughtgate_proxy.telemetry.record import Record
from thoughtgate_proxy.telemetry.timed import TimedPolicies
from thoughtgate_proxy.upstream.credentials import CredentialMissing
from thoughtgate_proxy.upstream.pool import UpstreamPool
from thoughtgate_proxy.upstream.tls import TrustMissing

# Nothing that is asked there has a body.
_ADMIN_LIMITS = Limits(request_body_bytes=KIB, header_block_bytes=8 * KIB, connections=32)
_ADMIN_TIMEOUTS = ClientTimeouts(idle=30.0, head=5.0, body=5.0, linger=1.0)
_ADMIN_BYTES = 2 * MIB
_ADMIN_HOSTS = ("0.0.0.0", "::")  # noqa: S104  the kubelet and Prometheus come from outside


def run(
    config_path: Path,
    identity: str | None,
    environ: Mapping[str, str],
    channels: Mapping[str, ChannelType] = CHANNELS,
) -> int:
    """Serve until SIGTERM or SIGINT. Gives the exit code: 0, or 1 if nothing could be started.

    `identity` is `team/app` where there is no pod to ask; `channels` are those that workflows may
    ask.
    """
    try:
        settings = read_settings(environ)
        principal = pod_identity.establish(settings, identity)
        read_at = time.time()
        loaded = config_loader.load(config_path, environ, channels)
        process = _Process(config_path, environ, settings, principal, channels, loaded)
        return uvloop.run(process.serve(read_at))
    except (SettingsRefused, ConfigRefused) as refused:
        mistakes = refused.mistakes
        return _refuse([one if isinstance(one, str) else one.logged for one in mistakes])
    except (IdentityRefused, ParserTooLax, TooLittleMemory) as refused:
        return _refuse([str(refused)])
    except OSError as error:
        return _refuse([f"cannot listen: {error.strerror or error}"])


def _refuse(mistakes: list[str]) -> int:
    log = Log(time.time)
    log.event("cannot start", Level.ERROR, mistakes=mistakes)
    log.flush()
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    return 1


class _Process:
    """One run of the proxy."""

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        settings: Settings,
        principal: Identity,
        channels: Mapping[str, ChannelType],
        loaded: Loaded,
    ) -> None:
        self._path, self._environ, self._settings = path, environ, settings
        self._principal, self._channels, self._loaded = principal, channels, loaded
        self._log = Log(time.time, level=settings.log_level)
        self._metrics = Metrics()
        self._budget = Budget(0)  # until all is loaded that takes memory of its own
        self._record = Record(self._log, self._metrics, principal)
        self._requests = RequestMetrics(self._metrics, self._record)
        self._page = ApprovalsPage(settings.inbound_port, principal, self._log)
        self._listening = False

    async def serve(self, read_at: float) -> int:
        """Build, listen, announce, serve, and drain. `read_at`: when the files were read."""
        stop = drain.stop_event()
        settings, config = self._settings, self._loaded.config
        self._approvals = Approvals(
            settings,
            self._channels,
            ChannelSettings.of(self._environ),
            self._record,
            self._principal,
            lambda: self._active.engine,
            self._page,
        )
        self._active = self._build(self._loaded)
        self._gateway = Gateway(
            self._active,
            self._record,
            lambda: self._approvals.holds,
            loopback_only=settings.loopback_only,
            new_id=new_correlation_id,
        )
        self._watcher = ConfigWatcher(
            self._path, self._environ, self._loaded, self._reload, self._freeze, self._log,
            read_at, self._channels,
        )  # fmt: skip
        self._mark(self._loaded)
        ports: dict[str, Any] = {}
        if self._approvals.needs_page(config):
            ports["page_port"] = self._page.open()
        self._approvals.reloaded()
        await self._approvals.started()
        self._resize_budget(self._loaded)
        proxy = Service(
            self._gateway.handle,
            lambda: self._active.engine.config.limits,
            self._requests,
            self._budget,
        )
        admin = Service(
            Admin(self._readiness, self._exposition).handle,
            lambda: _ADMIN_LIMITS,
            Uncounted(self._requests),
            # Probes must be answered when all else is full.
            Budget(_ADMIN_BYTES),
            _ADMIN_TIMEOUTS,
        )
        server, admin_server = HttpServer(proxy), HttpServer(admin)
        admin_servers = await listen(admin_server, _ADMIN_HOSTS, settings.admin_port)
        servers = await listen(server, settings.bind, settings.outbound_port)
        self._listening = True
        ports |= {"port": port_of(servers[0]), "admin_port": port_of(admin_servers[0])}
        self._announce(ports)
        self._approvals.ready()
        watching = asyncio.create_task(self._watcher.watch())

        await stop.wait()
        self._log.event("stopping: serving on until it is quiet")
        await drain.until_quiet(self._requests, lambda: self._approvals.held, settings.grace)
        proxy.closing = True
        self._listening = False
        for listening in servers:
            listening.close()
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        self._approvals.close()  # whoever is held hears that the same call joins its request
        for upstream in self._active.upstreams.values():
            upstream.stop()  # what is still under way ends in words
        await server.shutdown(1.0)
        await self._approvals.finished()
        self._log.event("stopped")
        for listening in admin_servers:
            listening.close()
        await admin_server.shutdown(1.0)
        self._record.sum_up()
        self._log.flush()
        return 0

    def _build(self, loaded: Loaded) -> ActiveConfig:
        """A configuration with what it needs to run. Raises `ConfigRefused`."""
        config = loaded.config
        mistakes: list[Mistake] = []
        upstreams: dict[str, UpstreamPool] = {}
        for source in config.enabled_sources:
            place = f"sources[{config.sources.index(source)}]"
            try:
                upstreams[source.id] = UpstreamPool(
                    source, self._path.parent, self._environ, self._budget
                )
            except CredentialMissing as error:
                mistakes.append(self._mistake(f"{place}.headers", str(error), "cannot be read"))
            except TrustMissing as error:
                place += ".ca_file" if source.ca_file else ".url"
                mistakes.append(self._mistake(place, str(error), "cannot be trusted by it"))
        report = self._approvals.check(config)
        mistakes += (self._mistake(*each, "its channel cannot ask") for each in report.mistakes)
        if mistakes:
            raise ConfigRefused(mistakes)
        return ActiveConfig(self._engine(loaded), upstreams)

    def _engine(self, loaded: Loaded) -> PolicyEngine:
        policies = None
        if loaded.policies.policies:
            policies = TimedPolicies(PolicySet(loaded.policies, self._principal), self._metrics)
        return PolicyEngine(loaded.config, loaded.digest, policies)

    def _mistake(self, place: str, message: str, kind: str) -> Mistake:
        return Mistake(str(self._path), None, place, message, kind)

    def _reload(self, loaded: Loaded) -> None:
        """Put a changed configuration in force. Raises `ConfigRefused`."""
        self._take(loaded, self._build(loaded))

    def _freeze(self, loaded: Loaded) -> None:
        """Put the configuration in force in force again, frozen: nothing is read for it."""
        self._take(loaded, ActiveConfig(self._engine(loaded), self._active.upstreams))

    def _take(self, loaded: Loaded, active: ActiveConfig) -> None:
        self._active = active
        self._gateway.reload(active)
        self._approvals.reloaded()
        with contextlib.suppress(TooLittleMemory):  # then it stays as it was
            self._resize_budget(loaded)
        self._mark(loaded)

    def _resize_budget(self, loaded: Loaded) -> None:
        """Let peers fill what is left by now. Raises `TooLittleMemory`."""
        self._budget.resize(budget_bytes(loaded.config.limits.memory_bytes, self._budget.taken))

    def _mark(self, loaded: Loaded) -> None:
        self._metrics.config = loaded.digest
        for warning in loaded.warnings:
            self._log.event("configuration warning", Level.WARNING, warning=warning.logged)
        for place, line in self._approvals.check(loaded.config).warnings:
            self._log.event("configuration warning", Level.WARNING, warning=f"{place}: {line}")

    def _announce(self, ports: dict[str, Any]) -> None:
        if self._principal.from_pod_name:
            self._log.event(
                "the pod has no app label, so its name is the principal", Level.WARNING,
                principal=self._principal.agent,
            )  # fmt: skip
        self._log.event(
            "ready",
            principal=self._principal.agent,
            namespace=self._principal.namespace,
            pod=self._principal.pod,
            config=self._active.engine.digest,
            **ports,
        )

    def _exposition(self) -> bytes:
        # Brings a library that nobody needs before the first scrape.
        from thoughtgate_proxy.telemetry import exposition  # noqa: PLC0415

        self._metrics.refused_since = self._watcher.refused_since
        return exposition.text(self._metrics)

    def _readiness(self) -> tuple[bool, dict[str, Any]]:
        refused = self._watcher.mistakes
        gate, seen = self._active.engine, self._record.upstreams
        details: dict[str, Any] = {
            "config": gate.digest,
            # Told, but no reason to be unready: one server's outage must not take down its agents.
            "upstreams": {s.id: seen.get(s.id, "not asked") for s in gate.config.enabled_sources},
            "approvals": self._approvals.state,
        }
        if refused:
            details["refused_config"] = refused
            since = datetime.fromtimestamp(self._watcher.refused_since or 0.0, UTC)
            details["refused_since"] = since.isoformat(timespec="seconds")
        return self._listening, details
