"""The watchdog against an API server that pages, ends watches, and says no."""

import asyncio
import contextlib
import json
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.harness.wait import within
from tests.injector.core.test_pod_summary import REVIEWER, injected, pod
from tests.injector.fake_lists import FakeLists
from thoughtgate_injector.core import names
from thoughtgate_injector.core.evictions import Evictions
from thoughtgate_injector.core.pod_summary import SidecarState
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.kube import informer
from thoughtgate_injector.watchdog import watchdog as watchdogs
from thoughtgate_injector.watchdog.pod_index import PodStore
from thoughtgate_injector.watchdog.watchdog import NAMESPACES_PATH, PODS_PATH, Watchdog

OLD = Reviewer(Settings(), "0.0.9")
OWNER = [{"kind": "StatefulSet", "name": "db", "controller": True}]


@pytest.fixture
def fake() -> Iterator[FakeLists]:
    fake = FakeLists()
    with fake.listening():
        fake.put(NAMESPACES_PATH, namespace("agents"))
        yield fake


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"uid": f"ns-{name}", "name": name, "labels": labels}}


def named(uid: str, document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "metadata": {**document["metadata"], "uid": uid, "name": uid}}


@contextlib.asynccontextmanager
async def watching(fake: FakeLists, *evict: SidecarState) -> AsyncIterator[Watchdog]:
    watchdog = Watchdog(
        fake.kube(),
        REVIEWER,
        Evictions(frozenset(evict), 0.05),
        time.monotonic,
        lambda: "2026-01-01T00:00:00Z",
        step=0.01,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(watchdog.operate(stop))
    try:
        await within(lambda: not watchdog.missing(), "both lists")
        yield watchdog
    finally:
        stop.set()
        await task


def standing(watchdog: Watchdog) -> dict[str, str]:
    return {seen.uid: found.state.value for seen, found in watchdog.index.statuses()}


def test_changes_of_pods_and_namespaces_are_seen(fake: FakeLists) -> None:
    async def test() -> None:
        fake.put(PODS_PATH, named("good", injected()))
        fake.put(PODS_PATH, named("old", injected(OLD)))
        fake.put(PODS_PATH, named("none", pod()))
        fake.put(PODS_PATH, named("silent", pod(None)))
        async with watching(fake) as watchdog:
            first = {"good": "current", "old": "outdated", "none": "missing"}
            assert standing(watchdog) == first
            fake.put(NAMESPACES_PATH, namespace("agents", **{names.INJECT: "enabled"}))
            await within(lambda: standing(watchdog).get("silent") == "missing", "the label")
            fake.put(NAMESPACES_PATH, namespace("agents"))
            await within(lambda: standing(watchdog) == first, "the label's end")
            fake.put(PODS_PATH, named("late", pod()))
            await within(lambda: "late" in standing(watchdog), "a new pod")
            fake.put(PODS_PATH, {**named("late", pod()), "status": {"phase": "Succeeded"}})
            await within(lambda: "late" not in standing(watchdog), "a pod's end")
            fake.drop(PODS_PATH, "old")
            await within(lambda: "old" not in standing(watchdog), "a deletion")
            assert fake.requests[f"GET {PODS_PATH}"] == 1

    asyncio.run(test())


def test_a_version_that_is_too_old_is_listed_anew_and_what_is_gone_is_forgotten(
    fake: FakeLists,
) -> None:
    async def test() -> None:
        fake.put(PODS_PATH, named("goes", pod()))
        async with watching(fake) as watchdog:
            assert standing(watchdog) == {"goes": "missing"}
            # Nobody is told of this one: only the next list shows it.
            del fake.objects[PODS_PATH]["goes"]
            fake.objects[PODS_PATH]["comes"] = named("comes", pod())
            fake.end_watches()
            await within(lambda: standing(watchdog) == {"comes": "missing"}, "the next list")
            assert 'thoughtgate_watchdog_lists_total{resource="pods"} 2.0' in _metrics(watchdog)

    asyncio.run(test())


def test_pages_are_followed_and_begun_again_where_their_token_expires(
    fake: FakeLists, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        monkeypatch.setattr(informer, "PAGE", 2)
        for number in range(5):
            fake.put(PODS_PATH, named(f"p{number}", pod()))
        fake.expired_pages = 1
        async with watching(fake) as watchdog:
            assert len(standing(watchdog)) == 5
            assert fake.requests[f"GET {PODS_PATH}"] == 2 + 3

    asyncio.run(test())


def test_an_api_server_that_was_away_is_followed_on(
    fake: FakeLists, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        monkeypatch.setattr(informer.Informer, "run", _quick(informer.Informer.run))
        async with watching(fake) as watchdog:
            fake.down = True
            await within(lambda: fake.requests[f"GET {PODS_PATH} watch"] > 3, "failed watches")
            fake.down = False
            fake.put(PODS_PATH, named("late", pod()))
            await within(lambda: "late" in standing(watchdog), "the new pod")
            assert fake.requests[f"GET {PODS_PATH}"] == 1, "the watch goes on; nothing was lost"

    asyncio.run(test())


def _quick(real: Any) -> Any:
    async def run(self: informer.Informer) -> None:
        self.pauses = (0.01,)
        await real(self)

    return run


def test_each_pod_that_is_not_as_it_asks_gets_one_event(fake: FakeLists) -> None:
    async def test() -> None:
        for number in range(2 * watchdogs.EVENTS):
            fake.put(PODS_PATH, named(f"p{number}", pod()))
        fake.put(PODS_PATH, named("old", injected(OLD)))
        fake.put(PODS_PATH, named("good", injected()))
        async with watching(fake):
            await within(lambda: len(fake.events) == 2 * watchdogs.EVENTS + 1, "the events")
            await asyncio.sleep(0.1)  # ten more steps, in which none is said again
            by_pod = {event["involvedObject"]["name"]: event for event in fake.events}
            assert len(by_pod) == len(fake.events)
            assert by_pod["p0"]["reason"] == "SidecarMissing"
            assert by_pod["p0"]["message"] == (
                "the pod asks for ThoughtGate, but it has no sidecar: its calls are not gated; "
                "restart it"
            )
            assert by_pod["old"]["reason"] == "SidecarOutdated"
            assert "is of version `0.0.9`" in by_pod["old"]["message"]
            assert fake.evictions == []

    asyncio.run(test())


def test_evictions_name_the_very_pod_and_are_counted(fake: FakeLists) -> None:
    async def test() -> None:
        fake.put(PODS_PATH, named("bare", pod()))
        fake.put(PODS_PATH, named("owned", pod(ownerReferences=OWNER)))
        async with watching(fake, SidecarState.MISSING) as watchdog:
            await within(lambda: fake.evictions, "an eviction")
            assert fake.evictions[0]["deleteOptions"] == {"preconditions": {"uid": "owned"}}
            fake.drop(PODS_PATH, "owned")
            later = "2026-01-01T00:00:01Z"
            new = named("new", pod(ownerReferences=OWNER, creationTimestamp=later))
            fake.put(PODS_PATH, new)
            futile = "thoughtgate_watchdog_futile_workloads 1.0"
            await within(lambda: futile in _metrics(watchdog), "the end of trying")
            assert len(fake.evictions) == 1
            evicted = 'thoughtgate_watchdog_evictions_total{outcome="evicted"} 1.0'
            assert evicted in _metrics(watchdog)

    asyncio.run(test())


def test_a_disruption_budget_is_respected(fake: FakeLists) -> None:
    async def test() -> None:
        fake.eviction_status = 429
        fake.put(PODS_PATH, named("owned", pod(ownerReferences=OWNER)))
        async with watching(fake, SidecarState.MISSING) as watchdog:
            outcome = 'thoughtgate_watchdog_evictions_total{outcome="disruption_budget"} 1.0'
            await within(lambda: outcome in _metrics(watchdog), "the refusal")

    asyncio.run(test())


@pytest.mark.parametrize("webhook", [None, {"webhooks": [{"clientConfig": {}}]}, {"webhooks": []}])
def test_while_the_glass_is_broken_nothing_is_evicted(
    fake: FakeLists, webhook: dict[str, Any] | None
) -> None:
    async def test() -> None:
        fake.webhook = webhook
        fake.put(PODS_PATH, named("owned", pod(ownerReferences=OWNER)))
        async with watching(fake, SidecarState.MISSING) as watchdog:
            await within(lambda: fake.events, "the event")
            await asyncio.sleep(0.1)  # ten more steps
            assert fake.evictions == []
            assert "thoughtgate_watchdog_webhook_in_place 0.0" in _metrics(watchdog)

    asyncio.run(test())


def test_numbers_are_by_namespace_state_version_and_image(fake: FakeLists) -> None:
    async def test() -> None:
        fake.put(PODS_PATH, named("good", injected()))
        fake.put(PODS_PATH, named("old", injected(OLD)))
        fake.put(PODS_PATH, named("none", pod()))
        async with watching(fake) as watchdog:
            in_place = "thoughtgate_watchdog_webhook_in_place 1.0"
            await within(lambda: in_place in _metrics(watchdog), "the webhook")
            text = _metrics(watchdog)
            for state in ("current", "outdated", "missing"):
                series = f'thoughtgate_watchdog_pods{{pod_namespace="agents",state="{state}"}} 1.0'
                assert series in text
            image = f'image="{names.SIDECAR_IMAGE}"'
            assert f'thoughtgate_watchdog_sidecars{{{image},version="0.0.9"}} 1.0' in text

    asyncio.run(test())


def _metrics(watchdog: Watchdog) -> str:
    return watchdog.metrics.text().decode()


def test_what_is_kept_of_a_pod_is_about_a_kibibyte_however_long_its_spec() -> None:
    document = named("UID", injected())
    document["spec"]["padding"] = "x" * 100_000
    text = json.dumps(document)
    store = PodStore(REVIEWER)
    store.put(json.loads(text))
    tracemalloc.start()
    try:
        for number in range(200):
            store.put(json.loads(text.replace("UID", f"uid-{number}")))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 200 * 1536
