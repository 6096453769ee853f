"""What other parsers read in a body that is accepted is what was judged."""

# ruff: noqa: E501  a table is read row by row

import base64
import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from tests.harness.policy import read
from thoughtgate_proxy.core.protocol.message import Malformed, Request

GOOD = b'{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"get_user","arguments":{}}}'
BAD = GOOD.replace(b"get_user", b"admin_reset").replace(b":2,", b":1,")
PIECES = [
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\u0061", b"\\", b"\x00", b"\xff", b"\xc1\xa5",
    b"\xef\xbb\xbf", b"null", b'"name":', b'"Name":"admin_reset",', b'"method":"tools/call",',
    b'"params":{"name":"admin_reset"},', b'"id":3,', b"\r\n", b" ", b"1e999", b"NaN", b"//", b"/**/",
    b'"n\\u0061me":"admin_reset",', b'"na\\u0000me":"admin_reset",', b'"\\ud800":1,', b"\xe2\x80\xa8",
    "\u200b".encode(), '"ſ":1,'.encode(), b'"_meta":{"a":1},', b'"PARAMS":{"name":"admin_reset"},',
    b'"arguments":{"name":"x"},', b"'", b"0x10", b"01", b"1.", b"+1", b"true", b"\x0b", BAD,
]  # fmt: skip
MEMBERS = [
    b'"x":1,', b'"na\\u006de2":1,', b'"n\\u0061me":"admin_reset",', b'"name":"get_user",', b" ", b"\n\t",
    b'"Name":"admin_reset",', b'"na\\u0000me":"admin_reset",', b'"_meta":{"a":1},', '"ſ":1,'.encode(),
    '"ｎame":"admin_reset",'.encode(), b'"method":"ping",', b'"METHOD":"ping",', b'"ID":7,', b'"id":7,',
    b'"params":{},', b'"Params":{"name":"admin_reset"},', b'"arguments":{"name":"x"},', b'"y":[1,{"name":"z"}],',
    b'"jsonrpc":"2.0",', b'"__proto__":{"name":"admin_reset"},', b'"constructor":1,', b'"a":"\\ud83d\\ude00",',
    b'"b":"\\"name\\":",', '"na\u212ae":1,'.encode(), b'"c":1e2,', b'"d":-0.0,', b'"e":null,', b'"\\/":1,',
]  # fmt: skip
NODE = """
for (const line of require('fs').readFileSync(0, 'utf8').split('\\n').slice(0, -1)) {
  let found = null;
  try {
    const m = JSON.parse(new TextDecoder().decode(Buffer.from(line, 'base64')));
    found = [m.method ?? null, m.params?.name ?? null, m.id ?? null];
  } catch {}
  console.log(JSON.stringify(found));
}
"""
GO = """package main
import ("bufio"; "encoding/base64"; "encoding/json"; "fmt"; "os")
type message struct {
	Method string `json:"method"`
	ID any `json:"id"`
	Params struct { Name string `json:"name"` } `json:"params"`
}
func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for {
		line, err := in.ReadString('\\n')
		if err != nil { return }
		body, _ := base64.StdEncoding.DecodeString(line[:len(line)-1])
		var m message
		if json.Unmarshal(body, &m) != nil { fmt.Fprintln(out, "null"); continue }
		found, _ := json.Marshal([]any{m.Method, m.Params.Name, m.ID})
		fmt.Fprintln(out, string(found))
	}
}
"""


def made(count: int, seed: int) -> Iterator[bytes]:
    """Messages with pieces inserted, cut out, doubled, or with a byte changed."""
    chosen = random.Random(seed)  # noqa: S311  for tests
    for _ in range(count):
        data = chosen.choice((GOOD, BAD))
        for _ in range(chosen.randint(1, 3)):
            at, end = sorted((chosen.randint(0, len(data)), chosen.randint(0, len(data))))
            match chosen.randrange(8):
                case 0:
                    data = data[:at] + chosen.choice(PIECES) + data[at:]
                case 1 | 2 | 3 | 4:
                    # Where a member may stand: most of what is accepted is made so.
                    places = [n + 1 for n, byte in enumerate(data) if byte in b"{,"]
                    at = chosen.choice(places or [0])
                    data = data[:at] + chosen.choice(MEMBERS) + data[at:]
                case 5:
                    data = data[:at] + data[min(end, at + 12) :]
                case 6:
                    data = data[: min(end, at + 40)] + data[at:]
                case _:
                    data = data[:at] + bytes([chosen.randrange(256)]) + data[at + 1 :]
        yield data


def accepted(bodies: Iterator[bytes]) -> list[tuple[bytes, list[Any]]]:
    """The bodies that are one request, each with what is judged of it."""
    some = []
    for body in bodies:
        try:
            asked = read(body)
        except Malformed:
            continue
        if isinstance(asked, Request) and asked.method == "tools/call":
            some.append((body, [asked.method, asked.targets[0].name, asked.id]))
    return some


def in_python(body: bytes) -> Iterator[list[Any]]:
    for parse in (json.loads, orjson.loads, msgspec.json.decode):
        value = parse(body)
        yield [value["method"], value["params"]["name"], value["id"]]


def elsewhere(command: list[str], some: list[tuple[bytes, list[Any]]]) -> list[Any]:
    text = b"".join(base64.b64encode(body) + b"\n" for body, _ in some)
    ran = subprocess.run(command, input=text, capture_output=True, check=True, timeout=300)
    return [json.loads(line) for line in ran.stdout.splitlines()]


def differences(some: list[tuple[bytes, list[Any]]], *commands: list[str]) -> list[Any]:
    found = [
        (body, judged, other)
        for body, judged in some
        for other in in_python(body)
        if other != judged
    ]
    for command in commands:
        for (body, judged), other in zip(some, elsewhere(command, some), strict=True):
            # A parser that is stricter refuses it, which is no other reading.
            if other is not None and other != judged:
                found.append((body, judged, other))
    return found


def tool(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/local/go/bin"]))


needs_node = pytest.mark.skipif(tool("node") is None, reason="JavaScript's reading needs node")
needs_go = pytest.mark.skipif(tool("go") is None, reason="Go's reading needs go")


@needs_node
def test_what_is_accepted_is_read_alike_in_python_and_javascript() -> None:
    some = accepted(made(5000, 1))
    assert len(some) > 300
    assert differences(some, ["node", "-e", NODE]) == []


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Go's own parser, compiled: it takes `NAME` for `name`, and the last of two."""
    folder: Path = tmp_path_factory.mktemp("go")
    (folder / "main.go").write_text(GO)
    environ = {**os.environ, "GOCACHE": str(folder / "cache"), "HOME": str(folder)}
    command = [tool("go") or "go", "build", "-o", str(folder / "reads"), str(folder / "main.go")]
    subprocess.run(command, check=True, env=environ, cwd=folder, timeout=300)
    return str(folder / "reads")


@needs_node
@needs_go
@pytest.mark.long
def test_a_million_bodies(go: str) -> None:
    differing, number = [], 0
    for seed in range(20):
        some = accepted(made(50_000, 100 + seed))
        number += len(some)
        differing += differences(some, ["node", "-e", NODE], [go])
    print(f"json: 1,000,000 inputs, {number:,} accepted, {len(differing)} differences")
    assert number > 50_000
    assert not differing, differing[:5]
