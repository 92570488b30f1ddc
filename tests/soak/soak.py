#!/usr/bin/env python3
"""soak.py [-s SECONDS] [--seed N] [--moments N] [--folder] - does it lose anything, whatever happens?

Three databases of two apps under litestreamd, each written by processes with different habits (tests/tools/
habits.c); the replica is in radosgw, behind a proxy that fails (servers/faulty.py). For SECONDS (60) everything is killed
with -9 or stopped at random moments: writers one by one and all of a database at once, workers, the daemon, both,
radosgw, every connection; a writer dies also between writing a commit and publishing it. The store has its bad
times: storms of 503, resets, stalls, answers lost, outages.

All the time each app is synced; what its writers had been acknowledged before the request is noted when the sync
comes back. At N moments (20), and at the end, each database is restored from the server itself: the latest state,
and one in the past by TXID or by time. Each must be what `checker -s` takes for whole, and hold what had been noted
of it by then. At the end all writers end, are synced, and the restored file is compared with the source page by page.

Prints what it did and "lost: 0". The first thing that is wrong ends it: then the folder stays (databases, replica,
logs, what was noted, the file that was restored), and the exit code is 1. A seed makes the same choices again, of
what and when, not the same races.
"""

import argparse
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback

from world import PATIENCE, World, Wrong, run, until


def rfc3339(at):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03d}Z"


