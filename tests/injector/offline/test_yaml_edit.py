"""`uninject` gives back what there was before `inject`: to the byte, comments and spaces too."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.injector import golden
from tests.injector.golden import Case
from tests.injector.offline.test_rewrite import KINDS, POD, UNTOUCHED, indented, workload
from thoughtgate_injector.core import names
from thoughtgate_injector.core.patch import apply
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.offline import rewrite, yaml_edit, yaml_read
from thoughtgate_injector.offline.removal import Removal, removal
from thoughtgate_injector.offline.rewrite import RewriteResult

REVIEWER = Reviewer(Settings(), "0.1.0")


def injected(text: str) -> str:
    result = rewrite.inject(text, REVIEWER)
    assert isinstance(result, RewriteResult), str(result)
    return result.text


def uninjected(text: str) -> str:
    result = rewrite.uninject(text)
    assert isinstance(result, RewriteResult), str(result)
    return result.text


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_workload_is_as_it_was(kind: str) -> None:
    text = workload(kind, KINDS[kind])
    assert injected(text) != text
    assert uninjected(injected(text)) == text


def named(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", golden.injected(), ids=named)
def test_every_golden_pod_is_as_it_was(case: Case) -> None:
    pod = case.patched()
    found = removal(pod)
    assert isinstance(found, Removal)
    apply(pod, found.operations)
    before = case.pod
    before["metadata"].get("annotations", {}).pop(names.STATUS, None)  # a forged one is not kept
    assert filled(pod) == filled(before)


def filled(value: Any) -> Any:
    """The value without what is empty, which to Kubernetes is as if it were not there."""
    if isinstance(value, dict):
        members = {key: filled(member) for key, member in value.items()}
        return {key: member for key, member in members.items() if member not in (None, [], {})}
    return [filled(member) for member in value] if isinstance(value, list) else value


def test_what_was_not_injected_stays_to_the_byte() -> None:
    for text in (UNTOUCHED, "", "# only a comment\n", workload("Pod", "v1")):
        assert uninjected(text) == text


ODD = """\
# at the front
kind: Deployment   # the kind

apiVersion:   apps/v1
metadata: {name: 'w',   labels: {a: "b"}}   # flow
spec:
    replicas: 0o3
    template:
        metadata:
            # the words
            annotations:
                thoughtgate.io/inject: "true"   # opted in
                # after the words
            labels:
                app: x
        spec:
            containers:
              # the agent
              - image: x
                name: agent   # its name
                env:
                  - {name: A,   value: 'b'}
                  # after the environment
                  - name: NO_PROXY
                    value: .svc   # the mesh
                  - name: HTTP_PROXY
                    value: "http://proxy"
                args: ["--long",   'single', plain, 0644, 1e3, yes,
                       "over lines"]

              # at the end

            initContainers:   # before
              - name: init
                image:    y
            volumes:
              - name: v
                emptyDir: {}
            # after the volumes
# the end"""


@pytest.mark.parametrize(
    "text",
    [ODD, ODD + "\n", ODD.replace("\n", "\r\n"), ODD + "\n---\n" + ODD + "\n...\n"],
    ids=["open", "closed", "CRLF", "twice"],
)
def test_an_odd_layout_is_kept_by_both(text: str) -> None:
    out = injected(text)
    lines = out.splitlines()
    # Where `localhost` was appended is the one line that injection changes.
    assert [line for line in text.splitlines() if line not in lines] == [
        line for line in text.splitlines() if "value: .svc" in line
    ]
    assert uninjected(out) == text


MIXED = """\
apiVersion: v1
kind: Pod
metadata:
  annotations:
      thoughtgate.io/inject: 'true'
  labels:
   app: x
spec:
    volumes:
    - name: v
      emptyDir:
        {}
    containers:
         -   name: agent
             env:
             -  name: HTTP_PROXY
                value: p
             -
                name: NO_PROXY
                value: >-
                  .svc
             image: |-
               x
             # after the agent
    initContainers:
    # before the first
    - name: init
      image: y
    - {name: flow, image: y, env: [{name: A}], ports: []}
"""


@pytest.mark.parametrize("last", ["", "---\nkind: Other\n"])
def test_mixed_indentation_is_kept_and_a_scalar_of_many_lines_keeps_its_value(last: str) -> None:
    out = injected(MIXED + last)
    assert out.endswith(last)
    assert "    initContainers:\n    - name: thoughtgate\n" in out
    lines = out.splitlines()
    assert [line for line in MIXED.splitlines() if line not in lines] == [
        "                value: >-",
        "                  .svc",
        "    - {name: flow, image: y, env: [{name: A}], ports: []}",
    ]
    again = uninjected(out)
    assert list(yaml.safe_load_all(again)) == list(yaml.safe_load_all(MIXED + last))
    for comment in ("# after the agent", "# before the first"):
        assert comment in again
    plain = MIXED.replace(">-\n                  .svc", ".svc")
    assert uninjected(injected(plain + last)) == plain + last


def test_the_amounts_of_a_pod_are_as_they_were_in_flow_style_too() -> None:
    text = (golden.PODS / "pod-level-resources.yaml").read_text()
    assert uninjected(injected(text)) == text
    commas = MIXED.replace(
        "env: [{name: A}]", "env: [{name: HTTP_PROXY, value: p}, {name: no_proxy, value: .svc}]"
    )
    assert '{name: no_proxy, value: ".svc,localhost"}' in injected(commas)


