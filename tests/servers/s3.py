#!/usr/bin/env python3
"""s3.py VERB [ARGUMENT…] - a second S3 client, for tests that must not trust our own one.

  mb BUCKET                    make a bucket
  versioning BUCKET            make it a versioned one
  policy BUCKET FILE           who may do what there
  ls BUCKET [PREFIX]           keys and sizes, a line each
  times BUCKET [PREFIX]        keys and the times of their last change
  get BUCKET KEY               the object to stdout
  put BUCKET KEY FILE          a file as an object
  rm BUCKET KEY                delete it
  head BUCKET KEY              the answer's headers
  heads BUCKET PREFIX          of each object below: its key and a header, a line each
  versions BUCKET [PREFIX]     all versions and delete markers: kind, key, "latest" or "old"
  uploads BUCKET [PREFIX]      keys of unfinished uploads in parts, a line each
  begin-upload BUCKET KEY      begin one
  abort-uploads BUCKET PREFIX  give those up
  assume-role ARN SECONDS      temporary credentials of the server's STS, as a credential_process prints them
Environment: S3_ENDPOINT, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY (or the LITESTREAM_TEST_S3_… names
that ceph.sh and swift.sh print), S3_REGION (us-east-1), S3_HEADERS (more of them for each request, "name: value", a
line each). Path style only. Not 2xx ends with 1 and the
answer on stderr.
"""
import datetime
import hashlib
import hmac
import http.client
import json
import os
import sys
import urllib.parse
import xml.etree.ElementTree as ET


def setting(name, default=None):
    value = os.environ.get("S3_" + name) or os.environ.get("LITESTREAM_TEST_S3_" + name) or default
    if value is None:
        sys.exit(f"s3.py: S3_{name} is not set")
    return value


def hmac256(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def authorization(method, path, query, headers, payload_hash, now, service="s3"):
    region = setting("REGION", "us-east-1")
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        [method, path, query]
        + [f"{name}:{headers[name]}" for name in sorted(headers)]
        + ["", names, payload_hash]
    )
    scope = f"{now[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = hmac256(("AWS4" + setting("SECRET_ACCESS_KEY")).encode(), now[:8])
    for part in (region, service, "aws4_request"):
        key = hmac256(key, part)
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return (
        f"AWS4-HMAC-SHA256 Credential={setting('ACCESS_KEY_ID')}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )


def request(method, bucket, key="", query=(), body=b"", service="s3"):
    endpoint = urllib.parse.urlsplit(setting("ENDPOINT"))
    path = "/" + urllib.parse.quote(bucket) + ("/" + urllib.parse.quote(key, safe="/-_.~") if key else "")
    query = urllib.parse.urlencode(sorted(query), quote_via=urllib.parse.quote, safe="")
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    payload_hash = hashlib.sha256(body).hexdigest()
    headers = {"host": endpoint.netloc, "x-amz-content-sha256": payload_hash, "x-amz-date": now}
    headers.update(line.split(": ", 1) for line in os.environ.get("S3_HEADERS", "").splitlines())
    token = os.environ.get("S3_SESSION_TOKEN")
    if token:
        headers["x-amz-security-token"] = token
    headers["authorization"] = authorization(method, path, query, headers, payload_hash, now, service)
    connection = http.client.HTTPConnection(endpoint.hostname, endpoint.port or 80, timeout=60)
    connection.request(method, path + ("?" + query if query else ""), body, headers)
    answer = connection.getresponse()
    data = answer.read()
    if answer.status // 100 != 2:
        sys.exit(f"s3.py: {method} {path}: {answer.status} {answer.reason} {data.decode(errors='replace')}")
    return answer, data


def list_keys(bucket, prefix="", field="Size"):
    token = None
    while True:
        query = [("list-type", "2"), ("prefix", prefix)]
        if token:
            query.append(("continuation-token", token))
        tree = ET.fromstring(request("GET", bucket, query=query)[1])
        space = tree.tag[: tree.tag.index("}") + 1]
        for item in tree.findall(space + "Contents"):
            print(item.find(space + "Key").text, item.find(space + field).text)
        token = tree.findtext(space + "NextContinuationToken")
        if not token:
            return


def heads(bucket, prefix):
    tree = ET.fromstring(request("GET", bucket, query=[("list-type", "2"), ("prefix", prefix)])[1])
    for item in children(tree, "Contents"):
        for name, value in request("HEAD", bucket, item["Key"])[0].getheaders():
            print(f"{item['Key']} {name.lower()}: {value}")


def assume_role(arn, seconds):
    """Access key ID, secret, session token and time of expiry."""
    form = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": arn, "RoleSessionName": "of-a-test"}
    body = urllib.parse.urlencode({**form, "DurationSeconds": seconds}).encode()
    tree = ET.fromstring(request("POST", "", body=body, service="sts")[1])
    words = {item.tag.split("}")[-1]: item.text for item in tree.iter()}
    return [words[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")]


def children(tree, name):
    space = tree.tag[: tree.tag.index("}") + 1]
    return [{field.tag[len(space) :]: field.text for field in item} for item in tree.findall(space + name)]


def unfinished(bucket, prefix=""):
    return children(ET.fromstring(request("GET", bucket, query=[("uploads", ""), ("prefix", prefix)])[1]), "Upload")


def list_versions(bucket, prefix=""):
    tree = ET.fromstring(request("GET", bucket, query=[("versions", ""), ("prefix", prefix)])[1])
    for kind in ("Version", "DeleteMarker"):
        for item in children(tree, kind):
            print(kind, item["Key"], "latest" if item["IsLatest"] == "true" else "old")


def main(verb, *arguments):
    if verb == "mb":
        request("PUT", *arguments)
    elif verb == "versioning":
        body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        request("PUT", *arguments, query=[("versioning", "")], body=body)
    elif verb == "policy":
        bucket, file = arguments
        with open(file, "rb") as f:
            request("PUT", bucket, query=[("policy", "")], body=f.read())
    elif verb == "ls":
        list_keys(*arguments)
    elif verb == "times":
        list_keys(*arguments, field="LastModified")
    elif verb == "heads":
        heads(*arguments)
    elif verb == "versions":
        list_versions(*arguments)
    elif verb == "uploads":
        for upload in unfinished(*arguments):
            print(upload["Key"])
    elif verb == "begin-upload":
        request("POST", *arguments, query=[("uploads", "")])
    elif verb == "abort-uploads":
        for upload in unfinished(*arguments):
            request("DELETE", arguments[0], upload["Key"], query=[("uploadId", upload["UploadId"])])
    elif verb == "assume-role":
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
        print(json.dumps({"Version": 1, **dict(zip(names, assume_role(*arguments)))}))
    elif verb == "get":
        sys.stdout.buffer.write(request("GET", *arguments)[1])
    elif verb == "put":
        bucket, key, file = arguments
        with open(file, "rb") as f:
            request("PUT", bucket, key, body=f.read())
    elif verb == "rm":
        request("DELETE", *arguments)
    elif verb == "head":
        for name, value in request("HEAD", *arguments)[0].getheaders():
            print(f"{name.lower()}: {value}")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
