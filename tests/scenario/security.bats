#!/usr/bin/env bats
# What the user of an app, another user of the machine and a crash can learn or break: special files in the place
# of a database's own, a -shm cut short under a worker, the control socket, the memory that a process leaves behind.
# Needs root. (Links and exchanged folders: hostile.bats. What a taken-over worker can reach: confine.bats.)

load ../lib/scenario
load ../lib/daemon

# ---- the storage folder ----

@test "-shm cut short under a worker: a restart, and no data is lost" {
  local dir="$ROOT/storage/one--db" pid n
  app one $ALICE
  daemon
  ctl wait one
  spawn holder "${as_alice[@]}" /usr/bin/python3 -c '
import signal, sqlite3, sys
c = sqlite3.connect(sys.argv[1])
c.execute("INSERT INTO t VALUES (1)")
c.commit()
signal.pause()' "$dir/app.db"
  held() { [[ "$(as $ALICE sqlite3 -readonly "$dir/app.db" 'SELECT count(*) FROM t')" == 1 && -s "$dir/app.db-shm" ]]; }
  poll held
  ctl sync one
  for n in 1 2 3; do
    poll is one state replicating
    pid="$(worker_of one)"
    [[ "$pid" -gt 0 ]]
    # What follows the end of the WAL is nobody's, but to write there wakes the worker up.
    fell() {
      as $ALICE truncate -s 0 "$dir/app.db-shm"
      as $ALICE sh -c 'printf x >>"$0"' "$dir/app.db-wal"
      sleep 0.1
      [[ "$(worker_of one)" != "$pid" ]]
    }
    poll fell
  done
  # A sanitizer takes the signal and ends with a code.
  sanitised || in_log one 'signal 7'
  # The app's own process has the same mapping; it is started anew, as ours was.
  kill -KILL "$(pid_of holder)"
  finish holder || true
  sql one $ALICE 'INSERT INTO t VALUES (2), (3)'
  poll is one state replicating
  ctl sync one
  [[ "$(restored one 'SELECT group_concat(n) FROM t')" == 1,2,3 ]]
  [[ "$(sqlite3 "$ROOT/out.db" 'PRAGMA integrity_check')" == ok ]]
}

# special KIND PATH: made by root, of which the user of an app could make all but the devices.
special() {
  case "$1" in
    fifo) mkfifo -m 0666 "$2" ;;
    zero) mknod -m 0666 "$2" c 1 5 ;;
    disk) mknod -m 0666 "$2" b 7 200 ;;
    socket) python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$2" ;;
    folder) mkdir "$2" ;;
  esac || skip "no such file can be made here: $1"
  chown $ALICE "$2"
}

@test "a FIFO, a device, a socket, a folder in the place of the database: refused" {
  local kind dir="$ROOT/storage/one--db"
  app one $ALICE
  app two $ALICE
  mv "$dir/app.db" "$ROOT/kept.db"
  daemon
  ctl wait two
  for kind in fifo zero disk socket folder; do
    special "$kind" "$dir/app.db"
    poll is one state refused
    poll reason_has 'not a regular file'
    [[ "$(worker_of one)" == 0 ]]
    run timeout 60 "$ROOT/bin/litestream" ctl -socket "$ROOT/run/control.sock" check one "$dir" app.db "file://$ROOT/replicas/one"
    [[ "$status" -eq 9 ]]
    run timeout 60 "$ROOT/bin/litestream" ctl -socket "$ROOT/run/control.sock" restore -force "$dir" app.db "file://$ROOT/replicas/two"
    [[ "$status" -ne 0 && "$status" -ne 124 ]]
    rm -r "$dir/app.db"
    poll is one state waiting
  done
  is two state replicating
}

