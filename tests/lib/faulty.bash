#!/usr/bin/env bash
# shellcheck disable=SC2034,SC2154 # names are the tests', and bats'
# faulty.bash - after scenario.bash: a replicator and an S3 server, and between them a TCP proxy that breaks the
# network (tests/servers/proxy.py) and an HTTP proxy that answers wrongly (tests/servers/faulty.py).

setup() {
  need_s3
  own_folder
  SERVERS="$BATS_TEST_DIRNAME/../servers"
  # shellcheck disable=SC2119
  between
  db="$PWD/app.db"
  "$TOOLS/writer" -n 1 -a ack "$db" >/dev/null
}

# ---- the store that goes wrong ----

# shellcheck disable=SC2120
# between [TLS-FOLDER]: starts both proxies; url is behind them.
between() {
  local server="${LITESTREAM_TEST_S3_ENDPOINT##*/}"
  rm -f requests.log faulty.out net.out
  spawn faulty "$SERVERS/faulty.py" "${server%:*}" "${server##*:}" "$PWD/rules.json" "$PWD/requests.log" "$@"
  poll test -s faulty.out
  spawn net "$SERVERS/proxy.py" 127.0.0.1 "$(cat faulty.out)" "$PWD/net.json"
  poll test -s net.out
  url="$(s3_url db)"
  endpoint="http://127.0.0.1:$(cat net.out)"
  [[ $# -eq 0 ]] || endpoint="https://localhost:$(cat net.out)"
  url="${url%%\?*}?endpoint=$endpoint"
}

# shellcheck disable=SC2120
# rules RULE…: what goes wrong from now on, each a JSON object of faulty.py's; none: nothing does.
rules() {
  local IFS=,
  echo "{\"rules\": [$*]}" >rules.new
  mv rules.new rules.json
}

# net JSON: the same for the network.
net() {
  echo "$1" >net.new
  mv net.new net.json
}

# Nobody answers, on no connection.
away='{"refuse": true, "cut_up": 0}'

# patiently COMMAND…: as poll, of what costs a process or two to ask.
patiently() {
  local deadline=$((SECONDS + PATIENCE))
  until "$@"; do
    [[ "$SECONDS" -lt "$deadline" ]] || {
      echo "never came true: $*, but $(of state): $(of reason)" >&2
      return 1
    }
    sleep 1
  done
}

requests() { wc -l <requests.log; }
struck() { jq -s 'map(select(.struck)) | length' requests.log; }
# struck_more N BEFORE: so many more requests were struck.
struck_more() { [[ "$(struck)" -ge $(($2 + $1)) ]]; }

# ---- how it is ----

of() { "$LITESTREAM" status -json -socket "$BATS_TEST_TMPDIR/ship.sock" | jq -r ".[0].$1"; }
is() { [[ "$(of "$1")" == "$2" ]]; }
says() { [[ "$(of reason)" == *"$1"* ]]; }

begin() {
  replicate ship "$db" "$url" "$@"
  sync_now ship "$db"
}

start_app() { spawn writer "$TOOLS/writer" -r 50 -a ack "$db"; }

# The app has written all the time, with no error and no answer "busy".
end_app() {
  end writer
  [[ "$(json busy writer.out)" -eq 0 ]]
  [[ "$(json commits writer.out)" -gt "${1:-0}" ]]
}

# The WAL is the app's own: its TRUNCATE is not held up, and leaves nothing.
wal_is_free() {
  [[ "$(sqlite3 -cmd '.timeout 5000' "$db" 'PRAGMA wal_checkpoint(TRUNCATE)' | tail -n 1)" == 0\|* ]]
  [[ ! -s "$db-wal" || "$(stat -c %s "$db-wal")" -lt 1000000 ]]
}

shipped() { is state replicating && sync_now ship "$db"; }

# All is over: what was acknowledged comes by itself, and the replica is one line and right.
recovers() {
  # shellcheck disable=SC2119
  rules
  net '{}'
  local noted
  noted="$(acked ack)"
  patiently shipped
  restore during.db -no-state "$url"
  "$TOOLS/checker" during.db "1:$noted"
  rm during.db
}

# No TXID is missing, none is there twice.
one_line() {
  "$LITESTREAM" ltx -level all -json "$url" | jq -e '[.. | objects | select(.level? == 0)] | length > 1' >/dev/null
  "$SERVERS/s3.py" ls "$LITESTREAM_TEST_S3_BUCKET" "$(prefix)/0000/" | awk '{ sub(/.*\//, "", $1); print substr($1, 1, 16) }' >txids
  [[ "$(sort -u txids | wc -l)" -eq "$(wc -l <txids)" ]]
  [[ "$(wc -l <txids)" -eq "$((16#$(sort txids | tail -n 1) - 16#$(sort txids | head -n 1) + 1))" ]]
}
prefix() {
  local path="${url#s3://*/}"
  echo "${path%%\?*}"
}

finish_up() {
  sync_now ship "$db"
  end ship
  one_line
  same_as_source "$db" "$url" after.db
  "$TOOLS/checker" after.db "1:$(acked ack)"
}
