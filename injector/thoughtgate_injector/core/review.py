"""Reviews a pod in one pure function: verdict, patch, status annotation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from thoughtgate_injector.core.mutate import Mutation, mutation, restoration
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.core.verdict import (
    Entry,
    Injection,
    NoChange,
    Restoration,
    Skip,
    decide,
)

Outcome = Mutation | NoChange | Skip | Refusal


@dataclass(frozen=True, slots=True)
class Reviewer:
    """The operator's settings and our own version, which are the same for every pod."""

    settings: Settings
    version: str

    def review(self, document: Mapping[str, Any], entry: Entry, *, of_job: bool = False) -> Outcome:
        """Decide about a decoded pod or template, and say how it is to be changed."""
        verdict = decide(document, entry, self.settings, of_job=of_job)
        if isinstance(verdict, Injection):
            return mutation(document, verdict, self.version)
        if isinstance(verdict, Restoration):
            return restoration(verdict)
        return verdict
