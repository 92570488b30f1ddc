#!/usr/bin/env bats
# litestream:import-legacy: containers as the earlier plugin made them, with Litestream 0.3.13 in them, on a
# real S3 server and in a real Docker; taken over, given back, told of. Skips where one of the three is missing.
# long
# plain
load helper
load docker
load ../lib/npm
load ../lib/peer

setup_file() {
  NO_MACHINE=""
  peer_find
  real_dokku && NO_MACHINE="the containers' network is this machine's: only on the stand-in"
  [[ -z "$PEER_MISSING" ]] || NO_MACHINE="no Litestream 0.3.13 here: $PEER_MISSING"
  [[ -n "$NO_MACHINE" ]] || "$REPO/tests/servers/ceph.sh" start "$BATS_FILE_TMPDIR/ceph" >"$BATS_FILE_TMPDIR/s3" 3>&- \
    || NO_MACHINE="no S3 server can run here"
  export NO_MACHINE
  [[ -z "$NO_MACHINE" ]] || return 0
  machine_start
  docker_machine_start
  [[ -z "$NO_MACHINE" ]] || return 0
  set -a
  # shellcheck source=/dev/null
  source "$BATS_FILE_TMPDIR/s3"
  set +a
  export S3="s3://$LITESTREAM_TEST_S3_BUCKET.localhost:${LITESTREAM_TEST_S3_ENDPOINT##*:}"
  tools_install
  docker_image litestream/litestream "$PEER"
  docker_image app-image "$BUILD/tools/writer"
  daemon_start
}
teardown_file() {
  docker_machine_stop
  machine_stop
  [[ ! -d "$BATS_FILE_TMPDIR/ceph" ]] || "$REPO/tests/servers/ceph.sh" stop "$BATS_FILE_TMPDIR/ceph"
}

# What the earlier plugin's auth, create and start did, word for word, but for the network: its containers had
# Docker's own, and an S3 server on this machine is not there.
old_auth() {
  host install -d -o dokku -g dokku "$LIB_ROOT/config/litestream/credentials"
  host sh -c "echo '$1' >$LIB_ROOT/config/litestream/credentials/ACCESS_KEY_ID
    echo '$2' >$LIB_ROOT/config/litestream/credentials/SECRET_ACCESS_KEY"
}
old_create() {
  local app="$1" folder="$2" db="$3" url="$4"
  shift 4
  docker create --name "dokku.litestream.$app" --network host "$@" \
    --env "LITESTREAM_ACCESS_KEY_ID=$(host cat "$LIB_ROOT/config/litestream/credentials/ACCESS_KEY_ID")" \
    --env "LITESTREAM_SECRET_ACCESS_KEY=$(host cat "$LIB_ROOT/config/litestream/credentials/SECRET_ACCESS_KEY")" \
    --volume "$folder:/data" litestream/litestream replicate "/data/$db" "$url" >/dev/null
}
old_start() { docker start "dokku.litestream.$1" >/dev/null; }
old_state() { docker inspect -f '{{.State.Status}} {{.HostConfig.RestartPolicy.Name}}' "dokku.litestream.$1"; }
old_is() { [[ "$(old_state "$1")" == "$2" ]]; }

# The replica in the words of the old layout: keys and sizes.
s3() { python3 "$REPO/tests/servers/s3.py" "$@"; }
old_keys() { s3 ls "$LITESTREAM_TEST_S3_BUCKET" "$1/generations/"; }
has_snapshot() { old_keys "$1" | grep -q snapshot; }

# An app with a database that the old plugin replicates: app APP DB-FILE.
old_app() {
  app_create "$1"
  as 32767 "$TOOLS/writer" -n 50 "$STORAGE/$1--db/$2"
  old_create "$1" "$STORAGE/$1--db" "$2" "$S3/$1" "${@:3}"
  old_start "$1"
  wait_until 60 has_snapshot "$1"
}

# What Docker knows of all containers, but for what time changes.
containers() {
  local ids
  mapfile -t ids < <(docker ps -aq --no-trunc | sort)
  docker inspect "${ids[@]}" | jq -c 'map(del(.State))'
}

import() { run dokku litestream:import-legacy "$@"; }
registered() { host test -e "$DATA/desired/$1.json"; }

@test "nothing there: that is said" {
  import
  assert_success
  assert_contains "There are no containers of the earlier litestream plugin"
  [ "$(dokku litestream:import-legacy --format json)" = '[]' ]
  import no-such-app
  assert_status 20
  app_create bare
  import bare
  assert_status 1
  assert_contains "App bare has no container dokku.litestream.bare"
  import --timeout soon
  assert_status 2
  import --format json --apply
  assert_status 2
}

