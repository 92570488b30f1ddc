"""What a replicator takes: memory, CPU and requests while nothing happens, room for its state."""

import concurrent.futures
import glob
import json
import os
import statistics
import time
import urllib.request

import many
from common import Unavailable, app_database, median_of, ms, programs
from replicators import Ours, Target


def memory(bench):
    """One quiet database: a commit a second for a minute, then smaps_rollup. Five of each, all at the same
    time: what one takes doesn't depend on the others."""
    kinds = bench.kinds() + (["tls"] if bench.s3 else [])
    seconds = bench.count(60, 8)

    def one(case):
        kind, program, place = case
        folder, target = place
        replicator = program(bench, app_database(bench, folder), target, env=bench.trust())
        try:
            replicator.start()
            bench.report("writer", "-r", 1, "-t", seconds, replicator.db)
            return replicator.memory()
        finally:
            replicator.stop()

    each = [(kind, program) for kind in kinds for program in programs(bench, none=False)]
    cases = [(kind, program, bench.place(kind)) for kind, program in each for _ in range(bench.runs())]
    found = {(kind, program.name): [] for kind, program in each}
    with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
        for (kind, program, _), measured in zip(cases, pool.map(one, cases)):
            found[kind, program.name].append(measured)

    def text(reports):
        rss, anonymous = (median_of(reports, k) / 1024 for k in ("rss", "anonymous"))
        return f"RSS {rss:.1f} MB, anonymous {anonymous:.1f} MB"

    for kind in kinds:
        ours, peer = found[kind, "ours"], found.get((kind, "peer"))
        rss = median_of(ours, "rss")
        bench.row(
            f"memory, one database, {kind}", text(ours), text(peer) if peer else "",
            ratio=f"{rss / median_of(peer, 'rss'):.2f} x peer" if peer else "",
            goal="RSS <= 16 MB, anonymous <= 4 MB", ok=rss <= 16384 and median_of(ours, "anonymous") <= 4096,
        )
    return {f"{kind}/{name}": reports for (kind, name), reports in found.items()}


# ---- while nothing happens ----


