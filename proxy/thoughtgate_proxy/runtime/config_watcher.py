"""Takes a changed configuration into force, and keeps the good one when the new one is bad."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from thoughtgate_proxy.core.config.mistakes import ConfigRefused
from thoughtgate_proxy.core.config.workflows import WorkflowTypes
from thoughtgate_proxy.runtime import config_loader
from thoughtgate_proxy.runtime.config_loader import Loaded
from thoughtgate_proxy.runtime.file_stamp import FileStamp
from thoughtgate_proxy.telemetry.log import Level, Log

_SECONDS = 1.0
# No coarser than a kernel's tick, on the file systems of pods.
_CLOCK_SECONDS = 0.1


class ConfigWatcher:
    """Looks at the files once a second: inotify misses the kubelet's swap on some file systems."""

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        loaded: Loaded,
        reload: Callable[[Loaded], None],
        log: Log,
        read_at: float,
        channels: WorkflowTypes,
    ) -> None:
        """`reload` puts a good configuration in force; it may refuse with `ConfigRefused`.

        `read_at`: Unix time, in seconds, before the first of the files was read.
        """
        self._path, self._environ, self._reload, self._log = path, environ, reload, log
        self._loaded, self._channels = loaded, channels
        stamps = self._now()
        newest = max(stamp.changed_ns if stamp else 0 for stamp in stamps.values()) / 1e9
        # What has changed since it was read, or just before by a coarse clock, is read again.
        self._stamps = stamps if newest < read_at - _CLOCK_SECONDS else {}
        self.mistakes: tuple[str, ...] = ()
        """What is wrong with the newest version, if it was refused."""

    async def watch(self) -> None:
        """Run until cancelled."""
        while True:
            await asyncio.sleep(_SECONDS)
            self.look()

    def look(self) -> None:
        """Reload if anything changed since the last look."""
        stamps = self._now()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            loaded = config_loader.load(self._path, self._environ, self._channels)
            if loaded.digest != self._loaded.digest:
                self._reload(loaded)
        except ConfigRefused as refused:
            self.mistakes = tuple(map(str, refused.mistakes))
            self._log.event(
                "the changed configuration is refused; the last good one stays in force",
                Level.ERROR,
                mistakes=self.mistakes,
                config=self._loaded.digest,
            )
            return
        except Exception as error:  # noqa: BLE001  whatever we got wrong, the next version may do
            self.mistakes = (f"ThoughtGate failed at it: {type(error).__name__}",)
            self._log.event(
                "reloading failed; the last good configuration stays in force",
                Level.ERROR,
                error=f"{type(error).__name__}: {error}",
            )
            return
        self.mistakes = ()
        if loaded.digest != self._loaded.digest:
            self._loaded = loaded
            # The files to look at may be others now, and may have changed since they were read.
            self._stamps = {}
            self._log.event("configuration in force", config=loaded.digest, reload=True)

    def _now(self) -> dict[Path, FileStamp | None]:
        """The stamps of every file that went in, and of their folders."""
        files = {self._path, *(Path(policy.file) for policy in self._loaded.policies.policies)}
        places = files | {file.parent for file in files} | {self._path.parent / "..data"}
        return {place: FileStamp.of(place) for place in places}
