#!/usr/bin/env bash
# scenario.bash - what bats files share that run real apps beside a real replicator.
# Loaded with: load ../lib/scenario
# Everything lives below $BATS_TEST_TMPDIR (one folder a test, removed by bats), nothing has a fixed
# port, and every wait has a deadline.

# With bats before 1.4, run.sh gives one folder for all tests of a file: here each gets its own in it.
if [[ -n "$OLD_BATS" ]]; then
  BATS_TEST_TMPDIR="$(mktemp -d "$BATS_FILE_TMPDIR/test.XXXXXX")"
fi

BUILD="${BUILD:-$(cd "$BATS_TEST_DIRNAME/../.." && pwd)/build}"
TOOLS="$BUILD/tools"
LITESTREAM="$BUILD/bin/litestream"
# A sanitised or otherwise slow build may set this to wait longer everywhere.
PATIENCE="${PATIENCE:-60}"

# ---- the place of a test ----

# A test stands in its own folder, where its database and its replica will be.
own_folder() {
  cd "$BATS_TEST_TMPDIR" || return
  db="$PWD/app.db" replica="$PWD/replica" url="file://$PWD/replica"
}

# For files that need nothing else. S3 they start themselves, in setup_file.
setup() { own_folder; }
teardown() { reap; }
teardown_file() { s3_stop; }

# ---- processes ----

# spawn NAME COMMAND…: in the background, output in NAME.out and NAME.err, pid in NAME.pid. A program, not a
# function: of that the pid would be a shell's. Descriptor 3 is bats' own: who inherits it keeps the run from ending.
spawn() {
  local name="$1"
  shift
  "$@" >"$BATS_TEST_TMPDIR/$name.out" 2>"$BATS_TEST_TMPDIR/$name.err" 3>&- </dev/null &
  echo "$!" >"$BATS_TEST_TMPDIR/$name.pid"
}

pid_of() { cat "$BATS_TEST_TMPDIR/$1.pid"; }

alive() { kill -0 "$(pid_of "$1")" 2>/dev/null; }

# has_ended PID: also as a zombie, where nobody waits for orphans.
has_ended() { [[ ! -e "/proc/$1" ]] || grep -qs '^State:.Z' "/proc/$1/status"; }

# finish NAME: waits for its end, within PATIENCE; its exit code. Only in the shell that spawned it.
finish() {
  local pid deadline=$((SECONDS + PATIENCE)) code=0
  pid="$(pid_of "$1")"
  while kill -0 "$pid" 2>/dev/null; do
    if [[ "$SECONDS" -ge "$deadline" ]]; then
      echo "$1 still runs after $PATIENCE s" >&2
      kill -KILL "$pid"
      break
    fi
    sleep 0.05
  done
  wait "$pid" || code=$?
  rm -f "$BATS_TEST_TMPDIR/$1.pid"
  [[ "$code" -eq 0 ]] || cat "$BATS_TEST_TMPDIR/$1.err" >&2
  return "$code"
}

# end NAME: SIGTERM, then finish.
end() {
  kill -TERM "$(pid_of "$1")"
  finish "$1"
}

