"""The options: an exact list, and the nearest right key for every wrong one."""

import pytest

from thoughtgate_injector.core import options
from thoughtgate_injector.core.options import NAMES, Options
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.settings import Settings


def read(annotations: dict[str, str], labels: dict[str, str] | None = None) -> Options | Refusal:
    return options.read(annotations, labels or {}, Settings())


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("profil", "profile"),
        ("cpu-limits", "cpu-limit"),
        ("cpulimit", "cpu-limit"),
        ("mem-request", "memory-request"),
        ("exclude-container", "exclude-containers"),
        ("loglevel", "log-level"),
        ("inject ", "inject"),
        ("Profile", "profile"),
        ("native-sidecars", "native-sidecar"),
    ],
)
def test_a_wrong_key_is_refused_with_the_nearest_right_one(wrong: str, right: str) -> None:
    outcome = read({f"thoughtgate.io/{wrong}": "x"})
    assert isinstance(outcome, Refusal)
    assert f"the nearest one is `thoughtgate.io/{right}`" in str(outcome)


@pytest.mark.parametrize("wrong", ["", "/", "ü", "x" * 300, "a`b\nc"])
def test_any_wrong_key_is_refused_on_one_line(wrong: str) -> None:
    outcome = read({f"thoughtgate.io/{wrong}": "x"})
    assert isinstance(outcome, Refusal)
    assert "\n" not in str(outcome)


@pytest.mark.parametrize("name", NAMES)
def test_an_option_as_a_label_is_refused(name: str) -> None:
    outcome = read({}, {f"thoughtgate.io/{name}": "x"})
    assert isinstance(outcome, Refusal)
    assert "allowed as an annotation only" in str(outcome)


def test_keys_of_others_are_theirs() -> None:
    assert read({"thoughtgate.iox/a": "1", "x.thoughtgate.io/a": "1", "thoughtgate.io": "1"}) == (
        Options()
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("profile", ""),
        ("profile", "Light"),
        ("cpu-limit", "0"),
        ("cpu-request", "0.1m"),
        ("memory-limit", "-1Mi"),
        ("memory-request", "1e"),
        ("exclude-containers", ""),
        ("exclude-containers", "a,,b"),
        ("log-level", "DEBUG"),
        ("config", "other"),
        ("image", "other"),
        ("native-sidecar", "false"),
        ("native-sidecar", ""),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: str) -> None:
    outcome = read({f"thoughtgate.io/{name}": value})
    assert isinstance(outcome, Refusal)
    assert f"`thoughtgate.io/{name}`" in str(outcome)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("config", "Upper"),
        ("config", ""),
        ("config", "a" * 254),
        ("image", ""),
        ("image", "a b"),
        ("native-sidecar", "no"),
    ],
)
def test_what_is_allowed_must_still_be_right(name: str, value: str) -> None:
    settings = Settings(allowed=frozenset({name}))
    assert isinstance(options.read({f"thoughtgate.io/{name}": value}, {}, settings), Refusal)


def test_the_default_of_a_guarded_option_needs_no_permission() -> None:
    assert read({"thoughtgate.io/native-sidecar": "true"}) == Options()
