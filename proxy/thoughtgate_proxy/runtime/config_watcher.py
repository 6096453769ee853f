"""Takes a changed configuration into force, and keeps the good one when the new one is bad."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from thoughtgate_proxy.core.config.mistakes import ConfigRefused
from thoughtgate_proxy.core.config.workflows import WorkflowTypes
from thoughtgate_proxy.runtime import config_loader
from thoughtgate_proxy.runtime.config_loader import Loaded
from thoughtgate_proxy.runtime.file_stamp import FileStamp
from thoughtgate_proxy.telemetry.log import Level, Log

_SECONDS = 1.0
# What keeps a configuration out may pass: a Secret that is synced later, no descriptors.
_LONGEST_PAUSE = 30
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
        freeze: Callable[[Loaded], None],
        log: Log,
        read_at: float,
        channels: WorkflowTypes,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`reload` puts a good configuration in force; it may refuse with `ConfigRefused`.

        `freeze` puts the one in force in force again, now frozen, with all that it has at hand.
        `read_at`: Unix time, in seconds, before the first of the files was read.
        """
        self._path, self._environ, self._log = path, environ, log
        self._reload, self._freeze = reload, freeze
        self._loaded, self._channels, self._wall = loaded, channels, wall
        self._logged: tuple[str, ...] = ()
        stamps = self._now()
        newest = max(stamp.changed_ns if stamp else 0 for stamp in stamps.values()) / 1e9
        # What has changed since it was read, or just before by a coarse clock, is read again.
        self._stamps = stamps if newest < read_at - _CLOCK_SECONDS else {}
        # After so many looks it is tried again, and after how many the next time.
        self._looks_left = self._pause = 0
        self.mistakes: tuple[str, ...] = ()
        """What is wrong with the newest version, if it was refused: places and kinds, no values."""
        self.refused_since: float | None = None
        """Unix time, in seconds, since when the files on disk are not what is in force."""

    async def watch(self) -> None:
        """Run until cancelled."""
        while True:
            await asyncio.sleep(_SECONDS)
            self.look()

    def look(self) -> None:
        """Reload if anything changed since the last look, or once more what was refused."""
        stamps = self._now()
        if stamps != self._stamps:
            self._stamps = stamps
            self._pause = 1
        elif self.refused_since is None:
            return
        else:
            self._looks_left -= 1
            if self._looks_left > 0:
                return
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self._looks_left = self._pause
        self._try()

    def _try(self) -> None:
        loaded: Loaded | None = None
        try:
            loaded = config_loader.load(self._path, self._environ, self._channels)
            if loaded.digest != self._loaded.digest:
                self._reload(loaded)
        except ConfigRefused as refused:
            lines = tuple(mistake.logged for mistake in refused.mistakes)
            self._refuse(lines, tuple(mistake.public for mistake in refused.mistakes))
            freezes = refused.freezes
        except Exception as error:  # noqa: BLE001  whatever we got wrong, the next version may do
            text = f"ThoughtGate failed at it: {type(error).__name__}"
            self._refuse((f"{text}: {error}",), (text,))
            freezes = False
        else:
            self.mistakes, self._logged, self.refused_since = (), (), None
            if loaded.digest != self._loaded.digest:
                self._take(loaded)
            return
        if freezes or (loaded is not None and loaded.config.governance.freeze):
            self._freeze_in_force()

    def _refuse(self, lines: tuple[str, ...], public: tuple[str, ...]) -> None:
        self.mistakes = public
        if self.refused_since is None:
            self.refused_since = self._wall()
        if lines == self._logged:
            return  # tried again, and nothing new
        self._logged = lines
        self._log.event(
            "the changed configuration is refused; the last good one stays in force",
            Level.ERROR,
            mistakes=lines,
            config=self._loaded.digest,
        )

    def _freeze_in_force(self) -> None:
        """Let the kill switch of a version that cannot be taken act on the one in force."""
        old = self._loaded
        if old.config.governance.freeze:
            return
        governance = structs.replace(old.config.governance, freeze=True)
        config = structs.replace(old.config, governance=governance)
        # Another digest, so that the very same files are taken again once they are back.
        frozen = replace(old, config=config, digest=f"{old.digest}+freeze")
        self._freeze(frozen)
        self._take(frozen)

    def _take(self, loaded: Loaded) -> None:
        self._loaded = loaded
        if self.refused_since is None:
            # The files to look at may be others now, and may have changed since they were read.
            self._stamps = {}
        self._log.event("configuration in force", config=loaded.digest, reload=True)

    def _now(self) -> dict[Path, FileStamp | None]:
        """The stamps of every file that went in, and of their folders."""
        files = {self._path, *(Path(policy.file) for policy in self._loaded.policies.policies)}
        places = files | {file.parent for file in files} | {self._path.parent / "..data"}
        return {place: FileStamp.of(place) for place in places}
