#!/usr/bin/env bats
# What happens to the replication when Dokku renames, clones or destroys the app; report.
# plain
load helper

setup_file() {
  machine_with_app life
  [[ -z "$NO_MACHINE" ]] || return 0
  export URL="file://$LIB_ROOT/replicas/life"
  as 32767 "$TOOLS/writer" -n 20 "$DIR/life.db"
  printf 'LIFEKEY\nlife-Secret\n' | dokku litestream:auth life
  dokku litestream:create life "$DIR" life.db "$URL"
  dokku litestream:start life
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
  # An app that was called so once, and was destroyed while the plugin was disabled, has left something.
  host sh -c "cd $DATA && jq '.app = \"living\" | .databases[0] |= (.id = \"living-0123\" | .file = \"gone.db\" | .replica = \"file://$LIB_ROOT/replicas/gone\")' desired/life.json >desired/living.json &&
    install -m 0600 -o dokku -g dokku desired/living.json desired/living.json~ && mv desired/living.json~ desired/living.json"
  run dokku apps:rename life living
  assert_success
  assert_contains "An earlier app living had left the replication of $DIR/gone.db, which ends; its replica file://$LIB_ROOT/replicas/gone stays"
  assert_contains "Replication of life goes on as that of living"
  host test ! -e "$DATA/state/living-0123"
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

@test "rename: credentials that an earlier app of the new name left are nobody's" {
  app_create plain
  host sh -c "install -m 0600 -o dokku -g dokku $DATA/secrets/living.json $DATA/secrets/plainer.json"
  dokku apps:rename plain plainer
  host test ! -e "$DATA/secrets/plainer.json"
  dokku --force apps:destroy plainer
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
  # Each deploy has a time in which the old and the new containers write in turns.
  overlap_check "$DIR/deploy.db"
  overlaps 1
  dokku ps:restart living
  overlaps 2
  dokku ps:restart living
  host rm /etc/dokku-standin-check
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

# code COMMAND: what the app runs next.
code() { host sh -c "printf '32767 %s\\n' \"\$1\" >/home/dokku/living/CONTAINERS" sh "$1"; }

@test "ps:stop: replication stays, and lets go of the log; ps:start: it goes on" {
  real_dokku && skip "the stand-in's containers"
  local worker
  code "$TOOLS/writer -w 7 -r 100 $DIR/life.db"
  worker="$(db_status living pid)"
  dokku ps:start living
  wait_until 60 wrote 7 20
  host test -e "$DIR/life.db-wal"
  dokku ps:stop living
  wait_until 60 host sh -c "! ls $DIR/life.db-wal $DIR/life.db-shm"
  state_is living replicating
  # The daemon has it from the worker's next status.
  all_shipped() { [[ "$(db_status living unshipped)" == false ]]; }
  wait_until 60 all_shipped
  code "$TOOLS/writer -w 8 -n 30 $DIR/life.db"
  dokku ps:start living
  wait_until 60 wrote 8 30
  dokku litestream:sync living
  [ "$(db_status living pid)" = "$worker" ]
  restored_rows 8 30
}
wrote() { [ "$(host sqlite3 -cmd '.timeout 5000' "$DIR/life.db" "SELECT count(*) FROM commits WHERE writer = $1")" -ge "$2" ]; }
# restored_rows WRITER COUNT: so many of that writer's commits are in the replica.
restored_rows() {
  host rm -f "$DIR/restored.db"
  dokku litestream:restore "$DIR" restored.db "$URL"
  [ "$(host sqlite3 "$DIR/restored.db" "SELECT count(*) FROM commits WHERE writer = $1")" -ge "$2" ]
}

@test "the host dies and boots: ps:restore and the daemon come in any order, and nothing is lost" {
  real_dokku && skip "the stand-in's containers"
  local txid
  code "$TOOLS/writer -w 9 -r 100 $DIR/life.db"
  dokku ps:start living
  wait_until 60 wrote 9 20
  txid="$(db_status living txid)"
  # All at once, without a word.
  host sh -c "kill -KILL $(db_status living pid) $(host "$LIBDIR/litestream" ctl info -json | jq .pid) \$(cat /var/lib/dokku/data/scheduler-docker-local/living/*.pid)"
  daemon_stop
  code "$TOOLS/writer -w 10 -r 100 $DIR/life.db"
  dokku ps:restore
  wait_until 60 wrote 10 20
  daemon_start
  wait_until 60 state_is living replicating
  dokku ps:stop living
  dokku litestream:sync living
  [[ "$(db_status living txid)" > "$txid" ]]
  restored_rows 9 "$(host sqlite3 "$DIR/life.db" 'SELECT count(*) FROM commits WHERE writer = 9')"
  restored_rows 10 "$(host sqlite3 "$DIR/life.db" 'SELECT count(*) FROM commits WHERE writer = 10')"
  # Who stopped it does not find it running after a boot.
  run dokku ps:restore
  assert_contains "Skipping ps:restore for living"
}

@test "a disabled plugin leaves the daemon running, and finds everything again" {
  dokku plugin:disable litestream
  run dokku litestream:status living
  assert_status 1
  assert_contains "is not a dokku command"
  as 32767 "$TOOLS/writer" -w 11 -n 5 "$DIR/life.db"
  host sh -c "$LIBDIR/litestream ctl sync living"
  dokku plugin:enable litestream
  state_is living replicating
  restored_rows 11 5
}

@test "an app that is destroyed while the plugin is disabled: its registration can be removed" {
  local dir="$STORAGE/unseen--db"
  app_create unseen
  as 32767 "$TOOLS/writer" -n 3 "$dir/a.db"
  dokku litestream:create unseen "$dir" a.db "file://$LIB_ROOT/replicas/unseen"
  dokku litestream:start unseen
  dokku litestream:set unseen restore-on-deploy true
  dokku plugin:disable litestream
  dokku --force apps:destroy unseen
  dokku plugin:enable litestream
  run dokku litestream:status unseen
  assert_status 20
  run dokku litestream:list
  assert_success
  assert_contains "No app any more, and still registered: unseen; to end it: dokku litestream:destroy <app>"
  assert_contains "$dir/a.db"
  [ "$(dokku litestream:list --format json | jq -c 'map([.app, .left_over])')" = '[["unseen",true],["living",false]]' ]
  # Another app that mounts its folder gets its database back.
  host sh -c "rm -f $dir/a.db*"
  dokku apps:create heir
  dokku storage:mount heir "$dir:/data"
  host sh -c "echo '32767 exec sleep 600' >/home/dokku/heir/CONTAINERS"
  run dokku ps:rebuild heir
  assert_success
  assert_contains "Restored $dir/a.db"
  [ "$(rows "$dir/a.db")" -eq 3 ]
  dokku --force apps:destroy heir
  # An app of its name has it from now on.
  run dokku apps:create unseen
  assert_success
  assert_contains "An earlier app unseen had registered $dir/a.db: its replication goes on as this app's"
  [ "$(dokku litestream:list --format json | jq -c 'map([.app, .left_over])')" = '[["living",false],["unseen",false]]' ]
  run dokku litestream:destroy unseen --force
  assert_success
  run host test -e "$DATA/desired/unseen.json"
  assert_status 1
  dokku --force apps:destroy unseen
  run dokku litestream:destroy unseen --force
  assert_status 20
}

@test "destroying an app ends its replication and keeps its replica" {
  local id
  id="$(host jq -r '.databases[0].id' "$DATA/desired/living.json")"
  run dokku --force apps:destroy living
  assert_success
  assert_contains "Keeping the replica $URL"
  run host test -e "$DATA/desired/living.json" -o -e "$DATA/secrets/living.json"
  assert_status 1
  wait_until 60 not host pgrep -u 32767 -f 'litestream replicate'
  wait_until 60 host test ! -e "$DATA/state/$id"
  restored_rows 1 25
}

@test "destroying an app whose store takes nothing any more: it is told what was not uploaded, and Dokku goes on" {
  local dir="$STORAGE/cut--db"
  app_create cut
  host install -d "$LIB_ROOT/cut"
  host install -d -o 32767 -g 32767 "$LIB_ROOT/cut/replica"
  as 32767 "$TOOLS/writer" -n 3 "$dir/a.db"
  dokku litestream:create cut "$dir" a.db "file://$LIB_ROOT/cut/replica"
  dokku litestream:start cut
  host chown -R root:root "$LIB_ROOT/cut/replica"
  as 32767 "$TOOLS/writer" -n 3 "$dir/a.db"
  run dokku --force apps:destroy cut
  assert_success
  assert_contains "Not everything of $dir/a.db was uploaded"
  assert_contains "Keeping the replica file://$LIB_ROOT/cut/replica"
  run host test -e "$DATA/desired/cut.json"
  assert_status 1
  [ "$(rows "$dir/a.db")" -eq 6 ]
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
  run host sudo -u dokku env "PLUGIN_PATH=$LIB_ROOT/plugins" \
    sh -c "$LIB_ROOT/plugins/enabled/litestream/post-delete no-such-app x; cat" <<<web=1
  assert_success
  [ "$output" = web=1 ]
}

@test "an app called litestream is an app like others" {
  local dir="$STORAGE/litestream--db" url="file://$LIB_ROOT/replicas/litestream"
  app_create litestream
  printf 'K\nS\n' | dokku litestream:auth
  as 32767 "$TOOLS/writer" -n 10 "$dir/a.db"
  dokku litestream:create litestream "$dir" a.db "$url"
  dokku litestream:start litestream
  dokku litestream:set litestream restore-on-deploy true
  dokku litestream:sync litestream
  [ "$(dokku litestream:list --format json | jq -r '.[].app')" = litestream ]
  # Dokku removes the folder of its properties that has an app's name, which is this plugin's.
  dokku apps:rename litestream other
  [ "$(dokku litestream:report other --litestream-restore-on-deploy)" = true ]
  wait_until 60 state_is other replicating
  dokku apps:rename other litestream
  wait_until 60 state_is litestream replicating
  dokku --force apps:destroy litestream
  [ "$(host jq -r .access_key_id "$DATA/secrets/--global.json")" = K ]
  dokku litestream:restore "$dir" restored.db "$url"
  [ "$(rows "$dir/restored.db")" -eq 10 ]
}

@test "start: another node's replica is left alone, and the way out is said and works" {
  local dir="$STORAGE/fence-app--db" url=file:///var/lib/dokku/backup/fence
  host install -d -o 32767 -g 32767 /var/lib/dokku/backup
  app_create fence-app
  # As on a new host: the app made a database of its own before anybody restored.
  fence fence-app a.db "$url"
  run dokku litestream:start fence-app
  assert_status 8
  assert_contains "dokku litestream:restore"
  assert_contains "dokku litestream:destroy fence-app <db-file>"
  run dokku litestream:stop fence-app
  assert_success
  assert_contains "Not everything of $dir/a.db was uploaded: the replica holds"
  [ "$(dokku litestream:status fence-app --format json | jq -r '.databases[0].unshipped')" = true ]
  host sh -c "rm -f $dir/a.db*"
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
