#!/usr/bin/env bash
# shellcheck disable=SC2034 # what `on` sets is read by helper.bash
# hosts.bash - several stand-ins at once, each a host with a disk of its own; all share the network.
# After helper.bash.

# What is known of a host is in a file: each test of a file is a process of its own.
host_file() { echo "$BATS_FILE_TMPDIR/host-$1"; }
host_keep() { echo "$STANDIN $STANDIN_PID $STANDIN_UNSHARE $DISK" >"$(host_file "$1")"; }

# on NAME: what follows happens there.
on() {
  read -r STANDIN STANDIN_PID STANDIN_UNSHARE DISK <"$(host_file "$1")"
  daemon_files="$BATS_FILE_TMPDIR/$1"
  DAEMON_LOG="$daemon_files/litestreamd.log"
}

# host_make NAME: a stand-in with the plugin on it. A process outside of its process namespace keeps its
# mounts, which are its disk, when the namespace is killed.
host_make() {
  standin_start enter.sh
  nsenter --target "$STANDIN_PID" --mount --wd=/ -- sleep infinity </dev/null >/dev/null 2>&1 3>&- &
  DISK="$!"
  host_keep "$1"
  on "$1"
  plugin_install >&2
  tools_install
}

# host_crash NAME: as if it had lost its power: everything on it is killed at once.
host_crash() {
  on "$1"
  kill -KILL "$STANDIN_PID"
  while kill -0 "$STANDIN_UNSHARE" 2>/dev/null; do sleep 0.02; done
  rm -f "$daemon_files/litestreamd.pid"
}

# host_boot NAME: it comes back, with its disk as it was. What ran must be started again.
host_boot() {
  on "$1"
  rm -f "$STANDIN/ready"
  setsid nsenter --target "$DISK" --mount --wd=/ -- \
    unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
    "$REPO/tests/dokku/standin/enter.sh" "$STANDIN/ready" again </dev/null >>"$STANDIN/log" 2>&1 3>&- &
  STANDIN_UNSHARE="$!"
  wait_until 30 test -e "$STANDIN/ready"
  STANDIN_PID="$(pgrep -P "$STANDIN_UNSHARE" | head -1)"
  host_keep "$1"
}

# hosts_stop NAME...
hosts_stop() {
  local name
  for name in "$@"; do
    [[ -f "$(host_file "$name")" ]] || continue
    on "$name"
    daemon_stop || true
    standin_stop
    kill -KILL "$DISK" 2>/dev/null || true
  done
}

# For setup_file: a first and a second host, and a radosgw. NO_MACHINE says why there can't be.
two_hosts_and_s3() {
  real_dokku && NO_MACHINE="this test needs two hosts" || NO_MACHINE="$(standin_obstacle)"
  export NO_MACHINE
  [[ -z "$NO_MACHINE" ]] || return 0
  local status=0
  "$REPO/tests/servers/ceph.sh" start "$BATS_FILE_TMPDIR/ceph" >"$BATS_FILE_TMPDIR/s3" 2>"$BATS_FILE_TMPDIR/s3.err" 3>&- || status="$?"
  if [[ "$status" -ne 0 ]]; then
    NO_MACHINE="no S3 server here: $(tail -n 1 "$BATS_FILE_TMPDIR/s3.err")"
    return 0
  fi
  set -a
  # shellcheck source=/dev/null
  source "$BATS_FILE_TMPDIR/s3"
  set +a
  host_make first
  host_make second
}
two_hosts_stop() {
  hosts_stop first second
  [[ ! -d "$BATS_FILE_TMPDIR/ceph" ]] || "$REPO/tests/servers/ceph.sh" stop "$BATS_FILE_TMPDIR/ceph"
}

# The server's, for all apps of this host.
credentials() {
  printf '%s\n' "$LITESTREAM_TEST_S3_ACCESS_KEY_ID" "$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY" \
    | dokku litestream:auth --endpoint "$LITESTREAM_TEST_S3_ENDPOINT"
}
