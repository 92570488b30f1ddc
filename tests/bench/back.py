"""Getting data back, and getting back to work: restores, a restart after kill -9, the end of an outage."""

import os
import random
import signal
import sqlite3
import statistics
import subprocess
import time

from common import app_database, big_database, mb, one_value, programs, times, tree_bytes
from replicators import Ours, Peer, wait_until
from size import state_parts, state_row

HERE = os.path.dirname(os.path.abspath(__file__))


# ---- restart ----


def restart(bench):
    """kill -9; 256 pages of a database of 1 GB change; a new start: how much is shipped, how soon.

    The first object after the start counts, whatever is in it. Then the state folder of that database.
    """
    found = {"ours": [], "peer": []}
    megabytes = bench.count(1024, 64)
    for program in programs(bench, none=False):
        folder, target = bench.place("file")
        replicator = program(bench, big_database(megabytes)(bench, folder), target).start()
        try:
            for run in range(bench.runs()):
                found[program.name].append(restart_once(replicator, run))
            replicator.caught_up()
            if program is Ours:
                parts = state_parts(replicator.db)
                size_db = replicator.db
        finally:
            replicator.stop(signal.SIGKILL)
        if program is Ours:
            state_row(bench, size_db, parts)
        bench.remove(folder)

    def text(reports):
        sent, first = (statistics.median(r[k] for r in reports) for k in ("bytes", "first_seconds"))
        return f"{mb(sent)}, first after {first:.2f} s"

    sent = statistics.median(r["bytes"] for r in found["ours"])
    first = statistics.median(r["first_seconds"] for r in found["ours"])
    bench.row(
        f"restart after kill -9, {megabytes} MB, 256 pages changed", text(found["ours"]),
        text(found["peer"]) if found["peer"] else "", goal="<= 2 MB, first upload within 3 s", ok=sent <= 2e6 and first <= 3,
    )
    return found | {"state": parts}


