#!/usr/bin/env bats
# What Litestream 0.5 wrote itself (tests/data/litestream-0.5; LZ4 frames by 0.5.14, blocks by 0.5.18; levels 0
# to 3 and 9, of L0 only the end, a VACUUM, a file of all pages in the middle) is restored and gone on with.
# With PEER_05=PROGRAM, or FULL=1 where there is Go to build it, the program itself writes, too.
# plain

load ../lib/scenario
load ../lib/npm
load ../lib/peer
load ../lib/vfs

setup_file() {
  export DATA="$BATS_TEST_DIRNAME/../data/litestream-0.5"
  vfs_find
  s3_start
}

# replica_of VERSION: as it was written, in $replica.
replica_of() {
  rm -rf replica
  mkdir replica
  cp -r "$DATA/$1/ltx" replica/
}

# is_state TXID FILE: the database that Litestream itself restored of it.
is_state() { grep -q "^$1 [^ ]* $(sha256sum <"$2" | cut -d' ' -f1)\$" "$DATA/$version/states"; }

# each_state: by TXID and by time, whatever the times of the objects are.
each_state() {
  local txid time sum count=0
  while read -r txid time sum; do
    rm -f by-txid.db by-time.db
    "$LITESTREAM" restore -no-state -txid "$txid" -o by-txid.db "$1" >/dev/null
    "$LITESTREAM" restore -no-state -timestamp "$time" -o by-time.db "$1" >/dev/null
    is_state "$txid" by-txid.db
    cmp by-txid.db by-time.db
    count=$((count + 1))
  done <"$DATA/$version/states"
  [[ "$count" -ge 15 ]]
  rm -f latest.db
  "$LITESTREAM" restore -no-state -o latest.db "$1" >/dev/null
  cmp latest.db by-txid.db
}

@test "each state of what 0.5.14 and 0.5.18 wrote, by TXID and by time" {
  for version in 0.5.14 0.5.18; do
    replica_of "$version"
    each_state "$url"
  done
}

last_txid() { tail -n 1 "$DATA/$version/states" | cut -d' ' -f1; }

@test "without L0 but for its end, of one level each, behind a snapshot" {
  local level keep
  for version in 0.5.14 0.5.18; do
    for level in 1 2 3; do
      replica_of "$version"
      for keep in 1 2 3; do
        [[ "$keep" -eq "$level" ]] || rm -r "replica/ltx/$keep"
      done
      rm -f latest.db
      "$LITESTREAM" restore -no-state -o latest.db "$url" >/dev/null
      is_state "$(last_txid)" latest.db
    done
  done
}

@test "a gap is named, with the files on both sides; what is before it can be had" {
  local version=0.5.18 last
  replica_of "$version"
  rm -r replica/ltx/[123] replica/ltx/9/0000000000000001-000000000000001*
  run "$LITESTREAM" restore -no-state -o other.db "$url"
  [[ "$status" -eq 7 && ! -e other.db ]]
  last="$(find replica/ltx/9 -name '*.ltx' -printf '%f\n' | sort | tail -n 1)"
  [[ "$output" == *"the replica has a gap: L9 $last ends at TXID"*"but the next file, L0 $(ls replica/ltx/0 | head -n 1), begins at"* ]]
  "$LITESTREAM" restore -no-state -txid 0000000000000002 -o other.db "$url"
  is_state 0000000000000002 other.db
}

@test "in S3's layout, with a snapshot and L1 alone" {
  need_s3
  local file version=0.5.18 prefix="$$-v05"
  replica_of "$version"
  for file in replica/ltx/[19]/*.ltx; do
    [[ "$file" != replica/ltx/9/* || "$file" == *-0000000000000002.ltx ]] || continue
    python3 "$BATS_TEST_DIRNAME/../servers/s3.py" put "$LITESTREAM_TEST_S3_BUCKET" \
      "$prefix/000${file:12:1}/${file##*/}" "$file"
  done
  "$LITESTREAM" restore -no-state -o other.db "s3://$LITESTREAM_TEST_S3_BUCKET/$prefix?endpoint=$LITESTREAM_TEST_S3_ENDPOINT"
  is_state "$(last_txid)" other.db
}

everything="SELECT count(*), sum(a), sum(length(b)), group_concat(substr(hex(b), 1, 8)) FROM t"

# goes_on NAME: replicates $db; what is committed comes behind what Litestream wrote.
goes_on() {
  replicate "$1" "$db" "$url"
  sync_now "$1" "$db"
  sqlite3 "$db" "INSERT INTO t(b) VALUES ('from $1')"
  sync_now "$1" "$db"
  end "$1"
  [[ -f "replica/ltx/0/$(printf %016x $((16#$(last_txid) + 1)))-$(printf %016x $((16#$(last_txid) + 1))).ltx" ]]
  [[ ! -e "replica/ltx/9/0000000000000001-$(printf %016x $((16#$(last_txid) + 1))).ltx" ]]
  same_as_source "$db" "$url" again.db
  rm -rf again.db .again.db-litestream
}

@test "gone on with: after our restore, and by a database that is the same; the VFS reads all of it" {
  for version in 0.5.14 0.5.18; do
    replica_of "$version"
    rm -rf app.db* .app.db-litestream
    "$LITESTREAM" restore -o "$db" "$url" >/dev/null
    # Who writes before the replication begins does no harm: the state knows what was restored.
    sqlite3 "$db" "INSERT INTO t(b) VALUES ('first')"
    goes_on restored
    replica_of "$version"
    rm -rf app.db* .app.db-litestream
    "$LITESTREAM" restore -no-state -o "$db" "$url" >/dev/null
    goes_on same
    grep -q "the database is the one that the replica holds at TXID $(last_txid)" same.err
    [[ -n "$VFS_MISSING" ]] || [[ "$(through_vfs "$url" "$everything")" == "$(sqlite3 "$db" "$everything")" ]]
  done
}

