"""Plain requests to the API server, with its words and its warnings: kubectl takes longer."""

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.cluster.cluster import Cluster

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Reply:
    """What the API server answers."""

    status: int
    body: Any
    warnings: list[str]

    @property
    def refused(self) -> str | None:
        """The words of a refusal; None where there is none."""
        return None if self.status < 300 else str(self.body.get("message", self.body))

    @property
    def object(self) -> dict[str, Any]:
        """The object; fails with the words of a refusal."""
        assert self.refused is None, self.refused
        found: dict[str, Any] = self.body
        return found


class Rest:
    """One connection, as the administrator or as somebody whom he plays."""

    def __init__(self, cluster: Cluster) -> None:
        config = cluster.json("config", "view", "--raw")
        where, who = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cafile=where["certificate-authority"])
        context.load_cert_chain(who["client-certificate"], who["client-key"])
        self._connection = http.client.HTTPSConnection(
            str(urlsplit(where["server"]).netloc), timeout=30, context=context
        )

    def close(self) -> None:
        self._connection.close()

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        kind: str = "application/json",
        **headers: str,
    ) -> Reply:
        """One request; `headers` with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, data, {"Content-Type": kind, **named})
        reply = self._connection.getresponse()
        text = reply.read().decode()
        try:
            decoded = json.loads(text)
        except ValueError:
            decoded = {"message": text}
        # RFC 7234, section 5.5: a code, an agent, and the text in quotes.
        warnings = [
            json.loads(line.split(" ", 2)[2]) for line in reply.headers.get_all("Warning", [])
        ]
        return Reply(reply.status, decoded, warnings)

    def create(self, document: dict[str, Any], namespace: str, *, dry_run: bool = True) -> Reply:
        """Create a pod, or a workload by its `apiVersion` and `kind`."""
        version = document.get("apiVersion", "v1")
        plural = f"{document.get('kind', 'Pod').lower()}s"
        front = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        query = "?dryRun=All" if dry_run else ""
        return self.send("POST", f"{front}/namespaces/{namespace}/{plural}{query}", document)

    def patch(
        self, pod: str, namespace: str, body: object, sub: str = "", kind: str = MERGE_PATCH
    ) -> Reply:
        """Patch a pod, or one of its subresources, for nothing but the answer."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}{sub and '/' + sub}?dryRun=All"
        if kind == APPLY_PATCH:
            path += "&fieldManager=attacker&force=true"
        return self.send("PATCH", path, body, kind)
