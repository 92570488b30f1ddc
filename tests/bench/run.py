#!/usr/bin/env python3
"""run.py [--quick] [--only WORD,…] - what the replicator costs and how fast it is, beside Litestream.

Every comparison alternates between the programs on this machine, with the same app and the same store,
at least five times, and tells medians. The peer is Litestream 0.3.13 out of npm; without npm only ours
is measured. Prints a table, writes $BUILD/bench.json. --quick: fewer and shorter runs, for trying it.

What each measurement does is said above its function in measures.py; what came out on which machine is
in docs/PERFORMANCE.md.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time

import measures
from replicators import PEER_PACKAGE, Target

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Bench:
    """Where things are, and what was measured."""

    def __init__(self, build, quick):
        self.build, self.quick = build, quick
        self.program = os.path.join(build, "bin", "litestream")
        self.work = tempfile.mkdtemp(prefix="bench.", dir=build)
        self.sockets = tempfile.mkdtemp(prefix="ls-bench.")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LITESTREAM_"))}
        self.results, self.rows, self.serial = {}, [], 0
        self.s3 = self.start_s3()
        self.peer = self.find_peer()

    def runs(self, full=5):
        return 2 if self.quick else full

    def seconds(self, full):
        return max(3, full // 4) if self.quick else full

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

    def s3_list(self, prefix):
        script = os.path.join(ROOT, "tests", "servers", "s3.py")
        return self.output([sys.executable, script, "ls", self.s3["BUCKET"], prefix]).splitlines()

    def find_peer(self):
        script = f'BUILD="$1"; source "$2/tests/lib/npm.bash"; npm_package {PEER_PACKAGE}'
        done = subprocess.run(
            ["bash", "-c", script, "bash", self.build, ROOT], capture_output=True, text=True, check=False
        )
        if done.returncode:
            print("no peer here, ours alone is measured:", done.stderr.strip())
            return None
        machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        folder = os.path.dirname(done.stdout.strip())
        return os.path.join(folder, f"litestream-linux-{machine}", "litestream")

    def close(self):
        if self.s3:
            subprocess.run([ROOT + "/tests/servers/ceph.sh", "stop", self.work + "/ceph"], check=False)
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.rmtree(self.sockets, ignore_errors=True)

    # ---- for measures.py ----

    def tool(self, name):
        folder = "bench" if name in ("quiet", "baseline", "bench_restore") else "tools"
        return os.path.join(self.build, folder, name)

    def output(self, command):
        return subprocess.run(command, capture_output=True, text=True, check=True, env=self.env).stdout

    def report(self, name, *arguments):
        """Runs a tool to its end: its report."""
        return json.loads(self.output([self.tool(name), *map(str, arguments)]).splitlines()[-1])

    def spawn(self, name, *arguments):
        return subprocess.Popen(
            [self.tool(name), *map(str, arguments)], stdout=subprocess.PIPE, text=True, env=self.env
        )

    @staticmethod
    def collect(process):
        out, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        return json.loads(out.splitlines()[-1])

    def place(self, kind):
        """A folder of its own for a database, and a target of its own."""
        self.serial += 1
        folder = f"{self.work}/{self.serial}"
        os.makedirs(folder)
        target = Target(kind, f"{folder}/replica" if kind == "file" else f"bench-{self.serial}", self.s3)
        return folder, target

    def kinds(self):
        return ["file"] + (["s3"] if self.s3 else [])

    def row(self, what, value, goal="", ok=None):
        """One line of the table."""
        mark = {True: "ok", False: "MISSED", None: ""}[ok]
        self.rows.append({"what": what, "value": value, "goal": goal, "verdict": mark})
        print(f"{what:<58} {value:<34} {goal:<26} {mark}", flush=True)


def machine(bench):
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "?")
    with open("/etc/os-release", encoding="utf-8") as f:
        system = next(line.split("=", 1)[1].strip().strip('"') for line in f if line.startswith("PRETTY_NAME"))
    peer = bench.output([bench.peer, "version"]).strip() if bench.peer else None
    return {
        "cpu": f"{os.cpu_count()} x {model}",
        "system": f"{system}, Linux {platform.release()}",
        "sqlite": bench.output(["sqlite3", "--version"]).split()[0],
        "ours": bench.output([bench.program, "version"]).strip(),
        "peer": peer,
        "s3": "radosgw, memstore, loopback" if bench.s3 else None,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    build = os.path.abspath(os.environ.get("BUILD", "build"))
    bench = Bench(build, options.quick)
    os.environ.update(bench.env)
    failed = []
    try:
        bench.results["machine"] = machine(bench)
        for key, value in bench.results["machine"].items():
            print(f"{key:<8} {value}")
        for name, measure in measures.ALL:
            if options.only and name not in options.only.split(","):
                continue
            try:
                bench.results[name] = measure(bench)
            except (RuntimeError, subprocess.SubprocessError, OSError) as e:
                failed.append(name)
                print(f"{name}: could not be measured: {e}", getattr(e, "stderr", "") or "", flush=True)
    finally:
        bench.close()
    bench.results["rows"] = bench.rows
    path = os.path.join(build, "bench.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(bench.results, f, indent=1)
    print(f"written: {path}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