@test "it shows what it finds, with the reasons, and changes nothing" {
  local before
  old_auth "$LITESTREAM_TEST_S3_ACCESS_KEY_ID" "$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY"
  old_app shop production.sqlite3 --restart unless-stopped
  old_create gone "$STORAGE/shop--db" production.sqlite3 "$S3/gone"
  app_create custom
  docker create --name dokku.litestream.custom --volume "$STORAGE/custom--db:/data" litestream/litestream replicate -config /etc/x.yml >/dev/null
  app_create inside
  docker create --name dokku.litestream.inside litestream/litestream replicate /data/a.db "$S3/inside" >/dev/null
  before="$(containers)"
  [[ "$before" == *dokku.litestream.shop* ]]
  import
  assert_success
  assert_contains "shop: $STORAGE/shop--db/production.sqlite3"
  assert_contains "replica:   $S3/shop"
  assert_contains "container: dokku.litestream.shop, running"
  assert_contains "can't be taken over: App gone does not exist"
  assert_contains "can't be taken over: it was not made by the earlier plugin"
  assert_contains "can't be taken over: its database /data/a.db is in no folder of the host"
  assert_contains "dokku litestream:import-legacy  --apply"
  [ "$(dokku litestream:import-legacy --format json | jq -c 'map([.app, .state, .running])')" \
    = '[["custom","refused",false],["gone","refused",false],["inside","refused",false],["shop","ready",true]]' ]
  [ "$(containers)" = "$before" ]
  run host find "$DATA/desired" "$DATA/secrets" -name '*.json'
  [ -z "$output" ]
  import gone --apply --yes
  assert_status 20
}

@test "it asks, and without the word nothing happens" {
  run bash -c "source '$REPO/tests/dokku/helper.bash'; echo no | dokku litestream:import-legacy --apply"
  assert_status 1
  assert_contains "Aborted"
  old_is shop "running unless-stopped"
  run registered shop
  assert_status 1
}

@test "taken over under an app that writes on: no secret in sight, the old replica as it was, ours whole" {
  local kept rows
  host sh -c "echo app-image >/etc/dokku-standin-image
    echo '32767 -w 2 -r 50 /app/db/litestream/production.sqlite3' >/home/dokku/shop/CONTAINERS"
  dokku ps:start shop
  wait_until 60 rows_at_least "$STORAGE/shop--db/production.sqlite3" 60
  import shop --apply --yes
  assert_success
  assert_contains "Credentials saved for all apps"
  assert_contains "production.sqlite3: replicating"
  assert_contains "shop is taken over"
  assert_contains "docker rm dokku.litestream.shop"
  refute_contains "$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY"
  old_is shop "exited no"
  kept="$(old_keys shop)"
  [ "$(host jq -r '.access_key_id + " " + .secret_access_key' "$DATA/secrets/--global.json")" \
    = "$LITESTREAM_TEST_S3_ACCESS_KEY_ID $LITESTREAM_TEST_S3_SECRET_ACCESS_KEY" ]
  [ "$(host stat -c '%a %U' "$DATA/secrets/--global.json")" = "600 dokku" ]
  [ "$(db_status shop replica)" = "$S3/shop" ]
  rows="$(rows "$STORAGE/shop--db/production.sqlite3")"
  wait_until 60 rows_at_least "$STORAGE/shop--db/production.sqlite3" "$((rows + 20))"
  dokku ps:stop shop
  dokku litestream:sync shop
  state_is shop replicating
  # What the other Litestream had is what it was, and restores with it.
  [ "$(old_keys shop)" = "$kept" ]
  host install -d -o 32767 -g 32767 /var/tmp/old
  docker run --rm --network host --user 32767 --volume /var/tmp/old:/out \
    --env "LITESTREAM_ACCESS_KEY_ID=$LITESTREAM_TEST_S3_ACCESS_KEY_ID" \
    --env "LITESTREAM_SECRET_ACCESS_KEY=$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY" \
    litestream/litestream restore -o /out/old.db "$S3/shop"
  [ "$(rows /var/tmp/old/old.db)" -ge 60 ]
  # And ours has all that the app wrote until the end.
  keep_state "$STORAGE/shop--db/production.sqlite3" /var/tmp/shop-last
  dokku litestream:restore "$STORAGE/shop--db" restored.sqlite3 "$S3/shop"
  host cmp /var/tmp/shop-last "$STORAGE/shop--db/restored.sqlite3"
}

