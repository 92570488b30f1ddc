#!/usr/bin/env bats
# The restore, ltx and version commands as a user types them: output, files, messages.

load ../lib/scenario

make_replica() { "$TOOLS/mkreplica" "$replica" "${1:-5}"; }

is_state() { "$TOOLS/mkreplica" -check "$1" "$2"; }

@test "version: one line, more with -verbose" {
  run "$LITESTREAM" version
  [[ "$status" -eq 0 && "$output" =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]]
  run "$LITESTREAM" version -verbose
  [[ "$status" -eq 0 && "$output" == *SQLite* && "$output" == *libcurl* ]]
}

@test "help: on stdout, exit 0; no command: on stderr, exit 2" {
  "$LITESTREAM" -help >out 2>err
  grep -q '^ *restore ' out
  [[ ! -s err ]]
  "$LITESTREAM" restore --help >out
  grep -q -- '-timestamp TIME' out
  "$LITESTREAM" help ltx >out
  grep -q 'litestream ltx' out
  local code=0
  "$LITESTREAM" >out 2>err || code=$?
  [[ "$code" -eq 2 && ! -s out ]]
  grep -q '^ *restore ' err
}

@test "a full disk behind stdout is an error" {
  [[ -e /dev/full ]] || skip "no /dev/full"
  local code=0
  "$LITESTREAM" version >/dev/full 2>err || code=$?
  [[ "$code" -eq 1 ]]
  grep -q 'standard output' err
}

@test "restore: the latest state, and any other" {
  make_replica 5
  run "$LITESTREAM" restore -o app.db "file://$replica"
  [[ "$status" -eq 0 ]]
  [[ "$output" == *"txid       0000000000000005"* && "$output" == *"checksum   proven"* ]]
  is_state 5 app.db
  "$LITESTREAM" restore --o=two.db -txid 2 -quiet "$replica" >out 2>err
  is_state 2 two.db
  [[ ! -s out && ! -s err ]]
  # TXID 3 was at 2023-11-14T22:13:23Z
  "$LITESTREAM" restore "$replica" -timestamp 2023-11-14T23:13:23.999+01:00 -o three.db
  is_state 3 three.db
}

@test "restore: state for replicate, where it is asked for" {
  make_replica 2
  "$LITESTREAM" restore -o app.db "$replica"
  [[ "$(jq -r .txid .app.db-litestream/state.json)" == 0000000000000002 ]]
  [[ "$(jq -r .restored .app.db-litestream/state.json)" == true ]]
  "$LITESTREAM" restore -state-dir state -o other.db "$replica"
  [[ -f state/state.json && -f state/pages && ! -e .other.db-litestream ]]
  "$LITESTREAM" restore -no-state -o plain.db "$replica"
  [[ ! -e .plain.db-litestream ]]
}

@test "restore: -if-db-not-exists leaves what is there alone" {
  make_replica 2
  echo precious >app.db
  "$LITESTREAM" restore -if-db-not-exists -o app.db "$replica" 2>err
  grep -q 'already exists, skipping' err
  [[ "$(cat app.db)" == precious ]]
  rm app.db
  "$LITESTREAM" restore -if-db-not-exists -o app.db "$replica"
  is_state 2 app.db
}

@test "restore: -if-replica-exists forgives an empty replica, and nothing else" {
  "$LITESTREAM" restore -if-replica-exists -o app.db "$replica" 2>err
  # Nothing ever was there: that is told, in one line.
  [[ "$(wc -l <err)" -eq 1 ]]
  grep -q "WARN *no matching backups found: nothing at all is at .*$replica.*the URL is wrong" err
  [[ ! -e app.db ]]
  mkdir "$replica"
  echo '{}' >"$replica/litestream.json"
  "$LITESTREAM" restore -if-replica-exists -o app.db "$replica" 2>err
  grep -q 'INFO *no matching backups found, skipping' err
  make_replica 2
  local code=0
  "$LITESTREAM" restore -if-replica-exists -txid 77 -o app.db "$replica" || code=$?
  [[ "$code" -eq 3 ]]
}

