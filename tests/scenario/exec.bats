#!/usr/bin/env bats
# replicate -exec: the app's life beside the replicator's, signals, statuses, the last sync, and what the app gets.

load ../lib/scenario

setup_file() { s3_start; }

# app LINE…: app.sh, a shell script with these lines. $db is in its environment, and `sql STATEMENTS` works on it.
# `linger [FILE]` waits, until FILE is there; not for ever, or it would outlive a test that failed.
app() {
  printf '%s\n' '#!/bin/bash' \
    'sql() { sqlite3 -cmd ".timeout 60000" "$db" "$1"; }' \
    'linger() { for ((n = 0; n < 2400; n++)); do [[ ! -e "$1" ]] || return; sleep 0.05; done; exit 99; }' "$@" >app.sh
  chmod +x app.sh
  export db
}

new_db() { "$TOOLS/writer" -w 1 -n "${1:-5}" -a ack "$db" >/dev/null; }
rows() { sqlite3 "$1" "SELECT count(*) FROM extra"; }
restored_rows() { rm -f back.db && restore back.db "$url" >/dev/null && rows back.db; }
said() { grep -q "$1" "$2"; }

# ends CODE NAME
ends_with() {
  local code=0
  finish "$2" || code=$?
  [[ "$code" -eq "$1" ]] || {
    echo "$2 ended with $code, not $1" >&2
    return 1
  }
}

@test "exec: what the app committed until its end is shipped, and its status is ours" {
  new_db
  app 'sql "CREATE TABLE extra(x); INSERT INTO extra VALUES (1), (2)"' 'exit "${1:-0}"'
  spawn r "$LITESTREAM" replicate -exec ./app.sh "$db" "$url"
  ends_with 0 r
  [[ "$(restored_rows)" -eq 2 ]]
  app 'sql "INSERT INTO extra VALUES (3)"' 'exit "$1"'
  spawn r "$LITESTREAM" replicate -exec './app.sh "7"' "$db" "$url"
  ends_with 7 r
  [[ "$(restored_rows)" -eq 3 ]]
  app 'kill -KILL $$'
  spawn r "$LITESTREAM" replicate -exec ./app.sh "$db" "$url"
  ends_with 137 r
  said 'app.db: all shipped' r.err
}

@test "exec: SIGTERM goes to the app, whose last words are shipped; other signals go there, too" {
  new_db
  app 'sql "CREATE TABLE extra(x)"' \
    'for s in HUP QUIT USR1 USR2 INT; do trap "echo $s >>signals" $s; done' \
    'trap '\''sql "INSERT INTO extra VALUES (1)"; exit 5'\'' TERM' \
    'touch ready; linger'
  # The shell of a test lets what is in its background ignore SIGINT and SIGQUIT.
  spawn r "$LITESTREAM" replicate -exec "env --default-signal=INT,QUIT ./app.sh" "$db" "$url"
  poll test -e ready
  local s
  for s in HUP QUIT USR1 USR2; do
    kill "-$s" "$(pid_of r)"
    poll said "^$s$" signals
  done
  kill -TERM "$(pid_of r)"
  ends_with 5 r
  [[ "$(restored_rows)" -eq 1 && "$(wc -l <signals)" -eq 4 ]]
  # Nobody handles it: the app dies of it, and so the shell would say.
  spawn r "$LITESTREAM" replicate -exec "env --default-signal=INT sh -c 'touch asleep; exec sleep 600'" "$db" "$url"
  poll test -e asleep
  kill -INT "$(pid_of r)"
  ends_with 130 r
}

@test "exec: an app that does not listen is waited for, and killed at the second signal" {
  new_db
  app 'trap "" TERM; touch ready; linger'
  spawn r "$LITESTREAM" replicate -socket "$PWD/r.sock" -exec ./app.sh "$db" "$url"
  poll test -e ready
  kill -TERM "$(pid_of r)"
  poll said 'waiting for its end' r.err
  # Meanwhile what it commits is shipped.
  sqlite3 -cmd ".timeout 60000" "$db" "CREATE TABLE extra(x)"
  sync_now r "$db"
  sleep 1.1 # what comes sooner is the same wish
  kill -TERM "$(pid_of r)"
  ends_with 137 r
  said 'killed, and this ends at once' r.err
}