def test_a_list_of_many_is_read_as_often_as_one_and_is_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the time would grow with the square of a list's items."""
    reads = 0
    real = yaml_read.round_trip

    def counted() -> Any:
        nonlocal reads
        reads += 1
        return real()

    monkeypatch.setattr(yaml_read, "round_trip", counted)
    monkeypatch.setattr(yaml_edit, "round_trip", counted)
    counts = set()
    for many in (1, 7):
        items = "".join(f"- {indented(workload('Pod', 'v1'), 2).strip()}\n" for _ in range(many))
        text = f"apiVersion: v1\nkind: List\nitems:\n{items}"
        out = injected(text)
        reads = 0
        assert uninjected(out) == text
        counts.add(reads)
    assert len(counts) == 1


NAMES = st.text("abc", min_size=1, max_size=3)
WORDS = st.sampled_from(["x", "'quoted'", '"double"', "12", "1e3", "yes", "0644", "''", "a b", "~"])
COMMENT = st.sampled_from(["", "", "", "", "", "# c", "# more: than {one} word"])


@st.composite
def mappings(draw: st.DrawFn, /, **fixed: Any) -> dict[str, Any]:
    """A mapping with these members, and others beside them that mean nothing to us."""
    more = draw(st.dictionaries(NAMES.map("x".__add__), WORDS, max_size=2))
    members = [*fixed.items(), *more.items()]
    return dict(draw(st.permutations(members)))


@st.composite
def containers(draw: st.DrawFn, name: str) -> dict[str, Any]:
    variables = draw(st.lists(st.sampled_from(["A", "NO_PROXY", "HTTP_PROXY"]), unique=True))
    env = [draw(mappings(name=one, value=f"http://{one.lower()}")) for one in variables]
    return draw(mappings(name=name, image="x", **({"env": env} if env else {})))


@st.composite
def pods(draw: st.DrawFn) -> dict[str, Any]:
    spec: dict[str, Any] = {"containers": [draw(containers("a")), draw(containers("b"))][:2]}
    if draw(st.booleans()):
        spec["initContainers"] = [draw(containers("i"))]
    if draw(st.booleans()):
        spec["volumes"] = [draw(mappings(name="v"))]
    words = draw(mappings(**{"thoughtgate.io/inject": '"true"'}))
    words = {key: f'"{value.strip(chr(34))}"' for key, value in words.items()}
    metadata = draw(mappings(annotations=words))
    return draw(
        mappings(apiVersion="v1", kind="Pod", metadata=metadata, spec=draw(mappings(**spec)))
    )


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A pod as YAML in block style, with comments, empty lines and spaces where they may be."""
    width, offset = draw(st.sampled_from([(2, 0), (2, 2), (4, 0), (4, 2), (4, 4), (3, 1)]))
    lines: list[str] = []

    def emit(value: Any, column: int, first: str) -> None:
        """Write a mapping's or list's lines; `first` stands before the first of them."""
        members = value.items() if isinstance(value, dict) else [("-", one) for one in value]
        for key, member in members:
            if not first:
                own = st.sampled_from(["", "#", " " * column + "# own line"])
                lines.extend(draw(st.lists(own, max_size=draw(st.sampled_from([0, 0, 2])))))
            front, first = first or " " * column, ""
            end = draw(COMMENT)
            end = f"{' ' * draw(st.integers(1, 4))}{end}" if end else ""
            if key == "-":
                emit(member, column + 2, f"{front}- ")
            elif isinstance(member, str):
                # The one line that injection may change is written as ruamel.yaml writes it.
                space = " " * draw(st.sampled_from([1, 1, 1, 3] if key != "value" else [1]))
                lines.append(f"{front}{key}:{space}{member}{end}")
            else:
                lines.append(f"{front}{key}:{end}")
                emit(member, column + (offset if isinstance(member, list) else width), "")

    emit(draw(pods()), 0, "")
    return "\n".join(lines) + draw(st.sampled_from(["", "\n", "\n\n", "\n# end", "\n  # end\n"]))


# Each takes half a second, so that shrinking would take minutes.
@settings(max_examples=30, phases=[Phase.generate])
@given(texts())
def test_any_manifest_in_block_style_is_as_it_was(text: str) -> None:
    out = injected(text)
    assert out != text
    assert uninjected(out) == text


@pytest.mark.parametrize("indent", [None, 1, 2, 4, "\t"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_json_is_as_it_was(indent: int | str | None, end: str) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", **yaml.safe_load(POD)}
    text = json.dumps(pod, indent=indent) + end
    assert uninjected(injected(text)) == text
    compact = json.dumps(pod, separators=(",", ":")) + end
    assert uninjected(injected(compact)) == compact
    assert uninjected(injected(text + text)) == text + text


def test_what_was_changed_since_then_stays() -> None:
    out = injected(workload("Pod", "v1"))
    out = out.replace("http://localhost:7467", "http://other").replace("image: x", "image: newer")
    pod = yaml.safe_load(uninjected(out))
    [agent] = pod["spec"]["containers"]
    assert agent["image"] == "newer"
    assert agent["env"] == [{"name": "MCP_SERVER_URL", "value": "http://other"}]
    assert "initContainers" not in pod["spec"]


def test_a_sidecar_that_was_written_by_hand_stays_with_a_warning() -> None:
    text = workload("Pod", "v1", POD.replace("name: agent", "name: thoughtgate"))
    result = rewrite.uninject(text)
    assert isinstance(result, RewriteResult)
    assert result.text == text
    assert "written by hand" in result.warnings[0]


@pytest.mark.parametrize("status", ["", "{}", "[]", '{"image":"x","version":1}'])
def test_a_record_that_cannot_be_read_refuses_the_file(status: str) -> None:
    pod = POD.replace('"true"}', f"'true', thoughtgate.io/status: '{status}'}}")
    result = rewrite.uninject(workload("Deployment", "apps/v1", pod))
    assert isinstance(result, Refusal)
    assert str(result).startswith("Deployment/w: annotation `thoughtgate.io/status` is ")
