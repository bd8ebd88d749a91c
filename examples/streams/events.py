#!/usr/bin/env python3
"""A backend with a stream of events (`/events`), and an answer that takes its time (anything else)."""
import http.server
import time


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/events":
            time.sleep(2)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        number = 0
        while self.path == "/events":
            number += 1
            self.wfile.write(f"data: {number}\n\n".encode())
            time.sleep(0.1)

    def log_message(self, *_):
        pass


class Quiet(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """Whoever listened has gone."""


Quiet(("127.0.0.1", 8090), Server).serve_forever()
