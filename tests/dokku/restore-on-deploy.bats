#!/usr/bin/env bats
# restore-on-deploy: a database that is missing is back before the first process of the app sees the folder, in
# whatever phase of a deploy that is; and no process sees an empty one. On a real S3 server.
# long
# plain
load helper

setup_file() {
  machine_start
  [[ -z "$NO_MACHINE" ]] || return 0
  s3_machine || return 0
  tools_install
  daemon_start
  export APP=depl DIR="$STORAGE/depl--db" DB="$STORAGE/depl--db/app.db" URL="s3://$LITESTREAM_TEST_S3_BUCKET/depl"
  credentials "$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY"
  app_create "$APP"
  as 32767 "$TOOLS/writer" -n 200 "$DB"
  host sh -c 'echo 200 >/var/tmp/rows'
  dokku litestream:create "$APP" "$DIR" app.db "$URL"
  dokku litestream:start "$APP"
  dokku litestream:sync "$APP"
  dokku litestream:set "$APP" restore-on-deploy true
}
teardown_file() {
  [[ ! -d "$BATS_FILE_TMPDIR/ceph" ]] || "$REPO/tests/servers/ceph.sh" stop "$BATS_FILE_TMPDIR/ceph"
  machine_stop
}
setup() {
  need_machine
  real_dokku && skip "the stand-in's containers; a real Dokku would need an image that it can deploy"
  ROWS="$(host cat /var/tmp/rows)"
}
teardown() {
  [[ -z "$NO_MACHINE" && -z "$DOKKU_TEST_REAL" ]] || return 0
  dokku ps:stop "$APP" >/dev/null
  host rm -f "/home/dokku/$APP/TASKS" "/home/dokku/$APP/CONTAINERS"
  host sh -c 'rm -f /var/tmp/count-*'
}

s3_machine() {
  local status=0
  "$REPO/tests/servers/ceph.sh" start "$BATS_FILE_TMPDIR/ceph" >"$BATS_FILE_TMPDIR/s3" 3>&- || status="$?"
  if [[ "$status" -eq 77 ]]; then
    NO_MACHINE="radosgw is not installed"
    export NO_MACHINE
    standin_stop
  fi
  [[ "$status" -eq 0 ]] || return 1
  # shellcheck source=/dev/null
  source "$BATS_FILE_TMPDIR/s3"
  # shellcheck disable=SC2046
  export $(sed 's/=.*//' "$BATS_FILE_TMPDIR/s3")
}
credentials() {
  printf '%s\n' "$LITESTREAM_TEST_S3_ACCESS_KEY_ID" "$1" | dokku litestream:auth --endpoint "${2:-$LITESTREAM_TEST_S3_ENDPOINT}" >/dev/null
}

# code FILE LINE...: what the app runs. count PHASE: a command that tells how many rows that phase found, and that
# fails without a database; it would leave an empty one behind.
code() { host sh -c "printf '%s\n' \"\$@\" >/home/dokku/$APP/$1" sh "${@:2}"; }
count() { echo "sqlite3 -cmd '.timeout 60000' $DB 'SELECT count(*) FROM commits' >/var/tmp/count-$1"; }
counted() { [ "$(host cat "/var/tmp/count-$1")" -eq "$ROWS" ]; }
lose() { host sh -c "rm -f $DIR/app.db*"; }
restored() { grep -c -- "-----> Restored $DB" <<<"$output"; }
containers() { host sh -c "ls /var/lib/dokku/data/scheduler-docker-local/$APP | grep -c '$1\$'" || true; }

@test "a deploy without its database: it is back before the first task, once, and is replicated on" {
  lose
  code TASKS "predeploy 32767 $(count predeploy)" "release 32767 $(count release)" "postdeploy 32767 $(count postdeploy)"
  code CONTAINERS "32767 $(count web); exec sleep 600" "work= 32767 $(count work); exec sleep 600"
  run dokku ps:rebuild "$APP"
  assert_success
  [ "$(restored)" -eq 1 ]
  assert_contains "$DB is missing or empty: looking for it in $URL"
  for phase in predeploy release web work postdeploy; do
    wait_until 60 counted "$phase"
  done
  [ "$(host stat -c '%u:%g' "$DB")" = 32767:32767 ]
  wait_until 60 state_is "$APP" replicating
  as 32767 "$TOOLS/writer" -n 3 "$DB"
  dokku litestream:sync "$APP"
  host sh -c "echo $((ROWS + 3)) >/var/tmp/rows"

  # It is there now: nobody asks for anything.
  run dokku ps:rebuild "$APP"
  assert_success
  refute_contains "missing or empty"
}

