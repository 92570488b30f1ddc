"""What the app feels of a replicator: its commits, its throughput, its own checkpoints. And its CPU time."""

import os
import signal
import statistics
import time

from common import (
    alternate, app_database, beside, mb, median_of, medians, ms, percent, programs, text_of, times,
)
from latency import AckedTimes, baseline, lag_report, peer_lag_report
from replicators import Ours, Peer


def three(found, form):
    """The texts of one row: ours, the peer's, and no replicator's."""
    return {"ours": form(found["ours"]), "peer": text_of(found, "peer", form), "yard": text_of(found, "none", form)}


# ---- at 500 commits a second ----


def app_500(bench):
    """500 commits a second: their latency; the replicator's CPU time for each GB of WAL, caught up."""
    seconds = bench.seconds(10)
    found = {"none": [], "ours": [], "peer": []}

    def work(db, replicator):
        before = replicator.cpu_seconds()
        report = bench.report("writer", "-r", 500, "-t", seconds, db)
        replicator.caught_up()
        report["cpu_seconds"] = replicator.cpu_seconds() - before
        return report

    for _, program in alternate(bench.runs(), programs(bench)):
        found[program.name].append(beside(bench, program, "file", work))
    p50, p99 = medians(found, "commit_p50_us"), medians(found, "commit_p99_us")
    bench.row(
        "the app's commits at 500 a second",
        **three(found, lambda r: f"p50 {median_of(r, 'commit_p50_us'):.0f} us, p99 {median_of(r, 'commit_p99_us'):.0f} us"),
        ratio=times(p50["ours"], p50["none"]), goal="p50 <= +5 %, p99 <= +1 ms",
        ok=p50["ours"] <= 1.05 * p50["none"] and p99["ours"] <= p99["none"] + 1000,
    )
    gigabytes = wal_bytes(bench, 500 * seconds) / 1e9
    cpu = {name: value / gigabytes for name, value in medians(found, "cpu_seconds").items()}
    found["wal_gigabytes"] = gigabytes
    bench.row(
        "CPU for a GB of WAL, 500 tx/s, caught up", f"{cpu['ours']:.1f} s", f"{cpu['peer']:.1f} s" if "peer" in cpu else "",
        ratio=f"{times(cpu['ours'], cpu['peer'])} x peer" if "peer" in cpu else "", goal="<= 1/3 of the peer's",
        ok=cpu["ours"] <= cpu["peer"] / 3 if "peer" in cpu else None,
    )
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
    bench.remove(folder)
    return size


# ---- at full speed ----


def full_speed(bench):
    """One writer without a pause: its throughput and stalls, the WAL, and how commits wait for their object.

    Ours: every upload is restored afterwards, so that it is known which commits it held. The peer: what of
    the commits can be restored 2 s after the last one, and what it said about its last sync.
    """
    seconds = bench.seconds(8)
    found = {"none": [], "ours": [], "peer": []}

    def work(db, replicator):
        folder = os.path.dirname(db)
        with AckedTimes(folder + "/ack") as acked:
            watcher = bench.spawn("truncater", "-i", 0, "-t", seconds, db)
            report = bench.report("writer", "-t", seconds, "-a", folder + "/ack", db)
            report["wal_max_bytes"] = bench.collect(watcher)["wal_max_bytes"]
        if isinstance(replicator, Ours):
            start = time.monotonic()
            replicator.caught_up()
            report["sync_seconds"] = time.monotonic() - start
            report |= lag_report(replicator, acked.samples, folder)
        if isinstance(replicator, Peer):
            report |= peer_lag_report(replicator, acked.samples, folder)
        return report

    for _, program in alternate(bench.runs(), programs(bench)):
        found[program.name].append(beside(bench, program, "file", work))
    lag_row(bench, found)
    speed_row(bench, found)
    return found


def lag_row(bench, found):
    ours = found["ours"]
    p99, wal = median_of(ours, "lag_p99_s"), max(r["wal_max_bytes"] for r in ours)
    peer = ""
    if found["peer"]:
        failed = sum(bool(r["errors"]) for r in found["peer"])
        missing = statistics.median(r["missing"] / r["of"] for r in found["peer"])
        peer = (
            f"2 s later {100 * missing:.0f} % of the commits missing, "
            f"{median_of(found['peer'], 'files'):.0f} files, WAL {mb(max(r['wal_max_bytes'] for r in found['peer']))}, "
            f"its last sync failed in {failed} of {len(found['peer'])} runs"
        )
    bench.row(
        "commit to object, one writer at full speed, file", f"p99 {p99:.2f} s, WAL max {wal / 2**20:.0f} MB", peer,
        yard=text_of(found, "none", lambda r: f"WAL {mb(max(x['wal_max_bytes'] for x in r))}"),
        goal="p99 <= 1.5 s, WAL <= 64 MB", ok=p99 <= 1.5 and wal <= 64 * 2**20,
    )
    after = median_of(ours, "sync_seconds")
    bench.row("sync right after full speed", f"{after:.2f} s", goal="<= 1.5 s", ok=after <= 1.5)


