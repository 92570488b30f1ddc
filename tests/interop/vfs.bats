#!/usr/bin/env bats
# A replica that we wrote is read by Litestream's own SQLite extension (npm litestream-vfs), and by a
# second decoder of ours that shares no code with the first (ltx.py).
# plain

load ../lib/scenario
load ../lib/npm
load ../lib/vfs

setup_file() {
  vfs_find
  s3_start
}

everything="SELECT count(*), sum(a), sum(length(b)), group_concat(substr(hex(b), 1, 8)) FROM t"

same_rows() {
  [[ "$(through_vfs "$1" "$everything")" == "$(sqlite3 "$db" "$everything")" ]]
}

# ship_rows N URL: a new database with so many rows.
ship_rows() {
  sqlite3 "$db" "PRAGMA journal_mode = WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
    INSERT INTO t SELECT i, randomblob(700) FROM n" >/dev/null
  replicate ship "$db" "$2"
  sync_now ship "$db"
}

read_by_vfs() {
  local url="$1"
  ship_rows 400 "$url"
  same_rows "$url"
  sqlite3 "$db" "UPDATE t SET b = randomblob(900) WHERE a % 5 = 0; DELETE FROM t WHERE a % 9 = 0"
  sync_now ship "$db"
  sqlite3 "$db" "INSERT INTO t(b) VALUES (randomblob(20000))"
  sync_now ship "$db"
  same_rows "$url"
  sqlite3 "$db" "DELETE FROM t WHERE a > 30; VACUUM"
  sync_now ship "$db"
  same_rows "$url"
  sqlite3 "$db" "INSERT INTO t(b) VALUES (randomblob(5000)), (zeroblob(9000))"
  sync_now ship "$db"
  same_rows "$url"
  end ship
}

@test "Litestream's VFS reads our replica in a folder, after a shrink too" {
  need_vfs
  read_by_vfs "$url"
}

@test "Litestream's VFS reads our replica on S3, after a shrink too" {
  need_vfs
  need_s3
  read_by_vfs "$(s3_url vfs)"
}

# ship_changes URL: TXID 1 to 7, with a shrink.
ship_changes() {
  local url="$1" file
  ship_rows 400 "$url"
  for file in 1 2 3 4; do
    sqlite3 "$db" "UPDATE t SET b = randomblob(900) WHERE a % 5 = $file; INSERT INTO t(b) VALUES (randomblob(9000))"
    sync_now ship "$db"
  done
  sqlite3 "$db" "DELETE FROM t WHERE a > 90; VACUUM"
  sync_now ship "$db"
  sqlite3 "$db" "INSERT INTO t(b) VALUES (randomblob(50000)), (zeroblob(9000))"
  sync_now ship "$db"
  end ship
}

# What compaction made of L0 must be the same database to others, without these L0s.
read_compacted_by_vfs() {
  local url="$1"
  ship_changes "$url"
  "$TOOLS/compacter" "$url" "$BATS_TEST_TMPDIR/compacted" 1
  restore other.db "$url"
  [[ "$(sqlite3 other.db "$everything")" == "$(sqlite3 "$db" "$everything")" ]]
  same_rows "$url"
}

@test "Litestream's VFS reads what compaction made, in a folder" {
  need_vfs
  read_compacted_by_vfs "$url"
  find replica -name '*.ltx' | sort
  [[ "$(ls replica/ltx/0)" == "$(printf '%s\n' 0000000000000001-0000000000000001.ltx 0000000000000007-0000000000000007.ltx)" ]]
  [[ -f replica/ltx/3/0000000000000002-0000000000000007.ltx ]]
}

@test "Litestream's VFS reads what compaction made, on S3" {
  need_vfs
  need_s3
  read_compacted_by_vfs "$(s3_url compacted)"
}

# only LEVEL…: of the replica's levels these alone.
only() {
  local level
  for level in replica/ltx/*; do
    [[ " $* " == *" ${level##*/} "* ]] || mv "$level" "aside-${level##*/}"
  done
}
all_again() {
  local level
  for level in aside-*; do
    mv "$level" "replica/ltx/${level#aside-}"
  done
}

