#!/usr/bin/env bats
# discover: the databases in an app's storage, by their headers, and the lines that replicate them.
# plain
load helper

setup_file() {
  machine_with_app disc-app
  [[ -z "$NO_MACHINE" ]] || return 0
  as 32767 "$TOOLS/writer" -n 5 "$DIR/one.db"
  as 32767 mkdir -p "$DIR/deep/er" "$DIR/.hidden" "$DIR/private"
  as 32767 "$TOOLS/writer" -n 5 "$DIR/deep/er/no-ending"
  as 32767 "$TOOLS/writer" -n 5 "$DIR/a b.sqlite3"
  as 32767 "$TOOLS/writer" -n 5 "$DIR/.hidden/x.db"
  as 32767 cp "$DIR/one.db" "$DIR/one.db.before-20260101T000000Z"
  as 32767 sh -c "echo 'SQLite format 3, a text that only looks like it, and is long enough for a whole header of a hundred bytes' >$DIR/text.db"
  as 32767 touch "$DIR/empty.db"
  as 32767 mkfifo "$DIR/pipe.db"
  as 32767 ln -s one.db "$DIR/link.db"
  as 32767 ln -s deep "$DIR/link-dir"
}

@test "discover an app: what is a database by its header, and nothing else" {
  run dokku litestream:discover disc-app
  assert_success
  assert_contains "dokku litestream:create disc-app $DIR one.db <replica-url>"
  assert_contains "dokku litestream:create disc-app $DIR/deep/er no-ending <replica-url>"
  assert_contains "# $DIR/a b.sqlite3 has a name that can't be used"
  [ "$(grep -c -- "$DIR" <<<"$output")" -eq 3 ]
}

@test "discover a folder: the app that has it mounted, or a place for its name" {
  run dokku litestream:discover "$DIR/deep"
  assert_success
  [ "$(grep -c 'litestream:create disc-app' <<<"$output")" -eq 1 ]
  dokku storage:ensure-directory disc-lonely >/dev/null
  host install -m 0644 "$DIR/one.db" "$STORAGE/disc-lonely/one.db"
  run dokku litestream:discover "$STORAGE/disc-lonely/"
  assert_success
  assert_contains "dokku litestream:create <app> $STORAGE/disc-lonely one.db <replica-url>"
}

@test "discover: what is replicated already is said, and in JSON" {
  dokku litestream:create disc-app "$DIR" one.db "file://$LIB_ROOT/replicas/one"
  run dokku litestream:discover disc-app
  assert_contains "# $DIR/one.db is replicated already, for app disc-app"
  run dokku litestream:discover disc-app --format json
  assert_success
  [ "$(jq -c 'map([.app, .file, .registered])' <<<"$output")" \
    = '[["disc-app","a b.sqlite3",null],["disc-app","one.db","disc-app"],["disc-app","no-ending",null]]' ]
  [ "$(jq -r '.[0].storage_dir' <<<"$output")" = "$DIR" ]
}

@test "discover: what dokku may not look into is named, with what to type" {
  host chmod 0700 "$DIR/deep"
  host chmod 0600 "$DIR/one.db"
  run dokku litestream:discover disc-app
  host chmod 0755 "$DIR/deep"
  host chmod 0644 "$DIR/one.db"
  assert_success
  assert_contains "2 files or folders can't be looked into as user dokku"
  assert_contains "sudo $LIBDIR/litestream find $DIR"
  host chmod 0700 "$DIR"
  run dokku litestream:discover disc-app
  assert_contains "$DIR can't be looked into as user dokku: sudo $LIBDIR/litestream find $DIR"
  run host "$LIBDIR/litestream" find "$DIR"
  host chmod 0755 "$DIR"
  assert_success
  assert_contains "$DIR/deep/er/no-ending"
}

@test "discover: a file's name gives no orders to a terminal" {
  app_create names
  as 32767 sqlite3 "$STORAGE/names--db/good.db" 'CREATE TABLE t(a)'
  as 32767 sh -c "cd $STORAGE/names--db && mv good.db \"\$(printf 'x\\033[2Jy.db')\""
  run dokku litestream:discover names
  assert_success
  assert_contains "names--db/x?[2Jy.db has a name that can't be used"
  [[ "$output" != *$'\e'* ]]
}

@test "discover: nothing there, folders elsewhere, apps that aren't" {
  dokku apps:create disc-bare
  run dokku litestream:discover disc-bare
  assert_success
  assert_contains "No SQLite database was found"
  run dokku litestream:discover disc-bare --format json
  [ "$output" = '[]' ]
  run dokku litestream:discover no-such-app
  assert_status 20
  run dokku litestream:discover /etc
  assert_status 2
  assert_contains "neither below"
  run dokku litestream:discover "$DIR/link-dir"
  assert_status 2
  assert_contains "is a symbolic link"
}

@test "discover: as deep, as many entries and as many databases as it says" {
  local deep="$DIR/1/2/3/4/5/6/7/8/9"
  as 32767 mkdir -p "$deep"
  as 32767 cp "$DIR/one.db" "$DIR/1/2/3/4/5/6/7/8/seen.db"
  as 32767 cp "$DIR/one.db" "$deep/unseen.db"
  run dokku litestream:discover disc-app
  assert_success
  assert_contains seen.db
  refute_contains unseen.db
  assert_contains "There is more below $DIR than was looked at"
  host rm -r "$DIR/1"
  as 32767 sh -c "mkdir $DIR/many && for i in \$(seq 210); do cp $DIR/one.db $DIR/many/\$i.db; done"
  run dokku litestream:discover "$DIR/many" --format json
  [ "$(grep -c '"file"' <<<"$output")" -le 1 ]
  [ "$(grep '^\[' <<<"$output" | jq length)" -eq 200 ]
  assert_contains "There is more below $DIR/many"
}
