#!/usr/bin/env bats
# Callers over ssh who may see some of the apps only (the trigger user-auth-app, as a plugin of the
# administrator brings it): no command tells or touches anything of the others.
# plain
load helper

setup_file() {
  machine_with_app mine other
  [[ -z "$NO_MACHINE" ]] || return 0
  host mkdir -p "$LIB_ROOT/plugins/available/acl"
  # Of guests only what begins with "mine"; of everybody else all.
  host sh -c 'cd "$1" && cat >user-auth-app && chmod 755 user-auth-app && printf "[plugin]\ndescription = \"acl\"\nversion = \"1\"\n[plugin.config]\n" >plugin.toml &&
    chown -R dokku:dokku . && ln -s "$1" /var/lib/dokku/plugins/enabled/acl' sh "$LIB_ROOT/plugins/available/acl" <<'TRIGGER'
#!/usr/bin/env bash
name="$2"
shift 2
for app in "$@"; do
  [[ "$name" == guest && "$app" != mine* ]] || echo "$app"
done
TRIGGER
  local app
  for app in mine other; do
    as 32767 sqlite3 "$STORAGE/$app--db/app.db" "PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES ('$app')" >/dev/null
    dokku litestream:create "$app" "$STORAGE/$app--db" app.db "file://$LIB_ROOT/replicas/$app"
    dokku litestream:start "$app"
  done
  dokku storage:ensure-directory --chown 32767 nobody--db >/dev/null
}

# guest WORD...: over ssh, with the key of that name.
guest() { enter env SSH_NAME=guest SSH_ORIGINAL_COMMAND="$*" dokku </dev/null; }

@test "an app that isn't theirs doesn't exist, whatever the command" {
  local verb word
  for verb in $(host sh -c "cd $LIB_ROOT/plugins/available/litestream/subcommands && ls"); do
    # Commands whose first argument is no app have tests of their own.
    host grep -qE '#A <?\[?<app>' "$LIB_ROOT/plugins/available/litestream/subcommands/$verb" || continue
    word=""
    [[ "$verb" != create ]] || word="$STORAGE/other--db app.db file:///x"
    [[ "$verb" != set ]] || word="sync-interval 10s"
    run guest --force "litestream:$verb" other $word
    echo "$verb: $status: $output"
    [[ "$status" -eq 20 && "$output" == *"App other does not exist"* ]]
  done
  wait_until 60 state_is other replicating
}

@test "lists leave it out" {
  local verb
  for verb in list status report; do
    run guest "litestream:$verb"
    assert_success
    assert_contains mine--db
    refute_contains other
  done
  run dokku litestream:list
  assert_contains other--db
}

@test "their own app's commands work as for everybody" {
  run guest litestream:sync mine
  assert_success
  run guest litestream:info mine
  assert_success
  assert_contains "mount namespace"
}

@test "no restore into another's folder, nor from another's replica, nor with another's credentials" {
  local mine="file://$LIB_ROOT/replicas/mine" other="file://$LIB_ROOT/replicas/other"
  run guest litestream:restore "$STORAGE/other--db" new.db "$mine"
  assert_status 2
  assert_contains "is not mounted into one of your apps"
  run guest litestream:restore "$STORAGE/nobody--db" new.db "$mine"
  assert_status 2
  run guest litestream:restore "$STORAGE/mine--db/../other--db" new.db "$mine"
  assert_status 2
  for url in "$other" "$other/" "file://$LIB_ROOT/replicas/./other" "file:$LIB_ROOT/replicas/other" \
    "$LIB_ROOT/replicas/other" s3://bucket/other; do
    run guest litestream:restore "$STORAGE/mine--db" new.db "$url"
    assert_status 6
    assert_contains "is not the replica of one of your apps"
  done
  run guest litestream:restore --app other "$STORAGE/mine--db" new.db "$mine"
  assert_status 20
  run guest litestream:restore other
  assert_status 20
  # What is theirs.
  run guest litestream:restore "$STORAGE/mine--db" new.db "$mine"
  assert_success
  [[ "$(host sqlite3 "$STORAGE/mine--db/new.db" 'SELECT a FROM t')" == mine ]]
  # An app with keys of its own reaches what those allow, and the store decides.
  printf 'KEY\nsecret\n' | dokku litestream:auth mine
  run guest litestream:restore --app mine "$STORAGE/mine--db" other.db "s3://bucket/x?endpoint=http://127.0.0.1:9"
  assert_status 5
  run guest litestream:restore --app mine "$STORAGE/mine--db" other.db "$other"
  assert_status 6
  dokku litestream:deauth mine
}

