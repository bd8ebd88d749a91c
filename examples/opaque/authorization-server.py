#!/usr/bin/env python3
"""In the place of an authorization server: introspection, RFC 7662, of two tokens. It says on stderr what it is asked."""
import base64
import http.server
import json
import time
import urllib.parse

LOGIN = "Basic " + base64.b64encode(b"gateway:of the example").decode()
TOKENS = {
    "alice-reads": {"sub": "alice", "client_id": "shop", "scope": "read", "aud": "store"},
    "bob-elsewhere": {"sub": "bob", "client_id": "shop", "scope": "read", "aud": "others"},
}


class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        claims = TOKENS.get(form["token"][0])
        answer = {"active": True, "exp": int(time.time()) + 600, **claims} if claims else {"active": False}
        admitted = self.headers["authorization"] == LOGIN and self.path == "/oauth2/introspect"
        body = json.dumps(answer if admitted else {"error": "invalid_client"}).encode()
        self.send_response(200 if admitted else 401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("127.0.0.1", 9443), Server).serve_forever()
