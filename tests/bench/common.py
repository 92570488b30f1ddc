"""What the measures share: the programs in turns, databases, medians, and how numbers are written.

Times are in microseconds unless a name says otherwise. "none" is the app without a replicator.
"""

import os
import sqlite3
import statistics
import subprocess

from replicators import Nothing, Ours, Peer


class Unavailable(Exception):
    """Why a row can't be measured here."""


def programs(bench, *, none=True):
    return ([Nothing] if none else []) + [Ours] + ([Peer] if bench.peer else [])


def alternate(runs, candidates):
    """(run, program) in an order that turns with each run, so that none has always the same place."""
    for run in range(runs):
        shift = run % len(candidates)
        for program in candidates[shift:] + candidates[:shift]:
            yield run, program


def ms(us):
    return f"{us / 1000:.2f} ms"


def mb(count):
    return f"{count / 1e6:.1f} MB" if count < 1e8 else f"{count / 1e6:.0f} MB"


def percent(part, whole):
    return f"{100 * part / whole:.0f} %"


def times(a, b):
    """How often b is in a; "" where one of them is missing."""
    return f"{a / b:.2f}" if a is not None and b else ""


def median_of(reports, key):
    return statistics.median(r[key] for r in reports)


def medians(found, key):
    """The median of a key for each program that was measured."""
    return {name: median_of(reports, key) for name, reports in found.items() if reports}


def text_of(found, name, form):
    """form(reports of that program), or "" when it was not measured."""
    return form(found[name]) if found.get(name) else ""


def app_database(bench, folder, rows=1000):
    db = folder + "/app.db"
    bench.report("writer", "-n", 1, "-b", rows, db)
    return db


def big_database(megabytes):
    """A way to make a database of so many megabytes of rows that don't compress, a row a page."""

    def make(_bench, folder):
        db = folder + "/app.db"
        sql = (
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB);"
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {megabytes * 256})"
            " INSERT INTO t SELECT i, randomblob(4000) FROM n; PRAGMA wal_checkpoint(TRUNCATE)"
        )
        subprocess.run(["sqlite3", db, sql], check=True, stdout=subprocess.DEVNULL)
        return db

    return make


def beside(bench, program, kind, work, prepare=app_database, **settings):
    """Runs `work(db, replicator)` beside a program that has caught up; what it returns. Its files go."""
    folder, target = bench.place(kind)
    replicator = program(bench, prepare(bench, folder), target, **settings)
    try:
        replicator.start()
        return work(replicator.db, replicator)
    finally:
        replicator.stop()
        bench.remove(folder)


def one_value(db, sql):
    """What a query says of a database that nobody writes."""
    connection = sqlite3.connect(f"file:{db}?immutable=1", uri=True)
    try:
        return connection.execute(sql).fetchone()[0]
    finally:
        connection.close()


def tree_bytes(folder, suffix=""):
    """Bytes and number of the files below a folder whose names end so; temporary ones don't count."""
    sizes = [
        os.stat(os.path.join(d, f)).st_size
        for d, _, files in os.walk(folder)
        for f in files
        if f.endswith(suffix) and "tmp" not in f and not f.startswith(".")
    ]
    return sum(sizes), len(sizes)
