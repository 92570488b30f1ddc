#!/usr/bin/env python3
"""faulty.py HOST PORT CONTROL LOG [TLS-FOLDER] - an HTTP proxy before an S3 server that makes it go wrong.

Prints its port, then passes requests on to HOST:PORT until it is killed; the client signs for this port,
and the server takes what the Host header says. CONTROL is a file with a JSON object, read for each request
(missing file: {}):
  rules        a list; the first one that fits a request strikes. What fits:
                 op       put part multipart get head list delete, or a list of them (default: all)
                 key      a regular expression that is searched for in the path and the query
                 times    it strikes so often since CONTROL was replaced (default: always)
                 chance   and each time only by this chance, drawn from SEED in the environment (default: 1)
                 name     goes into LOG
               What it does, one of:
                 status, code   answers so, with an S3 error document, and doesn't ask the server
                 status, after  the same, but the server has done it
                 lose           the server does it, and the answer is a reset connection
                 reset          a reset connection, and the server never saw it
                 half           "up": half of the body goes to the server; "down": half of the answer's comes
                                back; then a reset. Without a body of that kind: reset
                 stall          nothing for so many seconds, then as it should be
                 late           a listing lacks what leads to one of so many highest TXIDs in it
                 undeleted      a batch is answered with 200, and so many of its first keys with an error
                                inside: these are not deleted, the others are (keys of the test user)
                 region         a redirect there (301), unless the request is signed for it
  certificate  with TLS-FOLDER: which <name>.pem and <name>.key of it new connections get (server)
LOG gets a JSON line a request: {"at": seconds, "op", "path", "status": the answer's or 0, "struck": bool, "name"}.
On SIGUSR1 every connection ends, whatever it is doing.
"""
import http.client
import http.server
import json
import os
import random
import re
import signal
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
import xml.etree.ElementTree as ET

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import s3  # noqa: E402

host, port, control_file, log_file = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
tls_folder = sys.argv[5] if len(sys.argv) > 5 else None
lock = threading.Lock()
drawn = random.Random(os.environ.get("SEED"))
struck = {}  # rule number -> how often, since CONTROL was replaced
struck_of = None


def control():
    try:
        with open(control_file) as f:
            return json.load(f)
    except (OSError, ValueError):
        return {}


def op_of(method, path):
    name, _, query = path.partition("?")
    if method == "GET":
        return "list" if "list-type=" in query else "get"
    if method == "POST":
        return "delete" if query.startswith("delete") else "multipart"
    if method == "PUT" and "partNumber=" in query:
        return "part"
    return method.lower()


def rule_for(op, path):
    global struck, struck_of
    with lock:
        rules = control().get("rules", [])
        version = os.stat(control_file).st_mtime_ns if rules else None
        if version != struck_of:
            struck, struck_of = {}, version
        for number, rule in enumerate(rules):
            ops = rule.get("op", op)
            if op != ops and op not in ops or not re.search(rule.get("key", ""), path):
                continue
            if struck.get(number, 0) >= rule.get("times", 1 << 60):
                continue
            if drawn.random() >= rule.get("chance", 1):
                continue
            struck[number] = struck.get(number, 0) + 1
            return rule
    return None


def error(code, extra=""):
    return f"<Error><Code>{code}</Code><Message>as a test wants it</Message>{extra}</Error>".encode()


def highest_txid(key):
    return int(key.rpartition("-")[2].partition(".")[0], 16)


def without_latest(body, count):
    """The listing without what leads to one of the `count` highest TXIDs."""
    tree = ET.fromstring(body)
    space = tree.tag[: tree.tag.index("}") + 1]
    ET.register_namespace("", space[1:-1])
    files = [c for c in tree.findall(space + "Contents") if c.findtext(space + "Key").endswith(".ltx")]
    late = sorted({highest_txid(c.findtext(space + "Key")) for c in files})[-count:]
    for c in files:
        if highest_txid(c.findtext(space + "Key")) in late:
            tree.remove(c)
    return b'<?xml version="1.0" encoding="UTF-8"?>' + ET.tostring(tree)