@test "exec: what can't be started is told before anything is begun" {
  new_db
  touch plain
  run "$LITESTREAM" replicate -exec "no-such-program-here -x" "$db" "$url"
  [[ "$status" -eq 2 && "$output" == *"there is no program no-such-program-here in \$PATH"* ]]
  run "$LITESTREAM" replicate -exec ./plain "$db" "$url"
  [[ "$status" -eq 2 && "$output" == *"no program ./plain that can be run"* ]]
  run "$LITESTREAM" replicate -exec "echo a && echo b" "$db" "$url"
  [[ "$status" -eq 2 && "$output" == *"sh -c '…'"* ]]
  [[ ! -e replica && ! -e .app.db-litestream ]]
  # What only the kernel finds out is told, and what there is is shipped.
  printf 'no program\n' >odd && chmod +x odd
  run "$LITESTREAM" replicate -exec ./odd "$db" "$url"
  [[ "$status" -eq 1 && "$output" == *"cannot start exec command ./odd: Exec format error"* ]]
  same_as_source "$db" "$url" back.db
}

# masks FILE: of /proc/PID/status, without signals 32 and 33: they are glibc's, no program sets them.
masks() {
  local name mask
  while read -r name mask; do
    printf '%s %x\n' "$name" $((0x$mask & ~0x180000000))
  done <"$1"
}

@test "exec: the app gets nothing of ours but the environment" {
  new_db
  app 'grep -E "^Sig(Blk|Ign)" /proc/self/status >sig' 'ls -l /proc/$$/fd >fds' \
    'echo "$(ulimit -Sn) $(ulimit -Sc) $(ulimit -Hc) $MARK" >limits' 'cat >in' 'echo to stdout'
  ulimit -Sn 200
  ulimit -c "$(ulimit -Hc)"
  echo "$(ulimit -Sn) $(ulimit -Sc) $(ulimit -Hc) here" >wanted
  # Below nohup SIGHUP is ignored by all of us.
  grep -E "^Sig(Blk|Ign)" /proc/self/status >sig_wanted
  local code=0
  echo words | ASAN_OPTIONS="$ASAN_OPTIONS:disable_coredump=0" MARK=here "$LITESTREAM" replicate -exec ./app.sh "$db" "$url" >out 2>err 3>&- || code=$?
  [[ "$code" -eq 0 && "$(cat in)" == words && "$(cat out)" == "to stdout" ]]
  diff wanted limits
  diff <(masks sig_wanted) <(masks sig)
  # Besides the first three only the script that bash reads.
  [[ "$(grep -cE ' [012] -> ' fds)" -eq 3 && "$(grep -cvE '^total| [012] -> |/app.sh$' fds)" -eq 0 ]]
}

@test "exec: closed standard descriptors, and SIGCHLD ignored by whoever started us" {
  new_db
  app 'ls -l /proc/$$/fd >fds' 'sql "CREATE TABLE extra(x); INSERT INTO extra VALUES (1)"' 'exit 6'
  spawn r sh -c 'exec env --ignore-signal=CHLD "$@" <&- >&- 2>&-' sh "$LITESTREAM" replicate -exec ./app.sh "$db" "$url"
  ends_with 6 r
  [[ "$(restored_rows)" -eq 1 && "$(grep -cE ' [012] -> /dev/null$' fds)" -eq 3 ]]
  run grep -rl ' INFO ' replica .app.db-litestream
  [[ "$status" -eq 1 ]]
}

# takeover: another node takes the replica.
takeover() {
  restore other.db "$url" >/dev/null
  spawn other "$LITESTREAM" replicate -takeover -socket "$PWD/other.sock" "$PWD/other.db" "$url"
  poll test -S other.sock
  sync_now other "$PWD/other.db"
}

@test "exec: the replica is somebody else's: the app gets SIGTERM, and then it is 8" {
  new_db
  # It writes when the other one has come, so that who wins is known.
  app 'trap "touch told; exit 0" TERM; touch ready; linger go' \
    'sql "CREATE TABLE extra(x)"; linger'
  spawn r "$LITESTREAM" replicate -sync-interval 10ms -socket "$PWD/r.sock" -exec ./app.sh "$db" "$url"
  poll test -e ready
  sync_now r "$db"
  takeover
  touch go
  ends_with 8 r
  [[ -e told ]]
  # At the start it is known before the app begins.
  rm ready go
  spawn r "$LITESTREAM" replicate -exec ./app.sh "$db" "$url"
  ends_with 8 r
  [[ ! -e ready ]]
  # By a configuration, too; and an app that doesn't listen is killed when the patience is over.
  end other
  rm -rf .app.db-litestream app.db* && restore app.db "$url" >/dev/null
  app 'trap "" TERM; touch ready; linger go' \
    'sql "CREATE TABLE extra(x)"; linger'
  printf 'exec: ./app.sh\nshutdown-sync-timeout: 300ms\nsync-interval: 10ms\ndbs: [{path: %s, replica: {url: "%s"}}]\n' "$db" "$url" >c.yml
  spawn r "$LITESTREAM" replicate -config c.yml -socket "$PWD/r.sock"
  poll test -e ready
  sync_now r "$db"
  rm other.db*
  rm -r .other.db-litestream
  takeover
  touch go
  ends_with 8 r
  said 'has not ended, and is killed' r.err
}

