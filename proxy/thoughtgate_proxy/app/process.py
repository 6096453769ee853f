"""The one place where the parts of the proxy are put together."""

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvloop

from thoughtgate_proxy.app.approvals import Approving
from thoughtgate_proxy.approvals.channels.page import tokens
from thoughtgate_proxy.core.config import ConfigRefused, Mistake
from thoughtgate_proxy.core.config.values import Adapter, Limits
from thoughtgate_proxy.core.policy.cedar import PolicySet
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.policy.identity import Identity, IdentityRefused
from thoughtgate_proxy.gateway.gateway import ActiveConfig, Gateway
from thoughtgate_proxy.http1 import memory
from thoughtgate_proxy.http1.memory import Budget
from thoughtgate_proxy.http1.server import HttpServer, listen, port_of
from thoughtgate_proxy.http1.service import Service, Uncounted
from thoughtgate_proxy.listeners.admin import Admin
from thoughtgate_proxy.listeners.approvals.server import ApprovalsPage
from thoughtgate_proxy.runtime import config_loader, pod_identity
from thoughtgate_proxy.runtime.config_loader import Loaded
from thoughtgate_proxy.runtime.config_watcher import ConfigWatcher
from thoughtgate_proxy.runtime.settings import Settings, SettingsRefused, read_settings
from thoughtgate_proxy.telemetry.log import Level, Log
from thoughtgate_proxy.telemetry.metrics import Metrics
from thoughtgate_proxy.telemetry.record import Record
from thoughtgate_proxy.telemetry.timed import TimedPolicies
from thoughtgate_proxy.upstream.credentials import CredentialMissing
from thoughtgate_proxy.upstream.pool import UpstreamPool
from thoughtgate_proxy.upstream.tls import TrustMissing

# After SIGTERM: the agent may still be working for as long as it goes on asking.
_QUIET_SECONDS = 2.0
_RESERVE_SECONDS = 5.0
# Correlation ids need to be unique, not secret.
_PROCESS, _NUMBERS = os.urandom(4).hex(), itertools.count(1)
# Nothing that is asked there has a body.
_ADMIN_BYTES = 1 << 16
_ADMIN_HOSTS = ("0.0.0.0", "::")  # noqa: S104  the kubelet and Prometheus come from outside


