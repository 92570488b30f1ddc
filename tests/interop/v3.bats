#!/usr/bin/env bats
# What Litestream 0.3.13 wrote under load is restored: byte for byte what its own restore makes of it.
# plain

load ../lib/scenario
load ../lib/npm
load ../lib/peer

setup_file() {
  peer_find
  s3_start
}

# new_database [PAGE-SIZE]: with some rows.
new_database() {
  sqlite3 "$db" "PRAGMA page_size = ${1:-4096}; PRAGMA journal_mode = WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
    INSERT INTO t SELECT i, randomblob(900) FROM n" >/dev/null
}

# sql TEXT: by an app that has the patience that every app beside Litestream needs.
sql() { sqlite3 -cmd '.timeout 20000' "$db" "$1" >/dev/null; }

# grow COUNT: so many transactions of their own.
grow() {
  local i
  for ((i = 0; i < $1; i++)); do
    echo "INSERT INTO t(b) VALUES (randomblob(2000)); UPDATE t SET b = randomblob(700) WHERE a % 17 = $((i % 17));"
  done | sqlite3 -cmd '.timeout 20000' "$db"
}

# grow_apart URL COUNT: the same, in a segment of their own or several: Litestream has shipped them before it
# returns.
grow_apart() {
  local before
  before="$(segments "$1")"
  grow "$2"
  poll more_segments_than "$1" "$before"
}
segments() {
  plan "$1"
  jq '.files | length' plan.json
}
more_segments_than() { [[ "$(segments "$1")" -gt "$2" ]]; }

# same_as_peer URL [FLAG…]: both restore it, with the same flags.
same_as_peer() {
  local url="$1"
  shift
  rm -f ours.db theirs.db
  peer_restore peer "$db" theirs.db "$@"
  "$LITESTREAM" restore -no-state -o ours.db "$@" "$url"
  cmp ours.db theirs.db
  [[ "$(sqlite3 "file:ours.db?immutable=1" 'PRAGMA integrity_check')" == ok ]]
}

# same_rows: what is in ours.db is what the app has.
same_rows() { cmp <(sqlite3 "file:ours.db?immutable=1" .dump) <(sqlite3 "$db" .dump); }

has_same_rows() {
  rm -f ours.db
  "$LITESTREAM" restore -no-state -o ours.db "$1" >/dev/null 2>&1 && same_rows >/dev/null
}

# end_of_peer URL: nobody writes any more; once all of that is in the replica Litestream ends. (Its own last
# sync gives up when it meets anybody.)
end_of_peer() {
  poll has_same_rows "$1"
  rm ours.db
  peer_end peer
}

# plan URL [FLAG…]: generation and last index of a restore, and the names of its files.
plan() {
  local url="$1"
  shift
  "$LITESTREAM" restore -dry-run -json "$@" "$url" >plan.json
}

# same_table COMMAND COLUMN…: both programs list the replica of peer.yml; these columns, the header too, are the same.
same_table() {
  local command="$1" columns
  shift
  columns="$(printf '$%s, ' "$@")"
  TZ=UTC "$PEER" "$command" -config peer.yml "$db" | awk "{ print ${columns%, } }" | sort >theirs.table
  "$LITESTREAM" "$command" -config peer.yml "$db" | awk "{ print ${columns%, } }" | sort >ours.table
  [[ "$(wc -l <ours.table)" -gt 1 ]]
  diff theirs.table ours.table
}