@test "restore: -json" {
  make_replica 3
  "$LITESTREAM" restore -json -o app.db "$replica" >out 2>err
  [[ "$(jq -r '.txid, .proven, .files, .page_size' out | tr '\n' ' ')" == "0000000000000003 true 3 4096 " ]]
  [[ "$(jq -r '.db_path, .replica, .integrity_check, (.duration_ms | type)' out | tr '\n' ' ')" == "app.db file none number " ]]
  [[ "$(jq -r .bytes out)" -eq "$(stat -c %s app.db)" ]]
  [[ ! -s err ]]
}

@test "restore: -dry-run shows the files and changes nothing" {
  make_replica 3
  run "$LITESTREAM" restore -dry-run -txid 2 "$replica"
  [[ "$status" -eq 0 && "$output" == *"txid range: 0000000000000001 - 0000000000000002"* ]]
  [[ "$(grep -c '^0  *000000000000000[12]-' <<<"$output")" -eq 2 ]]
  "$LITESTREAM" restore -dry-run -json -o app.db "$replica" >out
  [[ "$(jq -r '.source, .target_path, .replica, .min_txid, .max_txid' out | tr '\n' ' ')" == "$replica app.db file 0000000000000001 0000000000000003 " ]]
  [[ "$(jq -c '.files[2] | keys_unsorted' out)" == '["level","name","min_txid","max_txid","size","timestamp"]' ]]
  [[ "$(ls -A)" == $'out\nreplica' ]]
}

@test "restore: the sentence that users know" {
  make_replica 1
  touch app.db
  local code=0
  "$LITESTREAM" restore -o app.db "$replica" 2>err || code=$?
  [[ "$code" -eq 4 ]]
  [[ "$(cat err)" == "Error: cannot restore, output path already exists: app.db" ]]
}

@test "restore: what is left of a database that is gone goes aside, unless somebody has it open" {
  make_replica 1
  echo old >app.db-wal
  spawn holder sleep "$PATIENCE" 7<app.db-wal
  run "$LITESTREAM" restore -o app.db "$replica"
  [[ "$status" -eq 9 && "$output" == *"process $(pid_of holder)"* && ! -e app.db ]]
  kill "$(pid_of holder)"
  finish holder || true
  run "$LITESTREAM" restore -o app.db "$replica"
  [[ "$status" -eq 0 && "$output" == *"app.db.before-"* && -s app.db && ! -e app.db-wal ]]
  [[ "$(cat app.db.before-*-wal)" == old ]]
}

# An app's database with an index that lacks its rows, and a replica of it.
replicate_damaged() {
  sqlite3 "$db" "PRAGMA journal_mode = WAL; CREATE TABLE t(a, b); CREATE INDEX i ON t(a); INSERT INTO t VALUES (1, 2), (3, 4);
    PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON t(b)' WHERE name = 'i'" >/dev/null
  replicate r "$db" "$url"
  sync_now r "$db"
  end r
}

@test "restore: -integrity-check looks before the file is there, and what was there stays" {
  replicate_damaged
  "$LITESTREAM" restore -integrity-check quick -json -o quick.db "$url" | jq -e '.integrity_check == "quick"'
  local code=0
  "$LITESTREAM" restore -integrity-check full -o full.db "$url" 2>err || code=$?
  [[ "$code" -eq 7 ]]
  grep -q '^Error: post-restore integrity check: row 1 missing from index i' err
  [[ "$(ls -A)" != *full.db* ]]
  # In the place of a database: that one is untouched.
  make_db_of kept.db
  code=0
  "$LITESTREAM" restore -force -integrity-check full -o kept.db "$url" || code=$?
  [[ "$code" -eq 7 && "$(sqlite3 kept.db 'SELECT x FROM t')" == kept ]]
  [[ "$(ls -A)" != *before* ]]
  code=0
  "$LITESTREAM" restore -integrity-check some -o x.db "$url" 2>err || code=$?
  [[ "$code" -eq 2 ]]
  grep -q 'invalid -integrity-check value: some' err
  make_replica_of_small
  "$LITESTREAM" restore -integrity-check full -o small.db "file://$PWD/small" | grep -q 'integrity  ok (full)'
}

make_db_of() { sqlite3 "$1" "CREATE TABLE t(x); INSERT INTO t VALUES ('kept')"; }

