#!/usr/bin/env python3
"""run.py [--quick] [--peer] [--only NAME,…] [--add] [--list] - what the replicator costs and how fast it is.

Every comparison alternates on this machine between ours, Litestream 0.3.13 (out of npm) and the app
without a replicator, with the same app and the same store, at least five times, and tells medians. Prints
a table as it goes and whole at the end; writes $BUILD/bench.json (every number) and $BUILD/bench.md.

--quick: fewer and shorter runs, without the peer (unless --peer), only the rows that are worth a look
every day (or those of --only). --add: what an earlier run on this machine measured, and this one doesn't,
stays in both files: a whole bench in parts, because it takes an hour of a machine that does nothing else.
--list: the names, and about how many minutes each takes.

What each measure does is said above its function; what came out on which machine is in
docs/PERFORMANCE.md. Exit code 1 when a row could not be measured; a goal that was missed is no error.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time

import measures
from common import Unavailable
from replicators import PATIENCE, PEER_PACKAGE, Target

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
COLUMNS = ("what", "ours", "peer", "yardstick", "ratio", "goal", "verdict")
LONGEST = 1200  # seconds that a tool may take


class Bench:
    """Where things are, and what was measured."""

    def __init__(self, build, quick, peer):
        self.build, self.quick = build, quick
        self.program = os.path.join(build, "bin", "litestream")
        self.work = tempfile.mkdtemp(prefix="bench.", dir=build)
        self.sockets = tempfile.mkdtemp(prefix="ls-bench.")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LITESTREAM_"))}
        self.results, self.rows, self.not_measured, self.serial = {}, [], [], 0
        self.spawned, self.silent = [], False
        self.measure = ""  # the one that runs
        self.s3 = self.start_s3()
        self.peer = self.find_peer() if peer else None

    # How much of it: a quick run is for trying, and for seeing that nothing has become much worse.

    def runs(self):
        return 2 if self.quick else 5

    def seconds(self, full):
        return max(3, full // 4) if self.quick else full

    def count(self, full, quick):
        return quick if self.quick else full

    # ---- surroundings ----

    def start_s3(self):
        script = os.path.join(ROOT, "tests", "servers", "ceph.sh")
        done = subprocess.run([script, "start", self.work + "/ceph"], capture_output=True, text=True, check=False)
        if done.returncode:
            print("no S3 here, the folder alone is measured:", done.stderr.strip().splitlines()[-1:])
            return None
        words = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        s3 = {k.removeprefix("LITESTREAM_TEST_S3_"): v for k, v in words.items()}
        self.env |= words
        self.env["LITESTREAM_ACCESS_KEY_ID"] = s3["ACCESS_KEY_ID"]
        self.env["LITESTREAM_SECRET_ACCESS_KEY"] = s3["SECRET_ACCESS_KEY"]
        return s3

    def trust(self):
        """An environment in which the test server's certificate is good."""
        return {"SSL_CERT_FILE": self.s3["CA_FILE"]} if self.s3 else {}

    def s3_client(self, *arguments):
        return self.output([sys.executable, os.path.join(ROOT, "tests", "servers", "s3.py"), *arguments])

    def s3_list(self, prefix):
        return self.s3_client("ls", self.s3["BUCKET"], prefix).splitlines()

    def s3_times(self, prefix):
        """(key, time of its last change) of the objects below a prefix."""
        return [line.split() for line in self.s3_client("times", self.s3["BUCKET"], prefix).splitlines()]

    def find_peer(self):
        script = f'BUILD="$1"; source "$2/tests/lib/npm.bash"; npm_package {PEER_PACKAGE}'
        done = subprocess.run(
            ["bash", "-c", script, "bash", self.build, ROOT], capture_output=True, text=True, check=False
        )
        if done.returncode:
            self.missing("the peer", done.stderr.strip(), go_on=True)
            return None
        kind = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        folder = os.path.dirname(done.stdout.strip())
        return os.path.join(folder, f"litestream-linux-{kind}", "litestream")

    def close(self):
        self.end_all()
        if self.s3:
            subprocess.run([ROOT + "/tests/servers/ceph.sh", "stop", self.work + "/ceph"], check=False)
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.rmtree(self.sockets, ignore_errors=True)

    # ---- processes ----

    def tool(self, name):
        return next(p for p in (f"{self.build}/{d}/{name}" for d in ("bench", "tools")) if os.path.exists(p))

    def output(self, command, env=None):
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=True, timeout=LONGEST, env=self.env | (env or {})
            )
        except subprocess.CalledProcessError as e:
            said = (e.stderr or "").strip()[-800:]
            raise RuntimeError(f"{' '.join(command)} ended with {e.returncode}: {said}") from None
        return done.stdout

    def report(self, name, *arguments, env=None):
        """Runs a tool to its end: its report."""
        return json.loads(self.output([self.tool(name), *map(str, arguments)], env).splitlines()[-1])

    def spawn(self, name, *arguments, env=None):
        """Starts a tool; what is still there at the end of the measure is killed."""
        process = subprocess.Popen(
            [self.tool(name), *map(str, arguments)], stdout=subprocess.PIPE, text=True, env=self.env | (env or {})
        )
        self.spawned.append(process)
        return process

    def collect(self, process):
        out, _ = process.communicate(timeout=LONGEST)
        self.spawned.remove(process)
        if process.returncode:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        return json.loads(out.splitlines()[-1])

    def end(self, process):
        """SIGTERM, then its end."""
        process.terminate()
        try:
            process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        self.spawned.remove(process)

    def end_all(self):
        for process in list(self.spawned):
            process.kill()
            process.communicate()
            self.spawned.remove(process)

    def server(self, *command):
        """A program of ours that prints its address first."""
        process = subprocess.Popen([sys.executable, *map(str, command)], stdout=subprocess.PIPE, text=True)
        self.spawned.append(process)
        address = process.stdout.readline().strip()
        if not address:
            raise RuntimeError(f"{command[0]} did not start")
        return process, address

    def counting_s3(self, *flags):
        """An S3 server in memory that counts requests: (process, endpoint)."""
        return self.server(f"{HERE}/counting_s3.py", *flags)

    @contextlib.contextmanager
    def far(self, ms, *gate):
        """The S3 server behind a link of so many ms, as an endpoint; with a file, also behind a gate."""
        process, endpoint = self.server(f"{HERE}/delay.py", self.s3["ENDPOINT"].removeprefix("http://"), ms, *gate)
        try:
            yield endpoint
        finally:
            self.end(process)

    # ---- places ----

    def place(self, kind):
        """A folder of its own for a database, and a target of its own."""
        self.serial += 1
        folder = f"{self.work}/{self.serial}"
        os.makedirs(folder)
        s3 = dict(self.s3, ENDPOINT=self.s3["TLS_ENDPOINT"]) if kind == "tls" else self.s3
        return folder, Target(kind, f"{folder}/replica" if kind == "file" else f"bench-{self.serial}", s3)

    def remove(self, path):
        """A folder, or a database and what is beside it."""
        if os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)
            return
        folder, name = os.path.split(path)
        for other in os.listdir(folder):
            full = os.path.join(folder, other)
            if other.removeprefix(".").startswith(name):
                shutil.rmtree(full) if os.path.isdir(full) else os.unlink(full)

    def kinds(self):
        return ["file"] + (["s3"] if self.s3 else [])

    # ---- the table ----

    def row(self, what, ours="", peer="", yard="", ratio="", goal="", ok=None):
        """One line of the table."""
        if self.silent:
            return
        verdict = {True: "ok", False: "MISSED", None: ""}[ok]
        row = dict(zip(COLUMNS, (what, ours, peer, yard, ratio, goal, verdict)))
        self.rows.append(row | {"measure": self.measure})
        told = [f"{k} {v}" for k, v in row.items() if v and k not in ("what", "verdict")]
        print(f"{what}: " + "; ".join(told) + (f" -> {verdict}" if verdict else ""), flush=True)

    def missing(self, what, why, go_on=False):
        """A row that can't be measured here."""
        if go_on:
            self.not_measured.append(what)
            print(f"{what}: NOT MEASURED: {why}", flush=True)
            return
        raise Unavailable(f"{what}: {why}")

    def silently(self, measure):
        """A measure whose numbers another one needs, without its rows."""
        self.silent, before = True, self.silent
        try:
            return measure(self)
        finally:
            self.silent = before

    def table(self):
        """All rows as a Markdown table."""
        lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        lines += ["| " + " | ".join(row[c].replace("|", "/") for c in COLUMNS) + " |" for row in self.rows]
        return "\n".join(lines)


