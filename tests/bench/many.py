#!/usr/bin/env python3
"""many.py - many databases in one worker, many apps under one litestreamd: what that costs.

Used by run.py and by hand:

    many.py [-a APPS] [-d DATABASES] [-o] [-r RATE] [-t SECONDS] [-w SECONDS] [-s [-x OBJECTS]] [-k]

starts litestreamd on APPS apps with DATABASES databases each, waits until all are replicated, and prints
one JSON object: memory, threads and descriptors, CPU and wake-ups while nothing happens for SECONDS (-t),
how long commits in some of them take to the replica, how long the end takes, and whether the replicas hold
everything then. -o: an app has each of them open; -r: and then commits in one after the other, so often a
second, for SECONDS. -w: how long nothing has happened when the idle time begins. -s: the replicas are on an
S3 server (counting_s3.py) over TLS, not in folders; -x: with so many other objects below the URL of each.
-k keeps the folder.

Memory and CPU are the kernel's own account: smaps_rollup, schedstat (nanoseconds) and status of every
thread. A wake-up is a voluntary switch of context: a thread that slept and was woken.
"""

import argparse
import glob
import json
import os
import re
import resource
import shutil
import signal
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

PATIENCE = 300


def wait_until(condition, what, pause=0.02):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"never came true: {what}")
        time.sleep(pause)


# ---- what the kernel says of processes ----


def memory(pids):
    """Kilobytes of all of them together: resident, their share of it, anonymous."""
    total = dict.fromkeys(("rss", "pss", "anonymous"), 0)
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            text = f.read()
        for key in total:
            total[key] += int(re.search(rf"^{key.capitalize()}:\s+(\d+)", text, re.M)[1])
    return total