@test "exec: who is killed takes the app along" {
  new_db
  app 'trap "touch told; exit 0" TERM; echo $$ >app.pid; mv app.pid ready; linger'
  spawn r "$LITESTREAM" replicate -exec ./app.sh "$db" "$url"
  poll test -e ready
  kill -KILL "$(pid_of r)"
  ends_with 137 r
  poll has_ended "$(cat ready)"
  [[ -e told ]]
}

@test "exec: as process 1 orphans are reaped, and a signal from outside gets there" {
  unshare --user --map-root-user --pid --fork --mount-proc true 2>/dev/null || skip "no pid namespaces here"
  new_db
  # An orphan that ends: process 1 inherits it and leaves no zombie.
  app 'trap "exit 3" TERM' '( sleep 0.05 & echo $! >orphan )' \
    'while [[ -e /proc/$(cat orphan) ]]; do sleep 0.02; done' 'cat /proc/1/comm >ready; linger'
  spawn r unshare --user --map-root-user --pid --fork --mount-proc "$LITESTREAM" replicate -exec ./app.sh "$db" "$url"
  poll test -s ready
  [[ "$(cat ready)" == litestream ]]
  kill -TERM "$(pgrep -P "$(pid_of r)")"
  ends_with 3 r
  said 'all shipped' r.err
}

childless() { ! pgrep -P "$1" >/dev/null; }

@test "as process 1 without an app, too" {
  unshare --user --map-root-user --pid --fork --mount-proc true 2>/dev/null || skip "no pid namespaces here"
  new_db
  spawn r unshare --user --map-root-user --pid --fork --mount-proc \
    sh -c '( sleep 0.2 & ); exec "$@"' sh "$LITESTREAM" replicate "$db" "$url"
  poll said 'app.db: replicating' r.err
  poll childless "$(pgrep -P "$(pid_of r)")"
  kill -TERM "$(pgrep -P "$(pid_of r)")"
  ends_with 0 r
}

@test "exec: with several replicas the app runs once, beside all of them" {
  new_db
  app 'echo begun >>runs' 'sql "CREATE TABLE extra(x); INSERT INTO extra VALUES (1)"' \
    'trap "exit 4" TERM; touch ready; linger'
  spawn r "$LITESTREAM" replicate -exec ./app.sh "$db" "$url" "file://$PWD/far"
  poll test -e ready
  kill -TERM "$(pid_of r)"
  ends_with 4 r
  [[ "$(cat runs)" == begun && "$(restored_rows)" -eq 1 ]]
  rm -f back.db
  restore back.db "file://$PWD/far" >/dev/null
  [[ "$(rows back.db)" -eq 1 ]]
}

@test "exec: a store that doesn't answer keeps no app from starting" {
  new_db
  app 'sql "CREATE TABLE extra(x)"'
  export AWS_ACCESS_KEY_ID=k AWS_SECRET_ACCESS_KEY=s
  spawn r "$LITESTREAM" replicate -shutdown-timeout 100ms -exec ./app.sh "$db" "s3://bucket/x?endpoint=http://127.0.0.1:1"
  ends_with 0 r
  [[ "$(rows "$db")" -eq 0 ]]
  said 'not all is shipped' r.err
}

@test "exec: a container's first start and its next one, on S3" {
  need_s3
  local url
  url="$(s3_url exec)"
  app 'sql "PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS extra(x); INSERT INTO extra VALUES (1)" >/dev/null'
  spawn first "$LITESTREAM" replicate -restore-if-db-not-exists -exec ./app.sh "$db" "$url"
  ends_with 0 first
  rm -rf app.db* .app.db-litestream
  spawn next "$LITESTREAM" replicate -restore-if-db-not-exists -exec ./app.sh "$db" "$url"
  ends_with 0 next
  [[ "$(restored_rows)" -eq 2 ]]
}
