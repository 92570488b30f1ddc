#!/usr/bin/env python3
"""scripted.py SCRIPT LOG [CERTIFICATE KEY] - an HTTP server that answers from a script.

Prints its port, then serves until it is killed. SCRIPT is a JSON list; the nth request gets the nth
answer, and the last answer again when the list is over. LOG gets a JSON line for each request that
came whole: {"method", "path", "headers" (lower case), "length", "sha256"} (of the body).

An answer is an object, every key optional:
  status 200, reason       the status line
  headers {}               besides Content-Length, which is the body's length unless given here
  body ""                  text; "body_repeat": n repeats it
  delay 0                  seconds before the answer
  cut                      close after so many bytes of the body
  stall                    send so many bytes of the body, then nothing, and keep the connection
  reset                    true: close at once with a TCP reset, before any answer
  raw                      these bytes instead of an HTTP answer
  close                    true: "Connection: close" and close after the answer
  date_offset              seconds added to the Date header

On SIGUSR1 it begins the script anew (the file may be another one) and makes the empty file "ready"
beside it.
"""
import email.utils
import hashlib
import json
import os
import signal
import socket
import ssl
import struct
import sys
import threading
import time

script_file, log_file = sys.argv[1:3]
lock = threading.Lock()
count = 0


def next_answer():
    global count
    with lock:
        with open(script_file) as f:
            answers = json.load(f)
        answer = answers[min(count, len(answers) - 1)]
        count += 1
        return answer


def begin_anew(*_):
    global count
    count = 0
    open(os.path.join(os.path.dirname(script_file), "ready"), "w").close()


def read_request(stream):
    line = stream.readline().decode("latin-1").split()
    if len(line) < 2:
        return None
    headers = {}
    while True:
        field = stream.readline().decode("latin-1").strip()
        if not field:
            break
        name, _, value = field.partition(":")
        headers[name.lower()] = value.strip()
    digest, left = hashlib.sha256(), int(headers.get("content-length", 0))
    total = left
    while left:
        data = stream.read(min(left, 65536))
        if not data:
            return None
        digest.update(data)
        left -= len(data)
    return {"method": line[0], "path": line[1], "headers": headers, "length": total, "sha256": digest.hexdigest()}


def note(request):
    with lock, open(log_file, "a") as f:
        f.write(json.dumps(request) + "\n")


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def send_answer(connection, request, answer):
    """True when the connection can take another request."""
    time.sleep(answer.get("delay", 0))
    if answer.get("reset"):
        reset(connection)
        return False
    if "raw" in answer:
        connection.sendall(answer["raw"].encode("latin-1"))
        return False
    body = (answer.get("body", "") * answer.get("body_repeat", 1)).encode()
    headers = {
        "Date": email.utils.formatdate(time.time() + answer.get("date_offset", 0), usegmt=True),
        "Content-Length": str(len(body)),
    }
    if answer.get("close"):
        headers["Connection"] = "close"
    headers.update(answer.get("headers", {}))
    head = f"HTTP/1.1 {answer.get('status', 200)} {answer.get('reason', 'Answer')}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value is not None) + "\r\n"
    connection.sendall(head.encode("latin-1"))
    if request["method"] == "HEAD":
        return not answer.get("close")
    if "stall" in answer:
        connection.sendall(body[: answer["stall"]])
        time.sleep(3600)
    connection.sendall(body[: answer.get("cut", len(body))])
    return "cut" not in answer and not answer.get("close")


def serve(connection):
    try:
        if len(sys.argv) > 3:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(sys.argv[3], sys.argv[4])
            connection = context.wrap_socket(connection, server_side=True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = connection.makefile("rb")
        while True:
            request = read_request(stream)
            if request is None:
                break
            note(request)
            if not send_answer(connection, request, next_answer()):
                break
        stream.close()
    except OSError:
        pass
    finally:
        connection.close()


signal.signal(signal.SIGUSR1, begin_anew)
listener = socket.create_server(("127.0.0.1", 0), backlog=64)
print(listener.getsockname()[1], flush=True)
sys.stdout.close()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
