#!/usr/bin/env bats
# Each exit code of docs/EXIT-CODES.md, produced by the command line.
# plain

load ../lib/scenario

make_replica() { "$TOOLS/mkreplica" "$replica" 3; }

# ends CODE COMMAND…: with this code, and if it isn't 0 with "Error: " and one sentence on stderr.
ends() {
  local want="$1" got=0
  shift
  timeout 60 "$@" >out 2>err </dev/null || got=$?
  echo "$* ended with $got:"
  cat out err
  [[ "$got" -eq "$want" ]]
  [[ "$want" -eq 0 ]] || [[ "$(grep -c '^Error: ' err)" -eq 1 ]]
}

@test "the table has all of them" {
  local code
  for code in 0 1 2 3 4 5 6 7 8 9; do
    grep -q "^| $code |" "$BATS_TEST_DIRNAME/../../docs/EXIT-CODES.md"
  done
}

@test "0: done" {
  make_replica
  ends 0 "$LITESTREAM" restore -o app.db "$replica"
  ends 0 "$LITESTREAM" ltx "$replica"
}

@test "1: other failures" {
  make_replica
  ends 1 "$LITESTREAM" restore -o none/app.db "$replica"
}

@test "2: wrong usage" {
  ends 2 "$LITESTREAM" restroe
  ends 2 "$LITESTREAM" restore "$replica"
  ends 2 "$LITESTREAM" restore -o app.db
  ends 2 "$LITESTREAM" restore -o app.db -bogus "$replica"
  ends 2 "$LITESTREAM" restore -o app.db gopher://host/x
  ends 2 "$LITESTREAM" ltx -level x "$replica"
}

@test "3: no backup found" {
  ends 3 "$LITESTREAM" restore -o app.db "$replica"
  ends 3 "$LITESTREAM" ltx "$replica"
  make_replica
  ends 3 "$LITESTREAM" restore -o app.db -txid ff "$replica"
  ends 3 "$LITESTREAM" restore -o app.db -timestamp 2001-01-01T00:00:00Z "$replica"
}

@test "4: the target exists" {
  make_replica
  touch app.db
  ends 4 "$LITESTREAM" restore -o app.db "$replica"
}

@test "5: the store can't be reached" {
  # A port that somebody has and nobody listens at.
  spawn holder python3 -uc 'import socket, time
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])
time.sleep(600)'
  poll test -s holder.out
  LITESTREAM_ACCESS_KEY_ID=key LITESTREAM_SECRET_ACCESS_KEY=other/Secret \
    ends 5 "$LITESTREAM" restore -o app.db "s3://bucket/x?endpoint=http://127.0.0.1:$(cat holder.out)"
}

@test "6: access denied" {
  cat >server.py <<'PY'
import http.server
class Denied(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Denied)
print(server.server_address[1], flush=True)
server.serve_forever()
PY
  spawn server python3 server.py
  poll test -s server.out
  LITESTREAM_ACCESS_KEY_ID=key LITESTREAM_SECRET_ACCESS_KEY=other/Secret \
    ends 6 "$LITESTREAM" restore -o app.db "s3://bucket/x?endpoint=http://127.0.0.1:$(cat server.out)"
}

@test "7: damaged, or with a gap" {
  make_replica
  local second="$replica/ltx/0/0000000000000002-0000000000000002.ltx"
  printf '\252' | dd of="$second" bs=1 seek=140 conv=notrunc status=none
  ends 7 "$LITESTREAM" restore -o app.db "$replica"
  grep -q 0000000000000002-0000000000000002.ltx err
  rm "$second"
  ends 7 "$LITESTREAM" restore -o app.db "$replica"
  grep -q '0000000000000001-0000000000000001.ltx.*0000000000000003-0000000000000003.ltx' err
}

@test "8: another node owns the replica" {
  # Two machines with the same database: the second one goes on while the first is away.
  sqlite3 one.db 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
  replicate one "$PWD/one.db" "file://$replica"
  sync_now one "$PWD/one.db"
  end one
  "$LITESTREAM" restore -o two.db "file://$replica"
  replicate two "$PWD/two.db" "file://$replica"
  sqlite3 two.db 'INSERT INTO t VALUES (2)'
  sync_now two "$PWD/two.db"
  end two
  sqlite3 one.db 'INSERT INTO t VALUES (1)'
  ends 8 "$LITESTREAM" replicate "$PWD/one.db" "file://$replica"
}

@test "9: the database can't be used" {
  head -c 8192 /dev/urandom >app.db
  ends 9 "$LITESTREAM" replicate "$PWD/app.db" "file://$replica"
}
