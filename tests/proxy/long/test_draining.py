"""What `tests/proxy/app/test_process.py` tries of draining, with many at once."""

from pathlib import Path

import pytest
import uvloop

from tests.proxy.long.draining import drained

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]


def test_a_thousand_requests_under_way_end_in_words(tmp_path: Path) -> None:
    uvloop.run(drained(tmp_path, 250))
