#!/usr/bin/env python3
"""clients.py PORT garbage [SEED] | hold N SECONDS | drip SECONDS | listens PID

garbage  sends requests that are none, on 150 connections one after the other
hold     opens N connections that say nothing, tells on stdout, waits until all are closed by the server or
         SECONDS are over; then prints how many the server closed
drip     sends a request a byte each half second; prints how long (s) the server put up with it
listens  (PORT is not used) prints the ports on which the process listens over TCP
"""
import os
import random
import re
import socket
import sys
import time


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def garbage_of(rnd):
    good = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    kind = rnd.randrange(6)
    if kind == 0:
        return rnd.randbytes(rnd.randrange(1, 3000))
    if kind == 1:
        return bytes(b ^ (rnd.random() < 0.1) * rnd.randrange(256) for b in good)
    if kind == 2:
        return b"GET /" + b"a" * rnd.randrange(5000, 60000) + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    if kind == 3:
        many = b"".join(b"X-%d: %s\r\n" % (i, rnd.randbytes(9).hex().encode()) for i in range(rnd.randrange(900)))
        return b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + many + b"\r\n"
    if kind == 4:
        return b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 1000
    return b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" + b"x" * 99


def garbage(port, seed):
    print("seed", seed)
    rnd = random.Random(seed)
    for _ in range(150):
        with connect(port) as c:
            try:
                c.sendall(garbage_of(rnd))
                c.shutdown(socket.SHUT_WR)
                c.settimeout(0.02)
                while c.recv(65536):
                    pass
            except OSError:  # reset, or half of a request that it waits for the rest of
                pass


def hold(port, n, seconds):
    clients = [connect(port) for _ in range(n)]
    print("holding", flush=True)
    until, closed = time.monotonic() + seconds, 0
    for c in clients:
        c.settimeout(max(until - time.monotonic(), 0.01))
        try:
            closed += not c.recv(1)
        except ConnectionResetError:
            closed += 1
        except socket.timeout:
            pass
    print(closed, flush=True)


def drip(port, seconds):
    began = time.monotonic()
    with connect(port) as c:
        c.settimeout(0.5)
        c.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        while time.monotonic() - began < seconds:
            try:
                c.sendall(b"a")
                if not c.recv(1):
                    break
            except socket.timeout:
                continue
            except (ConnectionResetError, BrokenPipeError):
                break
    print(round(time.monotonic() - began))


def listens(pid):
    fds = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    inodes = {m.group(1) for m in (re.match(r"socket:\[(\d+)\]", fd) for fd in fds) if m}
    for name in ("tcp", "tcp6"):
        with open(f"/proc/net/{name}") as f:
            for line in list(f)[1:]:
                words = line.split()
                if words[3] == "0A" and words[9] in inodes:
                    print(int(words[1].split(":")[1], 16))


port, what, *rest = sys.argv[1:]
if what == "garbage":
    garbage(int(port), int(rest[0]) if rest else random.randrange(1 << 30))
elif what == "hold":
    hold(int(port), int(rest[0]), float(rest[1]))
elif what == "drip":
    drip(int(port), float(rest[0]))
elif what == "listens":
    listens(int(rest[0]))
else:
    sys.exit(__doc__)
