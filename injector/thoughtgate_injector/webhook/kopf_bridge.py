"""The bridge to kopf, the one file that imports it: a review goes to our handler and back.

What must be known to use kopf:
- its server, its managed configuration and its login do not fit, and are replaced in `operate`;
- it computes a patch by comparing whole pods, so the handler sets its own;
- it allows a review that it has no handler for, so the caller checks that ours was called;
- it logs a refusal as an error, replaces signal handlers, and looks for the uid in passwd.
"""

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast

import kopf

from thoughtgate_injector import signals
from thoughtgate_injector.core import names
from thoughtgate_injector.core.mutate import Mutation
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.review import Outcome, Reviewer
from thoughtgate_injector.core.verdict import Entry
from thoughtgate_injector.kube.client import KubeClient

logger = logging.getLogger(__name__)

Review = Callable[[Entry, dict[str, Any]], Awaitable[tuple[dict[str, Any], Outcome | None]]]
"""Answers a decoded review; the outcome is None where our handler was not called."""

FAILED: Final = "the injector failed inside, and nothing was changed; its log says more"
# Carries the handler's outcome past kopf, which returns only the response.
_OUTCOMES: ContextVar[list[Outcome]] = ContextVar("outcomes")


async def operate(
    reviewer: Reviewer,
    kube: KubeClient,
    serve: Callable[[Review], AsyncIterator[None]],
    stop: asyncio.Event,
) -> None:
    """Run kopf until `stop` is set.

    `serve` yields once it serves; it is cancelled at the end, and may take its time to drain.
    """
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # kopf logs each refusal as an error; a refusal is an answer, and has its own line.
    logging.getLogger("kopf.objects").setLevel(logging.CRITICAL)
    # Without it kopf looks the uid up in passwd, which need not list it.
    os.environ.setdefault("POD_ID", names.INJECTOR)
    registry = kopf.OperatorRegistry()
    # kopf's own login needs the cluster's DNS. It asks the API server once, what `pods` are.
    kopf.on.login(registry=registry, id="login")(partial(login, kube))
    _register(registry, reviewer)

    async def server(function: Any) -> AsyncIterator[Any]:
        # By now kopf has replaced our signal handlers. When its own end the operator, its task that
        # waits for `stop` does not end, and kopf waits five seconds for that task.
        signals.stop_on_signals(stop)
        async for _ in serve(partial(review, function)):
            yield {}  # the MutatingWebhookConfiguration is static: kopf has nothing to write

    settings = kopf.OperatorSettings()
    settings.admission.managed = None
    settings.admission.server = server
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.process.ultimate_exiting_timeout = None
    await kopf.operator(
        registry=registry, settings=settings, standalone=True, clusterwide=True, stop_flag=stop
    )


async def review(
    function: Callable[..., Any], entry: Entry, document: dict[str, Any]
) -> tuple[dict[str, Any], Outcome | None]:
    """Answer a review through `function`, kopf's, which calls our handler."""
    outcomes: list[Outcome] = []
    token = _OUTCOMES.set(outcomes)
    try:
        response = await function(document, webhook=entry.value, headers={})
    finally:
        _OUTCOMES.reset(token)
    return response, outcomes[0] if len(outcomes) == 1 else None


class Connection(kopf.ConnectionInfo):
    """kopf's connection to the API server, which trusts the CAs that our own client trusts."""

    def as_ssl_context(self) -> ssl.SSLContext:
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as in `kube.client.client`
        return context


async def login(kube: KubeClient, **_: Any) -> Connection:
    """Give kopf the address and credentials of our client."""
    access = await kube.access()
    return Connection(
        server=access.server, ca_path=access.ca_path, scheme="Bearer", token=access.token
    )


def _register(registry: kopf.OperatorRegistry, reviewer: Reviewer) -> None:
    """Register one handler for each entry; its id is the entry's name."""

    async def inject(
        *,
        body: kopf.Body,
        patch: kopf.Patch,
        warnings: list[str],
        param: Any = None,
        **_: Any,
    ) -> None:
        entry: Entry = param
        try:
            outcome = reviewer.review(dict(body), entry)
        except Exception as error:
            logger.exception("a review failed")
            raise kopf.AdmissionError(FAILED, HTTPStatus.INTERNAL_SERVER_ERROR) from error
        _OUTCOMES.get().append(outcome)
        if isinstance(outcome, Refusal):
            raise kopf.AdmissionError(str(outcome), HTTPStatus.FORBIDDEN)
        if isinstance(outcome, Mutation):
            warnings.extend(outcome.warnings)
            # kopf would compute its patch by comparing whole pods, and so rewrite every init
            # container when one goes first. A contract test pins that it takes ours.
            operations = list(outcome.operations)
            patch.as_json_patch = lambda *_: cast("Any", operations)  # type: ignore[method-assign]

    for entry in Entry:
        kopf.on.mutate(
            # By group and version: "pods" alone would scan every group, and one dead APIService
            # would keep the port closed.
            "",
            "v1",
            "pods",
            id=entry.value,
            param=entry,
            operations=["CREATE"],
            registry=registry,
        )(inject)
