#!/usr/bin/env bats
# The control socket of a stand-alone replicate: Litestream's commands and Litestream's requests, databases that
# come and go, bad requests, who may speak; and status and reset, which look at what is on disk.

load ../lib/scenario

setup() {
  own_folder
  sock="$PWD/r.sock"
}

make_db() { sqlite3 "$1" "PRAGMA journal_mode = WAL; CREATE TABLE t(x); INSERT INTO t VALUES ('one')" >/dev/null; }
insert() { sqlite3 -cmd ".timeout 60000" "$1" "INSERT INTO t VALUES ('$2')"; }
value_of() { sqlite3 "$1" 'SELECT group_concat(x) FROM t'; }

# ask COMMAND …: our process, over its socket.
ask() { "$LITESTREAM" "$1" -socket "$sock" "${@:2}"; }

# http METHOD PATH [BODY]: as any client does; prints the answer and behind it the status.
http() {
  local -a body=()
  [[ $# -lt 3 ]] || body=(-d "$3")
  curl -s --max-time "$PATIENCE" --unix-socket "$sock" -X "$1" "${body[@]}" -w ' %{http_code}' "http://localhost$2"
}

# begin [FLAG…]: app.db and a replicate beside it.
begin() {
  make_db "$db"
  replicate r "$db" "$url" "$@"
}

# configured NAME: replicate by litestream.yml, which has the socket.
configured() {
  export LITESTREAM_CONFIG="$PWD/litestream.yml"
  spawn "$1" "$LITESTREAM" replicate
  poll up_or_gone "$1"
}
up_or_gone() { ask info >/dev/null 2>&1 || ! alive "$1"; }

# How many descriptors the process has of a database and what belongs to it.
descriptors() { find "/proc/$(pid_of r)/fd" -lname "$1*" | wc -l; }

@test "info, list, txid and sync, by our commands and by Litestream's requests" {
  begin
  sync_now r "$db"
  ask info -json | jq -e '.pid == '"$(pid_of r)"' and .database_count == 1 and .uptime_seconds >= 0 and .protocol == 1
    and .version == "'"$("$LITESTREAM" version)"'" and (.started_at | fromdate? // (sub("\\.[0-9]+"; "") | fromdate)) > 0'
  ask info | grep -q '^  Databases:  1$'
  ask list -json | jq -e '.databases == [.databases[0]] and (.databases[0] | .path == "'"$db"'"
    and .status == "replicating" and (.last_sync_at | type) == "string" and .replica == "'"$url"'")'
  [[ "$(ask list)" =~ ^"$db [replicating] (last sync: 20"[0-9T:.-]+Z\)$ ]]
  ask sync -wait -json app.db | jq -e '. == {status: "no_change", db_path: "'"$db"'", txid: 1, replica_txid: 1, duration_ms: .duration_ms}'
  insert "$db" two
  ask sync -wait -json app.db | jq -e '.status == "synced" and .txid == 2 and .replica_txid == 2'
  [[ "$(ask sync app.db | sed 's/duration_ms: .*/duration_ms: n/' | tr '\n' ' ')" == "status: no_change db_path: $db txid: 2 duration_ms: n " ]]
  [[ "$(http GET "/txid?path=$db")" == '{"txid":2,"protocol":1}'$'\n'' 200' ]]
  insert "$db" three
  http POST /sync '{"path":"'"$db"'","wait":true,"timeout":60}' | grep -q '"status":"synced","path":"'"$db"'","txid":3,"replicated_txid":3,.* 200\|^ 200$'
  [[ "$(http GET /info | jq -r '.pid' 2>/dev/null | head -n 1)" == "$(pid_of r)" ]]
  end r
  same_as_source "$db" "$url" back.db
}

@test "sync without -wait: also while the store does not answer" {
  begin
  sync_now r "$db"
  mv replica away
  : >replica
  insert "$db" two
  ask sync -json app.db | jq -e '.txid == 2 and (has("replica_txid") | not)'
  run ask sync -wait -timeout 1s app.db
  [[ "$status" -ne 0 ]]
  http POST /sync '{"path":"'"$db"'"}' | grep -q '"txid":2,"replicated_txid":1,'
  rm replica
  mv away replica
  sync_now r "$db"
  end r
  same_as_source "$db" "$url" back.db
}

@test "stop ships the rest and lets go of the file, start goes on without a snapshot" {
  begin -sync-interval 1h
  sync_now r "$db"
  insert "$db" two
  [[ "$(ask stop app.db | tr '\n' ' ')" == "status: stopped db_path: $db state: stopped txid: 2 socket: $sock " ]]
  restore back.db "$url"
  [[ "$(value_of back.db)" == one,two ]]
  [[ "$(descriptors "$db")" -eq 0 ]]
  ask stop -json app.db | jq -e '.status == "already_stopped" and .txid == 2 and .state == "stopped"'
  ask list | grep -q '\[stopped\] (last sync: 20'
  [[ "$(http GET "/txid?path=$db")" == '{"txid":2,"protocol":1}'* ]]
  run ask sync -wait app.db
  [[ "$status" -eq 1 && "$output" == *"is stopped"* ]]
  [[ "$(http POST /sync '{"path":"'"$db"'"}')" == *' 409' ]]
  insert "$db" three
  # The folder of its state is free: another command may do what it likes meanwhile.
  "$LITESTREAM" restore -force -o "$db" "$url"
  [[ "$(value_of "$db")" == one,two ]]
  insert "$db" three
  ask start -json app.db | jq -e '.status == "started" and .state == "running" and .db_path == "'"$db"'"'
  ask start app.db | grep -q '^status: already_running$'
  sync_now r "$db"
  [[ "$(descriptors "$db")" -gt 0 ]]
  ask status -json | jq -e '.[0].state == "replicating" and .[0].requests.bytes_out < 4000'
  end r
  same_as_source "$db" "$url" again.db
}

@test "stop with a store that does not answer: stopped in time, and told" {
  export LITESTREAM_ACCESS_KEY_ID=key LITESTREAM_SECRET_ACCESS_KEY=secret-that-is-none
  make_db "$db"
  replicate r "$db" 's3://bucket/x?endpoint=http://127.0.0.1:9'
  run ask stop -timeout 1s app.db
  [[ "$status" -eq 5 && "$output" == *"$db is stopped, but not all is shipped"* ]]
  [[ "$(descriptors "$db")" -eq 0 ]]
  ask start app.db >/dev/null
  http POST /unregister '{"path":"'"$db"'","timeout":1}' | grep -q '"details":{"status":"unregistered","path":"'"$db"'","txid":0,"shipped":false,'
  ask info | grep -q 'Databases:  0'
  # Nothing is left to do, so nothing is left to tell.
  end r
}

@test "register and unregister: beside others, by any name, and for as long as the process" {
  begin
  stay_open # or it would be let go of, for want of anybody else
  mkdir box
  make_db box/two.db
  ln -s box link
  [[ "$(ask register -replica two box/two.db | tr '\n' ' ')" == "status: registered db_path: $PWD/box/two.db replica: $PWD/two socket: $sock " ]]
  ask register -json -replica two link/two.db | jq -e '.status == "already_registered" and .db_path == "'"$PWD/box/two.db"'"'
  http POST /register '{"path":"'"$PWD/link/two.db"'","replica_url":"file://'"$PWD"'/two/"}' | grep -q '"status":"already_registered"'
  run ask register -replica other box/two.db
  [[ "$status" -eq 4 && "$output" == *"is replicated to $PWD/two already"* && ! -e other ]]
  insert box/two.db two
  ask sync -wait box/two.db >/dev/null
  # What a person sees before, and that it changes nothing.
  ask unregister -dry-run box/two.db | grep -q "^replica: $PWD/two$"
  ask info | grep -q 'Databases:  2'
  insert box/two.db three
  ask unregister -json box/two.db | jq -e '.status == "unregistered" and .final_txid > 0 and .socket == "'"$sock"'"'
  ask unregister box/two.db | grep -q '^status: already_unregistered$'
  [[ -d two && -d box/.two.db-litestream && "$(descriptors "$PWD/box")" -eq 0 && "$(descriptors "$db")" -gt 0 ]]
  same_as_source box/two.db "file://$PWD/two" two.back
  # The first one was never let go of.
  end app || true
  insert "$db" two
  sync_now r "$db"
  ask register -replica two box/two.db >/dev/null
  end r
  replicate r "$db" "$url"
  ask info | grep -q 'Databases:  1'
  end r
  same_as_source "$db" "$url" back.db
}

@test "under load: stopped, started, beside others that come and go, and nothing is lost" {
  local n
  "$TOOLS/writer" -w 1 -n 1 -a "$PWD/ack" "$db" >/dev/null
  make_db two.db
  replicate r "$db" "$url" -sync-interval 10ms
  spawn app "$TOOLS/writer" -w 1 -n 100000000 -a "$PWD/ack" "$db"
  for n in 1 2 3 4; do
    ask register -replica "two" two.db >/dev/null
    ask stop app.db >/dev/null
    insert two.db "$n"
    ask unregister two.db >/dev/null
    ask start app.db >/dev/null
  done
  sync_now r "$db"
  n="$(acked ack)"
  alive app
  sync_now r "$db"
  kill -TERM "$(pid_of app)"
  finish app 2>/dev/null || true
  end r
  restore back.db "$url"
  "$TOOLS/checker" back.db "1:$n"
  same_as_source "$db" "$url" same.db
  same_as_source two.db "file://$PWD/two" two.back
}

@test "register: what can't be replicated is refused, and nothing of it is left" {
  begin
  refused() {
    local code="$1" words="$2"
    shift 2
    run ask register "$@"
    [[ "$status" -eq "$code" && "$output" == *"$words"* ]] || {
      echo "$* ended with $status: $output" >&2
      return 1
    }
  }
  seq 1000 >text.db
  ln -s app.db soft.db
  refused 2 'replica is required' x.db
  refused 2 'gopher' -replica gopher://x/y x.db
  refused 2 'replica URL' -replica 's3://bucket/%zz?secret-access-key=GEHEIM' x.db
  refused 9 'there is no folder' -replica y nowhere/x.db
  refused 9 'not a SQLite database' -replica y text.db
  refused 2 'timeout must be greater than 0' -timeout 0 -replica y x.db
  # The link is the database that is replicated already.
  refused 4 'already' -replica y soft.db
  [[ ! -e nowhere && ! -e y && ! -e .text.db-litestream ]]
  ask info | grep -q 'Databases:  1'
  # What a URL holds is told to nobody.
  make_db secret.db
  ask register -json -replica 's3://bucket/x?endpoint=http://127.0.0.1:9&sse-customer-key=R0VIRUlNR0VIRUlNR0VIRUlNR0VIRUlNR0VIRUlNMTI=' secret.db >said
  { ask list -json && ask status -json && ask unregister -timeout 1ms secret.db; } >>said 2>&1 || true
  run grep -c 'R0VIR' said r.err
  [[ "$output" == $'said:0\nr.err:0' ]]
  grep -q 'sse-customer-key=\*\*\*' r.err
  # One that the app has not made yet is waited for.
  ask register -replica late late.db >/dev/null
  ask list | grep -q 'late.db \[open\] (last sync: never) waiting'
  make_db late.db
  ask sync -wait late.db >/dev/null
  run grep -r GEHEIM r.err
  [[ "$status" -eq 1 ]]
  end r
}

@test "by the configuration: no database at first, folders that are watched, what was unregistered stays away" {
  mkdir all
  printf 'socket: {enabled: true, path: r.sock}\nsync-interval: 10ms\ndbs:\n  - {dir: all, pattern: "*.db", watch: true, replica: {path: replicas}}\n' >litestream.yml
  make_db all/one.db
  configured r
  [[ "$(stat -c %a r.sock)" == 600 ]]
  poll eval 'ask list | grep -q "one.db \[replicating\]"'
  ask unregister all/one.db >/dev/null
  make_db all/two.db
  poll eval 'ask list | grep -q "two.db \[replicating\]"'
  ask stop all/two.db >/dev/null
  make_db all/three.db
  poll eval 'ask list | grep -q "three.db \[replicating\]"'
  ask list -json | jq -e '[.databases[] | [(.path | sub(".*/"; "")), .status]] | sort == [["three.db", "replicating"], ["two.db", "stopped"]]'
  # A database that was stopped and goes away is forgotten.
  rm -rf all/two.db* all/.two.db-litestream
  poll eval '! ask list | grep -q two.db'
  # Unregistered, it may come back with a replica of its own.
  ask register -replica own all/one.db >/dev/null
  ask sync -wait all/one.db >/dev/null
  [[ -d own ]]
  end r
  printf 'socket: {enabled: true, path: r.sock}\n' >litestream.yml
  configured r
  [[ "$(ask list)" == "No databases configured" ]]
  ask register -replica own all/one.db >/dev/null
  ask sync -wait all/one.db >/dev/null
  end r
  same_as_source all/one.db "file://$PWD/own" one.back
}

@test "bad requests are refused with what is wrong, and harm nobody" {
  begin
  bad() {
    local code="$1" words="$2" said
    shift 2
    said="$(http "$@")"
    [[ "$said" == *"$words"*" $code" && "$said" == '{"error":"'*'"protocol":1}'* ]] || {
      echo "$*: $said" >&2
      return 1
    }
  }
  local path
  for path in sync start stop register unregister; do
    bad 405 "/$path takes POST" GET "/$path"
    bad 400 'JSON object' POST "/$path"
    bad 400 'the request' POST "/$path" '{"path":'
    bad 400 'path' POST "/$path" '{}'
    bad 400 'path' POST "/$path" '{"path":7}'
    [[ "$path" == register ]] || bad 400 'path is empty' POST "/$path" '{"path":""}'
    bad 400 'unknown key' POST "/$path" '{"path":"/x","more":1}'
    bad 400 'timeout' POST "/$path" '{"path":"/x","timeout":-1}'
  done
  bad 400 'replica_url' POST /register '{"path":"/x"}'
  for path in sync start stop; do bad 404 'database not found' POST "/$path" '{"path":"/x/nothing.db"}'; done
  http POST /unregister '{"path":"/x/nothing.db"}' | grep -q already_unregistered
  bad 404 'database not found' GET '/txid?path=/x/nothing.db'
  bad 400 'path required' GET /txid
  bad 404 'there is no' GET /debug/pprof/
  bad 405 'takes GET' DELETE /list
  head -c 70000 /dev/zero | tr '\0' x >large
  bad 400 'larger than' POST /sync @large
  sync_now r "$db"
  end r
}

@test "the socket: a dead one is replaced, a living one and what is none stay" {
  make_db "$db"
  replicate r "$db" "$url"
  # A second process doesn't take the first one's place.
  make_db other.db
  run timeout "$PATIENCE" "$LITESTREAM" replicate -socket "$sock" other.db "file://$PWD/other"
  [[ "$status" -eq 1 && "$output" == *"another litestream listens on $sock already"* ]]
  ask info >/dev/null
  kill -KILL "$(pid_of r)"
  finish r || true
  [[ -S "$sock" ]]
  run ask info
  [[ "$status" -eq 1 && "$output" == *"nobody listens on $sock"* ]]
  spawn r "$LITESTREAM" replicate -socket "$sock" "$db" "$url"
  poll eval 'ask info >/dev/null 2>&1'
  end r
  [[ ! -e "$sock" ]]
  run ask info
  [[ "$status" -eq 1 && "$output" == *"there is no socket $sock"* ]]
  # Neither a file nor another program's socket is removed.
  echo precious >"$sock"
  run timeout "$PATIENCE" "$LITESTREAM" replicate -socket "$sock" "$db" "$url"
  [[ "$status" -eq 4 && "$output" == *"is no socket"* && "$(cat "$sock")" == precious ]]
  rm "$sock"
  spawn datagrams python3 -c 'import socket, sys, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1]); time.sleep(600)' "$sock"
  poll test -S "$sock"
  run timeout "$PATIENCE" "$LITESTREAM" replicate -socket "$sock" "$db" "$url"
  [[ "$status" -eq 4 && "$output" == *"another program's"* && -S "$sock" ]]
  # At the end only its own is removed.
  kill -KILL "$(pid_of datagrams)"
  finish datagrams || true
  rm "$sock"
  replicate r "$db" "$url"
  rm "$sock"
  echo precious >"$sock"
  end r
  [[ "$(cat "$sock")" == precious ]]
}

@test "the socket: of two that start at once one gets it, and a busy one counts as living" {
  make_db "$db"
  make_db other.db
  python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$sock"
  spawn one "$LITESTREAM" replicate -socket "$sock" "$db" "$url"
  spawn two "$LITESTREAM" replicate -socket "$sock" other.db "file://$PWD/other"
  poll eval '! alive one || ! alive two'
  local winner=one loser=two code=0
  alive one || winner=two loser=one
  finish "$loser" 2>/dev/null || code=$?
  [[ "$code" -eq 1 ]]
  grep -q "another litestream listens on $sock already" "$loser.err"
  [[ "$(ask info -json | jq .pid)" == "$(pid_of "$winner")" ]]
  end "$winner"
  # A program that accepts nobody for a while, and whose queue is full.
  spawn full python3 -uc 'import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen(0)
held = []
while True:
    c = socket.socket(socket.AF_UNIX)
    c.setblocking(False)
    held.append(c)
    try:
        c.connect(sys.argv[1])
    except BlockingIOError:
        break
print("full")
time.sleep(600)' "$sock"
  poll grep -q full full.out
  run timeout "$PATIENCE" "$LITESTREAM" replicate -socket "$sock" "$db" "$url"
  [[ "$status" -eq 1 && "$output" == *"another litestream listens on $sock already"* && -S "$sock" ]]
}

@test "the socket: without descriptors for clients, and when there are some again" {
  command -v prlimit >/dev/null || skip "no prlimit(1) here"
  begin
  sync_now r "$db"
  # The first ones are there for good.
  prlimit --pid "$(pid_of r)" --nofile=6:
  run ask info -timeout 300ms
  [[ "$status" -eq 5 ]]
  prlimit --pid "$(pid_of r)" --nofile=1024:
  ask info -timeout "$PATIENCE" | grep -q 'Databases:  1'
  end r
}

@test "the socket: permissions of the configuration, and who may speak by them" {
  local mode
  make_db "$db"
  chmod 755 . && chmod a+x "$BATS_TEST_TMPDIR"
  for mode in 0600 0660 0666; do
    printf 'socket: {enabled: true, path: r.sock, permissions: %s}\ndbs:\n  - {path: app.db, replica: {path: replica}}\n' "$mode" >litestream.yml
    configured r
    [[ "$(stat -c 0%a "$sock")" == "$mode" ]]
    if [[ "$(id -u)" -eq 0 ]]; then
      stranger() { setpriv --reuid 4242 --regid "$1" --clear-groups curl -s --max-time "$PATIENCE" --unix-socket "$sock" http://x/info | jq -e .pid; }
      # Where the path to the folder lets others through.
      if setpriv --reuid 4242 --regid 4242 --clear-groups test -e "$sock"; then
        run stranger 4242
        [[ "$mode" == 0666 ]] && [[ "$status" -eq 0 ]] || [[ "$mode" != 0666 && "$status" -ne 0 ]]
        run stranger "$(id -g)"
        [[ "$mode" != 0600 ]] && [[ "$status" -eq 0 ]] || [[ "$mode" == 0600 && "$status" -ne 0 ]]
      fi
    fi
    end r
  done
}

@test "status: what is on disk, and what a process says of itself" {
  export LITESTREAM_CONFIG="$PWD/litestream.yml"
  printf 'dbs:\n  - {path: app.db, replica: {path: replica}}\n  - {path: none.db, replica: {path: none}}\n  - {path: new.db, replicas: [{path: n1}, {path: n2}]}\n' >litestream.yml
  make_db "$db"
  make_db new.db
  replicate r "$db" "$url"
  sync_now r "$db"
  end r
  "$LITESTREAM" status -json | jq -e '[.[] | [(.database | sub(".*/"; "")), .status, .local_txid, .wal_size]] == [
    ["app.db", "ok", "0000000000000001", "0 B"], ["none.db", "no database", "-", "-"],
    ["new.db", "not initialized", "-", "0 B"], ["new.db", "not initialized", "-", "0 B"]] and all(.[]; .state == null)'
  [[ "$("$LITESTREAM" status app.db | head -n 1)" =~ ^"database "\ +"status  local txid        wal size  state  lag  replica"$ ]]
  # The size of a WAL, as Litestream writes it.
  head -c 4152 /dev/zero >new.db-wal
  "$LITESTREAM" status -json new.db | jq -e '.[0].wal_size == "4.2 kB"'
  head -c 123400 /dev/zero >new.db-wal
  "$LITESTREAM" status -json new.db | jq -e '.[0].wal_size == "123 kB"'
  rm new.db-wal
  : >.app.db-litestream/state.json
  "$LITESTREAM" status app.db | grep -q "^$db  error  "
  run "$LITESTREAM" status elsewhere.db
  [[ "$status" -eq 0 && "$output" == *"elsewhere.db  no database"* ]]
  run "$LITESTREAM" status -config litestream.yml elsewhere.db
  [[ "$status" -eq 2 ]]
  rm -rf .app.db-litestream replica
  # With a socket in the configuration the process is asked, each of several for its replica.
  printf 'socket: {enabled: true, path: r.sock}\n' >>litestream.yml
  configured r
  poll eval 'ask sync -wait new.db >/dev/null 2>&1'
  poll eval '"$LITESTREAM" status -json | jq -e "[.[] | .state] == [\"replicating\", \"waiting\", \"replicating\", \"replicating\"]" >/dev/null'
  "$LITESTREAM" status -json new.db | jq -e '[.[] | .replica | sub(".*/"; "")] == ["n1", "n2"] and all(.[]; .lag_seconds == 0 and .local_txid == "0000000000000001")'
  "$LITESTREAM" status new.db | grep -q '^    restorable: '
  end r
}

@test "reset: only what nobody has locked, only what is ours, and then the pages are compared" {
  begin
  sync_now r "$db"
  run "$LITESTREAM" reset app.db
  [[ "$status" -eq 1 && "$output" == *".app.db-litestream is in use by process $(pid_of r)"* && -e .app.db-litestream/state.json ]]
  end r
  echo mine >.app.db-litestream/notes
  : >.app.db-litestream/latest.pages
  "$LITESTREAM" reset -dry-run app.db | grep -q "^  $PWD/.app.db-litestream/state.json$"
  [[ -e .app.db-litestream/state.json ]]
  "$LITESTREAM" reset app.db | grep -q '^Reset complete\.'
  [[ "$(find .app.db-litestream -mindepth 1 -printf '%f\n' | sort | tr '\n' ' ')" == "lock notes " ]]
  [[ "$("$LITESTREAM" reset app.db)" == "No local state to reset for $db" ]]
  run "$LITESTREAM" reset nothing.db
  [[ "$status" -eq 9 && "$output" == *"database does not exist: $PWD/nothing.db"* && ! -e .nothing.db-litestream ]]
  # It goes on where it was: the database is what the replica holds.
  replicate r "$db" "$url"
  sync_now r "$db"
  insert "$db" two
  sync_now r "$db"
  [[ "$("$LITESTREAM" ltx -json "$url" | jq length)" -ge 2 ]]
  end r
  same_as_source "$db" "$url" back.db
  # A database of the configuration has its state where that says.
  printf 'dbs:\n  - {path: app.db, meta-path: meta, replicas: [{path: r1}, {path: r2}]}\nsocket: {enabled: true, path: r.sock}\n' >litestream.yml
  configured r
  poll eval 'ask sync -wait app.db >/dev/null 2>&1'
  poll test -S "$sock.2"
  "$LITESTREAM" sync -wait -socket "$sock.2" app.db >/dev/null
  end r
  "$LITESTREAM" reset -json app.db | jq -e '.removed | length == 2'
  [[ ! -e meta/state.json ]]
}
