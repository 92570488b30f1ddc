"""What a soak is made of: databases with their apps, litestreamd with its workers, the store.

Everything is below one folder. The daemon is told what to do by files in desired/ and secrets/, as the plugin
does it; it needs root, because workers become the users that own the databases.
"""

import collections
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SERVERS = os.path.join(os.path.dirname(HERE), "servers")
sys.path.insert(0, SERVERS)
import s3  # noqa: E402

PATIENCE = int(os.environ.get("PATIENCE", "120"))
BALLAST_BYTES = 3000000
NOTED = ("acked", "commits", "rolled_back", "busy", "deaths", "vacuums", "checkpoints", "reads")

# Turns a second. A habit's place is its writer's number.
HABITS = {"steady": 40, "long": 4, "big": 2, "fleeting": 5, "vacuum": 3, "checkpoint": 3, "readers": 10, "dying": 20}
# SQLite 3.11 to 3.49 can commit frames without checksums after a spill and ROLLBACK TO. It loses them by itself
# when a crash of all its processes makes it read the WAL again: here nobody but our worker is killed.
UNHARMED = {"steady": 40, "spill": 4, "fleeting": 5, "checkpoint": 3, "readers": 10}


class Wrong(Exception):
    """What must not be."""


def run(command, **more):
    """The finished process; its output is text."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20 * PATIENCE, **more)


def until(condition, what, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise Wrong(f"never came true in {patience} s: {what}")
        time.sleep(0.05)
    return found


def unclouded():
    """Nobody's settings decide what a soak sees."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LITESTREAM_"))}


# ---- the store ----


class Faults:
    """The proxy before the server (servers/faulty.py), its rules, and how often each of them struck."""

    RULES = {
        "refused": {"status": 503}, "spoilt": {"status": 500, "code": "InternalError", "after": True},
        "lost": {"lose": True}, "reset": {"reset": True}, "half_up": {"half": "up"}, "half_down": {"half": "down"},
        "stall": {"stall": 2}, "out": {"reset": True},
    }  # fmt: skip

    def __init__(self, root, host, port, seed, env):
        self.control, self.log, self.extra = root + "/rules.json", root + "/requests.log", collections.Counter()
        self.process = subprocess.Popen(
            [SERVERS + "/faulty.py", host, port, self.control, self.log],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=env | {"SEED": str(seed)},
        )  # fmt: skip
        self.port = int(self.process.stdout.readline())

    def set(self, chances):
        """How likely each is to strike a request."""
        rules = [self.RULES[name] | {"name": name, "chance": chance} for name, chance in chances.items()]
        with open(self.control + ".new", "w", encoding="utf-8") as f:
            json.dump({"rules": rules}, f)
        os.rename(self.control + ".new", self.control)

    def drop_all(self):
        self.extra["dropped"] += 1
        self.process.send_signal(signal.SIGUSR1)

    def counts(self):
        """By name, and how many requests there were."""
        found, requests = collections.Counter(self.extra), 0
        if os.path.exists(self.log):
            with open(self.log, encoding="utf-8") as f:
                for line in f.read().split("\n")[:-1]:
                    requests += 1
                    name = json.loads(line)["name"]
                    found[name] += name is not None
        del found[None]
        return found, requests

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Folder:
    """A replica in a folder: nothing of it can fail."""

    faults = None
    told = "a folder: there is no radosgw here, so the store never fails"

    def __init__(self, root):
        self.root, self.env = root, unclouded()

    def urls(self, db):
        """Where the worker writes and where we read."""
        place = f"{self.root}/replicas/{db.app}-{db.name}"
        os.makedirs(place)
        os.chown(place, db.uid, db.uid)
        return "file://" + place, "file://" + place

    def credentials(self):
        return None

    def stop(self):
        pass


