"""What an accepted configuration says."""

from decimal import Decimal
from pathlib import Path

import pytest

from thoughtgate_proxy.approvals.channels.catalog import CHANNELS
from thoughtgate_proxy.approvals.channels.slack.workflow import SlackWorkflow
from thoughtgate_proxy.core.config.expand import NotExpandedError, expand
from thoughtgate_proxy.core.config.scalars import (
    READERS,
    UnreadableError,
    duration,
    glob,
    header_name,
    rate,
    url,
    written_duration,
)
from thoughtgate_proxy.core.config.values import (
    Action,
    AuditArguments,
    Condition,
    Config,
    Credential,
    DenyAs,
    ExposeMode,
    Kind,
    Limits,
    Mode,
    OnDisconnect,
    RateLimit,
    Timeouts,
)
from thoughtgate_proxy.runtime.config_loader import Loaded, load, load_text

CONFIGS = Path(__file__).parent / "files"
MINIMAL = (
    b"schema: 1\nsources: [{id: a, url: 'http://a'}]\ngovernance: {defaults: {action: deny}}\n"
)

ANYONE = "no `approvers`: anyone in the channel may decide"


def read(text: str | bytes, **environ: str) -> Loaded:
    data = text.encode() if isinstance(text, str) else text
    return load_text(data, "config.yaml", CONFIGS, environ, CHANNELS)


def everything() -> Config:
    return load(CONFIGS / "everything.yaml", {"TENANT": "t1", "FILES_KEY": "k"}, CHANNELS).config


def test_the_reference_documents_file_is_read_as_printed() -> None:
    loaded = load(CONFIGS / "reference.yaml", {}, CHANNELS)
    config = loaded.config
    assert [(source.id, source.url) for source in config.enabled_sources] == [
        ("upstream", "http://mcp-server:3000")
    ]
    assert config.governance.defaults.action is Action.FORWARD
    assert [(rule.match, rule.action, rule.approval) for rule in config.governance.rules] == [
        ("delete_*", Action.APPROVE, "default"),
        ("drop_*", Action.APPROVE, "default"),
        ("admin_*", Action.DENY, None),
    ]
    workflow = config.approval["default"]
    assert isinstance(workflow, SlackWorkflow)
    assert (workflow.adapter, workflow.channel, workflow.timeout) == (
        "slack",
        "#approvals",
        300.0,
    )
    assert [str(warning) for warning in loaded.warnings] == [
        f"{CONFIGS}/reference.yaml:21:5: approval.default: {ANYONE}"
    ]


def test_what_is_left_out_has_the_contracts_defaults() -> None:
    config = read(MINIMAL).config
    source = config.sources[0]
    assert (source.enabled, source.expose.mode) == (True, ExposeMode.ALL)
    assert source.timeouts == Timeouts(connect=5.0, response=300.0)
    assert (config.governance.mode, config.governance.deny_as) == (Mode.ENFORCE, DenyAs.RESULT)
    assert not config.governance.freeze
    assert config.audit.arguments is AuditArguments.REDACTED
    assert config.limits == Limits(
        request_body_bytes=1 << 20,
        listing_reply_bytes=10 << 20,
        header_block_bytes=16 << 10,
        batch=100,
        concurrent_requests=10_000,
        connections=128,
        json_values=10_000,
        json_depth=128,
        pending_approvals=10,
        memory_bytes=None,
    )
    workflow = read(MINIMAL + b"approval: {a: {adapter: page}}\n").config.approval["a"]
    assert (workflow.timeout, workflow.valid_for, workflow.hold) == (600.0, 300.0, 50.0)
    assert (workflow.required, workflow.approvers) == (1, None)
    assert workflow.on_disconnect is OnDisconnect.KEEP


def test_every_key_of_a_source_is_read() -> None:
    files, old = everything().sources
    assert files.description == "the files of t1"
    assert files.expose.mode is ExposeMode.BLOCKLIST
    assert files.expose.tools == ("admin_*", "debug?")
    assert files.headers == {
        "Authorization": Credential(file="/etc/thoughtgate-secrets/token", prefix="Bearer "),
        "X-Api-Key": Credential(env="FILES_KEY"),
        "X-Tenant": "${plain} t1",
    }
    assert files.timeouts == Timeouts(connect=0.5, response=5400.0)
    assert (files.ca_file, files.passthrough_methods) == ("ca.crt", ("vendor/doThing",))
    assert not old.enabled
    assert everything().enabled_sources == (files,)


def test_every_key_of_the_rules_is_read() -> None:
    governance = everything().governance
    assert (governance.mode, governance.deny_as, governance.freeze) == (
        Mode.OBSERVE,
        DenyAs.ERROR,
        True,
    )
    transfer, pay, local = governance.rules
    assert (transfer.kind, transfer.source, transfer.approval) == (Kind.TOOL, "files", "money")
    assert transfer.limit == RateLimit(20, 60.0)
    assert (local.kind, local.description) == (Kind.RESOURCE, "no local files")
    assert dict(pay.when) == {
        "amount": Condition(
            over=Decimal(1000), under=Decimal("1e6"), at_least=Decimal("0.5"), at_most=Decimal(2000)
        ),
        "card.kind": Condition(equals="credit"),
        "currency": Condition(one_of=("EUR", "USD")),
        "urgent": Condition(equals=True, present=True),
        "account": Condition(matches="DE*"),
        "comment": Condition(present=False),
    }