# phase_restores PHASE: of an app that is stopped, whose database is not there or empty.
phase_restores() {
  local phase="$1"
  host sh -c 'rm -f /var/tmp/count-*'
  code TASKS "$phase 32767 $(count "$phase")"
  code CONTAINERS "32767 exec sleep 600"
  [[ "$phase" != deploy ]] || code CONTAINERS "32767 $(count deploy); exec sleep 600"
  if [[ "$phase" == run ]]; then
    run dokku run "$APP" "$(count run)"
  else
    run dokku ps:start "$APP"
  fi
  assert_success
  [ "$(restored)" -eq 1 ]
  wait_until 60 counted "$phase"
}

@test "every phase by itself, with no file and with an empty one" {
  local phase
  for phase in predeploy release deploy run; do
    dokku ps:stop "$APP"
    lose
    phase_restores "$phase"
  done
  # What is restored is the same in each phase, whatever stood there.
  dokku ps:stop "$APP"
  lose
  as 32767 touch "$DB"
  phase_restores predeploy
  # What was empty is kept beside it, as all that a restore replaces.
  host sh -c "ls $DIR/app.db.before-* && rm $DIR/app.db.before-*"
}

@test "what a run prints is what its command prints" {
  lose
  run bash -c "source '$REPO/tests/dokku/helper.bash'; dokku run $APP \"sqlite3 $DB 'SELECT count(*) FROM commits'\" 2>$BATS_TEST_TMPDIR/said"
  cat "$BATS_TEST_TMPDIR/said"
  assert_success
  [ "$output" = "$ROWS" ]
}

@test "a replica that can't be read: the deploy fails, nothing is started, nothing stays behind" {
  local start
  lose
  code TASKS "predeploy 32767 $(count predeploy)"
  code CONTAINERS "32767 $(count web); exec sleep 600"
  credentials not-the-secret
  run dokku ps:rebuild "$APP"
  [ "$status" -ne 0 ]
  assert_contains "App $APP is not started without its database: $DB could not be restored"
  assert_contains "dokku litestream:set $APP restore-on-deploy false"
  run dokku run "$APP" true
  assert_status 6
  host rm "/home/dokku/$APP/TASKS"
  run dokku ps:rebuild "$APP"
  assert_status 6
  # No server: nobody listens at this port.
  credentials "$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY" http://127.0.0.1:9
  run dokku ps:rebuild "$APP"
  assert_status 5
  credentials "$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY"
  # No file in the middle.
  damage
  run dokku ps:rebuild "$APP"
  assert_status 7
  mend
  daemon_stop
  run enter env LITESTREAM_DAEMON_WAIT=1 dokku ps:rebuild "$APP"
  assert_status 1
  assert_contains "The litestream daemon is not running"
  host test ! -e "$DB"
  [ "$(containers .pid)" -eq 0 ]
  [ "$(containers .created)" -eq 0 ]
  run host sh -c 'ls /var/tmp/count-*'
  [ "$status" -ne 0 ]

  # As at boot: the daemon comes a little later.
  enter env LITESTREAM_DAEMON_WAIT=300 dokku ps:start "$APP" >"$BATS_TEST_TMPDIR/boot" 2>&1 3>&- &
  start="$!"
  wait_until 60 grep "Waiting for the litestream daemon" "$BATS_TEST_TMPDIR/boot"
  daemon_start
  wait "$start"
  wait_until 60 counted web
}
# One object goes and comes back. The last of level 0: whatever the plan is, it needs that.
damage() {
  key="$("$REPO/tests/servers/s3.py" ls "$LITESTREAM_TEST_S3_BUCKET" depl/ | awk '{ print $1 }' | grep /0000/ | sort | tail -n 1)"
  "$REPO/tests/servers/s3.py" get "$LITESTREAM_TEST_S3_BUCKET" "$key" >"$BATS_TEST_TMPDIR/object"
  head -c 200 "$BATS_TEST_TMPDIR/object" >"$BATS_TEST_TMPDIR/half"
  "$REPO/tests/servers/s3.py" put "$LITESTREAM_TEST_S3_BUCKET" "$key" "$BATS_TEST_TMPDIR/half"
}
mend() { "$REPO/tests/servers/s3.py" put "$LITESTREAM_TEST_S3_BUCKET" "$key" "$BATS_TEST_TMPDIR/object"; }