class Chaos:
    """Kills, stops, and the store's weather: what and when is the seed's choice alone."""

    WEATHER = (
        {},
        {"refused": 0.6},
        {"refused": 1.0},
        {"spoilt": 0.3, "lost": 0.3},
        {"reset": 0.3, "half_up": 0.2, "half_down": 0.2},
        {"stall": 0.3},
        {"refused": 0.1, "spoilt": 0.1, "lost": 0.1, "reset": 0.1, "half_up": 0.1, "half_down": 0.1, "stall": 0.1},
    )
    FAIR = {"refused": 0.01, "spoilt": 0.005, "lost": 0.005, "reset": 0.005, "half_up": 0.005, "half_down": 0.005}

    def __init__(self, world, seed, say):
        self.world, self.chance, self.say = world, random.Random(seed), say
        self.until, self.faults = 0, world.store.faults
        self.acts = {
            self.kill_writer: 10, self.kill_writers: 2, self.kill_worker: 4, self.stop_worker: 2, self.kill_daemon: 2,
            self.kill_both: 1, self.restart_daemon: 1,
        }  # fmt: skip
        if self.faults:
            self.acts |= {self.change_weather: 8, self.outage: 2, self.drop: 3, self.kill_gateway: 1}

    def step(self):
        """One act, after a pause."""
        pause = self.chance.uniform(0.05, 1.2)
        act = self.chance.choices(list(self.acts), list(self.acts.values()))[0]
        self.wait(pause)
        act()

    def wait(self, seconds):
        """The apps are looked after meanwhile."""
        deadline = time.monotonic() + seconds
        while True:
            self.clear_up()
            self.world.tend()
            if time.monotonic() >= deadline:
                return
            time.sleep(0.02)

    # ---- kills ----

    def kill_writer(self):
        habit = self.chance.choice([h for db in self.world.databases if db.harmed for h in db.habits])
        self.say(f"kill {habit.db.name} {habit.name}")
        habit.kill()
        self.world.count("writers")

    def kill_writers(self):
        """Nobody but the worker is left, or nobody."""
        db = self.chance.choice([db for db in self.world.databases if db.harmed])
        with_worker = self.chance.random() < 0.4
        self.say(f"kill all of {db.name}" + (" and its worker" if with_worker else ""))
        if with_worker:
            self.signal_workers(db.app, signal.SIGKILL)
        for habit in db.habits:
            habit.kill()
        self.world.count("writers", len(db.habits))
        for habit in db.habits:
            habit.process.wait()
        time.sleep(self.chance.choice((0, 0, 0.05, 0.5)))

    def signal_workers(self, app, sig):
        found = self.world.workers(app)
        for pid in found:
            try:
                os.kill(pid, sig)
            except ProcessLookupError:
                pass
        if sig == signal.SIGKILL:
            self.world.count("workers", len(found))
        return found

    def kill_worker(self):
        app = self.chance.choice(self.world.apps)
        self.say(f"kill the worker of {app}")
        self.signal_workers(app, signal.SIGKILL)

    def stop_worker(self):
        app, seconds = self.chance.choice(self.world.apps), self.chance.uniform(0.05, 2)
        self.say(f"stop the worker of {app} for {seconds:.2f} s")
        found = self.signal_workers(app, signal.SIGSTOP)
        self.wait(seconds)
        for pid in found:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass

    def kill_daemon(self, with_workers=False):
        pause = self.chance.choice((0, 0.02, 0.3, 2))
        self.say(f"kill the daemon{' and its workers' if with_workers else ''}, start it after {pause} s")
        workers = [self.world.workers(app) for app in self.world.apps] if with_workers else []
        self.world.stop_daemon(signal.SIGKILL)
        self.world.count("daemons")
        for pid in set().union(*workers):
            try:
                os.kill(pid, signal.SIGKILL)
                self.world.count("workers")
            except ProcessLookupError:
                pass
        self.wait(pause)
        self.world.start_daemon()

    def kill_both(self):
        self.kill_daemon(True)

    def restart_daemon(self):
        self.say("end the daemon, start it anew")
        self.world.stop_daemon(signal.SIGTERM)
        self.world.start_daemon()

    # ---- the store ----

    def kill_gateway(self):
        down = self.chance.choice((0, 0.5, 3))
        self.say(f"kill radosgw for {down} s")
        self.world.store.kill_gateway(down)
        self.world.count("radosgw")

    def drop(self):
        self.say("drop every connection")
        self.faults.drop_all()

    def change_weather(self):
        weather, seconds = self.chance.choice(self.WEATHER), self.chance.uniform(0.5, 8)
        self.say(f"weather for {seconds:.1f} s: {weather}")
        self.faults.set(self.FAIR | weather)
        self.until = time.monotonic() + seconds

    def outage(self):
        seconds = self.chance.uniform(0.5, 7)
        self.say(f"no store for {seconds:.1f} s")
        self.faults.extra["outages"] += 1
        self.faults.set({"out": 1})
        self.until = time.monotonic() + seconds

    def clear_up(self):
        if self.faults and self.until and time.monotonic() > self.until:
            self.faults.set(self.FAIR)
            self.until = 0

    def meet_one(self):
        """A soak of seconds may have met no fault yet: then all is refused until it has."""
        if self.faults and not sum(self.faults.counts()[0].values()):
            self.faults.set({"refused": 1.0})
            until(lambda: sum(self.faults.counts()[0].values()), "a fault in the store")

    def calm(self):
        if self.faults:
            self.faults.set({})


