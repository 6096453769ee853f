"""A whole replica: kopf's real handler behind our TLS server, asked as the API server asks."""

import asyncio
import base64
import copy
import json
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import aiohttp
import jsonpatch
import pytest

from tests.injector import golden
from tests.injector.fake_cluster import FakeCluster
from tests.injector.platforms import PLATFORMS
from tests.injector.replica import Replica, replica, review, until
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.core.verdict import Entry
from thoughtgate_injector.webhook import kopf_bridge, pods
from thoughtgate_injector.webhook.endpoint import Endpoint
from thoughtgate_injector.webhook.metrics import ReviewMetrics

# Replicas run with the shipped settings.
INJECTED = [case for case in golden.injected() if not case.reviewer.settings.allowed]
REFUSED = [case for case in golden.refused() if not case.reviewer.settings.allowed]
MINIMAL = next(case for case in INJECTED if case.name == "minimal")


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    fake = FakeCluster()
    with fake.listening():
        yield fake


def with_replica(
    fake: FakeCluster, test: Callable[[Replica], Awaitable[None]], drain: float = 0.0
) -> None:
    async def run() -> None:
        async with replica(fake, drain) as one:
            await one.ready()
            await test(one)

    asyncio.run(run())


def patched(pod: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    assert response["allowed"], response
    assert response["patchType"] == "JSONPatch"
    operations = json.loads(base64.b64decode(response["patch"]))
    result: dict[str, Any] = jsonpatch.apply_patch(pod, operations)
    return result


def test_kopf_sends_our_operations_as_they_are(fake: FakeCluster) -> None:
    """The contract with kopf: `patch.as_json_patch` of a handler is what goes over the wire."""

    async def test(one: Replica) -> None:
        for case in INJECTED:
            response = await one.review(case.pod, case.entry.value)
            assert response["uid"] == review({})["request"]["uid"]
            assert patched(case.pod, response) == case.patched(), case.name
            again = await one.review(case.patched(), case.entry.value)
            assert again["allowed"]
            assert "patch" not in again

    with_replica(fake, test)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_called_again_it_writes_its_container_back(fake: FakeCluster, platform: str) -> None:
    async def test(one: Replica) -> None:
        pod = MINIMAL.patched()
        PLATFORMS[platform](pod)
        restored = patched(pod, await one.review(pod))
        names = [each["name"] for each in restored["spec"]["initContainers"]]
        assert names == ["thoughtgate"]
        again = await one.review(restored)
        assert again["allowed"]
        assert "patch" not in again

    with_replica(fake, test)


def test_a_refusal_reaches_the_author_with_its_reason(fake: FakeCluster) -> None:
    async def test(one: Replica) -> None:
        for case in REFUSED:
            response = await one.review(case.pod, case.entry.value)
            reasons = golden.golden(case).read_text().splitlines()
            assert not response["allowed"]
            assert response["status"] == {"code": 403, "message": "; ".join(reasons)}
            assert "patch" not in response

    with_replica(fake, test)


def test_each_entry_has_its_own_path(fake: FakeCluster) -> None:
    silent = {"metadata": {"generateName": "a-"}, "spec": {"containers": [{"name": "a"}]}}
    word = {"thoughtgate.io/inject": "false"}
    says_no = {"metadata": {"annotations": word}, "spec": {"containers": [{"name": "a"}]}}

    async def test(one: Replica) -> None:
        assert "patch" in await one.review(silent, "namespace")
        assert "patch" not in await one.review(silent, "pod")
        assert "patch" not in await one.review(says_no, "pod")
        assert "patch" not in await one.review(says_no, "namespace")
        refused = await one.review(says_no, "required")
        assert not refused["allowed"]
        assert "`required`" in refused["status"]["message"]

    with_replica(fake, test)


def test_a_warning_reaches_the_author(fake: FakeCluster) -> None:
    case = next(case for case in INJECTED if case.name == "behind-a-proxy")

    async def test(one: Replica) -> None:
        response = await one.review(case.pod)
        assert "`NO_PROXY` from elsewhere" in response["warnings"][0]

    with_replica(fake, test)


def test_what_is_no_review_is_a_400_with_words(fake: FakeCluster) -> None:
    bodies = [
        b"",
        b"x",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b"[" * 100_000,
        json.dumps(review({}) | {"apiVersion": "admission.k8s.io/v1beta1"}).encode(),
        json.dumps(review({}) | {"kind": "Pod"}).encode(),
        json.dumps(review({}, uid=1)).encode(),
        json.dumps(review({}, object=None)).encode(),
        json.dumps(review({}, object=[])).encode(),
        json.dumps(review({}, userInfo=None)).encode(),
    ]

    async def test(one: Replica) -> None:
        for body in bodies:
            status, text, _ = await one.post("/inject/pod", body)
            assert status == 400, body
            assert text.startswith("this is no review of admission.k8s.io/v1: ")

    with_replica(fake, test)


def test_what_is_no_creation_of_a_pod_is_refused_and_never_waved_through(
    fake: FakeCluster,
) -> None:
    wrong: list[dict[str, Any]] = [
        {"operation": "UPDATE"},
        {"subResource": "ephemeralcontainers"},
        {"resource": {"group": "apps", "version": "v1", "resource": "deployments"}},
        {"resource": {"group": "", "version": "v1", "resource": "namespaces"}},
    ]

    async def test(one: Replica) -> None:
        for fields in wrong:
            response = await one.review(MINIMAL.pod, "pod", **fields)
            assert not response["allowed"], fields
            assert "reviews the creation of pods" in response["status"]["message"]

    with_replica(fake, test)


def test_a_wrong_path_is_a_404_with_words(fake: FakeCluster) -> None:
    async def test(one: Replica) -> None:
        body = json.dumps(review(MINIMAL.pod)).encode()
        for path in ("/", "/inject", "/inject/", "/inject/pods", "/inject/pod/x", "/readyz"):
            status, text, _ = await one.post(path, body)
            assert status == 404, path
            assert "`/inject/pod`" in text

    with_replica(fake, test)


def test_a_large_pod_is_reviewed_and_a_larger_body_refused_with_words(fake: FakeCluster) -> None:
    large = copy.deepcopy(MINIMAL.pod)
    large["metadata"]["annotations"]["x"] = "x" * (3 * 2**20)

    async def test(one: Replica) -> None:
        assert "patch" in await one.review(large)
        status, text, _ = await one.post("/inject/pod", b"x" * (8 * 2**20 + 1))
        assert status == 413
        assert "8388608 bytes at most" in text

    with_replica(fake, test)


def test_a_failure_inside_is_a_refusal_with_words(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Reviewer, "review", fail)

    async def test(one: Replica) -> None:
        response = await one.review(MINIMAL.pod)
        assert not response["allowed"]
        assert response["status"]["code"] == 500
        assert "failed inside, and nothing was changed" in response["status"]["message"]
        _, metrics = await one.get("/metrics")
        assert 'reviews_total{entry="pod",outcome="failed"} 1.0' in metrics

    with_replica(fake, test)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("allowed", [True, None])
def test_nothing_is_allowed_that_our_handler_has_not_seen(allowed: bool | None) -> None:
    async def function(*_: object, **__: object) -> dict[str, Any]:
        if allowed is None:
            raise LookupError
        return {"response": {"uid": "x", "allowed": allowed}}

    review_pod = partial(pods.review, partial(kopf_bridge.review, function), Entry.POD)
    endpoint = Endpoint("pod", "pod", review_pod, ReviewMetrics(), lambda: 0.0)
    body = json.dumps(review(MINIMAL.pod)).encode()
    reply = asyncio.run(endpoint.answer(body))
    response = json.loads(reply.body)["response"]
    assert (reply.status, response["allowed"], response["status"]["code"]) == (200, False, 500)


def test_each_review_is_one_line_of_the_log_and_is_counted(
    fake: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(one: Replica) -> None:
        await one.review(MINIMAL.pod, name="agent")
        await one.review(MINIMAL.patched(), dryRun=True)
        await one.review({"metadata": {"generateName": "a-"}, "spec": {}})
        _, metrics = await one.get("/metrics")
        for outcome in ("injected", "unchanged", "skipped"):
            assert f'reviews_total{{entry="pod",outcome="{outcome}"}} 1.0' in metrics
        assert 'review_seconds_count{entry="pod"} 3.0' in metrics
        assert 'expiry_timestamp_seconds{certificate="leaf"}' in metrics

    with caplog.at_level(logging.INFO):
        with_replica(fake, test)
    lines = [record.fields for record in caplog.records if record.message == "review"]  # type: ignore[attr-defined]
    assert [line["outcome"] for line in lines] == ["injected", "unchanged", "skipped"]
    assert [line.get("pod") for line in lines] == ["agent", None, "a-*"]
    assert [line["dry_run"] for line in lines] == [False, True, False]


def test_reviews_need_no_call_to_the_api_server(fake: FakeCluster) -> None:
    async def test(one: Replica) -> None:
        before = sum(fake.requests.values())
        fake.down = True
        for _ in range(5):
            assert "patch" in await one.review(MINIMAL.pod)
        assert sum(fake.requests.values()) == before

    with_replica(fake, test)


def test_a_dead_api_group_does_not_keep_the_port_closed(fake: FakeCluster) -> None:
    async def test(one: Replica) -> None:
        assert fake.requests["GET /apis/dead.example.com/v1"] == 0
        assert one.injector.bound[0]

    with_replica(fake, test)


def test_a_replica_is_ready_only_once_the_bundle_is_in_place(fake: FakeCluster) -> None:
    webhook, fake.webhook = fake.webhook, None

    async def run() -> None:
        async with replica(fake) as one:
            await until(lambda: one.injector.health.serving)
            assert (await one.get("/livez"))[0] == 200
            await until(lambda: one.injector.health.trouble is not None)
            status, words = await one.get("/readyz")
            assert status == 503
            assert words == (
                "the webhook's caBundle is not in place yet (cannot read "
                "mutatingwebhookconfigurations `thoughtgate-injector`: 404 Not Found; apply the "
                "manifests)\n"
            )
            fake.webhook = webhook
            await one.ready()
            assert await one.get("/readyz") == (200, "ok\n")

    asyncio.run(run())


def test_a_stopping_replica_answers_on_and_closes_its_connections(fake: FakeCluster) -> None:
    async def test(one: Replica) -> None:
        body = json.dumps(review(MINIMAL.pod)).encode()
        _, _, response = await one.post("/inject/pod", body)
        assert response.headers.get("Connection", "keep-alive") == "keep-alive"
        one.stop.set()
        await until(lambda: one.injector.health.draining)
        assert await one.get("/readyz") == (503, "stopping\n")
        status, _, response = await one.post("/inject/pod", body)
        assert (status, response.headers["Connection"]) == (200, "close")
        await one.task

    with_replica(fake, test, drain=0.5)


def test_a_stopping_replica_answers_for_as_long_as_it_is_asked_up_to_a_limit(
    fake: FakeCluster,
) -> None:
    drain = 1.0

    async def test(one: Replica) -> None:
        body = json.dumps(review(MINIMAL.pod)).encode()
        one.stop.set()
        began = time.monotonic()
        answered = 0.0
        while True:
            try:
                status, _, _ = await one.post("/inject/pod", body)
            except aiohttp.ClientError:
                break
            assert status == 200
            answered = time.monotonic() - began
            await asyncio.sleep(drain / 8)  # the pace of asking
        assert 2 * drain < answered < 3 * drain + 30
        await one.task

    with_replica(fake, test, drain)


def test_sigterm_stops_a_replica_without_delay(fake: FakeCluster) -> None:
    async def test(one: Replica) -> None:
        began = time.monotonic()
        os.kill(os.getpid(), signal.SIGTERM)
        await one.task
        # kopf would wait five seconds for a task of its own.
        assert time.monotonic() - began < 4

    with_replica(fake, test)
