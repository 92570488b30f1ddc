#!/usr/bin/env bats
# shellcheck disable=SC2154 # names are the scenario's
# An outage of the store, with bounds that are small enough to be reached: the staging is full, the pin is given up,
# the app's WAL is its own, and what is spent is told: processor time, requests, lines, memory, room. Then the
# difference is shipped. 15 s of it, or OUTAGE=SECONDS; with FULL=1 five minutes. (Hours: fault/test_outage.c.)
# long
# plain

load ../lib/scenario
load ../lib/faulty

setup_file() { s3_start; }

# Processor time of the replicator so far, in ms.
cpu_ms() { awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print int(($12 + $13) * 1000 / hz) }' "/proc/$(pid_of ship)/stat"; }
memory_kb() { awk '$1 == "VmHWM:" { print $2 }' "/proc/$(pid_of ship)/status"; }
state_bytes() { find .app.db-litestream -type f -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }'; }
log_lines() { wc -l <ship.err; }
# Bytes of the L0 files behind this TXID.
shipped_after() {
  "$SERVERS/s3.py" ls "$LITESTREAM_TEST_S3_BUCKET" "$(prefix)/0000/" \
    | awk -v last="$1" '{ size = $2; sub(/.*\//, "", $1); if (substr($1, 1, 16) > last) n += size } END { print n + 0 }'
}
gave_up() { grep -q 'captured pages wait for upload, the most allowed' ship.err; }

@test "an outage costs lag, and nothing else" {
  local seconds="${OUTAGE:-15}"
  [[ -n "$OUTAGE" || -z "$FULL" ]] || seconds=300
  sqlite3 "$db" "CREATE TABLE big(n INTEGER PRIMARY KEY, b);
    WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5000) INSERT INTO big SELECT n, randomblob(4000) FROM c"
  begin -staging-size 1MiB
  local txid cpu lines asked wal start="$SECONDS" took
  txid="$(of txid)" cpu="$(cpu_ms)" lines="$(log_lines)" asked="$(requests)"
  # Most of what it writes it writes again: 2 MB that differ at the end, however long it lasts.
  spawn writer "$TOOLS/writer" -r 20 -s 200 -a ack "$db"
  spawn rewriter bash -c "for ((i = 0; ; i++)); do sqlite3 -cmd '.timeout 5000' '$db' \"UPDATE big SET b = randomblob(4000) WHERE n BETWEEN 1 + \$i * 50 % 500 AND 50 + \$i * 50 % 500\"; sleep 0.5; done"
  rules '{"status": 503, "code": "SlowDown"}'
  patiently gave_up
  spawn truncater "$TOOLS/truncater" -i 500 "$db"
  sleep "$seconds"
  is state behind
  says SlowDown
  took=$((SECONDS - start)) cpu=$(($(cpu_ms) - cpu)) asked=$(($(requests) - asked)) lines=$(($(log_lines) - lines))
  end truncater
  wal="$(json wal_max_bytes truncater.out)"
  echo "# outage of $took s: $cpu ms CPU, $asked requests, $lines lines in the log, $(memory_kb) kB at most," \
    "state folder $(state_bytes) bytes, WAL at most $wal bytes, its TRUNCATE $(tail -n 1 truncater.out)" >&3
  # Eight attempts in some seconds, then pauses that double up to 30 s; and lines that do, up to an hour.
  [[ "$asked" -ge 8 && "$asked" -le $((24 + took)) ]]
  [[ "$lines" -ge 2 && "$lines" -le 10 ]]
  [[ "$cpu" -le $((1000 + took * 50)) ]]
  sanitised || [[ "$(memory_kb)" -le 40000 ]]
  [[ "$(state_bytes)" -le 4000000 ]]
  [[ "$(json truncate_calls truncater.out)" -gt 0 && "$(json truncate_busy truncater.out)" -eq 0 ]]
  [[ "$wal" -le 8000000 ]]
  kill -KILL "$(pid_of rewriter)"
  wait "$(pid_of rewriter)" || true
  rm rewriter.pid
  recovers
  is lag_seconds 0
  end_app 100
  finish_up
  echo "# shipped afterwards: $(shipped_after "$txid") bytes of a database of $(stat -c %s "$db")" >&3
  [[ "$(shipped_after "$txid")" -le 6000000 ]]
}
