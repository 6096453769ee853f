"""What the demo's agents ask, and what must become of it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Call:
    """One tool call, how the gate must decide it, and a word that the reason must have.

    `refusal`: where a human is asked and nobody is there, the demo refuses with these words; it
    approves if there are none.
    """

    tool: str
    arguments: dict[str, Any]
    outcome: str
    reason: str
    refusal: str | None = None


@dataclass(frozen=True)
class Agent:
    """An agent by its pod's labels, and its calls in order."""

    title: str
    labels: dict[str, str]
    calls: list[Call] = field(default_factory=list)


STORY = [
    Agent(
        "the agent of examples/pod.yaml",
        {"app": "my-agent", "team": "data-engineering"},
        [
            Call("get_user", {"user_id": 7}, "forward", "governance.defaults.action"),
            Call("admin_reset", {}, "deny", "admin_*"),
            Call("delete_user", {"user_id": 7}, "hold", "delete_*"),
            Call("transfer_funds", {"amount": 5, "to": "Bob"}, "forward", "transfer.cedar#0"),
        ],
    ),
    Agent(
        "another team's agent, under the same configuration",
        {"app": "helpdesk", "team": "support"},
        [
            Call(
                "transfer_funds",
                {"amount": 5, "to": "Bob"},
                "hold",
                "transfer.cedar#1",
                refusal="Bob left the company",
            )
        ],
    ),
]
