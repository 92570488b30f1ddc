#!/usr/bin/env bats
# litestream:create: what it tells of the store and of what is in it, briefly, and registers all the same.
# plain
load helper

setup_file() {
  machine_with_app store-app
  [[ -z "$NO_MACHINE" ]] || return 0
  as 32767 "$TOOLS/writer" -n 20 "$DIR/one.db"
}
teardown() {
  [[ -z "$NO_MACHINE" ]] || return 0
  dokku --force litestream:destroy store-app >/dev/null 2>&1 || true
  [[ ! -f "$BATS_TEST_TMPDIR/s3.pid" ]] || kill "$(cat "$BATS_TEST_TMPDIR/s3.pid")" || true
}

# s3 FLAG...: a server of these habits; its credentials are the app's.
s3() {
  python3 "$REPO/tests/bench/counting_s3.py" "$@" >"$BATS_TEST_TMPDIR/s3" 3>&- &
  echo "$!" >"$BATS_TEST_TMPDIR/s3.pid"
  wait_until 60 grep -q http "$BATS_TEST_TMPDIR/s3"
  printf 'key\nsecret\n' | dokku litestream:auth store-app --endpoint "$(cat "$BATS_TEST_TMPDIR/s3")"
}
objects() { python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())' "$(cat "$BATS_TEST_TMPDIR/s3")/-/counts" | jq .objects; }

create() { run dokku litestream:create store-app "$DIR" "$@"; }

@test "a store without peculiarities: not a word about it, and nothing left in it" {
  s3
  create one.db s3://bucket/plain
  assert_success
  refute_contains " ! "
  [ "$(objects)" -eq 0 ]
}

@test "a bucket with versions, one that overwrites" {
  s3 --weak --versioned
  create one.db s3://bucket/versioned
  assert_success
  assert_contains "Fencing is weak"
  assert_contains "removes noncurrent versions"
  refute_contains "may not delete"
}

@test "credentials that may not delete: create succeeds and says it once" {
  s3 --no-delete --versioned
  create one.db s3://bucket/kept
  assert_success
  [ "$(grep -c "may not delete" <<<"$output")" -eq 1 ]
  assert_contains "dokku litestream:set store-app one.db retention false"
  # Where nothing can be deleted, nobody needs to know what becomes of it.
  refute_contains "noncurrent versions"
  run dokku litestream:start store-app
  assert_success
  dokku litestream:sync store-app
  [ "$(db_status store-app state)" = replicating ]
}

@test "backups of Litestream 0.3 in the replica's place: told, left alone, restored as before" {
  local old="$LIB_ROOT/replicas/old" before
  host mkdir -p "$old"
  host cp -r "$REPO/tests/data/litestream-0.3.13/generations" "$old/"
  host chown -R 32767:32767 "$old"
  before="$(host sh -c "cd $old && find generations -type f | sort | xargs sha256sum")"
  create not-yet.db "file://$old"
  assert_contains "before the app makes a new database: dokku litestream:restore store-app not-yet.db"
  dokku --force litestream:destroy store-app
  create one.db "file://$old"
  assert_success
  assert_contains "holds backups of Litestream 0.3: they stay as they are and can be restored as before"
  assert_contains "it stops as fenced until dokku litestream:takeover store-app one.db"
  refute_contains "The replica holds a database already"
  # It is another database than they hold: a person has to say that it is to go on.
  run dokku litestream:start store-app
  assert_status 8
  assert_contains "pages differ from the replica's latest state (Litestream 0.3's, of "
  assert_contains "run dokku litestream:takeover store-app"
  run dokku litestream:takeover store-app --force
  assert_success
  run dokku litestream:logs store-app
  assert_contains "holds backups of Litestream 0.3"
  dokku litestream:stop store-app
  [ "$(host sh -c "cd $old && find generations -type f | sort | xargs sha256sum")" = "$before" ]
  host rm -r "$old"
}

@test "a replica of Litestream 0.5: how many pages differ, and on from it after a restore" {
  local replica="$LIB_ROOT/replicas/lit"
  host mkdir -p "$replica"
  host cp -r "$REPO/tests/data/litestream-0.5/0.5.18/ltx" "$replica/"
  host chown -R 32767:32767 "$replica"
  as 32767 "$TOOLS/writer" -n 3 "$DIR/lit.db"
  create lit.db "file://$replica"
  assert_success
  assert_contains "The replica holds a database already (by an unknown writer)"
  run dokku litestream:start store-app
  assert_status 8
  assert_contains "pages differ from the replica's latest state (TXID 000000000000001f of "
  assert_contains "nothing was uploaded"
  run dokku litestream:takeover store-app </dev/null
  assert_contains "It holds TXID 000000000000001f of "
  run dokku litestream:restore store-app lit.db --force
  assert_success
  wait_until 60 host test -e "$replica/ltx/0/0000000000000020-0000000000000020.ltx"
  wait_until 60 state_is store-app replicating
  dokku litestream:stop store-app
  host rm -r "$replica"
}

@test "a replica that holds a database: whose, what start does, how to go on" {
  local replica="file://$LIB_ROOT/replicas/one"
  dokku litestream:create store-app "$DIR" one.db "$replica"
  dokku litestream:start store-app
  dokku litestream:sync store-app
  wait_until 60 host test -e "$LIB_ROOT/replicas/one/litestream.json"
  dokku --force litestream:destroy store-app

  # Another database that is there: start is fenced, as was told, and a restore in its place goes on.
  as 32767 "$TOOLS/writer" -n 3 "$DIR/two.db"
  create two.db "$replica"
  assert_success
  assert_contains "The replica holds a database already (app store-app, database one.db, written on host "
  assert_contains "otherwise it stops as fenced"
  assert_contains "dokku litestream:restore store-app two.db --force"
  assert_contains "dokku litestream:destroy store-app two.db"
  run dokku litestream:start store-app
  assert_status 8
  run dokku litestream:restore store-app two.db --force
  assert_success
  [ "$(rows "$DIR/two.db")" -eq 20 ]
  wait_until 60 state_is store-app replicating
  dokku --force litestream:destroy store-app

  # None yet: restore comes first.
  create three.db "$replica"
  assert_success
  assert_contains "before the app makes a new database: dokku litestream:restore store-app three.db"
  refute_contains "otherwise it stops as fenced"
  run dokku litestream:restore store-app three.db
  assert_success
  run dokku litestream:start store-app
  assert_success
  [ "$(rows "$DIR/three.db")" -eq 20 ]
}
