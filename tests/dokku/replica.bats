#!/usr/bin/env bats
# The commands that reach into a replica, on a real S3 server: accept and takeover, a person's word on a
# database that is replaced or fenced, good for one time; verify, a test restore.
# plain
load helper

setup_file() {
  machine_start
  [[ -z "$NO_MACHINE" ]] || return 0
  s3_start
  [[ -z "$NO_S3" ]] || return 0
  tools_install
  daemon_start
  app_create word-app
  app_create other-app
  app_create proof-app
  printf '%s\n' "$LITESTREAM_TEST_S3_ACCESS_KEY_ID" "$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY" \
    | dokku litestream:auth --endpoint "$LITESTREAM_TEST_S3_ENDPOINT"
  export DIR="$STORAGE/word-app--db" OTHER="$STORAGE/other-app--db" PROOF="$STORAGE/proof-app--db" URL="s3://$LITESTREAM_TEST_S3_BUCKET/reach"
  dokku storage:ensure-directory --chown 32767 word-copy
  export COPY="$STORAGE/word-copy"
}
teardown_file() {
  s3_stop
  machine_stop
}
setup() {
  need_machine
  [[ -z "$NO_S3" ]] || skip "$NO_S3"
}

# No test leaves the server standing still for the next one.
teardown() {
  [[ -z "$NO_S3" && -z "$NO_MACHINE" ]] || return 0
  kill -CONT "$(cat "$LITESTREAM_TEST_S3_GATEWAY_PIDFILE")"
}

