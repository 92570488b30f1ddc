"""What the store is asked, and what that costs: days and months of an app with an injected clock.

bench/simulate runs the real replicator with the real S3 client; the server (counting_s3.py) keeps objects
in memory and counts. Nothing is modelled: a request in these tables was made. Both sides count, and a run
in which they differ is an error.
"""

import json
import os
import shutil
import tempfile
import urllib.request

from common import mb

# Dollars for a request, and for a GB stored for a month, before anything that is free of charge. Sources
# and dates: docs/COSTS.md. DeleteObjects is a POST, and no price list names it: it is taken as a PUT.
PRICES = {
    "S3": {"put": 5e-6, "list": 5e-6, "del": 5e-6, "get": 4e-7, "head": 4e-7, "gb": 0.023},
    "R2": {"put": 4.5e-6, "list": 4.5e-6, "del": 4.5e-6, "get": 3.6e-7, "head": 3.6e-7, "gb": 0.015},
    "B2": {"put": 0.0, "list": 4e-6, "del": 0.0, "get": 4e-7, "head": 4e-7, "gb": 0.006},
}
KINDS = ("put", "get", "head", "list", "del")


def simulate(bench, *arguments):
    """A run of bench/simulate: its report, with the objects and bytes that are in the store at its end."""
    server, endpoint = bench.counting_s3()
    # In memory where there is room: a simulated day fsyncs as often as a real one.
    shared = "/dev/shm"
    where = shared if os.path.isdir(shared) and shutil.disk_usage(shared).free > 2**30 else bench.work
    folder = tempfile.mkdtemp(prefix="ls-simulate.", dir=where)
    keys = {"LITESTREAM_ACCESS_KEY_ID": "counted", "LITESTREAM_SECRET_ACCESS_KEY": "counted"}
    try:
        report = bench.report("simulate", *arguments, folder, f"s3://counted/app?endpoint={endpoint}", env=keys)
        with urllib.request.urlopen(endpoint + "/-/counts", timeout=60) as answer:
            counted = json.load(answer)
    finally:
        bench.end(server)
        shutil.rmtree(folder, ignore_errors=True)
    for kind in KINDS:
        ours = sum(report[part][kind] for part in ("begin", "warm", "measured"))
        if ours != counted.get(kind, 0):
            raise RuntimeError(f"the client counted {ours} requests ({kind}), the server {counted.get(kind, 0)}")
    return report | {"objects": counted["objects"], "stored": counted["bytes"]}


def total(report):
    return sum(report["measured"][kind] for kind in KINDS)


def dollars(report, store, hours):
    """Of requests, and of storage, in 30 days, when the measured `hours` go on like this."""
    prices = PRICES[store]
    asked = sum(report["measured"][kind] * prices[kind] for kind in KINDS)
    return asked * 720 / hours, report["stored"] / 1e9 * prices["gb"]


def month_text(report, hours):
    return ", ".join(f"{store} ${dollars(report, store, hours)[0]:.3f}" for store in PRICES)


def by_kind(report):
    return ", ".join(f"{report['measured'][kind]} {kind.upper()}" for kind in KINDS if report["measured"][kind])


def requests(bench):
    """A month of a LogPaste-like app, 20 MB and 1,000 commits at random moments; a week of an idle one.

    Simulated. Every commit of the month is an upload of its own unless two fall into one second.
    """
    found = {"month": simulate(bench, "-m", 20, "-n", 1000, "-t", 720), "idle": simulate(bench, "-m", 20, "-t", 168)}
    month, idle = found["month"], found["idle"]
    limit = 1.15 * month["uploads"] + 60
    bench.row(
        f"requests a month, LogPaste-like: 20 MB, {month['uploads']} uploads", f"{total(month)} ({by_kind(month)})",
        ratio=f"{total(month) / max(1, month['uploads']):.2f} x uploads",
        goal=f"<= 1.15 x uploads + 60 = {limit:.0f}", ok=total(month) <= limit,
    )
    bench.row("  its price of requests a month", month_text(month, 720), goal="stated")
    bench.row(
        "requests in an idle week (simulated)", f"{total(idle)} ({by_kind(idle) or 'none'})",
        goal="0 but for the weekly audit", ok=total(idle) <= 2,
    )
    return found


INTERVALS = ((1000, "1 s"), (10000, "10 s"), (60000, "60 s"))


def costs(bench):
    """A day of an idle, a quiet (100 commits) and a busy app (a commit a second), the busy one with three
    sync-intervals. Simulated; the measured day follows hours of the same. Prints Markdown for docs/COSTS.md."""
    hours = bench.count(24, 2)
    found = {
        "idle": simulate(bench, "-m", 20, "-t", 7 * hours),
        "quiet, 100 commits a day": simulate(bench, "-m", 20, "-n", 700, "-t", 7 * hours),
    }
    for interval, name in INTERVALS:
        report = simulate(bench, "-m", 20, "-e", 1000, "-i", interval, "-w", bench.count(6, 1), "-t", hours)
        found[f"busy, sync-interval {name}"] = report
        day = total(report) * 24 / hours
        bench.row(
            f"requests a day at constant writes, sync-interval {name}", f"{day:.0f} ({by_kind(report)})",
            ratio=f"{total(report) / report['uploads']:.2f} x uploads",
            goal=f"stated: a month {month_text(report, hours)}",
        )
    text = table(found)
    print("\n" + text + "\n")
    with open(os.path.join(bench.build, "costs.md"), "w", encoding="utf-8") as f:
        f.write(text + "\n")
    return found


def table(found):
    """What docs/COSTS.md shows: a day's requests, what is stored, dollars a month for each store."""
    lines = [
        "| app | uploads a day | requests a day | PUT | GET, HEAD | LIST | DELETE | stored | "
        + " | ".join(f"{store} a month" for store in PRICES) + " |",
        "|" + "---|" * (8 + len(PRICES)),
    ]
    for name, report in found.items():
        days, asked = report["hours"] / 24, report["measured"]
        numbers = [report["uploads"], total(report), asked["put"], asked["get"] + asked["head"], asked["list"], asked["del"]]
        cells = [f"{n / days:,.1f}".removesuffix(".0") for n in numbers]
        prices = ["${:.3f} + ${:.3f}".format(*dollars(report, store, report["hours"])) for store in PRICES]
        lines.append("| " + " | ".join([name, *cells, mb(report["stored"]), *prices]) + " |")
    return "\n".join(lines)


def recover(bench):
    """Comes with the command `recover`; the row stands here so that nobody forgets it."""
    bench.row("recover of 10 apps with 50 MB each", "(later part)", goal="<= 20 s")
