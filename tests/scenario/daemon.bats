#!/usr/bin/env bats
# litestreamd with real workers under real uids, told what to do as the plugin tells it: by files in
# desired/ and secrets/ and by `litestream ctl`. Needs root, to become other users.

load ../lib/scenario
load ../lib/daemon

@test "a worker is the owner, and nothing else" {
  app one $ALICE
  daemon
  ctl wait one
  local pid
  pid="$(worker_of one)"
  [[ "$(proc "$pid" Uid)" == "$ALICE $ALICE $ALICE $ALICE" ]]
  [[ "$(proc "$pid" Gid)" == "$ALICE $ALICE $ALICE $ALICE" ]]
  [[ -z "$(proc "$pid" Groups)" ]]
  [[ "$(proc "$pid" NoNewPrivs)" == 1 ]]
  [[ "$(proc "$pid" CapEff)" == 0000000000000000 ]]
  grep -qE '^Max core file size +0 +0 ' "/proc/$pid/limits"
  # Not dumpable: its files in /proc are root's, so its own user can't look into it.
  [[ "$(stat -c %u "/proc/$pid/environ")" == 0 ]]
  ! as $ALICE cat "/proc/$pid/environ" 2>/dev/null || false
  # No descriptor of the daemon's: only its own log, channel, and what it opened below its folders.
  ! ls -l "/proc/$pid/fd" | grep -E 'control.sock|/desired|/secrets|\.lock$' || false
  [[ "$(stat -c '%u %a' "$DATA/state/one-0123456789abcdef")" == "$ALICE 700" ]]
  [[ "$(stat -c '%u %G %a' "$ROOT/log/one.log")" == "0 $SOCKET_GROUP 640" ]]
  [[ "$(stat -c '%G %a' "$ROOT/run/control.sock")" == "$SOCKET_GROUP 660" ]]
}

@test "sync returns when what was committed is in the replica; two apps go on by themselves" {
  app one $ALICE
  app two $BOB
  daemon
  ctl wait one
  ctl wait two
  sql one $ALICE 'INSERT INTO t VALUES (1)'
  sql two $BOB 'INSERT INTO t VALUES (2)'
  ctl sync one
  # The status is not older than the sync.
  [[ "$(field one pending_bytes)" == 0 && "$((16#$(field one txid)))" -ge 2 ]]
  # What is in the replica, how far back it goes, what was asked of the store.
  [[ "$(field one earliest_txid)" == 0000000000000001 && "$(field one latest_txid)" == "$(field one txid)" ]]
  [[ "$(field one replica_files)" -ge 2 && "$(field one requests.put)" -ge 2 && "$(field one upkeep_error)" == null ]]
  [[ "$(field one earliest_at)" < "$(field one latest_at)" && "$(field one snapshot_at)" == "$(field one earliest_at)" ]]
  ctl sync two
  [[ "$(restored one 'SELECT n FROM t')" == 1 ]]
  [[ "$(restored two 'SELECT n FROM t')" == 2 ]]
  [[ "$(proc "$(worker_of two)" Uid)" == "$BOB $BOB $BOB $BOB" ]]
  [[ "$(ctl list -json | jq -c '[.databases[] | [.app, .status]] | sort')" == '[["one","replicating"],["two","replicating"]]' ]]
  [[ "$(ctl info -json | jq -c '[.protocol, .workers, .databases]')" == '[1,2,2]' ]]
}

@test "a killed worker is started again, later each time, and nothing is lost" {
  app one $ALICE
  daemon
  ctl wait one
  local pid
  pid="$(worker_of one)"
  kill -KILL "$pid"
  sql one $ALICE 'INSERT INTO t VALUES (1)'
  restarted() { [[ "$(worker_of one)" -gt 0 && "$(worker_of one)" != "$pid" ]] && is one state replicating; }
  poll restarted
  ctl sync one
  [[ "$(restored one 'SELECT n FROM t')" == 1 ]]
  [[ "$(ctl status -json one | jq '.apps[0].restarts')" == 1 ]]
  in_log one 'killed by signal 9'
  # Each wait is announced; with the bounds given it begins within 0.1 to 0.2 s and doubles.
  for _ in 1 2; do
    pid="$(worker_of one)"
    kill -KILL "$pid"
    poll restarted
  done
  local waits
  waits="$(sed -n 's/.*started again in \([0-9.]*\) s.*/\1/p' "$ROOT/log/one.log" | tail -3 | xargs)"
  echo "waits: $waits"
  awk '{ exit !(NF == 3 && $1 <= 0.3 && $3 >= 0.3 && $3 <= 0.9) }' <<<"$waits"
}

