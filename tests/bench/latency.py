"""Commit to object: how soon what was committed is in the store. And what the machine itself needs."""

import mmap
import os
import struct
import subprocess
import threading
import time

from common import alternate, app_database, beside, median_of, ms, one_value, programs, times
from replicators import Ours


# ---- the machine itself ----


def baseline(bench):
    """What every replicator must do at least once: an fsync of 4 KiB, a PUT of 1 KiB."""
    folder, _ = bench.place("file")
    found = {"file": bench.report("baseline", "-n", 200, folder)}
    bench.row("the machine's own fsync of 4 KiB", yard=f"p50 {ms(found['file']['once_p50_us'])}")
    if bench.s3:
        _, target = bench.place("s3")
        found["s3"] = bench.report("baseline", "-n", 200, "-b", 1024, target.url())
        bench.row("a bare PUT of 1 KiB, loopback", yard=f"p50 {ms(found['s3']['once_p50_us'])}")
    return found


# ---- a quiet app ----


def quiet_database(bench, folder):
    db = app_database(bench, folder)
    subprocess.run(["sqlite3", db, "CREATE TABLE quiet(id INTEGER PRIMARY KEY, body BLOB)"], check=True)
    return db


def quiet(bench):
    """A commit every 1.5 to 3 s; from its return to the object's appearance in the store."""
    base = bench.results.get("baseline") or bench.silently(baseline)
    found = {}
    for kind in bench.kinds():
        found[kind] = one = {"ours": [], "peer": []}
        for run, program in alternate(bench.runs(), programs(bench, none=False)):

            def work(db, r, run=run):
                return bench.report(
                    "quiet", "-n", bench.count(6, 2), "-i", 1500, "-j", 1500, "-S", run + 1, "-p", r.prefix,
                    db, r.watched(),
                )

            one[program.name].append(beside(bench, program, kind, work, quiet_database))
        quiet_row(bench, kind, one, base[kind]["once_p50_us"])
    return found


def quiet_row(bench, kind, one, once):
    p50 = median_of(one["ours"], "object_p50_us")
    worst = max(r["object_max_us"] for r in one["ours"])

    def text(reports):
        return f"p50 {ms(median_of(reports, 'object_p50_us'))}, max {ms(max(r['object_max_us'] for r in reports))}"

    bench.row(
        f"commit to object, quiet app, {kind}", text(one["ours"]), text(one["peer"]) if one["peer"] else "",
        yard=f"{'fsync' if kind == 'file' else 'bare PUT'} {ms(once)}", ratio=times(p50, once),
        goal=f"p50 <= {ms(3 * once + 5000)}, max <= 50 ms", ok=p50 <= 3 * once + 5000 and worst <= 50000,
    )


# ---- one writer at full speed ----


class AckedTimes:
    """Samples a writer's ack file each few ms while it runs: (wall time, number acknowledged by then)."""

    def __init__(self, path):
        self.path, self.samples, self.ended = path, [], threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def run(self):
        while not os.path.exists(self.path) or os.stat(self.path).st_size < 8:
            if self.ended.wait(0.005):
                return
        with open(self.path, "rb") as f, mmap.mmap(f.fileno(), 8, prot=mmap.PROT_READ) as m:
            while not self.ended.wait(0.005):
                self.samples.append((time.time(), struct.unpack("q", m[:8])[0]))
            self.samples.append((time.time(), struct.unpack("q", m[:8])[0]))


def shipped(replicator, folder):
    """(time at which it was there, highest number in it) of each upload: each one is restored."""
    found = []
    for at, txid in replicator.uploads():
        out = f"{folder}/at-{txid}.db"
        replicator.bench.output(replicator.restore(out) + ["-txid", txid, "-quiet", "-no-state"])
        found.append((at, one_value(out, "SELECT coalesce(max(seq), 0) FROM commits WHERE writer = 1")))
        os.unlink(out)
    return sorted(found)


def lags(samples, uploads):
    """Seconds that each commit waited for its object, as sorted (lag, how many commits had it).

    A commit between two samples is taken as done at the earlier one: no lag is told too small.
    """
    found, i = [], 0
    for (before, low), (_, high) in zip(samples, samples[1:]):
        if high <= low:
            continue
        while i < len(uploads) and uploads[i][1] < high:
            i += 1
        if i == len(uploads):
            raise RuntimeError(f"commit {high} was acknowledged and is in no object")
        found.append((max(0.0, uploads[i][0] - before), high - low))
    return sorted(found)


def quantile(weighted, q):
    left = q * sum(n for _, n in weighted)
    for value, n in weighted:
        left -= n
        if left <= 0:
            return value
    return weighted[-1][0]


def lag_report(replicator, samples, folder):
    """Of a replicator of ours that has caught up: how long commits waited for their object."""
    uploads = shipped(replicator, folder)
    waited = lags(samples, uploads)
    return {"lag_p50_s": quantile(waited, 0.5), "lag_p99_s": quantile(waited, 0.99), "uploads": len(uploads)}


def peer_lag_report(replicator, samples, folder):
    """Of the peer, 2 s after the last commit: files, what of the commits they hold. Then it is told to end,
    and ships what is left: the errors that it reports."""
    time.sleep(2)
    files = len([n for n in replicator.objects() if n.endswith(".wal.lz4")])
    out = f"{folder}/peer.db"
    done = subprocess.run(
        replicator.restore(out), env=replicator.bench.env, capture_output=True, text=True, timeout=120, check=False
    )
    newest = 0
    if done.returncode == 0:
        newest = one_value(out, "SELECT coalesce(max(seq), 0) FROM commits WHERE writer = 1")
        os.unlink(out)
    last = samples[-1]
    since = next((t for t, n in samples if n > newest), last[0])
    lag = time.time() - since if newest < last[1] else 0.0
    replicator.stop()
    with open(replicator.log, encoding="utf-8", errors="replace") as f:
        errors = [line.strip() for line in f if "level=ERROR" in line]
    return {
        "files": files, "missing": last[1] - newest, "of": last[1], "restored": done.returncode == 0,
        "lag_s": lag, "errors": errors[-3:],
    }


def full_speed_s3(bench):
    """The lag at full speed once more, against S3, ours alone (the app's side is the row before)."""
    if not bench.s3:
        bench.missing("lag at full speed, S3", "no S3 server")
    seconds = bench.seconds(6)
    found = []

    def work(db, replicator):
        folder = os.path.dirname(db)
        with AckedTimes(folder + "/ack") as acked:
            watcher = bench.spawn("truncater", "-i", 0, "-t", seconds, db)
            bench.report("writer", "-t", seconds, "-a", folder + "/ack", db)
            wal = bench.collect(watcher)["wal_max_bytes"]
        replicator.caught_up()
        return lag_report(replicator, acked.samples, folder) | {"wal_max_bytes": wal}

    for _ in range(bench.runs()):
        found.append(beside(bench, Ours, "s3", work))
    p99, wal = median_of(found, "lag_p99_s"), max(r["wal_max_bytes"] for r in found)
    bench.row(
        "commit to object, one writer at full speed, s3", f"p99 {p99:.2f} s, WAL max {wal / 2**20:.0f} MB",
        goal="p99 <= 1.5 s, WAL <= 64 MB", ok=p99 <= 1.5 and wal <= 64 * 2**20,
    )
    return found
