#!/usr/bin/env bats
# restore -force: an older state in the place of a database, who is in the way, and what comes after.

load ../lib/scenario

txids() { "$LITESTREAM" ltx -level all -json "file://$replica" | jq -r 'map(.max_txid) | sort | .[]'; }

rows() { sqlite3 "$1" "SELECT group_concat(n) FROM t WHERE n > 500"; }

# A database with rows in its -wal that nobody checkpointed, and nobody who has it open.
leave_wal() {
  mkdir aside.tmp
  sqlite3 app.db "INSERT INTO t VALUES (503, 'unshipped')" \
    ".shell cp app.db app.db-wal app.db-shm $PWD/aside.tmp/"
  rm -f app.db app.db-wal app.db-shm
  mv aside.tmp/* .
}

@test "restore -force: an older state, the old set is kept, and replication goes on in one line" {
  ship_rows 400
  leave_wal
  [[ -s app.db-wal ]]
  local first second
  first="$(txids | head -1)"
  run "$LITESTREAM" restore -o app.db "file://$replica"
  [[ "$status" -eq 4 ]]
  chmod 640 app.db
  "$LITESTREAM" restore -force -json -txid "$first" -o app.db "file://$replica" >result
  [[ "$(stat -c %a app.db)" == 640 ]]
  [[ ! -e app.db-wal && ! -e app.db-shm ]]
  [[ -z "$(rows app.db)" ]]
  # What was there, with what was only in its -wal.
  local before
  before="$(jq -r .before result)"
  [[ "$before" == app.db.before-* && -e "$before-wal" && -e "$before-shm" ]]
  [[ "$(rows "$before")" == 501,502,503 ]]

  replicate again "$PWD/app.db" "file://$replica"
  sqlite3 app.db "INSERT INTO t VALUES (900, 'another line')"
  sync_now again "$PWD/app.db"
  # Nothing of the first line is gone, and nothing has forked.
  [[ "$(txids)" == "$(txids | sort -u)" ]]
  second="$(txids | sed -n 3p)"
  "$LITESTREAM" restore -no-state -txid "$second" -o abandoned.db "file://$replica"
  [[ "$(rows abandoned.db)" == 501,502 ]]
  # Refused while a replicator has it, also when it has let go of the idle database.
  local flags
  for flags in '' -no-state; do
    # shellcheck disable=SC2086 # none or one
    run "$LITESTREAM" restore -force $flags -o app.db "file://$replica"
    echo "$output"
    [[ "$status" -eq 1 || "$status" -eq 9 ]]
    [[ "$output" == *"process $(pid_of again)"* ]]
  done
  end again
  same_as_source app.db "file://$replica" copy.db
  [[ "$(rows copy.db)" == 900 ]]
}

@test "restore -force -timestamp: earlier than an abandoned state, which an even later restore still finds" {
  ship_rows 400
  local stamps between
  mapfile -t stamps < <("$LITESTREAM" ltx -level all -json "file://$replica" | jq -r 'sort_by(.max_txid) | .[].timestamp')
  between="${stamps[2]}"
  "$LITESTREAM" restore -force -timestamp "${stamps[1]}" -o app.db "file://$replica"
  [[ "$(rows app.db)" == 501 ]]
  replicate again "$PWD/app.db" "file://$replica"
  sqlite3 app.db "INSERT INTO t VALUES (901, 'second line')"
  sync_now again "$PWD/app.db"
  end again
  # Back to the line that was abandoned, and on from there.
  "$LITESTREAM" restore -force -timestamp "$between" -o app.db "file://$replica"
  [[ "$(rows app.db)" == 501,502 ]]
  replicate third "$PWD/app.db" "file://$replica"
  sqlite3 app.db "INSERT INTO t VALUES (902, 'third line')"
  sync_now third "$PWD/app.db"
  end third
  same_as_source app.db "file://$replica" copy.db
  [[ "$(rows copy.db)" == 501,502,902 ]]
}

@test "restore -force: who has it open is named, and nothing is changed" {
  ship_rows 400
  local first
  first="$(txids | head -1)"
  # A connection in WAL mode; below one that holds no lock at all, only a descriptor.
  mkfifo orders
  spawn app sqlite3 app.db ".read orders"
  exec 9>orders
  echo "SELECT count(*) FROM t;" >&9
  poll test -s app.out
  run "$LITESTREAM" restore -force -txid "$first" -o app.db "file://$replica"
  [[ "$status" -eq 9 && "$output" == *"process $(pid_of app) (sqlite3) has "*"app.db"*" open"* ]]
  exec 9>&-
  finish app
  [[ "$(rows app.db)" == 501,502 ]]
  [[ -z "$(ls -d app.db.before* .app.db.rest* 2>/dev/null)" ]]

  spawn app sleep 600 4<app.db
  poll grep -qx sleep "/proc/$(pid_of app)/comm"
  run "$LITESTREAM" restore -force -txid "$first" -o app.db "file://$replica"
  [[ "$status" -eq 9 && "$output" == *"process $(pid_of app) (sleep)"* ]]
  end app || true
  "$LITESTREAM" restore -force -txid "$first" -o app.db "file://$replica"
  [[ -z "$(rows app.db)" ]]
}

@test "restore -force by somebody who can't look into others' processes: said, and their locks count" {
  [[ "$(id -u)" -eq 0 ]] || skip "needs root"
  "$TOOLS/mkreplica" "$replica" 3
  local box
  box="$(mktemp -d /tmp/ls-in-place.XXXXXX)"
  chmod 0777 "$box"
  # The user must reach the program and the replica.
  cp "$LITESTREAM" "$box/litestream"
  cp -r "$replica" "$box/replica"
  chmod -R a+rX "$box/replica"
  sqlite3 "$box/app.db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(n)' >/dev/null
  chmod 0666 "$box"/app.db*
  run setpriv --reuid 12345 --regid 12345 --clear-groups \
    "$box/litestream" restore -force -o "$box/app.db" "$box/replica"
  echo "$output"
  [[ "$status" -eq 0 && "$output" == *"processes of other users"* ]]
  mkfifo orders
  sqlite3 "$box/other.db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(n)' >/dev/null
  chmod 0666 "$box"/other.db*
  spawn app sqlite3 "$box/other.db" ".read orders"
  exec 9>orders
  echo "SELECT 'open' FROM sqlite_schema;" >&9
  poll test -s app.out
  run setpriv --reuid 12345 --regid 12345 --clear-groups \
    "$box/litestream" restore -force -o "$box/other.db" "$box/replica"
  exec 9>&-
  finish app
  rm -rf "$box"
  echo "$output"
  [[ "$status" -eq 9 && "$output" == *"process "*"has $box/other.db"*" open"* ]]
}

@test "restore -force: what is no file, and flags that exclude each other" {
  "$TOOLS/mkreplica" "$replica" 3
  ln -s elsewhere app.db
  run "$LITESTREAM" restore -force -o app.db "$replica"
  [[ "$status" -eq 4 && "$output" == *"symbolic link"* ]]
  rm app.db
  mkdir app.db
  run "$LITESTREAM" restore -force -o app.db "$replica"
  [[ "$status" -eq 4 && "$output" == *"not a regular file"* ]]
  rmdir app.db
  run "$LITESTREAM" restore -force -if-db-not-exists -o app.db "$replica"
  [[ "$status" -eq 2 ]]
  # Nothing there: as without -force. An old -wal alone goes aside.
  echo old >app.db-wal
  "$LITESTREAM" restore -force -quiet -no-state -o app.db "$replica"
  "$TOOLS/mkreplica" -check 3 app.db
  [[ "$(cat app.db.before-*-wal)" == old && ! -e app.db-wal ]]
}
