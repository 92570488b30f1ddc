#!/usr/bin/env bats
# kill -9 for each part in turn, while an app writes: nothing acknowledged before a sync is lost, nothing is
# shipped twice over, and the replica stays one unbroken line.
# plain

load ../lib/scenario

setup_file() { s3_start; }

# slay NAME: kill -9, and gone for certain.
slay() {
  kill -KILL "$(pid_of "$1")"
  wait "$(pid_of "$1")" || true
  rm -f "$BATS_TEST_TMPDIR/$1.pid" "$BATS_TEST_TMPDIR/$1.sock"
}

# Bytes of all LTX files of the replica.
shipped() { find replica -name '*.ltx' -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }'; }

highest() { find replica -name '*.ltx' -printf '%f\n' | sort | tail -n 1 | cut -d- -f2 | cut -d. -f1; }

@test "the replicator is killed again and again while an app writes" {
  "$TOOLS/writer" -n 1 -a ack "$db" >/dev/null
  spawn writer "$TOOLS/writer" -r 1000 -t 8 -a ack "$db"
  local i
  for i in 1 2 3 4 5 6; do
    replicate "ship$i" "$db" "$url"
    sleep "0.$((RANDOM % 9 + 1))"
    slay "ship$i"
  done
  replicate ship "$db" "$url"
  local noted
  noted="$(acked ack)"
  sync_now ship "$db"
  restore during.db "$url"
  "$TOOLS/checker" during.db "1:$noted"
  finish writer
  sync_now ship "$db"
  end ship
  same_as_source "$db" "$url" after.db
  "$TOOLS/checker" after.db "1:$(acked ack)"
}

@test "a start after kill -9 ships what changed, not the database again" {
  sqlite3 "$db" "PRAGMA journal_mode = WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
    INSERT INTO t SELECT i, randomblob(4000) FROM n" >/dev/null
  replicate first "$db" "$url"
  sync_now first "$db"
  slay first
  local before
  before="$(shipped)"
  [[ "$before" -gt 15000000 ]]
  sqlite3 "$db" "UPDATE t SET b = randomblob(4000) WHERE a % 500 = 0"
  replicate second "$db" "$url"
  sync_now second "$db"
  end second
  [[ $(($(shipped) - before)) -lt 500000 ]]
  same_as_source "$db" "$url" after.db
}

@test "the app is killed in the middle of writing, and comes back" {
  "$TOOLS/writer" -n 1 -a ack "$db" >/dev/null
  replicate ship "$db" "$url"
  local i
  for i in 1 2 3; do
    spawn "writer$i" "$TOOLS/writer" -b 20 -S "$i" -a ack "$db"
    sleep "0.$((RANDOM % 5 + 3))"
    slay "writer$i"
  done
  sync_now ship "$db"
  end ship
  same_as_source "$db" "$url" after.db
  "$TOOLS/checker" after.db "1:$(acked ack)"
}

@test "SIGTERM ships the last commits before it ends" {
  "$TOOLS/writer" -n 1 -a ack "$db" >/dev/null
  replicate ship "$db" "$url"
  sync_now ship "$db"
  "$TOOLS/writer" -n 500 -a ack "$db" >/dev/null
  end ship
  restore after.db "$url"
  "$TOOLS/checker" after.db "1:$(acked ack)"
}

@test "the machine's copy is lost, restored, and goes on without a snapshot" {
  "$TOOLS/writer" -n 20000 -s 400 -a ack "$db" >/dev/null
  replicate ship "$db" "$url"
  sync_now ship "$db"
  end ship
  local noted before txid
  noted="$(acked ack)" before="$(shipped)" txid="$(highest)"
  rm -rf "$db" "$db"-wal "$db"-shm ./.*litestream*
  restore "$db" "$url"
  "$TOOLS/checker" "$db" "1:$noted"
  replicate ship "$db" "$url"
  "$TOOLS/writer" -n 10 -a ack "$db" >/dev/null
  sync_now ship "$db"
  end ship
  [[ "$(highest)" > "$txid" ]]
  [[ $(($(shipped) - before)) -lt $((before / 4)) ]]
  same_as_source "$db" "$url" after.db
  "$TOOLS/checker" after.db "1:$((noted + 10))"
}

