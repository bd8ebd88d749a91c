#!/usr/bin/env python3
"""In the place of an authorization server: one token for whoever logs in as alice, and introspection, RFC 7662, of two. It says on
stderr what it is asked."""
import base64
import http.server
import json
import time
import urllib.parse

def basic(login):
    return "Basic " + base64.b64encode(login).decode()


GATEWAY, CLIENT = basic(b"gateway:of the example"), basic(b"shop:of the shop")
TOKENS = {
    "alice-reads": {"sub": "alice", "client_id": "shop", "scope": "read", "aud": "store"},
    "bob-elsewhere": {"sub": "bob", "client_id": "shop", "scope": "read", "aud": "others"},
}


class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        login = self.headers["authorization"]
        if self.path == "/oauth2/token":
            admitted = login == CLIENT and form.get("username") == ["alice"] and form.get("password") == ["wonderland"]
            answer = {"access_token": "alice-reads", "token_type": "Bearer", "expires_in": 600}
        else:
            admitted = login == GATEWAY and self.path == "/oauth2/introspect"
            claims = TOKENS.get(form["token"][0])
            answer = {"active": True, "exp": int(time.time()) + 600, **claims} if claims else {"active": False}
        body = json.dumps(answer if admitted else {"error": "invalid_client"}).encode()
        self.send_response(200 if admitted else 401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("127.0.0.1", 9443), Server).serve_forever()
