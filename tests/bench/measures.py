"""What is measured, one function each; what they share is at the top.

A function takes the Bench, adds rows to its table and returns all its numbers for bench.json. Times are
in microseconds unless a name says otherwise. "none" is the app without a replicator.
"""

import os
import signal
import statistics
import subprocess
import time

from replicators import Nothing, Ours, Peer, wait_until


def programs(bench, *, none=True):
    return ([Nothing] if none else []) + [Ours] + ([Peer] if bench.peer else [])


def alternate(bench, runs, candidates):
    """(run, program) in an order that turns with each run, so that none has always the same place."""
    for run in range(runs):
        shift = run % len(candidates)
        for program in candidates[shift:] + candidates[:shift]:
            yield run, program


def ms(us):
    return f"{us / 1000:.2f} ms"


def median_of(reports, key):
    return statistics.median(r[key] for r in reports)


def app_database(bench, folder, rows=1000):
    db = folder + "/app.db"
    bench.report("writer", "-n", 1, "-b", rows, db)
    return db


def beside(bench, program, kind, work, prepare=app_database):
    """Runs `work(db, replicator)` beside a program that has caught up; what it returns."""
    folder, target = bench.place(kind)
    replicator = program(bench, prepare(bench, folder), target)
    try:
        replicator.start()
        return work(replicator.db, replicator)
    finally:
        replicator.stop()


# ---- the machine itself ----


def baseline(bench):
    """What every replicator must do at least once: an fsync of 4 KiB, a PUT of 1 KiB."""
    folder, _ = bench.place("file")
    found = {"file": bench.report("baseline", "-n", 200, folder)}
    bench.row("this machine's fsync", f"p50 {ms(found['file']['once_p50_us'])}")
    if bench.s3:
        _, target = bench.place("s3")
        found["s3"] = bench.report("baseline", "-n", 200, "-b", 1024, target.url())
        bench.row("this machine's bare PUT", f"p50 {ms(found['s3']['once_p50_us'])}")
    return found


# ---- commit to object ----


def quiet_database(bench, folder):
    db = app_database(bench, folder)
    subprocess.run(
        ["sqlite3", db, "CREATE TABLE quiet(id INTEGER PRIMARY KEY, body BLOB)"], check=True
    )
    return db


def quiet(bench):
    """A commit every 1.5 to 3 s; from its return to the object's appearance in the store."""
    found = {}
    for kind in bench.kinds():
        found[kind] = one = {"ours": [], "peer": []}
        for run, program in alternate(bench, bench.runs(), programs(bench, none=False)):
            def work(db, r, run=run):
                return bench.report(
                    "quiet", "-n", bench.seconds(8), "-i", 1500, "-j", 1500, "-S", run + 1, "-p", r.prefix,
                    db, r.target.watched(),
                )

            one[program.name].append(beside(bench, program, kind, work, quiet_database))
        once = bench.results["baseline"][kind]["once_p50_us"] if "baseline" in bench.results else None
        for name, reports in one.items():
            if not reports:
                continue
            p50 = median_of(reports, "object_p50_us")
            worst = max(r["object_max_us"] for r in reports)
            ok = goal = None
            if name == "ours" and once:
                goal = f"p50 <= {ms(3 * once + 5000)}, max <= 50 ms"
                ok = p50 <= 3 * once + 5000 and worst <= 50000
            bench.row(f"commit to object, quiet app, {kind}, {name}", f"p50 {ms(p50)}, max {ms(worst)}", goal or "", ok)
    return found


# ---- what the app feels ----


def app_500(bench):
    """500 commits a second: their latency; the replicator's CPU time for each GB of WAL."""
    seconds = bench.seconds(12)
    found = {"none": [], "ours": [], "peer": []}

    def work(db, replicator):
        before = replicator.cpu_seconds()
        report = bench.report("writer", "-r", 500, "-t", seconds, db)
        replicator.caught_up()
        report["cpu_seconds"] = replicator.cpu_seconds() - before
        return report

    for _, program in alternate(bench, bench.runs(), programs(bench)):
        found[program.name].append(beside(bench, program, "file", work))
    gigabytes = wal_bytes(bench, 500 * seconds) / 1e9
    p50, p99 = median_of(found["none"], "commit_p50_us"), median_of(found["none"], "commit_p99_us")
    for name, reports in found.items():
        if not reports:
            continue
        a, b = median_of(reports, "commit_p50_us"), median_of(reports, "commit_p99_us")
        goal, ok = "", None
        if name == "ours":
            goal, ok = "p50 <= +5 %, p99 <= +1 ms", a <= p50 * 1.05 and b <= p99 + 1000
        bench.row(f"commits at 500 a second, {name}", f"p50 {a:.0f} us, p99 {b:.0f} us", goal, ok)
    cpu = {n: median_of(r, "cpu_seconds") / gigabytes for n, r in found.items() if r and n != "none"}
    for name, value in cpu.items():
        ok = value <= cpu["peer"] / 3 if name == "ours" and "peer" in cpu else None
        bench.row(f"CPU for a GB of WAL, {name}", f"{value:.1f} s", "<= 1/3 of the peer's" if name == "ours" else "", ok)
    found["wal_gigabytes"] = gigabytes
    return found


