#!/usr/bin/env python3
"""hostile.py MODE FOLDER LOG - an S3 server that lies, over the replica in FOLDER (a file:// one: ltx/0/...).

Prints its port, then serves until it is killed; LOG gets a line for each request: method, path, and the MD5
of the key that it is to encrypt with. MODE:
  honest           FOLDER as it is
  names            also keys that lead out of the replica, or can't be names
  size:N           every object has N bytes more (or fewer) than it has, says the listing
  size=TEXT        every object has the size TEXT, says the listing
  empty            a listing of empty pages, each with a new token
  circle           each page names itself as the next one
  absent           keys of files that no GET has
  many:N           N files in level 1, each follows the one before
  next             a file of the next TXID is always there, for who asks by name
  longer           an object goes on and on behind what was asked for
  manifest         litestream.json does
"""
import os
import sys
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

mode, folder, log_file = sys.argv[1:4]
log = open(log_file, "w", buffering=1)
ZEROS = b"\0" * 65536
ROOT = "db/"
ODD = ["../../../../etc/passwd", "..", "/etc/passwd", "a/../../b", "0000000000000002-0000000000000002.ltx/../../x",
       "%00", "a b", "\n", "x" * 900, "0000000000000002-0000000000000002.LTX", "0000000000000003-0000000000000001.ltx",
       "0000000000000000-0000000000000000.ltx", "ffffffffffffffffffff-0000000000000001.ltx", "\u202e", ".", ".tmp", "~"]


def files():
    """Name relative to the replica in S3's layout -> path."""
    found = {}
    for level in range(10):
        where = os.path.join(folder, "ltx", str(level))
        for name in os.listdir(where) if os.path.isdir(where) else []:
            found["%04x/%s" % (level, name)] = os.path.join(where, name)
    return found


def size_of(path):
    if mode.startswith("size="):
        return mode[5:]
    return os.path.getsize(path) + (int(mode[5:]) if mode.startswith("size:") else 0)


def pages(prefix):
    """All keys below the prefix, and their sizes."""
    level, found = prefix[len(ROOT):], {}
    if mode.startswith("many:") and level == "0001/":
        return [(ROOT + "0001/%016x-%016x.ltx" % (n, n), 500) for n in range(1, int(mode[5:]) + 1)]
    if mode == "absent" and level == "0000/":
        return [(ROOT + "0000/%016x-%016x.ltx" % (n, n), 500) for n in range(1, 50)]
    for name, path in files().items():
        found[ROOT + name] = size_of(path)
    if mode == "names" and level:
        for name in ODD:
            found[prefix + name] = 5
    return sorted((key, size) for key, size in found.items() if key.startswith(prefix))


listings = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # else each answer goes in two pieces, and the second one waits for an ACK

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", headers=(), length=None):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def list(self, query):
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        if mode in ("empty", "circle"):
            token = str(int(after) + 1 if after.isdigit() else 1) if mode == "empty" else "t"
            chosen, more = [], token
        else:
            keys = listings.setdefault(prefix, None) or pages(prefix)
            listings[prefix] = keys
            most = int(query.get("max-keys", ["1000"])[0])
            chosen = [k for k in keys if k[0] > after][:most]
            more = chosen[-1][0] if chosen and chosen[-1] != keys[-1] else ""
        text = "<ListBucketResult><EncodingType>url</EncodingType>"
        text += "<IsTruncated>%s</IsTruncated>" % ("true" if more else "false")
        if more:
            text += "<NextContinuationToken>%s</NextContinuationToken>" % more
        for key, size in chosen:
            text += "<Contents><Key>%s</Key><LastModified>2026-01-01T00:00:00Z</LastModified><Size>%s</Size></Contents>" % (
                urllib.parse.quote(key), size)
        self.answer(200, (text + "</ListBucketResult>").encode())

    def object(self, name):
        path = files().get(name)
        if mode == "manifest" and name == "litestream.json":
            return self.endless(200, b"{")
        if not path:
            return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        data = open(path, "rb").read()
        wanted = self.headers.get("Range")
        if self.command == "HEAD":
            return self.answer(200, data, [("ETag", '"1"')])
        if not wanted:
            return self.answer(200, data, [("ETag", '"1"')])
        first, last = (int(n) for n in wanted[6:].split("-"))
        headers = [("ETag", '"1"'), ("Content-Range", "bytes %d-%d/%d" % (first, last, last + 1))]
        if mode == "longer":
            return self.endless(206, data[first:last + 1], headers)
        part = data[first:last + 1]
        if mode.startswith("size"):
            # It has what it says: bytes of nothing.
            part += ZEROS[:max(0, min(last + 1 - first, 1 << 20) - len(part))]
            while len(part) < min(last + 1 - first, 1 << 20):
                part += ZEROS
            part = part[:last + 1 - first]
        return self.answer(206, part, headers)

    def endless(self, status, beginning, headers=()):
        self.close_connection = True
        self.answer(status, beginning, [("ETag", '"1"'), *headers], 1 << 40)
        try:
            while True:
                self.wfile.write(ZEROS)
        except OSError:
            pass

    def do_GET(self):
        key = self.headers.get("x-amz-server-side-encryption-customer-key-MD5")
        log.write("%s %s%s\n" % (self.command, self.path, " key " + key if key else ""))
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query, keep_blank_values=True)
        if mode == "next" and self.command == "HEAD":
            return self.answer(200, b"x", [("ETag", '"1"')])
        if "list-type" in query:
            return self.list(query)
        return self.object(urllib.parse.unquote(url.path)[len("/bucket/" + ROOT):])

    do_HEAD = do_GET


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()
