"""The sidecar's share, and the quality of service of the pod around it."""

import pytest

from thoughtgate_injector.core.options import Options, Profile
from thoughtgate_injector.core.pod import Container, Pod, Quantities, Resources, Spec
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.resources import Share, is_guaranteed, raised, share, unreadable


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


def test_a_request_may_be_its_limit_and_no_more() -> None:
    equal = Options(cpu_request="200m", memory_request="100Mi")
    assert share(equal, guaranteed=False) == Share("200m", "200m", "100Mi", "100Mi")
    over = share(Options(cpu_request="201m"), guaranteed=False)
    assert isinstance(over, Refusal)
    assert len(over.reasons) == 1


def test_the_least_limit_makes_a_container_guaranteed_and_none_does_not() -> None:
    def container(cpu: str) -> Container:
        return Container(name="a", resources=Resources(limits={"cpu": cpu, "memory": "1Gi"}))

    assert is_guaranteed(Pod(spec=Spec()), [container("1n")])
    assert not is_guaranteed(Pod(spec=Spec()), [container("0")])


@pytest.mark.parametrize("section", ["requests", "limits"])
@pytest.mark.parametrize("kind", ["cpu", "memory"])
def test_every_amount_that_is_no_quantity_is_named_with_its_place(section: str, kind: str) -> None:
    bad = _resources(section, kind, "1 Mi")
    good = _resources(section, kind, "1")
    spec = Spec(
        resources=bad,
        containers=[Container(name="a", resources=good), Container(name="b", resources=bad)],
        init_containers=[Container(name="c", resources=bad)],
    )
    found = unreadable(Pod(spec=spec))
    assert [reason.split()[0] for reason in found] == [
        f"spec.{place}resources.{section}.{kind}"
        for place in ("", "containers[1].", "initContainers[0].")
    ]


def test_pod_level_amounts_are_raised_by_the_share_of_their_own_kind() -> None:
    ours = Share("1m", "2m", "3Mi", "4Mi")
    level = Resources(requests={"cpu": "1", "memory": "1Mi"}, limits={"cpu": "2", "memory": "2Mi"})
    operations = raised(Pod(spec=Spec(resources=level)), ours)
    assert {operation["path"]: operation["value"] for operation in operations} == {
        "/spec/resources/requests/cpu": "1001m",
        "/spec/resources/requests/memory": "4Mi",
        "/spec/resources/limits/cpu": "2002m",
        "/spec/resources/limits/memory": "6Mi",
    }
    assert raised(Pod(spec=Spec()), ours) == []


def _resources(section: str, kind: str, amount: str) -> Resources:
    amounts: Quantities = {kind: amount}
    return Resources(requests=amounts) if section == "requests" else Resources(limits=amounts)