def wal_bytes(bench, commits):
    """What so many commits write into a WAL that nobody checkpoints."""
    folder, _ = bench.place("file")
    db = app_database(bench, folder)
    writer = bench.spawn("writer", "-c", 0, "-r", 5000, "-n", commits, "-a", folder + "/ack", db)
    size = 0
    while writer.poll() is None:
        try:
            size = max(size, os.stat(db + "-wal").st_size)
        except FileNotFoundError:
            pass
        time.sleep(0.002)
    bench.collect(writer)
    return size


def full_speed(bench):
    """One writer without a pause: its throughput and stalls, the WAL, and how long a sync takes then."""
    seconds = bench.seconds(8)
    found = {"none": [], "ours": [], "peer": []}

    def work(db, replicator):
        watcher = bench.spawn("truncater", "-i", 0, "-t", seconds, db)
        report = bench.report("writer", "-t", seconds, db)
        if isinstance(replicator, Ours):
            start = time.monotonic()
            replicator.caught_up()
            report["sync_seconds"] = time.monotonic() - start
        report["wal_max_bytes"] = bench.collect(watcher)["wal_max_bytes"]
        return report

    for _, program in alternate(bench, bench.runs(), programs(bench)):
        found[program.name].append(beside(bench, program, "file", work))
    alone = median_of(found["none"], "commits") / seconds
    stall = median_of(found["none"], "commit_p9999_us")
    for name, reports in found.items():
        if not reports:
            continue
        rate = median_of(reports, "commits") / seconds
        p9999 = median_of(reports, "commit_p9999_us")
        goal, ok = "", None
        if name == "ours":
            goal, ok = ">= 80 %, p99.99 <= +30 ms", rate >= 0.8 * alone and p9999 <= stall + 32000
        bench.row(
            f"full speed, {name}", f"{rate:.0f} tx/s ({100 * rate / alone:.0f} %), p99.99 {ms(p9999)}", goal, ok
        )
        wal = max(r["wal_max_bytes"] for r in reports) / 2**20
        bench.row(f"largest WAL, {name}", f"{wal:.0f} MB", "<= 64 MB" if name == "ours" else "",
                  wal <= 64 if name == "ours" else None)
    bench.row("sync right after full speed, ours", f"{median_of(found['ours'], 'sync_seconds'):.2f} s", "<= 1.5 s",
              median_of(found["ours"], "sync_seconds") <= 1.5)
    return found


def truncate(bench):
    """The app's own wal_checkpoint(TRUNCATE) every 100 ms, at 500 commits a second, 5 s busy timeout."""
    seconds = bench.seconds(12)
    found = {"none": [], "ours": [], "peer": []}

    def work(db, _):
        truncater = bench.spawn("truncater", "-t", seconds, db)
        bench.report("writer", "-r", 500, "-t", seconds, "-T", 20000, db)
        return bench.collect(truncater)

    for _, program in alternate(bench, bench.runs(3 if not bench.quick else 2), programs(bench)):
        found[program.name].append(beside(bench, program, "file", work))
    for name, reports in found.items():
        if not reports:
            continue
        p99 = median_of(reports, "truncate_p99_us")
        busy = 100 * sum(r["busy"] for r in reports) / max(1, sum(r["calls"] for r in reports))
        goal, ok = ("p99 <= 15 ms, busy < 1 %", p99 <= 15000 and busy < 1) if name == "ours" else ("", None)
        bench.row(f"the app's TRUNCATE, {name}", f"p99 {ms(p99)}, busy {busy:.1f} %", goal, ok)
    return found


# ---- memory ----


def memory(bench):
    """One quiet database: a commit a second for a minute, then smaps_rollup."""
    found = {}
    for kind in bench.kinds():
        for program in programs(bench, none=False):
            def work(db, replicator):
                bench.report("writer", "-r", 1, "-t", bench.seconds(60), db)
                return replicator.memory()

            found[f"{kind}/{program.name}"] = one = beside(bench, program, kind, work)
            goal, ok = "", None
            if program is Ours:
                goal, ok = "<= 16 MB, anonymous 4 MB", one["rss"] <= 16384 and one["anonymous"] <= 4096
            value = f"RSS {one['rss'] / 1024:.1f} MB, anonymous {one['anonymous'] / 1024:.1f} MB"
            bench.row(f"memory, one database, {kind}, {program.name}", value, goal, ok)
    return found


