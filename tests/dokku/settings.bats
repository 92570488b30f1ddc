#!/usr/bin/env bats
# set for all apps, an app and a database; report; enable and disable.
# plain
load helper

setup_file() {
  machine_with_app set-app
  [[ -z "$NO_MACHINE" ]] || return 0
  as 32767 "$TOOLS/writer" -n 20 "$DIR/one.db"
  as 32767 "$TOOLS/writer" -n 20 "$DIR/two.db"
  dokku litestream:create set-app "$DIR" one.db "file://$LIB_ROOT/replicas/one"
  dokku litestream:create set-app "$DIR" two.db "file://$LIB_ROOT/replicas/two"
}

report() { dokku litestream:report set-app "--litestream-$1"; }
in_force() { dokku litestream:info set-app "$1" --format json | jq -r ".databases[0].options[\"$2\"]"; }
desired() { host jq -c "$1" "$DATA/desired/${2:-set-app}.json"; }

@test "set: what a database says holds before its app, and that before all apps" {
  run dokku litestream:set --global sync-interval 9s
  assert_success
  assert_contains "The option sync-interval of all apps is 9s"
  [ "$(desired . --global)" = '{"version":1,"options":{"sync-interval":"9s"}}' ]
  [ "$(host stat -c '%a %U' "$DATA/desired/--global.json")" = "600 dokku" ]
  [ "$(in_force one.db sync-interval)" = 9s ]
  run dokku litestream:set set-app sync-interval 8s
  assert_success
  assert_contains "The option sync-interval of app set-app is 8s"
  run dokku litestream:set set-app two.db sync-interval 7s
  assert_success
  [ "$(desired '[.options, .databases[0].options, .databases[1].options]')" \
    = '[{"sync-interval":"8s"},null,{"sync-interval":"7s"}]' ]
  [ "$(in_force one.db sync-interval)" = 8s ]
  [ "$(in_force two.db sync-interval)" = 7s ]
  run dokku litestream:info set-app one.db
  assert_contains "Options inherited: sync-interval=8s"
}

@test "the daemon gives its workers what holds" {
  dokku litestream:set set-app sync-interval
  dokku litestream:set set-app two.db sync-interval
  dokku litestream:set --global sync-interval 1h
  dokku litestream:start set-app
  # The first upload after a quiet time is made at once, the second waits for the interval.
  as 32767 "$TOOLS/writer" -n 1 "$DIR/one.db"
  one_waits() { as 32767 "$TOOLS/writer" -n 1 "$DIR/one.db" && [[ "$(db_status set-app pending_transactions)" -ge 1 ]]; }
  wait_until 60 one_waits
  run dokku litestream:status set-app
  assert_success
  assert_contains "Lag:"
  [[ "$output" =~ Lag:\ +[0-9]+\ s,\ [0-9]+\ transactions?,\ [0-9]+\ (bytes|kB)\ to\ upload ]] || assert false "$output"
  # All apps' workers take the change at once.
  run dokku litestream:set --global sync-interval
  assert_success
  assert_contains "of all apps has its default: 1s"
  run host test -e "$DATA/desired/--global.json"
  assert_status 1
  none_waits() { state_is set-app replicating && [[ "$(db_status set-app pending_bytes)" -eq 0 ]]; }
  wait_until 60 none_waits
}

