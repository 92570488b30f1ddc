#!/usr/bin/env bats
# litestream:create, list and destroy: what is registered, and what is refused with nothing changed.
# plain
load helper

setup_file() {
  machine_with_app create-app
  [[ -z "$NO_MACHINE" ]] || return 0
  as 32767 sqlite3 "$DIR/production.sqlite3" 'PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES (1)'
}
teardown() {
  [[ -z "$NO_MACHINE" ]] || return 0
  dokku --force litestream:destroy create-app >/dev/null 2>&1 || true
}

REPLICA="file://$LIB_ROOT/replicas/one"
desired() { host jq -c "$1" "$DATA/desired/create-app.json"; }

# refused CODE TEXT WORD...: create ends with that code and text, and nothing is registered.
refused() {
  local code="$1" text="$2"
  shift 2
  run dokku litestream:create "$@"
  assert_status "$code"
  assert_contains "$text"
  [ -z "$(host ls -A "$DATA/desired")" ]
}

@test "create registers the database as its file's owner's, stopped, and says what to type next" {
  run dokku litestream:create create-app "$DIR/" production.sqlite3 "$REPLICA"
  assert_success
  assert_contains "dokku litestream:start create-app"
  [ "$(desired '[.version, .app, .running]')" = '[1,"create-app",false]' ]
  [ "$(desired '.databases | length')" = 1 ]
  [ "$(desired '.databases[0] | [.storage_dir, .file, .replica, .uid, .gid, .container_path]')" \
    = "[\"$DIR\",\"production.sqlite3\",\"$REPLICA\",32767,32767,\"/app/db/litestream\"]" ]
  desired .databases[0].id | grep -qE '^"create-app-[0-9a-f]{16}"$'
  [ "$(host stat -c '%a %U' "$DATA/desired/create-app.json")" = "600 dokku" ]
  # The probe of the store leaves nothing behind.
  [ -z "$(host find "$LIB_ROOT/replicas" -type f)" ]
}

@test "create: a database that doesn't exist yet belongs to the folder's owner" {
  app_create create-new 1000
  host install -d -o 1000 -g 1000 "$LIB_ROOT/replicas-1000"
  run dokku litestream:create create-new "$STORAGE/create-new--db" later.db "file://$LIB_ROOT/replicas-1000/new"
  assert_success
  [ "$(host jq -c '.databases[0] | [.uid, .gid]' "$DATA/desired/create-new.json")" = '[1000,1000]' ]
  run host test -e "$STORAGE/create-new--db/later.db"
  assert_status 1
  dokku --force litestream:destroy create-new
}

@test "create: several databases of one app; list shows them; destroy takes one or all" {
  local db
  as 32767 sqlite3 "$DIR/second.db" 'CREATE TABLE t(a)'
  dokku litestream:create create-app "$DIR" production.sqlite3 "$REPLICA"
  dokku --app create-app litestream:create "$DIR" second.db "file://$LIB_ROOT/replicas/two"
  run dokku litestream:list
  assert_success
  assert_contains "$DIR/production.sqlite3"
  assert_contains "$DIR/second.db"
  run dokku --quiet litestream:list
  [ "${#lines[@]}" -eq 2 ]
  run dokku litestream:list --format json
  [ "$(jq -c 'map(.app) | unique' <<<"$output")" = '["create-app"]' ]
  [ "$(jq -r '.[1] | [.path, .replica, .state] | join(" ")' <<<"$output")" = "$DIR/second.db file://$LIB_ROOT/replicas/two stopped" ]
  run dokku --force litestream:destroy create-app nothing.db
  assert_status 1
  assert_contains "has no replicated database nothing.db"
  run dokku --force litestream:destroy create-app production.sqlite3
  assert_success
  [ "$(desired '[.databases[].file]')" = '["second.db"]' ]
  run dokku --force litestream:destroy create-app
  assert_success
  run host test -e "$DATA/desired/create-app.json"
  assert_status 1
}