@test "once more: it is done, and that is no error" {
  import
  assert_contains "has been taken over"
  import shop --apply --yes
  assert_success
  refute_contains "Taking over"
  state_is shop replicating
  # Somebody starts the container again: both would replicate, so it is taken over again.
  old_start shop
  import shop --apply --yes
  assert_success
  old_is shop "exited no"
  state_is shop replicating
}

@test "credentials that the container has and nobody else become the app's own" {
  old_auth "$LITESTREAM_TEST_S3_OTHER_ACCESS_KEY_ID" "$LITESTREAM_TEST_S3_OTHER_SECRET_ACCESS_KEY"
  S3_ACCESS_KEY_ID="$LITESTREAM_TEST_S3_OTHER_ACCESS_KEY_ID" S3_SECRET_ACCESS_KEY="$LITESTREAM_TEST_S3_OTHER_SECRET_ACCESS_KEY" \
    s3 mb others-bucket
  app_create other
  as 32767 "$TOOLS/writer" -n 50 "$STORAGE/other--db/a.db"
  old_create other "$STORAGE/other--db" a.db "s3://others-bucket.localhost:${S3##*:}/other"
  old_start other
  import other --apply --yes
  assert_success
  assert_contains "Credentials saved for other"
  [ "$(host jq -r .access_key_id "$DATA/secrets/other.json")" = "$LITESTREAM_TEST_S3_OTHER_ACCESS_KEY_ID" ]
  [ "$(host jq -r .access_key_id "$DATA/secrets/--global.json")" = "$LITESTREAM_TEST_S3_ACCESS_KEY_ID" ]
  state_is other replicating
}

@test "an app that fails goes on with its container, untouched or as it was; the next one is taken over" {
  # first: these credentials may not touch the bucket, which is found before anything is stopped.
  app_create first
  as 32767 "$TOOLS/writer" -n 5 "$STORAGE/first--db/a.db"
  old_create first "$STORAGE/first--db" a.db "$S3/first"
  old_start first
  docker inspect -f '{{.State.StartedAt}}' dokku.litestream.first >"$BATS_TEST_TMPDIR/started"
  # second: the replica is another database's, which is found once the replication begins.
  old_auth "$LITESTREAM_TEST_S3_ACCESS_KEY_ID" "$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY"
  old_app second a.db --restart on-failure:7
  as 32767 "$TOOLS/writer" -n 9 "$STORAGE/second--db/b.db"
  dokku litestream:create second "$STORAGE/second--db" b.db "$S3/second"
  run dokku litestream:start second
  assert_status 8
  assert_contains "pages differ from the replica's latest state (Litestream 0.3's"
  dokku litestream:takeover second --force
  dokku litestream:sync second
  dokku --force litestream:destroy second
  old_app third a.db
  run dokku --force litestream:import-legacy first second third --apply
  assert_status 6
  assert_contains "first stays with its container dokku.litestream.first, which was not touched"
  assert_contains "second goes on with its container dokku.litestream.second, which runs again"
  assert_contains "third is taken over"
  assert_contains "Not taken over: first second"
  [ "$(docker inspect -f '{{.State.StartedAt}}' dokku.litestream.first)" = "$(cat "$BATS_TEST_TMPDIR/started")" ]
  old_is second "running on-failure"
  [ "$(docker inspect -f '{{.HostConfig.RestartPolicy.MaximumRetryCount}}' dokku.litestream.second)" -eq 7 ]
  state_is third replicating
  run host ls "$DATA/desired" "$DATA/secrets"
  refute_contains first
  refute_contains second
}

import_processes() { host pgrep -f 'subcommands/(import-legacy|create) litestream:'; }
@test "ended in the middle: the container runs again, nothing is registered" {
  local pids
  old_app cut a.db
  # Somebody else has the registrations for a while: so create waits, with the container stopped already.
  host sh -c "echo \$\$ >/run/holder; exec 9<'$DATA/desired'; flock 9; exec sleep 600" 3>&- &
  wait_until 60 bash -c "source '$REPO/tests/dokku/helper.bash'; ! host flock -n '$DATA/desired' true"
  dokku litestream:import-legacy cut --apply --yes >"$BATS_TEST_TMPDIR/said" 2>&1 3>&- &
  wait_until 60 old_is cut "exited no"
  mapfile -t pids < <(import_processes)
  # Short-lived ones among them may have ended meanwhile.
  host kill -TERM "${pids[@]}" || true
  wait_until 60 old_is cut "running no"
  wait_until 60 bash -c "source '$REPO/tests/dokku/helper.bash'; ! host pgrep -f subcommands/import-legacy"
  host sh -c "kill \$(cat /run/holder)"
  run registered cut
  assert_status 1
  # It is as if nothing had been.
  import cut --apply --yes
  assert_success
  state_is cut replicating
}

