#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # names are the scenario's, and bats'
# A store that goes wrong in every way that one can, before a real replicator and a real S3 server, while an
# app writes: the app doesn't notice, status and log say in one sentence what is wrong, and when it is over all
# catches up by itself, each TXID once. Between the replicator and radosgw stand a TCP proxy that breaks the
# network (tests/servers/proxy.py) and an HTTP proxy that answers wrongly (tests/servers/faulty.py).
# long
# plain

load ../lib/scenario
load ../lib/faulty

setup_file() { s3_start; }

# ---- the server's own means ----

# admin COMMAND…: of the server's own. SPOILED says what teardown mends should the test fail.
admin() { timeout "$PATIENCE" radosgw-admin -c "$(dirname "$LITESTREAM_TEST_S3_GATEWAY_PIDFILE")/ceph.conf" "$@" >/dev/null 2>admin.err; }
secret_is() { admin key create --uid=test --key-type=s3 --access-key="$LITESTREAM_ACCESS_KEY_ID" --secret-key="$1"; }

teardown() {
  [[ "$SPOILED" != user ]] || admin user enable --uid=test
  [[ "$SPOILED" != secret ]] || secret_is "$LITESTREAM_SECRET_ACCESS_KEY"
  [[ "$SPOILED" != quota ]] || admin quota disable --quota-scope=user --uid=test
  reap
}

# ---- the faults ----

@test "a network and a server that stumble: bridged, one after the other" {
  local rule before
  begin
  start_app
  for rule in '"status":500,"code":"InternalError","times":3' '"status":503,"code":"SlowDown","times":3' \
    '"status":408,"code":"RequestTimeout","times":3' '"op":"put","lose":true,"times":2'; do
    before="$(struck)"
    rules "{$rule}"
    patiently struck_more 2 "$before"
    sync_now ship "$db"
    is state replicating
  done
  rules '{"op": ["list", "head", "get"], "status": 503, "times": 12}'
  restore during.db -no-state "$url"
  "$TOOLS/checker" during.db
  rules
  for rule in '"refuse":true,"times":3' '"cut_up":0,"times":2' '"cut_up":400,"times":2' '"cut_up":1500,"times":2' \
    '"cut_down":0,"times":2' '"cut_down":60,"times":2' '"freeze":true'; do
    net "{$rule}"
    sleep 0.7
    [[ "$rule" != *freeze* ]] || net '{}'
    sync_now ship "$db"
  done
  net '{}'
  [[ "$(of requests.retries)" -ge 8 ]]
  end_app 100
  [[ "$(grep -cE 'WARN|ERROR' ship.err)" -eq 0 ]]
  finish_up
}

