#!/usr/bin/env bats
# The disk with the plugin's data is full: registrations, settings, credentials and states stay as they were,
# whoever wanted them changed is told, and with some room everything goes on.
# plain
load helper

setup_file() {
  machine_start
  [[ -z "$NO_MACHINE" ]] || return 0
  tools_install
  host sh -c "mkdir -p /mnt/data && cp -a $DATA/. /mnt/data && mount -t tmpfs -o size=32m small $DATA &&
    cp -a /mnt/data/. $DATA && chown --reference=/mnt/data $DATA && chmod --reference=/mnt/data $DATA"
  daemon_start
  app_create full
  export DIR="$STORAGE/full--db" URL="file://$LIB_ROOT/replicas/full"
  dokku storage:ensure-directory --chown 32767 full--db
  host sh -c "mkdir -p $LIB_ROOT/replicas/full && chown 32767:32767 $LIB_ROOT/replicas/full"
  as 32767 "$TOOLS/writer" -n 20 "$DIR/one.db"
  as 32767 "$TOOLS/writer" -n 20 "$DIR/two.db"
  dokku litestream:create full "$DIR" one.db "$URL/one"
  dokku litestream:start full
}

full() { host sh -c "mount -o remount,size=\$((\$(df --output=used -B1 $DATA | tail -n 1))) small $DATA"; }
roomy() { host mount -o remount,size=32m small "$DATA"; }
teardown() { [[ -n "$NO_MACHINE" ]] || roomy; }

# All files of the user's words, with what is in them.
words() { host sh -c "cd $DATA && find desired secrets -type f | sort | xargs sha256sum"; }

@test "a full disk: what can't be written is told, and everything is as it was" {
  local before
  dokku litestream:sync full
  before="$(words)"
  full
  run dokku litestream:set full one.db sync-interval 5s
  assert_status 1
  assert_contains " !     $DATA/desired/full.json could not be written; it is as it was"
  run dokku litestream:create full "$DIR" two.db "$URL/two"
  assert_status 1
  assert_contains "could not be written; it is as it was"
  run dokku litestream:auth full < <(printf 'KEY\nSecret\n')
  assert_status 1
  assert_contains "could not be written; it is as it was"
  [[ "$(words)" == "$before" ]]
}

@test "a full disk: the app goes on, and is shipped when there is room" {
  full
  as 32767 "$TOOLS/writer" -n 200 "$DIR/one.db"
  roomy
  dokku litestream:sync full
  as 32767 sh -c "rm -f $DIR/copy.db*"
  dokku litestream:restore "$DIR" copy.db "$URL/one"
  [[ "$(rows "$DIR/copy.db")" -eq 220 ]]
  dokku litestream:set full one.db sync-interval 2s
  dokku litestream:create full "$DIR" two.db "$URL/two"
  dokku litestream:sync full
}
