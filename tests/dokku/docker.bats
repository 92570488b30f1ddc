#!/usr/bin/env bats
# An app in a real Docker container, as the user that Dokku's buildpacks give it, writing through deploys.
# Skips where no Docker daemon can run.
# plain
load helper
load docker

setup_file() {
  machine_start
  docker_machine_start
  [[ -z "$NO_MACHINE" ]] || return 0
  tools_install
  docker_image app-image "$BUILD/tools/writer"
  daemon_start
  host install -d -o 32767 -g 32767 "$LIB_ROOT/replicas"
  app_create boxed
  export DIR="$STORAGE/boxed--db" DB="$STORAGE/boxed--db/production.sqlite3" URL="file://$LIB_ROOT/replicas/boxed"
}
teardown_file() {
  docker_machine_stop
  machine_stop
}
setup() {
  need_machine
  real_dokku && skip "the stand-in's containers; a real Dokku would need an image that it can deploy"
  true
}

# code NUMBER: the next release of the app; it writes numbers of its own, so that it is seen who wrote what.
code() {
  host sh -c "echo app-image >/etc/dokku-standin-image
    echo '32767 -w $1 -r 100 /app/db/litestream/production.sqlite3' >/home/dokku/boxed/CONTAINERS"
}
wrote() { [[ "$(host sqlite3 -cmd '.timeout 5000' "$DB" "SELECT count(*) FROM commits WHERE writer = $1")" -ge "$2" ]]; }
containers() { docker ps -q --filter label=com.dokku.app-name=boxed | wc -l; }

@test "the container's processes are other users in other namespaces, on the file that is replicated" {
  local pid
  code 1
  dokku ps:start boxed
  wait_until 60 wrote 1 10
  pid="$(docker inspect -f '{{.State.Pid}}' "$(docker ps -q)")"
  [ "$(host stat -c %u "/proc/$pid" "$DB" | sort -u)" = 32767 ]
  [ "$(host readlink "/proc/$pid/ns/mnt")" != "$(host readlink /proc/self/ns/mnt)" ]
  [ "$(host readlink "/proc/$pid/ns/pid")" != "$(host readlink /proc/self/ns/pid)" ]
  run dokku litestream:create boxed "$DIR" production.sqlite3 "$URL"
  assert_success
  run dokku litestream:start boxed
  assert_success
  wait_until 60 state_is boxed replicating
}

@test "deploys: the old container writes on while the new one starts, and all goes on being replicated" {
  overlap_check "$DB"
  code 2
  overlaps 1
  dokku ps:restart boxed
  [ "$(containers)" -eq 1 ]
  code 3
  overlaps 2
  dokku ps:restart boxed
  [ "$(containers)" -eq 1 ]
  wait_until 60 state_is boxed replicating
  [ "$(dokku litestream:status boxed --format json | jq .restarts)" -eq 0 ]
}

@test "the app is killed with its container; what it had committed is restored, byte for byte" {
  local writers
  docker kill "$(docker ps -q --filter label=com.dokku.app-name=boxed)" >/dev/null
  dokku ps:stop boxed
  [ "$(containers)" -eq 0 ]
  dokku litestream:sync boxed
  keep_state "$DB" /var/tmp/boxed-last
  writers="$(host sqlite3 /var/tmp/boxed-last 'SELECT group_concat(DISTINCT writer) FROM commits')"
  [ "$(tr , '\n' <<<"$writers" | sort | xargs)" = "1 2 3" ]
  dokku litestream:restore "$DIR" restored.sqlite3 "$URL"
  host cmp /var/tmp/boxed-last "$DIR/restored.sqlite3"
  run host "$TOOLS/checker" "$DIR/restored.sqlite3"
  assert_success
}

@test "restore-on-deploy: before a container starts; and one that must not start is not left behind" {
  local before
  dokku litestream:set boxed restore-on-deploy true
  before="$(rows /var/tmp/boxed-last)"
  host sh -c "rm -f /etc/dokku-standin-check $DB*; mv $LIB_ROOT/replicas/boxed $LIB_ROOT/replicas/elsewhere"
  code 4
  run dokku ps:start boxed
  assert_status 3
  assert_contains "App boxed is not started without its database"
  host test ! -e "$DB"
  [ -z "$(docker ps -aq --filter status=created)" ]
  # A folder for the replica may have been made by then, as for a first start.
  host sh -c "rmdir $LIB_ROOT/replicas/boxed; mv -T $LIB_ROOT/replicas/elsewhere $LIB_ROOT/replicas/boxed"
  run dokku ps:start boxed
  assert_success
  assert_contains "-----> Restored $DB"
  wait_until 60 wrote 4 10
  [ "$(host sqlite3 -cmd '.timeout 5000' "$DB" 'SELECT count(*) FROM commits WHERE writer < 4')" -eq "$before" ]
  [ "$(host stat -c %u "$DB")" = 32767 ]
  wait_until 60 state_is boxed replicating
  dokku ps:stop boxed
}
