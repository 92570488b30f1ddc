#!/usr/bin/env bats
# shellcheck disable=SC2154 # names are the scenario's, and bats'
# Metrics on `addr`: Prometheus' format, numbers that are what happened, clients of every kind.

load ../lib/scenario
load ../lib/faulty

setup_file() { s3_start; }

setup() {
  own_folder
  SERVERS="$BATS_TEST_DIRNAME/../servers"
  export LITESTREAM_CONFIG="$PWD/litestream.yml"
}

# configured NAME: replicate by litestream.yml, with metrics at $page.
configured() {
  spawn "$1" "$LITESTREAM" replicate -socket "$BATS_TEST_TMPDIR/$1.sock"
  poll replicator_up_or_gone "$1"
  page="$(sed -n 's/.*serving metrics on //p' "$1.err")"
  [[ -n "$page" ]] || {
    cat "$1.err" >&2
    return 1
  }
}

prometheus() { "$BATS_TEST_DIRNAME/../lib/prometheus.py" "$@"; }
clients() { "$BATS_TEST_DIRNAME/../lib/clients.py" "$@"; }
scrape() { curl -sS --max-time "$PATIENCE" "$page"; }
port() {
  local rest="${page##*:}"
  echo "${rest%/metrics}"
}
# find_value NAME [LABEL=VALUE…]: the value of the one sample of the page on stdin that has these labels, without a process
# for Python: pages are asked for again and again.
find_value() {
  local name="litestream_$1"
  shift
  awk -v name="$name" -v wanted="$*" '
    BEGIN { n = split(wanted, pairs, " ") }
    index($0, name "{") == 1 || index($0, name " ") == 1 {
      for (i = 1; i <= n; i++) {
        at = index(pairs[i], "=")
        if (!index($0, substr(pairs[i], 1, at) "\"" substr(pairs[i], at + 1) "\"")) next
      }
      found++
      value = $NF
    }
    END { if (found != 1) exit 1; printf "%.15g\n", value }'
}
# value NAME [LABEL=VALUE…]: of now.
value() { scrape | find_value "$@"; }
# value_is VALUE NAME…
value_is() { [[ "$(value "${@:2}")" == "$1" ]]; }
# above FLOOR NAME…
above() { awk -v a="$(value "${@:2}")" -v b="$1" 'BEGIN { exit !(a > b) }'; }

commit() { sqlite3 "$1" "PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES (randomblob(5000))" >/dev/null; }

# two_databases: app.db and one whose name nobody would choose.
two_databases() {
  odd="$PWD/odd \"name\" back\\slash.db"
  commit "$db"
  commit "$odd"
  cat >"$LITESTREAM_CONFIG" <<END
addr: 127.0.0.1:0
dbs:
  - path: $db
    replica:
      url: $url
  - path: '$odd'
    replica:
      path: $PWD/odd
END
}

# By its name as the parser reads it back.
shows_odd() { [[ "$(scrape | prometheus get litestream_txid "db=$odd")" == 1 ]]; }

# What status says of requests, and what metrics say, of app.db.
requests_agree() {
  local status metrics op
  status="$("$LITESTREAM" status -json -socket "$BATS_TEST_TMPDIR/r.sock" \
    | jq -r --arg db "$db" '.[] | select(.database == $db).requests | "\(.put) \(.get) \(.head) \(.list) \(.delete)"')"
  scrape >r.page
  metrics="$(for op in PUT GET HEAD LIST DELETE; do
    find_value replica_requests_total "db=$db" "operation=$op" <r.page
  done | tr '\n' ' ')"
  [[ "$metrics" == "$status " ]]
}

@test "metrics: a page that Prometheus takes, and numbers that move as the databases do" {
  two_databases
  stay_open
  configured r
  poll value_is 1 txid "db=$db"
  poll shows_odd
  scrape >first.page
  [[ "$(prometheus check <first.page)" -gt 100 ]]
  prometheus list litestream_replica_state state <first.page >states
  [[ "$(wc -l <states)" -eq 16 && "$(grep '^1' states | uniq -c)" == *"2 1 replicating" ]]
  poll requests_agree
  commit "$db"
  sync_now r "$db"
  value_is 2 txid "db=$db"
  shows_odd
  above "$(find_value sync_count "db=$db" <first.page)" sync_count "db=$db"
  above "$(find_value total_wal_bytes "db=$db" <first.page)" total_wal_bytes "db=$db"
  above "$(find_value replica_operation_bytes operation=PUT <first.page)" replica_operation_bytes operation=PUT
  above "$(find_value replica_operation_total operation=PUT <first.page)" replica_operation_total operation=PUT
  value_is 2 replica_uploads_total "db=$db"
  value_is 0 replica_lag_seconds "db=$db"
  value_is 0 replica_pending_bytes "db=$db"
  value_is 0 disk_full "db=$db"
  value_is "$(stat -c %s "$db")" db_size "db=$db" || value_is 16384 db_size "db=$db"
  # Times of now, and the snapshot that the first upload is.
  local name now
  now="$(date +%s)"
  for name in success upload snapshot; do
    above $((now - 600)) "replica_last_${name}_timestamp_seconds" "db=$db"
  done
  poll requests_agree
  end r
  end app || true
}

