#!/usr/bin/env bats
# long
# Bad input: every command with too few, too many, wrong and hostile words; no daemon, or one of another
# version; two commands at once. One sentence, the right exit code, and nothing half done: data, storage
# and replicas are the same afterwards. What is called is every file of subcommands/.
# plain
load helper

setup_file() {
  machine_start
  [[ -z "$NO_MACHINE" ]] || return 0
  tools_install
  host install -m 0755 "$REPO/tests/dokku/hostile.bash" "$TOOLS/hostile.bash"
  daemon_start
  app_create bad-app
  dokku apps:create bad-bare
  host install -d -o 32767 -g 32767 "$LIB_ROOT/replicas"
  export DIR="$STORAGE/bad-app--db"
  as 32767 "$TOOLS/writer" -n 20 "$DIR/app.db"
  dokku litestream:create bad-app "$DIR" app.db "file://$LIB_ROOT/replicas/bad"
  dokku litestream:start bad-app
  dokku litestream:stop bad-app
}
teardown_file() {
  machine_stop
}

# All that a command could have changed: names, owners, modes and contents.
everything() {
  host sh -c "find $DATA $STORAGE $LIB_ROOT/replicas $LIB_ROOT/config -printf '%p %u %m %y %l\n' | sort
    find $DATA $STORAGE $LIB_ROOT/replicas -type f -print0 | sort -z | xargs -0 sha256sum"
}
same_as() {
  local now
  now="$(everything)"
  [[ "$now" == "$1" ]] || diff <(echo "$1") <(echo "$now") >&2
}

# hostile VERB [WORD...]: as dokku, in one go.
hostile() {
  local verb="$1"
  shift
  run host sudo -u dokku -H FULL="$FULL" bash "$TOOLS/hostile.bash" "$verb" bad-app app.db "$@"
  # The last line counts; every other one is a complaint.
  [[ "$status" -eq 0 && "${#lines[@]}" -eq 1 && "$output" =~ ^[1-9][0-9]*\ calls$ ]] || assert false "$output"
}

# Some of the commands at a time: shares are by the verb's place in the alphabet.
hostile_share() {
  local before verb n=0
  before="$(everything)"
  for verb in $(host ls "$LIB_ROOT/plugins/available/litestream/subcommands"); do
    n=$((n + 1))
    [[ $((n % 4)) -eq "$1" ]] || continue
    hostile "$verb"
  done
  same_as "$before"
}

@test "hostile words for every command, a quarter of them" { hostile_share 0; }
@test "hostile words for every command, the second quarter" { hostile_share 1; }
@test "hostile words for every command, the third quarter" { hostile_share 2; }
@test "hostile words for every command, the last quarter" { hostile_share 3; }

@test "hostile words where all others are good" {
  local before
  before="$(everything)"
  hostile create bad-app {} new.db "file://$LIB_ROOT/replicas/new"
  hostile create bad-app "$DIR" {} "file://$LIB_ROOT/replicas/new"
  hostile create bad-app "$DIR" new.db {}
  hostile create bad-app "$DIR" new.db "file://$LIB_ROOT/replicas/new" --option {}
  hostile create bad-app "$DIR" new.db "file://$LIB_ROOT/replicas/new" --option "sync-interval={}"
  hostile set bad-app {} 5s
  hostile set bad-app sync-interval {}
  hostile set bad-app app.db sync-interval {}
  hostile set --global sync-interval {}
  hostile restore "$DIR" {} "file://$LIB_ROOT/replicas/bad"
  hostile restore "$DIR" new.db "file://$LIB_ROOT/replicas/bad" --txid {}
  hostile restore "$DIR" new.db "file://$LIB_ROOT/replicas/bad" --timestamp {}
  hostile recover "file://$LIB_ROOT/replicas" --map {}
  hostile recover "file://$LIB_ROOT/replicas" --map "bad-app/x.db={}"
  hostile auth --region {}
  hostile auth --endpoint {}
  hostile auth --access-key-id {}
  same_as "$before"
}

@test "the same words through Dokku itself and over ssh" {
  local before word
  before="$(everything)"
  for word in ' ' 'a b' '*' $'a\nb' '--' 'ünïcödé' '../../etc/passwd' '-rf'; do
    run dokku litestream:start "$word"
    [[ "$status" -eq 2 || "$status" -eq 20 ]] || assert false "$word"
    run dokku --app "$word" litestream:start
    [[ "$status" -eq 2 || "$status" -eq 20 ]] || assert false "--app $word"
    run enter env SSH_ORIGINAL_COMMAND="litestream:start '$word'" dokku
    [[ "$status" -eq 2 || "$status" -eq 20 ]] || assert false "ssh $word"
  done
  same_as "$before"
}

