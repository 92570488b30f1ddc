#!/usr/bin/env bats
# What users and the world get wrong: each ends in one clear sentence with what to do, its exit code, and
# nothing changed on disk or in the store.

load ../lib/scenario

setup_file() {
  s3_start
}

teardown_file() {
  s3_stop
}

setup() {
  cd "$BATS_TEST_TMPDIR"
  mkdir box
  replica="$PWD/box/replica"
}

teardown() {
  reap
}

# Everything in the box, with content, mode and times. A folder's time tells of a temporary file that
# came and went: that is no change.
listing() {
  {
    find box -type d -printf '%p %m\n'
    find box ! -type d -printf '%p %y %m %s %T@ %l\n' -type f -exec sha256sum {} +
  } | sort
}

# refused CODE WORDS COMMAND…: ends with CODE within half a minute, in one sentence on stderr that holds
# WORDS (a regular expression, either case) and no secret; the box is as it was.
refused() {
  local code="$1" words="$2" got=0 before
  shift 2
  before="$(listing)"
  timeout 30 "$@" >out 2>err </dev/null || got=$?
  echo "$* ended with $got:"
  cat out err
  [[ "$got" -eq "$code" ]]
  grep -qiE "$words" err
  # One sentence; a line with what to do may follow it.
  [[ "$(wc -l <err)" -le 2 ]]
  [[ -z "$(grep 'Secret' out err)" ]]
  diff <(echo "$before") <(listing)
}

# A replica of three transactions in $replica.
make_replica() {
  sqlite3 app.db 'PRAGMA journal_mode = WAL; CREATE TABLE t(a); INSERT INTO t VALUES (1)' >/dev/null
  replicate ship "$PWD/app.db" "file://$replica"
  sync_now ship "$PWD/app.db"
  sqlite3 app.db 'INSERT INTO t VALUES (randomblob(20000))'
  sync_now ship "$PWD/app.db"
  sqlite3 app.db 'INSERT INTO t VALUES (3)'
  sync_now ship "$PWD/app.db"
  end ship
}

ltx_file() { find "$replica" -name '*.ltx' | sort | sed -n "$1p"; }

# ---- the database ----

@test "replicate: not a database" {
  head -c 8192 /dev/urandom >box/app.db
  refused 9 'not a (SQLite )?database' "$LITESTREAM" replicate "$PWD/box/app.db" "file://$replica"
}

@test "replicate: a folder" {
  mkdir box/app.db
  refused 9 'folder|directory|regular file' "$LITESTREAM" replicate "$PWD/box/app.db" "file://$replica"
}

@test "replicate: a missing folder" {
  refused 9 'box/none' "$LITESTREAM" replicate "$PWD/box/none/app.db" "file://$replica"
}

@test "replicate: a symbolic link" {
  sqlite3 real.db 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
  ln -s ../real.db box/app.db
  refused 9 'symbolic link' "$LITESTREAM" replicate "$PWD/box/app.db" "file://$replica"
}

@test "replicate: a folder that may not be written" {
  [[ "$(id -u)" -eq 0 ]] || skip "needs root, to become somebody else"
  sqlite3 box/app.db 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
  chmod 0755 . box
  local dir="$PWD"
  while [[ "$dir" != / ]]; do
    chmod o+x "$dir" 2>/dev/null || true
    dir="$(dirname "$dir")"
  done
  refused 9 "can't write to the folder" setpriv --reuid 65534 --regid 65534 --clear-groups \
    "$LITESTREAM" replicate "$PWD/box/app.db" "file://$replica"
}

@test "replicate: a URL that nobody knows" {
  sqlite3 box/app.db 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
  refused 2 'ftp' "$LITESTREAM" replicate "$PWD/box/app.db" "ftp://host/fruits.db"
}

# ---- the URL ----

@test "a URL without a bucket" {
  refused 2 'bucket' "$LITESTREAM" restore -o "$PWD/box/new.db" "s3:///fruits.db"
}