@test "what was registered with an app's own keys is reached with these alone" {
  local url="s3://bucket/theirs?endpoint=http://127.0.0.1:9" app
  # As if such a place had been there when it was registered: keys may come with an endpoint of the caller's own.
  printf 'KEY\nsecret\n' | dokku litestream:auth mine
  host sh -c "cd $DATA/desired && cp -p mine.json /tmp/mine.json && jq --arg url '$url' '.databases += [.databases[0] + {id: \"mine-0123\", file: \"second.db\", replica: \$url}]' /tmp/mine.json >mine.json"
  run guest litestream:restore "$STORAGE/mine--db" keys.db "$url"
  assert_status 6
  assert_contains "is not the replica of one of your apps"
  app_create mine-too
  run guest litestream:restore --app mine-too "$STORAGE/mine--db" keys.db "$url"
  assert_status 6
  run guest litestream:restore --app mine "$STORAGE/mine--db" keys.db "$url"
  assert_status 5
  # Should the keys go while it begins, nobody else's take their place.
  printf 'GLOBAL\nsecret\n' | dokku litestream:auth
  for app in "-app mine-too" ""; do
    run host "$LIBDIR/litestream" ctl restore -own-keys $app "$STORAGE/mine--db" keys.db "$url"
    assert_status 6
    assert_contains "has no keys of its own"
  done
  run host "$LIBDIR/litestream" ctl restore -own-keys -app mine "$STORAGE/mine--db" keys.db "$url"
  assert_status 5
  dokku litestream:deauth
  for word in "litestream:deauth mine" "litestream:auth mine --use-iam"; do
    run guest "$word"
    assert_status 6
    assert_contains "were registered with keys of its own"
  done
  [[ "$(host jq -r .access_key_id "$DATA/secrets/mine.json")" == KEY ]]
  host sh -c "cat /tmp/mine.json >$DATA/desired/mine.json"
  dokku litestream:deauth mine
  dokku --force apps:destroy mine-too
}

@test "what holds for all apps is not theirs to change" {
  local word
  for word in "litestream:auth --use-iam" "litestream:auth --global" "litestream:auth" "litestream:deauth" "litestream:set --global retention false"; do
    run guest "$word"
    assert_status 6
    assert_contains "it is for callers who see every app"
  done
  [[ -z "$(host ls -A "$DATA/secrets")" ]]
  host test ! -e "$DATA/desired/--global.json"
}

@test "no look into another's folder, and no recovering of apps" {
  run guest litestream:discover "$STORAGE/other--db"
  assert_status 2
  assert_contains "is not mounted into one of your apps"
  run guest litestream:discover "$STORAGE"
  assert_status 2
  run guest litestream:discover other
  assert_status 20
  run guest litestream:discover mine
  assert_success
  refute_contains other
  run guest litestream:recover "file://$LIB_ROOT/replicas"
  assert_status 6
  refute_contains other
}

@test "no registration of another's folder, nor with another's replica" {
  run guest litestream:create mine "$STORAGE/other--db" app.db "file://$LIB_ROOT/replicas/third"
  assert_status 2
  assert_contains "is not mounted into one of your apps"
  run guest litestream:create mine "$STORAGE/mine--db" second.db "file://$LIB_ROOT/replicas/other"
  assert_status 6
  refute_contains "app other"
  # What he may name all the same is registered by somebody whose name he may not learn.
  dokku storage:mount mine "$STORAGE/other--db:/shared"
  printf 'KEY\nsecret\n' | dokku litestream:auth mine
  run guest litestream:create mine "$STORAGE/other--db" app.db s3://bucket/x
  assert_status 1
  assert_contains "is registered already, by another app"
  refute_contains "app other"
  refute_contains replicas
  run guest litestream:discover mine
  assert_contains "$STORAGE/other--db/app.db is replicated already, for another app"
  refute_contains "app other"
  dokku storage:unmount mine "$STORAGE/other--db:/shared"
  dokku litestream:deauth mine
  [[ "$(host jq '.databases | length' "$DATA/desired/mine.json")" == 1 ]]
}

@test "what a destroyed app left is not theirs to end" {
  host cp -p "$DATA/desired/other.json" /tmp/gone.json
  host sh -c "sed 's/other/gone/g' /tmp/gone.json >$DATA/desired/gone.json && chown dokku:dokku $DATA/desired/gone.json && chmod 0600 $DATA/desired/gone.json"
  run guest litestream:list
  refute_contains gone
  run guest --force litestream:destroy gone
  assert_status 20
  host test -e "$DATA/desired/gone.json"
  # Nor theirs to take over under its name, with its keys.
  host install -m 0600 -o dokku -g dokku /dev/null "$DATA/secrets/gone.json"
  run guest apps:create gone
  assert_success
  refute_contains app.db
  host test ! -e "$DATA/desired/gone.json" -a ! -e "$DATA/secrets/gone.json"
  dokku --force apps:destroy gone
}

@test "recover is for callers who see every app" {
  run guest litestream:recover "file://$LIB_ROOT/replicas" --apply --yes
  assert_status 6
  assert_contains "it is for callers who see every app"
  refute_contains other--db
}
