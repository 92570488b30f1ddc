#!/usr/bin/env bats
# Two hosts, each with its daemon, and one replica in a real S3 server: the second is fenced and says who has
# the replica and what to do, the first doesn't notice; a person hands it over, and then the first is told.
# plain
load helper
load hosts

setup_file() { two_hosts_and_s3; }
teardown_file() { two_hosts_stop; }

URL_OF="s3://$LITESTREAM_TEST_S3_BUCKET/two"
FIRST="$STORAGE/shop--db/shop.sqlite3" SECOND="$STORAGE/copy--db/copy.sqlite3"

objects() { "$REPO/tests/servers/s3.py" times "$LITESTREAM_TEST_S3_BUCKET" two/ | sort; }

# write APP ROWS: into its one database.
write() { as 32767 "$TOOLS/writer" -n "$2" "$STORAGE/$1--db/$1.sqlite3"; }

# in_replica [WORD...]: rows of the state that a restore with these words brings.
in_replica() {
  host rm -rf "$STORAGE/back"
  dokku storage:ensure-directory back >/dev/null
  dokku litestream:restore "$STORAGE/back" back.sqlite3 "$URL_OF" "$@" >/dev/null
  rows "$STORAGE/back/back.sqlite3"
}

@test "the first host replicates" {
  on first
  daemon_start
  credentials
  app_create shop
  write shop 20
  dokku litestream:create shop "$STORAGE/shop--db" shop.sqlite3 "$URL_OF"
  dokku litestream:start shop
  dokku litestream:sync shop
  [ "$(in_replica)" -eq 20 ]
}

@test "the second is told at create, fenced at start, and puts nothing" {
  on second
  daemon_start
  credentials
  app_create copy
  write copy 50
  run dokku litestream:create copy "$STORAGE/copy--db" copy.sqlite3 "$URL_OF"
  assert_success
  assert_contains "otherwise it stops as fenced"
  objects >"$BATS_FILE_TMPDIR/before"
  run dokku litestream:start copy
  assert_status 8
  assert_contains "dokku litestream:restore copy <db-file> --force"
  assert_contains "dokku litestream:takeover copy"
  state_is copy fenced
  write copy 5
  run dokku litestream:sync copy
  assert_status 8
  # Nor does a new worker, nor a new daemon.
  run dokku litestream:restart copy
  assert_status 8
  daemon_stop
  daemon_start
  wait_until 60 state_is copy fenced
  objects | cmp - "$BATS_FILE_TMPDIR/before"
}

@test "status there: who has the replica, what to do, and exit code 8" {
  on second
  run dokku litestream:status copy
  assert_status 8
  assert_contains "$SECOND: fenced"
  assert_contains "app shop, database shop.sqlite3"
  assert_contains "dokku litestream:takeover copy"
  refute_contains "Fencing:"
  run dokku litestream:logs copy
  assert_contains "app shop, database shop.sqlite3"
}

@test "the first host goes on undisturbed meanwhile" {
  local uploads
  on first
  uploads="$(db_status shop txid)"
  write shop 10
  run dokku litestream:sync shop
  assert_success
  [ "$(in_replica)" -eq 30 ]
  [ "$((16#$(db_status shop txid)))" -gt "$((16#$uploads))" ]
  run dokku litestream:status shop
  assert_success
  assert_contains "$FIRST: replicating"
  refute_contains "Last error"
  run dokku litestream:logs shop
  refute_contains fenced
  refute_contains behind
}

@test "takeover hands it over: the first is fenced, and told by whom" {
  local txid
  on first
  txid="$(db_status shop txid)"
  on second
  run dokku litestream:takeover copy --force
  assert_success
  [ "$(in_replica)" -eq 55 ]
  on first
  write shop 1
  wait_until 60 state_is shop fenced
  objects >"$BATS_FILE_TMPDIR/before"
  run dokku litestream:status shop
  assert_status 8
  assert_contains "app copy, database copy.sqlite3"
  assert_contains "dokku litestream:takeover shop"
  write shop 1
  run dokku litestream:sync shop
  assert_status 8
  objects | cmp - "$BATS_FILE_TMPDIR/before"
  # What the first had shipped stays, as an earlier state of one line.
  [ "$(in_replica --txid "$txid")" -eq 30 ]
  on second
  write copy 5
  run dokku litestream:sync copy
  assert_success
  [ "$(in_replica)" -eq 60 ]
}

@test "a bucket with versions: weak fencing is told at create and in status, and the second stops there too" {
  local bucket="two-versions"
  "$REPO/tests/servers/s3.py" mb "$bucket"
  "$REPO/tests/servers/s3.py" versioning "$bucket"
  on first
  app_create weak
  write weak 20
  run dokku litestream:create weak "$STORAGE/weak--db" weak.sqlite3 "s3://$bucket/weak"
  assert_success
  assert_contains "Fencing is weak"
  dokku litestream:start weak
  dokku litestream:sync weak
  run dokku litestream:status weak
  assert_success
  [[ "$output" =~ Fencing:\ +weak ]]
  on second
  app_create other
  write other 50
  dokku litestream:create other "$STORAGE/other--db" other.sqlite3 "s3://$bucket/weak"
  run dokku litestream:start other
  assert_status 8
  state_is other fenced
  on first
  write weak 5
  run dokku litestream:sync weak
  assert_success
}
