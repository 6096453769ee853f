"""Generated pods: the patch is idempotent, and changes nothing but what the contract lists."""

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.injector.core.test_review import default
from tests.injector.generated import without_ours
from thoughtgate_injector.core.mutate import Mutation
from thoughtgate_injector.core.patch import apply
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.core.settings import GUARDED, Settings
from thoughtgate_injector.core.verdict import Entry, NoChange

REVIEWER = Reviewer(Settings(allowed=frozenset(GUARDED)), "0.1.0")


def optional(values: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Give mappings in which each key may be missing, or null."""
    return st.fixed_dictionaries(
        {}, optional={key: st.none() | value for key, value in values.items()}
    )


words = st.sampled_from(["", "a", "localhost", "x,localhost", "*", "10.0.0.0/8, "])
variables = st.lists(
    st.builds(
        lambda name, value: {"name": name, **value},
        st.sampled_from(
            ["MCP_SERVER_URL", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "X"]
        ),
        st.builds(lambda value: {"value": value}, words)
        | st.just({"valueFrom": {"configMapKeyRef": {"name": "x", "key": "y"}}})
        | st.just({}),
    ),
    unique_by=lambda variable: variable["name"],
)
amounts = st.dictionaries(
    st.sampled_from(["cpu", "memory", "ephemeral-storage"]), st.sampled_from(["1", "2", "1G", 0.5])
)
resources = optional({"requests": amounts, "limits": amounts})
ports = st.lists(
    st.fixed_dictionaries(
        {"containerPort": st.sampled_from([80, 8080])},
        optional={"name": st.sampled_from(["proxy", "admin", "web"])},
    ),
    max_size=2,
)


def containers(letters: str, least: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    one = st.builds(
        lambda name, rest: {"name": name, "image": "x", **rest},
        st.sampled_from(letters),
        optional({"env": variables, "ports": ports, "resources": resources}),
    )
    return st.lists(one, min_size=least, max_size=3, unique_by=lambda c: c["name"])


pods = st.builds(
    lambda metadata, annotations, spec, required: {
        "metadata": metadata | {"annotations": {"thoughtgate.io/inject": "true", **annotations}},
        "spec": spec | required,
    },
    optional({"labels": st.just({"app": "a"}), "generateName": st.just("a-")}),
    st.fixed_dictionaries(
        {},
        optional={
            "thoughtgate.io/profile": st.sampled_from(["light", "heavy"]),
            "thoughtgate.io/native-sidecar": st.just("false"),
            "thoughtgate.io/exclude-containers": st.just("a"),
            "thoughtgate.io/status": st.just("forged"),
            "thoughtgate.io/cpu-limit": st.sampled_from(["20m", "0.5"]),
            "prometheus.io/port": st.just("1"),
            "a/b~c": st.just(""),
        },
    ),
    optional(
        {
            "initContainers": containers("xyz", 0),
            "volumes": st.just([]) | st.just([{"name": "v", "emptyDir": {}}]),
            "resources": resources,
            "terminationGracePeriodSeconds": st.integers(0, 100),
            "nodeSelector": st.just({"kubernetes.io/os": "linux"}),
        }
    ),
    st.fixed_dictionaries({"containers": containers("abc", 1)}),
)


@settings(max_examples=150)
@given(pods)
def test_twice_is_once_and_nothing_else_changes(pod: dict[str, Any]) -> None:
    outcome = REVIEWER.review(pod, Entry.POD)
    if isinstance(outcome, Refusal):
        assert "exclude-containers" in str(outcome)
        return
    assert isinstance(outcome, Mutation)
    patched = copy.deepcopy(pod)
    apply(patched, copy.deepcopy(outcome.operations))
    assert REVIEWER.review(patched, Entry.POD) == NoChange()
    assert without_ours(patched) == without_ours(pod)
    default(patched)
    assert REVIEWER.review(patched, Entry.POD) == NoChange()