def run_ns(pid):
    """CPU time of all threads of a process, in ns."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path, encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total


def requests(endpoint):
    with urllib.request.urlopen(endpoint + "/-/counts", timeout=10) as answer:
        counts = json.load(answer)
    return sum(counts.get(k, 0) for k in ("put", "get", "head", "list", "del"))


def idle(bench):
    """An app that has its database open and does nothing: requests and CPU time of 330 s, as a day's. Five of
    ours and of the peer, all at the same time.

    In that time ours looks once at the database, five minutes after the last change; all CPU time is that
    look's. A day has as many as helpers/source/wake.h says: always twice as late, up to once an hour. Ours replicate to an S3 server that counts what it is asked; the peer to folders. What comes once a day
    or a week is in the row about a simulated idle week (requests).
    """
    seconds = bench.count(330, 5)
    server, endpoint = bench.counting_s3()
    keys = {"LITESTREAM_ACCESS_KEY_ID": "counted", "LITESTREAM_SECRET_ACCESS_KEY": "counted"}
    running = {"ours": [], "peer": []}
    readers = []
    try:
        for program in programs(bench, none=False) * bench.runs():
            folder, target = bench.place("file")
            db = app_database(bench, folder)
            if program is Ours:
                target = Target("s3", os.path.basename(folder), {"BUCKET": "counted", "ENDPOINT": endpoint})
            readers.append(bench.spawn("reader", "-p", 3600000, db))
            running[program.name].append(program(bench, db, target, env=keys))
            running[program.name][-1].start()
        # What a start needs goes: the audit, and connections to the store, which last a minute.
        time.sleep(bench.count(75, 3))
        found = idle_sample(running, endpoint, seconds)
    finally:
        for replicator in running["ours"] + running["peer"]:
            replicator.stop()
        for process in [*readers, server]:
            bench.end(process)
    spent = {name: statistics.median(cpu) / 1e9 for name, cpu in found["cpu_ns"].items() if cpu}
    day = {"ours": spent["ours"] * looks_in(86400) / looks_in(seconds + 75)}
    bench.row(
        "idle day (from 330 s, the app has the database open)",
        f"{found['requests']} requests, {day['ours']:.3f} s CPU ({looks_in(86400)} looks of {ms(spent['ours'] * 1e6)})",
        f"{spent['peer'] * 86400 / seconds:.1f} s CPU" if "peer" in spent else "", goal="0 requests, < 0.1 s CPU",
        ok=found["requests"] == 0 and day["ours"] < 0.1,
    )
    return found


def looks_in(seconds):
    """How often the slow timer comes in so many seconds after the last change."""
    looks, at = 0, 300
    while at <= seconds:
        looks, at = looks + 1, at + min(at, 3600)
    return max(looks, 1)


def idle_sample(running, endpoint, seconds):
    """What all of them ask and take in so many seconds."""
    def now():
        return {name: [run_ns(r.process.pid) for r in some] for name, some in running.items()}

    asked, before = requests(endpoint), now()
    time.sleep(seconds)
    after = now()
    cpu = {name: [b - a for a, b in zip(before[name], after[name])] for name in running}
    return {"seconds": seconds, "requests": requests(endpoint) - asked, "cpu_ns": cpu}


# ---- many ----


def twenty_apps(bench):
    """20 apps with one database each, open: PSS of litestreamd and its workers, some seconds after a burst."""
    apps = bench.count(20, 3)
    found = many.measure(bench.build, apps, 1, opened=True, seconds=bench.count(10, 2))
    pss = found["memory_kb"]["pss"]
    bench.row(
        f"memory, {apps} apps, one database each: supervisor and workers", f"PSS {pss / 1024:.1f} MB",
        goal="PSS <= 80 MB", ok=pss <= 80 * 1024,
    )
    return found


def thousand(bench):
    """1,000 databases in one worker, all open in an app, after a commit in each: a minute of nothing."""
    databases = bench.count(1000, 30)
    found = many.measure(bench.build, 1, databases, opened=True, seconds=bench.count(60, 3))
    percent, rss = found["idle"]["cpu_percent"], found["memory_kb"]["rss"]
    bench.row(
        f"{databases} databases in one worker, idle", f"{percent:.2f} % CPU, RSS {rss / 1024:.0f} MB (with litestreamd)",
        goal="< 1 % CPU, < 200 MB", ok=percent < 1 and rss < 200 * 1024,
    )
    return found


# ---- the state folder ----


def state_parts(db):
    """Bytes in the state folder of a database: local copies, staging, and the rest (tables and journal).

    A page table that is just being written anew, aside, is waited for: for that moment there are two.
    """
    folder = os.path.join(os.path.dirname(db), f".{os.path.basename(db)}-litestream")
    for _ in range(100):
        if not any(".tmp-" in name for _, _, files in os.walk(folder) for name in files):
            break
        time.sleep(0.1)
    parts = {"copies": 0, "staging": 0, "rest": 0}
    for path, _, files in os.walk(folder):
        for name in files:
            copied = f"{path}/".startswith(f"{folder}/ltx/")
            which = "copies" if copied else "staging" if name.startswith("staging") else "rest"
            parts[which] += os.stat(os.path.join(path, name)).st_blocks * 512
    if not os.path.isdir(folder):
        raise Unavailable(f"there is no state folder {folder}")
    return parts


def state_row(bench, db, parts):
    size = os.stat(db).st_size
    copies_max, staging_max = min(512 * 2**20, size), min(256 * 2**20, size)
    share = 100 * parts["rest"] / size
    bench.row(
        f"state folder, database of {size / 2**20:.0f} MB",
        f"{share:.2f} %, copies {parts['copies'] / 2**20:.0f} MB, staging {parts['staging'] / 2**20:.0f} MB",
        goal=f"<= 0.3 %, copies <= {copies_max / 2**20:.0f}, staging <= {staging_max / 2**20:.0f} MB",
        ok=share <= 0.3 and parts["copies"] <= copies_max and parts["staging"] <= staging_max,
    )
