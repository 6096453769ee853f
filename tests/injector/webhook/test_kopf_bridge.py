"""What kopf is given of ours, beside the reviews of test_pods."""

import asyncio
import ssl

import pytest
from kubernetes.aio.client import Configuration

from thoughtgate_injector.kube.client import KubeClient, client
from thoughtgate_injector.webhook.kopf_bridge import Connection, login


def connection(configuration: Configuration) -> tuple[KubeClient, Connection]:
    async def made() -> tuple[KubeClient, Connection]:
        kube = client(configuration)
        found = await login(kube)
        await kube.close()
        return kube, found

    return asyncio.run(made())


@pytest.mark.parametrize("key", ["BearerToken", "authorization"])
def test_kopf_logs_in_as_our_client_does(key: str) -> None:
    configuration = Configuration(host="https://10.0.0.1:443", api_key={key: "bearer abc"})
    _, found = connection(configuration)
    assert (found.server, found.ca_path) == ("https://10.0.0.1:443", None)
    assert found.as_http_headers() == {"Authorization": "Bearer abc"}
    _, without = connection(Configuration(host="http://127.0.0.1:1"))
    assert without.token is None


def test_kopf_and_our_client_trust_the_same_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    """From Python 3.13 on the default is strict: it refuses CAs that Kubernetes itself takes."""

    def strict(**_: object) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    kube, found = connection(Configuration(host="https://10.0.0.1:443"))
    contexts = (found.as_ssl_context(), kube.api.rest_client.ssl_context)
    for context in contexts:
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.verify_mode is ssl.CERT_REQUIRED
