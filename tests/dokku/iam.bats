#!/usr/bin/env bats
# auth --use-iam: the credentials of a role instead of keys, on a real S3 server. The metadata services are
# stand-ins, because no machine of EC2 can be had here; what they say is what the server's user has.
# plain
load helper

setup_file() {
  machine_start
  [[ -z "$NO_MACHINE" ]] || return 0
  tools_install
  s3_start
  [[ -z "$NO_S3" ]] || return 0
  export METADATA_LOG="$BATS_FILE_TMPDIR/metadata.log"
  : >"$METADATA_LOG"
  # They expire within five minutes, so who holds them asks again, once a minute at most.
  "$REPO/tests/servers/metadata.py" "$METADATA_LOG" "$LITESTREAM_TEST_S3_ACCESS_KEY_ID" \
    "$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY" 240 >"$BATS_FILE_TMPDIR/metadata.port" 3>&- &
  echo "$!" >"$BATS_FILE_TMPDIR/metadata.pid"
  wait_until 60 grep -q . "$BATS_FILE_TMPDIR/metadata.port"
  METADATA="http://127.0.0.1:$(cat "$BATS_FILE_TMPDIR/metadata.port")"
  export METADATA
  AWS_EC2_METADATA_SERVICE_ENDPOINT="$METADATA" daemon_start
  app_create iam-app
  export DIR="$STORAGE/iam-app--db" URL="s3://$LITESTREAM_TEST_S3_BUCKET/iam"
  as 32767 "$TOOLS/writer" -n 20 "$DIR/app.db"
}
teardown_file() {
  [[ ! -f "$BATS_FILE_TMPDIR/metadata.pid" ]] || kill "$(cat "$BATS_FILE_TMPDIR/metadata.pid")" || true
  s3_stop
  machine_stop
}
setup() {
  need_machine
  [[ -z "$NO_S3" ]] || skip "$NO_S3"
}

asked() { grep -c "$1" "$METADATA_LOG"; }

@test "auth --use-iam stores no key and reads none" {
  run dokku litestream:auth --use-iam --endpoint "$LITESTREAM_TEST_S3_ENDPOINT" <<<unread
  assert_success
  assert_contains "The IAM role of this machine is used for all apps"
  [ "$(host jq -cS . "$DATA/secrets/--global.json")" = "{\"endpoint\":\"$LITESTREAM_TEST_S3_ENDPOINT\",\"use_iam\":true}" ]
  [ "$(host stat -c '%a %U' "$DATA/secrets/--global.json")" = "600 dokku" ]
  run dokku litestream:report iam-app --litestream-credentials
  [ "$output" = "global (IAM role)" ]
  run dokku litestream:auth --use-iam --access-key-id AKIA
  assert_status 2
  run dokku litestream:auth --use-iam --region 'a b'
  assert_status 2
  run dokku litestream:auth iam-app --use-iam --global
  assert_status 2
}

@test "create, start, sync and restore with a role of EC2" {
  run dokku litestream:create iam-app "$DIR" app.db "$URL"
  assert_success
  run dokku litestream:start iam-app
  assert_success
  as 32767 "$TOOLS/writer" -n 5 "$DIR/app.db"
  dokku litestream:sync iam-app
  dokku litestream:restore "$DIR" restored.db "$URL"
  [ "$(rows "$DIR/restored.db")" -eq 25 ]
  # The check, the worker and the restore, each of them once: many requests, one question.
  [ "$(asked 'GET .*/test-role')" -ge 3 ]
  [ "$(asked 'GET .*/test-role')" -le 6 ]
  # They are in no file of ours.
  run host sh -c "grep -rl '$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY' $DATA/desired $DATA/secrets /var/log/dokku"
  assert_status 1
}

@test "no metadata service: a sentence that says what was asked, and the store's exit code" {
  daemon_stop
  AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:1 daemon_start
  run dokku litestream:create iam-app "$DIR" other.db "$URL-other"
  assert_status 5
  assert_contains "cannot get the credentials of this machine's IAM role: the instance metadata service does not answer"
  daemon_stop
  AWS_EC2_METADATA_SERVICE_ENDPOINT="$METADATA/nothing" daemon_start
  run dokku litestream:create iam-app "$DIR" other.db "$URL-other"
  assert_status 6
}

@test "the credentials of a container, with its token in a file" {
  daemon_stop
  # Confined workers see this folder, so a token that takes the place of another one, too.
  host install -d -m 0755 /run/iam-token
  host sh -c 'echo Not-Yet >/run/iam-token/token'
  AWS_CONTAINER_CREDENTIALS_FULL_URI="$METADATA/container" \
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=/run/iam-token/token daemon_start
  wait_until 60 state_is iam-app denied
  host sh -c 'echo Container-Token >/run/iam-token/new && mv /run/iam-token/new /run/iam-token/token'
  run dokku litestream:create iam-app "$DIR" other.db "$URL-other"
  assert_success
  [ "$(asked 'GET /container')" -ge 1 ]
  dokku litestream:restart iam-app
  wait_until 60 state_is iam-app replicating
  dokku litestream:sync iam-app
  # Keys instead: once the worker that had the role has ended nobody asks for one any more.
  local before pid
  pid="$(db_status iam-app pid)"
  printf '%s\n' "$LITESTREAM_TEST_S3_ACCESS_KEY_ID" "$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY" \
    | dokku litestream:auth --endpoint "$LITESTREAM_TEST_S3_ENDPOINT"
  another_worker() { [[ "$(db_status iam-app pid)" != "$pid" ]] && state_is iam-app replicating; }
  wait_until 60 another_worker
  before="$(asked .)"
  as 32767 "$TOOLS/writer" -n 5 "$DIR/app.db"
  dokku litestream:sync iam-app
  dokku litestream:restore "$DIR" again.db "$URL"
  [ "$(asked .)" -eq "$before" ]
}