@test "create --start: registered and replicated when it returns, also by dokku --app" {
  run dokku litestream:create create-app "$DIR" production.sqlite3 "$REPLICA" --start
  assert_success
  assert_contains "is registered with the replica $REPLICA"
  assert_contains "App create-app is replicated"
  refute_contains "Start the replication: "
  [ "$(db_status create-app state)" = replicating ]
  # A second one of an app that runs.
  as 32767 sqlite3 "$DIR/third.db" 'PRAGMA journal_mode=WAL; CREATE TABLE t(a)'
  run dokku --quiet --app create-app litestream:create "$DIR" third.db "file://$LIB_ROOT/replicas/two" --start
  assert_success
  [ -z "$output" ]
  [ "$(dokku litestream:status create-app --format json | jq -r '[.databases[].state] | join(" ")')" = "replicating replicating" ]
  dokku --force litestream:destroy create-app
  host sh -c "rm -rf $LIB_ROOT/replicas/*"
  # What can't be registered isn't started; what can't be started stays registered, and the code says so.
  run dokku litestream:create create-app "$DIR" production.sqlite3 s3://bucket/x --start
  [ "$status" -ne 0 ]
  run host test -e "$DATA/desired/create-app.json"
  assert_status 1
  dokku litestream:create create-app "$DIR" third.db "file://$LIB_ROOT/replicas/two" --start
  dokku --force litestream:destroy create-app
  run dokku litestream:create create-app "$DIR" production.sqlite3 "file://$LIB_ROOT/replicas/two" --start
  assert_status 8
  assert_contains "is registered with the replica"
  assert_contains "dokku litestream:takeover create-app"
  [ "$(desired .running)" = true ]
}

@test "list: none is a message and an empty array" {
  run dokku litestream:list
  assert_success
  assert_contains "no replicated databases"
  run dokku litestream:list --format json
  [ "$output" = '[]' ]
  run dokku litestream:list --format xml
  assert_status 2
}

@test "destroy asks for the app's name" {
  dokku litestream:create create-app "$DIR" production.sqlite3 "$REPLICA"
  run dokku litestream:destroy create-app <<<nope
  assert_status 1
  assert_contains "Aborted"
  [ "$(desired .app)" = '"create-app"' ]
  run dokku litestream:destroy create-app <<<create-app
  assert_success
  run host test -e "$DATA/desired/create-app.json"
  assert_status 1
  run dokku --force litestream:destroy create-app
  assert_status 1
  assert_contains "has no replicated database"
  run dokku --force litestream:destroy no-such-app
  assert_status 20
}

@test "create: a database is registered once, a replica has one writer" {
  dokku litestream:create create-app "$DIR" production.sqlite3 "$REPLICA"
  run dokku litestream:create create-app "$DIR" production.sqlite3 "file://$LIB_ROOT/replicas/other"
  assert_status 1
  assert_contains "registered already"
  run dokku litestream:create create-app "$DIR" other.db "$REPLICA/"
  assert_status 1
  assert_contains "two databases can't share one"
  [ "$(desired '.databases | length')" = 1 ]
}

@test "create: of two at once for one replica one wins" {
  local first second won=0
  dokku litestream:create create-app "$DIR" production.sqlite3 "$REPLICA" >/dev/null 2>&1 3>&- &
  first="$!"
  dokku litestream:create create-app "$DIR" other.db "$REPLICA" >/dev/null 2>&1 3>&- &
  second="$!"
  ! wait "$first" || won=$((won + 1))
  ! wait "$second" || won=$((won + 1))
  [ "$won" -eq 1 ]
  [ "$(desired '.databases | length')" = 1 ]
}

@test "create: the app must exist and run on docker-local" {
  refused 20 "App nobody-has-this does not exist" nobody-has-this "$DIR" production.sqlite3 "$REPLICA"
  refused 20 "does not exist" ../create-app "$DIR" production.sqlite3 "$REPLICA"
  dokku apps:create create-k3s
  dokku scheduler:set create-k3s selected k3s
  refused 1 "only docker-local" create-k3s "$DIR" production.sqlite3 "$REPLICA"
  dokku --force apps:destroy create-k3s
}

@test "create: names that are paths, or not a database's" {
  refused 2 "is a path" create-app "$DIR" ../production.sqlite3 "$REPLICA"
  refused 2 "is a path" create-app "$DIR" sub/production.sqlite3 "$REPLICA"
  refused 2 "can't be a database file's name" create-app "$DIR" .. "$REPLICA"
  refused 2 "can't be a database file's name" create-app "$DIR" "a b" "$REPLICA"
  refused 2 "The argument 3 is empty" create-app "$DIR" "" "$REPLICA"
  refused 2 "without -wal" create-app "$DIR" production.sqlite3-wal "$REPLICA"
}

