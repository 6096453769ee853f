"""A mesh's webhook, as small as can be: puts a native sidecar of its own before all others.

`python mesh.py CERTIFICATE_WITH_KEY IMAGE`, on port 8443.
"""

import base64
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Reviews(BaseHTTPRequestHandler):
    """Answers every review in the same way."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        spec = review["request"]["object"]["spec"]
        there = [each["name"] for each in spec.get("initContainers") or []]
        response = {"uid": review["request"]["uid"], "allowed": True}
        if "mesh-proxy" not in there:
            proxy = {
                "name": "mesh-proxy", "image": sys.argv[2], "imagePullPolicy": "Never",
                "command": ["sleep", "infinity"], "restartPolicy": "Always",
                "ports": [{"name": "admin", "containerPort": 15000}],
            }  # fmt: skip
            path = "/spec/initContainers" + ("/0" if there else "")
            patch = [{"op": "add", "path": path, "value": proxy if there else [proxy]}]
            response |= {
                "patchType": "JSONPatch",
                "patch": base64.b64encode(json.dumps(patch).encode()).decode(),
            }
        body = json.dumps(review | {"response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = HTTPServer(("", 8443), Reviews)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