@test "a database that is there: no daemon is needed, and no store is asked" {
  as 32767 test -s "$DB"
  code CONTAINERS "32767 exec sleep 600"
  daemon_stop
  run dokku ps:rebuild "$APP"
  assert_success
  refute_contains "$DB"
  daemon_start
  # Where dokku may not look, the daemon does: with credentials that no store would take.
  host chmod 0700 "$DIR"
  credentials not-the-secret
  run dokku ps:rebuild "$APP"
  assert_success
  refute_contains Restored
  credentials "$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY"
  dokku ps:stop "$APP"
  lose
  run dokku ps:start "$APP"
  assert_success
  [ "$(restored)" -eq 1 ]
  host chmod 0755 "$DIR"
}

@test "process types that start side by side: one restores, the others wait for it" {
  local i
  lose
  code CONTAINERS "one= 32767 $(count one); exec sleep 600" "two= 32767 $(count two); exec sleep 600" \
    "three= 32767 $(count three); exec sleep 600" "four= 32767 $(count four); exec sleep 600"
  run dokku ps:rebuild "$APP"
  assert_success
  [ "$(restored)" -eq 1 ]
  for i in one two three four; do wait_until 60 counted "$i"; done

  # Whoever finds the lock taken waits; and looks anew before it restores.
  dokku ps:stop "$APP"
  host mv "$DB" /var/tmp/kept.db
  lose
  host flock "/home/dokku/$APP" sh -c 'touch /var/tmp/locked; while [ -e /var/tmp/locked ]; do sleep 0.1; done' 3>&- &
  wait_until 60 host test -e /var/tmp/locked
  code CONTAINERS "32767 $(count web); exec sleep 600"
  dokku ps:rebuild "$APP" >"$BATS_TEST_TMPDIR/waiting" 2>&1 3>&- &
  wait_until 60 grep "$DB is being restored for another container; waiting for it" "$BATS_TEST_TMPDIR/waiting"
  host mv /var/tmp/kept.db "$DB"
  host rm /var/tmp/locked
  wait "$!"
  wait_until 60 counted web
  run cat "$BATS_TEST_TMPDIR/waiting"
  refute_contains Restored
}

@test "a first deploy: no backup, so the app begins with an empty database" {
  local first="$STORAGE/first--db"
  app_create first 1000
  as 1000 true
  dokku litestream:create first "$first" app.db "s3://$LITESTREAM_TEST_S3_BUCKET/first"
  dokku litestream:start first
  dokku litestream:set first restore-on-deploy true
  host sh -c "echo '1000 $TOOLS/writer -r 100 $first/app.db' >/home/dokku/first/CONTAINERS"
  run dokku ps:rebuild first
  assert_success
  assert_contains "There is no backup of $first/app.db yet, so the app begins with a new database"
  wait_until 60 rows_at_least "$first/app.db" 10
  wait_until 60 state_is first replicating
  dokku litestream:sync first
  dokku ps:stop first

  # It is lost, and comes back as the folder's owner.
  host sh -c "rm -f $first/app.db*"
  host sh -c "echo '1000 exec sleep 600' >/home/dokku/first/CONTAINERS"
  dokku ps:rebuild first
  [ "$(host stat -c '%u:%g' "$first/app.db")" = 1000:1000 ]
  rows_at_least "$first/app.db" 10

  # Two databases, each for itself; and what was not asked for is not restored.
  dokku litestream:create first "$first" other.db "s3://$LITESTREAM_TEST_S3_BUCKET/other"
  dokku ps:stop first
  host sh -c "rm -f $first/app.db*"
  run dokku ps:start first
  assert_success
  assert_contains "-----> Restored $first/app.db"
  assert_contains "There is no backup of $first/other.db yet"
  dokku litestream:set first restore-on-deploy false
  dokku ps:stop first
  host sh -c "rm -f $first/app.db*"
  run dokku ps:start first
  assert_success
  refute_contains "$first"
  host test ! -e "$first/app.db"
  dokku --force apps:destroy first
}

