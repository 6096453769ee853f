"""No test may fail for what else the machine does."""

import re
from pathlib import Path

import pytest
from hypothesis import settings

TESTS = Path(__file__).parent


def test_no_example_has_a_deadline() -> None:
    assert settings.default is not None
    assert settings.default.deadline is None
    said = [
        path.name
        for path in TESTS.rglob("*.py")
        if path != TESTS / "conftest.py"
        and re.search(r"deadline ?=\s?(\d|None|dt)", path.read_text())
    ]
    assert set(said) <= {Path(__file__).name}, "the profile says it once for all"


def test_a_test_has_ten_minutes(pytestconfig: pytest.Config) -> None:
    assert float(pytestconfig.getini("timeout")) >= 600
