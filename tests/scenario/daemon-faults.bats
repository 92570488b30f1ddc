#!/usr/bin/env bats
# litestreamd beside workers that misbehave (shell scripts in the place of `litestream`) and clients
# that do. What it must keep: its other apps, its memory, and a reason in status.

load ../lib/scenario
load ../lib/daemon

# fake SCRIPT: what runs instead of a worker; descriptor 3 is its channel.
fake() {
  cp "$ROOT/bin/litestream" "$ROOT/bin/real"
  rm "$ROOT/bin/litestream"
  printf '#!/bin/bash\n%s\n' "$1" >"$ROOT/bin/litestream"
  chmod 0755 "$ROOT/bin/litestream"
}
real_ctl() { "$ROOT/bin/real" ctl -socket "$ROOT/run/control.sock" "$@"; }
HELLO='{"type":"hello","protocol":1,"version":"x"}'
STATUS='{"type":"status","databases":[]}'

# trouble APP WORDS: its database waits for a restart, and the reason has these words.
trouble() {
  local said
  said="$(ctl status -json "$1" | jq -r '.apps[0].databases[0] | .state + ": " + .reason')"
  [[ "$said" == "restarting: "*"$2"* ]] || {
    echo "$said"
    return 1
  }
}

# It has said hello.
up() { [[ "$(ctl status -json one | jq -r '.apps[0].worker')" == running ]]; }

http() { curl -s --max-time "$PATIENCE" --unix-socket "$ROOT/run/control.sock" "$@"; }

begin() {
  fake "$1"
  ctl() { real_ctl "$@"; }
  app one $ALICE
  daemon -watchdog 1s "${@:2}"
}

@test "a worker that can't start: its end is the reason, and the waits are bounded" {
  begin 'echo "no such library" >&2; exit 127'
  poll trouble one 'exit code 127'
  in_log one 'no such library'
  five() { [[ "$(ctl status -json one | jq '.apps[0].restarts')" -ge 5 ]]; }
  poll five
  # The longest wait was set to 2 s.
  ! grep -E 'started again in ([3-9]|2\.[1-9]|[0-9]{2,})' "$ROOT/log/one.log" || false
}

@test "a worker that says what isn't in the contract is killed" {
  begin 'echo "{\"type\":\"hello\"" >&3; read -r _ <&3'
  poll trouble one 'is not JSON'
  ! grep -q 'hello' <(ctl status -json one | jq -r '.apps[0].databases[0].reason') || false
}

@test "a worker that orders is killed" {
  begin "echo '$HELLO' >&3; echo '{\"type\":\"stop\"}' >&3; read -r _ <&3"
  poll trouble one 'may not send this'
}

@test "what a worker says reaches no terminal and no log as it is" {
  local status='{"type":"status","databases":[{"id":"one-0123456789abcdef","state":"denied","code":6,"reason":"a\u001b[2Jb\nc","txid":0,"pending_bytes":0,"pending_transactions":0,"lag_since_ms":0,"last_upload_ms":0,"last_error_ms":0,"wal_bytes":0,"db_bytes":0,"uploads":0,"weak_fencing":false,"earliest_txid":0,"latest_txid":0,"earliest_ms":0,"latest_ms":0,"snapshot_ms":0,"next_snapshot_ms":0,"replica_files":0,"replica_bytes":0,"upkeep_error_ms":0,"puts":0,"gets":0,"heads":0,"lists":0,"deletes":0,"bytes_out":0,"bytes_in":0,"retries":0}]}'
  begin "echo '$HELLO' >&3; echo '$status' >&3; read -r _ <&3; read -r -t 2 _ <&3; echo '{\"type\":\"bye\",\"unshipped\":[\"x\\u000aINFO forged\"]}' >&3" -watchdog 5s
  poll is one reason 'a?[2Jb?c'
  poll grep -q 'x?INFO forged' "$BATS_TEST_TMPDIR/litestreamd.err"
  ! grep -q '^INFO forged' "$BATS_TEST_TMPDIR/litestreamd.err" "$ROOT/log/one.log" || false
}

