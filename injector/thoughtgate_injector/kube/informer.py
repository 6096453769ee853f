"""An informer: lists the objects of one kind page by page, then watches each change.

Source: Kubernetes API concepts, "Efficient detection of changes" and "410 Gone responses".
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeVar

import msgspec

from thoughtgate_injector.kube.client import KubeClient, KubeError

logger = logging.getLogger(__name__)

T = TypeVar("T")

PAGE: Final = 100  # objects; a page of pods with long specs is some MiB
WATCH: Final = 60  # seconds, after which the API server ends a watch and a new one goes on
_SILENCE: Final = 75.0  # seconds: then a connection is dead
_PAUSES: Final = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before trying again


class ObjectStore(Protocol):
    """Who is told of the objects."""

    def put(self, document: dict[str, Any]) -> None:
        """Take an object that is new or was changed."""

    def drop(self, uid: str) -> None:
        """Forget an object."""

    def uids(self) -> set[str]:
        """Give those that are known."""


class _ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str
    continue_: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct, frozen=True):
    metadata: _ListMeta
    items: list[msgspec.Raw] = []


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class GoneError(Exception):
    """What we hold is too old to go on from: list anew."""


async def listed(kube: KubeClient, path: str) -> AsyncIterator[dict[str, Any]]:
    """Give each object of a list. Raises KubeError, GoneError."""
    async for page in _pages(kube, path):
        for document in _items(page):
            yield document


async def _pages(kube: KubeClient, path: str) -> AsyncIterator[_Page]:
    token = ""
    while True:
        query: dict[str, str | int] = {"limit": PAGE, **({"continue": token} if token else {})}
        try:
            page = _decoded(await kube.get(path, query), _Page)
        except KubeError as error:
            raise _meant(error.status, str(error)) from error
        yield page
        token = page.metadata.continue_
        if not token:
            return


def _items(page: _Page) -> Iterator[dict[str, Any]]:
    # One after the other: a page's objects as Python's would be ten times its text.
    return (msgspec.json.decode(item) for item in page.items)


@dataclass(slots=True)
class Informer:
    """Keeps `store` at what the API server has; `run` is a task of its own."""

    kube: KubeClient
    path: str
    store: ObjectStore
    synced: Callable[[], None]
    """Called after each whole list."""
    pauses: tuple[float, ...] = _PAUSES
    _failures: int = 0
    _version: str = ""
    """What we have is as of this resourceVersion; empty: all must be listed."""

    async def run(self) -> None:
        """List and watch until cancelled; no error ends it."""
        while True:
            try:
                if not self._version:
                    await self._list()
                while True:
                    await self._watch()
                    self._failures = 0
            except GoneError:
                logger.info("%s is listed anew", self.path)
                self._version = ""
                continue
            except KubeError as error:
                logger.warning("%s cannot be followed: %s", self.path, error)
            except Exception:
                # If the task ended, the metrics would look right and be stale.
                logger.exception("%s cannot be followed", self.path)
                self._version = ""
            await asyncio.sleep(self.pauses[min(self._failures, len(self.pauses) - 1)])
            self._failures += 1

    async def _list(self) -> None:
        gone, version = self.store.uids(), ""
        async for page in _pages(self.kube, self.path):
            for document in _items(page):
                self.store.put(document)
                gone.discard(document["metadata"]["uid"])
            version = page.metadata.resource_version
        for uid in gone:
            self.store.drop(uid)
        self._version = version
        self.synced()

    async def _watch(self) -> None:
        """Apply changes until the API server ends the watch."""
        query: dict[str, str | int] = {
            "watch": 1,
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": WATCH,
        }
        try:
            async with aclosing(self.kube.lines(self.path, query, _SILENCE)) as lines:
                async for line in lines:
                    self._take(_decoded(line, _Event))
        except KubeError as error:
            raise _meant(error.status, str(error)) from error

    def _take(self, event: _Event) -> None:
        document = msgspec.json.decode(event.object)
        if event.type == "ERROR":
            raise _meant(document.get("code", 0), str(document.get("message")))
        metadata = document["metadata"]
        if event.type in {"ADDED", "MODIFIED"}:
            self.store.put(document)
        elif event.type == "DELETED":
            self.store.drop(metadata["uid"])
        self._version = metadata["resourceVersion"]


def _meant(status: int, words: str) -> KubeError | GoneError:
    return GoneError(words) if status == HTTPStatus.GONE else KubeError(status, words)


def _decoded(text: bytes, wanted: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=wanted)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise KubeError(0, f"the API server's answer cannot be read: {error}") from error
