#!/usr/bin/env bash
# shellcheck disable=SC2016,SC2154,SC2119,SC2120 # status and output are bats', the flags of daemon_start the tests'
# What the Dokku tests share. They talk to Dokku through three words only:
#   dokku …     the command, as root
#   host …      any other command on the machine where Dokku is
#   as UID …    the same as that user, without groups
# By default that machine is the stand-in (standin/), in namespaces of its own, one for each test
# file. With DOKKU_TEST_REAL=1 it is this machine and its real Dokku, which these tests change.

REPO="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
BUILD="$(realpath -m "${BUILD:-$REPO/build}")"
LIB_ROOT=/var/lib/dokku
DATA=$LIB_ROOT/data/litestream
STORAGE=$LIB_ROOT/data/storage
LIBDIR=/usr/local/lib/dokku-litestream
export REPO BUILD LIB_ROOT DATA STORAGE LIBDIR

real_dokku() { [[ -n "$DOKKU_TEST_REAL" ]]; }

# Says in a word why the stand-in can't be here; says nothing when it can.
standin_obstacle() {
  if [[ "$(id -u)" -ne 0 ]]; then
    echo "the Dokku stand-in needs root"
  elif ! command -v sudo >/dev/null || ! command -v jq >/dev/null; then
    echo "the Dokku stand-in needs sudo and jq"
  elif ! unshare --mount --pid --fork --mount-proc sh -c 'mount -t tmpfs try /mnt &&
    mkdir /mnt/upper /mnt/work && mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work try /etc' \
    2>/dev/null; then
    echo "the Dokku stand-in needs mount and process namespaces, and overlays in them"
  fi
}

# Starts the stand-in, standin_start enter.sh|boot.sh [WORD [UNSHARE-FLAG…]]; its scratch folder and process id
# stay in the environment of the file's tests.
standin_start() {
  local i script="$1" word="$2"
  shift "$(($# < 2 ? $# : 2))"
  STANDIN="$(mktemp -d "${TMPDIR:-/tmp}/standin.XXXXXX")"
  chmod 0755 "$STANDIN"
  mkdir "$STANDIN/ns"
  setsid unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
    "$@" "$REPO/tests/dokku/standin/$script" "$STANDIN/ready" "$word" </dev/null >"$STANDIN/log" 2>&1 3>&- &
  STANDIN_UNSHARE="$!"
  # It will be killed; bash 5.1 would tell of it, as the demo's last word.
  disown "$STANDIN_UNSHARE"
  for ((i = 0; i < 1200; i++)); do
    [[ ! -e "$STANDIN/ready" ]] || break
    kill -0 "$STANDIN_UNSHARE" 2>/dev/null || break
    sleep 0.05
  done
  [[ -e "$STANDIN/ready" ]] || {
    cat "$STANDIN/log" >&2
    return 1
  }
  STANDIN_PID="$(pgrep -P "$STANDIN_UNSHARE" | head -1)"
  export STANDIN STANDIN_PID STANDIN_UNSHARE
}

standin_stop() {
  [[ -n "$STANDIN_UNSHARE" ]] || return 0
  kill -KILL "$STANDIN_PID" 2>/dev/null || true
  while kill -0 "$STANDIN_UNSHARE" 2>/dev/null; do sleep 0.02; done
  rm -rf "$STANDIN"
}

# ENTER is what goes before every command to run it where Dokku is.
enter_words() {
  local target="$STANDIN_PID"
  # The first process of a machine that was booted in there (init.bash).
  [[ ! -s "$STANDIN/leader" ]] || target="$(cat "$STANDIN/leader")"
  ENTER=()
  real_dokku || ENTER=(nsenter --target "$target" --mount --pid --net --root --wd --)
}
enter() {
  enter_words
  "${ENTER[@]}" "$@"
}
host() { enter "$@"; }
as() {
  local uid="$1"
  shift
  enter setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@"
}
dokku() (
  unset SSH_ORIGINAL_COMMAND
  enter dokku "$@"
)

plugin_install() {
  real_dokku && return 0
  enter env LITESTREAM_PREBUILT="$BUILD/bin" dokku plugin:install "file://$REPO" --name litestream
}
# The install triggers alone, as for another plugin; with other programs.
plugin_install_again() { enter env LITESTREAM_PREBUILT="${1:-$BUILD/bin}" dokku plugin:install; }

