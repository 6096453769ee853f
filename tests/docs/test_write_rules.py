"""The examples of docs/write-rules.md answer as the page says."""

import re
import shlex
from pathlib import Path

import pytest

from thoughtgate_proxy.cli.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "write-rules.md").read_text()
BLOCKS = re.findall(r"```(yaml|console)\n(.*?)```", PAGE, re.DOTALL)
FILES = {
    text.split("\n")[0].removeprefix("# "): text
    for kind, text in BLOCKS
    if kind == "yaml" and text.startswith("# ") and text.split("\n")[0].endswith(".yaml")
}
EXAMPLES = [
    example.split("\n", 1)
    for kind, text in BLOCKS
    if kind == "console"
    for example in text.split("$ ")[1:]
]


@pytest.mark.parametrize(("command", "answer"), EXAMPLES, ids=[one[0] for one in EXAMPLES])
def test_an_example_answers_as_the_page_says(
    command: str, answer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explain, file, *words = shlex.split(command)
    path = tmp_path / file
    path.write_text(FILES[file])
    main([explain, str(path), "--identity", "team/app", *words], {})
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith(answer.strip())
    # Only what follows an undecided rule may be left out.
    assert told.removeprefix(answer.strip())[:1] in ("", ";")


def test_there_are_examples_of_each_part() -> None:
    assert set(FILES) == {"pay.yaml", "docs.yaml", "cedar.yaml"}
    assert len(EXAMPLES) >= 10
