"""The JSON Schema: it takes what the gate takes, and refuses what a schema can know to be wrong."""

import json
import re
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.proxy.core.config.test_mistakes import GOOD, RULES, corpus
from tests.proxy.core.config.test_reading import CONFIGS
from tests.proxy.core.config.test_reading_fuzz import EVERYTHING, TREES, outcome
from thoughtgate_proxy.approvals.channels.catalog import CHANNELS
from thoughtgate_proxy.cli.main import main
from thoughtgate_proxy.core.config.json_schema import json_schema
from thoughtgate_proxy.core.config.scalars import READERS, UnreadableError

SCHEMA = json_schema(CHANNELS)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
EXAMPLES = Path(__file__).parents[4] / "examples"

BEYOND_A_SCHEMA = {
    "a key that stands twice at the top",
    "a key that stands twice further down, in quotes the second time",
    "a merge key",
    "an octal number",
    "a variable that is not set",
    "two sources of one id",
    "a source and a workflow that do not exist",
    "two workflows and no word which",
    "a timeout that no human could meet",
    "a text of comments for a policy",
}


def wrong(text: str) -> list[str]:
    """The places at which the schema refuses a YAML text."""
    return [error.json_path for error in VALIDATOR.iter_errors(yaml.safe_load(text))]


def is_yaml(text: str) -> bool:
    try:
        yaml.safe_load(text)
    except yaml.YAMLError:
        return False
    return True


def test_it_is_a_valid_schema_of_its_dialect() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", ["reference.yaml", "everything.yaml"])
def test_a_good_file_is_taken(name: str) -> None:
    assert wrong((CONFIGS / name).read_text()) == []


def test_the_example_is_taken() -> None:
    manifest = yaml.safe_load((EXAMPLES / "config.yaml").read_text())
    assert wrong(manifest["data"]["config.yaml"]) == []


@pytest.mark.parametrize(
    ("sentence", "text"),
    [pytest.param(case[0], case[1], id=case[0]) for case in corpus() if is_yaml(case[1])],
)
def test_a_mistake_that_a_schema_can_know_of_is_refused(sentence: str, text: str) -> None:
    assert bool(wrong(text)) is (sentence not in BEYOND_A_SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("http://a", "${URL}"),
        GOOD.replace("deny", '"${ACTION:-deny}"'),
        GOOD
        + "approval: {a: {adapter: '${ADAPTER}', timeout: '${MINUTES}m', approvers: ['${A}']}}",
        RULES + "    - {match: '${PREFIX}_*', action: deny, limit: '${RATE}'}\n",
        RULES + "    - {match: x, action: deny, description: 'a $${plain} sign and $5'}\n",
    ],
)
def test_a_variable_may_stand_wherever_a_text_may(text: str) -> None:
    assert wrong(text) == []


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("http://a", "http://${1A}"),
        GOOD.replace("'}", "', description: 'a ${'}"),
        GOOD.replace("'}", "', headers: {X-A: '${A-b}'}}"),
        GOOD + "limits: {batch: '${BATCH}'}\n",
        GOOD + "approval: {'${NAME}': {adapter: page}}\n",
    ],
)
def test_a_variable_that_could_not_be_put_in_is_refused(text: str) -> None:
    assert outcome(text.encode())
    assert wrong(text)


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("'}", "', enabled: off}"),
        GOOD.replace("'}", "', headers: {X-A: {env: A, file: b}}}"),
        GOOD.replace("'}", "', headers: {X-A: {prefix: b}}}"),
        GOOD.replace("'}", "', headers: {MCP-Name: b}}"),
        GOOD.replace("'}", "', expose: {mode: all, tools: [x]}}"),
        GOOD.replace("'}", "', expose: {mode: blocklist}}"),
        GOOD.replace("'}", "', passthrough_methods: [prompts/get]}"),
        GOOD.replace("}}", "}, rules: [{match: a, action: approve}]}"),
        GOOD.replace("}}", "}, rules: [{match: a, action: policy}]}"),
        GOOD.replace("deny", "policy") + "cedar: {}\n",
        RULES + "    - {match: a, action: forward, approval: x}\n",
        GOOD + "approval: {a: {adapter: slack}}\n",
        GOOD + "approval: {a: {adapter: page, mention: here}}\n",
        GOOD + "approval: {a: {adapter: page, approvers: []}}\n",
        GOOD + "approval: {a: {adapter: page, approvers: [anna, anna]}}\n",
        GOOD + "approval: {a: {adapter: page, approvers: ['an na']}}\n",
        GOOD + "approval: {a: {adapter: slack, channel: '#x', approvers: [anna]}}\n",
        GOOD + "approval: {a: {adapter: page, required: 2}}\n",
        GOOD + "cedar: {schema: x.cedarschema}\n",
    ],
)
def test_what_one_place_asks_of_another_is_asked_by_the_schema_too(text: str) -> None:
    assert outcome(text.encode())
    assert wrong(text)