# For setup_file: the machine with the plugin on it. Where there can be none NO_MACHINE says why, and
# every test of the file is skipped by its setup (bats before 1.5 knows no skip in setup_file).
machine_start() {
  if ! real_dokku; then
    NO_MACHINE="$(standin_obstacle)"
    export NO_MACHINE
    [[ -z "$NO_MACHINE" ]] || return 0
    standin_start enter.sh
  fi
  plugin_install >&2
}
# machine_with_app [APP...]: the same with the test programs, a daemon, a folder where app users' replicas can
# be, and these apps. DIR is the mounted folder of the first one. What comes behind it in setup_file needs
# `[[ -z "$NO_MACHINE" ]] || return 0` before it.
machine_with_app() {
  local app
  machine_start
  [[ -z "$NO_MACHINE" ]] || return 0
  tools_install
  daemon_start
  host install -d -o 32767 -g 32767 "$LIB_ROOT/replicas"
  for app in "$@"; do app_create "$app"; done
  [[ "$#" -eq 0 ]] || export DIR="$STORAGE/$1--db"
}
need_machine() { [[ -z "$NO_MACHINE" ]] || skip "$NO_MACHINE"; }
setup() { need_machine; }
machine_stop() {
  [[ -z "$NO_MACHINE" ]] || return 0
  daemon_stop
  real_dokku || standin_stop
}
teardown_file() { machine_stop; }

# The daemon in the foreground of this part, with its output and its process id in files: tests of a
# file are processes of their own, and any of them may stop and start it: daemon_start [FLAG...].
daemon_files="${BATS_FILE_TMPDIR:-${TMPDIR:-/tmp}/litestreamd.$$}"
DAEMON_LOG="$daemon_files/litestreamd.log"
daemon_start() {
  local i pid
  mkdir -p "$daemon_files"
  enter_words
  "${ENTER[@]}" "$LIBDIR/litestreamd" "$@" </dev/null >>"$DAEMON_LOG" 2>&1 3>&- &
  pid="$!"
  echo "$pid" >"$daemon_files/litestreamd.pid"
  # The one that answers must be this one, not one that did not end.
  for ((i = 0; i < 1200; i++)); do
    has_ended "$pid" && break
    ! host "$LIBDIR/litestream" ctl info >/dev/null 2>&1 || return 0
    sleep 0.05
  done
  echo "litestreamd does not answer; it said:" >&2
  cat "$DAEMON_LOG" >&2
  return 1
}
# A process that nobody waits for stays as a zombie.
has_ended() { [[ ! -e "/proc/$1" ]] || grep -qs '^State:.Z' "/proc/$1/status"; }
daemon_stop() {
  [[ -f "$daemon_files/litestreamd.pid" ]] || return 0
  local pid child i
  pid="$(cat "$daemon_files/litestreamd.pid")"
  # On the stand-in pid is nsenter, the daemon is its child.
  child="$(pgrep -P "$pid" -x litestreamd || true)"
  kill -TERM "${child:-$pid}" 2>/dev/null || true
  for ((i = 0; i < 800; i++)); do
    ! has_ended "$pid" || break
    sleep 0.05
  done
  rm -f "$daemon_files/litestreamd.pid"
  # What follows would take it for none.
  if ! has_ended "$pid" || host "$LIBDIR/litestream" ctl info >/dev/null 2>&1; then
    echo "litestreamd was told to end and has not (nsenter $pid, litestreamd ${child:-not found}); it said:" >&2
    tail -n 40 "$DAEMON_LOG" >&2
    return 1
  fi
}

# Waits until the command succeeds, for that many seconds; fails with its last output.
wait_until() {
  local seconds="$1" end out
  shift
  end=$((SECONDS + seconds))
  until out="$("$@" 2>&1)"; do
    if [[ "$SECONDS" -ge "$end" ]]; then
      echo "not within $seconds s: $*" >&2
      echo "$out" >&2
      return 1
    fi
    sleep 0.1
  done
}

# For wait_until, whose command can't begin with "!".
not() { ! "$@"; }

# An app with a mounted folder that belongs to its user: app_create APP [UID].
app_create() {
  dokku apps:create "$1" >/dev/null
  dokku storage:ensure-directory --chown "${2:-32767}" "$1--db" >/dev/null
  dokku storage:mount "$1" "$STORAGE/$1--db:/app/db/litestream" >/dev/null
}

assert() {
  "$@" || {
    echo "failed: $*" >&2
    echo "status: $status" >&2
    echo "$output" >&2
    return 1
  }
}
assert_success() { assert [ "$status" -eq 0 ]; }
assert_status() { assert [ "$status" -eq "$1" ]; }
assert_contains() { [[ "$output" == *"$1"* ]] || assert false "$1"; }
refute_contains() { [[ "$output" != *"$1"* ]] || assert false "$1"; }

# s3_start: radosgw for a file's tests, whose LITESTREAM_TEST_S3_… say where it is; where there can be
# none, NO_S3 says why.
s3_start() {
  local status=0
  "$REPO/tests/servers/ceph.sh" start "$BATS_FILE_TMPDIR/ceph" >"$BATS_FILE_TMPDIR/s3" 3>&- || status="$?"
  [[ "$status" -ne 77 ]] || export NO_S3="radosgw is not installed"
  [[ "$status" -ne 77 ]] || return 0
  [[ "$status" -eq 0 ]]
  set -a
  # shellcheck source=/dev/null
  source "$BATS_FILE_TMPDIR/s3"
  set +a
}
s3_stop() { [[ ! -d "$BATS_FILE_TMPDIR/ceph" ]] || "$REPO/tests/servers/ceph.sh" stop "$BATS_FILE_TMPDIR/ceph"; }