def test_every_key_of_a_workflow_is_read() -> None:
    money = everything().approval["money"]
    assert isinstance(money, SlackWorkflow)
    assert (money.timeout, money.valid_for, money.hold) == (5400.0, 90.0, 25.0)
    assert money.approvers == ("U0123456", "S0123456", "anna@example.com")
    assert (money.required, money.mention, money.redact_fields) == (4, ("here",), ("card.number",))
    assert (money.on_disconnect, money.limit) == (OnDisconnect.CANCEL, RateLimit(30, 3600.0))


def test_every_limit_is_read() -> None:
    config = everything()
    assert config.audit.arguments is AuditArguments.FULL
    limits = config.limits
    assert (limits.request_body_bytes, limits.listing_reply_bytes) == (2 << 20, 1 << 20)
    assert (limits.header_block_bytes, limits.memory_bytes) == (32 << 10, 32 << 20)
    assert (limits.batch, limits.concurrent_requests, limits.json_depth) == (10, 500, 64)
    assert (limits.connections, limits.json_values) == (64, 5000)
    assert limits.pending_approvals == 3


def test_the_only_workflow_serves_rules_that_name_none() -> None:
    config = read(
        MINIMAL.replace(b"}}", b"}, rules: [{match: x, action: approve}]}")
        + b"approval: {team: {adapter: page}}\n"
    ).config
    assert config.governance.rules[0].approval == "team"
    assert config.default_workflow == "team"


@pytest.mark.parametrize("spelling", ["true", "True", "yes", "on", "ON"])
def test_the_kill_switch_takes_every_spelling_of_true(spelling: str) -> None:
    text = MINIMAL.replace(b"}}", f"}}, freeze: {spelling}}}".encode())
    assert read(text).config.governance.freeze is True


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm() -> None:
    assert read(b"\xef\xbb\xbf" + MINIMAL.replace(b"\n", b"\r\n")).config == read(MINIMAL).config


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300.0),
        ("90s", 90.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("1d 2h 3m 4s", 93784.0),
        ("250ms", 0.25),
        ("PT5M", 300.0),
        ("P1DT1H", 90000.0),
        ("PT90S", 90.0),
        ("0s", 0.0),
    ],
)
def test_a_duration_is_read_in_each_allowed_form(text: str, seconds: float) -> None:
    assert duration(text) == seconds
    assert duration(written_duration(seconds)) == seconds


@pytest.mark.parametrize(
    "text",
    ["", " ", "5", "5 m", "m", "-5m", "+5m", "1.5m", "30m1h", "1m1m", "5M", "5min", "P", "PT",
     "P5M", "P1DT", "5m ", " 5m", "٥m", "12345678s", "1h  30m", "1d  3m", "pt5m", "5m\n"],
)  # fmt: skip
def test_a_text_that_only_looks_like_a_duration_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        duration(text)


@pytest.mark.parametrize(
    "text", ["0/m", "20", "20/", "/m", "20/w", "2.5/m", "20 / m", "-1/m", "²/m"]
)
def test_a_text_that_only_looks_like_a_rate_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        rate(text)


@pytest.mark.parametrize("text", ["a", "*", "a.*?", "file:///a b", "дом_*", "a,b", "$x", "a!"])
def test_a_glob_may_hold_any_character_of_a_name(text: str) -> None:
    assert glob(text) == text


@pytest.mark.parametrize("text", ["", "a[bc]", "a]", "{a,b}", "a\\*", "!a", "a\n", " a", "a\u202e"])
def test_a_glob_of_another_dialect_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        glob(text)


@pytest.mark.parametrize(
    "text",
    ["http://a", "https://a.b.c:8443/mcp", "http://[::1]:3000", "http://10.0.0.1/x?y=z", "HTTP://a",
     "http://a_b.svc.cluster.local./"],
)  # fmt: skip
def test_an_absolute_url_is_kept_as_written(text: str) -> None:
    assert url(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "a", "//a", "ftp://a", "http://", "http:///x", "http://a b", "http://u@a", "http://u:p@a",
     "http://a#f", "http://a#", "http://a:0", "http://a:70000", "http://a:x", "http://[::1",
     "http://[zz]", "http://a\\b", "http://a\nb", "http://пример", "http://a..b", "http://@a",
     "http://%61"],
)  # fmt: skip
def test_what_is_no_plain_absolute_url_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        url(text)


@pytest.mark.parametrize(
    "name",
    ["Host", "connection", "Content-Length", "Content-Type", "Transfer-Encoding", "Mcp-Session-Id",
     "mcp-name", "MCP-Protocol-Version", "Accept", "TE", "Proxy-Authorization", "Last-Event-ID",
     "X Y", "X:", "", "Ä"],
)  # fmt: skip
def test_a_header_that_the_proxy_itself_answers_for_is_refused(name: str) -> None:
    with pytest.raises(UnreadableError):
        header_name(name)


@pytest.mark.parametrize("text", ["_a", ".well-known", "", "a/b", "a" * 64, "ä", "a\n"])
def test_an_id_that_could_be_mistaken_in_a_path_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        READERS["id"].read(text)


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("a ${A} b", "a 1 b"),
        ("${A}${A}", "11"),
        ("${NONE:-x y}", "x y"),
        ("${NONE:-}", ""),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY}", ""),
        ("${B}", "${A}"),
        ("$${A}", "${A}"),
        ("$A $ {A} $$", "$A $ {A} $$"),
    ],
)
def test_variables_are_put_in_once(text: str, becomes: str) -> None:
    assert expand(text, {"A": "1", "B": "${A}", "EMPTY": ""}) == becomes


@pytest.mark.parametrize(
    "text", ["${NONE}", "${", "${A", "${}", "${1A}", "${A-b}", "${A:b}", "${ A }"]
)
def test_what_cannot_be_expanded_is_refused(text: str) -> None:
    with pytest.raises(NotExpandedError):
        expand(text, {"A": "1"})
