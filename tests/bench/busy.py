"""How often an app is told "busy" beside the replicator, and how often without one.

The apps are those of tests/tools/busy.c. The soak of ten minutes has a busy timeout, as nearly every app; what may
not happen then is `busy` in a statement for which SQLite asks its busy handler. The others (read, then write in one
transaction; a checkpoint beside another one) are told at once, timeout or not, so those are counted on their own,
and so is an app without a timeout.
"""

import os
import subprocess

from common import beside, one_value
from replicators import Nothing, Ours

ANSWERS = ("busy", "busy_snapshot", "busy_recovery", "locked", "protocol")
AT_ONCE = ("upgrade", "checkpoint_passive", "checkpoint_full", "checkpoint_restart", "checkpoint_truncate")


def count(report, kinds, answers=ANSWERS):
    """(calls, those answers) of these kinds of statement."""
    found = [report[k] for k in kinds if k in report]
    return sum(k["calls"] for k in found), sum(k[a] for k in found for a in answers)


def waits(report):
    return [k for k, v in report.items() if isinstance(v, dict) and "calls" in v and k not in AT_ONCE]


def told(report, kinds):
    calls, busy = count(report, kinds)
    return f"{busy} of {calls}" + (f" ({100 * busy / calls:.3g} %)" if busy else "")


def empty_database(_bench, folder):
    db = folder + "/app.db"
    subprocess.run(["sqlite3", db, "PRAGMA journal_mode = WAL; CREATE TABLE t(w INTEGER, slot INTEGER, n INTEGER,"
                    " body BLOB, PRIMARY KEY(w, slot))"], check=True, stdout=subprocess.DEVNULL)
    return db


def longest(report):
    return max(report[k]["longest_us"] for k in waits(report)) / 1e6


def soak(bench, app, seconds, *flags):
    """One run of an app beside each program, the same seed: {name: report}."""
    found = {}

    def work(db, replicator):
        report = bench.report("busy", "-t", seconds, *flags, app, db)
        replicator.caught_up()
        if isinstance(replicator, Ours):
            report["status"] = replicator.status()
            report["objects"] = len(replicator.objects())
            report["restored"] = check(bench, replicator)
        return report

    for program in (Nothing, Ours):
        found[program.name] = beside(bench, program, "file", work, empty_database)
    return found


def check(bench, replicator):
    """What is in the replica is whole, and what the app has."""
    out = os.path.dirname(replicator.db) + "/restored.db"
    bench.output(replicator.restore(out))
    sql = "SELECT count(*) || ' rows, ' || sum(n) || ' ' || total(length(body)) FROM t"
    source = subprocess.run(["sqlite3", replicator.db, sql], capture_output=True, text=True, check=True).stdout.strip()
    if one_value(out, "PRAGMA integrity_check") != "ok" or one_value(out, sql) != source:
        raise RuntimeError(f"{out} is not what {replicator.db} is")
    return source


def busy(bench):
    """Ten minutes of an app of ten processes with a busy timeout of 5 s; and what an app without one is told."""
    found = {"several": soak(bench, "several", bench.seconds(600), "-T", 5000)}
    ours, none = found["several"]["ours"], found["several"]["none"]
    bench.row(
        f"busy, 10 processes, timeout 5 s, {ours['seconds']:.0f} s", f"{told(ours, waits(ours))}, longest {longest(ours):.2f} s",
        yard=f"{told(none, waits(none))}, longest {longest(none):.2f} s",
        goal="none", ok=count(ours, waits(ours))[1] == 0,
    )
    bench.row("the same, its own checkpoints", told(ours, AT_ONCE[1:]), yard=told(none, AT_ONCE[1:]), goal="(told only)")
    bench.row("the same, read first, then write", told(ours, AT_ONCE[:1]), yard=told(none, AT_ONCE[:1]), goal="(told only)")
    for app, flags, what in (
        ("one", ("-T", 0, "-r", 500), "busy, one writer without a timeout, 500 tx/s"),
        ("one", ("-T", 0, "-r", 0), "busy, one writer without a timeout, full speed"),
        ("upgrading", ("-T", 5000, "-r", 500), "busy, one writer that reads first, timeout 5 s, 500 tx/s"),
    ):
        key = f"{app} {flags[-1]}"
        found[key] = soak(bench, app, bench.seconds(60), *flags)
        kinds = ("write", "upgrade", "commit")
        bench.row(what, told(found[key]["ours"], kinds), yard=told(found[key]["none"], kinds), goal="(told only)")
    return found
