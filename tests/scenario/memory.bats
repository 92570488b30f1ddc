#!/usr/bin/env bats
# What one quiet database costs in memory, from the kernel's own account. `make bench` looks after a
# minute; here it is some seconds, enough for everything that a database needs to have been used.

load ../lib/scenario

# kilobytes KEY PID
kilobytes() { awk -v key="$1:" '$1 == key { print $2 }' "/proc/$2/smaps_rollup"; }

@test "one quiet database: at most 16 MB resident, 4 MB of it anonymous" {
  ! sanitised || skip "a sanitised build keeps shadow memory"
  "$TOOLS/writer" -n 1000 app.db >/dev/null
  replicate ship "$PWD/app.db" "file://$PWD/replica"
  sync_now ship "$PWD/app.db"
  "$TOOLS/writer" -r 4 -t 4 app.db >/dev/null
  sync_now ship "$PWD/app.db"
  local rss anonymous
  rss="$(kilobytes Rss "$(pid_of ship)")"
  anonymous="$(kilobytes Anonymous "$(pid_of ship)")"
  echo "# RSS $rss kB, anonymous $anonymous kB" >&3
  end ship
  [[ "$rss" -gt 0 && "$rss" -le 16384 && "$anonymous" -le 4096 ]]
}
