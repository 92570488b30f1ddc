#!/usr/bin/env bats
# litestream:recover on a host that has nothing yet: what is shown, what is made, what is refused of
# litestream.json files that somebody else wrote, and going on after an interruption.
# plain
load helper

setup_file() {
  machine_start
  [[ -z "$NO_MACHINE" ]] || return 0
  tools_install
  host install -m 0755 "$BUILD/tools/mkreplica" "$TOOLS/"
  daemon_start
  export R="$LIB_ROOT/bucket"
}
teardown_file() { machine_stop; }
setup() {
  need_machine
  host install -d -m 0755 "$R"
}
teardown() {
  [[ -z "$NO_MACHINE" ]] || return 0
  local app
  host rm -rf "$R" "$DATA/recovering"
  # Its registration goes with an app.
  for app in $(host ls /home/dokku); do
    dokku --force apps:destroy "$app" >/dev/null 2>&1 || true
  done
  host find "$STORAGE" -mindepth 1 -delete
}

# replica PATH APP DB [JSON]: one of five transactions that says so; JSON's members are said as well.
replica() {
  local path="$1" json
  json="$(jq -cn --arg app "$2" --arg db "$3" --argjson more "${4:-{\}}" '{version: 1, app: $app, database: $db,
    storage: "\($app)--db", container_path: "/app/db", owner: 32767, mode: "0640", host: "web-1"} + $more')"
  host "$TOOLS/mkreplica" "$R/$path" 5
  host tee "$R/$path/litestream.json" <<<"$json" >/dev/null
  # It belongs to whom it was written by, as on the host that was.
  host chmod 0755 "$R/${path%%/*}"
  host chown -R "$(jq 'if .owner > 0 and .owner < 65536 then .owner else 32767 end' <<<"$json")" "$R/$path"
}
recover() { run dokku litestream:recover "file://$R" "$@"; }
plan() { dokku litestream:recover "file://$R" --format json; }
# planned PATH FILTER: of that replica.
planned() { plan | jq -r --arg path "$1" ".[] | select(.path == \$path) | $2"; }
# Nothing was made: neither app nor folder nor registration.
untouched() { [ -z "$(host sh -c "ls /home/dokku; ls -A $STORAGE $DATA/desired" | grep -v : || true)" ]; }
is_restored() { host "$TOOLS/mkreplica" -check 5 "$1"; }

@test "recover: shows what there is and changes nothing" {
  replica my-app my-app production.sqlite3
  replica deep/er other jobs.sqlite3
  recover
  assert_success
  assert_contains "production.sqlite3"
  assert_contains "0000000000000005"
  assert_contains "goes to $STORAGE/my-app--db; app, storage and mount are made"
  assert_contains "file://$R/deep/er"
  assert_contains "the same with --apply"
  untouched
  [ "$(planned deep/er '[.app, .database, .action, .txid, .owner, .mode] | join(" ")')" = "other jobs.sqlite3 recover 0000000000000005 32767 0640" ]
  run dokku --quiet litestream:recover "file://$R/my-app"
  assert_success
  [ "${#lines[@]}" -eq 2 ]
}

@test "recover: makes apps, storage and mounts, restores, registers, goes on; again is nothing to do" {
  replica my-app my-app production.sqlite3
  replica my-app-jobs my-app jobs.sqlite3
  replica deep/er other one.db '{"owner": 1000, "container_path": "/data"}'
  recover --apply --yes
  assert_success
  assert_contains "Recovered 3 of 3 databases"
  [ "$(dokku --quiet litestream:list | wc -l)" -eq 3 ]
  is_restored "$STORAGE/my-app--db/jobs.sqlite3"
  is_restored "$STORAGE/other--db/one.db"
  [ "$(host stat -c '%u:%g %a' "$STORAGE/my-app--db/production.sqlite3")" = "32767:32767 640" ]
  [ "$(host stat -c '%u:%g' "$STORAGE/other--db" "$STORAGE/other--db/one.db" | sort -u)" = 1000:1000 ]
  run dokku storage:list my-app
  assert_contains "$STORAGE/my-app--db:/app/db"
  [ "$(dokku --quiet storage:list my-app | wc -l)" -eq 1 ]
  run dokku litestream:status my-app
  assert_success
  wait_until 60 state_is other replicating
  # The claim is TXID 6, an L0; no other file came, and no database was uploaded again.
  [ "$(host sh -c "ls $R/deep/er/ltx/0 | wc -l")" -eq 6 ]
  [ "$(host sh -c "ls $R/deep/er/ltx")" = 0 ]
  [ "$(host jq -r .container_path "$DATA/desired/other.json")" = null ]
  [ -z "$(host ls "$DATA/recovering")" ]

  recover --apply --yes
  assert_success
  assert_contains "is replicated from this host already"
  refute_contains "Recovered"
}

