"""What `tests/proxy/app/test_process_faults.py` tries, for long enough to see a slow leak."""

from pathlib import Path

import pytest
import uvloop

from tests.proxy.long.tally import MIB, run_mixture

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_nothing_leaks_in_a_hundred_thousand_requests_with_faults(tmp_path: Path) -> None:
    uvloop.run(run_mixture(tmp_path, 100_000, at_once=300, growth=8 * MIB))
