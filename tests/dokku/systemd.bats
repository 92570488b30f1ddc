#!/usr/bin/env bats
# The daemon as a service of a really booted systemd: installed, crashed, hung, upgraded, stopped, the host shut
# down with transactions that were not shipped, and booted again.
# The app is what docker.service runs there: it starts after the daemon and stops before it.
# plain
load helper
load init

setup_file() {
  init_start systemd
  [[ -z "$NO_MACHINE" ]] || return 0
  service_bed >&2
  host sh -c 'cat >/etc/systemd/system/docker.service' <<END
[Service]
ExecStart=/usr/bin/setpriv --reuid 32767 --regid 32767 --clear-groups $TOOLS/writer -r 100 -a $ACKED $DB
[Install]
WantedBy=multi-user.target
END
  host systemctl --quiet enable --now docker
  app_replicate >&2
}
teardown_file() {
  init_stop
}

show() { host systemctl show --property "$1" --value "${2:-$SERVICE}"; }

@test "install: a unit that systemd understands, enabled and running; logs are rotated" {
  [ "$(host stat -c '%a %U %G' "/etc/systemd/system/$SERVICE.service")" = "644 root root" ]
  run host systemd-analyze verify "/etc/systemd/system/$SERVICE.service"
  assert_success
  assert [ -z "$output" ]
  [ "$(host systemctl is-enabled "$SERVICE")" = enabled ]
  [ "$(show ActiveState)" = active ]
  [ "$(show Type)" = notify ]
  [[ " $(show Before) " == *" docker.service "* ]]
  [[ " $(show After) " == *" network.target "* ]]
  [[ " $(show After) " != *" network-online.target "* ]]
  ! command -v logrotate >/dev/null || host logrotate -d "/etc/logrotate.d/$SERVICE"
  run host journalctl --unit "$SERVICE" --no-pager
  assert_contains "listens on"
}

@test "what the unit forbids is not what the daemon needs" {
  local pid worker
  pid="$(service_pid)"
  [ "$(host awk '/^NoNewPrivs/ { print $2 }' "/proc/$pid/status")" = 1 ]
  [ "$(host awk '/^Seccomp:/ { print $2 }' "/proc/$pid/status")" = 2 ]
  [ "$(db_status app confinement)" = "mount namespace" ]
  worker="$(db_status app pid)"
  [ "$(host awk '/^Uid/ { print $2, $3, $4 }' "/proc/$worker/status")" = "32767 32767 32767" ]
  [ "$(host awk '/^CapEff/ { print $2 }' "/proc/$worker/status")" = 0000000000000000 ]
  [ "$(db_status app confinement)" = "mount namespace" ]
  run dokku litestream:sync app
  assert_success
  # A restore is a job of another user; looking for who has a file open reads other users' /proc.
  dokku litestream:restore "$DB_DIR" copy.db "file://$REPLICA"
  host rm "$DB_DIR/copy.db"
  run dokku litestream:restore app --force
  assert_status 9
}

@test "install again: nothing is restarted and no tracked file is changed" {
  local pid sum tree="$LIB_ROOT/plugins/available/litestream"
  pid="$(service_pid)"
  sum="$(host sh -c "cd $tree && find . -type f -exec sha256sum {} + | sort | sha256sum")"
  run plugin_install_again
  assert_success
  refute_contains "the daemon"
  [ "$(service_pid)" = "$pid" ]
  [ "$(host sh -c "cd $tree && find . -type f -exec sha256sum {} + | sort | sha256sum")" = "$sum" ]
}

@test "the programs are replaced: the daemon is restarted, and nothing is lost or uploaded anew" {
  replace_programs
}

@test "killed: systemd starts it again and the replication goes on" {
  local pid
  pid="$(service_pid)"
  host kill -KILL "$pid"
  wait_until 60 another_than "$pid"
  [ "$(show NRestarts)" -ge 1 ]
  goes_on
}

@test "hung: the watchdog ends it; one that is well feeds it" {
  local pid
  host mkdir "/run/systemd/system/$SERVICE.service.d"
  host sh -c "printf '[Service]\nWatchdogSec=4s\nRestartSec=100ms\n' >/run/systemd/system/$SERVICE.service.d/test.conf"
  host systemctl daemon-reload
  host systemctl restart "$SERVICE"
  pid="$(service_pid)"
  fed_since() { [[ "$(show WatchdogTimestampMonotonic)" -gt "$1" ]]; }
  wait_until 60 fed_since "$(show WatchdogTimestampMonotonic)"
  wait_until 60 fed_since "$(show WatchdogTimestampMonotonic)"
  [ "$(service_pid)" = "$pid" ]
  host kill -STOP "$pid"
  wait_until 60 another_than "$pid"
  run host journalctl --unit "$SERVICE" --no-pager
  assert_contains "Watchdog timeout"
  host rm -r "/run/systemd/system/$SERVICE.service.d"
  host systemctl daemon-reload
  host systemctl restart "$SERVICE"
  wait_until 60 state_is app replicating
}

@test "stopped: the last commits are shipped before it ends; stopped on purpose it stays so" {
  host systemctl start docker
  wait_until 60 pending
  host systemctl stop docker
  host systemctl stop "$SERVICE"
  is_shipped
  run dokku litestream:sync app
  assert_status 1
  assert_contains "sudo systemctl start $SERVICE"
  host systemctl --quiet disable "$SERVICE"
  run plugin_install_again
  assert_success
  assert_contains "is disabled"
  [ "$(show ActiveState)" = inactive ]
  host systemctl --quiet enable --now "$SERVICE"
  host systemctl start docker
  wait_until 60 state_is app replicating
}

@test "the host is shut down with unshipped transactions: they are in the replica; booted, it goes on" {
  wait_until 60 pending
  power_off
  is_shipped
  power_on
  [ "$(show ActiveState)" = active ]
  [ "$(show ActiveEnterTimestampMonotonic)" -le "$(show ExecMainStartTimestampMonotonic docker)" ]
  goes_on
  [ "$(whole_files)" -eq 1 ]
}

@test "uninstall: a last sync, nothing of the service is left, the data stays; installed again it goes on" {
  local file
  wait_until 60 pending
  host systemctl stop docker
  run dokku plugin:uninstall litestream
  assert_success
  assert_contains "Kept $DATA"
  for file in "$LIBDIR" "/etc/systemd/system/$SERVICE.service" "/etc/systemd/system/multi-user.target.wants/$SERVICE.service" \
    "/etc/logrotate.d/$SERVICE"; do
    run host test -e "$file"
    assert_status 1
  done
  [ "$(show LoadState)" = not-found ]
  plugin_install
  wait_until 60 state_is app replicating
  is_shipped
  [ "$(whole_files)" -eq 1 ]
}

@test "uninstall with LITESTREAM_PURGE=yes: local data goes, replicas stay and are named" {
  run enter env LITESTREAM_PURGE=yes dokku plugin:uninstall litestream
  assert_success
  assert_contains "Keeping the replica of app: file://$REPLICA"
  run host test -e "$DATA"
  assert_status 1
  [ "$(whole_files)" -eq 1 ]
  run host test -e "$DB"
  assert_success
}