def run(config_path: Path, identity: str | None, environ: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT. Gives the exit code: 0, or 1 if nothing could be started.

    `identity` is `team/app` where there is no pod to ask.
    """
    try:
        settings = read_settings(environ)
        who = pod_identity.establish(settings, identity)
        read_at = time.time()
        loaded = config_loader.load(config_path, environ)
        return uvloop.run(_Process(config_path, environ, settings, who, loaded, read_at).serve())
    except (SettingsRefused, ConfigRefused) as refused:
        return _refuse([str(mistake) for mistake in refused.mistakes])
    except IdentityRefused as refused:
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
    """One run of the proxy; also the watch that its listener reports to."""

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        settings: Settings,
        who: Identity,
        loaded: Loaded,
        read_at: float,
    ) -> None:
        self._path, self._environ, self._settings = path, environ, settings
        self._who, self._loaded, self._read_at = who, loaded, read_at
        self._log = Log(time.time, level=settings.log_level)
        self._metrics = Metrics()
        self._tokens = tokens.place(environ)
        self._page = ApprovalsPage(self._tokens, settings.inbound_port, who, self._log)
        self._listening = False
        self._active = 0
        self._last_request = 0.0

    async def serve(self) -> int:
        """Listen, announce, serve, and drain."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        in_force = self._build(self._loaded)
        self._record = Record(self._log, self._metrics, self._who)
        self._pipeline = Gateway(
            in_force, self._record, loopback_only=self._settings.loopback_only, new_id=_new_id
        )
        self._approving = Approving(
            self._settings,
            self._environ,
            self._record,
            self._who,
            lambda: self._pipeline.in_force.gate,
            self._page,
        )
        self._reloader = ConfigWatcher(
            self._path, self._environ, self._loaded, self._take, self._log, self._read_at
        )
        self._mark(self._loaded)
        ports: dict[str, Any] = {}
        if any(flow.adapter is Adapter.PAGE for flow in self._loaded.config.approval.values()):
            ports["page_port"] = self._page.open()
        self._approve()
        await self._approving.started()
        limits = self._loaded.config.limits
        proxy = Service(
            self._pipeline.handle,
            lambda: self._pipeline.in_force.gate.config.limits,
            self,
            Budget(limits.memory_bytes or memory.total()),
        )
        admin = Service(
            Admin(self._readiness, self._exposition).handle,
            Limits,
            Uncounted(self),
            Budget(_ADMIN_BYTES),
        )
        server, admin_server = HttpServer(proxy), HttpServer(admin)
        admin_servers = await listen(admin_server, _ADMIN_HOSTS, self._settings.admin_port)
        servers = await listen(server, self._settings.bind, self._settings.outbound_port)
        self._listening = True
        self._announce(
            {"port": port_of(servers[0]), "admin_port": port_of(admin_servers[0]), **ports}
        )
        self._approving.ready()
        watching = asyncio.create_task(self._reloader.watch())
        await stop.wait()
        self._log.event("stopping: serving on until it is quiet")
        await self._until_quiet()
        proxy.closing = True
        self._listening = False
        for listening in servers:
            listening.close()
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        self._approving.close()  # whoever is held hears that the same call joins its request
        for upstream in self._pipeline.in_force.upstreams.values():
            upstream.stop()  # what is still under way ends in words
        await server.shutdown(1.0)
        await self._approving.finished()
        self._log.event("stopped")
        for listening in admin_servers:
            listening.close()
        await admin_server.shutdown(1.0)
        self._log.flush()
        return 0

    def begun(self) -> None:
        """A request began."""
        self._active += 1
        self._metrics.connections += 1

    def ended(self, seconds: float) -> None:
        """A request ended, its reply included."""
        self._active -= 1
        self._last_request = time.monotonic()
        self._metrics.connections -= 1
        self._metrics.request_seconds.observe(seconds)

    def refused(self, status: int, reason: str, limit: str | None = None) -> None:
        """A listener refused a request before it was one."""
        self._record.refused(_new_id(), status, reason, limit=limit)

    def broken(self, error: BaseException) -> None:
        """A listener failed at a request."""
        self._record.broken(_new_id(), error)

    def cut(self, reason: str) -> None:
        """A reply ended too early."""
        self._record.upstream_failed("", "", reason, "upstream_cut")

    async def _until_quiet(self) -> None:
        """Wait until nothing was asked for a while, or the pod's grace period is nearly over."""
        begun = self._last_request = time.monotonic()
        most = max(0.0, self._settings.grace - _RESERVE_SECONDS)
        while time.monotonic() - begun < most:
            quiet = time.monotonic() - self._last_request
            # Whoever is held for a human asks for nothing now, and can come back.
            if self._active <= self._approving.held and quiet >= _QUIET_SECONDS:
                return
            await asyncio.sleep(0.05)

    def _build(self, loaded: Loaded) -> ActiveConfig:
        """A configuration with what it needs to run. Raises `ConfigRefused`."""
        config = loaded.config
        policies = None
        if loaded.policies.policies:
            policies = TimedPolicies(PolicySet(loaded.policies, self._who), self._metrics)
        mistakes: list[Mistake] = []
        upstreams: dict[str, UpstreamPool] = {}
        for source in config.enabled_sources:
            place = f"sources[{config.sources.index(source)}]"
            try:
                upstreams[source.id] = UpstreamPool(source, self._path.parent, self._environ)
            except CredentialMissing as error:
                mistakes.append(Mistake(str(self._path), None, f"{place}.headers", str(error)))
            except TrustMissing as error:
                place += ".ca_file" if source.ca_file else ".url"
                mistakes.append(Mistake(str(self._path), None, place, str(error)))
        if self._page.approvers is None:
            wrong = tokens.mistakes(config.approval, self._tokens)
            mistakes += (Mistake(str(self._path), None, *told) for told in wrong)
        if mistakes:
            raise ConfigRefused(mistakes)
        return ActiveConfig(PolicyEngine(config, loaded.digest, policies), upstreams)

    def _take(self, loaded: Loaded) -> None:
        """Put a reloaded configuration in force; what is under way ends under the old one."""
        new = self._build(loaded)
        old, self._pipeline.in_force = self._pipeline.in_force, new
        for upstream in old.upstreams.values():
            upstream.close()
        exposed = {source.id: source.expose for source in old.gate.config.enabled_sources}
        for source in new.gate.config.enabled_sources:
            if exposed.get(source.id, source.expose) != source.expose:
                self._pipeline.changes.tell(source.id)
        self._approve()
        self._mark(loaded)

    def _approve(self) -> None:
        """Let approvals go by the configuration in force."""
        self._approving.reloaded()
        self._pipeline.waiting = self._approving.waiting

    def _mark(self, loaded: Loaded) -> None:
        self._metrics.config = loaded.digest
        for warning in loaded.warnings:
            self._log.event("configuration warning", Level.WARNING, warning=str(warning))
        reading = tokens.read(self._tokens)
        names = frozenset(approver.name for approver in reading.approvers)
        for place, told in tokens.without_token(loaded.config.approval, names):
            self._log.event("configuration warning", Level.WARNING, warning=f"{place}: {told}")

    def _announce(self, ports: dict[str, Any]) -> None:
        if self._who.from_pod_name:
            self._log.event(
                "the pod has no app label, so its name is the principal", Level.WARNING,
                principal=self._who.agent,
            )  # fmt: skip
        self._log.event(
            "ready",
            principal=self._who.agent,
            namespace=self._who.namespace,
            pod=self._who.pod,
            config=self._pipeline.in_force.gate.digest,
            **ports,
        )

    def _exposition(self) -> bytes:
        self._metrics.reload_ok = not self._reloader.mistakes
        return self._metrics.text()

    def _readiness(self) -> tuple[bool, dict[str, Any]]:
        refused = self._reloader.mistakes
        gate, seen = self._pipeline.in_force.gate, self._record.upstreams
        details: dict[str, Any] = {
            "config": gate.digest,
            # Told, but no reason to be unready: one server's outage must not take down its agents.
            "upstreams": {s.id: seen.get(s.id, "not asked") for s in gate.config.enabled_sources},
            "approvals": self._approving.state,
        }
        if refused:
            details["refused_config"] = refused
        return self._listening, details


def _new_id() -> str:
    return f"{_PROCESS}{next(_NUMBERS):08x}"
