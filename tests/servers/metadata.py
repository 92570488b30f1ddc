#!/usr/bin/env python3
"""metadata.py LOG KEY SECRET SECONDS - credentials of an IAM role, as EC2's instance metadata service (version
2: without a session it says nothing) and a container's endpoint (/container, with the token "Container-Token")
give them. They are those of a user of the S3 server of the tests, and hold for so many seconds.

Prints its port, then serves until it is killed. LOG gets a line for each request: method and path.
"""
import datetime
import http.server
import json
import sys

log, key, secret, seconds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
SESSION = "session-of-the-test"
ROLES = "/latest/meta-data/iam/security-credentials/"


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

    def credentials(self):
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
        return json.dumps(
            {
                "Code": "Success",
                "Type": "AWS-HMAC",
                "AccessKeyId": key,
                "SecretAccessKey": secret,
                "Token": "",
                "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )

    def do_PUT(self):
        self.note()
        good = self.path == "/latest/api/token" and self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
        self.answer(200, SESSION) if good else self.answer(400)

    def do_GET(self):
        self.note()
        if self.path == "/container":
            good = self.headers.get("Authorization") == "Container-Token"
            self.answer(200, self.credentials()) if good else self.answer(403)
        elif self.headers.get("X-aws-ec2-metadata-token") != SESSION:
            self.answer(401)
        elif self.path == ROLES:
            self.answer(200, "test-role\n")
        elif self.path == ROLES + "test-role":
            self.answer(200, self.credentials())
        else:
            self.answer(404)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
