"""Each key of the configuration does something, stands in the documentation, and is tried."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from msgspec import inspect

from thoughtgate_proxy.approvals.channels.catalog import CHANNELS
from thoughtgate_proxy.core.config import values
from thoughtgate_proxy.core.config.scalars import written_duration
from thoughtgate_proxy.core.config.values import Section

ROOT = Path(__file__).parents[4]
PROXY = ROOT / "proxy/thoughtgate_proxy"
SECTIONS = {
    values.Config: "write-rules.md#The keys of the file",
    values.Audit: "write-rules.md#The keys of the file",
    values.Rule: "write-rules.md#Rules",
    values.Condition: "write-rules.md#Rules",
    values.Governance: "write-rules.md#For all rules",
    values.Defaults: "write-rules.md#For all rules",
    values.Source: "write-rules.md#Sources",
    values.Credential: "write-rules.md#Sources",
    values.Timeouts: "write-rules.md#Sources",
    values.Expose: "write-rules.md#Sources",
    values.CedarSettings: "write-rules.md#Cedar",
    values.Limits: "write-rules.md#Limits",
    values.Workflow: "approve.md#Workflows",
}
# Those that nobody else need read: one is checked, one is for people, and of the others the reading
# of the configuration makes `CedarPolicies`.
READ_AT_ONCE = {"Config.schema", "Source.description", "Rule.description", "Config.cedar"} | {
    f"CedarSettings.{key}" for key in values.CedarSettings.__struct_fields__
}


def _sections(base: type[Section] = Section) -> Iterator[type[Section]]:
    for section in base.__subclasses__():
        if section.__module__.startswith("thoughtgate_proxy."):  # and no test's own
            yield section
        yield from _sections(section)


# Whose workflows have keys of their own.
assert CHANNELS
KEYS = [
    pytest.param(section, key, id=f"{section.__name__}.{key}")
    for section in _sections()
    for key in section.__struct_encode_fields__
]


def test_each_section_has_its_place_in_the_documentation() -> None:
    assert [section for section in _sections() if SECTIONS.keys().isdisjoint(section.mro())] == []


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_a_key_is_read(section: type[Section], key: str) -> None:
    attribute = section.__struct_fields__[section.__struct_encode_fields__.index(key)]
    assert attribute in _read_names() or f"{section.__name__}.{key}" in READ_AT_ONCE


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_a_key_is_documented(section: type[Section], key: str) -> None:
    spans = re.findall("`([^`]+)`", _documented(section))
    assert any(re.search(rf"\b{key}\b", span) for span in spans)


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_a_key_is_tried(section: type[Section], key: str) -> None:
    assert re.search(rf"\b{key}[\"']?: |\b{key}=", _tests()), section


@pytest.mark.parametrize("section", [values.Limits, values.Workflow])
def test_the_tables_have_the_defaults_and_the_bounds(section: type[Section]) -> None:
    described = inspect.type_info(section)
    assert isinstance(described, inspect.StructType)
    for field in described.fields:
        numbers = list(_numbers(field.type))
        if not numbers:
            continue
        written = written_duration if isinstance(numbers[0], inspect.FloatType) else str
        [row] = re.findall(rf"^\| `{field.name}` \|.*", _documented(section), re.MULTILINE)
        _, _, default, allowed, *_ = (cell.strip() for cell in row.split("|"))
        if field.default is not None:
            assert default == written(field.default)
        for bound in (numbers[0].ge, numbers[0].le):
            if bound is not None:
                assert written(bound) in allowed.split()


def _numbers(kind: inspect.Type) -> Iterator[inspect.IntType | inspect.FloatType]:
    if isinstance(kind, inspect.Metadata):
        yield from _numbers(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from _numbers(one)
    elif isinstance(kind, inspect.IntType | inspect.FloatType):
        yield kind


def _documented(section: type[Section]) -> str:
    place = next(SECTIONS[base] for base in section.mro() if base in SECTIONS)
    page, _, heading = place.partition("#")
    text = re.sub(
        "^```.*?^```", "", (ROOT / "docs" / page).read_text(), flags=re.MULTILINE | re.DOTALL
    )
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


@cache
def _read_names() -> set[str]:
    """The attributes that anything but the reading of the configuration looks at."""
    found: set[str] = set()
    for path in PROXY.rglob("*.py"):
        if PROXY / "core/config" in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                found.add(node.attr)
            elif isinstance(node, ast.MatchClass):
                found.update(node.kwd_attrs)
    return found


@cache
def _tests() -> str:
    folders = (ROOT / "tests/proxy", ROOT / "tests/harness")
    paths = (path for folder in folders for path in folder.rglob("*"))
    return "\n".join(
        path.read_text() for path in paths if path.suffix in (".py", ".yaml") and path.is_file()
    )
