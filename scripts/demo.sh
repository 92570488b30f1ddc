#!/usr/bin/env bash
# demo.sh - the main job, shown: an app writes a SQLite database, the plugin replicates it, the file
# is lost, the plugin brings it back, and both are compared byte for byte.
#   BUILD=build   where the programs are
#   S3=1          over a real S3 server (Ceph's radosgw on loopback) instead of a folder
# As root it goes through `dokku litestream:*` on the tests' stand-in of Dokku, in namespaces of its
# own; without root through the `litestream` command. Exit 0 only when the bytes are the same.
set -eo pipefail
REPO="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
BUILD="$(realpath -m "${BUILD:-$REPO/build}")"
# shellcheck source=tests/dokku/helper.bash
source "$REPO/tests/dokku/helper.bash"
WORK="$(mktemp -d -p "${TMPDIR:-/tmp}")"
chmod 0755 "$WORK"
# Where the helper keeps the daemon's log and process id.
daemon_files="$WORK" DAEMON_LOG="$WORK/litestreamd.log"
PIDS=()

step() { printf '\n=====> %s\n' "$*"; }
# Shows a command as one would type it, then runs it.
typed() {
  local shown="$*"
  echo "\$ ${shown#host }"
  "$@" 2>&1 | sed 's/^/    /'
}

