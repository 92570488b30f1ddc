#!/usr/bin/env bats
# A host dies under its apps, and another one brings their databases back from a real S3 server and
# goes on. Then the first one returns.
# plain
# shellcheck disable=SC2153 # STORAGE is helper.bash's
load helper
load hosts

setup_file() { two_hosts_and_s3; }
teardown_file() { two_hosts_stop; }

objects() { "$REPO/tests/servers/s3.py" ls "$LITESTREAM_TEST_S3_BUCKET" | sort; }

# Three apps with four databases: app, storage, uid, file.
DATABASES="shop shop--db 32767 main.sqlite3
shop shop--db 32767 jobs.sqlite3
blog blog-data 1000 blog.db
wiki wiki--db 32767 wiki.sqlite3"

# each FUNCTION: for each of them, with its place in the bucket as the last word.
each() {
  local app storage uid file
  while read -r app storage uid file; do
    "$1" "$app" "$STORAGE/$storage" "$uid" "$file" "apps/$app-${file%%.*}" || return 1
  done <<<"$DATABASES"
}

add() {
  local app="$1" folder="$2" uid="$3" file="$4"
  if ! host test -d "/home/dokku/$app"; then
    dokku apps:create "$app"
    dokku storage:ensure-directory --chown "$uid" "$(basename "$folder")"
    dokku storage:mount "$app" "$folder:/app/data"
  fi
  # Large enough that a snapshot can't hide among small uploads.
  as "$uid" "$TOOLS/writer" -n 1 -b 8000 "$folder/$file"
  host sh -c "echo '$uid $TOOLS/writer -r 50 -a /var/tmp/$app-$file.ack $folder/$file' >>/home/dokku/$app/CONTAINERS"
  dokku litestream:create "$app" "$folder" "$file" "s3://$LITESTREAM_TEST_S3_BUCKET/$5"
}
acked() { host od -An -td8 "/var/tmp/$1-$4.ack" | tr -d ' \n'; }
busy() { wait_until 60 acked_at_least "$1" "$4" 8100; }
acked_at_least() { [[ "$(acked "$1" "" "" "$2")" -ge "$3" ]]; }
note() { acked "$@" >"$BATS_FILE_TMPDIR/noted-$1-$4"; }
noted() { cat "$BATS_FILE_TMPDIR/noted-$1-$4"; }

is_back() {
  [ "$(host stat -c '%u:%g' "$2/$4")" = "$3:$3" ]
  [ "$(rows "$2/$4")" -ge "$(noted "$@")" ]
  run host "$TOOLS/checker" "$2/$4" "1:$(noted "$@")"
  assert_success
  [ "$(dokku --quiet storage:list "$1" | tr -d ' ')" = "$2:/app/data" ]
}
write_more() { as "$3" "$TOOLS/writer" -n 20 -r 100 "$2/$4"; }
# In a folder beside, out of the bucket alone.
is_in_bucket() {
  local copy
  copy="$1-${4%%.*}-copy"
  dokku storage:ensure-directory "$copy"
  dokku litestream:restore "$STORAGE/$copy" "$4" "s3://$LITESTREAM_TEST_S3_BUCKET/$5"
  [ "$(rows "$STORAGE/$copy/$4")" -eq "$(rows "$2/$4")" ]
  host rm -r "${STORAGE:?}/$copy"
}
database_states() { app_status "$1" '[.databases[].state] | unique | join(" ")'; }
states_are() { [ "$(database_states "$1")" = "$2" ]; }

@test "a host dies under its apps" {
  on first
  daemon_start
  credentials
  each add
  local app
  for app in shop blog wiki; do
    dokku ps:start "$app"
    dokku litestream:start "$app"
  done
  each busy
  # What was acknowledged before this sync must come back; the apps go on writing meanwhile and after.
  each note
  for app in shop blog wiki; do dokku litestream:sync "$app"; done
  objects >"$BATS_FILE_TMPDIR/before"
  [ "$(grep -c '/litestream.json' "$BATS_FILE_TMPDIR/before")" -eq 4 ]
  host_crash first
}

@test "another one shows what there is, and takes it over" {
  on second
  daemon_start
  credentials
  run dokku litestream:recover "s3://$LITESTREAM_TEST_S3_BUCKET/apps"
  assert_success
  [ "$(grep -c 'app, storage and mount are made' <<<"$output")" -eq 4 ]
  assert_contains "s3://$LITESTREAM_TEST_S3_BUCKET/apps/shop-jobs"
  run dokku litestream:recover "s3://$LITESTREAM_TEST_S3_BUCKET/apps" --apply --yes
  assert_success
  assert_contains "Recovered 4 of 4 databases"
  each is_back
}

@test "replication goes on there, without a new snapshot" {
  local app
  on second
  each write_more
  for app in shop blog wiki; do
    run dokku litestream:sync "$app"
    assert_success
    states_are "$app" replicating
  done
  each is_in_bucket
  objects >"$BATS_FILE_TMPDIR/after"
  # What came since the first host's end: claims, manifests and 20 commits each, no database again.
  comm -13 "$BATS_FILE_TMPDIR/before" "$BATS_FILE_TMPDIR/after" >"$BATS_FILE_TMPDIR/new"
  run grep -E '/0009/' "$BATS_FILE_TMPDIR/new"
  assert_status 1
  [ "$(awk '{ if ($2 > max) max = $2 } END { print max + 0 }' "$BATS_FILE_TMPDIR/new")" -lt 200000 ]
}

@test "the first host finds itself fenced when it comes back, and changes nothing" {
  local app
  host_boot first
  daemon_start
  for app in shop blog wiki; do
    dokku ps:start "$app"
    wait_until 60 states_are "$app" fenced
    run dokku litestream:sync "$app"
    assert_status 8
  done
  objects >"$BATS_FILE_TMPDIR/fenced"
  on second
  for app in shop blog wiki; do
    states_are "$app" replicating
  done
  each write_more
  for app in shop blog wiki; do
    run dokku litestream:sync "$app"
    assert_success
  done
  each is_in_bucket
  # On the second host again: there is nothing to do. On the first: its own word stands, stopped.
  run dokku litestream:recover "s3://$LITESTREAM_TEST_S3_BUCKET/apps" --apply --yes
  assert_success
  [ "$(grep -c 'is replicated from this host already' <<<"$output")" -eq 4 ]
}