class Soak:
    def __init__(self, options, build):
        self.options = options
        self.root = tempfile.mkdtemp(prefix="soak.")
        self.chance = random.Random(options.seed)
        self.restores, self.unreachable, self.lost, self.wrong = 0, 0, 0, []
        self.started, self.ended, self.lock = time.monotonic(), threading.Event(), threading.Lock()
        self.world = World(build, self.root, self.chance, options.folder)
        self.chaos = Chaos(self.world, options.seed + 1, self.say)

    def say(self, text):
        with self.lock, open(self.root + "/log/events.log", "a", encoding="utf-8") as f:
            f.write(f"{time.time():.3f} {time.monotonic() - self.started:8.3f} {text}\n")

    def guarded(self, work, *arguments):
        """Runs in a thread: what goes wrong ends the soak."""
        try:
            work(*arguments)
        except Wrong as e:
            self.found(str(e))
        except Exception:  # pylint: disable=broad-except
            self.found(traceback.format_exc())

    def found(self, text):
        self.say("WRONG " + text)
        self.wrong.append(text)
        self.ended.set()

    # ---- the threads ----

    def disturb(self):
        while not self.ended.is_set():
            self.chaos.step()

    def note(self, app):
        """Syncs all the time; that one fails is what the weather is for."""
        while not self.ended.is_set():
            done = self.world.sync(app, 10)
            self.say(f"sync of {app}: {'done' if done else 'not done'}")
            if not done:
                self.world.check_states(app)
            self.ended.wait(0.3)

    # ---- restores ----

    def restored(self, db, out, *point):
        """Restores from the server itself, which may be dead for a moment."""
        command = [self.world.program, "restore", "-quiet", "-json", "-no-state", "-timeout", "5s", "-o", out, *point]
        command.append(db.direct)
        deadline = time.monotonic() + PATIENCE
        while (done := run(command, env=self.world.store.env)).returncode == 5 and time.monotonic() < deadline:
            self.unreachable += 1
        self.restores += 1
        if done.returncode:
            raise Wrong(f"{db.name} {point}: restore ended with {done.returncode}: {done.stderr}")
        if '"proven": true' not in done.stdout:
            raise Wrong(f"{db.name} {point}: the checksum is not proven: {done.stdout}")

    def killed_restore(self, db, out):
        """One that is killed leaves nothing that is in the way of the next."""
        command = [self.world.program, "restore", "-quiet", "-no-state", "-o", out, db.direct]
        with subprocess.Popen(command, env=self.world.store.env, stderr=subprocess.DEVNULL) as process:
            time.sleep(self.chance.uniform(0.001, 0.2))
            process.kill()
        self.world.count("restores")
        if os.path.exists(out):
            os.remove(out)

    def judge(self, db, floor, *point):
        """A state of the replica is whole and holds what is noted in `floor`."""
        out = f"{self.root}/out/{db.app}-{db.name}"
        if self.chance.random() < 0.3:
            self.killed_restore(db, out)
        self.restored(db, out, *point)
        notes = [f"{writer}:{last}" for writer, last in floor.items()]
        done = run([self.root + "/bin/checker", "-s", out, *notes])
        self.say(f"restored {db.name} {point}: {'right' if done.returncode == 0 else 'WRONG'}")
        if done.returncode:
            last = (done.stdout.splitlines() or [""])[-1]
            self.lost += int(last.removeprefix("lost: ")) if last.startswith("lost: ") else 0
            raise Wrong(f"{db.name} {point}, at least {notes}: {out} is not right:\n{done.stdout}{done.stderr}")
        return out

    def look(self):
        """The latest state of every database, and one of the past."""
        for db in self.world.databases:
            notes = db.noted()
            if not notes:
                continue
            os.remove(self.judge(db, notes[-1]["noted"]))
            past = self.chance.choice(notes)
            if self.chance.random() < 0.5:
                os.remove(self.judge(db, past["noted"], "-timestamp", rfc3339(past["at"])))
            else:
                os.remove(self.judge(db, past["noted"], "-txid", past["txid"]))

    # ---- the whole ----

    def soak(self):
        self.world.begin()
        for app in self.world.apps:
            until(lambda app=app: self.world.sync(app, 10), f"the first upload of {app}")
        for habit in self.world.habits():
            habit.start()
        threads = [threading.Thread(target=self.guarded, args=(self.disturb,))]
        threads += [threading.Thread(target=self.guarded, args=(self.note, app)) for app in self.world.apps]
        self.started = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            self.watch()
        finally:
            self.ended.set()
            for thread in threads:
                thread.join()
        if not self.wrong:
            self.end()

    def watch(self):
        """The moments, evenly over the time; a restore that takes long moves the next one."""
        for moment in range(1, self.options.moments + 2):
            at = self.started + self.options.seconds * moment / (self.options.moments + 1)
            if self.ended.wait(max(0.0, at - time.monotonic())):
                return
            if moment <= self.options.moments:
                self.look()
                print(f"{time.monotonic() - self.started:6.1f} s  {self.figures()}", flush=True)

    def end(self):
        """The apps end, all is shipped, and the replica is the database."""
        self.chaos.meet_one()
        self.chaos.calm()
        self.world.end_habits()
        if self.world.daemon.poll() is not None:
            self.world.start_daemon()
        for app in self.world.apps:
            until(lambda app=app: self.world.sync(app, 10), f"the last sync of {app}")
        self.world.stop_daemon(signal.SIGTERM)
        for db in self.world.databases:
            connection = sqlite3.connect(db.path)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            connection.close()
            out = self.judge(db, db.acked())
            done = run([self.root + "/bin/pagecmp", db.path, out])
            if done.returncode:
                raise Wrong(f"{db.name}: {out} is not the source:\n{done.stdout}{done.stderr}")
            os.remove(out)
            past = self.chance.choice(db.noted())
            os.remove(self.judge(db, past["noted"], "-txid", past["txid"]))

    def figures(self):
        faults = sum(self.world.store.faults.counts()[0].values()) if self.world.store.faults else 0
        killed = sum(self.world.kills.values()) + self.world.total("deaths")
        return f"{self.world.total('commits')} transactions, {killed} kills, {faults} faults, {self.restores} restores"

    def report(self):
        world, total = self.world, self.world.total
        kills = world.kills
        print(f"seed          {self.options.seed}, {time.monotonic() - self.started:.0f} s; {world.store.told}")
        print(
            f"transactions  {total('commits')}; {total('rolled_back')} more were rolled back; {total('vacuums')} VACUUMs,"
            f" {total('checkpoints')} checkpoints of the apps, {total('reads')} long reads"
        )
        print(
            f"kills         {sum(kills.values()) + total('deaths')}: writers {kills['writers'] + total('deaths')}"
            f" ({total('deaths')} inside a commit or checkpoint), workers {kills['workers']}, daemon {kills['daemons']},"
            f" radosgw {kills['radosgw']}, restores {kills['restores']}"
        )
        if world.store.faults:
            counts, requests = world.store.faults.counts()
            told = ", ".join(f"{kind} {counts[kind]}" for kind in sorted(counts))
            print(f"faults        {sum(counts.values())} in {requests} requests: {told}")
        else:
            print("faults        0: a folder does not fail")
        print(f"syncs         {sum(len(db.noted()) for db in world.databases)} noted")
        print(f"restores      {self.restores}, {'all right' if not self.wrong else 'NOT ALL RIGHT'}")
        print(f"lost: {self.lost}", flush=True)

    def keep(self):
        """What is needed to understand it; the server's memory ends with us."""
        for habit in self.world.habits():
            if habit.process and habit.process.poll() is None:
                habit.process.kill()
        if self.world.store.faults:
            for db in self.world.databases:
                self.world.store.keep(db)

    def run(self):
        try:
            self.guarded(self.soak)
            self.report()
            if self.wrong:
                self.keep()
                for text in self.wrong:
                    print("WRONG:", text)
                print(f"seed {self.options.seed}; everything is in {self.root}")
        finally:
            self.world.close()
            if not self.wrong:
                shutil.rmtree(self.root)
        return 1 if self.wrong else 0


def interrupt(*_):
    """SIGTERM is as Ctrl-C: nothing that we started is left behind. A second one must not keep us from that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-s", "--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--folder", action="store_true")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("soak.py: workers become the users that own the databases: that needs root", file=sys.stderr)
        return 77
    print(f"seed {options.seed}", flush=True)
    signal.signal(signal.SIGTERM, interrupt)
    return Soak(options, os.path.abspath(os.environ.get("BUILD", "build"))).run()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
