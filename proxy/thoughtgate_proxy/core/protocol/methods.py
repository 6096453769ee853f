"""The methods of the known protocol revisions, and what each one asks for.

Source: `schema.ts` of revisions 2024-11-05 to 2026-07-28, and the tasks extension. A method that is
in none of these tables could do anything, so it passes only where a source names it in
`passthrough_methods`.
"""

from collections.abc import Collection

from thoughtgate_proxy.core.config.values import Kind

GATED = {
    "tools/call": Kind.TOOL,
    "prompts/get": Kind.PROMPT,
    "resources/read": Kind.RESOURCE,
    "resources/subscribe": Kind.RESOURCE,
    # The next two name what they reach for inside another object; `core.message` finds it.
    "subscriptions/listen": Kind.RESOURCE,
    "completion/complete": None,
}
"""Methods that are judged, with the kind of their target (None: it depends on the message)."""

LISTINGS = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
"""Methods whose reply lists things, with the key of the list in the result."""

UNGATED = frozenset(LISTINGS) | {
    "initialize", "ping", "logging/setLevel", "resources/unsubscribe", "server/discover",
    "tasks/cancel", "tasks/get", "tasks/list", "tasks/result", "tasks/update",
}  # fmt: skip
"""Requests that pass unjudged: none of them makes the server act on something of its own."""

NOTIFICATIONS = frozenset({
    "notifications/cancelled", "notifications/elicitation/complete", "notifications/initialized",
    "notifications/message", "notifications/progress", "notifications/roots/list_changed",
    "notifications/tasks/status",
})  # fmt: skip
"""Notifications that a client may send."""

KNOWN = frozenset(GATED) | UNGATED | NOTIFICATIONS


def unknown(method: str, passed: Collection[str]) -> str | None:
    """Why a message of this method is refused whatever else it says: one line, or None.

    `passed` are the source's `passthrough_methods`.
    """
    if method in KNOWN or method in passed:
        return None
    return (
        f"Method not found: `{ascii(method[:100])[1:-1]}` is of no known protocol revision "
        "and not in the source's `passthrough_methods`"
    )