def delete_some(path, body, kept):
    bucket = path.strip("/").partition("?")[0].partition("/")[0]
    answer = ""
    for number, item in enumerate(ET.fromstring(body).findall("{*}Object")):
        key = item.findtext("{*}Key")
        if number < kept:
            answer += f"<Error><Key>{key}</Key><Code>InternalError</Code><Message>later</Message></Error>"
        else:
            s3.request("DELETE", bucket, key)
            answer += f"<Deleted><Key>{key}</Key></Deleted>"
    return f"<DeleteResult>{answer}</DeleteResult>".encode()


class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def note(self, status, rule):
        line = {"at": time.monotonic(), "op": self.op, "path": self.path, "status": status, "struck": rule is not None}
        line["name"] = rule.get("name") if rule else None
        with lock, open(log_file, "a") as f:
            f.write(json.dumps(line) + "\n")

    def ask_server(self, sent=None):
        """`sent`: so many bytes of the body, and that is all."""
        connection = http.client.HTTPConnection(host, port, timeout=120)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders(self.body[:sent])
        if sent is not None:
            connection.close()
            return None
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.getheaders(), body

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        socket.socket.close(self.connection)

    def answer(self, status, headers, body, part=None):
        """`part`: so many bytes of the body, and then a reset."""
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = dict((n.lower(), v) for n, v in headers).get("content-length", 0)
        self.send_header("Content-Length", length if self.command == "HEAD" else len(body))
        if tls_folder:  # so that the next request sees another certificate
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:part])
        if part is not None:
            self.reset()

    def half(self, which):
        if which == "up" and self.body:
            return self.ask_server(len(self.body) // 2)
        if which == "down" and self.op == "get":
            status, headers, body = self.ask_server()
            return status, headers, body, len(body) // 2
        return None

    def strike(self, rule):
        """(status, headers, body), or None: no answer comes."""
        xml = [("Content-Type", "application/xml")]
        if "status" in rule:
            if rule.get("after"):
                self.ask_server()
            return rule["status"], xml, error(rule.get("code", "SlowDown"))
        if "region" in rule and f"/{rule['region']}/s3/" not in self.headers.get("Authorization", ""):
            region = [("x-amz-bucket-region", rule["region"])]
            return 301, xml + region, error("PermanentRedirect", f"<Region>{rule['region']}</Region>")
        if "undeleted" in rule and self.op == "delete" and self.command == "POST":
            return 200, xml, delete_some(self.path, self.body, rule["undeleted"])
        if rule.get("reset"):
            return None
        if "half" in rule:
            return self.half(rule["half"])
        time.sleep(rule.get("stall", 0))
        status, headers, body = self.ask_server()
        if rule.get("lose"):
            return None
        if "late" in rule and status == 200:
            body = without_latest(body, rule["late"])
        return status, headers, body

    def serve(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.op = op_of(self.command, self.path)
        rule = rule_for(self.op, self.path)
        try:
            answer = self.strike(rule) if rule else self.ask_server()
        except (OSError, http.client.HTTPException):
            answer = None
        self.note(answer[0] if answer else 0, rule)
        if answer:
            self.answer(*answer)
        else:
            self.reset()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = serve


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64
    open = set()

    def handle_error(self, request, client_address):
        pass

    def process_request(self, request, client_address):
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.open.discard(request)
        super().shutdown_request(request)

    def drop_all(self, *_):
        for request in list(self.open):
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def finish_request(self, request, client_address):
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls_folder:
            name = os.path.join(tls_folder, control().get("certificate", "server"))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(name + ".pem", name + ".key")
            request = context.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)


server = Server(("127.0.0.1", 0), Proxy)
signal.signal(signal.SIGUSR1, server.drop_all)
print(server.server_address[1], flush=True)
sys.stdout.close()
server.serve_forever()