@test "recover --apply: asks first" {
  replica my-app my-app production.sqlite3
  run bash -c 'source "$1"; dokku litestream:recover "$2" --apply <<<no' - "$BATS_TEST_DIRNAME/helper.bash" "file://$R"
  assert_status 1
  assert_contains 'To proceed, type "recover"'
  untouched
  run bash -c 'source "$1"; dokku litestream:recover "$2" --apply <<<recover' - "$BATS_TEST_DIRNAME/helper.bash" "file://$R"
  assert_success
  is_restored "$STORAGE/my-app--db/production.sqlite3"
}

# What is wrong with a replica or its words is told of it, and the good one beside it comes back.
bad_among_good() {
  local path="$1" code="$2" text="$3"
  recover --apply --yes
  assert_status "$code"
  assert_contains "$text"
  assert_contains "Recovered 1 of"
  is_restored "$STORAGE/good--db/x.db"
  [ "$(plan | jq -r --arg path "$path" 'map(select(.path == "good" or .path == $path) | "\(.path) \(.action)") | sort | join(", ")')" \
    = "$path skip, good here" ]
  [ "$(host sh -c "ls /home/dokku; ls -A $STORAGE $DATA/desired" | grep -v '^$\|:' | LC_ALL=C sort | paste -sd' ')" = "good good--db good.json" ]
}

@test "recover: a damaged replica" {
  replica good good x.db
  replica gap gap x.db
  host rm "$R/gap/ltx/0/0000000000000003-0000000000000003.ltx"
  bad_among_good gap 7 "0000000000000002"
}

@test "recover: a replica that breaks only when it is read leaves nothing registered" {
  replica good good x.db
  replica rotten rotten x.db
  host sh -c "printf x | dd of=$R/rotten/ltx/0/0000000000000002-0000000000000002.ltx bs=1 seek=200 conv=notrunc status=none"
  recover --apply --yes
  assert_status 7
  assert_contains "rotten, x.db could not be restored; nothing was registered"
  assert_contains "Recovered 1 of 2"
  is_restored "$STORAGE/good--db/x.db"
  [ -z "$(host ls -A "$STORAGE/rotten--db")" ]
  run host ls "$DATA/desired"
  [ "$output" = good.json ]
  # Once it is whole again, the next run goes on with the app and folder of this one.
  host rm -r "$R/rotten"
  replica rotten rotten x.db
  recover --apply --yes
  assert_success
  is_restored "$STORAGE/rotten--db/x.db"
}

@test "recover: a manifest that is no manifest" {
  replica good good x.db
  replica bad bad x.db
  host sh -c "head -c 70000 /dev/zero | tr '\\0' ' ' >$R/bad/litestream.json"
  planned bad .reason | grep "larger than 65536 bytes"
  host sh -c "head -c 60000 /dev/zero | tr '\\0' '[' >$R/bad/litestream.json"
  bad_among_good bad 2 "nested more than"
}

@test "recover: a manifest that names what it must not" {
  replica good good x.db
  replica bad bad x.db '{"app": "../../etc"}'
  bad_among_good bad 2 "does not tell an app and a database that can be believed (app)"
}

