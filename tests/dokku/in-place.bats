#!/usr/bin/env bats
# litestream:restore by an app's name, in place of its database: an older state and back again.
# plain
load helper

setup_file() {
  machine_with_app place-app
  [[ -z "$NO_MACHINE" ]] || return 0
  export URL="file://$LIB_ROOT/replicas/place"
  as 32767 "$TOOLS/writer" -n 2000 "$DIR/one.db"
  dokku litestream:create place-app "$DIR" one.db "$URL"
  dokku litestream:start place-app
  dokku litestream:sync place-app
}

before_files() { host sh -c "ls -d $DIR/one.db.before-* 2>/dev/null | grep -vE -- '-(wal|shm)\$'"; }

# now: a time that later commits don't reach back to.
now() {
  sleep 0.01
  date -u +%Y-%m-%dT%H:%M:%S.%3NZ
  sleep 0.01
}

# hold FILE: a process "sleep" of the app's user, in HOLDER, that has it open. It is called so once it has.
hold() {
  host rm -f /var/tmp/holder
  as 32767 sh -c "echo \$\$ >/var/tmp/holder; exec sleep 600 3<$1" 3>&- &
  wait_until 60 host sh -c 'grep -qx sleep "/proc/$(cat /var/tmp/holder)/comm"'
  HOLDER="$(host cat /var/tmp/holder)"
}

@test "in place: refused while the app has it open, and the app is named" {
  hold "$DIR/one.db"
  run dokku litestream:restore place-app --force
  assert_status 9
  assert_contains "process $HOLDER (sleep) has $DIR/one.db open"
  assert_contains "dokku ps:stop place-app"
  # Nothing was touched, the worker neither.
  state_is place-app replicating
  [ -z "$(before_files)" ]
  host kill "$HOLDER"
}

@test "in place: an earlier time; the worker ships what is new first and goes on from there" {
  local earlier before found txid
  earlier="$(now)"
  as 32767 "$TOOLS/writer" -n 50 "$DIR/one.db"
  run dokku litestream:restore place-app --timestamp "$earlier" --force
  assert_success
  assert_contains "Restored $DIR/one.db"
  assert_contains "what was there is kept"
  refute_contains "not all that was committed"
  [ "$(rows "$DIR/one.db")" -eq 2000 ]
  [ "$(host stat -c '%u:%g' "$DIR/one.db")" = 32767:32767 ]
  before="$(before_files)"
  [ "$(rows "$before")" -eq 2050 ]
  wait_until 60 state_is place-app replicating
  txid="$(db_status place-app txid)"
  as 32767 "$TOOLS/writer" -n 5 "$DIR/one.db"
  dokku litestream:sync place-app
  [ "$(rows "$DIR/one.db")" -eq 2005 ]
  # One line: later numbers, and the replaced state, shipped before, is found by its time.
  [[ "$(db_status place-app txid)" > "$txid" ]]
  host install -d -o 32767 -g 32767 "$STORAGE/place-copy"
  dokku litestream:restore "$STORAGE/place-copy" latest.db "$URL"
  [ "$(rows "$STORAGE/place-copy/latest.db")" -eq 2005 ]
  # The fifty may have gone in one upload or in several.
  found=""
  for txid in $(host "$LIBDIR/litestream" ltx -level all -json "$URL" | jq -r --arg t "$earlier" '[.[] | select(.timestamp > $t) | .max_txid] | unique[]'); do
    host rm -f "$STORAGE/place-copy/abandoned.db"
    dokku litestream:restore "$STORAGE/place-copy" abandoned.db "$URL" --txid "$txid"
    [ "$(rows "$STORAGE/place-copy/abandoned.db")" -ne 2050 ] || found="$txid"
  done
  [ -n "$found" ]
  # It was a small difference, not the whole database.
  [ "$(host "$LIBDIR/litestream" ltx -level all -json "$URL" | jq 'map(.size) | (.[1:] | add) < .[0] / 2')" = true ]
}

