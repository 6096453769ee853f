"""The configuration, `schema: 1`: what a file that was accepted says.

These Structs are the one definition of the schema: the reader walks them, so a key that is not
here does not exist. `extra={"read": NAME}` names the reader of a text in `scalars.READERS`;
`one_or_many` lets a single text stand for a list of one. Durations are seconds, sizes bytes.
Values are valid once read; constructing one by hand (in tests) checks nothing.
"""

import enum
from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

DAY = 86_400.0

Id = Annotated[str, Meta(extra={"read": "id"})]
Url = Annotated[str, Meta(extra={"read": "url"})]
Glob = Annotated[str, Meta(extra={"read": "glob"})]
Method = Annotated[str, Meta(extra={"read": "method"})]
HeaderName = Annotated[str, Meta(extra={"read": "header name"})]
HeaderText = Annotated[str, Meta(extra={"read": "header value"})]
EnvName = Annotated[str, Meta(extra={"read": "variable"})]
FilePath = Annotated[str, Meta(extra={"read": "path"})]
FieldPath = Annotated[str, Meta(extra={"read": "field path"})]
Name = Annotated[str, Meta(extra={"read": "name"})]


class SourceKind(enum.Enum):
    """What a source speaks."""

    MCP = "mcp"


class ExposeMode(enum.Enum):
    """Which of a source's tools an agent may see."""

    ALL = "all"
    ALLOWLIST = "allowlist"
    BLOCKLIST = "blocklist"


class Action(enum.Enum):
    """What a rule does with a call; POLICY asks Cedar."""

    FORWARD = "forward"
    APPROVE = "approve"
    DENY = "deny"
    POLICY = "policy"


class Mode(enum.Enum):
    """OBSERVE decides, logs, counts, and forwards all the same."""

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


class Adapter(enum.Enum):
    """Where a workflow's humans decide."""

    SLACK = "slack"
    PAGE = "page"


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

    env: EnvName | None = None
    file: FilePath | None = None
    prefix: HeaderText = ""


class Timeouts(Section, frozen=True, kw_only=True):
    """How long the upstream may take; an event stream that has begun is not limited.

    `response` runs until the reply's first byte. Its default is long on purpose: a gate must not
    be the first to give up on a slow tool, as clients have their own limit (most often 60 s).
    """

    connect: Annotated[float, Meta(ge=0.1, le=300.0, extra={"read": "duration"})] = 5.0
    response: Annotated[float, Meta(ge=0.1, le=DAY, extra={"read": "duration"})] = 300.0


class Expose(Section, frozen=True, kw_only=True):
    """Which tools are visible: `tools` are globs, for the modes allowlist and blocklist."""

    mode: ExposeMode
    tools: tuple[Glob, ...] = ()


class Source(Section, frozen=True, kw_only=True):
    """An MCP server. `url` is absolute; a path in it is used verbatim."""

    id: Id
    url: Url
    kind: SourceKind = SourceKind.MCP
    enabled: bool = True
    description: str = ""
    expose: Expose = Expose(mode=ExposeMode.ALL)
    headers: Mapping[HeaderName, HeaderText | Credential] = {}
    ca_file: FilePath | None = None
    timeouts: Timeouts = Timeouts()
    passthrough_methods: tuple[Method, ...] = ()


class Defaults(Section, frozen=True, kw_only=True):
    """What happens to a call that no rule matches."""

    action: Action


class Rule(Section, frozen=True, kw_only=True):
    """One rule; the first that matches wins. No `kind` or `source` means all of them.

    `approval` names a workflow. After reading it is set wherever the rule can ask for an approval
    (actions approve and policy) and there is a workflow, so nobody else need choose one.
    """

    match: Glob
    action: Action
    kind: Kind | None = None
    source: str | None = None
    approval: str | None = None
    limit: Rate | None = None
    description: str = ""


class Governance(Section, frozen=True, kw_only=True):
    """The rules, and how they are put in force."""

    defaults: Defaults
    mode: Mode = Mode.ENFORCE
    deny_as: DenyAs = DenyAs.RESULT
    freeze: bool = False
    rules: tuple[Rule, ...] = ()


class Workflow(Section, frozen=True, kw_only=True):
    """One way of asking humans. `approvers` None: anyone whom the adapter reaches may decide."""

    adapter: Adapter
    channel: Annotated[str, Meta(extra={"read": "channel"})] | None = None
    timeout: Annotated[float, Meta(ge=5.0, le=7 * DAY, extra={"read": "duration"})] = 600.0
    valid_for: Annotated[float, Meta(ge=1.0, le=DAY, extra={"read": "duration"})] = 300.0
    hold: Annotated[float, Meta(ge=1.0, le=600.0, extra={"read": "duration"})] = 50.0
    approvers: tuple[Name, ...] | None = None
    required: Annotated[int, Meta(ge=1, le=20)] = 1
    mention: Annotated[
        tuple[Annotated[str, Meta(extra={"read": "mention"})], ...],
        Meta(extra={"one_or_many": True}),
    ] = ()
    redact_fields: tuple[FieldPath, ...] = ()
    on_disconnect: OnDisconnect = OnDisconnect.KEEP
    limit: Rate | None = None


class CedarSettings(Section, frozen=True, kw_only=True):
    """Where the Cedar policies are; what they say is `CedarPolicies`.

    `policies` are files or globs, relative to the config file's folder. `schema` is a file, or
    the schema itself if it has a brace, a semicolon or a line end in it.
    """

    policies: Annotated[tuple[FilePath, ...], Meta(extra={"one_or_many": True})] = ()
    inline: str | None = None
    schema: str | None = None

    @property
    def given(self) -> bool:
        """Whether any policy is configured."""
        return bool(self.policies) or self.inline is not None


class Audit(Section, frozen=True, kw_only=True):
    """What the audit lines hold."""

    arguments: AuditArguments = AuditArguments.REDACTED


KIB, MIB = 1 << 10, 1 << 20


class Limits(Section, frozen=True, kw_only=True):
    """What is refused for its size or number. `memory_bytes` None: from the cgroup's limit."""

    request_body_bytes: Annotated[int, Meta(ge=KIB, le=64 * MIB)] = MIB
    listing_reply_bytes: Annotated[int, Meta(ge=KIB, le=256 * MIB)] = 10 * MIB
    header_block_bytes: Annotated[int, Meta(ge=KIB, le=MIB)] = 64 * KIB
    batch: Annotated[int, Meta(ge=1, le=10_000)] = 100
    concurrent_requests: Annotated[int, Meta(ge=1, le=100_000)] = 10_000
    json_depth: Annotated[int, Meta(ge=4, le=128)] = 128
    pending_approvals: Annotated[int, Meta(ge=1, le=1_000)] = 10
    memory_bytes: Annotated[int, Meta(ge=MIB)] | None = None


class Config(Section, frozen=True, kw_only=True):
    """The whole file."""

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

    @property
    def default_workflow(self) -> str | None:
        """The workflow of an approval that names none: `default`, or the only one."""
        if "default" in self.approval:
            return "default"
        return next(iter(self.approval)) if len(self.approval) == 1 else None
