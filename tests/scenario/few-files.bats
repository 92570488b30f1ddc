#!/usr/bin/env bats
# litestreamd when it may open no more files: what runs goes on, nothing spins, and clients are served
# when it may again.
# plain

load ../lib/scenario
load ../lib/daemon

# Clock ticks (of 10 ms) of the daemon's own CPU time.
ticks() { awk '{ print $14 + $15 }' "/proc/$(pid_of litestreamd)/stat"; }

# The number that its next descriptor would get.
next_file() {
  local n=0
  while [[ -e "/proc/$(pid_of litestreamd)/fd/$n" ]]; do n=$((n + 1)); done
  echo "$n"
}

may_open() { prlimit --pid "$(pid_of litestreamd)" --nofile="$1:4096"; }

@test "no descriptors: the worker goes on, nothing spins, clients come again" {
  app one "$ALICE"
  daemon
  poll is one state replicating
  local worker before i
  worker="$(worker_of one)"
  may_open "$(next_file)"
  for i in 1 2 3; do
    spawn "client$i" "$ROOT/bin/litestream" ctl -socket "$ROOT/run/control.sock" -timeout 60s info
  done
  before="$(ticks)"
  sql one "$ALICE" 'INSERT INTO t VALUES (7)'
  seven() { [[ "$(restored one 'SELECT sum(n) FROM t')" == 7 ]]; }
  poll seven
  sleep 3 # some dozen looks at what is wanted
  if gone "$worker"; then false; fi
  # A turn that is not waited for takes a hundred thousandth of a second.
  [[ $(($(ticks) - before)) -lt 40 ]]
  may_open 1024
  for i in 1 2 3; do finish "client$i"; done
  poll is one state replicating
  [[ "$(worker_of one)" == "$worker" ]]
  run grep -E "started anew|not replicating|ERROR" "$ROOT/log/one.log" "$BATS_TEST_TMPDIR/litestreamd.err"
  [[ "$status" -eq 1 ]]
}