@test "nobody answers for a while: behind, and it catches up by itself" {
  begin
  start_app
  net "$away"
  patiently is state behind
  says "cannot store $(sed 's/?.*//; s/:..litestream-test/&.127.0.0.1:'"${endpoint##*:}"'/' <<<"$url")"
  [[ "$(of code)" -eq 5 ]]
  run "$LITESTREAM" sync -wait -timeout 1s -socket "$PWD/ship.sock" "$db"
  [[ "$status" -eq 5 ]]
  run "$LITESTREAM" restore -timeout 1s -o no.db "$url"
  [[ "$status" -eq 5 && ! -e no.db ]]
  recovers
  end_app 100
  [[ "$(grep -c WARN ship.err)" -le 2 ]]
  finish_up
}

@test "a server that is told to stop in an outage ships the rest at its next start" {
  begin -shutdown-timeout 1s
  net "$away"
  "$TOOLS/writer" -n 20 -a ack "$db" >/dev/null
  end ship
  grep -q 'not all is shipped .*the next start ships the rest' ship.err
  net '{}'
  begin
  finish_up
}

# denied WORDS: within moments, and the app is let go; sync says so at once, and it is no reason to end.
denied() {
  patiently is state denied
  # While a key is changed the server knows none for a moment, and says another thing.
  patiently says "$1"
  [[ "$(of code)" -eq 6 ]]
  patiently wal_is_free
  run "$LITESTREAM" sync -wait -timeout 30s -socket "$PWD/ship.sock" "$db"
  [[ "$status" -eq 6 && "$output" == *"$1"* ]]
  alive ship
}

@test "the keys stop counting in the middle: denied, and going on when they count again" {
  begin
  start_app
  SPOILED=user
  admin user suspend --uid=test
  denied UserSuspended
  run "$LITESTREAM" restore -o no.db "$url"
  [[ "$status" -eq 6 && ! -e no.db ]]
  admin user enable --uid=test
  recovers
  SPOILED=secret
  secret_is other/Secret
  denied "check the secret access key"
  secret_is "$LITESTREAM_SECRET_ACCESS_KEY"
  SPOILED=""
  recovers
  end_app 100
  [[ "$(grep -c WARN ship.err)" -le 4 ]]
  finish_up
}

@test "the quota is used up: told, readable all the while, and going on when there is more" {
  begin
  start_app
  SPOILED=quota
  admin quota set --quota-scope=user --uid=test --max-objects=1
  admin quota enable --quota-scope=user --uid=test
  denied "quota is used up"
  restore meanwhile.db -no-state "$url"
  "$TOOLS/checker" meanwhile.db 1:1
  admin quota disable --quota-scope=user --uid=test
  SPOILED=""
  recovers
  end_app 100
  finish_up
}

@test "a certificate that is expired, of another host, or nobody's" {
  end net || true
  end faulty || true
  "$SERVERS/certificate.sh" "$PWD/tls" wrong
  export SSL_CERT_FILE="$PWD/tls/ca.pem"
  between "$PWD/tls"
  begin
  start_app
  local wrong
  for wrong in 'expired: certificate has expired' 'self-signed: self.signed certificate' 'other-host: no alternative certificate subject name matches'; do
    echo "{\"certificate\": \"${wrong%%:*}\"}" >rules.json
    not_trusted() { is state behind && [[ "$(of reason)" =~ is\ not\ trusted\ .*"${wrong#*: }" || "$(of reason)" =~ is\ not\ trusted\ .*${wrong#*: } ]]; }
    patiently not_trusted
    [[ "$(of code)" -eq 5 ]]
    run "$LITESTREAM" restore -o no.db "$url"
    [[ "$status" -eq 5 && "$output" == *"is not trusted"* && ! -e no.db ]]
  done
  recovers
  end_app 100
  unset wrong
  finish_up
}

@test "the bucket moves to another region: followed, and a restore follows, too" {
  begin
  start_app
  rules '{"region": "eu-test-1"}'
  patiently grep -q 'litestream-test is in region eu-test-1' ship.err
  sync_now ship "$db"
  is state replicating
  restore during.db -no-state "$url"
  "$TOOLS/checker" during.db
  rm during.db
  rules '{"status": 301, "code": "PermanentRedirect"}'
  patiently is state behind
  says "in another region or at another endpoint"
  recovers
  end_app 100
  finish_up
}

@test "a listing that lacks the newest files: nobody is fenced, and a restore has them" {
  local i
  begin
  for i in 1 2 3 4 5; do
    "$TOOLS/writer" -n 3 -a ack "$db" >/dev/null
    sync_now ship "$db"
  done
  rules '{"op": "list", "late": 4}'
  restore new.db -no-state "$url"
  "$TOOLS/checker" new.db 1:16
  kill -KILL "$(pid_of ship)"
  wait "$(pid_of ship)" || true
  rm -f ship.pid ship.sock
  begin
  "$TOOLS/writer" -n 3 -a ack "$db" >/dev/null
  sync_now ship "$db"
  is state replicating
  [[ "$(struck)" -gt 2 ]]
  # The host is lost, too: what no listing shows is restored and followed.
  end ship
  rm -rf app.db* .app.db-litestream
  restore "$db" "$url"
  "$TOOLS/checker" "$db" 1:19
  begin
  is state replicating
  rules
  finish_up
}

# A takeover's snapshot goes up at once: of 12 MB in one request, with FULL=1 of 72 MB, in parts. The first merged
# file needs half a minute.
@test "a snapshot and a merged file, with a store that stumbles at each step" {
  begin
  end ship
  rm -rf app.db* .app.db-litestream
  sqlite3 "$db" "PRAGMA journal_mode = WAL; CREATE TABLE big(n INTEGER PRIMARY KEY, b);
    WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ${FULL:+6}3000) INSERT INTO big SELECT n, randomblob(1100) FROM c" >/dev/null
  "$TOOLS/writer" -n 1 -a ack "$db" >/dev/null
  local one=('{"op": "put", "key": "/0009/", "lose": true, "times": 1}' '{"op": "put", "key": "/0009/", "status": 503, "times": 2}')
  local parts=('{"op": "multipart", "key": "uploads", "status": 503, "times": 2}' '{"op": "part", "key": "partNumber=1&", "lose": true, "times": 2}'
    '{"op": "part", "key": "partNumber=2&", "status": 500, "times": 2}' '{"op": "multipart", "key": "uploadId", "lose": true, "times": 1}')
  local merged='{"op": "put", "key": "/0001/", "lose": true, "times": 1}'
  rules "${one[@]}" "${parts[@]}" "$merged"
  begin -takeover
  has_snapshot() { "$LITESTREAM" ltx -level all -json "$url" | grep -q '"level": *9'; }
  patiently has_snapshot
  # It is there since the first attempt, whose answer was lost; the others come after it.
  patiently struck_more "$([[ -n "$FULL" ]] && echo 7 || echo 3)" 0
  [[ -z "$("$SERVERS/s3.py" uploads "$LITESTREAM_TEST_S3_BUCKET" "$(prefix)/")" ]]
  spawn writer "$TOOLS/writer" -r 20 -a ack "$db"
  PATIENCE=$((2 * PATIENCE)) patiently grep -q '"put".*/0001/' requests.log
  patiently is upkeep_error null
  end_app
  rules
  finish_up
  "$LITESTREAM" verify "$url"
}

# SEED=n draws again what was drawn (which request meets it is the machine's affair), ROUNDS=n is how often it is killed.
@test "a third of all requests goes wrong, and the replicator is killed in between" {
  end net || true
  end faulty || true
  export SEED="${SEED:-$RANDOM}"
  echo "# seed $SEED" >&3
  between
  begin
  start_app
  local i noted rounds="${ROUNDS:-${FULL:+25}}"
  rules '{"chance": 0.08, "status": 500, "code": "InternalError"}' '{"chance": 0.08, "status": 503}' '{"chance": 0.08, "lose": true}' \
    '{"chance": 0.12, "op": "list", "late": 3}' '{"chance": 0.08, "op": "put", "lose": true}'
  for ((i = 0; i < ${rounds:-3}; i++)); do
    kill -KILL "$(pid_of ship)"
    wait "$(pid_of ship)" || true
    rm -f ship.pid ship.sock
    begin
    noted="$(acked ack)"
    sync_now ship "$db"
    restore during.db -no-state "$url"
    "$TOOLS/checker" during.db "1:$noted"
    rm during.db
  done
  busy_enough() { [[ "$(acked ack)" -gt 110 ]]; }
  patiently busy_enough
  recovers
  end_app 100
  [[ "$(struck)" -ge 10 ]]
  [[ "$(grep -cE 'fenced|replaced|unusable' ship.err)" -eq 0 ]]
  finish_up
}
