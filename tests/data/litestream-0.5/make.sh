#!/usr/bin/env bash
# make.sh LITESTREAM FOLDER - has a Litestream 0.5 write a replica in all of its levels into FOLDER/ltx, and
# what it restores of each TXID and time itself into FOLDER/states: TXID, time, SHA-256 of the database.
#
# The program: GOBIN=/tmp/bin go install github.com/benbjohnson/litestream/cmd/litestream@v0.5.18
# 0.5.14 wrote pages as LZ4 frames, 0.5.16 and later write blocks. Nothing in the tests runs this.
set -eo pipefail
peer="$1" to="$(realpath -m "$2")" work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"

cat >litestream.yml <<YML
levels: [{interval: 1s}, {interval: 2s}, {interval: 4s}]
snapshot: {interval: 5s, retention: 1h}
l0-retention: 3s
l0-retention-check-interval: 1s
dbs:
  - path: $work/app.db
    monitor-interval: 50ms
    replica: {type: file, path: $work/replica, sync-interval: 50ms}
YML

sql() { sqlite3 -cmd '.timeout 5000' app.db "$1" >/dev/null; }
grow() {
  local i
  for ((i = 0; i < $1; i++)); do
    sql "INSERT INTO t(b) VALUES (randomblob(300)); UPDATE t SET b = randomblob(200) WHERE a % 13 = $i"
    sleep 0.25
  done
}
begin() {
  "$peer" replicate -config litestream.yml >>peer.log 2>&1 &
  sleep 1
}
finish() {
  sleep 1.5
  kill -TERM "$!"
  wait "$!" || true
}

sql "PRAGMA page_size = 1024; PRAGMA journal_mode = WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b);
  INSERT INTO t(b) VALUES (zeroblob(3000)), (randomblob(3000))"
begin
grow 10
sql "INSERT INTO t(b) VALUES (randomblob(20000))"
grow 6
sql "DELETE FROM t WHERE a > 3; VACUUM"
grow 4
finish
# What it did not see is a file of all pages, of one TXID that is not 1.
sql "INSERT INTO t(b) VALUES (randomblob(2000)); PRAGMA wal_checkpoint(TRUNCATE)"
begin
grow 8
finish

mkdir -p "$to"
rm -rf "$to/ltx"
cp -r replica/ltx "$to/ltx"
: >"$to/states"
for file in replica/ltx/*/*.ltx; do
  txid="${file##*-}" txid="${txid%.ltx}"
  time="$(stat -c %y "$file" | sed 's/ /T/; s/\(\.[0-9]\{3\}\).*/\1Z/')"
  rm -f out.db*
  if "$peer" restore -txid "$txid" -o out.db "file://$work/replica" >/dev/null 2>&1; then
    echo "$txid $time $(sha256sum <out.db | cut -d' ' -f1)" >>"$to/states"
  fi
done
sort -u -k1,1 -o "$to/states" "$to/states"
