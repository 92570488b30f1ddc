#!/usr/bin/env bats
# Databases of every shape that SQLite allows, changed while the replicator runs, restored identically.
# plain

load ../lib/scenario

# live BEFORE SQL…: a database made by BEFORE in WAL mode, replicated while each SQL runs in a process
# of its own, each followed by a sync; then restored and compared.
live() {
  local before="$1" sql
  shift
  sqlite3 "$db" "$before; PRAGMA journal_mode = WAL" >/dev/null
  replicate ship "$db" "$url"
  sync_now ship "$db"
  for sql in "$@"; do
    sqlite3 -cmd '.timeout 5000' "$db" "$sql" >/dev/null
    sync_now ship "$db"
  done
  end ship
  same_as_source "$db" "$url" restored.db
}

rows() { echo "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) $2"; }

page_size() {
  live "PRAGMA page_size = $1; CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB);
      $(rows 50 "INSERT INTO t SELECT i, randomblob(900) FROM n")" \
    "$(rows 200 "INSERT INTO t(b) SELECT randomblob(i * 20) FROM n")" \
    "UPDATE t SET b = randomblob(3000) WHERE a % 7 = 0" \
    "DELETE FROM t WHERE a > 100"
  [[ "$(sqlite3 restored.db 'PRAGMA page_size')" -eq "$1" ]]
}

@test "page size 512" { page_size 512; }
@test "page size 1024" { page_size 1024; }
@test "page size 2048" { page_size 2048; }
@test "page size 4096" { page_size 4096; }
@test "page size 8192" { page_size 8192; }
@test "page size 16384" { page_size 16384; }
@test "page size 32768" { page_size 32768; }
@test "page size 65536" { page_size 65536; }

# The lock page holds byte 2^30; SQLite never stores it. The database grows over it while it is
# replicated: 960 MiB before, 1.1 GiB after.
@test "a database that grows over 1 GiB, across the lock page" {
  live "PRAGMA page_size = 65536; PRAGMA synchronous = OFF; CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB);
      $(rows 15360 "INSERT INTO t SELECT i, zeroblob(65400) FROM n")" \
    "$(rows 2048 "INSERT INTO t(b) SELECT zeroblob(65400) FROM n")" \
    "UPDATE t SET b = randomblob(60000) WHERE a IN (1, 16380, 16384, 16385, 16390, 17000)"
  [[ "$(stat -c %s restored.db)" -gt $((1100 * 1000 * 1000)) ]]
}

@test "VACUUM makes it smaller" {
  live "CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB);
      $(rows 2000 "INSERT INTO t SELECT i, randomblob(1000) FROM n")" \
    "DELETE FROM t WHERE a % 10 <> 0" \
    "VACUUM" \
    "INSERT INTO t(b) SELECT randomblob(500) FROM t" \
    "DELETE FROM t; VACUUM"
  [[ "$(stat -c %s restored.db)" -lt 20000 ]]
}

@test "incremental_vacuum makes it smaller" {
  live "PRAGMA auto_vacuum = INCREMENTAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB);
      $(rows 2000 "INSERT INTO t SELECT i, randomblob(1000) FROM n")" \
    "DELETE FROM t WHERE a > 200" \
    "PRAGMA incremental_vacuum(100)" \
    "PRAGMA incremental_vacuum; INSERT INTO t(b) VALUES ('after')"
  [[ "$(stat -c %s restored.db)" -lt 400000 ]]
}

@test "it shrinks and grows again before anything was shipped" {
  live "CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB);
      $(rows 500 "INSERT INTO t SELECT i, randomblob(1000) FROM n")" \
    "DELETE FROM t; VACUUM; $(rows 100 "INSERT INTO t SELECT i, randomblob(2000) FROM n");
      DELETE FROM t WHERE a > 50; VACUUM"
}

@test "WITHOUT ROWID, indexes, triggers, generated columns" {
  live "CREATE TABLE t(k TEXT PRIMARY KEY, v, w AS (length(v)) STORED) WITHOUT ROWID;
      CREATE INDEX tv ON t(v); CREATE TABLE log(k);
      CREATE TRIGGER tt AFTER UPDATE ON t BEGIN INSERT INTO log VALUES (new.k); END" \
    "$(rows 3000 "INSERT INTO t(k, v) SELECT hex(randomblob(8)) || i, randomblob(40) FROM n")" \
    "UPDATE t SET v = randomblob(60) WHERE k < '8'" \
    "DELETE FROM t WHERE k < '4'"
  [[ "$(sqlite3 restored.db 'SELECT count(*) > 0 FROM log')" -eq 1 ]]
}

@test "FTS5" {
  [[ -n "$(sqlite3 :memory: "SELECT 1 FROM pragma_module_list WHERE name = 'fts5'")" ]] \
    || skip "this sqlite3 has no FTS5"
  live "CREATE VIRTUAL TABLE t USING fts5(body)" \
    "$(rows 500 "INSERT INTO t SELECT 'fruit number ' || i || ' ' || hex(randomblob(20)) FROM n")" \
    "INSERT INTO t(t) VALUES ('optimize')" \
    "DELETE FROM t WHERE rowid % 3 = 0"
  [[ "$(sqlite3 restored.db "SELECT count(*) FROM t WHERE t MATCH 'fruit'")" -eq 334 ]]
}