class S3:
    """radosgw, and for the workers a proxy that fails before it."""

    def __init__(self, root, seed):
        self.root, self.env = root, unclouded()
        done = run([SERVERS + "/ceph.sh", "start", root + "/ceph"])
        if done.returncode:
            raise FileNotFoundError((done.stderr.strip().splitlines() or ["ceph.sh failed"])[-1])
        found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        self.env |= found
        self.of = {k.removeprefix("LITESTREAM_TEST_S3_"): v for k, v in found.items()}
        self.env["LITESTREAM_ACCESS_KEY_ID"] = self.of["ACCESS_KEY_ID"]
        self.env["LITESTREAM_SECRET_ACCESS_KEY"] = self.of["SECRET_ACCESS_KEY"]
        host, port = self.of["ENDPOINT"].removeprefix("http://").split(":")
        self.faults = Faults(root, host, port, seed, self.env)
        self.told = "radosgw behind a proxy that fails"

    def urls(self, db):
        place = f"s3://{self.of['BUCKET']}/{db.app}-{db.name}?endpoint="
        return f"{place}http://127.0.0.1:{self.faults.port}", place + self.of["ENDPOINT"]

    def credentials(self):
        return {"access_key_id": self.of["ACCESS_KEY_ID"], "secret_access_key": self.of["SECRET_ACCESS_KEY"]}

    def kill_gateway(self, down):
        """kill -9, nothing for so many seconds, and up again."""
        with open(self.of["GATEWAY_PIDFILE"], encoding="ascii") as f:
            os.kill(int(f.read()), signal.SIGKILL)
        time.sleep(down)
        if (done := run([SERVERS + "/ceph.sh", "restart-gateway", self.root + "/ceph"])).returncode:
            raise RuntimeError("radosgw did not come back: " + done.stderr)

    def keep(self, db):
        """Copies what the replica holds into a folder: the server is in memory."""
        os.environ.update({k: v for k, v in self.env.items() if k.startswith("LITESTREAM_TEST_S3_")})
        bucket, prefix = self.of["BUCKET"], f"{db.app}-{db.name}/"
        for line in run([SERVERS + "/s3.py", "ls", bucket, prefix], env=self.env).stdout.splitlines():
            key = line.split()[0]
            path = f"{self.root}/replica/{key}"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            try:
                body = s3.request("GET", bucket, key)[1]
            except (OSError, SystemExit) as e:
                body = f"could not be read: {e}".encode()
            with open(path, "wb") as f:
                f.write(body)

    def stop(self):
        self.faults.stop()
        run([SERVERS + "/ceph.sh", "stop", self.root + "/ceph"])


# ---- apps ----


class Habit:
    """One process of an app, started again whenever it was killed."""

    def __init__(self, db, number, name, rate):
        self.db, self.number, self.name, self.rate = db, number, name, rate
        self.noted = f"{db.root}/noted/{db.app}-{db.name}-{number}"
        self.process, self.killed, self.runs = None, False, 0

    def command(self, *more):
        return [
            self.db.tool, "-w", self.number, "-S", self.db.seed + self.runs, "-r", self.rate, "-p", self.db.page_size,
            "-y", self.db.synchronous, "-a", self.noted, *more, self.name, self.db.path,
        ]  # fmt: skip

    def start(self):
        self.runs += 1
        with open(self.db.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in self.command()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                user=self.db.uid, group=self.db.uid, extra_groups=[],
            )  # fmt: skip
        self.killed = False

    def kill(self):
        self.killed = True
        self.process.kill()

    def tend(self):
        """Starts it again; an end that nobody brought about is wrong."""
        code = self.process.poll()
        if code is None:
            return
        if code != -signal.SIGKILL or not (self.killed or self.name == "dying"):
            raise Wrong(f"{self.db.app}/{self.db.name}: the habit {self.name} ended with {code}, see {self.db.log}")
        self.start()

    def end(self):
        """SIGTERM, and waits; one that had been killed just now is fine, too."""
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        if code not in (0, -signal.SIGTERM) and not (code == -signal.SIGKILL and (self.killed or self.name == "dying")):
            raise Wrong(f"{self.db.app}/{self.db.name}: the habit {self.name} ended with {code}, see {self.db.log}")

    def numbers(self):
        try:
            with open(self.noted, "rb") as f:
                found = f.read(8 * len(NOTED))
        except FileNotFoundError:
            found = b""
        return dict(zip(NOTED, struct.unpack(f"={len(NOTED)}q", found.ljust(8 * len(NOTED), b"\0"))))