@test "a URL with an unknown scheme" {
  refused 2 'ftp' "$LITESTREAM" restore -o "$PWD/box/new.db" "ftp://host/fruits.db"
}

@test "a URL with an unknown query key" {
  refused 2 'regoin' "$LITESTREAM" restore -o "$PWD/box/new.db" "s3://bucket/fruits.db?regoin=eu"
}

@test "R2 without an account" {
  refused 2 'account' "$LITESTREAM" restore -o "$PWD/box/new.db" "s3://my-bucket-name.r2.cloudflarestorage.com/backup"
}

# ---- the command line ----

@test "unknown command, unknown flag, too few arguments" {
  refused 2 'replicaet' "$LITESTREAM" replicaet "$PWD/box/app.db" "file://$replica"
  refused 2 'txdi' "$LITESTREAM" restore -txdi 1 -o "$PWD/box/new.db" "file://$replica"
  refused 2 'must specify at least one replica URL' "$LITESTREAM" replicate "$PWD/box/app.db"
}

# ---- the replica ----

@test "restore: no backup there" {
  refused 3 'no backup' "$LITESTREAM" restore -o "$PWD/box/new.db" "file://$replica"
}

@test "restore: the target exists" {
  make_replica
  echo precious >box/new.db
  refused 4 "cannot restore, output path already exists: $PWD/box/new.db" \
    "$LITESTREAM" restore -o "$PWD/box/new.db" "file://$replica"
}

@test "restore: a -wal without its database is put aside, unless a process has it open" {
  make_replica
  echo stale >box/new.db-wal
  spawn app sleep 600 4<box/new.db-wal
  refused 9 'new.db' "$LITESTREAM" restore -o "$PWD/box/new.db" "file://$replica"
  end app || true
  "$LITESTREAM" restore -o "$PWD/box/new.db" "file://$replica"
  [[ "$(cat box/new.db.before-*-wal)" == stale && ! -e box/new.db-wal ]]
}

@test "restore: a folder that isn't there" {
  make_replica
  refused '1' 'none' "$LITESTREAM" restore -o "$PWD/box/none/new.db" "file://$replica"
}

@test "restore: a TXID that does not exist" {
  make_replica
  refused 3 '0*fff' "$LITESTREAM" restore -txid 0000000000000fff -o "$PWD/box/new.db" "file://$replica"
}

@test "restore: not a TXID, not a time, both" {
  make_replica
  refused 2 'txid' "$LITESTREAM" restore -txid fruit -o "$PWD/box/new.db" "file://$replica"
  refused 2 'time' "$LITESTREAM" restore -timestamp yesterday -o "$PWD/box/new.db" "file://$replica"
  refused 2 'txid.*timestamp|timestamp.*txid' "$LITESTREAM" restore -txid 0000000000000001 \
    -timestamp 2026-01-01T00:00:00Z -o "$PWD/box/new.db" "file://$replica"
}

@test "restore: a time in the future" {
  make_replica
  refused 2 'future' "$LITESTREAM" restore -timestamp 2999-01-01T00:00:00Z -o "$PWD/box/new.db" "file://$replica"
}

@test "restore: a time before the first backup" {
  make_replica
  refused 3 'earliest|first|oldest' "$LITESTREAM" restore -timestamp 2001-01-01T00:00:00Z \
    -o "$PWD/box/new.db" "file://$replica"
}

@test "restore: a truncated file" {
  make_replica
  truncate -s -40 "$(ltx_file 2)"
  refused 7 "$(basename "$(ltx_file 2)")" "$LITESTREAM" restore -o "$PWD/box/new.db" "file://$replica"
}

@test "restore: an altered file" {
  make_replica
  printf '\252' | dd of="$(ltx_file 2)" bs=1 seek=150 conv=notrunc status=none
  refused 7 "$(basename "$(ltx_file 2)")" "$LITESTREAM" restore -o "$PWD/box/new.db" "file://$replica"
}