@test "another database: how many pages differ is told, and nothing uploaded until somebody says so" {
  local version=0.5.18 before
  replica_of "$version"
  "$LITESTREAM" restore -no-state -o "$db" "$url" >/dev/null
  sqlite3 "$db" "UPDATE t SET b = 'other' WHERE a = 2"
  before="$(cd replica && find . -name '*.ltx' | sort)"
  for _ in 1 2; do
    run "$LITESTREAM" replicate "$db" "$url"
    [[ "$status" -eq 8 ]]
    [[ "$output" =~ [1-9]\ of\ [0-9]+\ pages\ differ\ from\ the\ replica.s\ latest\ state\ \(TXID\ $(last_txid)\ of ]]
    [[ "$output" == *"nothing was uploaded"*"start litestream replicate once with -takeover"* ]]
  done
  [[ "$(cd replica && find . -name '*.ltx' | sort)" == "$before" ]]
  replicate ship "$db" "$url" -takeover
  sync_now ship "$db"
  end ship
  same_as_source "$db" "$url" other.db
  # What was there before is there still.
  "$LITESTREAM" restore -no-state -txid "$(last_txid)" -o before.db "$url"
  is_state "$(last_txid)" before.db
}

# ---- Litestream 0.5 itself ----

# peer_05_config TARGET: all levels within seconds.
peer_05_config() {
  local to="type: file, path: $PWD/replica"
  [[ "$1" != s3:* ]] || to="type: s3, bucket: $LITESTREAM_TEST_S3_BUCKET, path: ${1#s3:}, endpoint: $LITESTREAM_TEST_S3_ENDPOINT, region: us-east-1, force-path-style: true"
  cat >peer.yml <<YML
levels: [{interval: 1s}, {interval: 2s}, {interval: 3s}]
snapshot: {interval: 4s, retention: 1h}
l0-retention: 2s
l0-retention-check-interval: 1s
dbs:
  - path: $db
    monitor-interval: 20ms
    replica: {$to, sync-interval: 20ms}
YML
}

# peer_05_writes: under load, for some seconds.
peer_05_writes() {
  spawn peer "$PEER_05" replicate -config peer.yml
  poll grep -q 'replicating to' peer.out
  spawn writer "$TOOLS/writer" -n 2000 -b 3 -r 300 -T 20000 "$db"
  finish writer
  sleep 2
  kill -TERM "$(pid_of peer)"
  finish peer
}

# both_ways URL TARGET: 0.5.18 and we, in turn, on one database and one replica.
both_ways() {
  local url="$1" txid compared=0
  peer_05_config "$2"
  peer_05_writes
  same_as_source "$db" "$url" ours.db
  for txid in $("$LITESTREAM" ltx -json -level all "$url" | jq -r '.[].max_txid' | sort -u | awk 'NR % 5 == 1'); do
    rm -f ours-at.db theirs-at.db
    "$PEER_05" restore -config peer.yml -txid "$txid" -o theirs-at.db "$db" >/dev/null 2>&1 || continue
    "$LITESTREAM" restore -no-state -txid "$txid" -o ours-at.db "$url" >/dev/null
    cmp ours-at.db theirs-at.db
    compared=$((compared + 1))
  done
  # Not every one of them can be had any more.
  [[ "$compared" -ge 1 ]]
  # We go on by ourselves: the database is what was shipped.
  replicate ship "$db" "$url"
  sync_now ship "$db"
  sqlite3 "$db" "CREATE TABLE ours(a); INSERT INTO ours VALUES (randomblob(30000))"
  sync_now ship "$db"
  end ship
  rm -rf ours.db .ours.db-litestream theirs.db
  same_as_source "$db" "$url" ours.db
  "$PEER_05" restore -config peer.yml -o theirs.db "$db"
  cmp ours.db theirs.db
  # It goes on after us, and we after it.
  rm -f writer.pid
  spawn again "$PEER_05" replicate -config peer.yml
  poll grep -q 'replicating to' again.out
  for txid in 1 2 3 4 5; do
    sqlite3 -cmd '.timeout 20000' "$db" "INSERT INTO ours VALUES (randomblob(9000))"
    sleep 0.4
  done
  sleep 1
  end again
  rm -rf ours.db .ours.db-litestream
  same_as_source "$db" "$url" ours.db
  replicate last "$db" "$url"
  sync_now last "$db"
  end last
  rm -rf ours.db .ours.db-litestream
  same_as_source "$db" "$url" ours.db
}

@test "Litestream 0.5.18 and we in turn, under load, in a folder" {
  need_05
  both_ways "$url" file
}

@test "Litestream 0.5.18 and we in turn, under load, on S3" {
  need_05
  need_s3
  export AWS_ACCESS_KEY_ID="$LITESTREAM_ACCESS_KEY_ID" AWS_SECRET_ACCESS_KEY="$LITESTREAM_SECRET_ACCESS_KEY"
  both_ways "s3://$LITESTREAM_TEST_S3_BUCKET/$$-both?endpoint=$LITESTREAM_TEST_S3_ENDPOINT" "s3:$$-both"
}
