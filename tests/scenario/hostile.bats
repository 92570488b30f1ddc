#!/usr/bin/env bats
# What the user of an app can do to the daemon with the folders that are his: links in the place of the
# database, of its folder, in the state folder, and files that look like an interrupted restore's. Nothing
# of another user's, or of another app's of the same user, is read, shipped or changed. Needs root.

load ../lib/scenario
load ../lib/daemon

# App one is the attacker's; victim belongs to another user, neighbour to the same one.
three_apps() {
  app one $ALICE
  app neighbour $ALICE
  app victim $BOB
  sql neighbour $ALICE "CREATE TABLE secret AS SELECT 'of the neighbour' AS text"
  sql victim $BOB "CREATE TABLE secret AS SELECT 'of the victim' AS text"
  chmod 0755 "$ROOT"/storage/*
  chmod 0644 "$ROOT"/storage/*/app.db
  dir="$ROOT/storage/one--db" state="$DATA/state/one-0123456789abcdef"
  untouched="$(others)"
}

# Everything of the others that must stay as it is. Their own workers do nothing: nobody writes.
others() { find "$ROOT/storage/neighbour--db" "$ROOT/storage/victim--db" -name app.db -exec sha256sum {} + -printf '%p %u %m %n\n'; }

nothing_leaked() {
  [[ "$(others)" == "$untouched" ]]
  ! grep -raqE 'of the (neighbour|victim)' "$ROOT/replicas/one" "$state" "$dir" || false
}

@test "links in the place of the database: refused, and nothing is shipped" {
  local target
  three_apps
  daemon
  ctl wait one
  sql one $ALICE 'INSERT INTO t VALUES (1)'
  ctl sync one
  as $ALICE mv "$dir/app.db" "$dir/kept.db"
  for target in "$ROOT/storage/victim--db/app.db" "$ROOT/storage/neighbour--db/app.db" /etc/shadow ../neighbour--db/app.db; do
    as $ALICE ln -s "$target" "$dir/app.db"
    poll is one state refused
    poll reason_has 'symbolic link'
    [[ "$(worker_of one)" == 0 ]]
    run ctl check one "$dir" app.db "file://$ROOT/replicas/one"
    [[ "$status" -eq 9 && "$output" == *"symbolic link"* ]]
    run ctl restore -force "$dir" app.db "file://$ROOT/replicas/one"
    [[ "$status" -eq 9 && "$output" == *"symbolic link"* ]]
    [[ "$(readlink "$dir/app.db")" == "$target" ]]
    as $ALICE rm "$dir/app.db"
    poll is one state waiting
  done
  # A second name of the neighbour's file, which its owner may make.
  as $ALICE ln "$ROOT/storage/neighbour--db/app.db" "$dir/app.db"
  poll reason_has '2 hard links'
  [[ "$(worker_of one)" == 0 ]]
  as $ALICE rm "$dir/app.db"
  as $ALICE mv "$dir/kept.db" "$dir/app.db"
  poll is one state replicating
  nothing_leaked
}

@test "the database is swapped to and fro while workers come and go" {
  local n
  three_apps
  daemon -recheck 20ms
  ctl wait one
  # Between the look of root and the opening by the worker there is always a moment.
  spawn swapper "${as_alice[@]}" bash -c 'while :; do
    mv "$0/app.db" "$0/kept.db"; ln -s "$1" "$0/app.db"; sleep 0.0$((RANDOM % 9)); rm "$0/app.db"
    mv "$0/kept.db" "$0/app.db"; sleep 0.0$((RANDOM % 9)); done' "$dir" "$ROOT/storage/neighbour--db/app.db"
  for ((n = 0; n < 40; n++)); do
    ctl reload one >/dev/null || true
    ctl check one "$dir" app.db "file://$ROOT/replicas/one" >/dev/null 2>&1 || true
  done
  kill -KILL "$(pid_of swapper)"
  wait "$(pid_of swapper)" || true
  rm "$BATS_TEST_TMPDIR/swapper.pid"
  end litestreamd
  nothing_leaked
}

