"""Golden pods: `pods/NAME.yaml` and what becomes of it, `pods/NAME.patched.yaml`.

`pods/refused/NAME.yaml` has its reasons in `NAME.txt`. `python -m tests.injector.golden` writes
all of them anew; read the difference before committing.
"""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from thoughtgate_injector.core.mutate import Mutation
from thoughtgate_injector.core.patch import apply
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.review import Outcome, Reviewer
from thoughtgate_injector.core.settings import GUARDED, Settings
from thoughtgate_injector.core.verdict import Entry

PODS = Path(__file__).parent / "pods"
REFUSED = PODS / "refused"
_ALLOWING = Settings(
    allowed=frozenset(GUARDED), env={"NO_PROXY": ".svc", "HTTPS_PROXY": "http://p"}
)


@dataclass(frozen=True)
class Case:
    """One input; a comment on its first line may name the webhook's entry or open settings."""

    path: Path
    pod: dict[str, Any]
    entry: Entry
    reviewer: Reviewer

    @property
    def name(self) -> str:
        return self.path.stem

    def review(self, pod: dict[str, Any] | None = None) -> Outcome:
        return self.reviewer.review(self.pod if pod is None else pod, self.entry)

    def patched(self) -> dict[str, Any]:
        outcome = self.review()
        assert isinstance(outcome, Mutation), outcome
        pod = copy.deepcopy(self.pod)
        apply(pod, copy.deepcopy(outcome.operations))
        return pod


def injected() -> list[Case]:
    return list(_cases(PODS))


def refused() -> list[Case]:
    return list(_cases(REFUSED))


def _cases(folder: Path) -> Iterator[Case]:
    for path in sorted(folder.glob("*.yaml")):
        if path.name.endswith(".patched.yaml"):
            continue
        text = path.read_text()
        entry = re.match(r"# entry: (\w+)", text)
        yield Case(
            path,
            yaml.safe_load(text),
            Entry(entry[1]) if entry else Entry.POD,
            Reviewer(_ALLOWING if text.startswith("# Settings:") else Settings(), "0.2.0"),
        )


def golden(case: Case) -> Path:
    return case.path.with_suffix(".txt" if case.path.parent == REFUSED else ".patched.yaml")


def text(case: Case) -> str:
    """Give what the golden file of a case should hold."""
    outcome = case.review()
    if isinstance(outcome, Refusal):
        return "".join(f"{reason}\n" for reason in outcome.reasons)
    assert isinstance(outcome, Mutation), outcome
    warnings = "".join(f"# warning: {warning}\n" for warning in outcome.warnings)
    return warnings + yaml.safe_dump(case.patched(), sort_keys=False, width=2**31)


if __name__ == "__main__":
    for each in injected() + refused():
        golden(each).write_text(text(each))
