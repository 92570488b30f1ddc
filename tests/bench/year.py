"""A simulated year: what the replica holds, what the store was asked, what that costs, and that every
promised state is there.

bench/year runs the real replicator and the real S3 client beside a real app for a year of injected time,
at a rhythm that takes minutes (about 400 uploads a working day). bench/plan_year runs an upload each second,
which would take hours, through the planning functions alone.
"""

import os
import shutil
import tempfile

import costs
from common import mb


def year(bench):
    """A year of a busy app, simulated and checked at random moments: both programs fail when a promised
    state is not there."""
    days = bench.count(365, 30)
    found = {
        "a busy app": simulate(bench, days),
        "an upload a second, planned": bench.report("plan_year", "-d", days),
        "an upload in 5 s, planned": bench.report("plan_year", "-d", days, "-e", 5000),
    }
    for name, report in found.items():
        rows(bench, f"{days} days of {name}", report)
    if not bench.quick:
        with open(os.path.join(bench.build, "year.md"), "w", encoding="utf-8") as f:
            f.write(table(found) + "\n")
    return found


def simulate(bench, days):
    """bench/year against a server in memory, in a folder in memory where there is room."""
    server, endpoint = bench.counting_s3()
    shared = "/dev/shm"
    where = shared if os.path.isdir(shared) and shutil.disk_usage(shared).free > 2**30 else bench.work
    folder = tempfile.mkdtemp(prefix="ls-year.", dir=where)
    keys = {"LITESTREAM_ACCESS_KEY_ID": "counted", "LITESTREAM_SECRET_ACCESS_KEY": "counted"}
    try:
        return bench.report("year", "-d", days, folder, f"s3://counted/app?endpoint={endpoint}", env=keys)
    finally:
        bench.end(server)
        shutil.rmtree(folder, ignore_errors=True)


def rows(bench, name, report):
    asked = report["measured"]
    told = ", ".join(f"{asked[kind]:,} {kind.upper()}" for kind in costs.KINDS if asked[kind])
    bench.row(
        f"{name}: {report['uploads']:,} uploads",
        f"{told}; at the end {report['objects']:,} objects, {mb(report['bytes'])}",
        ratio=f"{costs.total(report) / report['uploads']:.3f} x uploads",
        goal=f"stated: at most {report['objects_most']:,} objects, {mb(report['bytes_mean'])} on average",
    )
    bench.row(
        f"{name}: a month, requests + storage",
        ", ".join(f"{store} {month(report, store)}" for store in costs.PRICES),
        goal="stated (B2: weak fencing, at most)",
    )
    took = f", {report['restore_seconds'] * 1e3:.0f} ms" if "restore_seconds" in report else ""
    compared = f", {report['restores']} of them restored and compared" if "restores" in report else ""
    bench.row(
        f"{name}: a restore at the end",
        f"{report['restore_files']} files, {mb(report['restore_bytes'])}{took}",
        goal=f"{report['points']:,} promised states at {report['checks']} moments{compared}",
        ok=report["points"] > 0,  # each of them, or there would be no report
    )


def month(report, store):
    """30 days of requests, and the bytes that were there on average. Where fencing is weak each upload has a
    HEAD before it, and a LIST unless the one before was less than a minute ago."""
    prices, asked = costs.PRICES[store], dict(report["measured"])
    if store in costs.WEAK:
        asked["head"] += report["uploads"]
        asked["list"] += report["paused_uploads"]
    dollars = sum(asked[kind] * prices[kind] for kind in costs.KINDS) * 30 / report["days"]
    return f"${dollars:.2f} + ${report['bytes_mean'] / 1e9 * prices['gb']:.3f}"


def table(found):
    """What docs/COSTS.md shows of a year."""
    lines = [
        "| a year of | uploads | PUT | GET, HEAD | LIST | DELETE | objects, most | stored, on average | a restore reads"
        + " | "
        + " | ".join(f"{store} a month" for store in costs.PRICES) + " |",
        "|" + "---|" * (9 + len(costs.PRICES)),
    ]
    for name, report in found.items():
        asked = report["measured"]
        numbers = [report["uploads"], asked["put"], asked["get"] + asked["head"], asked["list"], asked["del"]]
        cells = [f"{n:,}" for n in [*numbers, report["objects_most"]]]
        cells += [mb(report["bytes_mean"]), f"{report['restore_files']} files, {mb(report['restore_bytes'])}"]
        lines.append("| " + " | ".join([name, *cells, *(month(report, store) for store in costs.PRICES)]) + " |")
    return "\n".join(lines)
