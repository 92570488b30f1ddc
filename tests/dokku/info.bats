#!/usr/bin/env bats
# litestream:info and litestream:set: what a person sees of databases and replicas, and how options come
# to the worker.
# plain
load helper

setup_file() {
  machine_with_app info-app
  [[ -z "$NO_MACHINE" ]] || return 0
  as 32767 "$TOOLS/writer" -n 20 "$DIR/one.db"
  dokku litestream:create info-app "$DIR" one.db "file://$LIB_ROOT/replicas/one"
}

info() { dokku litestream:info info-app --format json | jq -r ".databases[${2:-0}].$1"; }
asked() { host jq -c ".databases[0].options" "$DATA/desired/info-app.json"; }
row() { grep -qE "^ +$1: +$2\$" <<<"$output" || assert false "$1: $2"; }

@test "info before the first start: stopped, with what is promised" {
  run dokku litestream:info info-app
  assert_success
  assert_contains "=====> info-app litestream information"
  row Replication "stopped: dokku litestream:start info-app"
  row Database "$DIR/one.db"
  row State stopped
  row TXID "none is in the replica yet"
  row Promised "every upload for 3 h, every 30 s for 24 h, every 5 min for 3 days, every hour for 7 days; the present always"
  row Options defaults
}

@test "info of a replicated database: points, objects, snapshot, fencing, requests" {
  dokku litestream:start info-app
  as 32767 "$TOOLS/writer" -n 5 "$DIR/one.db"
  dokku litestream:sync info-app
  # The status of the replica's files comes with the next one of the worker.
  latest_is_told() { [[ "$(info latest_txid)" != null && "$(info latest_txid)" == "$(info txid)" ]]; }
  wait_until 60 latest_is_told
  run dokku litestream:info info-app
  assert_success
  row Replication started
  row State replicating
  row "TXID" "0*[1-9a-f][0-9a-f]*, uploaded at [0-9T:.+-]+"
  # ISO 8601 with this host's distance from UTC.
  row "Restorable from" "[0-9-]{10}T[0-9:]{8}[+-][0-9]{2}:[0-9]{2}, TXID 0000000000000001"
  row "Restorable to" "[0-9-]{10}T[0-9:]{8}[+-][0-9]{2}:[0-9]{2}, TXID [0-9a-f]{16}"
  row "In the replica" "[0-9]+ objects, [0-9]+ (bytes|kB)"
  row "Last snapshot" "[0-9]+ (s|min) old, of .*"
  row Fencing strong
  row Requests "since the worker started: [1-9][0-9]* PUT, .*"
}

@test "info --format json: valid, the same facts as status has, and the options in force" {
  run dokku litestream:info info-app --format json
  assert_success
  jq -e '.daemon and .running and (.databases | length) == 1' <<<"$output"
  [ "$(jq -r '.databases[0].state' <<<"$output")" = replicating ]
  [ "$(jq -r '.databases[0].id' <<<"$output")" = "$(db_status info-app id)" ]
  [ "$(jq -c '.databases[0].promised' <<<"$output")" \
    = '[{"every":"upload","for":"3h"},{"every":"30s","for":"24h"},{"every":"5m","for":"72h"},{"every":"1h","for":"168h"}]' ]
  [ "$(jq -c '.databases[0] | [.options["sync-interval"], .options_set]' <<<"$output")" = '["1s",{}]' ]
}

@test "info --quiet: the rows and no heading" {
  run dokku --quiet litestream:info info-app
  assert_success
  refute_contains "=====>"
  row Database "$DIR/one.db"
}

@test "info of several databases, and of one of them; passwords in URLs are not shown" {
  dokku litestream:create info-app "$DIR" two.db "file://$LIB_ROOT/replicas/two" -o sync-interval=10s --option no-barrier=true
  [ "$(host jq -c '.databases[1].options' "$DATA/desired/info-app.json")" = '{"sync-interval":"10s","no-barrier":"true"}' ]
  host sh -c "jq '.databases[1].replica = \"s3://key:hush-hush@bucket/two?region=eu&SSE-customer-key=hush-hush&part-size=5MB\"' $DATA/desired/info-app.json >/tmp/new &&
    cat /tmp/new >$DATA/desired/info-app.json"
  run dokku litestream:info info-app
  assert_success
  row Database "$DIR/one.db"
  row Database "$DIR/two.db"
  row Options "sync-interval=10s, no-barrier=true"
  refute_contains hush-hush
  assert_contains "region=eu&SSE-customer-key=****&part-size=5MB"
  local verb
  for verb in list "list --format json" "status info-app --format json"; do
    # shellcheck disable=SC2086 # words
    run dokku litestream:$verb
    assert_contains bucket/two
    refute_contains hush-hush
  done
  run host "$LIBDIR/litestream" ctl status info-app
  assert_contains "region=eu&SSE-customer-key=***&part-size=5MB"
  refute_contains hush-hush
  run dokku litestream:info info-app two.db
  assert_success
  refute_contains one.db
  run dokku litestream:info info-app two.db --format json
  [ "$(jq -r '.databases[].file' <<<"$output")" = two.db ]
  refute_contains hush-hush
  run dokku litestream:info info-app three.db
  assert_status 1
  assert_contains "has no replicated database three.db"
  dokku --force litestream:destroy info-app two.db
}

