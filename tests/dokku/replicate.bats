#!/usr/bin/env bats
# start, stop, restart, sync, status, logs: one app with two databases on a file replica.
# plain
load helper

setup_file() {
  machine_with_app run-app
  [[ -z "$NO_MACHINE" ]] || return 0
  as 32767 "$TOOLS/writer" -n 100 "$DIR/one.db"
  dokku litestream:create run-app "$DIR" one.db "file://$LIB_ROOT/replicas/one"
}

# restored DB-URL: its number of rows, restored beside everything else.
restored() {
  host rm -f "$DIR/restored.db"
  dokku litestream:restore "$DIR" restored.db "$1" >/dev/null
  rows "$DIR/restored.db"
}

@test "status and logs before the first start say what to type" {
  run dokku litestream:status run-app
  assert_status 11
  assert_contains "stopped"
  run dokku litestream:logs run-app
  assert_success
  assert_contains "dokku litestream:start run-app"
}

@test "start without a daemon keeps what was asked for, and the daemon does it when it comes" {
  daemon_stop
  run dokku litestream:start run-app
  assert_status 1
  assert_contains "start it with sudo $LIBDIR/litestreamd"
  [ "$(host jq .running "$DATA/desired/run-app.json")" = true ]
  run dokku litestream:stop run-app
  assert_success
  run dokku litestream:start run-app
  assert_status 1
  daemon_start
  wait_until 60 state_is run-app replicating
}

