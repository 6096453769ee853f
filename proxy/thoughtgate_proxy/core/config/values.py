"""The configuration, `schema: 1`: what a file that was accepted says.

These Structs are the one definition of the schema: the reader walks them, so a key that is not
here does not exist, and so does the JSON Schema, which shows the docstrings' first paragraphs and
the fields' descriptions to editors. `extra={"read": NAME}` names the reader of a text in
`scalars.READERS`; `one_or_many` lets a single text stand for a list of one. Durations are seconds,
sizes bytes. Values are valid once read; constructing one by hand (in tests) checks nothing.
"""

import enum
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

DAY = 86_400.0

Id = Annotated[str, Meta(extra={"read": "id"})]
Url = Annotated[str, Meta(extra={"read": "url"})]
Glob = Annotated[str, Meta(extra={"read": "glob"})]
Endpoint = Annotated[str, Meta(extra={"read": "endpoint"})]
Method = Annotated[str, Meta(extra={"read": "method"})]
HeaderName = Annotated[str, Meta(extra={"read": "header name"})]
HeaderText = Annotated[str, Meta(extra={"read": "header value"})]
EnvName = Annotated[str, Meta(extra={"read": "variable"})]
FilePath = Annotated[str, Meta(extra={"read": "path"})]
FieldPath = Annotated[str, Meta(extra={"read": "field path"})]
Name = Annotated[str, Meta(extra={"read": "name"})]
# A text, a Decimal or a boolean, which no type of msgspec's says.
Scalar = Annotated[Any, Meta(extra={"read": "scalar"})]
Number = Annotated[Decimal, Meta(extra={"read": "number"})]


def about(description: str) -> Meta:
    """What a field is for, to be shown by editors."""
    return Meta(description=description)


def lasting(least: float, most: float, description: str) -> Meta:
    """A duration between two others, in seconds."""
    return Meta(ge=least, le=most, description=description, extra={"read": "duration"})


FOR_PEOPLE = about("for people")


class SourceKind(enum.Enum):
    """What a source speaks."""

    MCP = "mcp"


class ExposeMode(enum.Enum):
    """Which of a source's tools an agent may see."""

    ALL = "all"
    ALLOWLIST = "allowlist"
    BLOCKLIST = "blocklist"


class Action(enum.Enum):
    """What becomes of a call; `approve` asks a human, `policy` asks Cedar."""

    FORWARD = "forward"
    APPROVE = "approve"
    DENY = "deny"
    POLICY = "policy"


class Mode(enum.Enum):
    """`observe` decides, logs, counts, and forwards all the same."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


class DenyAs(enum.Enum):
    """The form of a refused `tools/call`: a result with `isError`, or a JSON-RPC error."""

    RESULT = "result"
    ERROR = "error"


class Kind(enum.Enum):
    """What a rule is about."""

    TOOL = "tool"
    PROMPT = "prompt"
    RESOURCE = "resource"

    # There is one of each; Enum's own, in Python, is felt on the way of a call.
    __hash__ = object.__hash__


class OnDisconnect(enum.Enum):
    """What becomes of a pending request whose caller left."""

    KEEP = "keep"
    CANCEL = "cancel"


class AuditArguments(enum.Enum):
    """How much of a call's arguments an audit line shows."""

    REDACTED = "redacted"
    FULL = "full"
    DIGEST = "digest"


class RateLimit(Struct, frozen=True):
    """`20/m`: `count` calls in any `seconds`."""

    count: int
    seconds: float


