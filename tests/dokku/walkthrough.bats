#!/usr/bin/env bats
# The way that the README tells, whole: an app on Dokku, its database replicated, lost, brought back
# into a new folder, and compared byte for byte. On a folder and on a real S3 server.
# plain
load helper

setup_file() {
  machine_with_app
}
teardown_file() {
  s3_stop
  machine_stop
}

# walk APP URL: after the credentials were given.
walk() {
  local app="$1" url="$2" dir="$STORAGE/$1--db" copy="$STORAGE/copy-$1--db"
  app_create "$app"
  app_start "$app" "$dir/production.sqlite3" -r 200
  run dokku litestream:create "$app" "$dir" production.sqlite3 "$url"
  assert_success
  run dokku litestream:start "$app"
  assert_success
  wait_until 60 rows_at_least "$dir/production.sqlite3" 300
  run dokku litestream:logs "$app"
  assert_success
  [ "${#lines[@]}" -ge 2 ]

  app_stop "$app"
  run dokku litestream:sync "$app"
  assert_success
  keep_state "$dir/production.sqlite3" "/var/tmp/$app-last"
  run dokku litestream:stop "$app"
  assert_success
  host rm -rf "$dir"

  # The copy's folder is made by it.
  run dokku litestream:restore "$copy" production.sqlite3 "$url"
  assert_success
  host cmp "/var/tmp/$app-last" "$copy/production.sqlite3"
  [ "$(host stat -c '%u:%g' "$copy/production.sqlite3")" = 32767:32767 ]
  run host "$TOOLS/checker" "$copy/production.sqlite3"
  assert_success

  run dokku litestream:restore "$copy" production.sqlite3 "$url"
  assert_status 4
  assert_contains "cannot restore, output path already exists: $copy/production.sqlite3"

  # The copy goes on where the lost one ended: same replica, another folder.
  run dokku --force litestream:destroy "$app"
  assert_success
  dokku storage:mount "$app" "$copy:/app/db/copy"
  run dokku litestream:create "$app" "$copy" production.sqlite3 "$url"
  assert_success
  run dokku litestream:start "$app"
  assert_success
  as 32767 "$TOOLS/writer" -n 10 "$copy/production.sqlite3"
  dokku litestream:sync "$app"
  dokku storage:ensure-directory "third-$app--db"
  run dokku litestream:restore "$STORAGE/third-$app--db" production.sqlite3 "$url"
  assert_success
  [ "$(rows "$STORAGE/third-$app--db/production.sqlite3")" -eq "$(rows "$copy/production.sqlite3")" ]
  dokku --force apps:destroy "$app"
}

@test "the whole way on a folder" {
  host install -d -o 32767 -g 32767 "$LIB_ROOT/replicas"
  walk my-app "file://$LIB_ROOT/replicas/my-app"
}

# rotate DB URL: credentials change under a running replicator, to wrong ones and back.
rotate() {
  local db="$1" secret="$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY"
  dokku litestream:create s3-refused "$(dirname "$db")" x.db "$2"
  dokku litestream:start s3-refused
  # No process but the writer of these lines has the secret in its words or its environment.
  run host bash -c 'cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr "\0" "\n" | grep -ac Litestream/Tes[t]'
  [ "$output" = 0 ]
  printf '%s\n' "$LITESTREAM_TEST_S3_ACCESS_KEY_ID" not-the-secret \
    | dokku litestream:auth --endpoint "$LITESTREAM_TEST_S3_ENDPOINT"
  as 32767 "$TOOLS/writer" -n 3 "$db"
  wait_until 30 state_is s3-refused denied
  run dokku litestream:start s3-refused
  assert_status 6
  printf '%s\n' "$LITESTREAM_TEST_S3_ACCESS_KEY_ID" "$secret" \
    | dokku litestream:auth --endpoint "$LITESTREAM_TEST_S3_ENDPOINT"
  wait_until 30 state_is s3-refused replicating
  dokku litestream:sync s3-refused
  run dokku litestream:restore "$(dirname "$db")" y.db "$2"
  assert_success
  [ "$(rows "$(dirname "$db")/y.db")" -eq 6 ]
}