@test "a mount's folder whose parent is the attacker's: another folder in its place" {
  local mine="$ROOT/mine"
  three_apps
  mkdir "$mine"
  mv "$dir" "$mine/db"
  chown $ALICE:$ALICE "$mine"
  desire one $ALICE true '{}' "$mine/db"
  jq '.databases[0].mount = true' "$DATA/desired/one.json" | put "$DATA/desired/one.json"
  daemon
  ctl wait one
  dir="$mine/db"
  as $ALICE mv "$mine/db" "$mine/kept"
  as $ALICE ln -s "$ROOT/storage/victim--db" "$mine/db"
  poll is one state refused
  poll reason_has 'symbolic link'
  run ctl restore "$mine/db" new.db "file://$ROOT/replicas/one"
  [[ "$status" -ne 0 ]]
  [[ ! -e "$ROOT/storage/victim--db/new.db" ]]
  as $ALICE rm "$mine/db"
  as $ALICE mv "$mine/kept" "$mine/db"
  poll is one state replicating
  nothing_leaked
}

@test "links in the state folder lead nowhere, and removing it follows none" {
  local name
  three_apps
  # A worker that can't ship its last commits is given so long for it.
  daemon -shutdown-timeout 2s
  ctl wait one
  desire one $ALICE false
  poll is one state stopped
  as $ALICE rm -rf "$state/ltx"
  as $ALICE ln -s "$ROOT/storage/neighbour--db" "$state/ltx"
  for name in state.json pages restored.json restored.pages; do
    as $ALICE ln -sf "$ROOT/storage/neighbour--db/app.db" "$state/$name"
  done
  desire one $ALICE true
  settled() { [[ "$(field one state)" =~ ^(replicating|unusable|behind|fenced|starting|restarting)$ && "$(worker_of one)" -gt 0 ]]; }
  poll settled
  sql one $ALICE 'INSERT INTO t VALUES (1)'
  ctl sync -timeout 5 one || true
  [[ "$(others)" == "$untouched" ]]
  [[ ! -e "$ROOT/storage/neighbour--db/0" ]]
  desire one $ALICE false
  poll is one state stopped
  as $ALICE mkdir -p "$state/deep"
  as $ALICE ln -s "$ROOT/storage/neighbour--db" "$state/deep/link"
  as $ALICE ln -s "$ROOT/storage/victim--db" "$state/staging-1"
  rm "$DATA/desired/one.json"
  ended() { ctl forget one-0123456789abcdef; }
  poll ended
  [[ ! -e "$state" && "$(others)" == "$untouched" ]]
}

@test "what looks like an interrupted restore is obeyed as its owner, and in that folder only" {
  local file victim="$ROOT/storage/victim--db" inode
  three_apps
  inode="$(printf '%x' "$(stat -c %i "$ROOT/storage/neighbour--db/app.db")")"
  daemon
  ctl wait one
  sql one $ALICE 'INSERT INTO t VALUES (1)'
  ctl sync one
  desire one $ALICE false
  poll is one state stopped
  for file in ../neighbour--db/app.db "$ROOT/storage/neighbour--db/app.db" .app.db.x/../../neighbour--db/app.db; do
    jq -nc --arg file "$file" --arg inode "$inode" '{version: 1, time: "20261121T153000Z", new_file: $file, new: $inode,
      database: "0", wal: "0", shm: "0", journal: "0"}' | as $ALICE sh -c 'cat >"$0/.app.db.restoring"' "$dir"
    run ctl restore -force "$dir" app.db "file://$ROOT/replicas/one"
    [[ "$status" -eq 9 && "$output" == *"can't be read"* ]]
    as $ALICE rm "$dir/.app.db.restoring"
  done
  for file in /etc/shadow "$victim/app.db" "$ROOT/storage/neighbour--db/app.db"; do
    as $ALICE ln -s "$file" "$dir/.app.db.restoring"
    run ctl restore -force "$dir" app.db "file://$ROOT/replicas/one"
    [[ "$status" -ne 0 ]]
    [[ "$output" != *root:* && "$output" != *"of the"* ]]
    as $ALICE rm "$dir/.app.db.restoring"
  done
  nothing_leaked
  ctl restore -force "$dir" app.db "file://$ROOT/replicas/one"
}
