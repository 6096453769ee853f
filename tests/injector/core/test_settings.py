"""The operator's settings."""

import pytest

from thoughtgate_injector.core import settings
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.settings import Settings


def test_no_texts_are_the_defaults() -> None:
    assert settings.read({}) == Settings()
    assert settings.read({"sidecar.env": "", "options.allowed": "\n"}) == Settings()


def test_full_texts_are_read() -> None:
    found = settings.read(
        {
            "sidecar.images": "registry.example:5000/proxy@sha256:00\nold:v1  old:v0\n",
            "sidecar.env": "NO_PROXY=.svc,a=b\n\nSSL_CERT_FILE=/etc/ca.pem",
            "options.allowed": "image native-sidecar\n",
        }
    )
    assert isinstance(found, Settings)
    assert found.image == "registry.example:5000/proxy@sha256:00"
    assert found.images == (found.image, "old:v1", "old:v0")
    assert dict(found.env) == {"NO_PROXY": ".svc,a=b", "SSL_CERT_FILE": "/etc/ca.pem"}
    assert found.allowed == {"image", "native-sidecar"}


def test_all_mistakes_come_at_once_with_their_places() -> None:
    found = settings.read(
        {
            "sidecar.images": "a' b",
            "sidecar.env": "LD_PRELOAD=x\nNO_PROXY",
            "options.allowed": "config env",
            "sidecar.image": "x",
        }
    )
    assert isinstance(found, Refusal)
    assert [reason.split(":")[0] for reason in found.reasons] == [
        "the settings",
        "sidecar.images",
        "sidecar.env",
        "sidecar.env",
        "options.allowed",
    ]


@pytest.mark.parametrize(
    "texts",
    [
        {"settings.yaml": ""},
        {"sidecar.images": " \n"},
        {"sidecar.images": "a\tb"},
        {"sidecar.env": "=x"},
        {"sidecar.env": "NO_PROXY=$(X)"},
        {"sidecar.env": "NO_PROXY=a\tb"},
        {"sidecar.env": "NO_PROXY='''"},
        {"sidecar.env": "NO_PROXY=a\nNO_PROXY=b"},
        {"sidecar.env": " NO_PROXY=a"},
        {"options.allowed": "config,image"},
        {"options.allowed": "all"},
    ],
)
def test_a_mistake_is_refused(texts: dict[str, str]) -> None:
    assert isinstance(settings.read(texts), Refusal)
