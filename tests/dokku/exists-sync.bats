#!/usr/bin/env bats
# exists; sync of an app with several databases of which some can't be uploaded.
# plain
load helper

setup_file() {
  machine_with_app many-app
  [[ -z "$NO_MACHINE" ]] || return 0
  as 32767 "$TOOLS/writer" -n 10 "$DIR/one.db"
  dokku litestream:create many-app "$DIR" one.db "file://$LIB_ROOT/replicas/one"
}

# state_of DB STATE
state_of() {
  [[ "$(dokku litestream:status many-app --format json \
    | jq -r --arg path "$DIR/$1" '.databases[] | select(.path == $path) | .state')" == "$2" ]]
}

@test "exists: by the exit code, and without a word" {
  run dokku litestream:exists many-app
  assert_success
  [ -z "$output" ]
  run dokku litestream:exists many-app one.db
  assert_success
  [ -z "$output" ]
  run dokku litestream:exists many-app two.db
  assert_status 1
  assert_contains " !     App many-app has no replicated database two.db"
  run dokku --quiet litestream:exists many-app two.db
  assert_status 1
  [ -z "$output" ]
  dokku apps:create bare-app
  run dokku litestream:exists bare-app
  assert_status 1
  run dokku litestream:exists no-such-app
  assert_status 20
  run dokku litestream:exists many-app ../one.db
  assert_status 2
  run dokku litestream:exists
  assert_status 2
}

@test "sync: one that is fenced keeps no other from being uploaded" {
  # Another database takes the place of the one that the replica holds.
  fence many-app two.db "file://$LIB_ROOT/replicas/two"
  wait_until 60 state_of two.db fenced
  wait_until 60 state_of one.db replicating

  as 32767 "$TOOLS/writer" -n 5 "$DIR/one.db"
  run dokku litestream:sync many-app
  assert_status 8
  assert_contains "$DIR/two.db"
  refute_contains "$DIR/one.db"
  dokku litestream:restore "$DIR" restored.db "file://$LIB_ROOT/replicas/one"
  [ "$(rows "$DIR/restored.db")" -eq 15 ]
  host rm "$DIR/restored.db"
}

@test "sync: several failures are told each, and the worst is the exit code" {
  as 32767 "$TOOLS/writer" -n 1 "$DIR/three.db"
  host jq --arg dir "$DIR" '.databases += [.databases[0] + {id: "many-app-3", file: "three.db", replica: "file:///nowhere"}]' \
    "$DATA/desired/many-app.json" >"$BATS_TEST_TMPDIR/desired"
  host install -o dokku -g dokku -m 0600 /dev/stdin "$DATA/desired/.new" <"$BATS_TEST_TMPDIR/desired"
  host mv "$DATA/desired/.new" "$DATA/desired/many-app.json"
  host "$LIBDIR/litestream" ctl reload many-app
  wait_until 60 state_of three.db denied
  wait_until 60 state_of two.db fenced
  as 32767 "$TOOLS/writer" -n 2 "$DIR/one.db"
  run dokku litestream:sync many-app
  assert_status 8
  assert_contains "2 of 3 databases are not in their replicas"
  [ "$(grep -c "$DIR/two.db" <<<"$output")" -eq 1 ]
  [ "$(grep -c "$DIR/three.db" <<<"$output")" -eq 1 ]
  dokku litestream:restore "$DIR" restored.db "file://$LIB_ROOT/replicas/one"
  [ "$(rows "$DIR/restored.db")" -eq 17 ]
}
