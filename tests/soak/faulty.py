"""A store that fails: an HTTP proxy in front of an S3 server, which takes requests apart to fail them by kind.

  refused   answered 503 SlowDown, the server never saw it
  spoilt    the server did what was asked; the answer is 500
  lost      the server did what was asked; the connection is reset before the answer
  reset     reset when the request is there, the server never saw it
  half_up   half of the body goes to the server, then both connections end
  half_down half of the answer's body, then a reset
  stall     nothing for some seconds, then as it should be
`rates` says how likely each is for a request. While `out` is true every connection is reset.
Clients sign the address that they speak to: the Host header goes on as it came.
"""

import collections
import http.client
import http.server
import random
import socket
import socketserver
import struct
import threading
import time

KINDS = ("refused", "spoilt", "lost", "reset", "half_up", "half_down", "stall")
UPSTREAM_TIMEOUT = 30
HOP = ("connection", "keep-alive", "content-length", "transfer-encoding")


def answer_503():
    body = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>'
    return 503, [("Content-Type", "application/xml"), ("Retry-After", "0")], body


class Request(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream = None

    def log_message(self, format, *arguments):  # pylint: disable=redefined-builtin
        pass

    def reset(self):
        """Close without a farewell."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def forget_upstream(self):
        if self.upstream:
            self.upstream.close()
        self.upstream = None

    def send_up(self, body, length):
        if not self.upstream:
            self.upstream = http.client.HTTPConnection(*self.server.behind, timeout=UPSTREAM_TIMEOUT)
        self.upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in HOP:
                self.upstream.putheader(name, value)
        if length is not None:
            self.upstream.putheader("Content-Length", length)
        self.upstream.endheaders(body)

    def ask(self, body, length):
        """What the server answers; a connection that it has closed meanwhile is made again once."""
        for attempt in (1, 2):
            fresh = self.upstream is None
            try:
                self.send_up(body, length)
                got = self.upstream.getresponse()
                return got.status, got.getheaders(), got.read()
            except (OSError, http.client.HTTPException):
                self.forget_upstream()
                if fresh or attempt == 2:
                    raise
        return None

    def send_down(self, status, headers, body, part=None):
        self.send_response_only(status)
        length = len(body)
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in HOP:
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body[:part])

    def relay(self):
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length or 0))
        kind = self.server.choose(self.command, bool(body))
        if kind in ("reset", "out"):
            self.reset()
        elif kind == "refused":
            self.send_down(*answer_503())
        elif kind == "half_up":
            self.send_up(body[: len(body) // 2], length)
            self.forget_upstream()
            self.reset()
        else:
            self.relay_whole(kind, body, length)

    def relay_whole(self, kind, body, length):
        if kind == "stall":
            time.sleep(self.server.stall())
        status, headers, answer = self.ask(body, length)
        if kind == "lost":
            self.reset()
        elif kind == "spoilt":
            self.send_down(500, [("Content-Type", "text/plain")], b"")
        elif kind == "half_down":
            self.send_down(status, headers, answer, len(answer) // 2)
            self.reset()
        else:
            self.send_down(status, headers, answer)

    def handle(self):
        try:
            super().handle()
        except (OSError, http.client.HTTPException, ValueError):
            self.reset()
        self.forget_upstream()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = relay


class FaultyStore(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host, port, seed):
        super().__init__(("127.0.0.1", 0), Request)
        self.behind, self.port = (host, port), self.server_address[1]
        self.chance, self.lock = random.Random(seed), threading.Lock()
        self.counts, self.requests = collections.Counter(), 0
        self.rates, self.out, self.open = {}, False, set()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def choose(self, method, has_body):
        """What happens to a request; None: nothing. Counts it."""
        with self.lock:
            self.requests += 1
            if self.out:
                self.counts["out"] += 1
                return "out"
            roll = self.chance.random()
            for kind in KINDS:
                roll -= self.rates.get(kind, 0)
                if roll >= 0:
                    continue
                if kind == "half_up" and not has_body or kind == "half_down" and method != "GET":
                    kind = "reset"
                self.counts[kind] += 1
                return kind
            return None

    def stall(self):
        with self.lock:
            return self.chance.uniform(0.5, 4)

    def process_request(self, request, client_address):
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.lock:
            self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        """Only close: a farewell before it would hide a reset."""
        with self.lock:
            self.open.discard(request)
        request.close()

    def handle_error(self, request, client_address):
        pass

    def drop_all(self):
        """Ends every connection that is open, whatever it is doing."""
        with self.lock:
            dropped = list(self.open)
            self.counts["dropped"] += len(dropped)
        for request in dropped:
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
