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
STRONG, WEAK = ("S3", "R2"), ("B2",)  # does the store refuse to overwrite? Where not, more is asked.
KINDS = ("put", "get", "head", "list", "del")


def simulate(bench, *arguments, weak=False):
    """A run of bench/simulate: its report, with the objects and bytes that are in the store at its end.
    What the store then holds is restored, and must be the app's database."""
    server, endpoint = bench.counting_s3(*(["--weak"] if weak else []))
    # In memory where there is room: a simulated day fsyncs as often as a real one.
    shared = "/dev/shm"
    where = shared if os.path.isdir(shared) and shutil.disk_usage(shared).free > 2**30 else bench.work
    folder = tempfile.mkdtemp(prefix="ls-simulate.", dir=where)
    url = f"s3://counted/app?endpoint={endpoint}"
    keys = {"LITESTREAM_ACCESS_KEY_ID": "counted", "LITESTREAM_SECRET_ACCESS_KEY": "counted"}
    try:
        report = bench.report("simulate", *arguments, folder, url, env=keys)
        with urllib.request.urlopen(endpoint + "/-/counts", timeout=60) as answer:
            counted = json.load(answer)
        bench.output([bench.program, "restore", "-quiet", "-no-state", "-o", f"{folder}/restored.db", url], keys)
        bench.output(["sqlite3", f"{folder}/app.db", "PRAGMA wal_checkpoint(TRUNCATE)"])
        bench.output([bench.tool("pagecmp"), f"{folder}/app.db", f"{folder}/restored.db"])
    finally:
        bench.end(server)
        shutil.rmtree(folder, ignore_errors=True)
    for kind in KINDS:
        ours = sum(report[part][kind] for part in ("begin", "warm", "measured", "after"))
        if ours != counted.get(kind, 0):
            raise RuntimeError(f"the client counted {ours} requests ({kind}), the server {counted.get(kind, 0)}")
    return report | {"objects": counted["objects"], "stored": counted["bytes"]}


def total(report):
    return sum(report["measured"][kind] for kind in KINDS)


def dollars(report, store):
    """Of requests, and of storage, in 30 days, when the measured hours go on like this."""
    prices = PRICES[store]
    asked = sum(report["measured"][kind] * prices[kind] for kind in KINDS)
    return asked * 720 / report["hours"], report["stored"] / 1e9 * prices["gb"]


def month_text(strong, weak):
    told = [(store, strong) for store in STRONG] + [(store, weak) for store in WEAK]
    return ", ".join(f"{store} ${dollars(report, store)[0]:.3f}" for store, report in told)


def by_kind(report):
    return ", ".join(f"{report['measured'][kind]} {kind.upper()}" for kind in KINDS if report["measured"][kind])


def requests(bench):
    """A month of a LogPaste-like app, 20 MB and 1,000 commits at random moments; a week of an idle one.

    Simulated. Every commit of the month is an upload of its own unless two fall into one second.
    """
    month, idle = simulate(bench, "-m", 20, "-n", 1000, "-t", 720), simulate(bench, "-m", 20, "-t", 168)
    weak = simulate(bench, "-m", 20, "-n", 1000, "-t", 720, weak=True)
    limit = 1.15 * month["uploads"] + 60
    bench.row(
        f"requests a month, LogPaste-like: 20 MB, {month['uploads']} uploads", f"{total(month)} ({by_kind(month)})",
        ratio=f"{total(month) / max(1, month['uploads']):.2f} x uploads",
        goal=f"<= 1.15 x uploads + 60 = {limit:.0f}", ok=total(month) <= limit,
    )
    bench.row("its price of requests a month", month_text(month, weak), goal="stated (B2: weak fencing)")
    bench.row(
        "requests in an idle week (simulated)", f"{total(idle)} ({by_kind(idle) or 'none'})",
        goal="0", ok=total(idle) == 0,
    )
    return {"month": month, "weak": weak, "idle": idle}


INTERVALS = ((1000, "1 s"), (10000, "10 s"), (60000, "60 s"))


def apps(bench, weak):
    """A simulated report of each app of docs/COSTS.md. Where fencing is weak, the busy one's measured time
    is shorter: what comes on top comes with each upload."""
    hours, warm = (bench.count(6, 1), 1) if weak else (bench.count(24, 2), bench.count(6, 1))
    week = bench.count(168, 14)
    found = {
        "idle": simulate(bench, "-m", 20, "-t", week, weak=weak),
        "quiet, 100 commits a day": simulate(bench, "-m", 20, "-n", week * 100 // 24, "-t", week, weak=weak),
    }
    for interval, name in INTERVALS:
        arguments = ("-m", 20, "-e", 1000, "-i", interval, "-w", warm, "-t", hours)
        found[f"busy, sync-interval {name}"] = simulate(bench, *arguments, weak=weak)
    return found


def costs(bench):
    """A day of an idle, a quiet (100 commits) and a busy app (a commit a second), the busy one with three
    sync-intervals. Simulated; the measured day follows hours of the same. Prints Markdown for docs/COSTS.md."""
    strong, weak = apps(bench, False), apps(bench, True)
    for _, name in INTERVALS:
        report = strong[f"busy, sync-interval {name}"]
        bench.row(
            f"requests a day at constant writes, sync-interval {name}",
            f"{total(report) * 24 / report['hours']:.0f} (in {report['hours']} h {by_kind(report)})",
            ratio=f"{total(report) / report['uploads']:.2f} x uploads",
            goal=f"stated: a month {month_text(report, weak[f'busy, sync-interval {name}'])}",
        )
    text = table(strong, STRONG) + "\n\nB2 (fencing is weak there):\n\n" + table(weak, WEAK)
    print("\n" + text + "\n")
    if not bench.quick:
        with open(os.path.join(bench.build, "costs.md"), "w", encoding="utf-8") as f:
            f.write(text + "\n")
    return {"strong": strong, "weak": weak}


def table(found, stores):
    """What docs/COSTS.md shows: a day's requests, what is stored, dollars a month (requests + storage)."""
    lines = [
        "| app | uploads a day | requests a day | PUT | GET, HEAD | LIST | DELETE | stored | "
        + " | ".join(f"{store} a month" for store in stores) + " |",
        "|" + "---|" * (8 + len(stores)),
    ]
    for name, report in found.items():
        days, asked = report["hours"] / 24, report["measured"]
        reads = asked["get"] + asked["head"]
        numbers = [report["uploads"], total(report), asked["put"], reads, asked["list"], asked["del"]]
        cells = [f"{n / days:,.1f}".removesuffix(".0") for n in numbers]
        prices = ["${:.3f} + ${:.3f}".format(*dollars(report, store)) for store in stores]
        lines.append("| " + " | ".join([name, *cells, mb(report["stored"]), *prices]) + " |")
    return "\n".join(lines)