@test "Litestream's VFS reads each of our levels, and a snapshot with what came after it" {
  need_vfs
  local level
  ship_changes "$url"
  "$TOOLS/compacter" "$url" "$BATS_TEST_TMPDIR/compacted" 9
  mkdir first
  mv replica/ltx/0/0000000000000001-* first/
  mv replica/ltx/0 aside-0
  mkdir replica/ltx/0
  cp first/* aside-0/0000000000000007-* replica/ltx/0/
  for level in 1 2 3; do
    only 0 "$level"
    same_rows "$url"
    all_again
  done
  # A person's word makes a snapshot; before it nothing is left.
  rm -rf .app.db-litestream
  replicate ship "$db" "$url" -takeover
  sync_now ship "$db"
  poll test -e replica/ltx/9/0000000000000001-0000000000000008.ltx
  sqlite3 "$db" "INSERT INTO t(b) VALUES (randomblob(7000)); DELETE FROM t WHERE a = 7"
  sync_now ship "$db"
  end ship
  rm -r replica/ltx/[123] replica/ltx/0/000000000000000[1-7]-*
  same_rows "$url"
}

@test "Litestream's VFS reads a snapshot of ordinary upkeep" {
  need_vfs
  ship_changes "$url"
  "$LITESTREAM" replicate -once -force-snapshot "$db" "$url"
  [[ "$(ls replica/ltx/9)" == 0000000000000001-0000000000000007.ltx ]]
  # Without the newest file of level 0 Litestream begins anew.
  find replica/ltx/[0-3] -name '*.ltx' ! -name '0000000000000007-0000000000000007.ltx' -delete
  [[ "$(find replica/ltx/[0-3] -name '*.ltx' | wc -l)" -eq 1 ]]
  same_rows "$url"
}

# What Litestream's VFS writes behind our files: it is restored; we notice that it was there.
written_by_vfs() {
  local url="$1" before
  ship_rows 300 "$url"
  write_through_vfs "$url" "INSERT INTO t(b) VALUES ('by the VFS'); UPDATE t SET b = randomblob(900) WHERE a % 5 = 0;
    DELETE FROM t WHERE a % 9 = 0"
  before="$(through_vfs "$url" "$everything")"
  [[ "$before" != "$(sqlite3 "$db" "$everything")" ]]
  restore other.db "$url"
  [[ "$(sqlite3 other.db "$everything")" == "$before" ]]
  [[ "$(sqlite3 other.db 'PRAGMA integrity_check')" == ok ]]
  # Who still replicates there finds it at the next upload; who starts, at once: with the number.
  sqlite3 "$db" "INSERT INTO t(b) VALUES ('too late')"
  local code=0
  finish ship 2>/dev/null || code="$?"
  [[ "$code" -eq 8 ]]
  run "$LITESTREAM" replicate "$db" "$url"
  [[ "$status" -eq 8 && "$output" =~ [0-9]+\ of\ [0-9]+\ pages\ differ\ from\ the\ replica.s\ latest\ state\ \(TXID\ 0000000000000002 ]]
  [[ "$(through_vfs "$url" "$everything")" == "$before" ]]
  # What the VFS wrote is gone on with.
  "$LITESTREAM" restore -force -o "$db" "$url"
  sqlite3 "$db" "INSERT INTO t(b) VALUES ('after the VFS')"
  replicate again "$db" "$url"
  sync_now again "$db"
  same_rows "$url"
  end again
  [[ "$(sqlite3 "$db" "SELECT group_concat(b) FROM t WHERE typeof(b) = 'text'")" == "by the VFS,after the VFS" ]]
}

@test "what Litestream's VFS writes behind ours is restored, and gone on with, in a folder" {
  need_vfs
  written_by_vfs "$url"
}

@test "what Litestream's VFS writes behind ours is restored, and gone on with, on S3" {
  need_vfs
  need_s3
  written_by_vfs "$(s3_url written)"
}

@test "a second decoder makes the same database of our files, and agrees with every checksum" {
  sqlite3 "$db" "PRAGMA page_size = 1024; PRAGMA journal_mode = WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b);
    INSERT INTO t(b) VALUES (randomblob(3000)), ('fruit'), (zeroblob(5000))" >/dev/null
  replicate ship "$db" "$url"
  sync_now ship "$db"
  sqlite3 "$db" "INSERT INTO t(b) VALUES (randomblob(9000)); UPDATE t SET b = 'x' WHERE a = 1"
  sync_now ship "$db"
  sqlite3 "$db" "DELETE FROM t; VACUUM"
  sync_now ship "$db"
  end ship
  fold "$db"
  local file
  for file in replica/ltx/0/*.ltx; do
    "$BATS_TEST_DIRNAME/ltx.py" dump "$file"
  done
  "$BATS_TEST_DIRNAME/ltx.py" apply other.db replica/ltx/0/*.ltx
  "$TOOLS/pagecmp" "$db" other.db
}

@test "a file that a second encoder wrote is restored" {
  sqlite3 "$db" "PRAGMA page_size = 2048; CREATE TABLE t(a INTEGER PRIMARY KEY, b);
    INSERT INTO t(b) VALUES (randomblob(3000)), ('fruit'), (zeroblob(50000))"
  mkdir -p replica/ltx/0
  "$BATS_TEST_DIRNAME/ltx.py" encode "$db" replica/ltx/0/0000000000000001-0000000000000001.ltx 1
  restore other.db "$url"
  "$TOOLS/pagecmp" "$db" other.db
}