@test "in place: with a stopped replication, by folder, and what can't be" {
  local name
  dokku litestream:stop place-app
  run dokku litestream:restore "$DIR" one.db "$URL" --txid 1
  assert_status 4
  assert_contains "replace it with --force"
  name="$(before_files | wc -l)"
  dokku litestream:restore "$DIR" one.db "$URL" --txid 1 -f
  [ "$(rows "$DIR/one.db")" -eq 2000 ]
  [ "$(before_files | wc -l)" -eq "$((name + 1))" ]
  run dokku litestream:restore no-such-app --force
  assert_status 20
  run dokku litestream:restore place-app two.db --force
  assert_status 1
  assert_contains "has no replicated database two.db"
  as 32767 "$TOOLS/writer" -n 5 "$DIR/two.db"
  dokku litestream:create place-app "$DIR" two.db "file://$LIB_ROOT/replicas/two"
  run dokku litestream:restore place-app --force
  assert_status 2
  assert_contains "several databases"
  # One that is lost needs no --force.
  dokku litestream:start place-app
  dokku litestream:stop place-app
  host sh -c "rm -f $DIR/two.db*"
  dokku litestream:restore place-app two.db
  [ "$(rows "$DIR/two.db")" -eq 5 ]
}

@test "in place: a fenced app gets the replica's state" {
  fence place-app three.db "file://$LIB_ROOT/replicas/three"
  run dokku litestream:start place-app
  assert_status 8
  run dokku litestream:restore place-app three.db --force
  assert_success
  assert_contains "not all that was committed could be uploaded"
  wait_until 60 state_is place-app replicating
  [ "$(as 32767 sqlite3 "$DIR/three.db" 'SELECT x FROM t')" = 1 ]
}

containers() { host sh -c "ls $LIB_ROOT/data/scheduler-docker-local/$1/*.pid 2>/dev/null" | wc -l; }

