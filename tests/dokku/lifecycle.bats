#!/usr/bin/env bats
# What happens to the replication when Dokku renames, clones or destroys the app; report.
load helper

setup_file() {
  machine_start
  [[ -z "$NO_MACHINE" ]] || return 0
  tools_install
  daemon_start
  host install -d -o 32767 -g 32767 "$LIB_ROOT/replicas"
  app_create life
  export DIR="$STORAGE/life--db" URL="file://$LIB_ROOT/replicas/life"
  as 32767 "$TOOLS/writer" -n 20 "$DIR/life.db"
  printf 'LIFEKEY\nlife-Secret\n' | dokku litestream:auth life
  dokku litestream:create life "$DIR" life.db "$URL"
  dokku litestream:start life
}
teardown_file() {
  machine_stop
}

@test "report: a masked summary, part of dokku report" {
  run dokku report life
  assert_success
  assert_contains "=====> life litestream information"
  assert_contains "own (****)"
  assert_contains "$DIR/life.db -> $URL"
  refute_contains life-Secret
  refute_contains LIFEKEY
}

@test "functions for other plugins" {
  run host sudo -u dokku bash -c "source $LIB_ROOT/plugins/available/litestream/functions
    litestream_databases life && litestream_databases nobody && litestream_sync life 10 && echo synced"
  assert_success
  [ "$output" = "$DIR/life.db	$URL
synced" ]
}

@test "rename: registration, credentials and worker move, the replica is continued" {
  local id txid
  id="$(host jq -r '.databases[0].id' "$DATA/desired/life.json")"
  txid="$(db_status life txid)"
  run dokku apps:rename life living
  assert_success
  assert_contains "Replication of life goes on as that of living"
  run host test -e "$DATA/desired/life.json" -o -e "$DATA/secrets/life.json"
  assert_status 1
  [ "$(host jq -r .secret_access_key "$DATA/secrets/living.json")" = life-Secret ]
  [ "$(host jq -c '[.app, .running, .databases[0].id, .databases[0].replica]' "$DATA/desired/living.json")" \
    = "[\"living\",true,\"$id\",\"$URL\"]" ]
  wait_until 60 state_is living replicating
  as 32767 "$TOOLS/writer" -n 5 "$DIR/life.db"
  dokku litestream:sync living
  # A few transactions later, not a new snapshot under another name.
  [[ "$(db_status living txid)" > "$txid" ]]
  dokku litestream:restore "$DIR" restored.db "$URL"
  [ "$(rows "$DIR/restored.db")" -eq 25 ]
  run dokku litestream:status life
  assert_status 20
}

@test "clone: the replication is not copied, and that is told" {
  run dokku apps:clone living living-too
  assert_success
  assert_contains "was not copied to living-too"
  run host test -e "$DATA/desired/living-too.json"
  assert_status 1
  dokku --force apps:destroy living-too
  state_is living replicating
}

@test "a deploy, with two generations of containers on one database (stand-in)" {
  real_dokku && skip "the stand-in's containers"
  # Each container writes numbers of its own: its process id names them.
  host sh -c "echo '32767 $TOOLS/writer -w \$\$ -r 200 $DIR/deploy.db' >/home/dokku/living/CONTAINERS"
  dokku ps:start living
  wait_until 60 rows_at_least "$DIR/deploy.db" 1
  dokku litestream:create living "$DIR" deploy.db "file://$LIB_ROOT/replicas/deploy"
  dokku ps:restart living
  dokku ps:restart living
  dokku ps:stop living
  dokku litestream:sync living
  keep_state "$DIR/deploy.db" /var/tmp/deploy-last
  [ "$(host sqlite3 /var/tmp/deploy-last 'SELECT count(DISTINCT writer) FROM commits')" -eq 3 ]
  dokku litestream:restore "$DIR" deploy-restored.db "file://$LIB_ROOT/replicas/deploy"
  host cmp /var/tmp/deploy-last "$DIR/deploy-restored.db"
  run host "$TOOLS/checker" "$DIR/deploy-restored.db"
  assert_success
  dokku --force litestream:destroy living deploy.db
}

@test "destroying an app ends its replication and keeps its replica" {
  local id
  id="$(host jq -r '.databases[0].id' "$DATA/desired/living.json")"
  run dokku --force apps:destroy living
  assert_success
  assert_contains "Keeping the replica $URL"
  run host test -e "$DATA/desired/living.json" -o -e "$DATA/secrets/living.json"
  assert_status 1
  wait_until 60 bash -c "source '$REPO/tests/dokku/helper.bash'; ! host pgrep -u 32767 -f 'litestream replicate'"
  wait_until 60 host test ! -e "$DATA/state/$id"
  host rm -f "$DIR/restored.db"
  dokku litestream:restore "$DIR" restored.db "$URL"
  [ "$(rows "$DIR/restored.db")" -eq 25 ]
}

@test "apps that have nothing to do with it are renamed, cloned and destroyed as ever" {
  dokku apps:create plain-app
  run dokku apps:rename plain-app plain-two
  assert_success
  refute_contains litestream
  run dokku apps:clone plain-two plain-three
  assert_success
  refute_contains litestream
  run dokku --force apps:destroy plain-two
  assert_success
  refute_contains litestream
  run dokku --force apps:destroy plain-three
  assert_success
}

@test "triggers leave the stdin of others alone" {
  run bash -c "source '$REPO/tests/dokku/helper.bash'
    printf 'web=1\n' | host sudo -u dokku env PLUGIN_PATH=$LIB_ROOT/plugins sh -c '$LIB_ROOT/plugins/enabled/litestream/post-delete no-such-app x; cat'"
  assert_success
  [ "$output" = web=1 ]
}

@test "an app called litestream is an app like others" {
  dokku apps:create litestream
  printf 'K\nS\n' | dokku litestream:auth
  dokku --force apps:destroy litestream
  [ "$(host jq -r .access_key_id "$DATA/secrets/--global.json")" = K ]
}

@test "start: another node's replica is left alone, and the way out is said and works" {
  local dir="$STORAGE/fence-app--db" url=file:///var/lib/dokku/backup/fence
  host install -d -o 32767 -g 32767 /var/lib/dokku/backup
  app_create fence-app
  as 32767 sqlite3 "$dir/a.db" 'PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)'
  dokku litestream:create fence-app "$dir" a.db "$url"
  dokku litestream:start fence-app
  dokku litestream:destroy fence-app --force
  # A new host: the app made a database of its own before anybody restored.
  host sh -c "rm $dir/a.db*"
  as 32767 sqlite3 "$dir/a.db" 'PRAGMA journal_mode=WAL; CREATE TABLE other(x)'
  dokku litestream:create fence-app "$dir" a.db "$url"
  run dokku litestream:start fence-app
  assert_status 8
  assert_contains "dokku litestream:restore"
  assert_contains "dokku litestream:destroy fence-app <db-file>"
  run dokku litestream:stop fence-app
  assert_success
  assert_contains "Not everything of $dir/a.db was uploaded: the replica holds"
  [ "$(dokku litestream:status fence-app --format json | jq -r '.databases[0].unshipped')" = true ]
  host sh -c "rm $dir/a.db*"
  dokku litestream:restore "$dir" a.db "$url"
  run dokku litestream:restore "$dir" a.db "$url"
  assert_status 4
  assert_contains "Move that file away"
  run dokku litestream:start fence-app
  assert_success
  [ "$(as 32767 sqlite3 "$dir/a.db" 'SELECT x FROM t')" = 1 ]
  [ "$(dokku litestream:status fence-app --format json | jq -r '.databases[0].unshipped')" = false ]
  run dokku litestream:stop fence-app
  refute_contains "Not everything"
}