# fence APP FILE REPLICA: that database in the app's folder is new there, and not the one that the replica holds,
# which was uploaded, registered no more, and removed. Registered again it is not started by this.
fence() {
  local dir="$STORAGE/$1--db"
  as 32767 sqlite3 "$dir/$2" 'PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)'
  dokku litestream:create "$1" "$dir" "$2" "$3"
  dokku litestream:start "$1"
  dokku litestream:destroy "$1" "$2" --force
  # Its worker may be ending, and SQLite removes the log itself.
  host sh -c "rm -f $dir/$2*"
  as 32767 sqlite3 "$dir/$2" 'PRAGMA journal_mode=WAL; CREATE TABLE other(x)'
  dokku litestream:create "$1" "$dir" "$2" "$3"
}

# The test programs, where every user can run them.
TOOLS=/usr/local/lib/litestream-tests
tools_install() {
  host install -d "$TOOLS"
  host install -m 0755 "$BUILD"/tools/{writer,checker,pagecmp} "$TOOLS/"
}

# app_start APP DB [WRITER-FLAG...]: the app's process writes numbered commits to DB. On the stand-in
# it is the app's container; a real Dokku would need an image for that, so there it is a process of
# the same user beside it.
app_start() {
  local app="$1" db="$2" uid
  shift 2
  uid="$(host stat -c %u "$(dirname "$db")")"
  if real_dokku; then
    host setsid setpriv --reuid "$uid" --regid "$uid" --clear-groups \
      "$TOOLS/writer" "$@" "$db" </dev/null >/dev/null 2>&1 3>&- &
    echo "$!" >"$BATS_FILE_TMPDIR/$app.pid"
  else
    host sh -c "echo '$uid $TOOLS/writer $* $db' >/home/dokku/$app/CONTAINERS"
    dokku ps:start "$app"
  fi
  wait_until 60 rows_at_least "$db" 1
}
app_stop() {
  if real_dokku; then
    kill -TERM "$(cat "$BATS_FILE_TMPDIR/$1.pid")" 2>/dev/null || true
    while kill -0 "$(cat "$BATS_FILE_TMPDIR/$1.pid")" 2>/dev/null; do sleep 0.05; done
  else
    dokku ps:stop "$1"
  fi
}

rows() { host sqlite3 -cmd '.timeout 5000' "$1" 'SELECT count(*) FROM commits'; }
rows_at_least() { [[ "$(rows "$1")" -ge "$2" ]]; }

# overlap_check DB: the health check of all apps: with `overlaps N` in force a deploy goes on when of N deploys
# the new release has written while the old one still did. The order of all commits is written down for it.
overlap_check() {
  host sqlite3 -cmd '.timeout 5000' "$1" 'CREATE TABLE turns(id INTEGER PRIMARY KEY, writer INTEGER);
    CREATE TRIGGER turn AFTER INSERT ON commits BEGIN INSERT INTO turns(writer) VALUES (new.writer); END'
  host tee /etc/dokku-standin-check >/dev/null <<<"#!/bin/sh
    for i in \$(seq 600); do
      [ \"\$(sqlite3 -cmd '.timeout 5000' '$1' 'WITH w AS (SELECT min(id) AS first, max(id) AS last FROM turns GROUP BY writer)
        SELECT count(*) FROM w AS old JOIN w AS new ON old.first < new.first AND new.first < old.last')\" -lt \"\$(cat /run/deploys)\" ] || exit 0
      sleep 0.1
    done
    exit 1"
  host chmod 0755 /etc/dokku-standin-check
}
overlaps() { host sh -c "echo $1 >/run/deploys"; }

# keep_state DB COPY: what DB holds once its log is in the file. The copy is checkpointed, not the
# original, so nothing is asked of the replicator. The app must have stopped.
keep_state() {
  # The log may go into the file, and away, between two copies.
  host sh -c 'while [ -e "$1-wal" ] && ! { cp "$1" "$2" && cp "$1-wal" "$2-wal"; }; do :; done
    [ -e "$2-wal" ] || cp "$1" "$2"' sh "$1" "$2"
  host sqlite3 "$2" 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null
}

# app_status APP FILTER: of the status JSON's object of the app. The daemon is asked, as litestream:status does:
# who waits for a state asks often.
app_status() { host "$LIBDIR/litestream" ctl status -json "$1" | jq -r --arg app "$1" "[.apps[] | select(.app == \$app)][0] | $2"; }
# db_status APP MEMBER: of the app's one database.
db_status() { app_status "$1" ".databases[0].$2"; }
state_is() { [[ "$(db_status "$1" state)" == "$2" ]]; }
