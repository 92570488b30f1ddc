#!/usr/bin/env bats
# The app deletes or replaces its database while we run. What it has then is its own: no byte of it is ours, nothing of
# it is shipped until a person says so, and the replica still has what was there before.
# plain

load ../lib/scenario

state_is() {
  [[ "$("$LITESTREAM" status -json -socket "$BATS_TEST_TMPDIR/ship.sock" | jq -r '.[0].state')" == "$1" ]]
}
file() { sha256sum <app.db; }
let_go() { [[ ! -e app.db-wal && ! -e app.db-shm ]]; }

# A database of 300 commits is in the replica. In `other.db` is another one, of writer 7.
begin() {
  "$TOOLS/writer" -w 1 -n 300 -s 2000 -a ack1 "$db" >/dev/null
  replicate ship "$db" "$url"
  sync_now ship "$db"
  "$TOOLS/writer" -w 7 -n 400 -s 2000 -S 7 -a ack7 other.db >/dev/null
}

# kept FILE: the replica has the former database, and the app's is as `file` told.
kept() {
  poll state_is replaced
  run sync_now ship "$db"
  [[ "$status" -ne 0 ]]
  [[ "$(file)" == "$1" && ! -s app.db-wal ]]
  restore kept.db "$url"
  "$TOOLS/checker" kept.db 1:300
  [[ "$(sqlite3 kept.db 'SELECT count(*) FROM commits')" -eq 300 ]]
}

# By a person's word the new one goes on from there, and an earlier time still has the former one.
accepted() {
  end ship
  rm -f ship.sock
  replicate ship "$db" "$url" -accept
  "$TOOLS/writer" -w 7 -n 10 -a ack7 "$db" >/dev/null
  sync_now ship "$db"
  end ship
  same_as_source "$db" "$url" after.db
  "$TOOLS/checker" after.db "7:$(acked ack7)"
}

@test "moved over while the app has it open, by an app that goes on with the new one" {
  begin
  spawn reader "$TOOLS/reader" "$db"
  spawn writer "$TOOLS/writer" -w 7 -n 100 -a ack7 other.db
  finish writer
  mv other.db app.db
  rm -f app.db-wal app.db-shm
  end reader
  # The app writes on into the new one, which we don't touch.
  "$TOOLS/writer" -w 7 -n 100 -a ack7 app.db >/dev/null
  kept "$(file)"
  "$TOOLS/checker" app.db "7:$(acked ack7)"
  accepted
}

@test "deleted by the app, and made anew" {
  begin
  rm -f app.db app.db-wal app.db-shm
  "$TOOLS/writer" -w 7 -n 50 -s 2000 -S 3 -a ackn app.db >/dev/null
  kept "$(file)"
  cp ackn ack7
  accepted
}

@test "another one copied over it, in place, by a user who has stopped the app" {
  begin
  poll let_go # as the app's last close would have done, within a second
  cp other.db app.db
  kept "$(file)"
  cmp other.db app.db
  accepted
}

@test "copied over while the app has it open: the copy may be lost, the replica not, and we write nothing" {
  begin
  spawn reader "$TOOLS/reader" "$db"
  cp other.db app.db
  # The app reads a mixture of both, as without us, and may have ended of it.
  kill -KILL "$(pid_of reader)" || true
  finish reader || true
  poll state_is replaced
  restore kept.db "$url"
  "$TOOLS/checker" kept.db 1:300
  cmp other.db app.db
}

@test "deleted, and never made again; then the former one comes back" {
  begin
  poll let_go
  mv app.db aside.db
  gone() { state_is waiting || state_is replaced || state_is behind; }
  poll gone
  mv aside.db app.db
  poll state_is replicating
  "$TOOLS/writer" -w 1 -n 10 -a ack1 "$db" >/dev/null
  sync_now ship "$db"
  end ship
  same_as_source "$db" "$url" after.db
  "$TOOLS/checker" after.db 1:310
}

# One row more is shipped, and the replica never got the whole database again.
goes_on() {
  poll state_is replicating
  "$TOOLS/writer" -w 1 -n 10 -a ack1 "$db" >/dev/null
  sync_now ship "$db"
  [[ "$(find replica/ltx/0 -size +100k | wc -l)" -eq 1 ]]
  end ship
  same_as_source "$db" "$url" after.db
  "$TOOLS/checker" after.db "1:$(acked ack1)"
}

@test "renamed away and restored while all runs: it goes on behind that, with what changed" {
  begin
  mv app.db aside.db
  "$LITESTREAM" restore -o app.db "$url"
  goes_on
}

@test "deleted with all that belongs to it, an earlier state restored" {
  begin
  local earlier
  earlier="$("$LITESTREAM" ltx -json -level 0 "$replica" | jq -r '.[-1].max_txid')"
  "$TOOLS/writer" -w 1 -n 5 -a ack1 "$db" >/dev/null
  sync_now ship "$db"
  rm -f app.db app.db-wal app.db-shm
  poll state_is waiting
  rm -r .app.db-litestream
  "$LITESTREAM" restore -o app.db -txid "$earlier" "$url"
  [[ "$(sqlite3 app.db 'SELECT max(seq) FROM commits')" -eq 300 ]]
  poll state_is replicating
  sync_now ship "$db"
  restore now.db "$url"
  [[ "$(sqlite3 now.db 'SELECT max(seq) FROM commits')" -eq 300 ]]
  end ship
}

@test "a replicator that began without a database waits for the one that is restored" {
  begin
  end ship
  rm -rf ship.sock app.db* .app.db-litestream
  replicate ship "$db" "$url"
  poll state_is waiting
  "$LITESTREAM" restore -o app.db "$url"
  goes_on
}
