#!/usr/bin/env python3
"""proxy.py HOST PORT CONTROL - a TCP proxy that makes a network slow or broken.

Prints its port, then forwards every connection to HOST:PORT until it is killed. CONTROL is a file with
a JSON object that is read for every connection and every piece of data (missing file: {}):
  delay        seconds that every piece waits, each way half (so: per round trip)
  cut_down     close a connection after so many bytes from the server
  cut_up       close a connection after so many bytes from the client
  refuse       true: close new connections at once
  freeze       true: forward nothing, keep everything open
  times        how many connections cut_down, cut_up and refuse strike since CONTROL was replaced
               (default: all)
"""
import json
import os
import socket
import struct
import sys
import threading
import time

host, port, control_file = sys.argv[1], int(sys.argv[2]), sys.argv[3]
lock = threading.Lock()
struck = 0
struck_of = None


def control():
    try:
        with open(control_file) as f:
            return json.load(f)
    except (OSError, ValueError):
        return {}


def strike():
    global struck, struck_of
    with lock:
        times = control().get("times")
        version = os.stat(control_file).st_mtime_ns
        if version != struck_of:
            struck, struck_of = 0, version
        if times is not None and struck >= times:
            return False
        struck += 1
        return True


def kill(*sockets):
    """The other thread may sit in recv: only a shutdown wakes it, close would wait for it."""
    for s in sockets:
        try:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        s.close()


def pump(source, target, limit_key):
    passed = 0
    try:
        while True:
            data = source.recv(65536)
            settings = control()
            while settings.get("freeze"):
                time.sleep(0.05)
                settings = control()
            if settings.get("delay"):
                time.sleep(settings["delay"] / 2)
            limit = settings.get(limit_key)
            if limit is not None and passed + len(data) > limit and strike():
                target.sendall(data[: limit - passed])
                break
            if not data:
                target.shutdown(socket.SHUT_WR)
                return
            target.sendall(data)
            passed += len(data)
    except OSError:
        pass
    kill(source, target)


def serve(client):
    if control().get("refuse") and strike():
        kill(client)
        return
    try:
        server = socket.create_connection((host, port))
    except OSError:
        kill(client)
        return
    for s in (client, server):
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=pump, args=(client, server, "cut_up"), daemon=True).start()
    pump(server, client, "cut_down")


listener = socket.create_server(("127.0.0.1", 0), backlog=64)
print(listener.getsockname()[1], flush=True)
sys.stdout.close()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
