#!/usr/bin/env bash
# shellcheck disable=SC2034,SC2154 # names are the tests', and bats'
# daemon.bash - what tests of litestreamd share, after scenario.bash: a daemon in a folder of its own,
# apps of other users, and the words that the plugin would use.

ALICE=54101 BOB=54102 STRANGER=54103
SOCKET_GROUP=daemon

setup() {
  [[ "$(id -u)" -eq 0 ]] || skip "workers under other uids need root"
  # Not below bats' own folder: that is root's alone, and workers must get through.
  ROOT="$(mktemp -d "${TMPDIR:-/tmp}/daemon.XXXXXX")"
  chmod 0755 "$ROOT"
  [[ -z "$TMPDIR" ]] || chmod a+x "$TMPDIR"
  mkdir -m 0755 "$ROOT/bin" "$ROOT/storage" "$ROOT/replicas"
  cp "$BUILD/bin/litestream" "$BUILD/bin/litestreamd" "$ROOT/bin/"
  DATA="$ROOT/data"
  # A worker that nobody may look into can't be looked into by the leak checker either.
  export ASAN_OPTIONS="detect_leaks=0"
}

teardown() {
  [[ -n "$ROOT" ]] || return 0
  [[ ! -f "$BATS_TEST_TMPDIR/litestreamd.pid" ]] || end litestreamd || true
  reap
  tail -n 40 "$ROOT"/log/*.log "$ROOT"/own/log/*.log 2>/dev/null || true
  rm -rf "$ROOT"
}

# ---- the daemon ----

daemon() {
  spawn litestreamd "$ROOT/bin/litestreamd" -data-dir "$DATA" -socket "$ROOT/run/control.sock" \
    -log-dir "$ROOT/log" -storage-root "$ROOT/storage" -user root -group "$SOCKET_GROUP" \
    -recheck 200ms -backoff 200ms -max-backoff 2s "$@"
  poll ctl info
}

ctl() { "$ROOT/bin/litestream" ctl -socket "$ROOT/run/control.sock" "$@"; }

# ---- apps ----

# app NAME UID [OPTIONS-JSON]: a folder with a database of that user, a place for its replica, and
# the wish to replicate it.
app() {
  local dir="$ROOT/storage/$1--db"
  mkdir -p "$dir" "$ROOT/replicas/$1"
  chown "$2:$2" "$dir" "$ROOT/replicas/$1"
  [[ -e "$dir/app.db" ]] || sql "$1" "$2" 'PRAGMA journal_mode=WAL; CREATE TABLE t (n INTEGER)' >/dev/null
  desire "$1" "$2" true "${3:-{\}}"
}

# For spawn.
as_alice=(setpriv --reuid "$ALICE" --regid "$ALICE" --clear-groups)
as() { setpriv --reuid "$1" --regid "$1" --clear-groups "${@:2}"; }

# sql APP UID STATEMENTS
sql() { as "$2" sqlite3 -cmd '.timeout 5000' "$ROOT/storage/$1--db/app.db" "$3"; }

# put FILE: standard input, whole or not at all, as the plugin does it.
put() {
  (umask 077 && cat >"$1.new")
  mv "$1.new" "$1"
}

# desire NAME UID RUNNING [OPTIONS-JSON [DIR]]
desire() {
  mkdir -p "$DATA"
  chmod 0711 "$DATA"
  mkdir -p "$DATA/desired" "$DATA/secrets"
  chmod 0700 "$DATA/desired" "$DATA/secrets"
  jq -n --arg app "$1" --argjson uid "$2" --argjson running "$3" --argjson options "${4:-{\}}" \
    --arg dir "${5:-$ROOT/storage/$1--db}" --arg url "file://$ROOT/replicas/$1" \
    '{version: 1, app: $app, running: $running, databases: [{id: "\($app)-0123456789abcdef",
      storage_dir: $dir, file: "app.db", replica: $url, uid: $uid, gid: $uid, options: $options}]}' \
    | put "$DATA/desired/$1.json"
}

# field NAME KEY: of the app's only database.
field() { ctl status -json "$1" | jq -r ".apps[0].databases[0].$2"; }
worker_of() { field "$1" pid; }
is() { [[ "$(field "$1" "$2")" == "$3" ]]; }
reason_has() { [[ "$(field one reason)" == *"$1"* ]]; }
in_log() { grep -q "$2" "$ROOT/log/$1.log"; }
gone() { ! kill -0 "$1" 2>/dev/null; }

# restored NAME SQL: the answer of the database that the replica holds.
restored() {
  rm -rf "$ROOT/out.db"* "$ROOT/.out.db"*
  "$LITESTREAM" restore -o "$ROOT/out.db" "file://$ROOT/replicas/$1" >/dev/null
  sqlite3 "$ROOT/out.db" "$2"
}

proc() { awk -v key="$2:" '$1 == key { $1 = ""; print }' "/proc/$1/status" | xargs; }
