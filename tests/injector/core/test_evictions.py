"""Evictions are slow, of pods with a controller only, and end where they do not help."""

from thoughtgate_injector.core.evictions import WORKLOAD_PAUSE, Evictions
from thoughtgate_injector.core.pod_summary import (
    OptIn,
    PodSummary,
    SidecarState,
    SidecarStatus,
    Workload,
)

BOTH = frozenset({SidecarState.MISSING, SidecarState.OUTDATED})
WEB = Workload("Deployment", "web")


def pod(
    uid: str, created: str = "2026-01-01T00:00:00Z", workload: Workload | None = WEB
) -> PodSummary:
    standing = SidecarStatus(SidecarState.MISSING)
    return PodSummary(uid, "agents", uid, created, OptIn.POD, standing, workload)


def missing(*pods: PodSummary) -> list[tuple[PodSummary, SidecarState]]:
    return [(one, SidecarState.MISSING) for one in pods]


def test_nothing_is_evicted_unless_told_to() -> None:
    assert Evictions(frozenset(), 30).next(0, missing(pod("a"))) is None
    outdated = Evictions(frozenset({SidecarState.OUTDATED}), 30)
    assert outdated.next(0, missing(pod("a"))) is None


def test_a_pod_without_a_controller_is_never_evicted() -> None:
    assert Evictions(BOTH, 30).next(0, missing(pod("a", workload=None))) is None


def test_a_jobs_pod_is_not_evicted_for_an_old_sidecar() -> None:
    job = pod("a", workload=Workload("Job", "batch"))
    assert Evictions(BOTH, 30).next(0, [(job, SidecarState.OUTDATED)]) is None
    assert Evictions(BOTH, 30).next(0, missing(job)) == job


def test_the_oldest_goes_first_and_one_after_the_other() -> None:
    old, young = pod("b", "2025-01-01T00:00:00Z"), pod("a", workload=Workload("DaemonSet", "x"))
    evictions = Evictions(BOTH, 30)
    assert evictions.next(100, missing(young, old)) == old
    evictions.tried(old, 100, "2026-01-02T00:00:00Z")
    assert evictions.next(129, missing(young)) is None
    assert evictions.next(130, missing(young)) == young


def test_a_workload_waits_for_its_first_replacement() -> None:
    evictions = Evictions(BOTH, 1)
    evictions.tried(pod("a"), 100, "2026-01-02T00:00:00Z")
    other = pod("c", workload=Workload("Deployment", "other"))
    assert evictions.next(102, missing(pod("b"), other)) == other
    assert evictions.next(101 + WORKLOAD_PAUSE, missing(pod("b"))) == pod("b")


def test_a_refused_eviction_is_tried_again_later() -> None:
    evictions = Evictions(BOTH, 1)
    evictions.tried(pod("a"), 100, None)
    assert evictions.next(102, missing(pod("a"))) is None
    assert evictions.next(100 + WORKLOAD_PAUSE, missing(pod("a"))) == pod("a")


def test_where_the_new_pod_is_no_better_the_workload_is_left_alone() -> None:
    evictions = Evictions(BOTH, 1)
    evictions.tried(pod("a"), 0, "2026-01-02T00:00:00Z")
    new, old = pod("new", "2026-01-02T00:00:01Z"), pod("old")
    assert evictions.next(1000, missing(new)) is None
    assert evictions.next(2000, missing(old)) is None
    assert evictions.futile() == 1