cleanup() { run bash -c "source '$REPO/tests/dokku/helper.bash'; printf '$1' | dokku litestream:cleanup-legacy ${*:2}"; }
level_files() { s3 ls "$LITESTREAM_TEST_S3_BUCKET" shop/0000/ | wc -l; }

@test "cleanup-legacy: refused while our replication isn't well, the container runs, or somebody still writes there" {
  local keys
  dokku litestream:stop shop
  cleanup '' shop
  assert_status 1
  assert_contains "is not replicating; nothing was deleted"
  dokku litestream:start shop
  old_start shop
  cleanup '' shop --force --confirm shop
  assert_status 1
  assert_contains "dokku.litestream.shop runs and relies on what would be deleted"
  docker stop -t 60 dokku.litestream.shop >/dev/null
  # Whoever wrote this did so after all of ours.
  echo segment >"$BATS_TEST_TMPDIR/segment"
  s3 put "$LITESTREAM_TEST_S3_BUCKET" shop/generations/fedcba9876543210/wal/00000000_00000000.wal.lz4 "$BATS_TEST_TMPDIR/segment"
  cleanup '' shop --force --confirm shop
  assert_status 1
  assert_contains "after our own last upload"
  keys="$(old_keys shop)"
  as 32767 "$TOOLS/writer" -w 2 -n 3 "$STORAGE/shop--db/production.sqlite3"
  dokku litestream:sync shop
  # Names and questions.
  cleanup '' no-such-app
  assert_status 20
  cleanup '' bare
  assert_status 1
  cleanup '' shop no.db
  assert_status 1
  cleanup '' shop --force
  assert_status 2
  assert_contains "give both --force and --confirm shop"
  cleanup '' shop --confirm shop
  assert_status 2
  cleanup '' shop --force --confirm third
  assert_status 2
  cleanup '' shop
  assert_status 1
  assert_contains "Confirmation did not match shop"
  cleanup 'shop\nyes\n' shop
  assert_status 1
  assert_contains "Confirmation did not match delete"
  [ "$(old_keys shop)" = "$keys" ]
}

@test "cleanup-legacy: what Litestream 0.3 left goes, other people's objects and ours stay" {
  local bucket="$LITESTREAM_TEST_S3_BUCKET" ours
  echo mine >"$BATS_TEST_TMPDIR/mine"
  s3 put "$bucket" shop/generations/README.txt "$BATS_TEST_TMPDIR/mine"
  s3 put "$bucket" shop/generations/0123456789abcdef/wal/notes.txt "$BATS_TEST_TMPDIR/mine"
  s3 put "$bucket" shop-two/generations/0123456789abcdef/snapshots/00000000.snapshot.lz4 "$BATS_TEST_TMPDIR/mine"
  ours="$(level_files)"
  cleanup 'shop\ndelete\n' shop production.sqlite3
  assert_success
  assert_contains "This command will delete the backups of $STORAGE/shop--db/production.sqlite3 that Litestream 0.3 made"
  assert_contains "2 objects in generations/ are not Litestream's, and stay"
  [ "$(old_keys shop | wc -l)" -eq 2 ]
  s3 get "$bucket" shop/generations/README.txt
  s3 get "$bucket" shop/generations/0123456789abcdef/wal/notes.txt
  s3 get "$bucket" shop-two/generations/0123456789abcdef/snapshots/00000000.snapshot.lz4
  [ "$(level_files)" -ge "$ours" ]
  host rm "$STORAGE/shop--db/restored.sqlite3"
  dokku litestream:restore "$STORAGE/shop--db" restored.sqlite3 "$S3/shop"
  [ "$(rows "$STORAGE/shop--db/restored.sqlite3")" -eq "$(rows "$STORAGE/shop--db/production.sqlite3")" ]
  # Nothing left: no question either. And not asked at all, with both words. The replication stood still
  # for the restore into its folder.
  wait_until 60 state_is shop replicating
  cleanup '' shop
  assert_success
  assert_contains "has left nothing"
  cleanup '' third --force --confirm third
  assert_success
  [ -z "$(old_keys third)" ]
}

@test "without Docker there is a reason" {
  run host sudo -u dokku env DOCKER_BIN=/nowhere/docker DOKKU_LIB_ROOT="$LIB_ROOT" PLUGIN_PATH="$LIB_ROOT/plugins" DOKKU_ROOT=/home/dokku \
    "$LIB_ROOT/plugins/available/litestream/subcommands/import-legacy" litestream:import-legacy
  assert_status 1
  assert_contains "docker ps failed"
}
