#!/usr/bin/env bats
# Control sockets and clients of Litestream 0.5 and ours, each with the other's. With PEER_05=PROGRAM, or FULL=1
# where there is Go to build it.
# plain

load ../lib/scenario
load ../lib/peer

make_db() { sqlite3 "$1" "PRAGMA journal_mode = WAL; CREATE TABLE t(x); INSERT INTO t VALUES ('one')" >/dev/null; }

# theirs COMMAND …, ours COMMAND …: on the socket.
theirs() { "$PEER_05" "$1" -socket "$PWD/r.sock" "${@:2}"; }
ours() { "$LITESTREAM" "$1" -socket "$PWD/r.sock" "${@:2}"; }

# comes_and_goes CLIENT: two.db, with each of the changes and in each of its states, and what it says of them.
comes_and_goes() {
  local client="$1"
  "$client" register -json -replica "file://$PWD/two" "$PWD/two.db" | jq -e '.status == "registered" and .db_path == "'"$PWD/two.db"'" and .replica == "file://'"$PWD"'/two"'
  "$client" register -replica "file://$PWD/two" "$PWD/two.db" | grep -q '^status: already registered$'
  "$client" sync -wait -json "$PWD/two.db" | jq -e '.txid == .replica_txid and .txid >= 1 and .duration_ms >= 0'
  "$client" stop -json "$PWD/two.db" | jq -e '.status == "stopped" and .state == "stopped" and .txid >= 1'
  "$client" stop "$PWD/two.db" | grep -q '^status: already_stopped$'
  "$client" list -json | jq -e '[.databases[] | .status] | sort == ["replicating", "stopped"]'
  run "$client" sync "$PWD/two.db"
  [[ "$status" -eq 1 && "$output" == Error:* ]]
  "$client" start -json "$PWD/two.db" | jq -e '.status == "started" and .state == "running"'
  "$client" start "$PWD/two.db" | grep -q '^status: already_running$'
  sqlite3 -cmd '.timeout 20000' two.db "INSERT INTO t VALUES ('two')"
  "$client" unregister -json "$PWD/two.db" | jq -e '.status == "unregistered" and .final_txid >= 1 and (.socket | endswith("r.sock"))'
  "$client" unregister "$PWD/two.db" | grep -q '^final_txid: 0$'
  "$client" info -json | jq -e '.database_count == 1 and .uptime_seconds >= 0 and .pid == '"$(pid_of r)"
  "$client" info | grep -q '^  Databases:  1$'
  "$client" list | grep -q "^$db \\[replicating\\] (last sync: 20"
  run "$client" stop "$PWD/none.db"
  [[ "$status" -eq 1 && "$output" == *"database not found"* ]]
}

@test "Litestream's clients speak to our process" {
  need_05
  make_db "$db"
  make_db two.db
  replicate r "$db" "$url"
  comes_and_goes theirs
  end r
  # What was committed last was shipped before it was unregistered. (Litestream 0.5.18 leaves it out.)
  "$LITESTREAM" restore -no-state -o back.db "file://$PWD/two"
  [[ "$(sqlite3 back.db 'SELECT group_concat(x) FROM t')" == one,two ]]
}

@test "our clients speak to Litestream's process" {
  need_05
  make_db "$db"
  make_db two.db
  printf 'socket: {enabled: true, path: %s}\ndbs: [{path: %s, replica: {path: %s}}]\n' "$PWD/r.sock" "$db" "$replica" >theirs.yml
  spawn r "$PEER_05" replicate -config theirs.yml
  poll eval 'ours sync -wait app.db >/dev/null 2>&1'
  comes_and_goes ours
  kill -TERM "$(pid_of r)"
  finish r
}