@test "another app with the same mount waits for the database as well" {
  dokku apps:create sharer
  dokku storage:mount sharer "$DIR:/data"
  host sh -c "echo '32767 exec sleep 600' >/home/dokku/sharer/CONTAINERS"
  lose
  run dokku ps:rebuild sharer
  assert_success
  [ "$(restored)" -eq 1 ]
  # One that has nothing to do with it doesn't even know.
  dokku apps:create stranger
  host sh -c "echo '32767 exec sleep 600' >/home/dokku/stranger/CONTAINERS"
  dokku ps:stop sharer
  lose
  run dokku ps:rebuild stranger
  assert_success
  host test ! -e "$DB"
  dokku --force apps:destroy sharer
  dokku --force apps:destroy stranger
}

@test "a mount that has gone: told after the deploy, and nothing is restored into it" {
  lose
  code CONTAINERS "32767 exec sleep 600"
  dokku storage:unmount "$APP" "$DIR:/app/db/litestream"
  run dokku ps:rebuild "$APP"
  assert_success
  assert_contains "$DIR is not mounted into app $APP any more"
  assert_contains "dokku storage:mount $APP $DIR:<path in the container>"
  host test ! -e "$DB"
  dokku storage:mount "$APP" "$DIR:/app/db/litestream"
  run dokku ps:restart "$APP"
  assert_success
  refute_contains "not mounted"
  [ "$(restored)" -eq 1 ]
}

@test "a build and a service's container are not asked" {
  lose
  run dokku plugin:trigger post-container-create app 1-1 "$APP" build
  assert_success
  [ -z "$output" ]
  run dokku plugin:trigger post-container-create service 1-1 "$APP" deploy
  assert_success
  [ -z "$output" ]
  host test ! -e "$DB"
}

@test "the setting: its values, and where it goes with the app" {
  run dokku litestream:set "$APP" restore-on-deploy perhaps
  assert_status 2
  assert_contains "restore-on-deploy is true or false, not 'perhaps'"
  dokku apps:clone "$APP" "$APP-too"
  host test ! -e "$DATA/desired/$APP-too.json"
  dokku --force apps:destroy "$APP-too"
  dokku apps:rename "$APP" moved
  [ "$(host jq .restore_on_deploy "$DATA/desired/moved.json")" = true ]
  dokku litestream:set moved restore-on-deploy false
  [ "$(host jq .restore_on_deploy "$DATA/desired/moved.json")" = null ]
  dokku apps:rename moved "$APP"
}

@test "destroying an app whose store answers nothing: Dokku is not held up for good" {
  local gateway hung="$STORAGE/hung--db"
  gateway="$(cat "$LITESTREAM_TEST_S3_GATEWAY_PIDFILE")"
  app_create hung
  as 32767 "$TOOLS/writer" -n 3 "$hung/a.db"
  dokku litestream:create hung "$hung" a.db "s3://$LITESTREAM_TEST_S3_BUCKET/hung"
  dokku litestream:start hung
  kill -STOP "$gateway"
  as 32767 "$TOOLS/writer" -n 3 "$hung/a.db"
  run dokku --force apps:destroy hung
  kill -CONT "$gateway"
  assert_success
  assert_contains "Not everything of $hung/a.db was uploaded"
  assert_contains "Keeping the replica s3://$LITESTREAM_TEST_S3_BUCKET/hung"
  host test ! -e "$DATA/desired/hung.json"
  [ "$(rows "$hung/a.db")" -eq 6 ]
}
