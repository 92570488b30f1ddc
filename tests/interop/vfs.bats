#!/usr/bin/env bats
# A replica that we wrote is read by Litestream's own SQLite extension (npm litestream-vfs), and by a
# second decoder of ours that shares no code with the first (ltx.py).

load ../lib/scenario
load ../lib/npm

setup_file() {
  case "$(uname -m)" in
    x86_64) machine=amd64 ;;
    aarch64) machine=arm64 ;;
    *) machine=unknown ;;
  esac
  local dir
  if dir="$(npm_package "litestream-vfs-linux-$machine@0.5.17" 2>"$BATS_FILE_TMPDIR/npm")"; then
    export VFS="$dir/litestream-vfs.so"
  else
    VFS_MISSING="$(cat "$BATS_FILE_TMPDIR/npm")"
    export VFS_MISSING
  fi
  s3_start
}

need_vfs() { [[ -z "$VFS_MISSING" ]] || skip "no litestream-vfs here: $VFS_MISSING"; }

# through_vfs URL SQL: asked of the replica itself, in a process that opens it afresh. An extension that
# is written in Go and loaded into a program built with ASan would be the test of something else: this
# sqlite3 is the system's.
through_vfs() {
  env -u AWS_CA_BUNDLE AWS_ACCESS_KEY_ID="$LITESTREAM_ACCESS_KEY_ID" AWS_SECRET_ACCESS_KEY="$LITESTREAM_SECRET_ACCESS_KEY" \
    LITESTREAM_REPLICA_URL="$1" timeout "$PATIENCE" \
    sqlite3 -cmd ".load $VFS" -cmd ".open 'file:app.db?vfs=litestream'" :memory: "$2"
}

everything="SELECT count(*), sum(a), sum(length(b)), group_concat(substr(hex(b), 1, 8)) FROM t"

same_rows() {
  [[ "$(through_vfs "$1" "$everything")" == "$(sqlite3 "$db" "$everything")" ]]
}

read_by_vfs() {
  local url="$1" rows="WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)"
  sqlite3 "$db" "PRAGMA journal_mode = WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB);
    $rows INSERT INTO t SELECT i, randomblob(700) FROM n" >/dev/null
  replicate ship "$db" "$url"
  sync_now ship "$db"
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

# What compaction made of L0 must be the same database to others, without these L0s.
read_compacted_by_vfs() {
  local url="$1" file
  sqlite3 "$db" "PRAGMA journal_mode = WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
    INSERT INTO t SELECT i, randomblob(700) FROM n" >/dev/null
  replicate ship "$db" "$url"
  sync_now ship "$db"
  for file in 1 2 3 4; do
    sqlite3 "$db" "UPDATE t SET b = randomblob(900) WHERE a % 5 = $file; INSERT INTO t(b) VALUES (randomblob(9000))"
    sync_now ship "$db"
  done
  sqlite3 "$db" "DELETE FROM t WHERE a > 90; VACUUM"
  sync_now ship "$db"
  sqlite3 "$db" "INSERT INTO t(b) VALUES (randomblob(50000)), (zeroblob(9000))"
  sync_now ship "$db"
  end ship
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