@test "the S3 server is killed for a while" {
  need_s3
  [[ -d "$BATS_FILE_TMPDIR/ceph" ]] || skip "the S3 server is not ours to kill"
  url="$(s3_url killed)"
  "$TOOLS/writer" -n 1 -a ack "$db" >/dev/null
  replicate ship "$db" "$url"
  sync_now ship "$db"
  spawn writer "$TOOLS/writer" -r 500 -t 4 -a ack "$db"
  sleep 0.7
  kill -KILL "$(cat "$LITESTREAM_TEST_S3_GATEWAY_PIDFILE")"
  sleep 1.5
  "$BATS_TEST_DIRNAME/../servers/ceph.sh" restart-gateway "$BATS_FILE_TMPDIR/ceph" 3>&- >/dev/null
  finish writer
  sync_now ship "$db"
  end ship
  same_as_source "$db" "$url" after.db
  "$TOOLS/checker" after.db "1:$(acked ack)"
}

one_is_gone() { ! alive sync || ! alive ship; }

# uploads KILLER-FLAG…: a replicator that ships three commits, one after the other. As long as it lives.
uploads() {
  spawn ship "$TOOLS/killer" "$@" "$LITESTREAM" replicate -socket "$PWD/ship.sock" -sync-interval 10ms "$db" "$url"
  poll replicator_up_or_gone ship
  local i
  for i in 1 2 3; do
    "$TOOLS/writer" -n 1 -a ack "$db" >/dev/null
    alive ship || break
    spawn sync "$LITESTREAM" sync -wait -timeout "$PATIENCE" -socket "$PWD/ship.sock" "$db"
    poll one_is_gone
    alive ship || break
    finish sync 2>/dev/null || break
    noted="$(acked ack)"
  done
  kill -KILL "$(cat sync.pid 2>/dev/null)" 2>/dev/null && finish sync 2>/dev/null
  kill -TERM "$(pid_of ship)" 2>/dev/null || true
  finish ship 2>/dev/null
}

@test "kill -9 at each step of an upload to S3: before it is sent, in the middle, before and after the answer" {
  need_s3
  "$TOOLS/killer" true || [[ "$?" -ne 126 ]] || skip "nobody may trace a process here"
  url="$(s3_url steps)" noted=0
  "$TOOLS/writer" -n 200 -s 4000 -a ack "$db" >/dev/null
  uploads
  uploads -o steps
  local last step stride seed="${SEED:-$RANDOM}" code kills=0
  last="$(wc -l <steps)"
  # Every twentieth, other ones each time; with FULL=1 all.
  stride="$((${FULL:-0} ? 1 : 20))"
  echo "SEED=$seed, $last steps"
  for ((step = 1 + seed % stride; step <= last; step += stride)); do
    code=0
    uploads -n "$step" || code=$?
    rm -rf ship.sock during.db* .during.db*
    [[ "$code" -eq 77 ]] || continue # by another order of threads there were fewer
    kills=$((kills + 1))
    restore during.db "$url"
    "$TOOLS/checker" during.db "1:$noted"
    replicate next "$db" "$url"
    sync_now next "$db"
    # What three commits change, not the database.
    [[ "$("$LITESTREAM" status -json -socket "$PWD/next.sock" | jq '[.. | .bytes_out? // empty] | add')" -lt 100000 ]]
    end next
    [[ -z "$(find .app.db-litestream -name '*.tmp*' -o -name 'staging-*')" ]]
  done
  echo "$kills kills"
  [[ "$kills" -ge "$((last / stride / 2))" ]]
  same_as_source "$db" "$url" after.db
  "$TOOLS/checker" after.db "1:$(acked ack)"
}