def peak(pid):
    """Kilobytes that were resident at most since it began."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"^VmHWM:\s+(\d+)", f.read(), re.M)[1])


def spent(pids):
    """CPU time in ns and wake-ups of all threads of the processes since they began. (What
    /proc/PID/schedstat says is the first thread's alone.)"""
    ns = switches = 0
    for pid in pids:
        for task in glob.glob(f"/proc/{pid}/task/*"):
            with open(task + "/schedstat", encoding="ascii") as f:
                ns += int(f.read().split()[0])
            with open(task + "/status", encoding="ascii") as f:
                switches += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", f.read(), re.M)[1])
    return ns, switches


def count(pids, what):
    """Entries of /proc/PID/what (fd, task) of all of them."""
    return sum(len(os.listdir(f"/proc/{pid}/{what}")) for pid in pids)


def during(pids, work):
    """What they spend while work() runs: CPU time and wake-ups, also as a day of it."""
    ns, switches = spent(pids)
    start = time.monotonic()
    work()
    after_ns, after_switches = spent(pids)
    took = time.monotonic() - start
    return {
        "seconds": took,
        "cpu_ns": after_ns - ns,
        "wakeups": after_switches - switches,
        "cpu_percent": (after_ns - ns) / took / 1e7,
        "cpu_seconds_a_day": (after_ns - ns) / took * 86400 / 1e9,
    }


# ---- the apps' side ----


class Connections:
    """A process that has databases open and commits in them when it is told to."""

    def __init__(self, paths):
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "--hold"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        self.ask(json.dumps(paths))

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def commit(self, which, pause=0):
        """Commits in the databases of these indexes, one after the other, so many seconds apart."""
        return self.ask(json.dumps([pause, which]))

    def close(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)


def hold():
    """The inside of Connections: reads a list of paths, then what to commit."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files[1], files[1]))
    opened = []
    for path in json.loads(sys.stdin.readline()):
        db = sqlite3.connect(path, timeout=30, isolation_level=None)
        db.execute("SELECT count(*) FROM t").fetchone()
        opened.append(db)
    print("true", flush=True)
    for line in sys.stdin:
        pause, which = json.loads(line)
        due = time.monotonic()
        for i in which:
            opened[i].execute("INSERT INTO t(body) VALUES (randomblob(50))")
            due += pause
            time.sleep(max(0, due - time.monotonic()))
        print("true", flush=True)


# ---- the store ----


class S3:
    """counting_s3.py over TLS, with a certificate of its own."""

    def __init__(self):
        here = os.path.dirname(os.path.abspath(__file__))
        self.folder = tempfile.mkdtemp(prefix="many-s3.")
        subprocess.run([here + "/../servers/certificate.sh", self.folder], check=True)
        command = [here + "/counting_s3.py", "--tls", self.folder + "/server.pem", self.folder + "/server.key"]
        self.process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
        self.endpoint = self.process.stdout.readline().strip()
        self.ca = self.folder + "/ca.pem"

    def ask(self, path, data=None):
        context = ssl.create_default_context(cafile=self.ca)
        request = urllib.request.Request(self.endpoint + path, data=data, method="PUT" if data else "GET")
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return answer.read()

    def counts(self):
        return json.loads(self.ask("/-/counts"))

    def close(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder)


# ---- the daemon's side ----


class Bed:
    """A folder with litestreamd, apps and databases; everything in it is ours and goes with it."""

    def __init__(self, build, apps, databases, *, options=None, arguments=(), s3=None):
        self.root = tempfile.mkdtemp(prefix="many.")
        self.bin, self.arguments = os.path.join(os.path.abspath(build), "bin"), list(arguments)
        self.options = options or {}
        self.apps = {f"app-{a}": [self.database(a, d) for d in range(databases)] for a in range(apps)}
        self.process, self.s3 = None, s3
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LITESTREAM_"))}
        self.make()
        if s3:
            keys = {"access_key_id": "counted", "secret_access_key": "counted"}
            self.env |= {"SSL_CERT_FILE": s3.ca} | {f"LITESTREAM_{k.upper()}": v for k, v in keys.items()}
            secrets = self.root + "/data/secrets/--global.json"
            with open(os.open(secrets, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="utf-8") as f:
                json.dump(keys, f)

    def database(self, a, d):
        return f"{self.root}/storage/app-{a}--db/tenant-{d}.db"

    def replica(self, path):
        return f"{self.root}/replicas/{os.path.relpath(path, self.root + '/storage')}"

    def url(self, path):
        if not self.s3:
            return "file://" + self.replica(path)
        return f"s3://counted{self.replica(path)}?endpoint={self.s3.endpoint}"

    def paths(self):
        return [path for paths in self.apps.values() for path in paths]

    def make(self):
        for name in ("storage", "replicas", "data/desired", "data/secrets", "run", "log"):
            os.makedirs(f"{self.root}/{name}")
        for name in ("data/desired", "data/secrets"):
            os.chmod(f"{self.root}/{name}", 0o700)
        first = self.root + "/first.db"
        db = sqlite3.connect(first)
        db.executescript(
            "PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, body BLOB);"
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)"
            " INSERT INTO t(body) SELECT randomblob(50) FROM n;"
        )
        db.close()
        for app, paths in self.apps.items():
            os.makedirs(os.path.dirname(paths[0]))
            for path in paths:
                shutil.copyfile(first, path)
            self.desire(app, True)

    def desire(self, app, running):
        entries = [
            {
                "id": f"{app}-{i:016x}", "storage_dir": os.path.dirname(path), "file": os.path.basename(path),
                "replica": self.url(path), "uid": os.geteuid(), "gid": os.getegid(),
                "options": self.options,
            }
            for i, path in enumerate(self.apps[app])
        ]
        path = f"{self.root}/data/desired/{app}.json"
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump({"version": 1, "app": app, "running": running, "databases": entries}, f)
        os.rename(path + ".new", path)

    def start(self):
        """Starts litestreamd; seconds until every database is replicated."""
        begun = time.monotonic()
        command = [
            self.bin + "/litestreamd", "-run-as-self", "-data-dir", self.root + "/data", "-socket", self.socket(),
            "-log-dir", self.root + "/log", "-storage-root", self.root + "/storage", *self.arguments,
        ]
        if os.geteuid() == 0:
            command.append("-allow-root-databases")
        with open(self.root + "/litestreamd.log", "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env
            )
        wait_until(lambda: os.path.exists(self.socket()), "litestreamd listens")
        wait_until(self.replicated, "all databases are replicated", 0.2)
        return time.monotonic() - begun

    def socket(self):
        return self.root + "/run/control.sock"

    def ctl(self, *words):
        command = [self.bin + "/litestream", "ctl", "-socket", self.socket(), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def restored(self, path):
        """Whether the replica of a database holds all that its app has committed."""
        query = "SELECT count(*), max(id), sum(length(body)) FROM t"
        folder = tempfile.mkdtemp(dir=self.root)
        out = folder + "/restored.db"
        command = [self.bin + "/litestream", "restore", "-o", out, self.url(path)]
        subprocess.run(command, capture_output=True, check=True, env=self.env)
        answers = []
        for name in (path, out):
            db = sqlite3.connect(name)
            answers.append(db.execute(query).fetchone())
            db.close()
        shutil.rmtree(folder)
        return answers[0] == answers[1]

    def status(self):
        return json.loads(self.ctl("status", "-json"))["apps"]

    def states(self):
        """How many databases are in which state."""
        found = {}
        for app in self.status():
            for database in app["databases"]:
                word = database["state"] if int(database["txid"], 16) or database["state"] != "replicating" else "new"
                found[word] = found.get(word, 0) + 1
        return found

    def replicated(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"litestreamd ended with {self.process.returncode}; see {self.root}/litestreamd.log")
        return self.states() == {"replicating": len(self.paths())}

    def pids(self):
        """litestreamd's and its workers'."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as f:
            return [self.process.pid, *map(int, f.read().split())]

    def uploads(self, paths):
        """How many uploads each of them has in its replica, or on S3: is said to have."""
        if self.s3:
            said = {d["path"]: d["uploads"] for app in self.status() for d in app["databases"]}
            return [said[path] for path in paths]
        return [len(glob.glob(self.replica(path) + "/ltx/0/*.ltx")) for path in paths]

    def released(self):
        """Nobody has any of them open: no -wal is left."""
        return not any(os.path.exists(path + "-wal") for path in self.paths())

    def ship(self, connections, which):
        """Commits in some databases, by index; seconds until the last is in its replica."""
        paths = [self.paths()[i] for i in which]
        before = self.uploads(paths)
        begun = time.monotonic()
        connections.commit(which)

        def shipped():
            return all(now > was for now, was in zip(self.uploads(paths), before))

        wait_until(shipped, "the commits are shipped", 0.002)
        return time.monotonic() - begun

    def stop(self):
        """Seconds that a clean end takes."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(PATIENCE):
            raise RuntimeError(f"litestreamd ended with {self.process.returncode}")
        self.process = None
        return time.monotonic() - begun

    def close(self, keep=False):
        if self.process:
            for pid in self.pids():
                os.kill(pid, signal.SIGKILL)
            self.process.wait()
        if not keep:
            shutil.rmtree(self.root, ignore_errors=True)


def busy(bed, connections, rate, seconds):
    """Commits in one database after the other: what that costs, and a commit of it."""
    n = len(bed.paths())
    which = [i % n for i in range(int(rate * seconds))]
    found = during(bed.pids(), lambda: connections.commit(which, 1 / rate))
    found["cpu_us_a_commit"] = found["cpu_ns"] / len(which) / 1000
    return found


def measure(build, apps, databases, *, opened=False, rate=0, seconds=20, quiet=25, s3=False, strangers=0, keep=False):
    """Everything about one set-up, as a dictionary. `quiet`: so long nothing happens before it counts as
    idle. What a burst needed goes in that time, and the signs of life from the workers, which are every 5 s
    at first, get rare. `strangers`: so many objects that are none of ours lie below each replica's URL."""
    store = S3() if s3 else None
    bed = Bed(build, apps, databases, s3=store)
    connections = None
    try:
        for path in bed.paths():
            for i in range(strangers):
                store.ask(f"/counted{bed.replica(path)}/other/{i:06d}", b"other")
        opened = opened or rate > 0
        found = {"apps": apps, "databases": databases, "opened": opened, "start_seconds": bed.start()}
        connections = Connections(bed.paths() if opened else [])
        found["peak_kb"] = sum(peak(pid) for pid in bed.pids())
        if opened:
            everything = range(len(bed.paths()))
            found["ship_all_seconds"] = bed.ship(connections, list(everything))
            time.sleep(1.1)  # the sync interval: what comes now is shipped at once
            some = everything[:: max(1, len(everything) // 10)]
            found["ship_one_seconds"] = [bed.ship(connections, [i]) for i in some]
        if rate:
            found["busy"] = busy(bed, connections, rate, seconds)
        if not opened:
            wait_until(bed.released, "all databases are let go", 0.2)
        time.sleep(quiet)
        pids = bed.pids()
        if store:
            found["requests"] = store.counts()
        found["idle"] = during(pids, lambda: time.sleep(seconds))
        found["memory_kb"] = memory(pids)
        found["daemon_kb"] = memory(pids[:1])
        found["processes"], found["threads"], found["descriptors"] = len(pids), count(pids, "task"), count(pids, "fd")
        connections.close()
        connections = None
        found["stop_seconds"] = bed.stop()
        some = bed.paths()[:: max(1, len(bed.paths()) // 20)]
        found["restored"] = {"asked": len(some), "whole": sum(map(bed.restored, some))}
        return found
    finally:
        if connections:
            connections.process.kill()
        bed.close(keep)
        if store:
            store.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hold", action="store_true")
    parser.add_argument("-a", "--apps", type=int, default=1)
    parser.add_argument("-d", "--databases", type=int, default=1)
    parser.add_argument("-o", "--opened", action="store_true")
    parser.add_argument("-r", "--rate", type=float, default=0)
    parser.add_argument("-t", "--seconds", type=float, default=20)
    parser.add_argument("-w", "--quiet", type=float, default=25)
    parser.add_argument("-s", "--s3", action="store_true")
    parser.add_argument("-x", "--strangers", type=int, default=0)
    parser.add_argument("-k", "--keep", action="store_true")
    o = parser.parse_args()
    if o.hold:
        hold()
        return
    found = measure(
        os.environ.get("BUILD", "build"), o.apps, o.databases,
        opened=o.opened, rate=o.rate, seconds=o.seconds, quiet=o.quiet, s3=o.s3, strangers=o.strangers, keep=o.keep,
    )
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
