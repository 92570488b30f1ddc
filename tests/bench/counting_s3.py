#!/usr/bin/env python3
"""counting_s3.py [--weak] [--versioned] [--no-delete] [--tls CERTIFICATE KEY] - an S3 server in memory for simulations: quick, and it counts what it is asked.

It knows what our client uses: objects (put with If-None-Match, get with Range, head, delete), uploads in
parts, ListObjectsV2 in pages of 1,000, DeleteObjects. It looks at no signature, because a simulation's
clock is days ahead of this one's. --weak: it overwrites objects although told not to, as Backblaze B2 and
versioned buckets do. --versioned: the bucket says that it keeps versions (it doesn't). --no-delete: every
deletion is denied, as with credentials that may not. Prints its address, serves until SIGTERM; `GET /-/counts` answers with
a JSON object: requests by kind, connections that were made, objects and their bytes.
"""

import argparse
import asyncio
import bisect
import collections
import hashlib
import json
import re
import ssl
import urllib.parse
from xml.sax.saxutils import escape, unescape

PAGE = 1000


class Bucket:
    """All objects, whatever the bucket is called: key -> (body, the x-amz-meta- headers)."""

    def __init__(self, weak=False, versioned=False, no_delete=False):
        self.weak, self.versioned, self.no_delete = weak, versioned, no_delete
        self.objects, self.keys = {}, []
        self.uploads, self.serial = {}, 0
        self.counts = collections.Counter()

    def put(self, key, body, meta, only_if_absent):
        if key in self.objects:
            if only_if_absent and not self.weak:
                return error(412, "PreconditionFailed")
        else:
            bisect.insort(self.keys, key)
        self.objects[key] = (body, meta)
        return answer(200, headers={"ETag": etag(body)})

    def delete(self, key):
        if self.objects.pop(key, None) is not None:
            del self.keys[bisect.bisect_left(self.keys, key)]

    def list(self, query):
        prefix = query.get("prefix", "")
        after = query.get("continuation-token") or query.get("start-after", "")
        limit = min(int(query.get("max-keys", PAGE)), PAGE)
        at = max(bisect.bisect_left(self.keys, prefix), bisect.bisect_right(self.keys, after))
        found = []
        while at < len(self.keys) and self.keys[at].startswith(prefix) and len(found) <= limit:
            found.append(self.keys[at])
            at += 1
        more, found = len(found) > limit, found[:limit]
        items = "".join(
            f"<Contents><Key>{escape(k)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;0&quot;</ETag><Size>{len(self.objects[k][0])}</Size></Contents>"
            for k in found
        )
        token = f"<NextContinuationToken>{escape(found[-1])}</NextContinuationToken>" if more else ""
        return xml(
            "ListBucketResult",
            f"<Prefix>{escape(prefix)}</Prefix><KeyCount>{len(found)}</KeyCount><MaxKeys>{limit}</MaxKeys>"
            f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{token}{items}",
        )

    def report(self):
        sizes = sum(len(body) for body, _ in self.objects.values())
        return answer(200, json.dumps(dict(self.counts, objects=len(self.objects), bytes=sizes)).encode())

    # ---- one request ----

    def serve(self, method, target, headers, body):
        path, _, text = target.partition("?")
        if path == "/-/counts":
            return self.report()
        query = dict(urllib.parse.parse_qsl(text, keep_blank_values=True))
        key = urllib.parse.unquote(path).lstrip("/").partition("/")[2]
        absent = headers.get("if-none-match") == "*"
        meta = {k: v for k, v in headers.items() if k.startswith("x-amz-meta-")}
        if method == "POST":
            return self.post(key, query, body, meta, absent)
        kind = {"PUT": "put", "HEAD": "head", "DELETE": "del"}.get(method, "get" if key else "list")
        self.counts[kind] += 1
        if method == "PUT" and "uploadId" in query:
            self.uploads[query["uploadId"]][1][int(query["partNumber"])] = body
            return answer(200, headers={"ETag": etag(body)})
        if method == "PUT":
            return self.put(key, body, meta, absent)
        if method == "DELETE" and self.no_delete:
            return error(403, "AccessDenied")
        if method == "DELETE":
            self.delete(key)
            return answer(204)
        if not key and "versioning" in query:
            return xml("VersioningConfiguration", "<Status>Enabled</Status>" if self.versioned else "")
        if not key:
            return self.list(query) if method == "GET" else answer(200)
        return self.get(method, key, headers)

    def get(self, method, key, headers):
        if key not in self.objects:
            return error(404, "NoSuchKey")
        body, meta = self.objects[key]
        more = {"ETag": etag(body), "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", **meta}
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
        if method == "HEAD":
            return answer(200, headers=more, length=len(body))
        if not part:
            return answer(200, body, more)
        first, last = int(part[1]), min(int(part[2] or len(body)), len(body) - 1)
        if first > last:
            return error(416, "InvalidRange")
        more["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
        return answer(206, body[first : last + 1], more)

    def post(self, key, query, body, meta, absent):
        if "delete" in query:
            self.counts["del"] += 1
            if self.no_delete:
                return error(403, "AccessDenied")
            names = [unescape(n) for n in re.findall(r"<Key>(.*?)</Key>", body.decode())]
            for name in names:
                self.delete(name)
            return xml("DeleteResult", "".join(f"<Deleted><Key>{escape(n)}</Key></Deleted>" for n in names))
        self.counts["put"] += 1
        if "uploads" in query:
            self.serial += 1
            self.uploads[str(self.serial)] = (meta, {})
            return xml("InitiateMultipartUploadResult", f"<UploadId>{self.serial}</UploadId>")
        meta, parts = self.uploads.pop(query["uploadId"])
        done = self.put(key, b"".join(parts[n] for n in sorted(parts)), meta, absent)
        return done if b" 412 " in done[:20] else xml("CompleteMultipartUploadResult", f"<Key>{escape(key)}</Key>")


# ---- answers ----

REASONS = {200: "OK", 204: "No Content", 206: "Partial Content", 403: "Forbidden", 404: "Not Found", 412: "Precondition Failed",
           416: "Range Not Satisfiable"}


def etag(body):
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def answer(status, body=b"", headers=None, length=None):
    lines = [f"HTTP/1.1 {status} {REASONS[status]}", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{k}: {v}" for k, v in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def xml(root, inside):
    text = f'<?xml version="1.0" encoding="UTF-8"?><{root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inside}</{root}>'
    return answer(200, text.encode(), {"Content-Type": "application/xml"})


def error(status, code):
    return answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode(),
                  {"Content-Type": "application/xml"})


# ---- connections ----


class Connection(asyncio.Protocol):
    """Whole requests out of what comes, answered in order."""

    def __init__(self, bucket):
        self.bucket, self.buffer, self.transport = bucket, bytearray(), None

    def connection_made(self, transport):
        self.transport = transport
        self.bucket.counts["connections"] += 1

    def data_received(self, data):
        self.buffer += data
        while self.one():
            pass

    def one(self):
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
        headers = {k.strip().lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}
        size = int(headers.get("content-length", 0))
        if len(self.buffer) < end + 4 + size:
            return False
        body = bytes(self.buffer[end + 4 : end + 4 + size])
        del self.buffer[: end + 4 + size]
        method, target, _ = first.split()
        self.transport.write(self.bucket.serve(method, target, headers, body))
        return True


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--weak", action="store_true")
    parser.add_argument("--versioned", action="store_true")
    parser.add_argument("--no-delete", action="store_true")
    parser.add_argument("--tls", nargs=2)
    options = parser.parse_args()
    bucket, tls = Bucket(options.weak, options.versioned, options.no_delete), None
    if options.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*options.tls)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(bucket), "127.0.0.1", 0, ssl=tls)
    scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
    print(f"{scheme}://{host}:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