@test "links, FIFOs and devices in the place of -wal, -shm and -journal lead nowhere" {
  local kind ending dir="$ROOT/storage/one--db" victim="$ROOT/storage/victim--db" before
  app one $ALICE
  app two $BOB
  app victim $BOB
  sql victim $BOB "CREATE TABLE secret AS SELECT 'of the victim' AS text"
  desire victim $BOB false
  before="$(sha256sum "$victim"/*)"
  # The worst case: nothing but the user's rights holds a worker.
  daemon -confinement none -shutdown-timeout 1s
  ctl wait two
  chmod 0777 "$victim"
  chmod 0666 "$victim"/*
  for ending in wal shm journal; do
    for kind in link fifo zero; do
      desire one $ALICE false
      poll is one state stopped
      rm -f "$dir/app.db"-*
      if [[ "$kind" == link ]]; then
        as $ALICE ln -s "$victim/app.db" "$dir/app.db-$ending"
      else
        special "$kind" "$dir/app.db-$ending"
      fi
      desire one $ALICE true
      poll is one state unusable
      reason_has "app.db-$ending is"
      sql two $BOB 'INSERT INTO t VALUES (1)'
      ctl sync two
      [[ "$(sha256sum "$victim"/*)" == "$before" ]]
    done
  done
  [[ -z "$(grep -ra 'of the victim' "$ROOT/replicas/one" "$DATA/state/one-0123456789abcdef")" ]]
  desire one $ALICE false
  poll is one state stopped
  rm -f "$dir/app.db"-*
  desire one $ALICE true
  poll is one state replicating
  sql one $ALICE 'INSERT INTO t VALUES (7)'
  ctl sync one
  [[ "$(restored one 'SELECT n FROM t')" == 7 ]]
}

# ---- the control socket ----

@test "the socket asks the kernel who is there: users, groups, and whatever the mode says" {
  local gid socket="$ROOT/run/control.sock" who
  app one $ALICE
  daemon
  ctl wait one
  gid="$(getent group "$SOCKET_GROUP" | cut -d: -f3)"
  [[ "$(stat -c '%U %g %a' "$socket")" == "root $gid 660" ]]
  speak() { setpriv "$@" "$ROOT/bin/litestream" ctl -socket "$socket" status -json one; }
  refused() {
    run speak "$@"
    [[ "$status" -eq 6 && "$output" != *'"apps"'* ]]
  }
  # The group may be the first one or any other; a user of an app is in neither.
  speak --reuid $STRANGER --regid "$gid" --clear-groups
  speak --reuid $STRANGER --regid $STRANGER --groups "54999,$gid"
  for who in $ALICE $STRANGER 65534; do
    refused --reuid "$who" --regid "$who" --clear-groups
    refused --reuid "$who" --regid "$who" --groups 54999,54998
  done
  chmod 0777 "$socket" "$ROOT/run"
  for who in $ALICE $STRANGER 65534; do
    refused --reuid "$who" --regid "$who" --clear-groups
    [[ "$output" == *"uid $who may not speak"* ]]
    # Neither a question nor an order: nothing of the body is looked at.
    run as "$who" curl -s --unix-socket "$socket" -d '{"id":"one-0123456789abcdef"}' http://x/forget
    [[ "$output" == *'"code":6'* ]]
  done
  # Who was root when it connected has handed the connection on: that is root's own affair. Who put on root's
  # name in the request has not.
  run as $ALICE curl -s --unix-socket "$socket" -H 'X-Remote-User: root' -u root:root http://x/status
  [[ "$output" == *'"code":6'* ]]
  is one state replicating
}

@test "a thousand connections, slow ones, large ones, some that never read: memory is bounded, others are served" {
  local before after
  app one $ALICE
  daemon
  ctl wait one
  before="$(awk '/VmRSS/ { print $2 }' "/proc/$(pid_of litestreamd)/status")"
  python3 - "$ROOT/run/control.sock" <<'PY'
import resource, socket, sys
path = sys.argv[1]
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
def connect():
    s = socket.socket(socket.AF_UNIX)
    s.setblocking(False)
    try:
        s.connect(path)
    except BlockingIOError:
        return None
    return s
def say(s, data):
    try:
        s.send(data)
    except OSError:
        pass
kept, refused = [], 0
for n in range(1000):
    s = connect()
    if not s:
        refused += 1
        continue
    kept.append(s)
    kind = n % 5
    if kind == 0:
        say(s, b"POST /restore HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n" + b" " * 60000)
    elif kind == 1:
        say(s, b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
    elif kind == 2:
        say(s, b"GET /status HTTP/1.1\r\n" + b"X-%d: y\r\n" % n * 2000)
    elif kind == 3:
        say(s, b"POST /sync HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n" + b"{" * 50000)
print(len(kept), "connected,", refused, "were not let in")
PY
  poll ctl info
  after="$(awk '/VmRSS/ { print $2 }' "/proc/$(pid_of litestreamd)/status")"
  echo "$before KiB before, $after KiB after"
  sanitised || [[ $((after - before)) -lt 8192 ]]
  [[ "$(find "/proc/$(pid_of litestreamd)/fd" | wc -l)" -lt 100 ]]
  sql one $ALICE 'INSERT INTO t VALUES (1)'
  ctl sync one
}

# ---- what a process leaves behind, and what it shows ----

# Everything that anybody may see or that stays: arguments, environments, logs, answers, state, replicas.
everything() {
  local pid
  for pid in $(pgrep -f "$ROOT/bin/litestream"); do
    tr '\0' '\n' <"/proc/$pid/cmdline" || true
    tr '\0' '\n' <"/proc/$pid/environ" || true
  done
  ctl status -json
  ctl list
  ctl info -json
  cat "$ROOT"/log/* "$BATS_TEST_TMPDIR"/litestreamd.{out,err}
  find "$DATA/state" "$ROOT/storage" "$ROOT/replicas" -type f -exec cat {} +
}

@test "a key for the store's encryption reaches the store, and nobody else" {
  local key=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=
  app one $ALICE
  jq -n --arg key "$key" '{access_key_id: "AKIDEXAMPLE", secret_access_key: "hush-HUSH-hush", sse_customer_key: $key}' \
    | put "$DATA/secrets/one.json"
  "$TOOLS/mkreplica" "file://$ROOT/honest" 3
  spawn server "$BATS_TEST_DIRNAME/../servers/hostile.py" honest "$ROOT/honest" "$ROOT/requests"
  poll test -s "$BATS_TEST_TMPDIR/server.out"
  daemon -log-level trace
  ctl wait one
  ctl restore -app one "$ROOT/storage/one--db" copy.db "s3://bucket/db?endpoint=http://127.0.0.1:$(<"$BATS_TEST_TMPDIR/server.out")"
  "$TOOLS/mkreplica" -check 3 "$ROOT/storage/one--db/copy.db"
  [[ "$(grep -c '\.ltx key hRasmdxgYDKV3nvbahU1MA==$' "$ROOT/requests")" -ge 3 ]]
  everything >"$ROOT/seen"
  [[ -s "$ROOT/seen" && -z "$(grep -aF -e "$key" -e hush "$ROOT/seen")" ]]
}

@test "a child has the credentials that it is told: none of the daemon's environment, none of a home" {
  local confinement
  app one $ALICE
  mkdir -p "$ROOT/home/.aws"
  printf '[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = hush-HUSH-hush\n' >"$ROOT/home/.aws/credentials"
  chmod -R a+rX "$ROOT/home"
  export HOME="$ROOT/home" AWS_SHARED_CREDENTIALS_FILE="$ROOT/home/.aws/credentials" AWS_EC2_METADATA_DISABLED=true
  export LITESTREAM_ACCESS_KEY_ID=AKIDEXAMPLE LITESTREAM_SECRET_ACCESS_KEY=hush-HUSH-hush
  # A server that refuses everybody, and notes who came.
  spawn server "$BATS_TEST_DIRNAME/../servers/metadata.py" "$ROOT/asked" key secret 60
  poll test -s "$BATS_TEST_TMPDIR/server.out"
  local url
  url="s3://bucket/x?endpoint=http://127.0.0.1:$(<"$BATS_TEST_TMPDIR/server.out")"
  run "$LITESTREAM" ltx "$url"
  [[ "$status" -eq 6 && "$output" == *"the server answered 401"* ]]
  rm "$ROOT/asked"
  for confinement in none auto; do
    daemon -confinement "$confinement"
    run ctl check one "$ROOT/storage/one--db" app.db "$url"
    [[ "$status" -eq 6 && "$output" == *"no credentials for s3://bucket.127.0.0.1:"*": there are none: set "* ]]
    end litestreamd
  done
  [[ ! -e "$ROOT/asked" ]]
}

@test "no process can be looked into by its user, and none leaves a core" {
  local pid file
  app one $ALICE
  echo '{"access_key_id": "AKIDEXAMPLE", "secret_access_key": "hush-HUSH-hush", "session_token": "tell-NOBODY"}' \
    | put "$DATA/secrets/one.json"
  ulimit -c unlimited
  daemon -confinement none -log-level trace
  ctl wait one
  sql one $ALICE 'INSERT INTO t VALUES (1)'
  ctl sync one
  pid="$(worker_of one)"
  [[ "$(proc "$pid" Uid)" == "$ALICE $ALICE $ALICE $ALICE" ]]
  # Not dumpable: the kernel gives what /proc has of it to root.
  for file in environ mem maps auxv stack; do
    [[ "$(stat -c %u "/proc/$pid/$file")" -eq 0 ]]
    ! as $ALICE cat "/proc/$pid/$file" >/dev/null 2>&1 || false
  done
  ! as $ALICE ls "/proc/$pid/fd" >/dev/null 2>&1 || false
  awk '/^Max core file size/ && $5 == "0" && $6 == "0" { found = 1 } END { exit !found }' "/proc/$pid/limits"
  everything >"$ROOT/seen"
  [[ -s "$ROOT/seen" && -z "$(grep -aE 'hush|NOBODY' "$ROOT/seen")" ]]
  touch "$ROOT/now"
  kill -ABRT "$pid"
  poll in_log one 'signal 6'
  kill -SEGV "$(pid_of litestreamd)"
  finish litestreamd || true
  [[ -z "$(find / "$ROOT" "$PWD" -maxdepth 1 -newer "$ROOT/now" -name 'core*')" ]]
  [[ -z "$(find "$ROOT" -newer "$ROOT/now" -name 'core*')" ]]
}

@test "litestream by itself leaves no core with the keys of its environment" {
  [[ "$(</proc/sys/kernel/core_pattern)" == core ]] || skip "this machine puts cores elsewhere"
  mkdir "$ROOT/cores"
  cd "$ROOT/cores"
  ulimit -c unlimited
  # Somebody else's process does leave one here.
  bash -c 'kill -SEGV $$' || true
  [[ -n "$(find . -name 'core*')" ]] || skip "no process leaves a core here"
  rm -f core*
  sqlite3 "$ROOT/alone.db" 'PRAGMA journal_mode = WAL; CREATE TABLE t (n)' >/dev/null
  LITESTREAM_SECRET_ACCESS_KEY=hush-HUSH-hush LITESTREAM_ACCESS_KEY_ID=AKIDEXAMPLE \
    spawn alone "$ROOT/bin/litestream" replicate -socket "$ROOT/alone.sock" "$ROOT/alone.db" "s3://bucket/x?endpoint=127.0.0.1:9"
  poll test -S "$ROOT/alone.sock"
  kill -ABRT "$(pid_of alone)"
  finish alone || true
  [[ -z "$(ls -A)" ]]
}
