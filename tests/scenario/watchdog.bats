#!/usr/bin/env bats
# A worker that hangs holds a read mark, or even the write lock, that the app waits for. litestreamd kills it before
# an app with a busy timeout of 5 s is told "busy". The worker is a real one, stopped by SIGSTOP, or with threads
# stopped where they are (tests/tools/freezer.c).
# plain

load ../lib/scenario
load ../lib/daemon

# An app that has its database open, does nothing until the file `go` is there, and then commits and checkpoints with a
# timeout of 5 s.
quiet_app() {
  local dir="$ROOT/storage/one--db"
  # shellcheck disable=SC2016 # that shell's
  spawn app "${as_alice[@]}" bash -c '{
    echo ".timeout 5000"
    echo "INSERT INTO t VALUES (1);"
    echo ".system touch opened"
    while [[ ! -e "$1/go" ]]; do sleep 0.02; done
    echo "INSERT INTO t VALUES (2); PRAGMA wal_checkpoint(TRUNCATE);"
  } | (cd "$1" && exec sqlite3 app.db)' bash "$dir"
  poll test -e "$dir/opened"
}

# The app goes on, and is told BUSY (0 or 1) by its checkpoint.
checkpoint_is() {
  touch "$ROOT/storage/one--db/go"
  finish app
  [[ "$(tail -n 1 "$BATS_TEST_TMPDIR/app.out")" == "$1|"* ]]
}

# begin FLAG…: a daemon, and a worker that holds the database of an app that has it open.
begin() {
  app one $ALICE
  daemon "$@"
  ctl wait one
  pid="$(worker_of one)"
}
restarted() { [[ "$(worker_of one)" -gt 0 && "$(worker_of one)" != "$pid" ]] && is one state replicating; }

@test "asleep and stopped with SIGSTOP: killed, and the app's TRUNCATE is not busy" {
  begin
  quiet_app
  ctl sync one
  sleep 2 # it promises to speak again in some seconds
  kill -STOP "$pid"
  checkpoint_is 0
  poll restarted
  in_log one 'was stopped by a signal for'
  ctl sync one
  [[ "$(restored one 'SELECT max(n) FROM t')" == 2 ]]
}

@test "without the watchdog it would be" {
  begin -watchdog 1h
  quiet_app
  ctl sync one
  kill -STOP "$pid"
  checkpoint_is 1
  kill -CONT "$pid"
  ctl sync one
  [[ "$(worker_of one)" == "$pid" ]]
}

@test "stopped for a moment: it goes on" {
  begin -watchdog 30s
  kill -STOP "$pid"
  stopped() { [[ "$(proc "$pid" State)" == T* ]]; }
  poll stopped
  kill -CONT "$pid"
  sql one $ALICE 'INSERT INTO t VALUES (1)'
  ctl sync one
  [[ "$(worker_of one)" == "$pid" ]]
}

# frozen HOW OPTIONS-JSON TRUNCATE-MS WRITER-FLAG…: beside an app that commits, and truncates so often (0 = never),
# threads of the worker hang.
frozen() {
  local how="$1" db="$ROOT/storage/one--db/app.db"
  cp "$TOOLS/writer" "$TOOLS/truncater" "$ROOT/bin/"
  app one $ALICE "$2"
  daemon
  ctl wait one
  pid="$(worker_of one)"
  spawn writer "${as_alice[@]}" "$ROOT/bin/writer" "${@:4}" "$db"
  spawn truncater "${as_alice[@]}" "$ROOT/bin/truncater" -i "$3" "$db"
  written() { [[ "$(sql one $ALICE 'SELECT count(*) > 100 FROM commits')" == 1 ]]; }
  poll written
  spawn freezer "$TOOLS/freezer" "$pid" "$how" "$db-shm"
  poll gone "$pid"
  finish freezer || {
    [[ "$?" -ne 3 ]] || skip "nobody may be traced here"
    return 1
  }
  poll restarted
  end writer
  end truncater
  echo "# frozen for $(tail -n 1 freezer.out) ms; $(json commits writer.out) commits, the longest" \
    "$(json commit_max_us writer.out) us; $(json truncate_calls truncater.out) truncates," \
    "the longest $(json truncate_max_us truncater.out) us" >&3
  [[ "$(json busy writer.out)" -eq 0 && "$(json truncate_busy truncater.out)" -eq 0 ]]
  in_log one 'was silent for'
  ctl sync one
  "$LITESTREAM" restore -o restored.db "file://$ROOT/replicas/one"
  "$TOOLS/checker" restored.db "1:$(json last writer.out)"
}

@test "a turn that hangs with its pin, while the rest goes on" {
  cd "$BATS_TEST_TMPDIR"
  frozen turns '{}' 200 -r 50
  in_log one 'following its WAL is stuck'
}

@test "a barrier that hangs with the write lock" {
  cd "$BATS_TEST_TMPDIR"
  frozen barrier '{"barrier-size": "1MiB"}' 0 -r 2000
}

@test "the thread that waits hangs while the app writes" {
  cd "$BATS_TEST_TMPDIR"
  frozen main '{}' 200 -r 50
}
