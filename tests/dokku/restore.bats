#!/usr/bin/env bats
# litestream:restore: targets, points in time, what is refused, whose the file is.
# plain
load helper

setup_file() {
  machine_with_app restore-app
  [[ -z "$NO_MACHINE" ]] || return 0
  export URL="file://$LIB_ROOT/replicas/one"
  # Large enough that the second file alone is not the whole database.
  as 32767 "$TOOLS/writer" -n 2000 "$DIR/one.db"
  dokku litestream:create restore-app "$DIR" one.db "$URL"
  dokku litestream:start restore-app
  as 32767 "$TOOLS/writer" -n 50 "$DIR/one.db"
  dokku litestream:sync restore-app
  dokku litestream:stop restore-app
  dokku storage:ensure-directory --chown 1000 restore-copy
  # The replica belongs to 32767; who restores reads it as another user.
  host chmod -R a+rX "$LIB_ROOT/replicas"
  export COPY="$STORAGE/restore-copy"
}
teardown() {
  [[ -z "$NO_MACHINE" ]] || return 0
  host sh -c "rm -rf $COPY/*"
}

# refused CODE TEXT WORD...: restore ends with that code and text, and the folder is as it was.
refused() {
  local code="$1" text="$2" before
  shift 2
  before="$(host ls -A "$COPY")"
  run dokku litestream:restore "$@"
  assert_status "$code"
  assert_contains "$text"
  [ "$(host ls -A "$COPY")" = "$before" ]
}

@test "restore: the latest state, owned by the folder's owner" {
  run dokku litestream:restore "$COPY" one.db "$URL"
  assert_success
  assert_contains "Restored $COPY/one.db"
  [ "$(host stat -c '%u:%g' "$COPY/one.db")" = 1000:1000 ]
  [ "$(rows "$COPY/one.db")" -eq 2050 ]
  run host "$TOOLS/checker" "$COPY/one.db"
  assert_success
}

@test "restore: a bar on a terminal, none elsewhere; nothing at all with --quiet" {
  enter_words
  run "$REPO/tests/dokku/on_terminal.py" -- "${ENTER[@]}" dokku litestream:restore "$COPY" one.db "$URL"
  assert_success
  assert_contains "[==============================] 100 % of "
  assert_contains "restored TXID"
  run dokku litestream:restore "$COPY" two.db "$URL"
  assert_success
  refute_contains "%"
  run dokku --quiet litestream:restore "$COPY" three.db "$URL"
  assert_success
  [ -z "$output" ]
  run dokku --quiet litestream:restore "$COPY" three.db "$URL"
  assert_status 4
  assert_contains "output path already exists: $COPY/three.db"
}

@test "restore: an earlier transaction" {
  run dokku litestream:restore "$COPY" one.db "$URL" --txid 1
  assert_success
  [ "$(rows "$COPY/one.db")" -eq 2000 ]
}

@test "restore: an earlier time, and a time that hasn't come" {
  local now
  now="$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)"
  run dokku litestream:restore "$COPY" one.db "$URL" --timestamp "$now"
  assert_success
  [ "$(rows "$COPY/one.db")" -eq 2050 ]
  host rm "$COPY/one.db"
  run dokku litestream:restore "$COPY" one.db "$URL" --timestamp 2001-01-01T00:00:00Z
  assert_status 3
  [ -z "$(host ls -A "$COPY")" ]
  run dokku litestream:restore "$COPY" one.db "$URL" --timestamp 2999-01-01T00:00:00Z
  assert_status 2
  assert_contains "is in the future"
  [ -z "$(host ls -A "$COPY")" ]
}

@test "restore: what is there already is not overwritten" {
  as 1000 sh -c "echo mine >$COPY/one.db"
  refused 4 "cannot restore, output path already exists: $COPY/one.db" "$COPY" one.db "$URL"
  [ "$(host cat "$COPY/one.db")" = mine ]
  host rm "$COPY/one.db"
  as 1000 sh -c "echo old >$COPY/one.db-wal"
  refused 4 "$COPY/one.db-wal" "$COPY" one.db "$URL"
}