def restart_once(replicator, run):
    """Of a running replicator: kill it, change pages, start it, wait until it has shipped them."""
    db, replica = replicator.db, replicator.target.place
    replicator.caught_up()
    replicator.stop(signal.SIGKILL)
    pages = os.stat(db).st_size // 4096
    step = max(1, pages // 256)
    sql = f"UPDATE t SET b = randomblob(4000) WHERE a % {step} = {run % step} AND a < 256 * {step}"
    subprocess.run(["sqlite3", db, sql], check=True)
    bytes_before, files_before = tree_bytes(replica)
    start = time.monotonic()
    replicator.launch()
    wait_until(lambda: tree_bytes(replica)[1] > files_before, "the first upload after a restart", 0.005)
    first = time.monotonic() - start
    replicator.caught_up()
    return {"bytes": tree_bytes(replica)[0] - bytes_before, "first_seconds": first}


# ---- the end of an outage ----


def outage(bench):
    """S3 refuses connections while an hour of 100 commits a second (360,000, here without a pause) is
    committed, then it answers again.

    The clock of the goal starts when the first connection gets through; how long ours took to try again
    is told beside it. Caught up: nothing is pending, and a restore has the last commit.
    """
    if not bench.s3:
        bench.missing("catching up after an outage", "no S3 server")
    commits = bench.count(360000, 20000)
    found = []
    for _ in range(bench.runs()):
        folder, target = bench.place("s3")
        gate = folder + "/gate"
        with bench.far(0, gate) as endpoint:
            target.s3 = dict(bench.s3, ENDPOINT=endpoint)
            replicator = Ours(bench, app_database(bench, folder), target).start()
            try:
                found.append(outage_once(bench, replicator, gate, commits))
            finally:
                replicator.stop(signal.SIGKILL)
        bench.remove(folder)
    seconds, noticed = (statistics.median(r[k] for r in found) for k in ("seconds", "noticed_seconds"))
    worst = max(r["noticed_seconds"] for r in found)
    bench.row(
        f"catching up after an outage of {commits} commits, s3",
        f"{seconds:.2f} s (tried again after {noticed:.1f} s, at most {worst:.1f} s)", goal="<= 5 s", ok=seconds <= 5,
    )
    return found


def outage_once(bench, replicator, gate, commits):
    folder = os.path.dirname(gate)
    with open(gate, "w", encoding="ascii"):
        pass
    bench.report("writer", "-n", commits, "-a", folder + "/ack", replicator.db)
    time.sleep(bench.count(3, 1))
    os.unlink(gate)
    opened = time.time()
    wait_until(lambda: os.path.exists(gate + ".through"), "a connection gets through", 0.005)
    through = os.stat(gate + ".through").st_mtime
    wait_until(replicator.nothing_pending, "everything is shipped", 0.02)
    done = time.time()
    out = folder + "/restored.db"
    bench.output(replicator.restore(out) + ["-quiet", "-no-state"])
    with open(folder + "/ack", "rb") as f:
        acked = int.from_bytes(f.read(8), "little")
    held = one_value(out, "SELECT max(seq) FROM commits WHERE writer = 1")
    if held < acked:
        raise RuntimeError(f"said to be caught up, but {acked} commits were acknowledged and {held} are in the store")
    return {"seconds": done - through, "noticed_seconds": max(0.0, through - opened)}


# ---- restore ----


def increments(replicator, count, pages, pause):
    """So many uploads of so many random pages each; a wall time in the middle of them."""
    connection = sqlite3.connect(replicator.db, timeout=60, isolation_level=None)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    rows = connection.execute("SELECT max(a) FROM t").fetchone()[0]
    numbers, middle = random.Random(1), None
    for i in range(count):
        chosen = ",".join(str(numbers.randint(1, rows)) for _ in range(pages))
        connection.execute(f"UPDATE t SET b = randomblob(4000) WHERE a IN ({chosen})")
        if isinstance(replicator, Ours):
            replicator.sync_now()
        else:
            time.sleep(pause)
        if i == count // 2:
            middle = time.time()
            time.sleep(0.1)
    replicator.caught_up()
    connection.close()
    return middle


def timed(command, env):
    os.sync()
    start = time.monotonic()
    subprocess.run(command, check=True, env=env, capture_output=True, timeout=600)
    return time.monotonic() - start


def restore_near(bench):
    """1 GB of rows that don't compress and 1,000 increments of 8 pages out of a folder, beside the peer's
    restore of the same and a plain copy with fsync, in turns. Nothing is evicted from the page cache."""
    megabytes, count = bench.count(1024, 64), bench.count(1000, 30)
    beds, found = {}, {"ours": [], "peer": [], "copy": []}
    for program in programs(bench, none=False):
        folder, target = bench.place("file")
        settings = {"settings": "    monitor-interval: 10ms\n", "replica_settings": "        sync-interval: 10ms\n"}
        replicator = program(bench, big_database(megabytes)(bench, folder), target, **(settings if program is Peer else {}))
        replicator.start()
        try:
            increments(replicator, count, 8, 0.04)
        finally:
            replicator.stop()
        beds[program.name] = (replicator, folder)
    for run in range(bench.runs()):
        for name, (replicator, folder) in sorted(beds.items(), reverse=run % 2 == 0):
            out = f"{folder}/restored.db"
            found[name].append(timed(replicator.restore(out), bench.env))
            if name == "ours":
                copy = f"{folder}/copy.db"
                found["copy"].append(timed(["sh", "-c", f"cp --reflink=never {out} {copy} && sync {copy}"], bench.env))
                os.unlink(copy)
            bench.remove(out)
    uploads = {name: len(r.objects()) for name, (r, _) in beds.items()}
    t = {name: statistics.median(v) for name, v in found.items() if v}
    bench.row(
        f"restore, {megabytes} MB + {count} increments, file", f"{t['ours']:.2f} s",
        f"{t['peer']:.2f} s" if "peer" in t else "",
        yard=f"cp and fsync {t['copy']:.2f} s", ratio=f"{times(t['ours'], t['copy'])} x cp", goal="<= 1.5 x cp, < peer",
        ok=t["ours"] <= 1.5 * t["copy"] and ("peer" not in t or t["ours"] < t["peer"]),
    )
    for _, folder in beds.values():
        bench.remove(folder)
    return found | {"objects": uploads}


def restore_v3(bench):
    """What the peer itself wrote, restored by both, in turns, out of a folder: 256 MB of rows that don't
    compress and 400 increments of 100 pages, in the WALs between its checkpoints. The results are equal."""
    if not bench.peer:
        bench.missing("restoring what the peer wrote", "no peer")
    megabytes, count = bench.count(256, 32), bench.count(400, 40)
    folder, target = bench.place("file")
    settings = {"settings": "    monitor-interval: 10ms\n", "replica_settings": "        sync-interval: 10ms\n"}
    peer = Peer(bench, big_database(megabytes)(bench, folder), target, **settings).start()
    try:
        increments(peer, count, 100, 0.04)
    finally:
        peer.stop()
    found = {"ours": [], "peer": []}
    outs = {name: f"{folder}/{name}.db" for name in found}
    commands = {
        "ours": [bench.program, "restore", "-no-state", "-quiet", "-o", outs["ours"], target.url()],
        "peer": peer.restore(outs["peer"]),
    }
    for run in range(bench.runs()):
        for name in sorted(found, reverse=run % 2 == 0):
            bench.remove(outs[name])
            found[name].append(timed(commands[name], bench.env))
    bench.output(["cmp", outs["ours"], outs["peer"]])
    names = peer.objects()
    wals = len({os.path.basename(n).split("_")[0] for n in names if n.endswith(".wal.lz4")})
    t = {name: statistics.median(v) for name, v in found.items()}
    bench.row(
        f"restore of what the peer wrote, {megabytes} MB + {count} increments in {wals} WALs, file", f"{t['ours']:.2f} s",
        f"{t['peer']:.2f} s", ratio=f"{times(t['ours'], t['peer'])} x peer", goal="< peer", ok=t["ours"] < t["peer"],
    )
    bytes_read = tree_bytes(target.place, ".lz4")[0]
    bench.remove(folder)
    return found | {"objects": len(names), "wals": wals, "bytes": bytes_read}


def restore_far(bench):
    """100,000 rows in 300 increments, restored over a link of 80 ms there and back: the present, and a
    moment in the middle."""
    if not bench.s3:
        bench.missing("restore over a far link", "no S3 server")
    found = {}
    for program in programs(bench, none=False):
        folder, target = bench.place("s3")
        fast = {"settings": "    monitor-interval: 20ms\n", "replica_settings": "        sync-interval: 20ms\n"}
        replicator = program(bench, app_database(bench, folder, 1), target, **(fast if program is Peer else {}))
        replicator.start()
        for i in range(300):
            bench.report("writer", "-n", 1, "-b", 333, replicator.db)
            if program is Ours:
                replicator.sync_now()
            else:
                time.sleep(0.06)
            if i == 180:
                moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
                time.sleep(1.2)
        replicator.caught_up()
        replicator.stop()
        found[replicator.name] = far(bench, replicator, folder, moment)
        bench.remove(folder)
    for what, goal, key in (("", 1.5, "present"), (" by timestamp", 2.0, "timestamp")):
        t = {name: statistics.median(one[key]) for name, one in found.items()}
        bench.row(
            f"restore{what}, 100,000 rows in 300 increments, 80 ms", f"{t['ours']:.2f} s",
            f"{t['peer']:.2f} s" if "peer" in t else "",
            ratio=f"{times(t['ours'], t.get('peer'))} x peer" if "peer" in t else "",
            goal=f"<= {goal} s", ok=t["ours"] <= goal,
        )
    return found


def far(bench, replicator, folder, moment):
    """Seconds of restores over the far link: of the present, and of that moment."""
    found = {"present": [], "timestamp": []}
    near = replicator.target.s3
    with bench.far(80) as endpoint:
        replicator.target.s3 = dict(near, ENDPOINT=endpoint)
        for run in range(bench.runs()):
            for key, more in (("present", []), ("timestamp", ["-timestamp", moment])):
                out = f"{folder}/{key}{run}.db"
                found[key].append(timed(replicator.restore(out, more), bench.env))
                rows = one_value(out, "SELECT count(*) FROM commits")
                if (rows < 300 * 333) == (key == "present"):
                    raise RuntimeError(f"{replicator.name} restored {rows} rows as {key}")
                bench.remove(out)
    replicator.target.s3 = near
    return found
