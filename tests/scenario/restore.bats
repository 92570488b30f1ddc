#!/usr/bin/env bats
# Restores among the rest: what a replicator does after one, what kill -9 leaves, Litestream's files.

load ../lib/scenario

last_txid() { "$LITESTREAM" ltx -level all -json "file://$replica" | jq -r 'map(.max_txid) | max'; }

bytes() { "$LITESTREAM" ltx -level all -json "file://$replica" | jq 'map(.size) | add'; }

@test "replicate goes on after a restore, without a snapshot" {
  ship_rows 4000
  local txid before
  txid="$(last_txid)"
  before="$(bytes)"
  "$LITESTREAM" restore -o new.db "file://$replica"
  replicate again "$PWD/new.db" "file://$replica"
  sqlite3 new.db "INSERT INTO t VALUES (503, 'four')"
  sync_now again "$PWD/new.db"
  end again
  [[ "$(last_txid)" > "$txid" ]]
  [[ "$(($(bytes) - before))" -lt 100000 ]]
  same_as_source new.db "file://$replica" copy.db
  [[ "$(sqlite3 copy.db 'SELECT count(*) FROM t')" -eq 503 ]]
}

@test "replicate after a restore to an older state: the latest is that one, later ones are kept" {
  ship_rows 4000
  local txid older
  txid="$(last_txid)"
  older="$("$LITESTREAM" ltx -level all -json "file://$replica" | jq -r 'map(.max_txid) | sort | .[-2]')"
  "$LITESTREAM" restore -txid "$older" -o new.db "file://$replica"
  [[ "$(sqlite3 new.db 'SELECT max(n) FROM t')" -eq 501 ]]
  replicate again "$PWD/new.db" "file://$replica"
  sqlite3 new.db "INSERT INTO t VALUES (999, 'another line')"
  sync_now again "$PWD/new.db"
  end again
  same_as_source new.db "file://$replica" copy.db
  [[ "$(sqlite3 copy.db 'SELECT group_concat(n) FROM t WHERE n > 500')" == 501,999 ]]
  "$LITESTREAM" restore -txid "$txid" -o abandoned.db "file://$replica"
  [[ "$(sqlite3 abandoned.db 'SELECT max(n) FROM t')" -eq 502 ]]
}

@test "kill -9 in the middle of a restore: all or nothing" {
  "$TOOLS/mkreplica" "$replica" 400
  local round pid whole=0
  mkdir box
  for round in {1..40}; do
    "$LITESTREAM" restore -quiet -no-state -o box/app.db "$replica" 3>&- &
    pid="$!"
    # From at once to long enough.
    sleep "0.0$((round % 10))$((round % 7))"
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" || true
    case "$(ls -A box)" in
      '') ;;
      app.db)
        "$TOOLS/mkreplica" -check 400 box/app.db
        rm box/app.db
        whole=$((whole + 1))
        ;;
      *)
        ls -A box
        false
        ;;
    esac
  done
  echo "# $whole of 40 were whole before they were killed" >&3
}

@test "what Litestream wrote is restored, and said not to be proven" {
  mkdir -p "$replica/ltx/0"
  cp "$BATS_TEST_DIRNAME"/../data/litestream-0.5.17-0000000000000001-0000000000000001.ltx \
    "$replica/ltx/0/0000000000000001-0000000000000001.ltx"
  run "$LITESTREAM" restore -o app.db "$replica"
  [[ "$status" -eq 0 && "$output" == *"not proven"* ]]
  [[ "$(sqlite3 app.db 'PRAGMA integrity_check')" == ok ]]
}

@test "restored by root, owned by the folder's owner" {
  [[ "$(id -u)" -eq 0 ]] || skip "needs root"
  "$TOOLS/mkreplica" "$replica" 3
  install -d -o 12345 -g 12346 -m 0770 box
  "$LITESTREAM" restore -o box/app.db "$replica"
  [[ "$(stat -c '%u %g %a' box/app.db)" == "12345 12346 660" ]]
  [[ "$(stat -c '%u %g %a' box/.app.db-litestream)" == "12345 12346 700" ]]
  [[ "$(stat -c '%u' box/.app.db-litestream/state.json)" -eq 12345 ]]
}