Rate = Annotated[RateLimit, Meta(extra={"read": "rate"})]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping of the file; keys that are not fields are refused."""


class Credential(Section, frozen=True, kw_only=True):
    """A header's value from outside the file: exactly one of `env` and `file` is set.

    A file is read again when it rotates, its trailing line ends are not part of the value; a
    relative path starts at the config file's folder. `prefix` stands before it: `"Bearer "`.
    """

    env: Annotated[EnvName, about("the variable that holds the value")] | None = None
    file: Annotated[FilePath, about("the file that holds the value")] | None = None
    prefix: Annotated[HeaderText, about('stands before the value: `"Bearer "`')] = ""


class Timeouts(Section, frozen=True, kw_only=True):
    """How long the upstream may take. A reply that has begun ends with its server or its client.

    `response` runs until the head of the reply is whole. Its default is long on purpose: a gate
    must not be the first to give up on a slow tool, as clients have their own limit (most often
    60 s).
    """

    connect: Annotated[float, lasting(0.1, 300.0, "until the connection stands")] = 5.0
    response: Annotated[float, lasting(0.1, DAY, "until the reply has begun")] = 300.0


class Expose(Section, frozen=True, kw_only=True):
    """Which tools are visible: `tools` are globs, for the modes allowlist and blocklist."""

    mode: ExposeMode
    tools: tuple[Glob, ...] = ()


class Source(Section, frozen=True, kw_only=True):
    """An MCP server."""

    id: Annotated[Id, about("one source answers at its endpoints, several each under `/<id>`")]
    url: Annotated[Url, about("absolute; with its path, where the server has one")]
    kind: SourceKind = SourceKind.MCP
    paths: Annotated[
        tuple[Endpoint, ...], about("endpoints beside `/`, `/mcp` and `/mcp/`, for a bare `url`")
    ] = ()
    enabled: Annotated[bool, about("`false` lets its path answer 404")] = True
    description: Annotated[str, FOR_PEOPLE] = ""
    expose: Expose = Expose(mode=ExposeMode.ALL)
    headers: Annotated[
        Mapping[HeaderName, HeaderText | Credential],
        about("added to each request, in place of the agent's"),
    ] = {}
    ca_file: (
        Annotated[FilePath, about("the authority to trust for `https`, in place of the system's")]
        | None
    ) = None
    timeouts: Timeouts = Timeouts()
    passthrough_methods: Annotated[
        tuple[Method, ...], about("methods of no known protocol revision that may pass")
    ] = ()


class Defaults(Section, frozen=True, kw_only=True):
    """What happens to a call that no rule matches."""

    action: Action


class Condition(Section, frozen=True, kw_only=True):
    """What one argument must be; all that stands here must hold. Numbers are compared exactly.

    `core.policy.conditions` says what becomes of a value that cannot be compared.
    """

    equals: Annotated[Scalar, about("is this text, number or boolean")] = None
    one_of: Annotated[tuple[Scalar, ...], about("is one of these, all of one type")] = field(
        name="in", default=()
    )
    over: Annotated[Number, about("is a number greater than this")] | None = None
    under: Annotated[Number, about("is a number less than this")] | None = None
    at_least: Annotated[Number, about("is a number not less than this")] | None = None
    at_most: Annotated[Number, about("is a number not greater than this")] | None = None
    matches: Annotated[Glob, about("is a text that the glob matches as a whole")] | None = None
    present: Annotated[bool, about("is there (`true`), be it null, or not (`false`)")] | None = None


class Rule(Section, frozen=True, kw_only=True):
    """One rule; the first that matches wins. No `kind` or `source` means all of them.

    `approval` names a workflow. After reading it is set wherever the rule can ask for an approval
    (actions approve and policy) and there is a workflow, so nobody else need choose one.
    """

    match: Annotated[Glob, about("a glob over the whole name, or a resource's URI")]
    action: Action
    kind: Kind | None = None
    source: Annotated[str, about("only for this source")] | None = None
    approval: Annotated[str, about("the workflow that is asked, in place of `default`")] | None = (
        None
    )
    limit: Annotated[Rate, about("so many calls, then denied with the time to wait")] | None = None
    when: Annotated[
        Mapping[FieldPath, Condition], about("only where all these arguments are so")
    ] = {}
    description: Annotated[str, FOR_PEOPLE] = ""


class Governance(Section, frozen=True, kw_only=True):
    """The rules, and how they are put in force."""

    defaults: Defaults
    mode: Mode = Mode.ENFORCE
    deny_as: DenyAs = DenyAs.RESULT
    freeze: Annotated[bool, about("the kill switch: `true` denies every gated call")] = False
    rules: tuple[Rule, ...] = ()


class Workflow(Section, frozen=True, kw_only=True):
    """One way of asking humans. No `approvers`: anyone whom the adapter reaches may decide.

    `adapter` names the channel, which may have keys of its own: then its workflows are of a class
    of its own, with these as fields (`workflows.WorkflowType.keys`).
    """

    adapter: str
    timeout: Annotated[float, lasting(5.0, 7 * DAY, "how long humans have to decide")] = 600.0
    valid_for: Annotated[float, lasting(1.0, DAY, "how long an approval may wait for use")] = 300.0
    hold: Annotated[float, lasting(1.0, 600.0, "how long the agent's request is held")] = 50.0
    approvers: Annotated[tuple[Name, ...], about("the only ones who may decide")] | None = None
    required: Annotated[int, Meta(ge=1, le=20, description="how many must approve")] = 1
    redact_fields: Annotated[
        tuple[FieldPath, ...], about("arguments that approvers do not see")
    ] = ()
    on_disconnect: OnDisconnect = OnDisconnect.KEEP
    limit: Annotated[Rate, about("so many requests for approval")] | None = None

    @property
    def where(self) -> str:
        """Where its adapter asks, for people; the adapter's name where that says it all."""
        return self.adapter