clean_up() {
  local status="$?" pid
  set +e
  [[ -z "$STANDIN" ]] || machine_stop
  for pid in "${PIDS[@]}"; do kill -KILL "$pid" 2>/dev/null; done
  [[ -z "$S3" ]] || "$REPO/tests/servers/ceph.sh" stop "$WORK/ceph"
  rm -rf "$WORK"
  [[ "$status" -eq 0 ]] || echo "The demo failed (exit $status)." >&2
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# The replica's URL in URL; the server that it names is started.
prepare_store() {
  if [[ -z "$S3" ]]; then
    URL="file://$1"
    return 0
  fi
  step "A real S3 server on loopback (radosgw)"
  "$REPO/scripts/deps.sh" s3
  "$REPO/tests/servers/ceph.sh" start "$WORK/ceph" >"$WORK/s3"
  # shellcheck source=/dev/null
  source "$WORK/s3"
  URL="s3://$LITESTREAM_TEST_S3_BUCKET/my-app"
  echo "    $LITESTREAM_TEST_S3_ENDPOINT, bucket $LITESTREAM_TEST_S3_BUCKET"
}

# same A B: the verdict.
same() {
  local size
  size="$("${ENTER[@]}" stat -c %s "$1")"
  "${ENTER[@]}" cmp "$1" "$2"
  echo
  echo "The restored database and what the app had committed, $size bytes: identical"
}

# What the database holds once everything in its log is in the file: the copy is checkpointed, not
# the original, so nothing is asked of the replicator.
keep_last_state() {
  local db="$1" copy="$2"
  "${ENTER[@]}" cp "$db" "$copy"
  ! "${ENTER[@]}" test -e "$db-wal" || "${ENTER[@]}" cp "$db-wal" "$copy-wal"
  "${ENTER[@]}" sqlite3 "$copy" 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null
  echo "    rows: $("${ENTER[@]}" sqlite3 "$copy" 'SELECT count(*) FROM commits')"
}

demo_dokku() {
  local dir="$STORAGE/my-app--db" db="$STORAGE/my-app--db/production.sqlite3"
  step "A machine with Dokku (the tests' stand-in) and the plugin"
  standin_start enter.sh
  enter_words
  host install -d /usr/local/lib/demo
  host install -m 0755 "$BUILD/tools/writer" /usr/local/lib/demo/
  echo "\$ sudo dokku plugin:install https://github.com/dokku-litestream/dokku-litestream.git --name litestream"
  plugin_install
  # shellcheck disable=SC2119 # its flags may be left out
  daemon_start
  prepare_store /var/lib/dokku/backup/my-app
  [[ -n "$S3" ]] || host install -d -o 32767 -g 32767 /var/lib/dokku/backup

  step "An app with a mounted folder; it writes 200 transactions a second"
  typed dokku apps:create my-app
  typed dokku storage:ensure-directory my-app--db
  typed dokku storage:mount my-app "$dir:/app/db/litestream"
  host sh -c "echo '32767 /usr/local/lib/demo/writer -r 200 $db' >/home/dokku/my-app/CONTAINERS"
  typed dokku ps:start my-app
  wait_until 10 host test -s "$db"

  step "Replicate it"
  if [[ -n "$S3" ]]; then
    echo "\$ dokku litestream:auth --endpoint $LITESTREAM_TEST_S3_ENDPOINT    (two lines on stdin)"
    printf '%s\n' "$LITESTREAM_TEST_S3_ACCESS_KEY_ID" "$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY" \
      | dokku litestream:auth --endpoint "$LITESTREAM_TEST_S3_ENDPOINT" | sed 's/^/    /'
  fi
  typed dokku litestream:create my-app "$dir" production.sqlite3 "$URL"
  typed dokku litestream:start my-app
  sleep 3
  typed dokku litestream:status my-app
  typed dokku litestream:logs my-app -n 5

  step "The app stops; what it committed is in the replica when sync returns"
  typed dokku ps:stop my-app
  typed dokku litestream:sync my-app
  keep_last_state "$db" /var/lib/dokku/last-state
  typed dokku litestream:stop my-app

  step "The database is lost"
  typed host rm -f "$db" "$db-wal" "$db-shm"
  typed host ls -l "$dir"

  step "Bring it back"
  typed dokku litestream:restore "$dir" production.sqlite3 "$URL"
  typed host ls -ln "$dir"
  echo "\$ sqlite3 $db 'PRAGMA integrity_check'"
  host sqlite3 "$db" 'PRAGMA integrity_check' | sed 's/^/    /'
  same /var/lib/dokku/last-state "$db"
}

demo_plain() {
  local db="$WORK/app/production.sqlite3" replicate writer
  ENTER=()
  mkdir "$WORK/app"
  prepare_store "$WORK/backup/my-app"
  if [[ -n "$S3" ]]; then
    export LITESTREAM_ACCESS_KEY_ID="$LITESTREAM_TEST_S3_ACCESS_KEY_ID"
    export LITESTREAM_SECRET_ACCESS_KEY="$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY"
    URL+="?endpoint=$LITESTREAM_TEST_S3_ENDPOINT"
  fi
  step "An app writes 200 transactions a second (no Dokku here, the litestream command alone)"
  "$BUILD/tools/writer" -r 200 "$db" >/dev/null &
  writer="$!"
  PIDS+=("$writer")
  wait_until 10 test -s "$db"

  step "Replicate it"
  echo "\$ litestream replicate $db $URL"
  "$BUILD/bin/litestream" replicate "$db" "$URL" >"$WORK/log" 2>&1 &
  replicate="$!"
  PIDS+=("$replicate")
  sleep 4

  step "The app stops, then the replicator, which ships the last commits first"
  kill -TERM "$writer"
  wait "$writer"
  kill -TERM "$replicate"
  wait "$replicate"
  sed 's/^/    /' "$WORK/log"
  keep_last_state "$db" "$WORK/last-state"

  step "The database is lost"
  typed rm -f "$db" "$db-wal" "$db-shm"

  step "Bring it back"
  typed "$BUILD/bin/litestream" restore -o "$db" "$URL"
  echo "\$ sqlite3 $db 'PRAGMA integrity_check'"
  sqlite3 "$db" 'PRAGMA integrity_check' | sed 's/^/    /'
  same "$WORK/last-state" "$db"
}

main() {
  local obstacle
  unset DOKKU_TEST_REAL
  # Only root can have the stand-in, so nobody else is asked for what it needs.
  [[ "$(id -u)" -ne 0 ]] || "$REPO/scripts/deps.sh" demo
  obstacle="$(standin_obstacle)"
  if [[ -z "$obstacle" ]]; then
    demo_dokku
  else
    echo "($obstacle: showing the litestream command itself)"
    demo_plain
  fi
}

main
