"""The page on compatibility says what these tests have measured."""

import pytest

from tests.conformance import report
from tests.conformance.measured import Measured


@pytest.mark.timeout(1200)  # alone it measures everything
def test_the_page_holds_the_tables_of_real_results(measured: Measured) -> None:
    again = "measure anew with `python -m tests.conformance`, and read the difference"
    assert report.written() == report.tables(measured), again
