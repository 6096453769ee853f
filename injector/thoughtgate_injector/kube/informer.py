"""Follows one kind of objects: all of them, page by page, then each change as it happens.

Source: Kubernetes API concepts, "Efficient detection of changes" and "410 Gone responses".
"""

import logging
import threading
from collections.abc import Callable, Iterator
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


def listed(kube: KubeClient, path: str) -> Iterator[dict[str, Any]]:
    """Give each object of a list. Raises KubeError, GoneError."""
    for page in _pages(kube, path):
        yield from _items(page)


def _pages(kube: KubeClient, path: str) -> Iterator[_Page]:
    token = ""
    while True:
        query: dict[str, str | int] = {"limit": PAGE, **({"continue": token} if token else {})}
        try:
            page = _decoded(kube.get(path, query), _Page)
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
    """Keeps `sink` at what the API server has; `run` belongs into a thread of its own."""

    kube: KubeClient
    path: str
    sink: ObjectStore
    synced: Callable[[], None]
    """Called after each whole list."""
    pauses: tuple[float, ...] = _PAUSES
    _failures: int = 0
    _version: str = ""
    """What we have is as of this resourceVersion; empty: all must be listed."""

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop` is set; nothing else ends it."""
        while not stop.is_set():
            try:
                self._follow(stop)
            except GoneError:
                logger.info("%s is listed anew", self.path)
                self._version = ""
                continue
            except KubeError as error:
                logger.warning("%s cannot be followed: %s", self.path, error)
            except Exception:
                # A thread that ends would leave numbers that look well and are old.
                logger.exception("%s cannot be followed", self.path)
                self._version = ""
            stop.wait(self.pauses[min(self._failures, len(self.pauses) - 1)])
            self._failures += 1

    def _follow(self, stop: threading.Event) -> None:
        if not self._version:
            self._list(stop)
        while not stop.is_set():
            self._watch(stop)
            self._failures = 0

    def _list(self, stop: threading.Event) -> None:
        gone, version = self.sink.uids(), ""
        for page in _pages(self.kube, self.path):
            for document in _items(page):
                self.sink.put(document)
                gone.discard(document["metadata"]["uid"])
            version = page.metadata.resource_version
            if stop.is_set():
                return
        for uid in gone:
            self.sink.drop(uid)
        self._version = version
        self.synced()

    def _watch(self, stop: threading.Event) -> None:
        """Take changes until the API server ends the watch."""
        query: dict[str, str | int] = {
            "watch": 1,
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": WATCH,
        }
        try:
            for line in self.kube.lines(self.path, query, _SILENCE):
                event = _decoded(line, _Event)
                document = msgspec.json.decode(event.object)
                if event.type == "ERROR":
                    raise _meant(document.get("code", 0), str(document.get("message")))
                metadata = document["metadata"]
                if event.type in {"ADDED", "MODIFIED"}:
                    self.sink.put(document)
                elif event.type == "DELETED":
                    self.sink.drop(metadata["uid"])
                self._version = metadata["resourceVersion"]
                if stop.is_set():
                    break
        except KubeError as error:
            raise _meant(error.status, str(error)) from error


def _meant(status: int, words: str) -> KubeError | GoneError:
    return GoneError(words) if status == HTTPStatus.GONE else KubeError(status, words)


def _decoded(text: bytes, wanted: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=wanted)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise KubeError(0, f"the API server's answer cannot be read: {error}") from error
