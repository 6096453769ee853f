"""The human of the demo: somebody at the approvals page, or the demo itself."""

import json
import os
import secrets
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from examples.demo.processes import NotAsTold, lines, wait
from examples.demo.story import Call

_PROGRAM = str(Path(sys.executable).parent / "thoughtgate-proxy")
_COMMAND_SECONDS = 30.0


class Human:
    """An approver called `alice`, with a token of their own."""

    def __init__(self, folder: Path) -> None:
        token = secrets.token_urlsafe(24)
        self.tokens, self._token_file = folder / "approver-tokens", folder / "token"
        self.tokens.write_text(f"alice:{token}\n")
        self._token_file.write_text(token)
        self._fragment = f"#token={token}"
        wanted = os.environ.get("DEMO") or ("wait" if sys.stdin.isatty() else "auto")
        if wanted not in ("auto", "wait"):
            raise NotAsTold(f"DEMO: `{wanted}`, allowed are auto and wait")
        self.alone = wanted == "auto"

    def decide(self, log: Path, call: Call) -> None:
        """Send somebody to the page; or decide in their place, with the command for it."""
        wait(lambda: lines(log, "the approvals page is served"), "the approvals page")
        url = f"http://localhost:{lines(log, 'the approvals page is served')[0]['page_port']}"
        print(f"   a human decides   {url}/{self._fragment}")
        if not self.alone:
            print("                     waiting for your click; DEMO=auto decides by itself")
            return
        wait(lambda: self._pending(url), "the request on the page")
        (request,) = self._pending(url)
        words = ["approve", request["id"]]
        if call.refusal:
            words = ["reject", request["id"], "--reason", call.refusal]
        self._run(*words, "--json", url=url)
        print(f"   $ thoughtgate-proxy approvals {shlex.join(words)}")

    def _pending(self, url: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._run("list", "--json", url=url)["pending"]
        return found

    def _run(self, *words: str, url: str) -> Any:
        where = ["--url", url, "--token-file", str(self._token_file)]
        command = [_PROGRAM, "approvals", *words, *where]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
        )
        if done.returncode:
            raise NotAsTold(f"`approvals {words[0]}` failed: {done.stderr.strip()}")
        return json.loads(done.stdout)
