#!/usr/bin/env python3
"""A backend that says what it was told of its caller. A real one verifies the signature: any JOSE library does."""
import base64
import http.server
import json


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        claims = {}
        token = self.headers["x-jwt-assertion"]
        if token:
            payload = token.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        body = json.dumps({name: claims[name] for name in sorted(claims)}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("127.0.0.1", 8081), Server).serve_forever()