@test "in place: a running app is stopped and started again, and asked about before" {
  real_dokku && skip "a real Dokku would need an image for the app"
  app_create live-app
  local dir="$STORAGE/live-app--db" url="file://$LIB_ROOT/replicas/live" pid earlier before
  as 32767 "$TOOLS/writer" -n 100 "$dir/live.db"
  dokku litestream:create live-app "$dir" live.db "$url"
  dokku litestream:start live-app
  dokku litestream:sync live-app
  earlier="$(now)"
  # Each container with numbers of its own: for a moment there are two.
  # shellcheck disable=SC2016 # the container's shell says it
  app_start live-app "$dir/live.db" -r 50 -w '$$'
  wait_until 60 rows_at_least "$dir/live.db" 120

  run dokku litestream:restore live-app <<<"no"
  assert_status 1
  assert_contains "App live-app will be stopped for it and started again afterwards."
  assert_contains "will be renamed to live.db.before-<time> and replaced"
  assert_contains "The replica holds TXID"
  [ "$(containers live-app)" -eq 1 ]

  pid="$(host sh -c "cat $LIB_ROOT/data/scheduler-docker-local/live-app/*.pid")"
  run dokku litestream:restore live-app live.db --timestamp "$earlier" <<<"live-app"
  assert_success
  assert_contains "Stopping app live-app"
  assert_contains "Starting app live-app"
  # Everything that the app had committed was uploaded, and stands in the file that was kept.
  refute_contains "not all that was committed"
  before="$(host sh -c "ls $dir/live.db.before-* | grep -vE -- '-(wal|shm)\$'")"
  [ "$(rows "$before")" -ge 120 ]
  [ "$(containers live-app)" -eq 1 ]
  run host kill -0 "$pid"
  [ "$status" -ne 0 ]
  # The new container writes behind the hundredth row, and that is replicated.
  wait_until 60 rows_at_least "$dir/live.db" 110
  wait_until 60 state_is live-app replicating
}

@test "in place: the app comes back when the restore fails, also while another process has the file" {
  real_dokku && skip "a real Dokku would need an image for the app"
  local dir="$STORAGE/live-app--db"
  run dokku litestream:restore live-app --txid 4000000 --force
  assert_status 3
  assert_contains "Starting app live-app"
  [ "$(containers live-app)" -eq 1 ]

  hold "$dir/live.db"
  run dokku litestream:restore live-app --force
  host kill "$HOLDER"
  assert_status 9
  assert_contains "(sleep) has $dir/live.db open"
  assert_contains "Starting app live-app"
  [ "$(containers live-app)" -eq 1 ]

  run dokku litestream:restore live-app --force --no-start
  assert_success
  refute_contains "Starting app"
  [ "$(containers live-app)" -eq 0 ]
}

# held: a restore of live-app that waits for the worker, which is stopped and so can't end; RESTORE is its
# command's process id. The daemon gives a worker ten minutes to end here.
held() {
  WORKER="$(db_status live-app pid)"
  host kill -STOP "$WORKER"
  dokku litestream:restore live-app --force >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
  CLIENT="$!"
  wait_until 60 state_is live-app restoring
  cat "$BATS_TEST_TMPDIR/out"
  host sh -c "tail -n 3 $LIB_ROOT/data/scheduler-docker-local/live-app/*.log"
  RESTORE="$(host pgrep -o -f '^bash .*subcommands/restore')"
  [ "$(containers live-app)" -eq 0 ]
}
client_ended() {
  CLIENT_STATUS=0
  wait "$CLIENT" || CLIENT_STATUS="$?"
}
let_go() { host kill -CONT "$WORKER" 2>/dev/null || true; }
lives() {
  [ "$(containers live-app)" -eq 1 ] && state_is live-app replicating \
    && host sh -c "kill -0 \$(cat $LIB_ROOT/data/scheduler-docker-local/live-app/*.pid)"
}
before_live() { host sh -c "ls -d $STORAGE/live-app--db/live.db.before-* 2>/dev/null" | wc -l; }
no_job() { [ -z "$(host pgrep -f 'litestream (job|ctl restore)')" ]; }

@test "in place: a command that is interrupted gives up the restore and starts the app" {
  real_dokku && skip "a real Dokku would need an image for the app"
  local before signal
  daemon_stop
  daemon_start -shutdown-timeout 10m -watchdog 1h
  dokku ps:start live-app
  wait_until 60 lives
  before="$(before_live)"
  for signal in INT:130 TERM:143 HUP:129; do
    held
    host kill -s "${signal%:*}" "$RESTORE"
    client_ended
    [ "$CLIENT_STATUS" -eq "${signal#*:}" ]
    # Before the worker has ended.
    [ "$(containers live-app)" -eq 1 ]
    let_go
    wait_until 60 lives
    [ "$(before_live)" -eq "$before" ]
    wait_until 60 no_job
  done
}

@test "in place: a command that is killed leaves the app stopped; the daemon ends the restore, the worker comes back" {
  real_dokku && skip "a real Dokku would need an image for the app"
  local before
  before="$(before_live)"
  held
  host kill -KILL "$RESTORE"
  client_ended
  # Before the worker can have ended: nobody waits for the restore any more.
  wait_until 60 not state_is live-app restoring
  let_go
  wait_until 60 state_is live-app replicating
  wait_until 60 no_job
  [ "$(before_live)" -eq "$before" ]
  [ "$(containers live-app)" -eq 0 ]
  dokku ps:start live-app
  wait_until 60 lives
}

@test "in place: somebody starts the app meanwhile: it keeps its database, and the restore is refused" {
  real_dokku && skip "a real Dokku would need an image for the app"
  local before rows verb
  before="$(before_live)"
  for verb in ps:start ps:restore; do
    held
    rows="$(rows "$STORAGE/live-app--db/live.db")"
    dokku "$verb" live-app
    wait_until 60 rows_at_least "$STORAGE/live-app--db/live.db" "$((rows + 5))"
    let_go
    client_ended
    [ "$CLIENT_STATUS" -ne 0 ]
    run cat "$BATS_TEST_TMPDIR/out"
    assert_contains "has $STORAGE/live-app--db/live.db open"
    [ "$(before_live)" -eq "$before" ]
    wait_until 60 lives
    rows_at_least "$STORAGE/live-app--db/live.db" "$((rows + 5))"
  done
}
