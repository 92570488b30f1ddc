#!/usr/bin/env bats
# status: what it shows, and its exit code; start, stop and restart of all apps; commands over ssh.
# plain
load helper

setup_file() {
  machine_with_app stat-a stat-b
  [[ -z "$NO_MACHINE" ]] || return 0
  local app
  for app in stat-a stat-b; do
    as 32767 "$TOOLS/writer" -n 20 "$STORAGE/$app--db/app.db"
    dokku litestream:create "$app" "$STORAGE/$app--db" app.db "file://$LIB_ROOT/replicas/$app"
  done
}

health() { dokku litestream:status "$@" --format json; }

@test "status of what was not started is 11, of nothing at all 0" {
  run dokku litestream:status stat-a
  assert_status 11
  run dokku litestream:status
  assert_status 11
  assert_contains "=====> stat-a litestream status"
  assert_contains "=====> stat-b litestream status"
  run dokku litestream:status no-such-app
  assert_status 20
}

@test "start --all: every app; status is 0" {
  run dokku litestream:start --all
  assert_success
  assert_contains "App stat-a is replicated"
  assert_contains "App stat-b is replicated"
  run dokku litestream:status
  assert_success
  assert_contains "$STORAGE/stat-b--db/app.db: replicating"
  run dokku litestream:start --all stat-a
  assert_status 2
  assert_contains "not both"
}

@test "status: lag, last upload, sizes, next snapshot" {
  as 32767 "$TOOLS/writer" -n 5 "$STORAGE/stat-a--db/app.db"
  dokku litestream:sync stat-a
  # The status of the replica's files comes with the next one of the worker.
  next_is_told() { grep -qE 'Next snapshot: +[0-9T:.+-]+ at the latest' <<<"$(dokku litestream:status stat-a)"; }
  wait_until 60 next_is_told
  run dokku litestream:status stat-a
  assert_success
  [[ "$output" =~ Lag:\ +none ]]
  [[ "$output" =~ Last\ upload:\ +[0-9-]{10}T[0-9:]{8}[+-][0-9:]{5},\ TXID\ [0-9a-f]{16} ]]
  [[ "$output" =~ Database:\ +[0-9]+\ (bytes|kB),\ its\ WAL\ [0-9]+\ (byte|kB) ]]
  [[ "$output" =~ Replica:\ +[0-9]+\ (bytes|kB)\ in\ [0-9]+\ objects ]]
  [[ "$output" =~ Fencing:\ +strong ]]
  [[ "$output" =~ Confinement:\ +mount\ namespace ]]
  refute_contains "Last error"
  run health stat-a
  assert_success
  [ "$(jq -c '[.app, .health, .databases[0].health, .databases[0].pending_transactions]' <<<"$output")" = '["stat-a",0,0,0]' ]
  run health
  assert_success
  [ "$(jq -c 'map([.app, .health])' <<<"$output")" = '[["stat-a",0],["stat-b",0]]' ]
}

@test "status: the exit code is that of the trouble, whatever the others are" {
  # Another owner is what a worker is refused for, and only a person mends that.
  host chown 54321 "$STORAGE/stat-b--db/app.db"
  dokku litestream:restart stat-b --timeout 1 || true
  wait_until 60 state_is stat-b refused
  run dokku litestream:status stat-b
  assert_status 9
  assert_contains "$STORAGE/stat-b--db/app.db: refused"
  [[ "$output" =~ Last\ error:\ .*belongs\ to\ uid\ 54321 ]]
  run dokku litestream:status
  assert_status 9
  dokku litestream:stop stat-a
  run health
  assert_status 9
  [ "$(jq -c 'map(.health)' <<<"$output")" = '[11,9]' ]
  run dokku litestream:status stat-a
  assert_status 11
  host chown 32767 "$STORAGE/stat-b--db/app.db"
}

@test "restart and stop --all: one that fails doesn't keep the others from it" {
  run dokku litestream:restart --all --no-wait
  assert_success
  wait_until 60 dokku litestream:status
  host sh -c "echo broken >$DATA/desired/stat-a.json"
  run dokku litestream:stop --all
  assert_status 1
  assert_contains "stat-a.json is not what this plugin wrote"
  assert_contains "The replication of app stat-b is stopped"
  run dokku litestream:list
  assert_success
  assert_contains "stat-a.json is not what this plugin wrote"
  assert_contains stat-b--db/app.db
  run dokku litestream:create stat-b "$STORAGE/stat-b--db" other.db "file://$LIB_ROOT/replicas/other"
  assert_status 1
  host rm "$DATA/desired/stat-a.json"
  dokku --force apps:destroy stat-a
  run dokku --quiet litestream:stop --all
  assert_success
  [ -z "$output" ]
}

@test "over ssh, without a terminal: words keep their quotes, standard input is the command's" {
  ssh_run() { enter env SSH_ORIGINAL_COMMAND="$1" dokku; }
  run ssh_run "litestream:status stat-b --format json"
  assert_status 11
  [ "$(jq -r .app <<<"$output")" = stat-b ]
  run ssh_run "litestream:logs stat-b -n 1"
  assert_success
  run ssh_run "litestream:create stat-b '$STORAGE/two words' app.db s3://b/p"
  assert_status 2
  assert_contains "The folder '$STORAGE/two words' does not exist"
  run ssh_run "litestream:auth stat-b" <<<$'KEY\nsecret'
  assert_success
  [ "$(host jq -r .access_key_id "$DATA/secrets/stat-b.json")" = KEY ]
  run ssh_run "litestream:destroy stat-b" <<<stat-b
  assert_success
  run ssh_run "litestream:list"
  assert_contains "no replicated databases"
}
