#!/usr/bin/env python3
"""metadata.py LOG KEY SECRET SECONDS [ROLE TOKENS] - credentials, as these services give them:

  EC2's instance metadata   version 2: without a session it says nothing
  a container's endpoint    /container, with the token "Container-Token"
  STS                       POST /sts, AssumeRoleWithWebIdentity: a token that is a line of the file TOKENS

They are those of a user of the S3 server of the tests, and hold for so many seconds. With ROLE they are
temporary ones, which that server (S3_ENDPOINT) gives to KEY for this role, and which it refuses after that time.

Prints its port, then serves until it is killed. LOG gets a line for each request: method and path.
"""
import datetime
import http.server
import json
import os
import sys
import urllib.parse

import s3

log, key, secret, seconds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
role, tokens = sys.argv[5:7] if len(sys.argv) > 5 else (None, None)
os.environ["S3_ACCESS_KEY_ID"], os.environ["S3_SECRET_ACCESS_KEY"] = key, secret
SESSION = "session-of-the-test"
ROLES = "/latest/meta-data/iam/security-credentials/"


def credentials():
    """Access key ID, secret, session token and time of expiry."""
    if role:
        return s3.assume_role(role, seconds)
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return key, secret, "", until.strftime("%Y-%m-%dT%H:%M:%SZ")


def as_json():
    names = ("AccessKeyId", "SecretAccessKey", "Token", "Expiration")
    return json.dumps({"Code": "Success", "Type": "AWS-HMAC", **dict(zip(names, credentials()))})


def as_xml():
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
    words = "".join(f"<{name}>{word}</{name}>" for name, word in zip(names, credentials()))
    kind = "AssumeRoleWithWebIdentity"
    space = "https://sts.amazonaws.com/doc/2011-06-15/"
    return f'<{kind}Response xmlns="{space}"><{kind}Result><Credentials>{words}</Credentials></{kind}Result></{kind}Response>'


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, text=""):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def note(self):
        with open(log, "a") as f:
            f.write(f"{self.command} {self.path}\n")

    def do_PUT(self):
        self.note()
        good = self.path == "/latest/api/token" and self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
        self.answer(200, SESSION) if good else self.answer(400)

    def do_POST(self):
        self.note()
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        with open(tokens) as f:
            known = form.get("WebIdentityToken") in f.read().split()
        wanted = {"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleArn": role}
        if self.path.rstrip("/") == "/sts" and known and wanted.items() <= form.items() and form.get("RoleSessionName"):
            self.answer(200, as_xml())
        else:
            self.answer(400, "<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>")

    def do_GET(self):
        self.note()
        if self.path == "/container":
            good = self.headers.get("Authorization") == "Container-Token"
            self.answer(200, as_json()) if good else self.answer(403)
        elif self.headers.get("X-aws-ec2-metadata-token") != SESSION:
            self.answer(401)
        elif self.path == ROLES:
            self.answer(200, "test-role\n")
        elif self.path == ROLES + "test-role":
            self.answer(200, as_json())
        else:
            self.answer(404)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
