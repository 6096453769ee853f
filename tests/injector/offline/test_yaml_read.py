"""YAML is read as kubectl reads it, and what is no manifest is told as what it is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.injector.offline.test_rewrite import inject, refuse, workload
from tests.injector.offline.test_yaml_edit import uninjected
from thoughtgate_injector.offline.yaml_read import value_of, without_tabs


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", False), ("Off", False), ("N", False), ("yes", True), ("ON", True), ("y", True),
        ('"no"', "no"), ("'on'", "on"), ("yEs", "yEs"), ("&a no", False), ("Noo", "Noo"),
        ("0644", 0o644), ("0o14", 12), ("1_000", 1000), ("08", 8), ("0x1F", 31),
        ('"0644"', "0644"), ("8080:80", "8080:80"), ("2020-01-02", "2020-01-02"),
    ],
)  # fmt: skip
def test_a_scalar_is_what_kubectl_makes_of_it(text: str, value: Any) -> None:
    found = value_of(f"on: {text}\n")
    assert found == {"on": value}
    assert type(found["on"]) is type(value)


TABS = (
    "a: v1\t\n",
    "a:\tv1\t# c\td\n",
    "a: [1,\t2\t]\t\n",
    "a: |\n  x\ty\n",
    'a: "x\ty"\t\n',
    "\ufeffa: v1\t\n",
)


@pytest.mark.parametrize("text", TABS)
def test_only_a_tab_between_tokens_becomes_a_space(text: str) -> None:
    read = without_tabs(text)
    assert len(read) == len(text)
    assert all(
        one == other or (one, other) == ("\t", " ") for one, other in zip(text, read, strict=True)
    )
    assert "\t" not in read.partition("#")[0].replace("x\ty", "")
    assert read.count("\t") == text.count("x\ty")
    assert value_of(text) is not None


@given(st.text(alphabet="ab:-#\t\n \"'|[]", max_size=30))
def test_whatever_the_text_its_length_and_its_other_characters_stay(text: str) -> None:
    read = without_tabs(text)
    assert [one for one in zip(text, read, strict=True) if one[0] != one[1] != " "] == []


def test_a_tab_behind_a_value_stays_where_it_is() -> None:
    pod = workload("Pod", "v1")
    text = pod.replace("spec:", "spec:\t# a tab").replace("kind: Pod", "kind: Pod\t")
    assert text.count("\t") == 2
    out = inject(text)
    assert "kind: Pod\t\n" in out
    assert "spec:\t# a tab\n" in out
    assert uninjected(out) == text


def test_a_tab_as_indentation_is_still_no_yaml() -> None:
    assert "no YAML" in refuse("a:\n\tb: 1\n")


@pytest.mark.parametrize(
    "text",
    [
        "kind: Pod\nmetadata:\n  name: {{ .Release.Name }}\n",
        "kind: Pod\nspec:\n{{- if .Values.x }}\n  a: 1\n{{- end }}\n",
    ],
)
def test_a_charts_template_is_told_as_one(text: str) -> None:
    reasons = refuse(text)
    assert reasons.startswith("the input is a template, with `")
    assert "in line 3" in reasons
    assert "`helm template`" in reasons
    assert inject('a: "{{ quoted }}"\n') == 'a: "{{ quoted }}"\n'


def test_a_word_that_is_no_string_is_told_with_its_key() -> None:
    pod = workload("Pod", "v1")
    number = pod.replace("{thoughtgate", "{thoughtgate.io/cpu-limit: 1, thoughtgate")
    assert refuse(number) == (
        "Pod/?: annotation `thoughtgate.io/cpu-limit` is `1` (a number, not a string); allowed: a "
        "string in quotes"
    )
    off = pod + "    env: [{name: A, value: off}]\n"
    assert refuse(off).endswith(
        "got `bool` - at `$.spec.containers[0].env[0].value`; a word without quotes (such as "
        "`no` or `012`) is read so, quote it"
    )
    assert "\n  hostNetwork: no\n" in inject(pod + "  hostNetwork: no\n")


def test_a_file_of_several_indentations_keeps_each_of_its_lines() -> None:
    text = workload("Pod", "v1", MIXED)
    out = inject(text)
    assert set(text.splitlines()) <= set(out.splitlines())
    assert '      - name: MCP_SERVER_URL\n        value: "http' in out
    assert uninjected(out) == text


MIXED = """metadata:
  name: agent
  annotations:
    thoughtgate.io/inject: "true"
spec:
  containers:
    - name: agent
      image: example.com/agent
      env:
      - name: A
        value: a
      args:
      - one
"""
