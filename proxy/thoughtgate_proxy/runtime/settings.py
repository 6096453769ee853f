"""The settings of the process, from its environment: all mistakes at once."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thoughtgate_proxy.runtime import forward_proxy
from thoughtgate_proxy.telemetry.log import Level

LOOPBACK = ("127.0.0.1", "::1")
_STATE_DIR = Path("/var/lib/thoughtgate")
# The kubelet sets `NAME_PORT` so for a Service `name` of the namespace (Kubernetes, "Accessing the
# Service", environment variables).
_SERVICE_LINK = re.compile(r"(?:tcp|udp|sctp)://\S+")


class SettingsRefused(Exception):
    """The environment is wrong; `mistakes` has a line for each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the process listens and keeps its things. `grace` is the pod's, in seconds."""

    outbound_port: int
    inbound_port: int
    admin_port: int
    bind: tuple[str, ...]
    labels: Path
    state_dir: Path
    log_level: Level
    grace: float
    pod: str | None
    namespace: str | None

    @property
    def loopback_only(self) -> bool:
        """Whether only this pod can reach the proxy."""
        return all(ipaddress.ip_address(host).is_loopback for host in self.bind)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the environment. Raises `SettingsRefused`."""
    mistakes: list[str] = []

    def whole(name: str, default: int, most: int) -> int:
        text = environ.get(name) or str(default)
        if text.isascii() and text.isdecimal() and int(text) <= most:
            return int(text)
        mistakes.append(
            f"{name}: `{text[:50]}`, allowed is a whole number from 0 to {most}"
            + (_service_link(name) if _SERVICE_LINK.fullmatch(text) else "")
        )
        return default

    level = (environ.get("THOUGHTGATE_LOG_LEVEL") or "info").upper()
    if level not in Level.__members__:
        allowed = ", ".join(name.lower() for name in Level.__members__)
        mistakes.append(f"THOUGHTGATE_LOG_LEVEL: `{level.lower()[:50]}`, allowed are {allowed}")
        level = "INFO"
    text = environ.get("THOUGHTGATE_BIND") or ",".join(LOOPBACK)
    bind = tuple(host.strip() for host in text.split(","))
    if not all(map(_is_address, bind)):
        mistakes.append(
            f"THOUGHTGATE_BIND: `{text[:100]}`, allowed are IP addresses with commas between them"
        )
    try:
        forward_proxy.named(environ)
    except forward_proxy.ProxyWrong as error:
        mistakes.append(str(error))
    settings = Settings(
        outbound_port=whole("THOUGHTGATE_OUTBOUND_PORT", 7467, 65535),
        inbound_port=whole("THOUGHTGATE_INBOUND_PORT", 7468, 65535),
        admin_port=whole("THOUGHTGATE_ADMIN_PORT", 7469, 65535),
        bind=bind,
        labels=Path(environ.get("THOUGHTGATE_LABELS") or "/etc/podinfo/labels"),
        state_dir=_state_dir(environ),
        log_level=Level[level],
        grace=float(whole("THOUGHTGATE_GRACE_SECONDS", 30, 86_400)),
        pod=environ.get("POD_NAME") or None,
        namespace=environ.get("POD_NAMESPACE") or None,
    )
    if mistakes:
        raise SettingsRefused(mistakes)
    return settings


def _service_link(name: str) -> str:
    service = name.removesuffix("_PORT").replace("_", "-").lower()
    return (
        f"; Kubernetes sets it so for a Service `{service}` in the namespace: give the container "
        f"the variable itself, or the pod `enableServiceLinks: false`"
    )


def _state_dir(environ: Mapping[str, str]) -> Path:
    """Where things are kept: outside a pod it is the user's own folder for such (XDG)."""
    if given := environ.get("THOUGHTGATE_STATE_DIR"):
        return Path(given)
    if _STATE_DIR.is_dir():
        return _STATE_DIR
    if (given := environ.get("XDG_STATE_HOME", "")).startswith("/"):
        return Path(given) / "thoughtgate"
    home = environ.get("HOME", "")
    return Path(home) / ".local/state/thoughtgate" if home.startswith("/") else _STATE_DIR


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