# ---- restart ----


def big_database(bench, folder):
    db = folder + "/app.db"
    megabytes = 128 if bench.quick else 1024
    sql = (
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB);"
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {megabytes * 256})"
        " INSERT INTO t SELECT i, randomblob(4000) FROM n; PRAGMA wal_checkpoint(TRUNCATE)"
    )
    subprocess.run(["sqlite3", db, sql], check=True, stdout=subprocess.DEVNULL)
    return db


def uploaded(target):
    """Bytes and number of LTX files in a folder."""
    sizes = [os.stat(os.path.join(d, f)).st_size for d, _, fs in os.walk(target.place) for f in fs if f.endswith(".ltx")]
    return sum(sizes), len(sizes)


def restart(bench):
    """kill -9; 256 pages of a database of 1 GB change; a new start: how much, how soon."""
    folder, target = bench.place("file")
    db = big_database(bench, folder)
    first = Ours(bench, db, target).start()
    first.stop(signal.SIGKILL)
    pages = os.stat(db).st_size // 4096
    sql = f"UPDATE t SET b = randomblob(4000) WHERE a % {pages // 256} = 0 AND a <= 256 * {pages // 256}"
    subprocess.run(["sqlite3", db, sql], check=True)
    before, files = uploaded(target)
    again = Ours(bench, db, target)
    start = time.monotonic()
    again.ready = lambda: uploaded(target)[1] > files
    again.start()
    seconds = time.monotonic() - start
    again.caught_up()
    sent = uploaded(target)[0] - before
    again.stop()
    row = f"{sent / 1e6:.2f} MB, first after {seconds:.2f} s"
    bench.row(f"restart after kill -9, {os.stat(db).st_size >> 20} MB, 256 pages", row, "<= 2 MB, <= 3 s",
              sent <= 2e6 and seconds <= 3)
    return {"bytes": sent, "first_seconds": seconds}


# ---- restore ----


def restore_near(bench):
    """1 GB that doesn't compress and 1,000 increments, out of a folder, beside a plain copy."""
    folder, _ = bench.place("file")
    found = bench.report("bench_restore", folder, *((128, 100) if bench.quick else (1024, 1000)))
    times = found["restore_ms"] / found["copy_ms"]
    bench.row(f"restore of {found['mb']} MB, {found['increments']} increments, file",
              f"{found['restore_ms'] / 1000:.2f} s, {times:.2f} x copy", "<= 1.5 x copy and fsync", times <= 1.5)
    return found


def restore_far(bench):
    """100,000 rows in 300 increments, restored over a link of 80 ms there and back."""
    if not bench.s3:
        return None
    found = {}
    for program in programs(bench, none=False):
        folder, target = bench.place("s3")
        db = app_database(bench, folder, 1)
        if program is Peer:
            program = type("FastPeer", (Peer,), {"settings": "    monitor-interval: 20ms\n"})
        replicator = program(bench, db, target)
        if isinstance(replicator, Peer):
            target.yaml = lambda t=target, y=target.yaml: y() + "        sync-interval: 20ms\n"
        replicator.start()
        for _ in range(300):
            bench.report("writer", "-n", 1, "-b", 333, db)
            if isinstance(replicator, Ours):
                replicator.caught_up()
            else:
                time.sleep(0.06)
        replicator.caught_up()
        replicator.stop()
        found[replicator.name] = far(bench, replicator, folder)
    for name, times in found.items():
        t = statistics.median(times)
        bench.row(f"restore of 300 increments, 80 ms, {name}", f"{t:.2f} s", "<= 1.5 s" if name == "ours" else "",
                  t <= 1.5 if name == "ours" else None)
    return found


def far(bench, replicator, folder):
    here = os.path.dirname(os.path.abspath(__file__))
    host = bench.s3["ENDPOINT"].removeprefix("http://")
    proxy = subprocess.Popen([here + "/delay.py", host, "80"], stdout=subprocess.PIPE, text=True)
    times = []
    try:
        near, replicator.target.s3 = bench.s3, dict(bench.s3, ENDPOINT=proxy.stdout.readline().strip())
        for run in range(bench.runs()):
            start = time.monotonic()
            subprocess.run(replicator.restore(f"{folder}/far{run}.db"), check=True, env=bench.env, capture_output=True)
            times.append(time.monotonic() - start)
        replicator.target.s3 = near
    finally:
        proxy.terminate()
        proxy.wait()
    return times


ALL = [
    ("baseline", baseline),
    ("quiet", quiet),
    ("app_500", app_500),
    ("full_speed", full_speed),
    ("truncate", truncate),
    ("memory", memory),
    ("restart", restart),
    ("restore_near", restore_near),
    ("restore_far", restore_far),
]