@test "a worker that hangs is killed by the watchdog" {
  app one $ALICE
  daemon -watchdog 6s
  ctl wait one
  local pid
  pid="$(worker_of one)"
  kill -STOP "$pid"
  poll gone "$pid"
  restarted() { [[ "$(worker_of one)" -gt 0 && "$(worker_of one)" != "$pid" ]] && is one state replicating; }
  poll restarted
  in_log one 'was stopped by a signal for 6'
}

@test "another owner stops the worker with a reason, the right one brings it back" {
  app one $ALICE
  daemon
  ctl wait one
  local pid
  pid="$(worker_of one)"
  chown $BOB "$ROOT/storage/one--db/app.db"
  poll is one state refused
  poll gone "$pid"
  reason_has "belongs to uid $BOB, but was created here for uid $ALICE"
  [[ "$(field one code)" == 9 ]]
  in_log one "belongs to uid $BOB"
  run ctl wait one
  [[ "$status" -eq 9 ]]
  run ctl sync one
  [[ "$status" -eq 9 ]]
  chown $ALICE "$ROOT/storage/one--db/app.db"
  poll is one state replicating
}

@test "links, other folders and files of root are refused with a reason" {
  local dir="$ROOT/storage/one--db"
  app one $ALICE
  mkdir "$ROOT/elsewhere"
  chown $ALICE "$ROOT/elsewhere"
  daemon
  ctl wait one

  mv "$dir" "$ROOT/storage/real"
  ln -s real "$dir"
  poll reason_has 'symbolic link'
  is one state refused
  rm "$dir"
  mv "$ROOT/storage/real" "$dir"
  poll is one state replicating

  mv "$dir/app.db" "$dir/real.db"
  as $ALICE ln -s real.db "$dir/app.db"
  poll reason_has 'app.db is a symbolic link'
  is one state refused
  rm "$dir/app.db"
  ln "$dir/real.db" "$dir/app.db"
  poll reason_has '2 hard links'
  rm "$dir/app.db"

  desire one $ALICE true '{}' "$ROOT/elsewhere"
  poll reason_has 'is not below'
  [[ "$(worker_of one)" == 0 ]]
}

@test "a database of root: confined; where nothing confines, if the administrator allows it" {
  local dir="$ROOT/storage/rooted--db"
  app rooted 0
  daemon -confinement none
  poll is rooted state refused
  field rooted reason | grep -q -- '-allow-root-databases'
  run ctl restore "$dir" new.db "file://$ROOT/replicas/rooted"
  [[ "$status" -eq 9 && "$output" == *"belongs to root"* ]]
  end litestreamd

  daemon -confinement none -allow-root-databases
  ctl wait rooted
  is rooted confinement none
  end litestreamd

  daemon
  ctl wait rooted
  [[ "$(ctl info -json | jq -r .confinement)" == "$(field rooted confinement)" ]]
  local pid set
  pid="$(worker_of rooted)"
  [[ "$(proc "$pid" Uid)" == "0 0 0 0" && "$(proc "$pid" NoNewPrivs)" == 1 ]]
  for set in CapInh CapPrm CapEff CapBnd CapAmb; do
    [[ "$(proc "$pid" "$set")" == 0000000000000000 ]]
  done
}