# In teardown: nothing that a test spawned outlives it, and a failed test shows what they said.
reap() {
  local file name
  for file in "$BATS_TEST_TMPDIR"/*.pid; do
    [[ -f "$file" ]] || continue
    name="$(basename "$file" .pid)"
    kill -KILL "$(cat "$file")" 2>/dev/null || true
    wait "$(cat "$file")" 2>/dev/null || true
    echo "-- $name was still running; it said:"
    tail -n 20 "$BATS_TEST_TMPDIR/$name.out" "$BATS_TEST_TMPDIR/$name.err"
  done
}

# poll COMMAND…: until it succeeds, within PATIENCE.
poll() {
  local deadline=$((SECONDS + PATIENCE))
  until "$@"; do
    [[ "$SECONDS" -lt "$deadline" ]] || {
      echo "never came true: $*" >&2
      return 1
    }
    sleep 0.02
  done
}

# ---- our programs ----

# replicate NAME DB URL [FLAG…]: a replicator beside the app; its control socket is NAME.sock.
replicate() {
  local name="$1" db="$2" url="$3"
  shift 3
  spawn "$name" "$LITESTREAM" replicate -socket "$BATS_TEST_TMPDIR/$name.sock" "$@" "$db" "$url"
  poll replicator_up_or_gone "$name"
  [[ -S "$BATS_TEST_TMPDIR/$name.sock" ]] || {
    cat "$BATS_TEST_TMPDIR/$name.err" >&2
    return 1
  }
}

replicator_up_or_gone() { [[ -S "$BATS_TEST_TMPDIR/$1.sock" ]] || ! alive "$1"; }

# sync_now NAME DB: returns when all that was committed before the call is in the store.
sync_now() {
  "$LITESTREAM" sync -wait -timeout "$PATIENCE" -socket "$BATS_TEST_TMPDIR/$1.sock" "$2"
}

# ship_rows BYTES: app.db, with rows 1 to 500 of so many random bytes in the first transaction, 501 and 502 each in
# one of its own, and all of them in the replica.
ship_rows() {
  sqlite3 "$db" "PRAGMA journal_mode = WAL; CREATE TABLE t(n INTEGER PRIMARY KEY, b);
    WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 500)
    INSERT INTO t SELECT n, randomblob($1) FROM c" >/dev/null
  replicate ship "$db" "$url"
  sync_now ship "$db"
  sqlite3 "$db" "INSERT INTO t VALUES (501, 'two')"
  sync_now ship "$db"
  sqlite3 "$db" "INSERT INTO t VALUES (502, 'three')"
  sync_now ship "$db"
  end ship
}

# two_replicas [LINE]: litestream.yml, with the line in it: app.db has the replicas "near" and "far".
two_replicas() {
  cat >"$LITESTREAM_CONFIG" <<END
${1:-}
dbs:
  - path: $db
    replicas:
      - path: $PWD/near
      - path: $PWD/far
        name: far
END
}

restore() { "$LITESTREAM" restore -o "$@"; }

# Is this a build with a sanitizer?
sanitised() { grep -qE '__(asan|tsan)_init' "$LITESTREAM"; }

# ---- apps ----

# stay_open: an app that has app.db open until it is killed, so that commits of others stay in its WAL.
stay_open() {
  spawn app python3 -c "import sqlite3, sys, time
c = sqlite3.connect(sys.argv[1])
c.execute('SELECT count(*) FROM t').fetchall()
print('open', flush=True)
time.sleep(600)" "$db"
  poll test -s app.out
}

# acked FILE: the number that a writer noted last, from outside of SQLite.
acked() { od -An -td8 "$1" | tr -d ' \n'; }

# json KEY FILE: a number out of a tool's report.
json() { jq -r ".$1" "$2"; }

# fold DB: everything into the database file, as a checkpoint of the app would. No replicator runs.
fold() { sqlite3 "$1" 'PRAGMA wal_checkpoint(TRUNCATE)' | grep -q '^0|'; }

# same_as_source DB URL OUT: restores into OUT and compares with the folded source, page by page.
same_as_source() {
  fold "$1"
  restore "$3" "$2"
  "$TOOLS/pagecmp" "$1" "$3"
  [[ "$(sqlite3 "$3" 'PRAGMA integrity_check')" == ok ]]
}

# ---- S3 ----

# Starts radosgw for this bats file, or uses the one that the environment names. In setup_file.
s3_start() {
  if [[ -z "$LITESTREAM_TEST_S3_ENDPOINT" ]]; then
    local code=0
    "$BATS_TEST_DIRNAME/../servers/ceph.sh" start "$BATS_FILE_TMPDIR/ceph" \
      >"$BATS_FILE_TMPDIR/s3.env" 2>"$BATS_FILE_TMPDIR/s3.err" 3>&- || code=$?
    if [[ "$code" -ne 0 ]]; then
      S3_MISSING="$(tail -n 1 "$BATS_FILE_TMPDIR/s3.err")"
      export S3_MISSING
      return 0
    fi
    set -a
    # shellcheck source=/dev/null
    source "$BATS_FILE_TMPDIR/s3.env"
    set +a
  fi
  export LITESTREAM_ACCESS_KEY_ID="$LITESTREAM_TEST_S3_ACCESS_KEY_ID"
  export LITESTREAM_SECRET_ACCESS_KEY="$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY"
}

# In teardown_file.
s3_stop() {
  [[ ! -d "$BATS_FILE_TMPDIR/ceph" ]] || "$BATS_TEST_DIRNAME/../servers/ceph.sh" stop "$BATS_FILE_TMPDIR/ceph"
}

# First in a test that needs S3.
need_s3() { [[ -z "$S3_MISSING" ]] || skip "no S3 server here: $S3_MISSING"; }

# s3_url NAME: a prefix of its own for each test, file and process.
s3_url() {
  echo "s3://$LITESTREAM_TEST_S3_BUCKET/$$-$BATS_TEST_NUMBER-$1?endpoint=$LITESTREAM_TEST_S3_ENDPOINT"
}