@test "create: folders that don't exist, lie elsewhere, or are reached by a link" {
  refused 2 "does not exist" create-app "$STORAGE/nothing-here" production.sqlite3 "$REPLICA"
  refused 2 "not an absolute path" create-app create-app--db production.sqlite3 "$REPLICA"
  refused 2 "not a plain path" create-app "$STORAGE/x/../create-app--db" production.sqlite3 "$REPLICA"
  refused 2 "neither below" create-app /tmp production.sqlite3 "$REPLICA"
  host ln -s "$DIR" "$STORAGE/create-link"
  refused 2 "is a symbolic link" create-app "$STORAGE/create-link" production.sqlite3 "$REPLICA"
  host ln -s create-app--db/production.sqlite3 "$STORAGE/link-to-file"
  refused 2 "is a symbolic link" create-app "$STORAGE/link-to-file" production.sqlite3 "$REPLICA"
  refused 2 "is not a folder" create-app "$DIR/production.sqlite3" production.sqlite3 "$REPLICA"
  host rm "$STORAGE/create-link" "$STORAGE/link-to-file"
}

@test "create: a mount outside of the storage root is fine, a folder that no mount covers is told" {
  host install -d -o 32767 -g 32767 /srv/create-app
  dokku storage:mount create-app /srv/create-app:/data
  run dokku litestream:create create-app /srv/create-app app.db "$REPLICA"
  assert_success
  [ "$(desired .databases[0].container_path)" = '"/data"' ]
  dokku --force litestream:destroy create-app
  dokku storage:ensure-directory create-lonely
  run dokku litestream:create create-app "$STORAGE/create-lonely" app.db "$REPLICA"
  assert_success
  assert_contains "No mount of app create-app covers $STORAGE/create-lonely"
  [ "$(desired .databases[0].container_path)" = null ]
  host rm -rf /srv/create-app
}

@test "create: URLs that can't be" {
  refused 2 "has no bucket" create-app "$DIR" production.sqlite3 "s3://"
  refused 2 "unknown scheme 'gopher'" create-app "$DIR" production.sqlite3 "gopher://host/path"
  refused 2 "'no-such-key'" create-app "$DIR" production.sqlite3 "s3://bucket/path?no-such-key=1"
  refused 2 "is empty" create-app "$DIR" production.sqlite3 ""
}

@test "create: files that are no database, or no file" {
  as 32767 sh -c "echo 'this is a text, and one that is long enough to have a header of 100 bytes, so that it is looked at' >$DIR/text.db"
  refused 9 "text.db is not a SQLite database" create-app "$DIR" text.db "$REPLICA"
  as 32767 mkdir "$DIR/folder.db"
  refused 9 "folder.db is not a regular file" create-app "$DIR" folder.db "$REPLICA"
  as 32767 ln -s production.sqlite3 "$DIR/link.db"
  refused 9 "link.db is a symbolic link" create-app "$DIR" link.db "$REPLICA"
  host sh -c "rm -r $DIR/text.db $DIR/folder.db $DIR/link.db"
}

@test "create: a replica folder that the database's owner can't write" {
  host install -d -m 0755 "$LIB_ROOT/replicas-root"
  refused 6 "$LIB_ROOT/replicas-root/x" create-app "$DIR" production.sqlite3 "file://$LIB_ROOT/replicas-root/x"
}

@test "create: a folder that the database's owner can't write, one that is root's" {
  host chmod 0555 "$DIR"
  refused 9 "can't write to the folder $DIR" create-app "$DIR" production.sqlite3 "$REPLICA"
  host chmod 0755 "$DIR"
  dokku storage:ensure-directory --chown root create-root
  # Its worker is root without root's rights, and held by its namespaces.
  run dokku litestream:create create-app "$STORAGE/create-root" production.sqlite3 "file://$LIB_ROOT/root-replica"
  assert_success
  [[ "$(desired '.databases[0].uid')" == 0 && "$(host stat -c %u:%a "$LIB_ROOT/root-replica")" == 0:700 ]]
  dokku --force litestream:destroy create-app
  daemon_stop
  daemon_start -confinement none
  refused 9 "belongs to root" create-app "$STORAGE/create-root" production.sqlite3 "$REPLICA"
  daemon_stop
  daemon_start
}

@test "create: without a daemon it says how to start it" {
  daemon_stop
  refused 1 "start it with sudo $LIBDIR/litestreamd" create-app "$DIR" production.sqlite3 "$REPLICA"
  daemon_start
}
