#!/usr/bin/env bats
# The commands that reach into a replica, on a real S3 server: accept and takeover, a person's word on a
# database that is replaced or fenced, good for one time.
load helper

setup_file() {
  machine_start
  [[ -z "$NO_MACHINE" ]] || return 0
  s3_start
  [[ -z "$NO_S3" ]] || return 0
  tools_install
  daemon_start
  app_create word-app
  app_create other-app
  printf '%s\n' "$LITESTREAM_TEST_S3_ACCESS_KEY_ID" "$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY" \
    | dokku litestream:auth --endpoint "$LITESTREAM_TEST_S3_ENDPOINT"
  export DIR="$STORAGE/word-app--db" OTHER="$STORAGE/other-app--db" URL="s3://$LITESTREAM_TEST_S3_BUCKET/reach"
  dokku storage:ensure-directory --chown 32767 word-copy
  export COPY="$STORAGE/word-copy"
}
teardown_file() {
  s3_stop
  machine_stop
}
setup() {
  need_machine
  [[ -z "$NO_S3" ]] || skip "$NO_S3"
}

# database APP DB: replicated, with a hundred rows.
database() {
  as 32767 "$TOOLS/writer" -n 100 "$STORAGE/$1--db/$2"
  dokku litestream:create "$1" "$STORAGE/$1--db" "$2" "$URL/$2"
  dokku litestream:start "$1"
}
# state_of APP DB STATE
state_of() {
  [[ "$(dokku litestream:status "$1" --format json \
    | jq -r --arg path "$STORAGE/$1--db/$2" '.databases[] | select(.path == $path) | .state')" == "$3" ]]
}
# in_replica DB WORD...: rows of the state that a restore with these words brings.
in_replica() {
  local db="$1"
  shift
  host sh -c "rm -f $COPY/*"
  dokku litestream:restore "$COPY" "$db" "$URL/$db" "$@" >/dev/null
  rows "$COPY/$db"
}
# replace DB ROWS: another database takes its place.
replace() {
  as 32767 "$TOOLS/writer" -n "$2" "$DIR/new-$1"
  as 32767 sqlite3 "$DIR/new-$1" 'PRAGMA wal_checkpoint(TRUNCATE)'
  host sh -c "rm -f $DIR/$1-wal $DIR/$1-shm $DIR/new-$1-wal $DIR/new-$1-shm && mv $DIR/new-$1 $DIR/$1"
}

@test "accept: nothing to accept, wrong words" {
  database word-app one.db
  run dokku litestream:accept word-app --force
  assert_status 1
  assert_contains "No database of app word-app is replaced"
  run dokku litestream:takeover word-app one.db --force
  assert_status 1
  assert_contains "one.db of app word-app is not fenced"
  run dokku litestream:accept word-app two.db
  assert_status 1
  assert_contains "has no replicated database two.db"
  run dokku litestream:accept no-such-app
  assert_status 20
  run dokku litestream:takeover
  assert_status 2
  # A word that came too early does not lie in wait.
  run host "$LIBDIR/litestream" ctl accept word-app "$DIR/one.db"
  assert_status 1
  assert_contains "is replicating, not replaced"
  run host "$LIBDIR/litestream" ctl takeover word-app "$DIR/none.db"
  assert_status 1
}

@test "accept: asks, ships what stands there now, once" {
  local before
  wait_until 60 state_of word-app one.db replicating
  before="$(db_status word-app txid)"
  replace one.db 7
  wait_until 60 state_of word-app one.db replaced

  run dokku litestream:accept word-app <<<"no"
  assert_status 1
  assert_contains "Another database has taken the place of the one that was replicated: $DIR/one.db"
  assert_contains "become the latest state of $URL/one.db, which holds TXID $before of 20"
  assert_contains "Confirmation did not match word-app. Aborted."
  state_of word-app one.db replaced
  [ "$(in_replica one.db)" -eq 100 ]

  run dokku litestream:accept word-app <<<"word-app"
  assert_success
  assert_contains "$DIR/one.db is replicated"
  [ "$(in_replica one.db)" -eq 7 ]
  [ "$(in_replica one.db --txid "$before")" -eq 100 ]

  # The next one has to be accepted anew, by a worker that lived on and by another.
  replace one.db 3
  wait_until 60 state_of word-app one.db replaced
  dokku litestream:stop word-app
  run dokku litestream:start word-app
  [ "$status" -ne 0 ]
  state_of word-app one.db replaced
  run dokku --quiet litestream:accept word-app one.db --force
  assert_success
  [ -z "$output" ]
  [ "$(in_replica one.db)" -eq 3 ]
  # The app's commits go on behind it.
  as 32767 "$TOOLS/writer" -n 2 "$DIR/one.db"
  dokku litestream:sync word-app
  [ "$(in_replica one.db)" -eq 5 ]
}

@test "takeover: names the other node and its last transaction, and writes the database behind it" {
  local latest host
  # Another app, which stands for another host, has written to the replica.
  as 32767 "$TOOLS/writer" -n 20 "$OTHER/two.db"
  dokku litestream:create other-app "$OTHER" two.db "$URL/two.db"
  dokku litestream:start other-app
  dokku litestream:sync other-app
  latest="$(db_status other-app txid)"
  host mv "$DATA/desired/other-app.json" "$DATA/other-app.away"
  host "$LIBDIR/litestream" ctl reload other-app || true
  as 32767 "$TOOLS/writer" -n 50 "$DIR/two.db"
  dokku litestream:create word-app "$DIR" two.db "$URL/two.db"
  wait_until 60 state_of word-app two.db fenced

  host="$(host hostname)"
  run dokku litestream:takeover word-app </dev/null
  assert_status 1
  assert_contains "was written last by another node. Its litestream.json names host $host, app other-app, database two.db."
  assert_contains "It holds TXID $latest of 20"
  assert_contains "The database here: $DIR/two.db"
  assert_contains "Aborted"
  [ "$(in_replica two.db)" -eq 20 ]

  run dokku litestream:takeover word-app two.db --force
  assert_success
  [ "$(in_replica two.db)" -eq 50 ]
  [ "$(in_replica two.db --txid "$latest")" -eq 20 ]

  # The other one comes back: it is fenced, and this one goes on.
  host mv "$DATA/other-app.away" "$DATA/desired/other-app.json"
  host "$LIBDIR/litestream" ctl reload other-app
  wait_until 60 state_of other-app two.db fenced
  as 32767 "$TOOLS/writer" -n 5 "$DIR/two.db"
  run dokku litestream:sync word-app
  assert_success
  [ "$(in_replica two.db)" -eq 55 ]
}

@test "takeover: a word that was given once is not repeated" {
  # The first takes it back; the second is fenced, and stays so over a restart of its worker.
  run dokku --force litestream:takeover other-app
  assert_success
  [ "$(in_replica two.db)" -eq 20 ]
  as 32767 "$TOOLS/writer" -n 1 "$DIR/two.db"
  wait_until 60 state_of word-app two.db fenced
  run dokku litestream:restart word-app
  assert_status 8
  assert_contains "dokku litestream:takeover word-app, which says first"
  state_of word-app two.db fenced
  [ "$(in_replica two.db)" -eq 20 ]
  run host grep -rlE 'takeover|accept' "$DATA/desired"
  assert_status 1
}