make_replica_of_small() {
  make_db_of source.db
  replicate s "$PWD/source.db" "file://$PWD/small" 2>/dev/null
  sync_now s "$PWD/source.db"
  end s
}

@test "restore: messages that scripts know" {
  said() {
    local want="$1" text="$2" got=0
    shift 2
    "$LITESTREAM" restore "$@" >out 2>err </dev/null || got=$?
    cat err
    [[ "$got" -eq "$want" ]]
    grep -qF -- "$text" err
  }
  said 3 "no matching backup files available" -o app.db "$url"
  said 2 "-o is required when restoring from a replica URL" "$url"
  said 2 "invalid -timestamp, must specify in ISO 8601 format (e.g. 2000-01-01T00:00:00Z)" -timestamp yesterday -o app.db "$url"
  make_replica 2
  said 3 "TXID 000000000000004d does not exist" -txid 000000000000004d -o app.db "$url"
  mkdir folder.db
  said 4 "cannot restore, output path is a directory: folder.db" -o folder.db "$url"
  echo "dbs: [{path: $PWD/other.db, replica: {path: $PWD/other}}]" >litestream.yml
  said 2 "database not found in config: $db" -config litestream.yml "$db"
  said 2 "cannot specify a replica URL and the -config flag" -config litestream.yml -o app.db "$url"
  touch app.db
  said 4 "cannot restore, output path already exists: app.db" -o app.db "$url"
  said 0 "database already exists, skipping" -if-db-not-exists -o app.db "$url"
}

@test "restore: without -o it says how" {
  local code=0
  "$LITESTREAM" restore s3://mybkt/fruits.db 2>err || code=$?
  [[ "$code" -eq 2 ]]
  grep -q '^Try: litestream restore -o PATH s3://mybkt/fruits.db$' err
}

# A store that takes requests and never says a word: $silent is its URL.
silent_store() {
  cat >server.py <<'PY'
import socket
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
held = []
while True:
    held.append(s.accept())
    print("asked", flush=True)
PY
  spawn server python3 server.py
  poll grep -q . server.out
  export LITESTREAM_ACCESS_KEY_ID=key LITESTREAM_SECRET_ACCESS_KEY=other/Secret
  silent="s3://bucket/x?endpoint=http://127.0.0.1:$(head -n 1 server.out)"
}

@test "restore: a store that never answers is given up" {
  silent_store
  local code=0
  timeout "$PATIENCE" "$LITESTREAM" restore -timeout 100ms -o app.db "$silent" 2>err || code=$?
  cat err
  [[ "$code" -eq 5 ]]
  [[ "$(wc -l <err)" -eq 1 ]]
  [[ "$(ls -A)" != *app.db* ]]
}

@test "restore: SIGTERM and SIGINT end it, with nothing left" {
  silent_store
  local sig asked=0 code
  for sig in TERM INT; do
    # A job in the background ignores SIGINT unless it is told not to.
    spawn restore python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$LITESTREAM" restore -o "$PWD/app.db" "$silent"
    poll eval "[[ \$(grep -c asked server.out) -gt $asked ]]"
    asked="$(grep -c asked server.out)"
    kill -"$sig" "$(pid_of restore)"
    code=0
    finish restore || code=$?
    [[ "$code" -eq 1 ]]
    grep -q 'interrupted' restore.err
    [[ ! -e app.db && ! -e .app.db-litestream ]]
  done
}

@test "ltx: a table, a level, JSON" {
  make_replica 3
  run "$LITESTREAM" ltx "$replica"
  [[ "$status" -eq 0 && "${#lines[@]}" -eq 4 ]]
  [[ "${lines[0]}" =~ ^level\ +min_txid\ +max_txid\ +size\ +created$ ]]
  [[ "${lines[3]}" =~ ^0\ +0000000000000003\ +0000000000000003\ +[0-9]+\ +2023-11-14T22:13:23.000Z$ ]]
  [[ "$("$LITESTREAM" ltx -json -level 0 "$replica" | jq -r '.[1].min_txid')" == 0000000000000002 ]]
  [[ "$("$LITESTREAM" ltx -json -level 9 "$replica" | jq length)" -eq 0 ]]
}