# under_load URL TARGET: a writer and an app that truncates its WAL, two generations, and every WAL that
# there is as a target.
under_load() {
  local url="$1" target="$2" index last
  new_database
  peer_replicate peer "$db" "$target"
  spawn writer "$TOOLS/writer" -n 1500 -b 3 -r 400 -T 20000 "$db"
  spawn truncater "$TOOLS/truncater" -i 300 -T 30 "$db"
  finish writer
  end truncater
  end_of_peer "$url"
  same_as_peer "$url"
  same_rows
  [[ "$(sqlite3 "file:ours.db?immutable=1" 'SELECT count(*) FROM commits')" -eq 4500 ]]
  # Litestream loses its place: a new generation, beside the old one.
  plan "$url"
  local first last_of_first
  first="$(jq -r .generation plan.json)"
  last_of_first="$(jq -r .index plan.json)"
  [[ $((16#$last_of_first)) -ge 2 ]]
  mv ours.db first.db
  rm -rf .app.db-litestream
  peer_replicate peer "$db" "$target"
  grow 20
  end_of_peer "$url"
  same_as_peer "$url"
  same_rows
  plan "$url"
  [[ "$(jq -r .generation plan.json)" != "$first" ]]
  "$LITESTREAM" generations -json "$url" >generations.json
  [[ "$(jq -r --arg g "$first" '.[] | select(.generation == $g) | .first_index + .last_index' generations.json)" == "00000000$last_of_first" ]]
  [[ "$(jq 'length' generations.json)" -eq 2 ]]
  same_table generations 1 2 4 5
  same_table snapshots 1 2 3 4 5
  same_table wal 1 2 3 4 5 6
  same_as_peer "$url" -generation "$first"
  cmp ours.db first.db
  for ((index = 0; index <= 16#$last_of_first; index++)); do
    last="$(printf %08x "$index")"
    # One may have ended before there was a snapshot: 0.3 begins each generation with the WAL that is there.
    plan "$url" -generation "$first" -index "$last" 2>/dev/null || continue
    same_as_peer "$url" -generation "$first" -index "$last"
  done
}

@test "under load, with TRUNCATE checkpoints and two generations, in a folder" {
  need_peer
  under_load "file://$replica" "$replica"
}

@test "under load, with TRUNCATE checkpoints and two generations, on S3" {
  need_peer
  need_s3
  under_load "s3://$LITESTREAM_TEST_S3_BUCKET/$$-load?endpoint=$LITESTREAM_TEST_S3_ENDPOINT" "s3:$$-load"
}

@test "every page size, with a VACUUM, a shrink and large transactions" {
  need_peer
  local size
  for size in 512 1024 8192 65536; do
    rm -rf app.db* .app.db-litestream replica
    new_database "$size"
    CHECKPOINT_PAGES=20 peer_replicate peer "$db" "$replica"
    grow 15
    sql "INSERT INTO t(b) SELECT randomblob(3000) FROM t"
    sleep 0.1
    sql "DELETE FROM t WHERE a % 3"
    sql "VACUUM"
    grow 15
    sql "DELETE FROM t WHERE a > 20; VACUUM"
    sql "INSERT INTO t(b) VALUES (zeroblob(300000)), (randomblob(5000))"
    end_of_peer "file://$replica"
    same_as_peer "file://$replica"
    same_rows
  done
}

@test "another database beside it: told, and nothing uploaded until somebody says so" {
  need_peer
  new_database
  peer_replicate peer "$db" "$replica"
  grow 5
  end_of_peer "file://$replica"
  mv "$db" old.db
  rm -rf app.db-* .app.db-litestream
  sqlite3 "$db" "PRAGMA journal_mode = WAL; CREATE TABLE fresh(a)" >/dev/null
  run "$LITESTREAM" replicate "$db" "file://$replica"
  [[ "$status" -eq 8 && ! -e replica/ltx ]]
  [[ "$output" =~ [0-9]+\ of\ [0-9]+\ pages\ differ\ from\ the\ replica.s\ latest\ state\ \(Litestream\ 0.3.s,\ of ]]
  [[ "$output" == *"nothing was uploaded"*-takeover* ]]
  # The very file that Litestream followed needs nobody's word.
  mv old.db "$db"
  replicate ship "$db" "file://$replica"
  sync_now ship "$db"
  end ship
  grep -q "the database is what Litestream 0.3 holds" ship.err
  same_as_source "$db" "file://$replica" again.db
}

# times URL: the times of a plan's segments, one each, and a millisecond: 0.3 compares nanoseconds.
times() {
  plan "$1"
  jq -r '.files[1:][].timestamp' plan.json
}

# by_time URL TARGET
by_time() {
  local url="$1" i time count=0 rows before=0
  new_database
  peer_replicate peer "$db" "$2"
  for i in 1 2 3 4 5 6 7 8; do
    grow_apart "$url" 2
  done
  end_of_peer "$url"
  # Its own times are nanoseconds, and ours are cut to milliseconds.
  [[ ! -d replica ]] || find replica -type f | while read -r file; do
    touch -d "@$(stat -c %.3Y "$file")" "$file"
  done
  for time in $(times "$url"); do
    same_as_peer "$url" -timestamp "$time"
    rows="$(sqlite3 "file:ours.db?immutable=1" 'SELECT count(*) FROM t')"
    [[ "$rows" -ge "$before" ]]
    before="$rows"
    count=$((count + 1))
  done
  [[ "$count" -ge 4 ]]
  same_rows
}

@test "by time: what Litestream 0.3.13 makes of the same time, in a folder" {
  need_peer
  by_time "file://$replica" "$replica"
}

@test "by time: what Litestream 0.3.13 makes of the same time, on S3" {
  need_peer
  need_s3
  by_time "s3://$LITESTREAM_TEST_S3_BUCKET/$$-time?endpoint=$LITESTREAM_TEST_S3_ENDPOINT" "s3:$$-time"
}

# refused CODE TEXT [FLAG…]: nothing is restored, and the error says that.
refused() {
  local code="$1" text="$2"
  shift 2
  run "$LITESTREAM" restore -no-state -o ours.db "$@" "file://$replica"
  echo "$output"
  [[ "$status" -eq "$code" && "$output" == *"$text"* && ! -e ours.db ]]
}

@test "a missing, a cut and an altered segment are named; what is before them can be had" {
  need_peer
  new_database
  CHECKPOINT_PAGES=20 peer_replicate peer "$db" "$replica"
  local i files wal
  for i in 1 2 3 4 5 6; do
    grow_apart "file://$replica" 8
  done
  end_of_peer "file://$replica"
  plan "file://$replica"
  mapfile -t files < <(jq -r '.files[1:][].name' plan.json)
  [[ $((16#$(jq -r .index plan.json))) -ge 2 && "${#files[@]}" -ge 5 ]]
  wal="${files[0]##*/}"
  wal="replica/${files[0]%/*}/00000001_00000000.wal.lz4"
  # A WAL in the middle of which the first segment is gone.
  mv "$wal" aside
  refused 7 "00000001_00000000.wal.lz4 is missing"
  same_as_peer "file://$replica" -index 0
  rm ours.db
  head -c "$(($(stat -c %s aside) - 9))" aside >"$wal"
  refused 7 "00000001_00000000.wal.lz4: it is truncated"
  cp aside "$wal"
  printf '\xff' | dd of="$wal" bs=1 seek=60 conv=notrunc status=none
  refused 7 "00000001_00000000.wal.lz4: "
  : >"$wal"
  refused 7 "00000001_00000000.wal.lz4: it is empty"
  printf 'age-encryption.org/v1\n-> X25519 x\n' >"$wal"
  refused 1 "encrypted with age"
  mv aside "$wal"
  same_as_peer "file://$replica"
  # A second segment of a WAL.
  wal=""
  for i in "${files[@]}"; do
    [[ "$i" == *_00000000.wal.lz4 ]] || {
      wal="$i"
      break
    }
  done
  rm ours.db "replica/$wal"
  # Where it was the last one of its WAL nobody can tell.
  if [[ " ${files[*]} " == *"$wal ${wal%_*}_"* ]]; then
    refused 7 "${wal##*/} is missing"
  fi
}

@test "0.5 beside 0.3: the newer one, told; times from before are 0.3's; what was 0.3's stays" {
  need_peer
  local before after old
  new_database
  peer_replicate peer "$db" "$replica"
  grow 5
  end_of_peer "file://$replica"
  same_as_peer "file://$replica"
  mv ours.db old.db
  sleep 0.1
  before="$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)"
  old="$(cd replica && find . -type f -exec sha256sum {} + | sort)"
  sleep 0.1
  replicate ship "$db" "file://$replica"
  sync_now ship "$db"
  grow 3
  sync_now ship "$db"
  end ship
  grep -q "holds backups of Litestream 0.3" ship.err
  [[ "$(cd replica && find . -path ./generations -prune -o -type f -print | wc -l)" -ge 2 ]]
  [[ "$(cd replica && find generations -type f -exec sha256sum {} + | sed 's|  |  ./|' | sort)" == "$old" ]]
  # The latest is ours, and a line says that there are both.
  run "$LITESTREAM" restore -no-state -o ours.db "file://$replica"
  [[ "$status" -eq 0 && "$output" == *"holds backups of Litestream 0.3"*"restoring 0.5's"*"proven"* ]]
  same_rows
  rm ours.db
  # Before there was one of ours.
  "$LITESTREAM" restore -no-state -timestamp "$before" -o ours.db "file://$replica"
  cmp ours.db old.db
  rm ours.db
  "$LITESTREAM" restore -no-state -generation "$(ls replica/generations)" -o ours.db "file://$replica"
  cmp ours.db old.db
  rm ours.db
  # The first state of ours, although no snapshot of a day is there: a time soon after the change.
  after="$("$LITESTREAM" ltx -level all -json "file://$replica" | jq -r '.[0].timestamp')"
  "$LITESTREAM" restore -no-state -timestamp "$after" -json -o ours.db "file://$replica" >result.json
  [[ "$(jq -r '.format + .txid' result.json)" == 0.50000000000000001 ]]
  # Somebody went back to 0.3.
  rm -rf .app.db-litestream ours.db
  peer_replicate peer "$db" "$replica"
  grow 2
  end_of_peer "file://$replica"
  run "$LITESTREAM" restore -no-state -o ours.db "file://$replica"
  [[ "$status" -eq 0 && "$output" == *"restoring 0.3's"*"Litestream 0.3"* ]]
  same_rows
}

@test "0.3 and we in turn, beside one database: nothing is fenced, the latest is who wrote last" {
  need_peer
  local turn
  new_database
  for turn in 1 2; do
    rm -f peer.out
    peer_replicate peer "$db" "$replica"
    grow 3
    end_of_peer "file://$replica"
    plan "file://$replica" 2>/dev/null
    [[ "$(jq -r .format plan.json)" == 0.3 ]]
    replicate "ours-$turn" "$db" "file://$replica"
    sync_now "ours-$turn" "$db"
    grow 3
    sync_now "ours-$turn" "$db"
    end "ours-$turn"
    plan "file://$replica" 2>/dev/null
    [[ "$(jq -r .format plan.json)" == 0.5 ]]
    same_as_source "$db" "file://$replica" "after-$turn.db"
  done
  # The first of our files had all pages, and no other one.
  [[ "$(find replica/ltx/9 -name '*.ltx' 2>/dev/null | wc -l)" -eq 0 ]]
}

@test "in the place of a database, and on from there, where 0.3 was and where 0.5 is as well" {
  need_peer
  new_database
  peer_replicate peer "$db" "$replica"
  grow 5
  end_of_peer "file://$replica"
  mkdir other
  "$LITESTREAM" restore -o other/app.db "file://$replica"
  [[ "$(jq .restored other/.app.db-litestream/state.json)" == true ]]
  replicate first other/app.db "file://$replica"
  sync_now first "$PWD/other/app.db"
  sqlite3 other/app.db "INSERT INTO t(b) VALUES ('on from 0.3')"
  sync_now first "$PWD/other/app.db"
  end first
  "$LITESTREAM" restore -no-state -o copy.db "file://$replica"
  [[ "$(sqlite3 copy.db "SELECT count(*) FROM t WHERE b = 'on from 0.3'")" -eq 1 ]]
  # Back to 0.3's state, over the replica that has both: the next upload is that.
  "$LITESTREAM" restore -force -generation "$(ls replica/generations)" -o other/app.db "file://$replica"
  [[ "$(sqlite3 other/app.db "SELECT count(*) FROM t WHERE b = 'on from 0.3'")" -eq 0 ]]
  sqlite3 other/app.db "INSERT INTO t(b) VALUES ('another line')"
  replicate second other/app.db "file://$replica"
  sync_now second "$PWD/other/app.db"
  end second
  same_as_source other/app.db "file://$replica" again.db
  [[ "$(sqlite3 again.db "SELECT group_concat(b) FROM t WHERE typeof(b) = 'text'")" == "another line" ]]
}