def machine(bench):
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "?")
    with open("/etc/os-release", encoding="utf-8") as f:
        system = next(line.split("=", 1)[1].strip().strip('"') for line in f if line.startswith("PRETTY_NAME"))
    peer = bench.output([bench.peer, "version"]).strip() if bench.peer else None
    return {
        "cpu": f"{os.cpu_count()} x {model}",
        "system": f"{system}, Linux {platform.release()}",
        "load": " ".join(f"{n:.2f}" for n in os.getloadavg()),
        "sqlite": bench.output(["sqlite3", "--version"]).split()[0],
        "ours": bench.output([bench.program, "version"]).strip(),
        "peer": peer,
        "s3": "radosgw, memstore, loopback" if bench.s3 else None,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def chosen(options):
    names = [m[0] for m in measures.ALL]
    if options.list and not options.only:
        return measures.ALL
    only = [n for n in options.only.split(",") if n]
    for name in only:
        if name not in names:
            sys.exit(f"run.py: there is no measure {name}, only: {', '.join(names)}")
    if only:
        return [m for m in measures.ALL if m[0] in only]
    return [m for m in measures.ALL if m[2] is not None and (m[2] or not options.quick)]


def run(bench, selected):
    bench.results |= {"machine": machine(bench), "parts": {}}
    for key, value in bench.results["machine"].items():
        print(f"{key:<8} {value}")
    for name, measure, _, _ in selected:
        start = time.monotonic()
        bench.measure = name
        bench.results["parts"][name] = {k: bench.results["machine"][k] for k in ("date", "load")}
        try:
            bench.results[name] = measure(bench)
        except Exception as e:  # pylint: disable=broad-exception-caught  # whatever it is, the others go on
            bench.missing(name, f"{type(e).__name__}: {e}", go_on=True)
            bench.row(f"({name})", "not measured: " + str(e).splitlines()[0][:100] if str(e) else type(e).__name__)
        bench.end_all()
        print(f"  [{name}: {time.monotonic() - start:.0f} s]", flush=True)


def add(bench, earlier):
    """Takes over what an earlier run found and this one did not look at."""
    def same(key):
        return earlier["machine"][key] == bench.results["machine"][key]

    alike = "parts" in earlier and all(map(same, ("cpu", "system", "sqlite", "ours", "s3")))
    if not alike or earlier["quick"] != bench.quick:
        sys.exit("run.py: --add: the earlier run was on another machine or with other programs, or a quick one")
    kept = set(earlier["parts"]) - set(bench.results["parts"])
    order = {m[0]: n for n, m in enumerate(measures.ALL)}
    bench.rows += [row for row in earlier["rows"] if row["measure"] in kept]
    bench.rows.sort(key=lambda row: order[row["measure"]])
    bench.not_measured += [name for name in earlier["not_measured"] if name in kept]
    bench.results["parts"] |= {name: earlier["parts"][name] for name in kept}
    for name in kept & set(earlier):
        bench.results[name] = earlier[name]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--add", action="store_true")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    selected = chosen(options)
    if options.list:
        for name, _, quick, minutes in selected:
            print(f"{name:<16} {minutes:>5.1f} min{'  quick' if quick else '  only by name' if quick is None else ''}")
        return
    build = os.path.abspath(os.environ.get("BUILD", "build"))
    bench = Bench(build, options.quick, options.peer or not options.quick)
    try:
        run(bench, selected)
    finally:
        bench.close()
    bench.results |= {"quick": options.quick}
    if options.add:
        with open(os.path.join(build, "bench.json"), encoding="utf-8") as f:
            add(bench, json.load(f))
    bench.results |= {"rows": bench.rows, "not_measured": bench.not_measured}
    with open(os.path.join(build, "bench.json"), "w", encoding="utf-8") as f:
        json.dump(bench.results, f, indent=1)
    with open(os.path.join(build, "bench.md"), "w", encoding="utf-8") as f:
        f.write(bench.table() + "\n")
    print("\n" + bench.table() + f"\n\nwritten: {build}/bench.json, bench.md")
    if bench.not_measured:
        print("not measured:", ", ".join(bench.not_measured))
    sys.exit(1 if bench.not_measured else 0)


if __name__ == "__main__":
    main()