# A server that takes connections and answers nothing: start gives up waiting, not replicating.
stalled() {
  local gateway
  gateway="$(cat "$LITESTREAM_TEST_S3_GATEWAY_PIDFILE")"
  dokku litestream:stop s3-refused
  kill -STOP "$gateway"
  run dokku litestream:start s3-refused --timeout 2
  kill -CONT "$gateway"
  assert_success
  assert_contains "was not settled within 2 s; it goes on"
  wait_until 30 state_is s3-refused replicating
}

# A versioned bucket takes every PUT, so nothing refuses a second writer: create says so.
weak() {
  export LITESTREAM_TEST_S3_ENDPOINT LITESTREAM_TEST_S3_ACCESS_KEY_ID LITESTREAM_TEST_S3_SECRET_ACCESS_KEY
  "$REPO/tests/servers/s3.py" mb weak-bucket
  "$REPO/tests/servers/s3.py" versioning weak-bucket
  run dokku litestream:create s3-refused "$STORAGE/s3-refused--db" weak.db s3://weak-bucket/x
  assert_success
  assert_contains "Fencing is weak"
  dokku --force litestream:destroy s3-refused weak.db
}

@test "the whole way on S3, and what is refused there" {
  s3_start
  [[ -z "$NO_S3" ]] || skip "$NO_S3"
  # The secret is looked for in every process's environment: none of this test's own may have it.
  export -n "${!LITESTREAM_TEST_S3_@}"
  local url="s3://$LITESTREAM_TEST_S3_BUCKET/dokku" secret="$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY"

  app_create s3-refused
  as 32767 "$TOOLS/writer" -n 3 "$STORAGE/s3-refused--db/x.db"
  run dokku litestream:create s3-refused "$STORAGE/s3-refused--db" x.db "$url/x"
  [ "$status" -ne 0 ]
  printf '%s\n' "$LITESTREAM_TEST_S3_ACCESS_KEY_ID" "wrong-$secret" \
    | dokku litestream:auth --endpoint "$LITESTREAM_TEST_S3_ENDPOINT"
  run dokku litestream:create s3-refused "$STORAGE/s3-refused--db" x.db "$url/x"
  assert_status 6
  refute_contains "wrong-$secret"
  printf '%s\n' "$LITESTREAM_TEST_S3_ACCESS_KEY_ID" "$secret" \
    | dokku litestream:auth --endpoint "$LITESTREAM_TEST_S3_ENDPOINT"
  run dokku litestream:create s3-refused "$STORAGE/s3-refused--db" x.db "s3://no-such-bucket-here/x"
  [ "$status" -ne 0 ]
  assert_contains "no-such-bucket-here"
  run host test -e "$DATA/desired/s3-refused.json"
  assert_status 1
  # An app's own credentials are used instead of the global ones, whole.
  printf 'NOBODYSKEY\nnobodys-secret\n' \
    | dokku litestream:auth s3-refused --endpoint "$LITESTREAM_TEST_S3_ENDPOINT"
  run dokku litestream:create s3-refused "$STORAGE/s3-refused--db" x.db "$url/x"
  assert_status 6
  run dokku --app s3-refused litestream:restore "$STORAGE/s3-refused--db" y.db "$url/x"
  assert_status 6

  dokku litestream:deauth s3-refused
  rotate "$STORAGE/s3-refused--db/x.db" "$url/rotated"
  stalled
  weak
  walk s3-app "$url/s3-app"
  run host grep -rF "$secret" /var/log/dokku/litestream
  assert_status 1
  run cat "$DAEMON_LOG"
  refute_contains "$secret"
}