@test "a worker of another version is told from a broken one" {
  begin "echo '{\"type\":\"hello\",\"protocol\":2,\"version\":\"x\"}' >&3; read -r _ <&3"
  poll trouble one 'speaks protocol 2'
}

@test "a line without end costs no memory without end" {
  begin 'while :; do printf "%065536d" 0 >&3 || exit; done'
  poll trouble one 'longer than'
  [[ "$(awk '$1 == "VmHWM:" { print $2 }' "/proc/$(pid_of litestreamd)/status")" -lt 100000 ]]
}

@test "a worker that never says hello, and one that closes its channel, are killed" {
  begin 'read -r _ <&3' -watchdog 200ms
  poll trouble one 'was silent for 2'
  fake_two="$(printf '#!/bin/bash\nexec 3>&-\nexec sleep 60\n')"
  echo "$fake_two" >"$ROOT/bin/litestream.new"
  chmod 0755 "$ROOT/bin/litestream.new"
  mv "$ROOT/bin/litestream.new" "$ROOT/bin/litestream"
  poll trouble one 'closed its channel'
}

@test "a worker that doesn't end when it is told to is killed, and the daemon ends" {
  begin "trap '' TERM; echo '$HELLO' >&3; while :; do echo '$STATUS' >&3; sleep 0.3; done" -shutdown-timeout 0s -watchdog 5s
  poll up
  kill -TERM "$(pid_of litestreamd)"
  finish litestreamd
  in_log one 'did not end in time'
}

@test "a worker that doesn't answer a sync: the client is told in time" {
  begin "echo '$HELLO' >&3; while ! read -r -t 0.3 line <&3 || [[ \$line != *stop* ]]; do echo '$STATUS' >&3; done" -watchdog 5s
  poll up
  run ctl sync -timeout 1s one
  [[ "$status" -eq 5 && "$output" == *"did not answer in time"* ]]
}

@test "a check whose child ends without a word" {
  begin 'echo secretive >&2; exit 9'
  run ctl check one "$ROOT/storage/one--db" app.db "file://$ROOT/replicas/one"
  [[ "$status" -eq 1 && "$output" == *"without a result"* ]]
  run ctl restore "$ROOT/storage/one--db" new.db "file://$ROOT/replicas/one"
  [[ "$status" -eq 1 && "$output" == *"secretive"*"without a result"* ]]
}

# A worker that is well, and JOB in the place of a job.
job_fake() {
  begin "[[ \"\$1\" != job ]] || { $1; }
    echo '$HELLO' >&3; while ! read -r -t 0.3 line <&3 || [[ \$line != *stop* ]]; do echo '$STATUS' >&3; done" -watchdog 5s
}

@test "a job that talks without end: the rest are served" {
  job_fake 'exec yes without-end >&2'
  spawn check "$ROOT/bin/real" ctl -socket "$ROOT/run/control.sock" check one "$ROOT/storage/one--db" app.db "file://$ROOT/replicas/one"
  poll grep -q without-end "$BATS_TEST_TMPDIR/litestreamd.err"
  ctl info
  ctl status one
  poll grep -q 'says more than is passed on' "$BATS_TEST_TMPDIR/litestreamd.err"
  sleep 1 # it goes on
  [[ "$(grep -c without-end "$BATS_TEST_TMPDIR/litestreamd.err")" -lt 10000 ]]
  ctl info
  end check || true
}

