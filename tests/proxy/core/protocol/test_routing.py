"""A request target means one source, and one path at its server."""

# ruff: noqa: E501  a table is read row by row

import pytest

from thoughtgate_proxy.core.config.values import Source
from thoughtgate_proxy.core.protocol.http import HttpRefused
from thoughtgate_proxy.core.protocol.routing import Route, route, well_known

BARE = Source(id="a", url="http://a:3000")
SLASH = Source(id="slash", url="http://a:3000/")
PATH = Source(id="b", url="http://b/mcp/v1?tenant=x")


LISTED = Source(id="listed", url="http://a", paths=("/v1/mcp", "/sse?tenant=x"))
OFF = Source(id="off", url="http://off", enabled=False)


@pytest.mark.parametrize("target", ["/", "/mcp", "/mcp/"])
def test_without_a_path_the_usual_endpoints_are_there_and_kept(target: str) -> None:
    for source in (BARE, LISTED):
        assert route(target, [source]) == Route(source, target)


@pytest.mark.parametrize("target", ["/v1/mcp", "/sse?tenant=x"])
def test_an_endpoint_that_is_listed_is_there_as_it_is_listed(target: str) -> None:
    assert route(target, [LISTED]) == Route(LISTED, target)
    assert route(f"/listed{target}", [LISTED, BARE]) == Route(LISTED, target)


@pytest.mark.parametrize(
    ("source", "target"), [(PATH, "/mcp/v1?tenant=x"), (SLASH, "/")], ids=["path", "slash"]
)
def test_with_a_path_in_the_url_that_one_is_reached_alone(source: Source, target: str) -> None:
    for asked in ("/", "/mcp", "/mcp/", target, target.split("?", maxsplit=1)[0]):
        assert route(asked, [source]).target == target


@pytest.mark.parametrize("source", [BARE, PATH, SLASH, LISTED])
@pytest.mark.parametrize(
    "target",
    ["/users/7", "/users/delete", "/admin/reset", "/MCP", "/mcp/x", "/mcp?x=y", "/?x", "/%6dcp",
     "/mcp/;x", "/mcp/v1?tenant=y", "/v1/mcp/", "/v1/mcp?", "/sse", "/sse?tenant=x&y", "/ws", "/%20"],
)  # fmt: skip
def test_no_other_path_of_a_server_is_reached(source: Source, target: str) -> None:
    for asked, sources in ((target, [source]), (f"/{source.id}{target}", [source, OFF])):
        with pytest.raises(HttpRefused) as refused:
            route(asked, sources)
        assert refused.value.status == 404
        assert "`/mcp`" in refused.value.reason or f"`/{source.id}/mcp`" in refused.value.reason


def test_a_source_that_is_disabled_counts_and_is_named() -> None:
    for target in ("/off", "/off/", "/off/mcp"):
        with pytest.raises(HttpRefused, match="`off` is disabled") as refused:
            route(target, [BARE, OFF])
        assert refused.value.status == 404
    assert route("/a/mcp", [BARE, OFF]).source == BARE
    with pytest.raises(HttpRefused, match="`/a`, `/off`"):
        route("/mcp", [BARE, OFF])


@pytest.mark.parametrize(
    ("target", "source", "upstream"),
    [
        ("/a", BARE, "/"), ("/a/", BARE, "/"), ("/a/mcp", BARE, "/mcp"), ("/a/mcp/", BARE, "/mcp/"),
        ("/b", PATH, "/mcp/v1?tenant=x"), ("/b/mcp", PATH, "/mcp/v1?tenant=x"),
        ("/b/mcp/v1", PATH, "/mcp/v1?tenant=x"),
    ],
)  # fmt: skip
def test_several_sources_answer_each_under_its_id(
    target: str, source: Source, upstream: str
) -> None:
    found = route(target, [BARE, PATH])
    assert (found.source, found.target) == (source, upstream)


@pytest.mark.parametrize("target", ["/", "/c", "/A/x", "/ab", "/mcp/a", "/%61/x", "/a%2fx", "/mcp"])
def test_elsewhere_the_ids_are_told(target: str) -> None:
    with pytest.raises(HttpRefused) as refused:
        route(target, [BARE, PATH])
    assert refused.value.status in (400, 404)
    if refused.value.status == 404:
        assert "`/a`, `/b`" in refused.value.reason


@pytest.mark.parametrize(
    "target",
    ["//evil", "/a//b", "/../b", "/a/..", "/a/./b", "/.", "/%2e%2e/b", "/a%2Fb", "/a\\b", "/a%5cb",
     "/a%00", "http://evil/x", "*", "", "a", "/a b", "/\xe9", "/a\r\nx: y", "/a#b", "/a\0", "/a\x7f",
     "/?x y", "/x?#"],
)  # fmt: skip
def test_a_target_that_could_mean_another_path_is_refused(target: str) -> None:
    for sources in ([BARE], [BARE, PATH], [PATH]):
        with pytest.raises(HttpRefused) as refused:
            route(target, sources)
        assert refused.value.status == 400


@pytest.mark.parametrize(
    "target",
    ["/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server/mcp/v1",
     "/.well-known/openid-configuration"],
)  # fmt: skip
def test_authorization_metadata_is_asked_at_the_servers_origin(target: str) -> None:
    found = well_known(target, [PATH])
    assert found is not None
    assert found.target == target


@pytest.mark.parametrize(
    "target",
    ["/.well-known/", "/.well-known/oauth", "/.well-known/security.txt", "/x/.well-known/oauth-x",
     "/.well-known/oauth-x%41", "/.well-known/oauth-x;y", "/.well-known/oauth-%78",
     "/.WELL-KNOWN/oauth-x", "/.well-known/oauth-protected-resource/mcp?x=1"],
)  # fmt: skip
def test_nothing_else_is(target: str) -> None:
    assert well_known(target, [PATH]) is None


@pytest.mark.parametrize(
    "target", ["/.well-known/oauth-x/../../mcp", "/.well-known/oauth-x/%2e%2e/a"]
)
def test_metadata_is_no_way_to_another_path(target: str) -> None:
    with pytest.raises(HttpRefused):
        well_known(target, [PATH])


def test_of_several_sources_none_owns_the_origin() -> None:
    assert well_known("/.well-known/oauth-protected-resource", [BARE, PATH]) is None
    assert well_known("/.well-known/oauth-protected-resource", [BARE, OFF]) is None