class CedarSettings(Section, frozen=True, kw_only=True):
    """Where the Cedar policies are, for the action `policy`.

    What they say is `CedarPolicies`. `policies` are relative to the config file's folder; `schema`
    is the schema itself if it has a brace, a semicolon or a line end in it.
    """

    policies: Annotated[
        tuple[FilePath, ...],
        Meta(extra={"one_or_many": True}, description="files, or globs, beside this file"),
    ] = ()
    inline: Annotated[str, about("policies, written here")] | None = None
    schema: Annotated[str, about("a file with Cedar's schema, or the schema itself")] | None = None

    @property
    def given(self) -> bool:
        """Whether any policy is configured."""
        return bool(self.policies) or self.inline is not None


class Audit(Section, frozen=True, kw_only=True):
    """What the audit lines hold."""

    arguments: AuditArguments = AuditArguments.REDACTED


KIB, MIB = 1 << 10, 1 << 20


class Limits(Section, frozen=True, kw_only=True):
    """What is refused for its size or number.

    `header_block_bytes` is a whole head, `json_values` the keys and values of a body. No
    `memory_bytes`: what the cgroup leaves, which is never exceeded.
    """

    request_body_bytes: Annotated[int, Meta(ge=KIB, le=64 * MIB)] = MIB
    listing_reply_bytes: Annotated[int, Meta(ge=KIB, le=256 * MIB)] = 10 * MIB
    header_block_bytes: Annotated[int, Meta(ge=KIB, le=64 * KIB)] = 16 * KIB
    batch: Annotated[int, Meta(ge=1, le=10_000)] = 100
    concurrent_requests: Annotated[int, Meta(ge=1, le=100_000)] = 10_000
    connections: Annotated[int, Meta(ge=4, le=10_000)] = 128
    json_depth: Annotated[int, Meta(ge=4, le=128)] = 128
    json_values: Annotated[int, Meta(ge=100, le=1_000_000)] = 10_000
    pending_approvals: Annotated[int, Meta(ge=1, le=1_000)] = 10
    memory_bytes: Annotated[int, Meta(ge=MIB)] | None = None


class Config(Section, frozen=True, kw_only=True):
    """The whole file: which MCP servers there are, and what becomes of each call."""

    schema: Literal[1]
    sources: tuple[Source, ...]
    governance: Governance
    approval: Mapping[Id, Workflow] = {}
    cedar: CedarSettings = CedarSettings()
    audit: Audit = Audit()
    limits: Limits = Limits()

    @property
    def enabled_sources(self) -> tuple[Source, ...]:
        """The sources that are served, in the file's order; never empty."""
        return tuple(source for source in self.sources if source.enabled)

    def workflows_of(self, adapter: str) -> Mapping[str, Workflow]:
        """The workflows that ask there, by name."""
        return {name: one for name, one in self.approval.items() if one.adapter == adapter}

    @property
    def default_workflow(self) -> str | None:
        """The workflow of an approval that names none: `default`, or the only one."""
        if "default" in self.approval:
            return "default"
        return next(iter(self.approval)) if len(self.approval) == 1 else None
