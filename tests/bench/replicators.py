"""The programs that the bench compares: ours, Litestream 0.3.13 (the peer), and none at all.

Each is started beside a database, tells when its first snapshot is in the store, and is stopped. What
they cost is read from /proc.
"""

import calendar
import glob
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time

PEER_PACKAGE = "@flydotio/litestream@1.0.1"  # ships the 0.3.13 binary
PATIENCE = 120


class Target:
    """Where to replicate: a folder ("file") or a prefix in a bucket ("s3", "tls")."""

    def __init__(self, kind, place, s3=None):
        self.kind, self.place, self.s3 = kind, place, s3

    def url(self):
        if self.kind == "file":
            return "file://" + self.place
        return f"s3://{self.s3['BUCKET']}/{self.place}?endpoint={self.s3['ENDPOINT']}"

    def yaml(self):
        if self.kind == "file":
            return f"      - type: file\n        path: {self.place}\n"
        return (
            f"      - type: s3\n        bucket: {self.s3['BUCKET']}\n        path: {self.place}\n"
            f"        endpoint: {self.s3['ENDPOINT']}\n        region: us-east-1\n"
            "        force-path-style: true\n"
        )


def wait_until(condition, what, pause=0.02):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"never came true: {what}")
        time.sleep(pause)


class Replicator:
    """One process beside one database. `env` is added to the environment of the process."""

    name, prefix = "none", ""

    def __init__(self, bench, db, target, env=None):
        self.bench, self.db, self.target = bench, db, target
        self.env = bench.env | (env or {})
        self.process = None
        self.log = db + "." + self.name + ".log"

    def command(self):
        raise NotImplementedError

    def ready(self):
        raise NotImplementedError

    def watched(self):
        """Where bench/quiet waits for an upload: a folder, or a URL (and there `prefix`)."""
        return f"{self.target.place}/{self.prefix}" if self.target.kind == "file" else self.target.url()

    def launch(self):
        """Starts the process and waits for nothing."""
        if self.target.kind == "file":
            os.makedirs(self.target.place, exist_ok=True)
        command = self.command()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env)

    def start(self):
        self.launch()
        try:
            wait_until(self.checked_ready, f"{self.name} has its first snapshot in the store")
        except RuntimeError:
            self.stop(signal.SIGKILL)
            raise
        return self

    def checked_ready(self):
        if self.process.poll() is not None:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}: {f.read()[-2000:]}")
        return self.ready()

    def stop(self, sig=signal.SIGTERM):
        """Ends the process; one that does not go is killed, and that is an error. Twice is fine."""
        process, self.process = self.process, None
        if not process:
            return
        process.send_signal(sig)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise RuntimeError(f"{self.name} did not end within {PATIENCE} s of {sig.name}") from None

    def cpu_seconds(self):
        """Of the threads that live now, to the nanosecond; /proc/PID/stat counts hundredths of a second."""
        total = 0
        for path in glob.glob(f"/proc/{self.process.pid}/task/*/schedstat"):
            with open(path, encoding="ascii") as f:
                total += int(f.read().split()[0])
        return total / 1e9

    def memory(self):
        """Kilobytes: resident, its share, anonymous."""
        with open(f"/proc/{self.process.pid}/smaps_rollup", encoding="ascii") as f:
            text = f.read()
        return {k.lower(): int(re.search(rf"^{k}:\s+(\d+)", text, re.M)[1]) for k in ("Rss", "Pss", "Anonymous")}


class Nothing(Replicator):
    """The app alone."""

    def start(self):
        return self

    def cpu_seconds(self):
        return 0.0

    def caught_up(self):
        pass


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Ours(Replicator):
    name = "ours"

    def __init__(self, bench, db, target, env=None, flags=()):
        super().__init__(bench, db, target, env)
        self.flags = list(flags)
        self.prefix = "ltx/0/" if target.kind == "file" else "0000/"
        # Short: a socket's path has at most 107 bytes.
        self.socket = os.path.join(bench.sockets, f"{os.path.basename(db)}.{id(self):x}")

    def command(self):
        return [self.bench.program, "replicate", "-socket", self.socket, *self.flags, self.db, self.target.url()]

    def ask(self, method, path, body=None):
        """What the control socket answers, as an object; RuntimeError with its words when it refuses."""
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            found = json.load(answer)
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {found.get('error')}")
        return found

    def status(self):
        return self.ask("GET", "/status")["apps"][0]["databases"][0]

    def databases(self):
        return [self.db]

    def sync_now(self):
        for db in self.databases():
            self.ask("POST", "/sync", {"path": db, "wait": True, "timeout": PATIENCE})

    def ready(self):
        """A stale socket of a killed one refuses connections."""
        try:
            self.sync_now()
        except (OSError, http.client.HTTPException):
            return False
        return True

    def caught_up(self):
        wait_until(lambda: os.path.exists(self.socket), "the control socket is there")
        wait_until(self.ready, "everything is shipped")

    def nothing_pending(self):
        status = self.status()
        return status["state"] == "replicating" and status["pending_bytes"] == 0 and status["lag_seconds"] == 0

    def objects(self):
        """Names of the LTX files in the replica."""
        if self.target.kind == "file":
            return [os.path.basename(p) for p in glob.glob(self.target.place + "/ltx/*/*.ltx")]
        return [line.split()[0] for line in self.bench.s3_list(self.target.place) if ".ltx" in line]

    def uploads(self):
        """(wall time at which it was there, TXID) of each L0 file. In a folder the time is that of the link."""
        if self.target.kind == "file":
            found = [(os.stat(p).st_ctime, os.path.basename(p)) for p in glob.glob(self.target.place + "/ltx/0/*.ltx")]
        else:
            found = [(wall_time(t), key.rsplit("/", 1)[1]) for key, t in self.bench.s3_times(f"{self.target.place}/0000/")]
        return [(at, name.removesuffix(".ltx").split("-")[1]) for at, name in found]

    def restore(self, out, more=()):
        return [self.bench.program, "restore", *more, "-o", out, self.target.url()]


def wall_time(text):
    """Seconds since 1970 of "2026-11-21T15:38:07.577Z"."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float("0." + (fraction or "0"))


class Peer(Replicator):
    """Litestream 0.3.13. `settings` and `replica_settings` are lines for its configuration."""

    name, prefix = "peer", "generations/"

    def __init__(self, bench, db, target, env=None, settings="", replica_settings=""):
        super().__init__(bench, db, target, env)
        self.settings, self.replica_settings = settings, replica_settings

    def config(self):
        path = self.db + ".peer.yml"
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"dbs:\n  - path: {self.db}\n{self.settings}    replicas:\n{self.target.yaml()}{self.replica_settings}")
        return path

    def command(self):
        return [self.bench.peer, "replicate", "-config", self.config()]

    def objects(self):
        if self.target.kind == "file":
            found = glob.glob(self.target.place + "/generations/**", recursive=True)
        else:
            found = self.bench.s3_list(self.target.place)
        return [n for n in found if ".lz4" in n and "tmp" not in os.path.basename(n)]

    def ready(self):
        names = self.objects()
        return any(".snapshot.lz4" in n for n in names) and any(".wal.lz4" in n for n in names)

    def caught_up(self):
        """0.3 has no command for it: nothing new for three of its intervals."""
        before = None
        for _ in range(40):
            now = sorted(self.objects())
            if now == before:
                return
            before = now
            time.sleep(3)
        raise RuntimeError("the peer is never done")

    def restore(self, out, more=()):
        return [self.bench.peer, "restore", *more, "-o", out, "-config", self.config(), self.db]
