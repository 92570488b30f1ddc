#!/usr/bin/env bats
# The supervisor ends by kill -9 at each of its steps (tools/killer: each system call by which it changes a file,
# talks to a worker or a client, or starts a process), while it starts, starts workers, serves clients, restores, is told
# of a new app and of one that is gone, and stops. What it was about to do is done by the next one, or asked for again.
# plain

load ../lib/scenario
load ../lib/daemon

up_or_gone() { ctl info >/dev/null 2>&1 || ! alive litestreamd; }

# Each command fails once there is no daemon any more, and then nothing more is asked.
life() {
  spawn litestreamd "$TOOLS/killer" "$@" "$ROOT/bin/litestreamd" -data-dir "$DATA" -socket "$ROOT/run/control.sock" \
    -log-dir "$ROOT/log" -storage-root "$ROOT/storage" -user root -group "$SOCKET_GROUP" \
    -recheck 200ms -backoff 200ms -max-backoff 2s
  poll up_or_gone
  {
    ctl wait -timeout "${PATIENCE}s" one && commit && ctl sync one && noted="$count" \
      && app two $BOB && ctl reload two && ctl wait -timeout "${PATIENCE}s" two && ctl sync two \
      && ctl restore "$ROOT/storage/copy--db" "copy.db" "file://$ROOT/replicas/one" \
      && desire two $BOB false && ctl reload two && rm "$DATA/desired/two.json" && ctl reload two \
      && kill -TERM "$(pid_of litestreamd)"
  } >/dev/null 2>&1 || true
  local code=0
  finish litestreamd 2>/dev/null || code=$?
  return "$code"
}

commit() {
  count=$((count + 1))
  sql one $ALICE "INSERT INTO t VALUES ($count)"
}

shipped() { find "$ROOT/replicas/one" -name '*.ltx' -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }'; }

no_workers() { ! pgrep -f "^$ROOT/bin/litestream (replicate|job)" >/dev/null; }

# All that was acknowledged is in the replica, and nothing that was never committed.
restorable() {
  local found
  found="$(restored one 'SELECT count(*) FROM t')"
  [[ "$found" -ge "$noted" && "$found" -le "$count" ]] || {
    echo "step $1: $found of $count rows, $noted acknowledged"
    return 1
  }
}

# killed_at STEP: and the next daemon. Sets `over` when a life has no such step. To be called by itself: behind a
# `||` none of its checks would count.
killed_at() {
  local code=0 before
  rm -rf "$ROOT/storage/copy--db/"{.,}copy.db*
  life -n "$1" || code=$?
  [[ "$code" -ne 0 ]] || over=1
  [[ -z "$over" ]] || return 0
  [[ "$code" -eq 77 ]]
  restorable "$1"
  # Workers and jobs don't outlive it.
  poll no_workers
  # A database that is being restored is there as a whole, or not at all.
  [[ ! -e "$ROOT/storage/copy--db/copy.db" ]] || sqlite3 "$ROOT/storage/copy--db/copy.db" 'PRAGMA integrity_check' | grep -qx ok
  before="$(shipped)"
  commit
  daemon
  ctl wait one
  [[ ! -e "$DATA/desired/two.json" ]] || ctl wait two || [[ "$(ctl status -json two | jq -r '.apps[0].databases[0].state')" == stopped ]]
  ctl sync one
  noted="$count"
  end litestreamd
  # Page 1, the row's, and their headers: not the database.
  [[ "$(($(shipped) - before))" -lt 40000 ]]
  restorable "$1"
  [[ -z "$(find "$DATA" "$ROOT/storage" "$ROOT/run" -name '*.tmp*' -o -name '*.new' -o -name 'staging-*' -o -name '.copy.db.*')" ]]
  rm -f "$DATA/desired/two.json"
}

@test "kill -9 of the supervisor at each of its steps: the next one goes on" {
  "$TOOLS/killer" true || [[ "$?" -ne 126 ]] || skip "nobody may trace a process here"
  count=0 noted=0
  app one $ALICE
  sql one $ALICE 'CREATE TABLE big (b); INSERT INTO big VALUES (randomblob(300000))'
  mkdir "$ROOT/storage/copy--db"
  chown "$ALICE:$ALICE" "$ROOT/storage/copy--db"
  life -o "$ROOT/steps"
  local last step stride seed kills=0 over=""
  last="$(wc -l <"$ROOT/steps")"
  seed="${SEED:-$RANDOM}"
  # With FULL=1 each of them, else one of eight, other ones each time.
  stride="$((${FULL:-0} ? 1 : 8))"
  echo "SEED=$seed, $last steps"
  [[ "$last" -gt 50 ]]
  for ((step = 1 + seed % stride; step <= last; step += stride)); do
    killed_at "$step"
    [[ -z "$over" ]] || break
    kills=$((kills + 1))
  done
  echo "$kills kills"
  [[ "$kills" -ge "$((last / stride * 2 / 3))" ]]
}
