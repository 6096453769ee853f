"""The options: an exact list, and the nearest right key for every wrong one."""

import pytest

from thoughtgate_injector.core import options
from thoughtgate_injector.core.options import NAMES, Options, Profile
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


@pytest.mark.parametrize(
    ("name", "least", "less"),
    [
        ("cpu-request", "1m", "999999n"),
        ("cpu-limit", "0.001", "0.9999m"),
        ("memory-request", "1Mi", "1023Ki"),
        ("memory-limit", "1048576", "1048575"),
    ],
)
def test_the_least_amount_is_allowed_and_a_little_less_is_refused(
    name: str, least: str, less: str
) -> None:
    found = read({f"thoughtgate.io/{name}": least})
    assert isinstance(found, Options)
    assert getattr(found, name.replace("-", "_")) == least
    refused = read({f"thoughtgate.io/{name}": less})
    assert isinstance(refused, Refusal)
    words = "`1m`" if name.startswith("cpu") else "`1Mi`"
    assert f"allowed: {words} or more" in str(refused)


@pytest.mark.parametrize(
    ("name", "longest"),
    [("config", "a" * 253), ("config", ".".join("a" * 127)), ("image", "a" * 512)],
)
def test_the_longest_name_is_allowed_and_one_longer_is_refused(name: str, longest: str) -> None:
    settings = Settings(allowed=frozenset({name}))
    found = options.read({f"thoughtgate.io/{name}": longest}, {}, settings)
    assert isinstance(found, Options)
    assert getattr(found, name) == longest
    longer = options.read({f"thoughtgate.io/{name}": longest + "a"}, {}, settings)
    assert isinstance(longer, Refusal)


@pytest.mark.parametrize("value", ["a", "0", "a-b.c-d.0e", "a.b"])
def test_the_name_of_a_config_map_is_a_dns_subdomain(value: str) -> None:
    settings = Settings(allowed=frozenset({"config"}))
    assert options.read({"thoughtgate.io/config": value}, {}, settings) == Options(config=value)
    for wrong in (f"-{value}", f"{value}-", f".{value}", f"{value}.", f"{value}..a", f"{value}_"):
        found = options.read({"thoughtgate.io/config": wrong}, {}, settings)
        assert isinstance(found, Refusal), wrong


def test_every_option_is_read_into_its_own_field() -> None:
    found = options.read(
        {
            "thoughtgate.io/profile": "heavy",
            "thoughtgate.io/config": "c",
            "thoughtgate.io/image": "i",
            "thoughtgate.io/cpu-request": "2m",
            "thoughtgate.io/cpu-limit": "3m",
            "thoughtgate.io/memory-request": "2Mi",
            "thoughtgate.io/memory-limit": "3Mi",
            "thoughtgate.io/exclude-containers": " a , b",
            "thoughtgate.io/native-sidecar": "false",
            "thoughtgate.io/log-level": "debug",
        },
        {},
        Settings(allowed=frozenset({"config", "image", "native-sidecar"})),
    )
    assert found == Options(
        Profile.HEAVY, "c", "i", "2m", "3m", "2Mi", "3Mi", ("a", "b"), False, "debug"
    )


def test_the_status_annotation_is_never_offered_as_the_nearest_key() -> None:
    assert options.nearest("thoughtgate.io/statu") != "thoughtgate.io/status"


def test_a_guarded_option_is_refused_with_those_that_the_settings_allow() -> None:
    none = read({"thoughtgate.io/image": "i"})
    assert "they allow none of its kind" in str(none)
    some = options.read({"thoughtgate.io/image": "i"}, {}, Settings(allowed=frozenset({"config"})))
    assert "they allow `config`" in str(some)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("toughtgate.io/inject", "thoughtgate.io/inject"),
        ("thought-gate.io/injekt", "thoughtgate.io/inject"),
        ("ThoughtGate.io/profile", "thoughtgate.io/profile"),
        ("thoughtgate/inject", "thoughtgate.io/inject"),
        ("thoughtgate.com/cpu-limits", "thoughtgate.io/cpu-limit"),
        ("thoughtgate.io/injekt", None),
        ("linkerd.io/inject", None),
        ("sidecar.istio.io/inject", None),
        ("settings.thoughtgate.io/sidecar.env", None),
        ("thoughtgate", None),
    ],
)
def test_a_key_of_a_misspelt_domain_is_known(key: str, meant: str | None) -> None:
    assert options.near_miss(key) == meant