@test "restore: an empty file" {
  make_replica
  : >"$(ltx_file 2)"
  refused 7 "$(basename "$(ltx_file 2)")" "$LITESTREAM" restore -o "$PWD/box/new.db" "file://$replica"
}

@test "restore: a gap" {
  make_replica
  rm "$(ltx_file 2)"
  refused 7 '0*2|gap' "$LITESTREAM" restore -o "$PWD/box/new.db" "file://$replica"
}

# ---- the store ----

@test "S3: a wrong secret" {
  need_s3
  LITESTREAM_SECRET_ACCESS_KEY=Wrong/Secret+Key refused 6 'denied|secret|signature|credential' \
    "$LITESTREAM" restore -o "$PWD/box/new.db" "$(s3_url none)"
  sqlite3 box/app.db 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
}

@test "S3: no credentials" {
  need_s3
  refused 6 'credential|access.key' env -u LITESTREAM_ACCESS_KEY_ID -u LITESTREAM_SECRET_ACCESS_KEY HOME="$PWD" \
    AWS_EC2_METADATA_DISABLED=true \
    "$LITESTREAM" restore -o "$PWD/box/new.db" "$(s3_url none)"
}

@test "S3: a missing bucket" {
  need_s3
  refused 1 'bucket' "$LITESTREAM" restore -o "$PWD/box/new.db" \
    "s3://no-such-bucket-here/x?endpoint=$LITESTREAM_TEST_S3_ENDPOINT"
}

@test "S3: another user's bucket" {
  need_s3
  LITESTREAM_ACCESS_KEY_ID="$LITESTREAM_TEST_S3_OTHER_ACCESS_KEY_ID" \
    LITESTREAM_SECRET_ACCESS_KEY="$LITESTREAM_TEST_S3_OTHER_SECRET_ACCESS_KEY" \
    refused 6 'denied' "$LITESTREAM" restore -o "$PWD/box/new.db" "$(s3_url none)"
}

# scripted ANSWER: a server that gives this answer to everything; $endpoint is where. ANSWER "" takes the
# request and never says a word.
scripted() {
  cat >server.py <<'PY'
import socket, sys, threading
answer = sys.argv[1].encode().decode("unicode_escape").encode("latin-1")
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
held = []
def serve(s):
    try:
        s.recv(65536)
        if answer:
            s.sendall(answer)
            s.close()
    except OSError:
        pass
while True:
    s, _ = listening.accept()
    held.append(s)
    threading.Thread(target=serve, args=(s,), daemon=True).start()
PY
  spawn server python3 server.py "$1"
  poll test -s server.out
  endpoint="http://127.0.0.1:$(head -n 1 server.out)"
  export LITESTREAM_ACCESS_KEY_ID=key LITESTREAM_SECRET_ACCESS_KEY=other/Secret
}

@test "S3: a bucket in another region" {
  local body='<?xml version="1.0"?><Error><Code>AuthorizationHeaderMalformed</Code><Message>the region is wrong; expecting eu-west-3</Message><Region>eu-west-3</Region></Error>'
  scripted "HTTP/1.1 400 Bad Request\r\nContent-Type: application/xml\r\nContent-Length: ${#body}\r\nx-amz-bucket-region: eu-west-3\r\nConnection: close\r\n\r\n$body"
  refused 1 'eu-west-3' "$LITESTREAM" restore -o "$PWD/box/new.db" "s3://bucket/x?endpoint=$endpoint"
}

@test "S3: a server that answers HTML" {
  local body='<html><body><h1>Welcome to the hotel WLAN</h1></body></html>'
  scripted "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: ${#body}\r\nConnection: close\r\n\r\n$body"
  refused 7 'no listing of S3|not S3.s|HTML' "$LITESTREAM" restore -o "$PWD/box/new.db" "s3://bucket/x?endpoint=$endpoint"
}

@test "S3: nobody listens" {
  scripted ''
  end server || true
  refused 5 'connect|refused|unreachable|reach' "$LITESTREAM" restore -o "$PWD/box/new.db" "s3://bucket/x?endpoint=$endpoint"
}