@test "secrets are in no argument, environment, log, status or answer" {
  app one $ALICE
  mkdir -p "$DATA/secrets"
  echo '{"access_key_id": "AKIDEXAMPLE", "secret_access_key": "hush-HUSH-hush", "session_token": "tell-NOBODY"}' \
    | put "$DATA/secrets/one.json"
  daemon -log-level trace
  ctl wait one
  sql one $ALICE 'INSERT INTO t VALUES (1)'
  ctl sync one
  ctl check one "$ROOT/storage/one--db" app.db "file://$ROOT/replicas/one" >"$ROOT/answers"
  # A store that refuses the key: it says so without it.
  run ctl check one "$ROOT/storage/one--db" app.db "s3://bucket/x?endpoint=http://127.0.0.1:9"
  [[ "$status" -eq 5 ]]
  {
    echo "$output"
    ctl status -json
    ctl list
    cat "$ROOT"/log/* "$BATS_TEST_TMPDIR"/litestreamd.{out,err}
  } >>"$ROOT/answers"
  local pid
  for pid in "$(worker_of one)" "$(pid_of litestreamd)"; do
    cat "/proc/$pid/cmdline" "/proc/$pid/environ" >>"$ROOT/answers"
  done
  ! grep -aE 'hush|NOBODY' "$ROOT/answers" || false
  ! grep -raE 'hush|NOBODY' "$DATA/state" "$ROOT/replicas" || false
}

@test "only root and the group may speak to it" {
  app one $ALICE
  daemon
  run as $STRANGER "$ROOT/bin/litestream" ctl -socket "$ROOT/run/control.sock" info
  [[ "$status" -eq 6 ]]
  [[ "$output" == *"no permission"* ]]
  # Even through a socket that anybody may open: the kernel says who is there.
  chmod 0666 "$ROOT/run/control.sock"
  run as $STRANGER "$ROOT/bin/litestream" ctl -socket "$ROOT/run/control.sock" info
  [[ "$status" -eq 6 ]]
  [[ "$output" == *"uid $STRANGER may not speak"* ]]
  setpriv --reuid $STRANGER --regid $STRANGER --groups "$(getent group "$SOCKET_GROUP" | cut -d: -f3)" \
    "$ROOT/bin/litestream" ctl -socket "$ROOT/run/control.sock" info
}

@test "SIGTERM ships the last commits, and a dead daemon's worker does so too" {
  app one $ALICE '{"sync-interval": "1h"}'
  daemon
  ctl wait one
  local pid n
  for n in 1 2 3; do sql one $ALICE "INSERT INTO t VALUES ($n)"; done
  pid="$(worker_of one)"
  end litestreamd
  gone "$pid"
  [[ "$(restored one 'SELECT count(*) FROM t')" == 3 ]]
  [[ ! -e "$ROOT/run/control.sock" ]]
  grep -q 'stopped$' "$BATS_TEST_TMPDIR/litestreamd.err"

  daemon
  ctl wait one
  for n in 4 5; do sql one $ALICE "INSERT INTO t VALUES ($n)"; done
  pid="$(worker_of one)"
  kill -KILL "$(pid_of litestreamd)"
  finish litestreamd || true
  poll gone "$pid"
  [[ "$(restored one 'SELECT count(*) FROM t')" == 5 ]]
  # The socket that it left behind is no obstacle.
  daemon
  ctl wait one
}

@test "what is desired is followed: stop, start, other options, gone" {
  app one $ALICE
  daemon
  ctl wait one
  local pid
  pid="$(worker_of one)"
  # The same again starts nothing anew.
  desire one $ALICE true
  ctl reload one >/dev/null
  [[ "$(worker_of one)" == "$pid" ]]
  desire one $ALICE false
  ctl reload one
  poll is one state stopped
  poll gone "$pid"
  [[ "$(ctl status -json one | jq -r '.apps[0].worker')" == stopped ]]
  run ctl sync one
  [[ "$status" -eq 1 && "$output" == *"is stopped"* ]]
  # Without being told, by the watch on the folder alone.
  desire one $ALICE true
  poll is one state replicating
  pid="$(worker_of one)"
  desire one $ALICE true '{"sync-interval": "2s"}'
  changed() { [[ "$(worker_of one)" -gt 0 && "$(worker_of one)" != "$pid" ]] && is one state replicating; }
  poll changed
  pid="$(worker_of one)"
  echo '{"access_key_id": "AKIDEXAMPLE", "secret_access_key": "another"}' | put "$DATA/secrets/--global.json"
  poll changed
  pid="$(worker_of one)"
  # A folder in the place of the watched one.
  mv "$DATA/desired" "$DATA/before"
  desire one $ALICE false
  poll is one state stopped
  desire one $ALICE true
  poll is one state replicating
  pid="$(worker_of one)"
  rm "$DATA/desired/one.json"
  poll gone "$pid"
  forgotten() { ! ctl status one; }
  poll forgotten
}

@test "a file that can't be believed changes nothing, and is said" {
  app one $ALICE
  daemon
  ctl wait one
  local pid stop
  pid="$(worker_of one)" stop="$(jq '.running = false' "$DATA/desired/one.json")"
  # wish OWNER MODE: its worker is to end, say whom nobody believes; the file is never seen with another mode.
  wish() {
    echo "$stop" >"$DATA/wish"
    chown "$1" "$DATA/wish"
    chmod "$2" "$DATA/wish"
    mv "$DATA/wish" "$DATA/desired/one.json"
  }
  echo '{"version": 1, "app": "one", "runing": true, "databases": []}' | put "$DATA/desired/one.json"
  run ctl reload one
  [[ "$status" -eq 2 && "$output" == *'unknown key "runing"'* ]]
  wish 0 0666
  run ctl reload one
  [[ "$status" -eq 6 && "$output" == *"can be written by others"* ]]
  wish $ALICE 0600
  run ctl reload one
  [[ "$status" -eq 6 && "$output" == *"belongs to uid $ALICE"* ]]
  [[ "$(worker_of one)" == "$pid" ]]
  ctl status -json one | jq -r '.apps[0].error' | grep -q 'belongs to uid'
}

@test "an app under a new name: its worker begins when the old one's has ended" {
  app one $ALICE
  daemon
  ctl wait one
  local old
  old="$(worker_of one)"
  # A crash in the middle of the rename leaves both.
  jq '.app = "two"' "$DATA/desired/one.json" | put "$DATA/desired/two.json"
  poll is two state refused
  [[ "$(field two reason)" == "the worker of app one still has it" ]]
  [[ "$(worker_of one)" == "$old" ]]
  sql one $ALICE 'INSERT INTO t VALUES (1)'
  rm "$DATA/desired/one.json"
  poll is two state replicating
  gone "$old"
  ctl sync two
  [[ "$(ctl status -json two | jq '.apps[0].restarts')" == 0 ]]
  ! in_log two ERROR || false
  [[ "$(restored one 'SELECT n FROM t')" == 1 ]]
}

@test "restore: as the owner of the folder, and its worker goes on from there" {
  app one $ALICE
  daemon
  ctl wait one
  sql one $ALICE 'INSERT INTO t VALUES (1)'
  ctl sync one
  local dir="$ROOT/storage/one--db" url="file://$ROOT/replicas/one"
  run ctl restore "$dir" app.db "$url"
  [[ "$status" -eq 4 ]]
  [[ "$output" == *"cannot restore, output path already exists: $dir/app.db"* ]]
  mkdir "$ROOT/storage/copy--db"
  chown $BOB:$BOB "$ROOT/storage/copy--db"
  chmod 0755 "$ROOT/replicas/one"
  # Its claim is the last of what the replicator writes there for now.
  poll test -e "$ROOT/replicas/one/litestream.json"
  find "$ROOT/replicas/one" -exec chmod a+rX {} +
  ctl restore "$ROOT/storage/copy--db" app.db "$url"
  [[ "$(stat -c %u:%g "$ROOT/storage/copy--db/app.db")" == "$BOB:$BOB" ]]
  [[ "$(sqlite3 "$ROOT/storage/copy--db/app.db" 'SELECT n FROM t')" == 1 ]]
  run ctl restore "$ROOT/storage/copy--db" b.db "file://$ROOT/replicas/nothing"
  [[ "$status" -eq 3 ]]
  run ctl restore "$ROOT/storage/copy--db" ../b.db "$url"
  [[ "$status" -eq 2 ]]
  run ctl restore -txid 1 -timestamp 2026-01-01T00:00:00Z "$ROOT/storage/copy--db" b.db "$url"
  [[ "$status" -eq 2 ]]

  # The database is lost while its worker runs; the restored one is taken up.
  rm -f "$dir"/app.db*
  ctl restore "$dir" app.db "$url"
  ctl wait one
  sql one $ALICE 'INSERT INTO t VALUES (2)'
  ctl sync one
  [[ "$(restored one 'SELECT count(*) FROM t')" == 2 ]]
}

@test "restore -only-missing: a database that is there is left alone, and an empty replica is no error" {
  app one $ALICE
  daemon
  ctl wait one
  sql one $ALICE 'INSERT INTO t VALUES (1)'
  ctl sync one
  local dir="$ROOT/storage/one--db" url="file://$ROOT/replicas/one" pid holder
  missing() { run ctl restore -json -only-missing "$dir" "$@"; }
  skipped() { [[ "$status" -eq 0 && "$(jq -r 'select(.result).result.skipped' <<<"$output")" == "$1" ]]; }
  # The worker isn't disturbed, the replica isn't asked, and a replica that can't be is no matter.
  pid="$(worker_of one)"
  missing app.db file:///no/such/replica
  skipped database
  [[ "$(worker_of one)" == "$pid" ]]
  missing new.db "file://$ROOT/replicas/nothing"
  skipped replica
  [[ ! -e "$dir/new.db" ]]

  # Missing, with an old log beside it, which is put aside; then with no bytes, as SQLite opens a new one.
  rm -f "$dir"/app.db*
  as $ALICE sh -c "echo old >$dir/app.db-wal"
  missing app.db "$url"
  [[ "$status" -eq 0 && "$(cat "$dir"/app.db.before-*-wal)" == old ]]
  ctl wait one
  [[ "$(sql one $ALICE 'SELECT n FROM t')" == 1 ]]
  rm -f "$dir"/app.db*
  as $ALICE touch "$dir/app.db"
  spawn holder "${as_alice[@]}" sh -c "exec sleep 600 3<$dir/app.db"
  holder="$(pid_of holder)"
  poll test -e "/proc/$holder/fd/3"
  held() { missing app.db "$url" && [[ "$status" -eq 9 && "$output" == *"process $holder"* ]]; }
  poll held
  [[ ! -s "$dir/app.db" ]]
  kill "$holder"
  poll gone "$holder"
  missing app.db "$url"
  [[ "$status" -eq 0 && "$(stat -c %u:%g "$dir/app.db")" == "$ALICE:$ALICE" ]]
  ctl wait one
  sql one $ALICE 'INSERT INTO t VALUES (2)'
  ctl sync one
  [[ "$(restored one 'SELECT count(*) FROM t')" == 2 ]]

  # A replica that is suddenly empty is no first deploy.
  rm -f "$dir"/app.db*
  mv "$ROOT/replicas/one" "$ROOT/replicas/unmounted"
  missing app.db "$url"
  [[ "$status" -eq 3 && "$output" == *"was uploaded to it from here"* && ! -e "$dir/app.db" ]]
}

@test "check: finds as the owner what would keep a database from being replicated" {
  app one $ALICE
  daemon
  local dir="$ROOT/storage/one--db" url="file://$ROOT/replicas/one"
  [[ "$(ctl check one "$dir" app.db "$url" | jq -c '[.uid, .gid, .exists, .journal_mode, .fencing]')" == "[$ALICE,$ALICE,true,\"wal\",\"strong\"]" ]]
  [[ "$(ctl check one "$dir" new.db "$url" | jq -c '[.uid, .exists, .journal_mode]')" == "[$ALICE,false,null]" ]]
  as $ALICE sh -c "echo 'this is not a database, but it is long enough to look like one: is it? no, it is not, really not' >$dir/text"
  run ctl check one "$dir" text "$url"
  [[ "$status" -eq 9 && "$output" == *"$dir/text"* ]]
  run ctl check one "$dir" app.db "gopher://x"
  [[ "$status" -eq 2 ]]
  run ctl check one "$dir" app.db-wal "$url"
  [[ "$status" -eq 2 ]]
  run ctl check one "$ROOT/storage/none" app.db "$url"
  [[ "$status" -eq 9 && "$output" == *"there is no folder"* ]]
  run ctl check one "$ROOT/replicas" app.db "$url"
  [[ "$status" -eq 2 && "$output" == *"is not below"* ]]
  chmod 0555 "$dir"
  run ctl check one "$dir" app.db "$url"
  [[ "$status" -eq 9 && "$output" == *"can't write to the folder"* ]]
  chmod 0755 "$dir"
  # Exclusive locking mode: held by another process for as long as that lives.
  mkfifo "$ROOT/hold"
  chmod 0666 "$ROOT/hold"
  spawn holder "${as_alice[@]}" sqlite3 -init "$ROOT/hold" "$dir/held.db"
  exec 4>"$ROOT/hold"
  echo 'PRAGMA journal_mode=WAL; PRAGMA locking_mode=EXCLUSIVE; CREATE TABLE t (n); SELECT 1;' >&4
  exclusive() { run ctl check one "$dir" held.db "$url" && [[ "$status" -eq 9 && "$output" == *exclusive* ]]; }
  poll exclusive
  exec 4>&-
  finish holder
}

@test "mistakes at the start: another daemon, no root, no group" {
  app one $ALICE
  daemon
  run timeout 20 "$ROOT/bin/litestreamd" -data-dir "$DATA" -socket "$ROOT/run/other.sock" \
    -log-dir "$ROOT/log" -storage-root "$ROOT/storage" -user root -group root
  [[ "$status" -eq 1 && "$output" == *"another litestreamd"* ]]
  run as $ALICE "$ROOT/bin/litestreamd" -data-dir "$ROOT/d"
  [[ "$status" -eq 2 && "$output" == *"must be started by root"* ]]
  run "$ROOT/bin/litestreamd" -group no-such-group-here
  [[ "$status" -eq 2 ]]
  ctl info
}

@test "sync: a worker that starts, or starts anew, is waited for; not one that failed" {
  app one $ALICE
  daemon
  ctl sync one
  # Seven times, because a worker is quick.
  for ms in 11 12 13 14 15 16 17; do
    desire one $ALICE true "{\"sync-interval\": \"${ms}ms\"}"
    sql one $ALICE "INSERT INTO t VALUES ($ms)"
    ctl reload one
    ctl sync one
    [[ "$(restored one 'SELECT max(n) FROM t')" == "$ms" ]]
  done
  # A program that can't be started at all.
  local pid
  pid="$(worker_of one)"
  mv "$ROOT/bin/litestream" "$ROOT/bin/gone"
  kill -9 "$pid"
  waits() { [[ "$("$ROOT/bin/gone" ctl -socket "$ROOT/run/control.sock" status -json one | jq -r '.apps[0].worker')" == restarting ]]; }
  poll waits
  # Each time for a moment it is one that starts.
  refused() {
    run "$ROOT/bin/gone" ctl -socket "$ROOT/run/control.sock" sync one
    [[ "$status" -eq 1 && "$output" == *"is not running (restarting)"* ]]
  }
  poll refused
}

@test "without root, for one's own databases" {
  app one $ALICE
  app two $BOB
  rm -rf "$DATA"
  mkdir -m 0755 "$ROOT/own"
  chown $ALICE:$ALICE "$ROOT/own"
  DATA="$ROOT/own/data"
  desire one $ALICE true
  desire two $BOB true
  chown -R $ALICE:$ALICE "$DATA"
  spawn litestreamd "${as_alice[@]}" "$ROOT/bin/litestreamd" \
    -run-as-self -data-dir "$DATA" -socket "$ROOT/own/control.sock" -log-dir "$ROOT/own/log" \
    -storage-root "$ROOT/storage" -recheck 200ms -backoff 200ms
  ctl() { "$ROOT/bin/litestream" ctl -socket "$ROOT/own/control.sock" "$@"; }
  poll ctl info
  ctl wait one
  sql one $ALICE 'INSERT INTO t VALUES (1)'
  ctl sync one
  [[ "$(restored one 'SELECT n FROM t')" == 1 ]]
  [[ "$(field two state)" != replicating ]]
  [[ "$(worker_of two)" == 0 ]]
}
