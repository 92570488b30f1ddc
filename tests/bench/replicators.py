"""The programs that the bench compares: ours, Litestream 0.3.13 (the peer), and none at all.

Each is started beside a database, tells when its first snapshot is in the store, and is stopped. What
they cost is read from /proc.
"""

import glob
import os
import re
import signal
import subprocess
import time

PEER_PACKAGE = "@flydotio/litestream@1.0.1"  # ships the 0.3.13 binary
PATIENCE = 120


class Target:
    """Where to replicate: a folder or a prefix in a bucket."""

    def __init__(self, kind, place, s3=None):
        self.kind, self.place, self.s3 = kind, place, s3

    def url(self):
        if self.kind == "file":
            return "file://" + self.place
        endpoint = self.s3["ENDPOINT"]
        return f"s3://{self.s3['BUCKET']}/{self.place}?endpoint={endpoint}"

    def watched(self):
        """What bench/quiet takes: a folder or a URL."""
        return self.place if self.kind == "file" else self.url()

    def yaml(self):
        if self.kind == "file":
            return f"      - type: file\n        path: {self.place}\n"
        return (
            f"      - type: s3\n        bucket: {self.s3['BUCKET']}\n        path: {self.place}\n"
            f"        endpoint: {self.s3['ENDPOINT']}\n        region: us-east-1\n"
            "        force-path-style: true\n"
        )


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"never came true: {what}")
        time.sleep(0.02)


class Replicator:
    """One process beside one database."""

    name, prefix = "none", ""

    def __init__(self, bench, db, target):
        self.bench, self.db, self.target = bench, db, target
        self.process = None
        self.log = db + "." + self.name + ".log"

    def command(self):
        raise NotImplementedError

    def ready(self):
        raise NotImplementedError

    def start(self):
        if self.target.kind == "file":
            os.makedirs(self.target.place, exist_ok=True)
        command = self.command()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.bench.env
            )
        wait_until(self.checked_ready, f"{self.name} has its first snapshot in the store")
        return self

    def checked_ready(self):
        if self.process.poll() is not None:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}: {f.read()[-2000:]}")
        return self.ready()

    def stop(self, sig=signal.SIGTERM):
        if self.process:
            self.process.send_signal(sig)
            self.process.wait(PATIENCE)

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """Kilobytes: resident, its share, anonymous."""
        with open(f"/proc/{self.process.pid}/smaps_rollup", encoding="ascii") as f:
            text = f.read()
        return {k.lower(): int(re.search(rf"^{k}:\s+(\d+)", text, re.M)[1]) for k in ("Rss", "Pss", "Anonymous")}


class Nothing(Replicator):
    """The app alone."""

    def start(self):
        return self

    def stop(self, sig=None):
        pass

    def cpu_seconds(self):
        return 0.0

    def caught_up(self):
        pass


class Ours(Replicator):
    name = "ours"

    def __init__(self, bench, db, target):
        super().__init__(bench, db, target)
        self.prefix = "ltx/0/" if target.kind == "file" else "0000/"
        # Short: a socket's path has at most 107 bytes.
        self.socket = os.path.join(bench.sockets, f"{os.path.basename(db)}.{id(self):x}")

    def command(self):
        return [self.bench.program, "replicate", "-socket", self.socket, self.db, self.target.url()]

    def ready(self):
        return os.path.exists(self.socket) and self.sync().returncode == 0

    def sync(self):
        return subprocess.run(
            [self.bench.program, "sync", "-wait", "-timeout", str(PATIENCE), "-socket", self.socket, self.db],
            capture_output=True, check=False,
        )

    def caught_up(self):
        done = self.sync()
        if done.returncode:
            raise RuntimeError("sync: " + done.stderr.decode())

    def restore(self, out, url=None):
        return [self.bench.program, "restore", "-o", out, url or self.target.url()]


class Peer(Replicator):
    name, prefix = "peer", "generations/"
    settings = ""  # lines for the database, in its configuration

    def config(self, target):
        path = self.db + ".peer.yml"
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"dbs:\n  - path: {self.db}\n{self.settings}    replicas:\n{target.yaml()}")
        return path

    def command(self):
        return [self.bench.peer, "replicate", "-config", self.config(self.target)]

    def objects(self):
        if self.target.kind == "file":
            return glob.glob(self.target.place + "/generations/**", recursive=True)
        return self.bench.s3_list(self.target.place)

    def ready(self):
        names = self.objects()
        return any(".snapshot.lz4" in n and "tmp" not in n for n in names) and any(
            ".wal.lz4" in n and "tmp" not in n for n in names
        )

    def caught_up(self):
        """0.3 has no command for it: nothing new for three of its intervals."""
        before = None
        for _ in range(40):
            now = sorted(self.objects())
            if now == before:
                return
            before = now
            time.sleep(3)

    def restore(self, out, target=None):
        return [self.bench.peer, "restore", "-o", out, "-config", self.config(target or self.target), self.db]