@test "set: the registration has the option, the worker gets it, and nothing is lost" {
  local before
  before="$(info txid)"
  app_start info-app "$DIR/one.db" -r 200
  run dokku litestream:set info-app one.db sync-interval 20ms
  assert_success
  assert_contains "The option sync-interval of one.db of app info-app is 20ms"
  [ "$(asked)" = '{"sync-interval":"20ms"}' ]
  [ "$(info 'options["sync-interval"]')" = 20ms ]
  wait_until 60 state_is info-app replicating
  run dokku litestream:set info-app one.db l3-retention 720h
  assert_success
  run dokku litestream:info info-app
  assert_contains "every hour for 30 days"
  row Options "sync-interval=20ms, l3-retention=720h"
  wait_until 60 state_is info-app replicating
  wait_until 60 rows_at_least "$DIR/one.db" 200
  app_stop info-app
  dokku litestream:sync info-app
  dokku litestream:restore "$DIR" restored.db "file://$LIB_ROOT/replicas/one" >/dev/null
  [ "$(rows "$DIR/restored.db")" -eq "$(rows "$DIR/one.db")" ]
  # It went on from where it was: no new beginning, no other node's claim.
  [[ "$(info txid)" > "$before" ]]
  [ "$(info earliest_txid)" = 0000000000000001 ]
}

@test "set without a value: the default holds again, and no empty options stay" {
  run dokku litestream:set info-app one.db sync-interval
  assert_success
  assert_contains "has its default: 1s"
  [ "$(asked)" = '{"l3-retention":"720h"}' ]
  run dokku litestream:set info-app one.db l3-retention ""
  assert_success
  [ "$(asked)" = null ]
  wait_until 60 state_is info-app replicating
}

@test "set: a window no longer than the one before promises nothing, retention off promises the present" {
  dokku litestream:set info-app one.db l0-retention 30h
  run dokku litestream:info info-app
  row Promised "every upload for 30 h, every 5 min for 3 days, every hour for 7 days; the present always"
  dokku litestream:set info-app one.db l0-retention
  dokku litestream:set info-app one.db retention false
  run dokku litestream:info info-app
  row Promised "nothing is deleted here, what stays is for the rules of the bucket; a snapshot every 24 h"
  dokku litestream:set info-app one.db retention
}

@test "set and create: errors name the option and what it takes, and change nothing" {
  run dokku litestream:set info-app one.db sync-interval 5
  assert_status 2
  assert_contains "option sync-interval takes a duration as 500ms, 1s or 1m30s, from 10ms to 24h, not \"5\""
  run dokku litestream:set info-app one.db l0-retention 1h
  assert_status 2
  assert_contains "from 3h to 87600h"
  run dokku litestream:set info-app one.db sync-intervall 5s
  assert_status 2
  assert_contains "unknown option \"sync-intervall\"; there are sync-interval, "
  run dokku litestream:set info-app one.db no-such-option
  assert_status 2
  run dokku litestream:set info-app one.db
  assert_status 2
  run dokku litestream:set info-app nothing.db sync-interval 5s
  assert_status 1
  assert_contains "has no replicated database nothing.db"
  run dokku litestream:create info-app "$DIR" two.db "file://$LIB_ROOT/replicas/two" --option sync-interval=5
  assert_status 2
  assert_contains "option sync-interval takes a duration"
  run dokku litestream:create info-app "$DIR" two.db "file://$LIB_ROOT/replicas/two" --option retention
  assert_status 2
  assert_contains "--option takes NAME=VALUE"
  [ "$(asked)" = null ]
  [ "$(host jq '.databases | length' "$DATA/desired/info-app.json")" = 1 ]
}

@test "info and set of an app that isn't there, or has no database" {
  dokku apps:create info-bare
  run dokku litestream:info no-such-app
  assert_status 20
  run dokku litestream:set no-such-app one.db sync-interval 5s
  assert_status 20
  run dokku litestream:info info-bare
  assert_status 1
  assert_contains "dokku litestream:create info-bare"
  run dokku litestream:set info-bare one.db sync-interval 5s
  assert_status 1
  run dokku litestream:info info-app --format xml
  assert_status 2
  dokku --force apps:destroy info-bare
}

@test "info and set without a daemon: what was asked for, and that it doesn't run" {
  daemon_stop
  run dokku litestream:info info-app
  assert_success
  assert_contains "daemon is not running"
  row Replication started
  row Replica "file://$LIB_ROOT/replicas/one"
  row Promised "every upload for 3 h, .*"
  refute_contains "State:"
  run dokku litestream:info info-app --format json
  assert_success
  [ "$(jq -c '[.daemon, .running, .databases[0].state]' <<<"$output")" = '[false,true,null]' ]
  run dokku litestream:set info-app one.db sync-interval 5s
  assert_success
  assert_contains "the option holds when it does"
  daemon_start
  [ "$(info 'options["sync-interval"]')" = 5s ]
}
