#!/usr/bin/env bats
# Apps of other SQLites than ours beside our replicator: one that is older than all that counts (3.7.17, of CentOS 7);
# FULL=1 also 3.8.6, 3.8.11.1, 3.24.0, 3.25.2 and one that is newer than ours. What differs between them is in
# docs/WAL.md, "SQLite versions".
# plain

load ../lib/scenario
load ../lib/old-sqlite

# with VERSION: $apps are the programs of that SQLite.
with() {
  apps="$(old_sqlite "$1" 2>"$BATS_TEST_TMPDIR/why")" || skip "$(tail -n 1 "$BATS_TEST_TMPDIR/why")"
  "$apps/writer" -w 1 -n 1 -a ack1 "$db" >/dev/null
  replicate ship "$db" "$url"
  sync_now ship "$db"
}
full() { [[ -n "$FULL" ]] || skip "FULL=1 has it"; }

# killed NAME: SIGKILL, waited for.
killed() {
  kill -KILL "$(pid_of "$1")"
  finish "$1" || true
}

# What is in the store is what the app has, for a checker of our SQLite and of the app's.
all_there() {
  same_as_source "$db" "$url" after.db
  "$TOOLS/checker" after.db "$@"
  "$apps/checker" after.db "$@"
}

# The app's own answers from the reports of `busy`: nothing that waits was refused, and nobody met a lock protocol
# that had broken down.
nobody_refused() {
  jq -c 'map_values(if type == "object" then [.calls, .busy, .busy_snapshot, .protocol] else . end)' busy.out
  [[ "$(jq '[to_entries[] | select(.value | type == "object") | .value | .protocol + .locked + .busy_recovery] | add' \
    busy.out)" -eq 0 ]]
  [[ "$(jq '[.open, .read, .write, .begin_immediate, .in_transaction, .commit, .vacuum | .busy] | add' busy.out)" -eq 0 ]]
}

# Writers, of which one is killed again and again, a reader, and an app that vacuums, checkpoints in all modes, opens
# and closes.
everyday() {
  with "$1"
  local seconds=4 noted1 noted2 name
  [[ -z "$FULL" ]] || seconds=20
  spawn writer1 "$apps/writer" -w 1 -r 200 -a ack1 -t "$seconds" -T 20000 "$db"
  spawn writer2 "$apps/writer" -w 2 -r 200 -b 3 -S 2 -a ack2 "$db"
  spawn reader "$apps/reader" -p 20 -t "$seconds" "$db"
  spawn truncater "$apps/truncater" -i 300 -t "$seconds" "$db"
  spawn busy "$apps/busy" -t "$((seconds - 1))" -T 20000 -S "${SEED:-1}" several "$db"
  for _ in 1 2 3 4; do
    sleep "0.$RANDOM"
    killed writer2
    spawn writer2 "$apps/writer" -w 2 -r 200 -b 3 -S 2 -a ack2 "$db"
  done
  noted1="$(acked ack1)" noted2="$(acked ack2)"
  sync_now ship "$db"
  restore during.db "$url"
  "$TOOLS/checker" during.db "1:$noted1" "2:$noted2"
  end writer2
  for name in writer1 reader truncater busy; do
    finish "$name"
  done
  nobody_refused
  sync_now ship "$db"
  end ship
  all_there "1:$(acked ack1)" "2:$(acked ack2)"
}

# A writer dies between the two copies of the wal-index header. Below 3.33 nobody of the app's can recover that beside
# our read mark ("locking protocol" after 10 s, for ever), so we do.
dies_while_publishing() {
  with "$1"
  local name
  spawn reader "$apps/reader" "$db"
  for _ in 1 2 3; do
    spawn writer2 "$apps/writer" -w 2 -x 10 -a ack2 "$db"
    local code=0
    finish writer2 || code="$?"
    [[ "$code" -eq 137 ]]
    "$apps/writer" -w 1 -n 20 -T 20000 -a ack1 "$db" >/dev/null
  done
  grep -c 'its WAL index was recovered' ship.err || true
  # All die at once, we too: the app's next start recovers the WAL alone, and we find our place in it.
  spawn writer2 "$apps/writer" -w 2 -r 500 -a ack2 "$db"
  sleep 0.5
  kill -KILL "$(pid_of writer2)" "$(pid_of ship)" "$(pid_of reader)"
  for name in writer2 ship reader; do
    finish "$name" || true
  done
  rm -f ship.sock
  "$apps/writer" -w 1 -n 20 -a ack1 "$db" >/dev/null
  replicate ship "$db" "$url"
  "$apps/writer" -w 1 -n 20 -a ack1 "$db" >/dev/null
  sync_now ship "$db"
  end ship
  all_there "1:$(acked ack1)" "2:$(acked ack2)"
}

@test "3.7.17: writers, readers, checkpoints, VACUUM, kill -9" { everyday 3.7.17; }
@test "3.7.17: a writer that dies while it publishes, and all at once" { dies_while_publishing 3.7.17; }

@test "3.8.6: all of it" {
  full
  everyday 3.8.6
}
@test "3.8.11.1: all of it" {
  full
  everyday 3.8.11.1
}
@test "3.24.0: all of it" {
  full
  everyday 3.24.0
}
@test "3.25.2: all of it" {
  full
  everyday 3.25.2
}
@test "3.25.2: a writer that dies while it publishes, and all at once" {
  full
  dies_while_publishing 3.25.2
}
@test "3.54.1: all of it" {
  full
  everyday 3.54.1
}
@test "3.54.1: a writer that dies while it publishes, and all at once" {
  full
  dies_while_publishing 3.54.1
}
