"""The operator's settings."""

import pytest

from thoughtgate_injector.core import settings
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.settings import Settings


def test_an_empty_file_is_the_defaults() -> None:
    assert settings.read("") == Settings()
    assert settings.read("sidecar:\noptions:\n") == Settings()


def test_a_full_file_is_read() -> None:
    text = """
    sidecar:
      image: registry.example:5000/proxy@sha256:00
      env: {NO_PROXY: ".svc", SSL_CERT_FILE: /etc/ca.pem}
    options:
      allowed: [image, native-sidecar]
    """
    found = settings.read(text)
    assert isinstance(found, Settings)
    assert found.image == "registry.example:5000/proxy@sha256:00"
    assert dict(found.env) == {"NO_PROXY": ".svc", "SSL_CERT_FILE": "/etc/ca.pem"}
    assert found.allowed == {"image", "native-sidecar"}


def test_all_mistakes_come_at_once_with_their_places() -> None:
    found = settings.read(
        "sidecar: {image: 'a b', env: {LD_PRELOAD: x, NO_PROXY: 1}, imge: x}\n"
        "options: {allowed: [config, env]}\n"
        "more: 1\n"
    )
    assert isinstance(found, Refusal)
    assert [reason.split(":")[0] for reason in found.reasons] == [
        "the settings",
        "sidecar",
        "sidecar.image",
        "sidecar.env",
        "sidecar.env.NO_PROXY",
        "options.allowed[1]",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "x",
        "a: [",
        "sidecar: 1",
        "sidecar: {image: }",
        "sidecar: {image: 1}",
        "sidecar: {env: []}",
        "sidecar: {env: {NO_PROXY: $(X)}}",
        'sidecar: {env: {NO_PROXY: "a\\nb"}}',
        "options: {allowed: image}",
        "options: {allowed: [[]]}",
        "sidecar: {}\nsidecar: {}",
    ],
)
def test_a_mistake_is_refused(text: str) -> None:
    assert isinstance(settings.read(text), Refusal)
