"""A bad line to a store: a proxy that, by a seeded schedule, answers 500 or 503, is slow, breaks off, or loses the answer to what was done."""

import http.client
import random
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

FAULTS = ("500", "503", "slow", "cut", "unheard", "lost")
BUSY = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>'
BROKEN = b'<?xml version="1.0"?><Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>'
HOPS = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


class FaultyStore:
    """Listens at `endpoint`; `share` of all requests meet a fault until `is_bad` is taken back."""

    def __init__(self, endpoint, seed, share):
        self.upstream, self.share = urlsplit(endpoint), share
        self.random, self.lock = random.Random(seed), threading.Lock()
        self.met, self.is_bad = Counter(), True
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def fault(self):
        with self.lock:
            fault = self.random.choice(FAULTS) if self.is_bad and self.random.random() < self.share else "none"
            self.met[fault] += 1
            return fault

    def handler(self):
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def answer(self, status, headers, body, told):
                """Says how long the body is, and tells `told` of it."""
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in HOPS:
                        self.send_header(name, value)
                self.send_header("Content-Length", dict(headers).get("Content-Length", "0") if self.command == "HEAD" else str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body[:told])

            def hang_up(self):
                self.close_connection = True

            def forward(self):
                fault = store.fault()
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if fault in ("500", "503"):
                    text = BROKEN if fault == "500" else BUSY
                    return self.answer(int(fault), [("Content-Type", "application/xml")], text, len(text))
                if fault == "unheard":
                    return self.hang_up()
                if fault == "slow":
                    time.sleep(store.random.uniform(0.2, 1.5))
                upstream = http.client.HTTPConnection(store.upstream.hostname, store.upstream.port, timeout=60)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in ("connection", "content-length")}
                upstream.request(self.command, self.path, body, headers)
                answer = upstream.getresponse()
                content = answer.read()
                upstream.close()
                if fault == "lost":
                    return self.hang_up()
                is_cut = fault == "cut"
                self.answer(answer.status, answer.getheaders(), content, len(content) // 2 if is_cut else len(content))
                if is_cut:
                    self.hang_up()

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward

        return Handler