# database APP DB: replicated, with a hundred rows.
database() {
  as 32767 "$TOOLS/writer" -n 100 "$STORAGE/$1--db/$2"
  dokku litestream:create "$1" "$STORAGE/$1--db" "$2" "$URL/$2"
  dokku litestream:start "$1"
}
# state_of APP DB STATE
state_of() {
  [[ "$(app_status "$1" ".databases[] | select(.path == \"$STORAGE/$1--db/$2\") | .state")" == "$3" ]]
}
# in_replica DB WORD...: rows of the state that a restore with these words brings.
in_replica() {
  local db="$1"
  shift
  host sh -c "rm -f $COPY/*"
  dokku litestream:restore "$COPY" "$db" "$URL/$db" "$@" >/dev/null
  rows "$COPY/$db"
}
# replace DB ROWS: another database takes its place.
replace() {
  as 32767 "$TOOLS/writer" -n "$2" "$DIR/new-$1"
  as 32767 sqlite3 "$DIR/new-$1" 'PRAGMA wal_checkpoint(TRUNCATE)'
  host sh -c "rm -f $DIR/$1-wal $DIR/$1-shm $DIR/new-$1-wal $DIR/new-$1-shm && mv $DIR/new-$1 $DIR/$1"
}

@test "accept: nothing to accept, wrong words" {
  database word-app one.db
  run dokku litestream:accept word-app --force
  assert_status 1
  assert_contains "No database of app word-app is replaced"
  run dokku litestream:takeover word-app one.db --force
  assert_status 1
  assert_contains "one.db of app word-app is not fenced"
  run dokku litestream:accept word-app two.db
  assert_status 1
  assert_contains "has no replicated database two.db"
  run dokku litestream:accept no-such-app
  assert_status 20
  run dokku litestream:takeover
  assert_status 2
  # A word that came too early does not lie in wait.
  run host "$LIBDIR/litestream" ctl accept word-app "$DIR/one.db"
  assert_status 1
  assert_contains "is replicating, not replaced"
  run host "$LIBDIR/litestream" ctl takeover word-app "$DIR/none.db"
  assert_status 1
}

@test "accept: asks, ships what stands there now, once" {
  local before
  wait_until 60 state_of word-app one.db replicating
  before="$(db_status word-app txid)"
  replace one.db 7
  wait_until 60 state_of word-app one.db replaced

  run dokku litestream:accept word-app <<<"no"
  assert_status 1
  assert_contains "Another database has taken the place of the one that was replicated: $DIR/one.db"
  assert_contains "become the latest state of $URL/one.db, which holds TXID $before of 20"
  assert_contains "Confirmation did not match word-app. Aborted."
  state_of word-app one.db replaced
  [ "$(in_replica one.db)" -eq 100 ]

  run dokku litestream:accept word-app <<<"word-app"
  assert_success
  assert_contains "$DIR/one.db is replicated"
  [ "$(in_replica one.db)" -eq 7 ]
  [ "$(in_replica one.db --txid "$before")" -eq 100 ]

  # The next one has to be accepted anew, by a worker that lived on and by another.
  replace one.db 3
  wait_until 60 state_of word-app one.db replaced
  dokku litestream:stop word-app
  run dokku litestream:start word-app
  [ "$status" -ne 0 ]
  state_of word-app one.db replaced
  run dokku --quiet litestream:accept word-app one.db --force
  assert_success
  [ -z "$output" ]
  [ "$(in_replica one.db)" -eq 3 ]
  # The app's commits go on behind it.
  as 32767 "$TOOLS/writer" -n 2 "$DIR/one.db"
  dokku litestream:sync word-app
  [ "$(in_replica one.db)" -eq 5 ]
}

# The answer to the question comes when another file stands there.
late() {
  { wait_until 60 grep -q "To proceed" "$1" && replace one.db 12 >/dev/null && echo word-app; } | dokku litestream:accept word-app 2>"$1"
}

@test "accept: what came after the question was asked is not what was accepted" {
  local said="$BATS_TEST_TMPDIR/said"
  replace one.db 11
  wait_until 60 state_of word-app one.db replaced
  # Its reason names what Dokku's users type.
  run dokku litestream:status word-app
  assert_contains "until this is accepted (run dokku litestream:accept word-app)"
  refute_contains "start once"
  : >"$said"
  run late "$said"
  assert_status 1
  grep -F "$DIR/one.db has changed since it was looked at" "$said"
  state_of word-app one.db replaced
  # Words that are wrong are no word.
  run host "$LIBDIR/litestream" ctl accept -seen 1-2-3 word-app "$DIR/one.db"
  assert_status 1
  assert_contains "has changed since it was looked at"
  # Nothing there: nothing to accept.
  host mv "$DIR/one.db" "$DIR/one.away"
  run dokku --force litestream:accept word-app one.db
  assert_status 1
  assert_contains "There is no database at $DIR/one.db"
  run host "$LIBDIR/litestream" ctl accept word-app "$DIR/one.db"
  assert_status 1
  assert_contains "cannot accept what is not there: $DIR/one.db"
  host mv "$DIR/one.away" "$DIR/one.db"
  run dokku --force litestream:accept word-app one.db
  assert_success
  [ "$(in_replica one.db)" -eq 12 ]
}

@test "takeover: names the other node and its last transaction, and writes the database behind it" {
  local latest host
  # Another app, which stands for another host, has written to the replica.
  as 32767 "$TOOLS/writer" -n 20 "$OTHER/two.db"
  dokku litestream:create other-app "$OTHER" two.db "$URL/two.db"
  dokku litestream:start other-app
  dokku litestream:sync other-app
  latest="$(db_status other-app txid)"
  host mv "$DATA/desired/other-app.json" "$DATA/other-app.away"
  host "$LIBDIR/litestream" ctl reload other-app || true
  as 32767 "$TOOLS/writer" -n 50 "$DIR/two.db"
  dokku litestream:create word-app "$DIR" two.db "$URL/two.db"
  wait_until 60 state_of word-app two.db fenced

  host="$(host hostname)"
  run dokku litestream:takeover word-app </dev/null
  assert_status 1
  assert_contains "was written last by another node. Its litestream.json names host $host, app other-app, database two.db."
  assert_contains "It holds TXID $latest of 20"
  assert_contains "The database here: $DIR/two.db"
  assert_contains "Aborted"
  [ "$(in_replica two.db)" -eq 20 ]

  run dokku litestream:takeover word-app two.db --force
  assert_success
  [ "$(in_replica two.db)" -eq 50 ]
  [ "$(in_replica two.db --txid "$latest")" -eq 20 ]

  # The other one comes back: it is fenced, and this one goes on.
  host mv "$DATA/other-app.away" "$DATA/desired/other-app.json"
  host "$LIBDIR/litestream" ctl reload other-app
  wait_until 60 state_of other-app two.db fenced
  as 32767 "$TOOLS/writer" -n 5 "$DIR/two.db"
  run dokku litestream:sync word-app
  assert_success
  [ "$(in_replica two.db)" -eq 55 ]
}

@test "takeover: a word that was given once is not repeated" {
  # The first takes it back; the second is fenced, and stays so over a restart of its worker.
  run dokku --force litestream:takeover other-app
  assert_success
  [ "$(in_replica two.db)" -eq 20 ]
  as 32767 "$TOOLS/writer" -n 1 "$DIR/two.db"
  wait_until 60 state_of word-app two.db fenced
  run dokku litestream:restart word-app
  assert_status 8
  assert_contains "dokku litestream:takeover word-app, which says first"
  state_of word-app two.db fenced
  [ "$(in_replica two.db)" -eq 20 ]
  run host grep -rlE 'takeover|accept' "$DATA/desired"
  assert_status 1
}

# left_behind: what a test restore could have left.
left_behind() { host find "$DATA/state" "$PROOF" -name 'verify*' -o -name '*.tmp-*'; }

@test "verify: says what was proved, by checksum and by the live database, and leaves nothing" {
  database proof-app proof.db
  as 32767 "$TOOLS/writer" -n 10 "$PROOF/proof.db"
  dokku litestream:sync proof-app
  run dokku litestream:verify proof-app proof.db
  assert_success
  assert_contains "Verifying the replica of $PROOF/proof.db"
  assert_contains "verified TXID"
  assert_contains "checksum proven"
  assert_contains "it is the live database, page by page"
  [ -z "$(left_behind)" ]
  run dokku litestream:verify proof-app proof.db --format json --txid 1
  assert_success
  [ "$(jq -r '[.path, .exit, .result.txid, .result.proof] | join(" ")' <<<"$output")" = "$PROOF/proof.db 0 0000000000000001 proven" ]
  # An older state is not that of the live database.
  [ "$(jq -r '.result | has("live")' <<<"$output")" = false ]
  # A stopped replication is no hindrance.
  dokku litestream:stop proof-app
  as 32767 "$TOOLS/writer" -n 1 "$PROOF/proof.db"
  run dokku litestream:verify proof-app proof.db
  assert_success
  refute_contains "live database"
  dokku litestream:start proof-app
}

@test "verify: what can't be, and words that are wrong" {
  run dokku litestream:verify proof-app proof.db --txid 4000000
  assert_status 3
  run dokku litestream:verify proof-app proof.db --timestamp nonsense
  assert_status 2
  run dokku litestream:verify proof-app none.db
  assert_status 1
  run dokku litestream:verify no-such-app
  assert_status 20
  # Only what is registered, and nothing is replaced by it.
  run host "$LIBDIR/litestream" ctl verify "$PROOF" proof.db "$URL/other"
  assert_status 1
  assert_contains "is not registered with that replica"
  run host "$LIBDIR/litestream" ctl verify -force "$PROOF" proof.db "$URL/proof.db"
  assert_status 2
  [ -z "$(left_behind)" ]
}

@test "verify: a damaged replica is exit 7, for the plugin and for the program" {
  local key
  key="reach/proof.db/$("$REPO/tests/servers/s3.py" ls "$LITESTREAM_TEST_S3_BUCKET" reach/proof.db/0000/ | sed -n '1s/ .*//; 1s#.*/##; 1s#^#0000/#; 1p')"
  "$REPO/tests/servers/s3.py" get "$LITESTREAM_TEST_S3_BUCKET" "$key" >"$BATS_TEST_TMPDIR/good"
  cp "$BATS_TEST_TMPDIR/good" "$BATS_TEST_TMPDIR/bad"
  printf x | dd of="$BATS_TEST_TMPDIR/bad" bs=1 seek=200 conv=notrunc status=none
  "$REPO/tests/servers/s3.py" put "$LITESTREAM_TEST_S3_BUCKET" "$key" "$BATS_TEST_TMPDIR/bad"
  run dokku litestream:verify proof-app proof.db --txid 1
  assert_status 7
  assert_contains "${key##*/}"
  run env AWS_ACCESS_KEY_ID="$LITESTREAM_TEST_S3_ACCESS_KEY_ID" AWS_SECRET_ACCESS_KEY="$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY" \
    "$BUILD/bin/litestream" verify -txid 1 "$URL/proof.db?endpoint=$LITESTREAM_TEST_S3_ENDPOINT"
  assert_status 7
  [ -z "$(left_behind)" ]
  "$REPO/tests/servers/s3.py" put "$LITESTREAM_TEST_S3_BUCKET" "$key" "$BATS_TEST_TMPDIR/good"
  run env AWS_ACCESS_KEY_ID="$LITESTREAM_TEST_S3_ACCESS_KEY_ID" AWS_SECRET_ACCESS_KEY="$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY" \
    "$BUILD/bin/litestream" verify -json "$URL/proof.db?endpoint=$LITESTREAM_TEST_S3_ENDPOINT"
  assert_success
  [ "$(jq -r .proven <<<"$output")" = true ]
}

@test "verify: a job that is killed, and one whose caller goes, leave nothing" {
  local gateway job pid
  gateway="$(cat "$LITESTREAM_TEST_S3_GATEWAY_PIDFILE")"
  kill -STOP "$gateway"
  dokku litestream:verify proof-app proof.db >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
  pid="$!"
  wait_until 60 host test -d "$DATA/state/$(db_id proof.db)/verify"
  run dokku litestream:verify proof-app proof.db
  [ "$status" -ne 0 ]
  assert_contains "is being verified, restored or purged already"
  job="$(host pgrep -u 32767 -f 'litestream job')"
  host kill -KILL "$job"
  kill -CONT "$gateway"
  ! wait "$pid" || false
  grep -q "killed by signal 9" "$BATS_TEST_TMPDIR/out"
  [ -z "$(left_behind)" ]

  kill -STOP "$gateway"
  enter timeout -s KILL 5 "$LIBDIR/litestream" ctl verify -app proof-app "$PROOF" proof.db "$URL/proof.db" 3>&- || true
  kill -CONT "$gateway"
  wait_until 60 nothing_left
}
nothing_left() { [[ -z "$(left_behind)" ]]; }
db_id() { host jq -r --arg file "$1" '.databases[] | select(.file == $file) | .id' "$DATA/desired/proof-app.json"; }

@test "verify: refused where there is not enough room" {
  host mkdir -p /mnt/small
  host mount -t tmpfs -o size=8m small /mnt/small
  run env AWS_ACCESS_KEY_ID="$LITESTREAM_TEST_S3_ACCESS_KEY_ID" AWS_SECRET_ACCESS_KEY="$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY" \
    nsenter --target "$STANDIN_PID" --mount -- "$LIBDIR/litestream" verify -dir /mnt/small "$URL/proof.db?endpoint=$LITESTREAM_TEST_S3_ENDPOINT"
  assert_status 1
  assert_contains "a test restore needs"
  assert_contains "at /mnt/small"
}

# keys DB: what lies below that replica's URL.
keys() { "$REPO/tests/servers/s3.py" ls "$LITESTREAM_TEST_S3_BUCKET" "reach/$1/" | sed 's/ .*//'; }
# strange KEY: an object that is none of ours.
strange() {
  echo mine >"$BATS_TEST_TMPDIR/mine"
  "$REPO/tests/servers/s3.py" put "$LITESTREAM_TEST_S3_BUCKET" "$1" "$BATS_TEST_TMPDIR/mine"
}
registered() { host jq -r '.databases[].file' "$DATA/desired/purge-app.json" 2>/dev/null || true; }

@test "destroy --purge-replica: asks twice, deletes level files and the manifest and nothing else" {
  local left
  app_create purge-app
  local dir="$STORAGE/purge-app--db"
  database purge-app keep.db
  database purge-app gone.db
  as 32767 "$TOOLS/writer" -n 30 "$dir/gone.db"
  dokku litestream:sync purge-app
  strange reach/gone.db/notes.txt
  strange reach/gone.db/0000/readme.txt
  strange reach/gone.db/0000/0000000000000001-0000000000000002.ltx.old
  strange reach/gone.db/generations/0123456789abcdef/snapshots/00000000.snapshot.lz4
  strange reach/gone.db-other/0000/0000000000000001-0000000000000001.ltx

  run dokku litestream:destroy purge-app gone.db --purge-replica <<<"purge-app"
  assert_status 1
  assert_contains "Its replica will be deleted, too."
  assert_contains "$URL/gone.db will be deleted: every state of gone.db that could be restored."
  assert_contains "Confirmation did not match delete the replica. Aborted."
  [ "$(registered | sort | tr '\n' ' ')" = "gone.db keep.db " ]
  [ "$(keys gone.db | grep -c '/litestream.json$')" -eq 1 ]

  run dokku litestream:destroy purge-app gone.db --purge-replica <<<$'purge-app\ndelete the replica'
  assert_success
  assert_contains "level files"
  assert_contains "and litestream.json"
  assert_contains "has ended; its replica was deleted"
  left="$(keys gone.db | sort | tr '\n' ' ')"
  [ "$(wc -w <<<"$left")" -eq 4 ]
  [[ "$left" == *notes.txt* && "$left" == *readme.txt* && "$left" == *.ltx.old* && "$left" == *snapshot.lz4* ]]
  [ "$("$REPO/tests/servers/s3.py" ls "$LITESTREAM_TEST_S3_BUCKET" reach/gone.db-other/ | wc -l)" -eq 1 ]
  run host find "$DATA/state" -name '.purged*'
  [ -z "$output" ]
  # The neighbour was not touched, and goes on.
  [ "$(registered)" = keep.db ]
  [ "$(rows "$dir/gone.db")" -eq 130 ]
  as 32767 "$TOOLS/writer" -n 3 "$dir/keep.db"
  wait_until 60 state_of purge-app keep.db replicating
  dokku litestream:sync purge-app
  [ "$(in_replica keep.db)" -eq 103 ]
}

keys_other_than() { [[ "$(keys "$1")" != "$2" ]]; }

@test "destroy --purge-replica: what is fenced, or another's, is refused and stays as it is" {
  local before dir="$STORAGE/purge-app--db"
  before="$(keys two.db)"
  wait_until 60 state_of word-app two.db fenced
  run dokku --force litestream:destroy word-app two.db --purge-replica
  assert_status 8
  assert_contains "is not deleted"
  assert_contains "still registered"
  [ "$(keys two.db)" = "$before" ]
  host jq -e '.databases[] | select(.file == "two.db")' "$DATA/desired/word-app.json"

  # Another node has written, and the local state doesn't know yet.
  database purge-app taken.db
  dokku litestream:stop purge-app
  host install -d -o 32767 -g 32767 /var/tmp/taken
  host cp -a "$dir/taken.db" /var/tmp/taken/
  before="$(keys taken.db)"
  as 32767 env AWS_ACCESS_KEY_ID="$LITESTREAM_TEST_S3_ACCESS_KEY_ID" AWS_SECRET_ACCESS_KEY="$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY" \
    "$LIBDIR/litestream" replicate -takeover /var/tmp/taken/taken.db "$URL/taken.db?endpoint=$LITESTREAM_TEST_S3_ENDPOINT" \
    >"$BATS_TEST_TMPDIR/other" 2>&1 3>&- &
  wait_until 60 keys_other_than taken.db "$before"
  host pkill -TERM -u 32767 -f 'replicate -takeover'
  wait || true
  before="$(keys taken.db)"
  run dokku --force litestream:destroy purge-app taken.db --purge-replica
  assert_status 8
  [ "$(keys taken.db)" = "$before" ]
}

@test "destroy --purge-replica: goes on after an interruption, when it is run again" {
  local gateway dir="$STORAGE/proof-app--db" job
  as 32767 "$TOOLS/writer" -n 5 "$dir/proof.db"
  dokku litestream:sync proof-app
  dokku litestream:stop proof-app
  # Some of the files are gone already: what an interrupted run leaves.
  "$REPO/tests/servers/s3.py" rm "$LITESTREAM_TEST_S3_BUCKET" "$(keys proof.db | grep -m 1 '0000000000000001-0000000000000001.ltx$')"
  gateway="$(cat "$LITESTREAM_TEST_S3_GATEWAY_PIDFILE")"
  kill -STOP "$gateway"
  dokku --force litestream:destroy proof-app --purge-replica >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
  wait_until 60 host pgrep -u 32767 -f 'litestream job'
  job="$(host pgrep -u 32767 -f 'litestream job')"
  host kill -KILL "$job"
  kill -CONT "$gateway"
  ! wait "$!" || false
  grep -q "run this command again" "$BATS_TEST_TMPDIR/out"
  [ -n "$(keys proof.db)" ]
  run dokku --force litestream:destroy proof-app --purge-replica
  assert_success
  [ -z "$(keys proof.db)" ]
  run host test -e "$DATA/desired/proof-app.json"
  assert_status 1
}

# near_has ROWS: so many are in the replica that is a folder.
near_has() {
  host sh -c "rm -f $COPY/*"
  dokku litestream:restore "$COPY" near.db "file://$LIB_ROOT/replicas/near"
  [ "$(rows "$COPY/near.db")" -eq "$1" ]
}
# Its replica is far away and stands still: nothing of that is the neighbour's business.
@test "destroy --purge-replica: the app's other databases go on meanwhile, and lose nothing" {
  local gateway pid dir="$STORAGE/pair-app--db"
  app_create pair-app
  host install -d -o 32767 -g 32767 "$LIB_ROOT/replicas"
  as 32767 "$TOOLS/writer" -n 10 "$dir/near.db"
  dokku litestream:create pair-app "$dir" near.db "file://$LIB_ROOT/replicas/near"
  database pair-app far.db
  dokku litestream:sync pair-app
  gateway="$(cat "$LITESTREAM_TEST_S3_GATEWAY_PIDFILE")"
  kill -STOP "$gateway"
  dokku --force litestream:destroy pair-app far.db --purge-replica >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
  pid="$!"
  as 32767 "$TOOLS/writer" -n 20 "$dir/near.db" # while the worker is started anew, perhaps
  wait_until 60 host pgrep -u 32767 -f 'litestream job'
  run dokku litestream:status pair-app
  assert_contains "its replica is being deleted"
  as 32767 "$TOOLS/writer" -n 30 "$dir/near.db"
  wait_until 60 near_has 60
  host pgrep -u 32767 -f 'litestream job' # it is not over yet
  kill -CONT "$gateway"
  wait "$pid"
  [ -z "$(keys far.db)" ]
  [ "$(host jq -r '.databases[].file' "$DATA/desired/pair-app.json")" = near.db ]
  as 32767 "$TOOLS/writer" -n 5 "$dir/near.db"
  dokku litestream:sync pair-app
  near_has 65
}

# versions_of KIND WORD...: how many there are in the versioned bucket.
versions_of() { "$REPO/tests/servers/s3.py" versions versions-bucket app/ | grep -c "^$1 .*$2\$" || true; }

@test "destroy --purge-replica: a bucket with versions keeps them, and that is said" {
  local dir="$STORAGE/kept-app--db" files
  app_create kept-app
  "$REPO/tests/servers/s3.py" mb versions-bucket
  "$REPO/tests/servers/s3.py" versioning versions-bucket
  as 32767 "$TOOLS/writer" -n 10 "$dir/kept.db"
  run dokku litestream:create kept-app "$dir" kept.db s3://versions-bucket/app
  assert_success
  assert_contains "versions"
  dokku litestream:start kept-app
  wait_until 60 state_of kept-app kept.db replicating
  as 32767 "$TOOLS/writer" -n 10 "$dir/kept.db"
  dokku litestream:sync kept-app
  files="$("$REPO/tests/servers/s3.py" ls versions-bucket app/ | wc -l)"
  [ "$files" -ge 2 ]
  run dokku --force litestream:destroy kept-app kept.db --purge-replica
  assert_success
  assert_contains "the bucket keeps versions of them, which take room and are paid for"
  [ -z "$("$REPO/tests/servers/s3.py" ls versions-bucket app/)" ]
  # What is the latest of each is a delete marker, and what it was is there still.
  [ "$(versions_of DeleteMarker latest)" -ge "$files" ]
  [ "$(versions_of Version old)" -ge "$files" ]
  [ "$(versions_of Version latest)" -eq 0 ]
}

@test "destroy --purge-replica: an empty replica, and no daemon" {
  app_create bare-app
  as 32767 "$TOOLS/writer" -n 5 "$STORAGE/bare-app--db/bare.db"
  dokku litestream:create bare-app "$STORAGE/bare-app--db" bare.db "$URL/bare.db"
  daemon_stop
  run dokku --force litestream:destroy bare-app --purge-replica
  assert_status 1
  daemon_start
  run dokku --force litestream:destroy bare-app --purge-replica
  assert_success
  assert_contains "deleted 0 level files"
}
