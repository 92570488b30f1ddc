#!/usr/bin/env bats
# How a replicator ends: everything shipped, the database left as an app's last close leaves it, one
# wish to stop counted once.

load ../lib/scenario

make_app() {
  sqlite3 "$db" 'PRAGMA journal_mode=WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1)' >/dev/null
}

# An app that has the database open: what is written to descriptor 7 are its statements.
open_app() {
  rm -f statements
  mkfifo statements
  spawn app bash -c "sqlite3 -cmd '.timeout 5000' '$db' <statements"
  exec 7>statements
}

# say SQL RESULT: one statement, until its result is there.
say() {
  echo "$1" >&7
  poll grep -qx "$2" app.out
}

close_app() {
  exec 7>&-
  finish app
}

@test "a clean end with nobody else connected leaves no -wal and no -shm" {
  make_app
  replicate r "$db" "$url"
  sqlite3 "$db" 'INSERT INTO t VALUES (2)'
  end r
  [[ ! -e "$db-wal" && ! -e "$db-shm" ]]
  restore back.db "$url"
  "$TOOLS/pagecmp" "$db" back.db
}

@test "a clean end beside a connected app leaves its -wal alone" {
  make_app
  open_app
  say 'INSERT INTO t VALUES (2); SELECT count(*) FROM t;' 2
  replicate r "$db" "$url"
  sync_now r "$db"
  end r
  [[ -e "$db-wal" ]]
  say 'INSERT INTO t VALUES (3); SELECT count(*) FROM t;' 3
  close_app
  [[ "$(sqlite3 "$db" 'PRAGMA integrity_check; SELECT count(*) FROM t')" == $'ok\n3' ]]
}

@test "a signal that comes twice at once is one wish" {
  make_app
  replicate r "$db" "$url"
  kill -TERM "$(pid_of r)"
  kill -TERM "$(pid_of r)" || true
  finish r
  grep -q 'shipping what is left' r.err
  run grep -q 'ending at once' r.err
  [[ "$status" -ne 0 ]]
  restore back.db "$url"
}

@test "letting go and coming back is not told as a new start each time" {
  make_app
  replicate r "$db" "$url"
  local i
  for i in 2 3; do
    poll test ! -e "$db-wal"
    open_app
    say "INSERT INTO t VALUES ($i); SELECT count(*) FROM t;" "$i"
    sync_now r "$db"
    close_app
  done
  poll test ! -e "$db-wal"
  end r
  [[ "$(grep -c 'going on where the last run stopped' r.err)" -eq 0 ]]
  restore back.db "$url"
  [[ "$(sqlite3 back.db 'SELECT count(*) FROM t')" -eq 3 ]]
}
