#!/usr/bin/env bats
# litestreamd asked which replicas are below a URL: who reads, and what becomes of it; and the mode
# of what it restores.

load ../lib/scenario
load ../lib/daemon

replicated() {
  app one "$ALICE"
  app two "$BOB"
  daemon
  ctl wait one
  ctl wait two
  # A claim is told after the file that it is about.
  poll test -e "$ROOT/replicas/one/litestream.json"
  poll test -e "$ROOT/replicas/two/litestream.json"
}

# What the list says of the replica at this path.
of() { jq -r --arg path "$1" ".replicas[] | select(.path == \$path) | $2" "$BATS_TEST_TMPDIR/list.json"; }

@test "discover: read as the folder's owner, as nobody where that is root" {
  replicated
  chmod 0700 "$ROOT/replicas/one"
  chmod -R a+rX "$ROOT/replicas/two"
  ctl discover "file://$ROOT/replicas" >"$BATS_TEST_TMPDIR/list.json"
  [[ "$(of two .app)" == two && "$(of two .database)" == app.db && "$(of two .owner)" -eq "$BOB" ]]
  [[ "$(of two .txid)" =~ ^0+[1-9a-f]+$ && "$(of two .code)" -eq 0 ]]
  # Nobody may not look into what is Alice's own; she may.
  [[ "$(of one .code)" -eq 6 && "$(of one .app)" == null ]]
  ctl discover "file://$ROOT/replicas/one" >"$BATS_TEST_TMPDIR/list.json"
  [[ "$(of "" .app)" == one && "$(of "" .storage)" == one--db ]]
  run ctl discover "file://$ROOT/no-such-folder"
  [[ "$status" -eq 3 && "$output" == *no-such-folder* ]]
  run ctl discover "gopher://x"
  [[ "$status" -eq 2 ]]
  run ctl discover /
  [[ "$status" -eq 2 ]]
  run ctl -app ../x discover "file://$ROOT/replicas"
  [[ "$status" -eq 2 ]]
}

# A server that takes connections and answers nothing: prints its port, then holds.
silent_server() {
  spawn silent python3 -uc 'import socket, time
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1])
time.sleep(600)'
  poll test -s "$BATS_TEST_TMPDIR/silent.out"
  SILENT="127.0.0.1:$(cat "$BATS_TEST_TMPDIR/silent.out")"
}
job_of() { pgrep -P "$(pid_of litestreamd)" -f 'litestream job'; }

@test "discover: the job is nobody's, holds up nobody, and ends with the daemon" {
  replicated
  printf '{"access_key_id":"a","secret_access_key":"the-secret"}' | put "$DATA/secrets/--global.json"
  silent_server
  spawn client "$ROOT/bin/litestream" ctl -socket "$ROOT/run/control.sock" discover "s3://bucket/x?endpoint=http://$SILENT"
  poll job_of
  local job
  job="$(job_of)"
  [[ "$(proc "$job" Uid)" == "65534 65534 65534 65534" && "$(proc "$job" Groups)" == "" ]]
  [[ "$(tr '\0' ' ' <"/proc/$job/cmdline")" != *the-secret* ]]
  # Others don't wait for it.
  ctl sync one
  ctl discover "file://$ROOT/replicas/two" >"$BATS_TEST_TMPDIR/list.json"
  [[ "$(of "" .app)" == two ]]
  kill -TERM "$(pid_of litestreamd)"
  poll gone "$job"
  finish litestreamd
  run finish client
  [[ "$status" -ne 0 ]]
}

@test "restore: a new file gets the mode that was asked for" {
  replicated
  mkdir "$ROOT/storage/copy--db"
  chown "$ALICE:$ALICE" "$ROOT/storage/copy--db"
  ctl restore -mode 0640 "$ROOT/storage/copy--db" a.db "file://$ROOT/replicas/one"
  [[ "$(stat -c '%a %u' "$ROOT/storage/copy--db/a.db")" == "640 $ALICE" ]]
  # Its owner always reads and writes it.
  ctl restore -mode 044 "$ROOT/storage/copy--db" b.db "file://$ROOT/replicas/one"
  [[ "$(stat -c %a "$ROOT/storage/copy--db/b.db")" == 644 ]]
  ctl restore "$ROOT/storage/copy--db" c.db "file://$ROOT/replicas/one"
  [[ "$(stat -c %a "$ROOT/storage/copy--db/c.db")" == 644 ]]
  run ctl restore -mode 4755 "$ROOT/storage/copy--db" d.db "file://$ROOT/replicas/one"
  [[ "$status" -eq 2 ]]
  run ctl restore -mode rw "$ROOT/storage/copy--db" d.db "file://$ROOT/replicas/one"
  [[ "$status" -eq 2 ]]
  [[ ! -e "$ROOT/storage/copy--db/d.db" ]]
}
