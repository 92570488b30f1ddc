#!/usr/bin/env bash
# lib.sh - shared by the scripts that start a server for tests: free ports, detached processes, stop.
# Each server lives in one folder: pids (one a line, in the order of starting), env (what the caller
# sets), logs. Nothing outside of the folder is touched.

# free_ports N: N ports on 127.0.0.1 that are free now and outside of the range that the kernel hands
# out by itself, so that no client connection takes one before the server has bound it.
free_ports() {
  python3 - "$1" <<'PY'
import random, socket, sys
count, held = int(sys.argv[1]), []
for port in random.sample(range(10000, 30000), 2000):
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", port))
    except OSError:
        continue
    held.append((port, s))
    if len(held) == count:
        break
print(*[port for port, _ in held])
PY
}

# detach DIR LOG COMMAND…: runs it in a session of its own, without any descriptor of ours (a test
# runner waits for whoever holds its pipes), and notes its pid.
detach() {
  local dir="$1" log="$2"
  shift 2
  (
    for fd in /proc/self/fd/*; do
      fd="${fd##*/}"
      [[ "$fd" -le 2 || "$fd" -eq 255 ]] || eval "exec $fd>&-"
    done
    exec setsid "$@"
  ) </dev/null >"$log" 2>&1 &
  echo "$!" >>"$dir/pids"
}

# wait_for SECONDS COMMAND…: until it succeeds.
wait_for() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [[ "$SECONDS" -lt "$deadline" ]] || return 1
    sleep 0.05
  done
}

# A zombie is gone: it waits only for a parent that may be slow to ask.
is_running() {
  local stat
  stat="$(cat "/proc/$1/stat" 2>/dev/null)" || return 1
  [[ "${stat##*) }" != Z* ]]
}

all_alive() {
  local pid
  while read -r pid; do
    is_running "$pid" || return 1
  done <"$1/pids"
}

# stop_all DIR: in the reverse order of starting; who doesn't go within five seconds is killed.
stop_all() {
  local dir="$1" pid i
  [[ -f "$dir/pids" ]] || return 0
  while read -r pid; do
    kill -CONT "$pid" 2>/dev/null || continue
    kill "$pid" 2>/dev/null || continue
    for ((i = 0; i < 100; i++)); do
      is_running "$pid" || break
      sleep 0.05
    done
    kill -9 "$pid" 2>/dev/null || true
  done < <(tac "$dir/pids")
  rm -f "$dir/pids" "$dir/env"
}
