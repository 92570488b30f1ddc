#!/usr/bin/env python3
"""flat.py [-m MINUTES] [-s SECONDS] - do memory, threads and descriptors stay flat?

Two workers run for MINUTES (30), each a `litestream replicate` with three databases: one written at 20
commits a second, one in bursts (some thousand commits, then nobody has it open for a while), one once in
half a minute. "now" replicates to S3, S3 over TLS and a folder (a folder each without an S3 server).
"fast" has a wall clock that runs 60 times as fast (fast_clock.c) and folders: there 30 minutes are 30
hours of levels, snapshots and retention. The databases don't grow: what grows with them is not looked for.

Every SECONDS (10) resident and anonymous memory, threads and descriptors of both are noted. The first
tenth is left out; medians of the first and the last third of the rest are compared, and the slope of a
straight line through all of it is told. Flat: memory has grown by at most 5 % or 512 KB, threads by 1,
descriptors by 2. At the end every database is restored and must hold the last commit.

Prints a table ($BUILD/flat.md); all samples are in $BUILD/flat.json. Exit code 1 when something is not flat.
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import statistics
import sys
import threading
import time

from common import one_value, tree_bytes
from replicators import PATIENCE, Ours
from run import Bench

FACTOR = 60
ROWS = 20000
KEYS = ("rss", "anonymous", "threads", "descriptors")
ALLOWED = {"rss": 512, "anonymous": 512, "threads": 1, "descriptors": 2}


# ---- apps ----


class App(threading.Thread):
    """Writes into one database until it is told to end. Every commit counts in the row of `counter`."""

    def __init__(self, db, rhythm):
        super().__init__()
        self.db, self.rhythm, self.ended = db, rhythm, threading.Event()
        self.commits, self.numbers, self.failure = 0, random.Random(db), None
        connection = self.connect()
        connection.executescript(
            "PRAGMA journal_mode = WAL; CREATE TABLE counter(n INTEGER); INSERT INTO counter VALUES (0);"
            "CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB);"
            f"WITH RECURSIVE i(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM i WHERE a < {ROWS})"
            " INSERT INTO t SELECT a, randomblob(400) FROM i"
        )
        connection.close()

    def connect(self):
        connection = sqlite3.connect(self.db, timeout=60, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def commit(self, connection):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE t SET b = randomblob(400) WHERE a = ?", (self.numbers.randint(1, ROWS),))
        connection.execute("UPDATE counter SET n = n + 1")
        connection.execute("COMMIT")
        self.commits += 1

    def run(self):
        try:
            self.rhythm(self)
        except sqlite3.Error as e:
            self.failure = f"{self.db}: {e}"

    def steady(self):
        connection = self.connect()
        while not self.ended.wait(0.05):
            self.commit(connection)
        connection.close()

    def bursts(self):
        while not self.ended.is_set():
            connection = self.connect()
            for _ in range(5000):
                self.commit(connection)
            connection.close()
            self.ended.wait(self.numbers.uniform(20, 60))

    def seldom(self):
        connection = self.connect()
        while not self.ended.wait(self.numbers.uniform(10, 50)):
            self.commit(connection)
        connection.close()


# ---- workers ----


class Worker(Ours):
    """One process beside three apps, each with a replica of its own."""

    def __init__(self, bench, label, kinds, env=None):
        self.label, self.targets, self.apps = label, [], []
        for kind, rhythm in zip(kinds, (App.steady, App.bursts, App.seldom)):
            folder, target = bench.place(kind)
            self.targets.append(target)
            self.apps.append(App(folder + "/app.db", rhythm))
        super().__init__(bench, self.apps[0].db, self.targets[0], env)
        for target in self.targets:
            if target.kind == "file":
                os.makedirs(target.place)

    def databases(self):
        return [app.db for app in self.apps]

    def command(self):
        pairs = [x for app, target in zip(self.apps, self.targets) for x in (app.db, target.url())]
        return [self.bench.program, "replicate", "-socket", self.socket, *pairs]

    def sample(self):
        pid = self.process.pid
        memory = self.memory()
        return {
            "rss": memory["rss"], "anonymous": memory["anonymous"],
            "threads": len(os.listdir(f"/proc/{pid}/task")), "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        }

    def levels(self):
        """How many files of each level its folders hold, and what upkeep complained about."""
        found = {}
        for target in self.targets:
            for level in range(10) if target.kind == "file" else ():
                count = tree_bytes(f"{target.place}/ltx/{level}", ".ltx")[1]
                if count:
                    found[f"L{level}"] = found.get(f"L{level}", 0) + count
        return found

    def verify(self):
        """Every restored database holds the last commit of its app."""
        for app, target in zip(self.apps, self.targets):
            out = app.db + ".restored"
            self.bench.output([self.bench.program, "restore", "-quiet", "-no-state", "-o", out, target.url()], self.env)
            held = one_value(out, "SELECT n FROM counter")
            if held != app.commits:
                raise RuntimeError(f"{app.db}: {app.commits} commits, the replica has {held}")


# ---- judging ----


def slope(samples, key):
    """Of a straight line through all samples, per hour."""
    xs, ys = [s["at"] for s in samples], [s[key] for s in samples]
    mx, my = statistics.fmean(xs), statistics.fmean(ys)
    around = sum((x - mx) ** 2 for x in xs)
    return 3600 * sum((x - mx) * (y - my) for x, y in zip(xs, ys)) / around if around else 0.0


def judge(label, samples):
    """Rows of the table: (worker, what, first third, last third, slope an hour, flat)."""
    rest = samples[len(samples) // 10 :]
    third = max(1, len(rest) // 3)
    for key in KEYS:
        first = statistics.median(s[key] for s in rest[:third])
        last = statistics.median(s[key] for s in rest[-third:])
        allowed = ALLOWED[key] if key in ("threads", "descriptors") else max(ALLOWED[key], 0.05 * first)
        yield label, key, first, last, slope(rest, key), last - first <= allowed


def watch(workers, seconds, every):
    samples, start, told = {w.label: [] for w in workers}, time.monotonic(), 0.0
    while (at := time.monotonic() - start) < seconds:
        for w in workers:
            if w.process.poll() is not None:
                raise RuntimeError(f"the worker {w.label} ended with {w.process.returncode}, see {w.log}")
            samples[w.label].append(w.sample() | {"at": at})
            w.status()
        if at >= told:
            told += 60
            words = [f"{w.label}: " + ", ".join(f"{k} {samples[w.label][-1][k]}" for k in KEYS) for w in workers]
            print(f"{at / 60:5.1f} min  " + "   ".join(words), flush=True)
        time.sleep(max(0.0, every - (time.monotonic() - start - at)))
    return samples


def measure(bench, minutes, every):
    fast = {
        "LD_PRELOAD": os.path.join(bench.build, "bench", "fast_clock.so"),
        "FAST_CLOCK": str(FACTOR), "FAST_CLOCK_FROM": str(int(time.time() * 1000)),
    }
    kinds = ("s3", "tls", "file") if bench.s3 else ("file",) * 3
    workers = [Worker(bench, "now", kinds, bench.trust()), Worker(bench, "fast", ("file",) * 3, fast)]
    apps = [app for w in workers for app in w.apps]
    try:
        for w in workers:
            w.start()
        for app in apps:
            app.start()
        samples = watch(workers, minutes * 60, every)
        for app in apps:
            app.ended.set()
        for app in apps:
            app.join(PATIENCE)
            if app.failure:
                raise RuntimeError(app.failure)
        for w in workers:
            w.caught_up()
            print(f"{w.label}: {sum(a.commits for a in w.apps)} commits, files {w.levels()}")
            w.stop(signal.SIGTERM)
            w.verify()
    finally:
        for app in apps:
            app.ended.set()
        for w in workers:
            w.stop(signal.SIGKILL)
    return samples


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-m", "--minutes", type=float, default=30)
    parser.add_argument("-s", "--seconds", type=float, default=10)
    options = parser.parse_args()
    bench = Bench(os.path.abspath(os.environ.get("BUILD", "build")), False, False)
    try:
        samples = measure(bench, options.minutes, options.seconds)
    finally:
        bench.close()
    with open(os.path.join(bench.build, "flat.json"), "w", encoding="utf-8") as f:
        json.dump(samples, f, indent=1)
    rows = [row for label, found in samples.items() for row in judge(label, found)]
    lines = [f"{options.minutes:g} minutes, {sum(map(len, samples.values()))} samples.", ""]
    lines += ["| worker | | first third | last third | an hour | |", "|" + "---|" * 6]
    for label, key, first, last, an_hour, flat in rows:
        unit, verdict = " kB" if key in ("rss", "anonymous") else "", "flat" if flat else "GROWS"
        lines.append(f"| {label} | {key} | {first:.0f}{unit} | {last:.0f}{unit} | {an_hour:+.1f}{unit} | {verdict} |")
    print("\n" + "\n".join(lines))
    with open(os.path.join(bench.build, "flat.md"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    sys.exit(0 if all(row[-1] for row in rows) else 1)


if __name__ == "__main__":
    main()