class Database:
    """One database, its habits, and what a sync has acknowledged of it."""

    def __init__(self, world, app, name, uid, habits, harmed):
        chance = world.chance
        self.root, self.app, self.name, self.uid, self.harmed = world.root, app, name, uid, harmed
        self.tool, self.seed = world.root + "/bin/habits", chance.randrange(1, 2**31)
        self.page_size = chance.choice((512, 1024, 4096, 4096, 8192, 65536))
        self.synchronous = chance.choice(("OFF", "NORMAL", "NORMAL", "FULL"))
        self.dir = f"{world.root}/storage/{app}--db"
        self.path, self.log = f"{self.dir}/{name}", f"{world.root}/log/habits-{app}-{name}.log"
        self.habits = [Habit(self, i + 1, habit, rate) for i, (habit, rate) in enumerate(habits.items())]
        self.lock, self.notes = threading.Lock(), []
        os.makedirs(self.dir, exist_ok=True)
        os.chown(self.dir, uid, uid)
        self.url, self.direct = world.store.urls(self)

    def make(self):
        """The tables, and one commit: no replica is older. The ballast stays as it is, where it is, also in a VACUUM:
        a database that is another one on nine pages of ten, after some seconds without a worker and without the WAL
        that was there, would be taken for a replaced one."""
        made = f"PRAGMA page_size = {self.page_size}; PRAGMA journal_mode = WAL; CREATE TABLE ballast(b BLOB)"
        numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {BALLAST_BYTES // 3000})"
        filled = f"{numbers} INSERT INTO ballast SELECT randomblob(3000) FROM n; VACUUM"
        first = [str(word) for word in self.habits[0].command("-n", 1)]
        for command in (["sqlite3", self.path, made], first, ["sqlite3", self.path, filled]):
            done = run(command, user=self.uid, group=self.uid, extra_groups=[])
            if done.returncode:
                raise Wrong(f"{self.path} could not be made: {done.stderr}")

    def acked(self):
        """The last number of each writer that SQLite has acknowledged."""
        return {h.number: n for h in self.habits if (n := h.numbers()["acked"]) > 0}

    def note(self, numbers, txid):
        """A sync came back: these are in the replica, in the state of this TXID at the latest."""
        entry = {"at": time.time(), "txid": txid, "noted": numbers}
        with self.lock:
            self.notes.append(entry)
            with open(f"{self.root}/noted/{self.app}-{self.name}.log", "a", encoding="utf-8") as f:
                f.write(json.dumps(entry) + "\n")

    def noted(self):
        with self.lock:
            return list(self.notes)

    def wish(self):
        """Of desired/<app>.json."""
        return {
            "id": f"{self.app}-{self.name}-0123456789abcdef", "storage_dir": self.dir, "file": self.name,
            "replica": self.url, "uid": self.uid, "gid": self.uid, "options": {},
        }  # fmt: skip


# ---- all of it ----


class World:
    def __init__(self, build, root, chance, folder):
        self.root, self.chance = root, chance
        self.daemon, self.kills, self.lock = None, collections.Counter(), threading.Lock()
        os.chmod(root, 0o755)
        for name in ("bin", "storage", "log", "noted", "replicas", "out", "data", "data/desired", "data/secrets"):
            os.mkdir(f"{root}/{name}", 0o755)
        os.chmod(root + "/noted", 0o777)
        os.chmod(root + "/data", 0o711)
        for name in ("desired", "secrets"):
            os.chmod(f"{root}/data/{name}", 0o700)
        for name in ("bin/litestream", "bin/litestreamd", "tools/habits", "tools/checker", "tools/pagecmp"):
            shutil.copy(f"{build}/{name}", root + "/bin/")
        self.program = root + "/bin/litestream"
        self.store = self.find_store(chance.randrange(2**31), folder)
        self.databases = [
            Database(self, "one", "a.db", 54101, HABITS, True),
            Database(self, "one", "b.db", 54101, HABITS, True),
            Database(self, "two", "c.db", 54102, UNHARMED, False),
        ]
        self.apps = sorted({db.app for db in self.databases})

    def find_store(self, seed, folder):
        if not folder:
            try:
                return S3(self.root, seed)
            except FileNotFoundError as e:
                print("no S3 server here:", e)
        return Folder(self.root)

    def put(self, path, what):
        """Whole or not at all, for nobody else's eyes."""
        with open(os.open(path + ".new", os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as f:
            json.dump(what, f)
        os.rename(path + ".new", path)

    def begin(self):
        if credentials := self.store.credentials():
            self.put(self.root + "/data/secrets/--global.json", credentials)
        for db in self.databases:
            db.make()
        for app in self.apps:
            wishes = [db.wish() for db in self.databases if db.app == app]
            wish = {"version": 1, "app": app, "running": True, "databases": wishes}
            self.put(f"{self.root}/data/desired/{app}.json", wish)
        self.start_daemon()

    # ---- litestreamd ----

    def start_daemon(self):
        command = [
            self.root + "/bin/litestreamd", "-data-dir", self.root + "/data", "-socket", self.root + "/run/control.sock",
            "-log-dir", self.root + "/log", "-storage-root", self.root + "/storage", "-user", "root", "-group", "daemon",
            "-recheck", "1s", "-backoff", "200ms", "-max-backoff", "2s",
        ]  # fmt: skip
        with open(self.root + "/log/litestreamd.log", "ab") as log:
            self.daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=unclouded())

    def stop_daemon(self, sig):
        self.daemon.send_signal(sig)
        try:
            code = self.daemon.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Wrong(f"litestreamd did not end within {PATIENCE} s of {sig.name}") from None
        if sig == signal.SIGTERM and code:
            raise Wrong(f"litestreamd ended with {code} after SIGTERM")

    def ctl(self, *words):
        """What the daemon says, or None."""
        done = run([self.program, "ctl", "-socket", self.root + "/run/control.sock", "-json", *words])
        return json.loads(done.stdout or "{}") if done.returncode == 0 else None

    def status(self, app):
        """Of each of an app's databases, by its path; {} while nobody answers."""
        found = self.ctl("status", app)
        return {d["path"]: d for d in found["apps"][0]["databases"]} if found else {}

    def check_states(self, app):
        """A store that fails makes a database `behind`; nothing that we do may stop it until a person comes."""
        for path, found in self.status(app).items():
            if found["state"] in ("fenced", "replaced", "denied", "unusable"):
                raise Wrong(f"{path} is {found['state']}: {found['reason']}")

    def workers(self, app):
        return {d["pid"] for d in self.status(app).values() if d["pid"]}

    def sync(self, app, seconds):
        """True when all that was acknowledged before is in the replica; notes that, then."""
        databases = [db for db in self.databases if db.app == app]
        acked = [db.acked() for db in databases]
        if self.ctl("sync", "-timeout", f"{seconds}s", app) is None:
            return False
        status = self.status(app)
        for db, numbers in zip(databases, acked):
            # A worker that was started again just now may not know yet.
            if db.path in status and int(status[db.path]["txid"], 16) > 0:
                db.note(numbers, status[db.path]["txid"])
        return bool(status)

    # ---- the apps ----

    def habits(self):
        return [h for db in self.databases for h in db.habits]

    def tend(self):
        with self.lock:
            for habit in self.habits():
                habit.tend()

    def end_habits(self):
        """All of them at once: nobody waits for another's lock for long."""
        with self.lock:
            for habit in self.habits():
                habit.process.terminate()
            for habit in self.habits():
                habit.end()

    def total(self, what):
        return sum(h.numbers()[what] for h in self.habits())

    def count(self, what, times=1):
        with self.lock:
            self.kills[what] += times

    def close(self):
        for habit in self.habits():
            if habit.process and habit.process.poll() is None:
                habit.process.kill()
                habit.process.wait()
        if self.daemon and self.daemon.poll() is None:
            self.daemon.terminate()
            try:
                self.daemon.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
        self.store.stop()