@test "metrics: GET and HEAD of /metrics, and nothing else" {
  two_databases
  configured r
  curl -sS -o page -D head "$page"
  grep -qi '^content-type: text/plain; version=0.0.4; charset=utf-8' head
  grep -qi "^content-length: $(stat -c %s page)" head
  [[ "$(curl -sS -I -o /dev/null -w '%{http_code} %{size_download}' "$page")" == "200 0" ]]
  local path
  for path in / /metrics/ /metrics/x /debug/pprof/ /debug/pprof/heap /favicon.ico; do
    [[ "$(curl -sS -o /dev/null -w '%{http_code}' "${page%/metrics}$path")" == 404 ]]
  done
  for path in POST PUT DELETE OPTIONS; do
    [[ "$(curl -sS -X "$path" -d x=1 -o /dev/null -w '%{http_code}' "$page")" == 405 ]]
  done
  end r
}

@test "metrics: an address that can't be had ends it at the start, without one nothing listens" {
  two_databases
  configured r
  clients 0 listens "$(pid_of r)" >ports
  [[ "$(cat ports)" == "$(port)" ]]
  sed "s/^addr:.*/addr: 127.0.0.1:$(port)/; s#$PWD/odd\$#$PWD/other#; s#$url#file://$PWD/another#" "$LITESTREAM_CONFIG" >second.yml
  run "$LITESTREAM" replicate -config second.yml
  [[ "$status" -eq 1 && "$output" == *"can't be served at 127.0.0.1:$(port) (addr): Address already in use: something else listens there"* ]]
  [[ ! -e another ]]
  end r
  sed -i 's/^addr:.*/addr: 203.0.113.7:9090/' second.yml
  run "$LITESTREAM" replicate -config second.yml
  [[ "$status" -eq 1 && "$output" == *"this machine doesn't have that address"* ]]
  sed -i 's/^addr:.*/addr: "9090"/' second.yml
  run "$LITESTREAM" replicate -config second.yml
  [[ "$status" -eq 2 && "$output" == *"second.yml:1: addr: it takes an address"* ]]
  # All of the machine's addresses, IPv4 among them; and none.
  sed -i 's/^addr:.*/addr: ":0"/' "$LITESTREAM_CONFIG"
  configured s
  [[ "$page" == http://:* ]]
  page="http://127.0.0.1:$(port)/metrics"
  [[ "$(scrape | prometheus check)" -gt 0 ]]
  end s
  sed -i '/^addr:/d' "$LITESTREAM_CONFIG"
  spawn t "$LITESTREAM" replicate -socket "$BATS_TEST_TMPDIR/t.sock"
  poll test -S t.sock
  sync_now t "$db"
  clients 0 listens "$(pid_of t)" >ports
  [[ ! -s ports ]]
  end t
}

@test "metrics: clients that send anything, nothing, or too slowly keep neither databases nor others waiting" {
  two_databases
  configured r
  clients "$(port)" garbage ${SEED:+"$SEED"}
  alive r
  [[ "$(scrape | prometheus check)" -gt 0 ]]
  # More than there is room for.
  spawn holding "$BATS_TEST_DIRNAME/../lib/clients.py" "$(port)" hold 40 "$([[ -n "$FULL" ]] && echo 90 || echo 1)"
  poll grep -q holding holding.out
  commit "$db"
  sync_now r "$db"
  [[ "$(scrape | prometheus check)" -gt 0 ]]
  if [[ -n "$FULL" ]]; then
    spawn drip "$BATS_TEST_DIRNAME/../lib/clients.py" "$(port)" drip 90
    finish drip
    [[ "$(cat drip.out)" -lt 80 ]]
    finish holding
    [[ "$(tail -n 1 holding.out)" == 40 ]]
  else
    finish holding
  fi
  [[ "$(scrape | prometheus check)" -gt 0 ]]
  if ! sanitised; then
    for _ in {1..20}; do scrape >/dev/null; done
    [[ "$(sed -n 's/VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$(pid_of r)/status")" -le 16384 ]]
  fi
  end r
}

# counted OP…: how often faulty.py saw them.
counted() { jq -s --arg ops "$*" 'map(select(.op as $o | $ops | split(" ") | index($o))) | length' requests.log; }
# As S3's side counted.
server_agrees() {
  scrape >page
  [[ "$(find_value replica_operation_total replica_type=s3 operation=PUT <page)" == "$(counted put part multipart)" &&
  "$(find_value replica_operation_total replica_type=s3 operation=GET <page)" == "$(counted get)" &&
  "$(find_value replica_operation_total replica_type=s3 operation=HEAD <page)" == "$(counted head)" &&
  "$(find_value replica_operation_total replica_type=s3 operation=LIST <page)" == "$(counted list)" &&
  "$(find_value replica_operation_total replica_type=s3 operation=DELETE <page)" == "$(counted delete)" &&
  "$(find_value replica_operation_duration_seconds_count replica_type=s3 operation=PUT <page)" == "$(counted put part multipart)" ]]
}

@test "metrics: requests as the S3 server counts them, its errors by their code, lag while it is away" {
  need_s3
  # shellcheck disable=SC2119
  between
  two_databases
  configured r
  poll value_is 1 txid "db=$db"
  commit "$db"
  sync_now r "$db"
  poll server_agrees
  # Errors.
  rules '{"op": "put", "times": 2, "status": 503, "code": "SlowDown"}'
  commit "$db"
  sync_now r "$db"
  value_is 2 replica_operation_errors_total operation=PUT code=SlowDown
  value_is 2 replica_retries_total "db=$db"
  poll server_agrees
  # Away.
  net "$away"
  commit "$db"
  poll above 0.5 replica_lag_seconds "db=$db"
  local lag
  lag="$(value replica_lag_seconds "db=$db")"
  above 0 replica_pending_bytes "db=$db"
  poll above "$lag" replica_lag_seconds "db=$db"
  value_is 0 replica_lag_seconds replica=file
  poll value_is 1 replica_state "db=$db" state=behind
  above 0 replica_operation_errors_total operation=PUT code=unreachable
  net '{}'
  sync_now r "$db"
  value_is 0 replica_lag_seconds "db=$db"
  value_is 0 replica_pending_bytes "db=$db"
  poll value_is 1 replica_state "db=$db" state=replicating
  scrape >page
  run grep -e "$LITESTREAM_SECRET_ACCESS_KEY" -e "$LITESTREAM_ACCESS_KEY_ID" -e endpoint page
  [[ "$status" -eq 1 ]]
  end r
}

# status_says SOCKET FILTER: jq's, of its only database.
status_says() { "$LITESTREAM" status -json -socket "$1" "$db" | jq -e ".[0] | $2" >/dev/null; }

is_up() { scrape >page && [[ "$(find_value process_up process=2 <page)" == "$1" ]]; }

@test "metrics: several replicas on one page; one that dies, one that is fenced" {
  commit "$db"
  two_replicas "addr: 127.0.0.1:0"
  configured r
  poll value_is 1 txid "db=$db" replica=file
  poll value_is 1 txid "db=$db" replica=far
  scrape | prometheus check
  value_is 1 replica_operation_bytes operation=PUT process=1 || above 1000 replica_operation_bytes operation=PUT process=1
  above 1000 replica_operation_bytes operation=PUT process=2
  value_is 0 process_restarts_total process=2
  # One that hangs is missing, and told; one that dies comes back.
  local second
  second="$(pgrep -P "$(pid_of r)" | tail -n 1)"
  kill -STOP "$second"
  poll is_up 0
  prometheus check <page
  # What is in the page is in docs/METRICS.md, and what is in its tables is in the page.
  local doc="$BATS_TEST_DIRNAME/../../docs/METRICS.md"
  sed -n 's/^# TYPE \([^ ]*\) .*/\1/p' page | sort >served
  grep -o "\`[a-z0-9_]*\`" "$doc" | tr -d '`' | sort -u >named
  sed -n 's/^| \(`litestream_[^|]*\)|.*/\1/p' "$doc" | grep -o '[a-z0-9_]*' | sort -u >tabled
  [[ -s tabled && -z "$(comm -23 served named)" && -z "$(comm -23 tabled served)" ]] || {
    comm -23 served named
    comm -23 tabled served
    return 1
  }
  find_value txid "db=$db" replica=file <page
  run find_value txid "db=$db" replica=far <page
  [[ "$status" -eq 1 ]]
  kill -KILL "$second"
  poll is_up 1
  value_is 1 process_restarts_total process=2
  value_is 0 process_restarts_total process=1
  # The one that serves: who asks meanwhile waits for the next one.
  kill -KILL "$(pgrep -P "$(pid_of r)" | head -n 1)"
  poll value_is 1 process_restarts_total process=1
  value_is 1 process_restarts_total process=2
  poll is_up 1
  # Somebody else takes the second replica.
  cp "$db" copy.db
  replicate thief "$PWD/copy.db" "file://$PWD/far" -takeover
  sync_now thief "$PWD/copy.db"
  end thief
  commit "$db"
  poll value_is 1 replica_state replica=far state=fenced
  value_is 0 replica_state replica=far state=replicating
  poll above 0 replica_lag_seconds replica=far
  poll value_is 0 replica_lag_seconds replica=file
  # So does the status.
  poll status_says "$BATS_TEST_TMPDIR/r.sock.2" '.state == "fenced" and .lag_seconds > 0'
  status_says "$BATS_TEST_TMPDIR/r.sock" '.lag_seconds == 0'
  value_is 1 replica_state replica=file state=replicating
  end r || [[ "$?" -eq 8 ]]
}