@test "set: bad words change nothing" {
  local before
  before="$(host sh -c "sha256sum $DATA/desired/*.json")"
  run dokku litestream:set --global sync-interval 5
  assert_status 2
  assert_contains "takes a duration"
  run dokku litestream:set --global no-such-option 5
  assert_status 2
  assert_contains "unknown option"
  run dokku litestream:set --global set-app one.db sync-interval 5s
  assert_status 2
  run dokku litestream:set --global
  assert_status 2
  run dokku litestream:set set-app no-such-option 5s
  assert_status 2
  assert_contains "unknown option"
  run dokku litestream:set set-app no-such-db sync-interval
  assert_status 1
  assert_contains "has no replicated database no-such-db"
  run dokku litestream:set set-app one.db
  assert_status 2
  [ "$(host sh -c "sha256sum $DATA/desired/*.json")" = "$before" ]
}

@test "report: rows, one flag, JSON, all apps, the global ones" {
  dokku litestream:set --global l3-retention 720h
  dokku litestream:set set-app sync-interval 5s
  run dokku litestream:report set-app
  assert_success
  assert_contains "=====> set-app litestream information"
  [[ "$output" =~ Litestream\ running:\ +true ]]
  [[ "$output" =~ Litestream\ databases:\ +$DIR/one.db\ -\>\ file://$LIB_ROOT/replicas/one,\  ]]
  [ "$(report running)" = true ]
  [ "$(report start-at-boot)" = true ]
  [ "$(report credentials)" = none ]
  [ "$(report sync-interval)" = 5s ]
  [ -z "$(report global-sync-interval)" ]
  [ "$(report computed-sync-interval)" = 5s ]
  [ "$(report global-l3-retention)" = 720h ]
  [ "$(report computed-l3-retention)" = 720h ]
  [ "$(report computed-l2-retention)" = 72h ]
  run dokku litestream:report set-app --format json
  assert_success
  [ "$(jq -c '[.["litestream-running"], .["litestream-sync-interval"], .["litestream-computed-retention"]]' <<<"$output")" \
    = '["true","5s","true"]' ]
  run dokku litestream:report
  assert_contains "=====> set-app litestream information"
  run dokku litestream:report --global --format json
  assert_success
  [ "$(jq -c '[.["litestream-credentials"], .["litestream-global-l3-retention"], has("litestream-running")]' <<<"$output")" = '["none","720h",false]' ]
  run dokku --quiet litestream:report set-app
  refute_contains "=====>"
  run dokku report set-app
  assert_contains "Litestream computed sync interval:"
  dokku litestream:set --global l3-retention
  dokku litestream:set set-app sync-interval
}

@test "report: an app without databases, an app that isn't there, flags that are none" {
  dokku apps:create set-bare
  run dokku litestream:report set-bare --litestream-running
  assert_success
  [ "$output" = false ]
  run dokku litestream:report no-such-app
  assert_status 20
  run dokku litestream:report set-app --litestream-nothing
  assert_status 2
  assert_contains "Invalid flag passed, valid flags: --litestream-any-filesystem, "
  run dokku litestream:report set-app --litestream-running --format json
  assert_status 2
  assert_contains "cannot be specified when specifying an info flag"
  run dokku litestream:report set-app running
  assert_status 2
  run dokku litestream:report --litestream-running
  assert_status 2
  dokku --force apps:destroy set-bare
}

@test "report: without the programs there are no options, and that is no failure" {
  host mv "$LIBDIR/litestream" "$LIBDIR/litestream.away"
  run dokku report set-app
  host mv "$LIBDIR/litestream.away" "$LIBDIR/litestream"
  assert_success
  assert_contains "Litestream running:"
  refute_contains "sync interval"
}

@test "disable: what runs goes on, and does not after the next boot" {
  run dokku litestream:disable set-app
  assert_success
  [ "$(report start-at-boot)" = false ]
  [ "$(report running)" = true ]
  [ "$(desired .boot)" = "\"$(cat /proc/sys/kernel/random/boot_id)\"" ]
  wait_until 60 state_is set-app replicating
  # The daemon alone began anew: no boot.
  daemon_stop
  daemon_start
  wait_until 60 state_is set-app replicating
  # The next boot is one with another name than the one that is written there.
  daemon_stop
  host sh -c "jq '.boot = \"an-earlier-one\"' $DATA/desired/set-app.json >/tmp/new && cat /tmp/new >$DATA/desired/set-app.json"
  daemon_start
  run dokku litestream:status set-app
  assert_status 11
  assert_contains "$DIR/one.db: stopped"
  [ "$(report running)" = false ]
  run host pgrep -u 32767 -f 'litestream replicate'
  assert_status 1
  # start is for this boot again.
  run dokku litestream:start set-app
  assert_success
  [ "$(report start-at-boot)" = false ]
  [ "$(report running)" = true ]
  run dokku litestream:info set-app
  assert_contains "started, and not at the next boot"
}

@test "enable: undoes it, and starts nothing" {
  host sh -c "jq '.boot = \"an-earlier-one\"' $DATA/desired/set-app.json >/tmp/new && cat /tmp/new >$DATA/desired/set-app.json"
  wait_until 60 state_is set-app stopped
  run dokku litestream:enable set-app
  assert_success
  assert_contains "once it was started: dokku litestream:start set-app"
  [ "$(desired '[.boot, .running]')" = '[null,false]' ]
  dokku litestream:start set-app
  run dokku litestream:enable --all
  assert_success
  assert_contains "The replication of app set-app is started at boot"
  run dokku litestream:enable
  assert_status 2
  run dokku litestream:disable no-such-app
  assert_status 20
}