@pytest.mark.parametrize("spelling", ["on", "Yes", "TRUE"])
def test_a_boolean_of_yaml_1_1_is_taken_as_editors_read_it(spelling: str) -> None:
    governance = {"defaults": {"action": "deny"}, "freeze": spelling}
    config = {"schema": 1, "sources": [{"id": "a", "url": "http://a"}], "governance": governance}
    assert VALIDATOR.is_valid(config) is (spelling != "TRUE")


def test_editors_are_told_what_a_key_is_for_and_what_holds_without_it() -> None:
    assert SCHEMA["properties"]["sources"]["items"] == {"$ref": "#/$defs/Source"}
    source, workflow = SCHEMA["$defs"]["Source"], SCHEMA["$defs"]["Workflow"]
    assert source["description"] == "An MCP server."
    assert source["properties"]["enabled"]["default"] is True
    assert source["properties"]["kind"]["default"] == "mcp"
    assert workflow["properties"]["timeout"] == {
        "$ref": "#/$defs/duration",
        "description": "how long humans have to decide: a duration from 5s to 7d",
        "default": "10m",
    }
    assert SCHEMA["$defs"]["Limits"]["properties"]["json_depth"] == {
        "type": "integer",
        "minimum": 4,
        "maximum": 128,
        "default": 128,
    }
    described = [*SCHEMA["$defs"].items()]
    assert [name for name, words in described if not words.get("description")] == ["boolean"]


def pattern(reader: str) -> str:
    return f"^(?:{READERS[reader].pattern})$"


def is_read(reader: str, text: str) -> bool:
    try:
        READERS[reader].read(text)
    except UnreadableError:
        return False
    return True


LOOSE = st.one_of(
    st.text(max_size=8),
    st.text("019 dhmsPTDHM/.", max_size=8),
    st.text("aAUCS09#*?![]{}\\/._ -$@", max_size=8),
    st.from_regex(r"\Ahttps?://[!-~]{0,12}\Z"),
    st.sampled_from(["here", "channel", "tools/call", "Content-Type", "tE", "U0123", "20/m"]),
)


@given(LOOSE)
@settings(max_examples=1000)
def test_whatever_a_reader_reads_its_pattern_matches(text: str) -> None:
    for name in READERS:
        if is_read(name, text):
            assert re.search(pattern(name), text), name


@pytest.mark.parametrize("name", sorted(READERS.keys() - {"url"}))
@given(data=st.data())
@settings(max_examples=50)
def test_whatever_matches_a_pattern_in_ascii_its_reader_reads(
    name: str, data: st.DataObject
) -> None:
    strategy = st.from_regex(
        rf"\A(?:{READERS[name].pattern})\Z", alphabet=st.characters(max_codepoint=127)
    )
    text = data.draw(strategy)
    assert is_read(name, text), text


@given(st.data())
@settings(max_examples=300)
def test_whatever_the_gate_takes_the_schema_takes(data: st.DataObject) -> None:
    lines = EVERYTHING.splitlines()
    number = data.draw(st.integers(0, len(lines) - 1))
    key, sign, _ = lines[number].partition(":")
    if sign:
        lines[number] = f"{key}: {json.dumps(data.draw(TREES))}"
    else:
        del lines[number]
    text = "\n".join(lines)
    if not outcome(text.encode()):
        assert wrong(text) == []


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"], {}) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA
