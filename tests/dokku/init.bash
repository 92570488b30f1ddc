#!/usr/bin/env bash
# init.bash - for tests of the daemon under a real init, after helper.bash: the stand-in with runit, as in
# Dokku's Docker image, or with a booted systemd. It is furnished and off at first.
#   init_start systemd|runit   in setup_file; NO_MACHINE says why there can be none
#   power_on, power_off        for runit: the services' part of it

init_obstacle() {
  case "$1" in
    systemd)
      if ! command -v systemd-nspawn >/dev/null || [[ ! -x /lib/systemd/systemd ]]; then
        echo "no systemd-nspawn here (package systemd-container) or no systemd"
      fi
      ;;
    runit) command -v runsvdir >/dev/null || echo "no runit here (package runit)" ;;
  esac
}

init_start() {
  export INIT="$1"
  NO_MACHINE="$(standin_obstacle)"
  [[ -n "$NO_MACHINE" ]] || NO_MACHINE="$(init_obstacle "$INIT")"
  [[ -z "$DOKKU_TEST_REAL" ]] || NO_MACHINE="the stand-in's init"
  export NO_MACHINE
  [[ -z "$NO_MACHINE" ]] || return 0
  case "$INIT" in
    systemd)
      standin_start boot.sh "$BUILD"
      # Where a systemd can't be booted at all, nothing here can be seen.
      if ! power_on; then
        NO_MACHINE="systemd-nspawn can't boot a systemd here: $(tail -n 1 "$STANDIN/log")"
        init_stop
      fi
      ;;
    runit) standin_start enter.sh runit ;;
  esac
}

init_stop() {
  [[ -n "$STANDIN" ]] || return 0
  standin_stop
  find /sys/fs/cgroup -depth -type d -path "*/$(basename "$STANDIN")*" -exec rmdir {} \; 2>/dev/null || true
}

# The first process of the booted machine; where there is one, everything is said to it (enter_words).
find_leader() {
  local nspawn
  nspawn="$(pgrep -P "$STANDIN_PID" -x systemd-nspawn)" && pgrep -P "$nspawn" >"$STANDIN/leader"
}
booted() { find_leader && [[ "$(host systemctl is-system-running 2>/dev/null)" =~ ^(running|degraded)$ ]]; }
is_off() { [[ ! -e "$STANDIN/on" ]]; }

power_on() {
  touch "$STANDIN/on"
  [[ "$INIT" == systemd ]] || return 0
  # nspawn that fails takes the file away at once.
  wait_until 60 eval 'booted || is_off'
  ! is_off || false
}
power_off() {
  case "$INIT" in
    # It may be gone before it has answered.
    systemd) host systemctl poweroff --no-block || true ;;
    runit) touch "$STANDIN/off" ;;
  esac
  wait_until 120 is_off
  rm -f "$STANDIN/leader"
}

# A command on the machine, or on its disk while it is off: there is no /proc then, which leaks are found by.
on_disk() {
  if [[ "$INIT" == systemd && ! -s "$STANDIN/leader" ]]; then
    enter env ASAN_OPTIONS=detect_leaks=0 chroot "$STANDIN/ns/root" "$@"
  else
    host "$@"
  fi
}

# ---- the service ----

SERVICE=dokku-litestream
SV=/etc/runit/runsvdir/default/$SERVICE

# The daemon's process, as that machine counts them.
service_pid() {
  case "$INIT" in
    systemd) host systemctl show --property MainPID --value "$SERVICE" ;;
    runit) host cat "$SV/supervise/pid" ;;
  esac
}
# Is there another daemon than that one, and does it answer?
another_than() {
  local pid
  pid="$(service_pid)" && [[ "${pid:-0}" -gt 0 && "$pid" != "$1" ]] && host "$LIBDIR/litestream" ctl info
}

# ---- an app whose commits are shipped once an hour, or when somebody asks ----

DB_DIR=$STORAGE/app--db DB=$STORAGE/app--db/app.db
REPLICA=$LIB_ROOT/replicas/app ACKED=$LIB_ROOT/acked

# The plugin, the programs of the tests, and the app, which doesn't run yet.
service_bed() {
  # A service has an environment of its own; and who mayn't be looked into has no leaks found.
  host sh -c 'echo ASAN_OPTIONS=detect_leaks=0 >/etc/default/dokku-litestream'
  plugin_install
  tools_install
  host install -d -o 32767 -g 32767 "$LIB_ROOT/replicas"
  host install -o 32767 -g 32767 /dev/null "$ACKED"
  app_create app
  as 32767 "$TOOLS/writer" -n 1 -b 20000 -s 200 "$DB"
}
app_replicate() {
  dokku litestream:create app "$DB_DIR" app.db "file://$REPLICA" --option sync-interval=1h
  dokku litestream:start app
}
acked() { on_disk od -An -td8 "$ACKED" | tr -d ' \n'; }
pending() { [[ "$(db_status app pending_bytes)" -gt 0 ]]; }
# Files that hold the whole database: it has 3 MB from the beginning.
whole_files() { on_disk find "$REPLICA" -name '*.ltx' -size +1M | wc -l; }

# is_shipped [NUMBER] - the replica holds all that the app was told is committed, or all up to that number.
is_shipped() {
  local out="$LIB_ROOT/restored.db" least shipped
  least="${1:-$(acked)}"
  on_disk rm -f "$out"
  on_disk "$LIBDIR/litestream" restore -o "$out" "file://$REPLICA" >/dev/null
  on_disk "$TOOLS/checker" "$out" >&2
  shipped="$(on_disk sqlite3 "$out" 'SELECT max(seq) FROM commits')"
  echo "acknowledged $least, in the replica $shipped" >&2
  [[ "$least" -gt 0 && "$shipped" -ge "$least" ]]
}
# Replication goes on: what is committed by now is shipped when it is asked for.
goes_on() {
  local least
  wait_until 60 state_is app replicating
  least="$(acked)"
  dokku litestream:sync app
  is_shipped "$least"
}

# replace_programs - other ones are installed while something is not shipped: the daemon is another process, of
# these programs, and goes on where the one before was.
replace_programs() {
  local pid new="$LIB_ROOT/new-programs"
  wait_until 60 pending
  pid="$(service_pid)"
  host cp -a "$LIBDIR" "$new"
  host sh -c "echo >>$new/litestreamd"
  run plugin_install_again "$new"
  assert_success
  assert_contains "Restarting the daemon"
  [ "$(service_pid)" != "$pid" ]
  [ "$(host readlink "/proc/$(service_pid)/exe")" = "$LIBDIR/litestreamd" ]
  goes_on
  [ "$(whole_files)" -eq 1 ]
  host rm -r "$new"
}