@test "recover: a storage elsewhere, an owner that must not be, are skipped but for --map" {
  replica a a x.db '{"storage": "../../../../etc"}'
  replica b b x.db '{"storage": "/etc"}'
  replica c c x.db '{"owner": 0}'
  replica d d x.db '{"owner": 4294967297}'
  replica e e x.db '{"database": "../../x.db"}'
  replica f f x.db '{"storage": "-rf"}'
  recover --apply --yes
  [ "$status" -ne 0 ]
  [ "$(plan | jq -r 'map(.action) | unique | join(" ")')" = skip ]
  untouched
  planned a .reason | grep -qF -- "--map a/x.db=/FOLDER"
  planned c .reason | grep -qF "an owner from 1 to 65535"
  # The operator's word; outside of Dokku's storage it must be there, and an app must mount it.
  dokku storage:ensure-directory --chown 1000 by-hand
  host chown -R 1000 "$R/c"
  run dokku litestream:recover "file://$R/c" --apply --yes --map "c/x.db=$STORAGE/by-hand"
  assert_success
  is_restored "$STORAGE/by-hand/x.db"
  [ "$(host stat -c %u "$STORAGE/by-hand/x.db")" = 1000 ]
  run dokku litestream:recover "file://$R/a" --apply --yes --map "a/x.db=$STORAGE/for-a"
  assert_success
  is_restored "$STORAGE/for-a/x.db"
  run dokku litestream:recover "file://$R/b" --map "b/x.db=relative"
  assert_status 2
  run dokku litestream:recover "file://$R/b" --map "nonsense"
  assert_status 2
  run dokku litestream:recover "file://$R/b" --map "b/x.db=/no/such/folder"
  assert_status 2
}

@test "recover: container paths that would hide something, or carry options, are not mounted" {
  replica a a x.db '{"container_path": "/app:ro,z"}'
  replica b b x.db '{"container_path": "/proc/self"}'
  replica c c x.db '{"container_path": "/app/../etc"}'
  recover --apply --yes
  assert_success
  assert_contains "Where app a mounts $STORAGE/a--db is not known"
  [ -z "$(dokku --quiet storage:list a)$(dokku --quiet storage:list b)$(dokku --quiet storage:list c)" ]
}

@test "recover: what is there already stays as it is" {
  replica taken taken x.db
  dokku storage:ensure-directory taken--db
  as 32767 sh -c "echo mine >$STORAGE/taken--db/x.db"
  recover --apply --yes
  assert_status 4
  assert_contains "$STORAGE/taken--db is there already"
  [ "$(host cat "$STORAGE/taken--db/x.db")" = mine ]
  run dokku litestream:recover "file://$R" --apply --yes --map "taken/x.db=$STORAGE/taken--db"
  assert_status 4
  assert_contains "$STORAGE/taken--db/x.db is there already"
  [ "$(host cat "$STORAGE/taken--db/x.db")" = mine ]
  # A folder that is a link leads elsewhere.
  host mv "$STORAGE/taken--db" "$STORAGE/elsewhere"
  host ln -s elsewhere "$STORAGE/taken--db"
  recover --apply --yes
  assert_status 4
  run host test -e /home/dokku/taken
  assert_status 1
}

@test "recover: an app that is there gets no mount on somebody's word" {
  app_create victim
  replica evil victim x.db '{"storage": "new--db", "container_path": "/app/config"}'
  recover --apply --yes
  assert_status 4
  assert_contains "app victim is there already and does not mount $STORAGE/new--db"
  [ "$(dokku --quiet storage:list victim | wc -l)" -eq 1 ]
  # Nor does another app get that one's folder.
  replica evil evil x.db '{"storage": "victim--db"}'
  recover --apply --yes
  assert_status 4
  assert_contains "$STORAGE/victim--db is there already, and not a mount of app evil"
  run host test -e /home/dokku/evil
  assert_status 1
  # Its own mount is where its database belongs.
  replica evil victim x.db
  recover --apply --yes
  assert_success
  is_restored "$STORAGE/victim--db/x.db"
}

@test "recover: two that say the same, or share a folder, are skipped until one is meant" {
  replica first my-app x.db
  replica second my-app x.db
  recover --apply --yes
  assert_status 4
  assert_contains "another replica says that it is app my-app, x.db, too"
  untouched
  run dokku litestream:recover "file://$R" --apply --yes --map "my-app/x.db@second=$STORAGE/my-app--db"
  assert_status 4
  is_restored "$STORAGE/my-app--db/x.db"
  [ "$(host jq -r '.databases[0].replica' "$DATA/desired/my-app.json")" = "file://$R/second" ]
  host rm -r "$R/first" "$R/second"
  replica one one x.db '{"storage": "shared"}'
  replica two two y.db '{"storage": "shared"}'
  recover --apply --yes
  assert_status 4
  assert_contains "is said to be that of several apps (one two)"
}