@test "a client that does not read for a while is told the end" {
  # shellcheck disable=SC2016 # the job's
  job_fake "echo '$HELLO' >&3; read -r _ <&3; line=\$(printf '%0900d' 0)
    for ((i = 0; i < 6000; i++)); do echo \$line; done >&2
    echo '{\"type\":\"result\",\"exit\":1,\"error\":\"that was it\"}' >&3; exit 0"
  python3 - "$ROOT" <<'PY'
import json, socket, sys, time, os
root = sys.argv[1]
body = json.dumps({"storage_dir": root + "/storage/one--db", "file": "new.db", "replica": "file://" + root + "/replicas/one"}).encode()
s = socket.socket(socket.AF_UNIX)
s.connect(root + "/run/control.sock")
s.sendall(b"POST /restore HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
# The job must have ended before anything is read.
def jobs():
    return [p for p in os.listdir("/proc") if p.isdigit() and open("/proc/" + p + "/cmdline", "rb").read().startswith(b"/bin/bash\0" + root.encode() + b"/bin/litestream\0job")]
def quiet(what):
    try:
        return what()
    except OSError:
        return ["?"]
deadline = time.monotonic() + 60
time.sleep(0.5)
while quiet(jobs) and time.monotonic() < deadline:
    time.sleep(0.1)
text = b""
while part := s.recv(65536):
    text += part
assert len(text) > 1000000, len(text)
assert b'"error":"that was it"' in text[-400:] and b'"exit":1' in text[-400:], text[-400:]
PY
}

@test "requests that can't be" {
  app one $ALICE
  daemon
  ctl wait one
  answer() { http -o "$ROOT/answer" -w '%{http_code}' "$@" && echo " $(jq -c '[.protocol, .code]' "$ROOT/answer")"; }
  [[ "$(answer http://x/nothing)" == '404 [1,1]' ]]
  [[ "$(answer http://x/sync)" == '404 [1,1]' ]]
  [[ "$(answer -X POST http://x/reload)" == '400 [1,2]' ]]
  [[ "$(answer -d '{"app":' http://x/reload)" == '400 [1,2]' ]]
  [[ "$(answer -d '[]' http://x/reload)" == '400 [1,2]' ]]
  [[ "$(answer -d '{"app":"one","app":"two"}' http://x/reload)" == '400 [1,2]' ]]
  [[ "$(answer -d '{"app":"../one"}' http://x/reload)" == '400 [1,2]' ]]
  [[ "$(answer -d '{"app":"one","x":1}' http://x/sync)" == '400 [1,2]' ]]
  [[ "$(answer -d '{"app":"one","timeout":4000}' http://x/sync)" == '400 [1,2]' ]]
  [[ "$(answer -d '{"app":"none"}' http://x/sync)" == '404 [1,1]' ]]
  [[ "$(answer -d '{"storage_dir":"/etc","file":"passwd","replica":"/x"}' http://x/check)" == '400 [1,2]' ]]
  [[ "$(answer 'http://x/status?app=none')" == '404 [1,1]' ]]
  head -c 200000 /dev/zero | tr '\0' ' ' >"$ROOT/large"
  [[ "$(answer --data-binary @"$ROOT/large" http://x/reload)" == '400 [1,2]' ]]
  is one state replicating
}

@test "clients that go away or never speak: the rest are served" {
  app one $ALICE
  daemon
  ctl wait one
  python3 - "$ROOT/run/control.sock" <<'PY'
import socket, sys
path = sys.argv[1]
def talk(data):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    s.sendall(data)
    return s
# Some say nothing, some half a request, some garbage, some ask and leave.
idle = [talk(b"") for _ in range(20)] + [talk(b"POST /sync HTTP/1.1\r\nHost: x\r\nContent-Le") for _ in range(10)]
for data in (b"\x00\xff" * 500, b"GET " + b"/" * 60000 + b" HTTP/1.1\r\n\r\n", b"\r\n" * 1000):
    try:
        talk(data).close()
    except OSError:
        pass
for _ in range(20):
    talk(b'POST /sync HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n\r\n{"app":"one"}').close()
    talk(b'GET /status HTTP/1.1\r\nHost: x\r\n\r\n').close()
s = talk(b'POST /sync HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n\r\n{"app":"one"}')
assert b" 200 " in s.recv(4096)
PY
  sql one $ALICE 'INSERT INTO t VALUES (1)'
  ctl sync one
  [[ "$(restored one 'SELECT n FROM t')" == 1 ]]
}

# A worker that answers no question, and ends when `go` is there, in the one folder that it sees.
deaf="trap '' TERM; echo '$HELLO' >&3; while [[ ! -e \$ROOT/storage/one--db/go ]]; do read -r -t 0.3 _ <&3; echo '$STATUS' >&3; done"

@test "clients that leave while they wait: each gives back its place" {
  begin "ROOT='$ROOT'; $deaf" -watchdog 30s
  poll up
  python3 - "$ROOT/run/control.sock" <<'PY'
import select, socket, sys
body = b'{"app":"one","timeout":3600}'
def ask(head, body=b""):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.sendall(head + b" HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return s
# All of them wait for an answer that comes in an hour, so that nobody else gets one.
waiting = [ask(b"POST /sync", body) for _ in range(64)]
late = ask(b"GET /info")
assert not select.select(waiting + [late], [], [], 1)[0]
for s in waiting:
    s.close()
assert select.select([late], [], [], 60)[0], "the places were not given back"
assert b" 200 " in late.recv(4096)
PY
  touch "$ROOT/storage/one--db/go"
}

@test "a client that leaves before its restore begins: the worker's app goes on" {
  begin "ROOT='$ROOT'; $deaf" -watchdog 30s -shutdown-timeout 1h
  poll up
  curl -s -o "$BATS_TEST_TMPDIR/out" -N --unix-socket "$ROOT/run/control.sock" -d "{\"storage_dir\":\"$ROOT/storage/one--db\",\"file\":\"app.db\",\"replica\":\"file://$ROOT/replicas/one\",\"force\":true}" http://x/restore &
  local client="$!"
  poll is one state restoring
  kill -KILL "$client"
  wait "$client" || true
  # Its worker still has not ended, so nothing was sent that would have shown it.
  resumed() { ! is one state restoring; }
  poll resumed
  touch "$ROOT/storage/one--db/go"
}

@test "a restore that its client gives up leaves nothing behind, and the worker comes back" {
  app one $ALICE
  daemon
  ctl wait one
  local dir="$ROOT/storage/one--db"
  sql one $ALICE "CREATE TABLE big (b); INSERT INTO big SELECT randomblob(100000) FROM (VALUES (1),(2),(3),(4),(5),(6),(7),(8)), (VALUES (1),(2),(3),(4),(5),(6),(7),(8));"
  ctl sync one
  mkdir "$ROOT/storage/copy--db"
  chown $ALICE:$ALICE "$ROOT/storage/copy--db"
  for _ in 1 2 3 4 5; do
    http --max-time 0.05 -o /dev/null -d "{\"storage_dir\":\"$ROOT/storage/copy--db\",\"file\":\"a.db\",\"replica\":\"file://$ROOT/replicas/one\"}" http://x/restore || true
  done
  # Each one either was quicker than its client, or has left nothing; the last one may begin after its client's end.
  no_jobs() { ! pgrep -P "$(pid_of litestreamd)" -f ' job '; }
  nothing_left() { no_jobs && [[ -z "$(find "$ROOT/storage/copy--db" -mindepth 1 ! -name a.db)" ]]; }
  poll nothing_left
  [[ ! -e "$ROOT/storage/copy--db/a.db" || "$(sqlite3 "$ROOT/storage/copy--db/a.db" 'PRAGMA integrity_check')" == ok ]]
  rm -f "$dir"/app.db*
  http --max-time 0.02 -o /dev/null -d "{\"storage_dir\":\"$dir\",\"file\":\"app.db\",\"replica\":\"file://$ROOT/replicas/one\"}" http://x/restore || true
  restored_once() { no_jobs && { [[ -e "$dir/app.db" ]] || ctl restore "$dir" app.db "file://$ROOT/replicas/one"; }; }
  poll restored_once
  ctl wait one
  poll is one state replicating
}