@test "restore: into a mount outside of the storage root" {
  host install -d -o 1000 -g 1000 /srv/restore-app
  refused 2 "neither below" /srv/restore-app one.db "$URL"
  dokku storage:mount restore-app /srv/restore-app:/data
  run dokku litestream:restore /srv/restore-app one.db "$URL"
  assert_success
  [ "$(host stat -c '%u:%g' /srv/restore-app/one.db)" = 1000:1000 ]
  host rm -r /srv/restore-app
}

@test "restore: no backup, a TXID that doesn't exist" {
  refused 3 "no backup found" "$COPY" one.db "file://$LIB_ROOT/replicas/nothing-here"
  refused 3 "TXID 0000000004000000 does not exist" "$COPY" one.db "$URL" --txid 4000000
}

@test "restore: what Litestream 0.3 wrote, and its generations and indexes" {
  local old="$LIB_ROOT/replicas/old" generation=8a3ee2e0bed0ac13
  host mkdir "$old"
  host cp -r "$REPO/tests/data/litestream-0.3.13/generations" "$old/"
  host chmod -R a+rX "$old"
  run dokku litestream:restore "$COPY" old.db "file://$old"
  assert_success
  assert_contains "restored generation $generation of Litestream 0.3, index 00000000"
  [ "$(host stat -c '%u:%g' "$COPY/old.db")" = 1000:1000 ]
  [ "$(host sqlite3 "file:$COPY/old.db?immutable=1" "SELECT count(*) FROM t WHERE b LIKE 'fruit%'")" -eq 8 ]
  host rm "$COPY/old.db"
  run dokku litestream:restore "$COPY" old.db "file://$old" --generation "$generation" --index 0
  assert_success
  host rm "$COPY/old.db"
  refused 3 "there is no generation 00000000deadbeef, only $generation" "$COPY" old.db "file://$old" --generation 00000000deadbeef
  refused 3 "ends at index 00000000" "$COPY" old.db "file://$old" --index 7
  refused 3 "which have no TXIDs" "$COPY" old.db "file://$old" --txid 1
  refused 2 "is no generation of Litestream 0.3" "$COPY" old.db "file://$old" --generation nonsense
  refused 2 "is no index of Litestream 0.3" "$COPY" old.db "file://$old" --index -1
  refused 2 "exclude each other" "$COPY" old.db "file://$old" --index 1 --timestamp 2026-01-31T12:00:00Z
  host rm "$old/generations/$generation/wal/00000000_00000cb0.wal.lz4"
  refused 7 "00000000_00000cb0.wal.lz4 is missing" "$COPY" old.db "file://$old"
  host rm -r "$old"
}

@test "restore: words that can't be" {
  refused 9 "there is no folder" "$STORAGE/no-such-folder/in-it" one.db "$URL"
  refused 3 "no backup" "$STORAGE/no-such-folder" one.db "$URL-other"
  run host test -e "$STORAGE/no-such-folder"
  assert_status 1
  refused 2 "neither below" /tmp one.db "$URL"
  refused 2 "is a path" "$COPY" ../one.db "$URL"
  refused 2 "has no bucket" "$COPY" one.db "s3://"
  refused 2 "unknown scheme" "$COPY" one.db "gopher://host/x"
  refused 2 "is no TXID" "$COPY" one.db "$URL" --txid nonsense
  refused 2 "is no time" "$COPY" one.db "$URL" --timestamp nonsense
  refused 20 "does not exist" --app no-such-app "$COPY" one.db "$URL"
  host ln -s restore-copy "$STORAGE/restore-link"
  refused 2 "symbolic link" "$STORAGE/restore-link" one.db "$URL"
  host rm "$STORAGE/restore-link"
}

@test "restore: a damaged replica" {
  local file
  host cp -a "$LIB_ROOT/replicas/one" "$LIB_ROOT/replicas/damaged"
  file="$(host find "$LIB_ROOT/replicas/damaged" -name '0000000000000001-*.ltx' | head -1)"
  [ -n "$file" ]
  host sh -c "printf x | dd of=$file bs=1 seek=200 conv=notrunc status=none"
  refused 7 "0000000000000001" "$COPY" one.db "file://$LIB_ROOT/replicas/damaged"
}

@test "restore: without a daemon it says how to start it" {
  daemon_stop
  refused 1 "start it with sudo" "$COPY" one.db "$URL"
  daemon_start
}
