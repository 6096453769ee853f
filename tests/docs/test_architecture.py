"""The pages for developers name files and classes that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "proxy/thoughtgate_proxy", ROOT / "injector/thoughtgate_injector", ROOT)
PAGES = [
    *(ROOT / "docs").glob("architecture.md"),
    *(ROOT / "docs").glob("extend.md"),
    ROOT / "CONTRIBUTING.md",
]
# `folder/file.py`, with `:Name` behind it or without.
NAMED = re.compile(r"`([\w./-]+/[\w./-]*?)(?::(\w+))?`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    missing = []
    for name, symbol in NAMED.findall(page.read_text()):
        if name.startswith("thoughtgate.io/") or "NAME" in name:
            continue  # an annotation, or what the reader is to choose
        found = [base / name for base in PACKAGES if (base / name).exists()]
        if not found:
            missing.append(name)
        elif symbol and not re.search(rf"(class|def) {symbol}\b", found[0].read_text()):
            missing.append(f"{name}:{symbol}")
    assert missing == []