@test "start returns when the first upload is settled" {
  dokku litestream:stop run-app
  as 32767 "$TOOLS/writer" -n 10 "$DIR/one.db"
  run dokku litestream:start run-app
  assert_success
  assert_contains "is in the replica"
  [[ "$(db_status run-app txid)" > 0000000000000000 ]]
  [ "$(restored "file://$LIB_ROOT/replicas/one")" -eq 110 ]
}

@test "start twice is fine; --quiet says nothing" {
  run dokku --quiet litestream:start run-app
  assert_success
  [ -z "$output" ]
}

@test "sync: what was committed before it is in the replica after it" {
  as 32767 "$TOOLS/writer" -n 25 "$DIR/one.db"
  run dokku litestream:sync run-app
  assert_success
  [ "$(restored "file://$LIB_ROOT/replicas/one")" -eq 135 ]
}

@test "a database that is added to a replicated app is replicated at once" {
  as 32767 "$TOOLS/writer" -n 7 "$DIR/two.db"
  run dokku litestream:create run-app "$DIR" two.db "file://$LIB_ROOT/replicas/two"
  assert_success
  assert_contains "from now on"
  both() { [[ "$(dokku litestream:status run-app --format json | jq -c '[.databases[].state]')" == '["replicating","replicating"]' ]]; }
  wait_until 60 both
  dokku litestream:sync run-app
  [ "$(restored "file://$LIB_ROOT/replicas/two")" -eq 7 ]
  run dokku litestream:status run-app
  assert_contains "$DIR/one.db: replicating"
  assert_contains "$DIR/two.db: replicating"
}

@test "the worker is one process, of the database's owner, and has no secrets in its arguments" {
  run host pgrep -u 32767 -f 'litestream replicate'
  assert_success
  [ "${#lines[@]}" -eq 1 ]
}

@test "logs: the last lines, with and without heading, and following" {
  run dokku litestream:logs run-app
  assert_success
  assert_contains "=====> run-app litestream logs"
  run dokku litestream:logs run-app -n 2 -q
  assert_success
  [ "${#lines[@]}" -le 2 ]
  refute_contains "=====>"
  # What is written later is shown, too.
  setsid bash -c "source '$REPO/tests/dokku/helper.bash'; dokku litestream:logs --tail run-app" >"$BATS_TEST_TMPDIR/tail" 2>&1 3>&- &
  local tail="$!"
  wait_until 60 grep -q "=====> run-app litestream logs" "$BATS_TEST_TMPDIR/tail"
  host sh -c 'echo "a line that came later" >>/var/log/dokku/litestream/run-app.log'
  wait_until 60 grep -q "a line that came later" "$BATS_TEST_TMPDIR/tail"
  kill -TERM -- "-$tail"
}

@test "logs: what a worker wrote there gives no orders to a terminal" {
  host sh -c "printf 'a\033[2Jb\tc \303\274\r\n' >>/var/log/dokku/litestream/run-app.log"
  run dokku --quiet litestream:logs run-app -n 1
  assert_success
  [ "$output" = 'a?[2Jb?c ü?' ]
}

@test "stop: the last commits are shipped, and what comes then is not" {
  as 32767 "$TOOLS/writer" -n 5 "$DIR/one.db"
  run dokku litestream:stop run-app
  assert_success
  run host pgrep -u 32767 -f 'litestream replicate'
  assert_status 1
  as 32767 "$TOOLS/writer" -n 3 "$DIR/one.db"
  [ "$(restored "file://$LIB_ROOT/replicas/one")" -eq 140 ]
  run dokku litestream:list --format json
  [ "$(jq -c 'map(.state)|unique' <<<"$output")" = '["stopped"]' ]
}

@test "restart ships what changed meanwhile" {
  run dokku litestream:restart run-app
  assert_success
  dokku litestream:sync run-app
  [ "$(restored "file://$LIB_ROOT/replicas/one")" -eq 143 ]
}

@test "start: a time-out leaves it running and says so" {
  dokku litestream:stop run-app
  # One.db's replica can't be written for the moment.
  host chown 0:0 "$LIB_ROOT/replicas/one"
  host chmod 0000 "$LIB_ROOT/replicas/one"
  run dokku litestream:start --timeout 1 run-app
  host chmod 0755 "$LIB_ROOT/replicas/one"
  host chown 32767:32767 "$LIB_ROOT/replicas/one"
  # Either it is told that it is denied, or that it isn't there yet: never that all is well.
  refute_contains "App run-app is replicated"
  dokku litestream:restart run-app
  wait_until 60 state_is run-app replicating
}

@test "start --no-wait returns at once" {
  dokku litestream:stop run-app
  run dokku litestream:start run-app --no-wait
  assert_success
  wait_until 60 state_is run-app replicating
}

@test "a database that the app has not made yet is waited for" {
  app_create run-later
  dokku litestream:create run-later "$STORAGE/run-later--db" later.db "file://$LIB_ROOT/replicas/later"
  run dokku litestream:start run-later
  assert_success
  assert_contains "not there or empty yet"
  as 32767 "$TOOLS/writer" -n 9 "$STORAGE/run-later--db/later.db"
  wait_until 60 state_is run-later replicating
  dokku litestream:sync run-later
  [ "$(restored "file://$LIB_ROOT/replicas/later")" -eq 9 ]
  # One that waits doesn't keep the others from being synced, one that was lost is an error.
  dokku litestream:create run-later "$STORAGE/run-later--db" never.db "file://$LIB_ROOT/replicas/never"
  wait_until 60 state_is run-later replicating
  as 32767 "$TOOLS/writer" -n 3 "$STORAGE/run-later--db/later.db"
  run dokku litestream:sync run-later
  assert_success
  assert_contains "there is no database at $STORAGE/run-later--db/never.db yet; it is replicated as soon as"
  [ "$(restored "file://$LIB_ROOT/replicas/later")" -eq 12 ]
  host sh -c "rm -f $STORAGE/run-later--db/later.db*"
  wait_until 60 not state_is run-later replicating
  run dokku litestream:sync run-later
  [ "$status" -ne 0 ]
  assert_contains "$STORAGE/run-later--db/later.db"
  dokku litestream:restart run-later --timeout 1
  run dokku litestream:sync run-later --timeout 5
  [ "$status" -ne 0 ]
  dokku --force apps:destroy run-later
}

@test "a database that is lost while it is replicated is restored in place, and goes on" {
  dokku litestream:sync run-app
  host sh -c "rm -f $DIR/one.db $DIR/one.db-wal $DIR/one.db-shm"
  wait_until 60 not state_is run-app replicating
  run dokku litestream:restore "$DIR" one.db "file://$LIB_ROOT/replicas/one"
  assert_success
  [ "$(rows "$DIR/one.db")" -eq 143 ]
  wait_until 60 state_is run-app replicating
  as 32767 "$TOOLS/writer" -n 4 "$DIR/one.db"
  dokku litestream:sync run-app
  [ "$(restored "file://$LIB_ROOT/replicas/one")" -eq 147 ]
}

@test "over ssh, without a terminal" {
  run enter env SSH_ORIGINAL_COMMAND="litestream:status run-app" dokku </dev/null
  assert_success
  assert_contains "$DIR/one.db: replicating"
  run enter env SSH_ORIGINAL_COMMAND="--quiet litestream:sync run-app --timeout 10" dokku </dev/null
  assert_success
  [ -z "$output" ]
}

@test "the local state of a registered database is not forgotten, nor a path" {
  local id
  id="$(host jq -r '.databases[0].id' "$DATA/desired/run-app.json")"
  run host "$LIBDIR/litestream" ctl forget "$id"
  assert_status 1
  assert_contains "is registered, by the app run-app"
  host test -d "$DATA/state/$id"
  run host "$LIBDIR/litestream" ctl forget ../desired
  assert_status 2
  run host "$LIBDIR/litestream" ctl forget nothing-of-that-name
  assert_success
}

@test "destroy: the worker ends, its local state goes, the replica stays" {
  local id
  id="$(host jq -r '.databases[] | select(.file == "two.db") | .id' "$DATA/desired/run-app.json")"
  host test -d "$DATA/state/$id"
  run dokku --force litestream:destroy run-app two.db
  assert_success
  wait_until 60 host test ! -e "$DATA/state/$id"
  [ "$(restored "file://$LIB_ROOT/replicas/two")" -eq 7 ]
  run dokku --force litestream:destroy run-app
  assert_success
  wait_until 60 not host pgrep -u 32767 -f 'litestream replicate'
  [ "$(restored "file://$LIB_ROOT/replicas/one")" -eq 147 ]
}

@test "destroy without a daemon ends the registration and tells what is left" {
  local id
  dokku litestream:create run-app "$DIR" one.db "file://$LIB_ROOT/replicas/one-more"
  dokku litestream:start run-app
  id="$(host jq -r '.databases[0].id' "$DATA/desired/run-app.json")"
  daemon_stop
  run dokku --force litestream:destroy run-app
  assert_success
  assert_contains "sudo rm -r $DATA/state/$id"
  run host test -e "$DATA/desired/run-app.json"
  assert_status 1
  daemon_start
}

@test "commands for an app that isn't registered or doesn't exist" {
  local verb
  for verb in start stop restart status sync logs; do
    run dokku "litestream:$verb" no-such-app
    assert_status 20
  done
  dokku apps:create run-bare
  for verb in start stop restart status sync logs; do
    run dokku "litestream:$verb" run-bare
    assert_status 1
    assert_contains "dokku litestream:create run-bare"
  done
  dokku --force apps:destroy run-bare
}