@test "an app without databases: 1, or nothing to tell" {
  local before verb
  before="$(everything)"
  for verb in destroy info logs restart start status stop sync enable disable; do
    run dokku litestream:"$verb" bad-bare
    assert_status 1
    [ "${#lines[@]}" -eq 1 ]
    [[ "$output" == " !     App bad-bare has no replicated database"* ]] || assert false "$verb"
  done
  same_as "$before"
}

@test "a database of another app, and a replica of another database" {
  local before
  before="$(everything)"
  dokku storage:mount bad-bare "$DIR:/data"
  run dokku litestream:create bad-bare "$DIR" app.db "file://$LIB_ROOT/replicas/other"
  assert_status 1
  [ "${#lines[@]}" -eq 1 ]
  assert_contains " !     $DIR/app.db is registered already, by app bad-app"
  run dokku litestream:create bad-bare "$DIR" other.db "file://$LIB_ROOT/replicas/bad/"
  assert_status 1
  assert_contains "two databases can't share one"
  run host test -e "$DATA/desired/bad-bare.json"
  assert_status 1
}

@test "no daemon: what needs it says how to start it" {
  local before verb
  daemon_stop
  before="$(everything)"
  for verb in "status bad-app" "create bad-app $DIR new.db file://$LIB_ROOT/replicas/new" \
    "restore $DIR new.db file://$LIB_ROOT/replicas/bad"; do
    # shellcheck disable=SC2086 # words
    run dokku litestream:$verb
    assert_status 1
    [ "${#lines[@]}" -eq 1 ]
    [[ "$output" == " !     The litestream daemon is not running"* ]] || assert false "$verb"
  done
  same_as "$before"
  daemon_start
}

# other_daemon NUMBER: answers everything with that protocol.
other_daemon() {
  local i
  enter_words
  "${ENTER[@]}" python3 - /run/dokku-litestream/control.sock "$1" >"$BATS_TEST_TMPDIR/other.log" 2>&1 3>&- <<'PYTHON' &
import http.server, os, socketserver, sys
path, body = sys.argv[1], ('{"protocol": %s, "error": "no", "code": 1}' % sys.argv[2]).encode()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *words): pass
    def address_string(self): return "socket"
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    pass
if os.path.exists(path): os.unlink(path)
os.makedirs(os.path.dirname(path), exist_ok=True)
server = Server(path, Handler)
os.chmod(path, 0o666)
server.serve_forever()
PYTHON
  OTHER="$!"
  for ((i = 0; i < 600; i++)); do
    ! host "$LIBDIR/litestream" ctl info 2>&1 | grep -q "protocol $1" || return 0
    sleep 0.05
  done
  return 1
}

@test "a daemon of another version: both numbers are told, before anything is changed" {
  local before verb
  command -v python3 >/dev/null || skip "python3 is not installed"
  daemon_stop
  other_daemon 99
  before="$(everything)"
  for verb in "status bad-app" "start bad-app" "stop bad-app" "restart bad-app" "info bad-app" \
    "set bad-app sync-interval 5s" "set --global sync-interval 5s" "destroy bad-app --force" \
    "create bad-app $DIR new.db file://$LIB_ROOT/replicas/new" "restore $DIR new.db file://$LIB_ROOT/replicas/bad"; do
    # shellcheck disable=SC2086 # words
    run dokku litestream:$verb
    assert_status 1
    [ "${#lines[@]}" -eq 1 ]
    [[ "$output" == " !     litestreamd speaks protocol 99, this program "* ]] || assert false "$verb"
  done
  same_as "$before"
  pkill -KILL -P "$OTHER" || kill -KILL "$OTHER"
  host rm -f /run/dokku-litestream/control.sock
  daemon_start
}

@test "two commands at once on one app: each of them whole" {
  local i pids=() pid won=0
  for i in 1 2 3 4; do
    dokku litestream:set bad-app "l$((i - 1))-retention" "$((i * 200))h" >/dev/null 2>&1 3>&- &
    pids+=("$!")
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
  [ "$(host jq -c '.options | to_entries | map([.key, .value]) | sort' "$DATA/desired/bad-app.json")" \
    = '[["l0-retention","200h"],["l1-retention","400h"],["l2-retention","600h"],["l3-retention","800h"]]' ]
  # A start and a destroy: the start found it, or not; nothing of it comes back.
  dokku litestream:start bad-app --no-wait >"$BATS_TEST_TMPDIR/start" 2>&1 3>&- &
  pids=("$!")
  dokku --force litestream:destroy bad-app >/dev/null 2>&1 3>&- &
  pids+=("$!")
  for pid in "${pids[@]}"; do ! wait "$pid" || won=$((won + 1)); done
  [ "$won" -ge 1 ]
  refute_noise "$BATS_TEST_TMPDIR/start"
  run host test -e "$DATA/desired/bad-app.json"
  assert_status 1
  run dokku litestream:list
  assert_contains "There are no replicated databases"
}

refute_noise() { ! grep -E 'jq:|parse error|No such file' "$1"; }
