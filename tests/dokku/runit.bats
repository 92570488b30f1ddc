#!/usr/bin/env bats
# The daemon as a runit service, as in Dokku's Docker image: installed while nothing is started yet, crashed,
# upgraded, stopped, the image's container stopped with transactions that were not shipped, and started again.
# Apps are containers beside that one: they go on through all of it.
# plain
load helper
load init

setup_file() {
  init_start runit
  [[ -z "$NO_MACHINE" ]] || return 0
  service_bed >&2
}
teardown_file() {
  init_stop
}

daemon_up() { host "$LIBDIR/litestream" ctl info; }

@test "install before the services are started: a service that is there when they are" {
  [ "$(host stat -c '%a %U %G' "$SV/run")" = "755 root root" ]
  run host "$LIBDIR/litestream" ctl info
  [ "$status" -ne 0 ]
  power_on
  wait_until 60 daemon_up
  wait_until 60 host grep -q "listens on" "/var/log/services/$SERVICE"
  host sh -c "echo '32767 $TOOLS/writer -r 100 -a $ACKED $DB' >/home/dokku/app/CONTAINERS"
  dokku ps:start app
  app_replicate
  dokku litestream:sync app
}

@test "install again: nothing is restarted" {
  local pid
  pid="$(service_pid)"
  run plugin_install_again
  assert_success
  refute_contains "the daemon"
  [ "$(service_pid)" = "$pid" ]
}

@test "the programs are replaced: the daemon is restarted, and nothing is lost or uploaded anew" {
  replace_programs
}

@test "killed: runit starts it again and the replication goes on" {
  local pid
  pid="$(service_pid)"
  host kill -KILL "$pid"
  wait_until 60 another_than "$pid"
  goes_on
  [ "$(whole_files)" -eq 1 ]
}

@test "stopped: the last commits are shipped before it ends" {
  wait_until 60 pending
  dokku ps:stop app
  host sv -w 60 down "$SV"
  is_shipped
  run dokku litestream:sync app
  assert_status 1
  assert_contains "sudo sv up $SV"
  host sv up "$SV"
  wait_until 60 daemon_up
  dokku ps:start app
}

@test "the image's container is stopped: what was committed by then is shipped; started again, it goes on" {
  local least
  wait_until 60 pending
  least="$(acked)"
  power_off
  is_shipped "$least"
  # Another boot: the image has given all of Dokku's data to dokku, and install runs before the services do.
  host chown -hR dokku:dokku "$DATA"
  run plugin_install_again
  assert_success
  [ "$(host stat -c '%a %U' "$DATA/state")" = "711 root" ]
  [ "$(host find "$DATA/state" -mindepth 1 -maxdepth 1 -type d -printf '%u %m')" = "32767 700" ]
  power_on
  wait_until 60 daemon_up
  goes_on
  [ "$(whole_files)" -eq 1 ]
}

@test "a boot where the programs can't be built goes on without them" {
  local tree="$LIB_ROOT/plugins/available/litestream"
  power_off
  host sh -c "cp -a $tree/Makefile /var/tmp/; printf 'all:\n\tfalse\n' >$tree/Makefile"
  run dokku plugin:install
  assert_success
  assert_contains "could not be built"
  host mv /var/tmp/Makefile "$tree/Makefile"
  power_on
  wait_until 60 daemon_up
}

@test "uninstall: a last sync, nothing of the service is left, the data stays" {
  local pid least
  wait_until 60 pending
  least="$(acked)" pid="$(service_pid)"
  host cp "$LIBDIR/litestream" "$TOOLS/"
  run dokku plugin:uninstall litestream
  assert_success
  assert_contains "Kept $DATA"
  run host test -e "$SV" -o -e "$LIBDIR" -o -e "/proc/$pid"
  assert_status 1
  host install -d "$LIBDIR"
  host cp "$TOOLS/litestream" "$LIBDIR/"
  is_shipped "$least"
}