def speed_row(bench, found):
    """An added stall may be 30 ms and two of the machine's fsyncs."""
    base = bench.results.get("baseline") or bench.silently(baseline)
    fsync = base["file"]["once_p50_us"]
    for report in [r for reports in found.values() for r in reports]:
        report["rate"] = report["commits"] / report["seconds"]
    rate, stall = medians(found, "rate"), medians(found, "commit_p9999_us")
    added = stall["ours"] - stall["none"]

    def form(reports):
        return f"{median_of(reports, 'rate'):.0f} tx/s, p99.99 {ms(median_of(reports, 'commit_p9999_us'))}"

    bench.row(
        "the app at full speed, file", **three(found, form), ratio=percent(rate["ours"], rate["none"]),
        goal=">= 80 %, p99.99 <= +30 ms + 2 fsyncs", ok=rate["ours"] >= 0.8 * rate["none"] and added <= 30000 + 2 * fsync,
    )


def slow_disk(bench):
    """500 commits a second offered where an fsync takes 15 ms more, in the app and in ours.

    The peer is linked statically, so nothing can be preloaded into it: its own fsyncs stay quick.
    """
    seconds = bench.seconds(10)
    slow = {"LD_PRELOAD": os.path.join(bench.build, "bench", "slow_fsync.so"), "SLOW_FSYNC_US": "15000"}
    found = {"none": [], "ours": [], "peer": []}

    def work(db, _):
        report = bench.report("writer", "-r", 500, "-t", seconds, db, env=slow)
        return report | {"rate": report["commits"] / report["seconds"]}

    for _, program in alternate(bench.runs(), programs(bench)):
        settings = {"env": slow} if program is Ours else {}
        found[program.name].append(beside(bench, program, "file", work, **settings))
    rate = medians(found, "rate")
    bench.row(
        "the app on a slow disk (15 ms a fsync), 500 tx/s offered",
        **three(found, lambda r: f"{median_of(r, 'rate'):.0f} tx/s"), ratio=percent(rate["ours"], rate["none"]),
        goal=">= 95 %", ok=rate["ours"] >= 0.95 * rate["none"],
    )
    return found


# ---- the app's own checkpoints ----


def truncating(bench, seconds, writers):
    """The app's wal_checkpoint(TRUNCATE) every 100 ms, 5 s busy timeout, beside writers, under each program."""
    found = {"none": [], "ours": [], "peer": []}

    def work(db, replicator):
        processes = [bench.spawn("truncater", "-t", seconds, db)]
        processes += [
            bench.spawn("writer", "-w", w, "-t", seconds, "-T", 20000, *rate, db) for w, *rate in writers
        ]
        report = [bench.collect(p) for p in processes][0]
        if isinstance(replicator, Peer):
            replicator.stop(signal.SIGKILL)
        return report | {"busy_percent": 100 * report["truncate_busy"] / max(1, report["truncate_calls"])}

    for _, program in alternate(bench.runs(), programs(bench)):
        found[program.name].append(beside(bench, program, "file", work))
    return found


def truncate_text(reports):
    return f"p99 {ms(median_of(reports, 'truncate_p99_us'))}, busy {median_of(reports, 'busy_percent'):.1f} %"


def truncate(bench):
    """The app's own TRUNCATE at 500 commits a second."""
    found = truncating(bench, bench.seconds(8), [(1, "-r", 500)])
    p99, busy = median_of(found["ours"], "truncate_p99_us"), max(r["busy_percent"] for r in found["ours"])
    bench.row(
        "the app's own TRUNCATE, 500 tx/s", **three(found, truncate_text),
        ratio=times(p99, medians(found, "truncate_p99_us")["none"]),
        goal="p99 <= 15 ms, busy in < 1 %", ok=p99 <= 15000 and busy < 1,
    )
    return found


def truncate_two(bench):
    """The same beside two writers without a pause: SQLite's own checkpoints starve there, so nothing is
    demanded, and what SQLite alone does stands beside it."""
    found = truncating(bench, bench.seconds(8), [(1,), (2,)])
    bench.row(
        "the app's own TRUNCATE, two writers at full speed", **three(found, truncate_text),
        ratio=times(*(medians(found, "truncate_p99_us")[k] for k in ("ours", "none"))), goal="(told only)",
    )
    return found