@test "recover: replicas of others are shown, and no failure" {
  replica good good x.db
  host "$TOOLS/mkreplica" "$R/litestreams" 3
  host chown -R 32767:32767 "$R/litestreams"
  recover --apply --yes
  assert_success
  assert_contains "it has no litestream.json"
  is_restored "$STORAGE/good--db/x.db"
}

# interrupted STEP: as if the run before had been killed after that, with the app of this name.
interrupted() {
  local app="$1"
  host install -d -m 0700 -o dokku -g dokku "$DATA/recovering"
  host sh -c "echo 'new app' >$DATA/recovering/$app@x.db"
  [ "$1" != note ] || return 0
  dokku apps:create "$app" >/dev/null
  [ "$1" != app ] || return 0
  host install -d -o dokku -g dokku "$STORAGE/$app--db"
  [ "$1" != folder ] || return 0
  host chown 32767:32767 "$STORAGE/$app--db"
  dokku storage:mount "$app" "$STORAGE/$app--db:/app/db"
  [ "$1" != mount ] || return 0
  dokku litestream:create "$app" "$STORAGE/$app--db" x.db "file://$R/$app"
  [ "$1" != registered ] || return 0
  dokku litestream:restore "$app"
}

@test "recover: goes on wherever it was interrupted" {
  local step steps=(note app folder mount registered restored)
  for step in "${steps[@]}"; do
    replica "$step" "$step" x.db
    interrupted "$step"
  done
  recover --apply --yes
  assert_success
  assert_contains "Recovered 6 of 6 databases"
  for step in "${steps[@]}"; do
    is_restored "$STORAGE/$step--db/x.db"
    [ "$(host stat -c %u "$STORAGE/$step--db")" = 32767 ]
    [ "$(db_status "$step" state)" = replicating ]
    [ "$(dokku --quiet storage:list "$step" | wc -l)" -eq 1 ]
    [ "$(host sh -c "ls $R/$step/ltx")" = 0 ]
  done
  [ "$(dokku --quiet litestream:list | wc -l)" -eq 6 ]
  [ -z "$(host ls "$DATA/recovering")" ]
}

@test "recover: killed while it works, run again" {
  local n
  for n in 1 2 3 4; do replica "app-$n" "app-$n" x.db; done
  enter_words
  setsid "${ENTER[@]}" env -u SSH_ORIGINAL_COMMAND dokku litestream:recover "file://$R" --apply --yes </dev/null >"$BATS_TEST_TMPDIR/killed" 2>&1 3>&- &
  wait_until 60 host test -e "$STORAGE/app-2--db"
  # Some of them may have ended in that moment.
  host pkill -KILL -f '[s]ubcommands/(recover|create)'
  wait_until 60 host sh -c '! pgrep -f "[s]ubcommands/(recover|create)"'
  recover --apply --yes
  assert_success
  for n in 1 2 3 4; do
    is_restored "$STORAGE/app-$n--db/x.db"
    [ "$(db_status "app-$n" state)" = replicating ]
  done
  [ -z "$(host ls "$DATA/recovering")" ]
}

@test "recover: wrong words, no replica, no daemon, two at once" {
  recover
  assert_status 3
  assert_contains "There is no replica"
  run dokku litestream:recover "file://$R/no-such-folder"
  assert_status 3
  run dokku litestream:recover
  assert_status 2
  run dokku litestream:recover gopher://x
  assert_status 2
  run dokku litestream:recover s3://bucket --nonsense
  assert_status 2
  recover --apply --format json
  assert_status 2
  run dokku --app no-such-app litestream:recover "file://$R"
  assert_status 20
  replica my-app my-app x.db
  host install -d -m 0700 -o dokku -g dokku "$DATA/recovering"
  run host flock "$DATA/recovering" dokku litestream:recover "file://$R" --apply --yes
  assert_status 1
  assert_contains "Another litestream:recover is running"
  untouched
  daemon_stop
  recover
  assert_status 1
  assert_contains "daemon is not running"
  daemon_start
}
