"""The sidecar's share, and the quality of service of the pod around it."""

import pytest

from thoughtgate_injector.core.options import Options, Profile
from thoughtgate_injector.core.pod import Container, Pod, Quantities, Resources, Spec
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.resources import Share, is_guaranteed, share


@pytest.mark.parametrize(
    ("profile", "row"),
    [
        (Profile.LIGHT, Share("25m", "100m", "20Mi", "50Mi")),
        (Profile.MEDIUM, Share("50m", "200m", "50Mi", "100Mi")),
        (Profile.HEAVY, Share("100m", "500m", "100Mi", "200Mi")),
    ],
)
def test_a_profile_is_its_row_of_the_reference_document(profile: Profile, row: Share) -> None:
    assert share(Options(profile), guaranteed=False) == row


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(cpu_limit="20m"), Share("20m", "20m", "50Mi", "100Mi")),
        (Options(cpu_limit="1"), Share("50m", "1", "50Mi", "100Mi")),
        (Options(memory_request="100Mi"), Share("50m", "200m", "100Mi", "100Mi")),
        (Options(memory_request="104857600"), Share("50m", "200m", "104857600", "100Mi")),
    ],
)
def test_what_is_asked_for_is_taken(options: Options, expected: Share) -> None:
    assert share(options, guaranteed=False) == expected


def test_a_request_over_its_limit_is_refused_with_both_figures() -> None:
    found = share(Options(cpu_request="1", memory_request="1Gi"), guaranteed=False)
    assert isinstance(found, Refusal)
    assert "cpu-request `1` is more than the cpu-limit `200m`" in str(found)
    assert "memory-request `1Gi` is more than the memory-limit `100Mi`" in str(found)


def test_in_a_guaranteed_pod_requests_are_the_limits() -> None:
    assert share(Options(), guaranteed=True) == Share("200m", "200m", "100Mi", "100Mi")
    equal = Options(cpu_request="0.2", cpu_limit="200m")
    assert share(equal, guaranteed=True) == Share("200m", "200m", "100Mi", "100Mi")
    assert isinstance(share(Options(cpu_request="10m"), guaranteed=True), Refusal)


FULL: Quantities = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("limits", "requests", "guaranteed"),
    [
        (FULL, None, True),
        (FULL, {}, True),
        (FULL, {"cpu": "1000m", "memory": 2**30}, True),
        (FULL, {"cpu": "999m"}, False),
        ({"cpu": "1"}, None, False),
        ({"cpu": "0", "memory": "1Gi"}, None, False),
        (None, FULL, False),
        (None, None, False),
    ],
)
def test_a_container_is_guaranteed_as_kubernetes_sees_it(
    limits: Quantities | None, requests: Quantities | None, guaranteed: bool
) -> None:
    resources = Resources(requests=requests, limits=limits)
    one = Container(name="a", resources=resources)
    full = Container(name="b", resources=Resources(limits=FULL))
    assert is_guaranteed(Pod(spec=Spec()), [one, full]) == guaranteed
    # Resources of the whole pod are all that counts, where there are any.
    level = Pod(spec=Spec(resources=resources))
    assert is_guaranteed(level, [full]) == (guaranteed or not (limits or requests))


def test_a_pod_without_containers_is_not_guaranteed() -> None:
    assert not is_guaranteed(Pod(spec=Spec()), [])
