#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC2154 # names are the scenario's, and bats'
# Credentials that nobody gave to litestream: found where AWS's SDKs find them, for seconds only, and exchanged while
# an app writes. The S3 server and its STS are radosgw's: it checks each signature, and refuses keys that have expired.
# EC2's metadata, a container's endpoint and a STS that takes web identities are tests/servers/metadata.py, which has its
# keys from radosgw, too.
# plain

load ../lib/scenario

readonly ROLE=arn:aws:iam:::role/backup
readonly LIFE=3 # seconds that credentials hold

admin() { timeout "$PATIENCE" radosgw-admin -c "$(dirname "$LITESTREAM_TEST_S3_GATEWAY_PIDFILE")/ceph.conf" "$@"; }

# Who may assume the role is the user "other", and the role may do everything.
make_role() {
  local who='{"Statement": [{"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam:::user/other"]}, "Action": ["sts:AssumeRole"]}]}'
  local what='{"Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": "arn:aws:s3:::*"}]}'
  admin role create --role-name=backup --assume-role-policy-doc="$who"
  admin role-policy put --role-name=backup --policy-name=all --policy-doc="$what"
}

setup_file() {
  S3_STS=1 s3_start
  [[ -z "$S3_MISSING" ]] || return 0
  unset LITESTREAM_ACCESS_KEY_ID LITESTREAM_SECRET_ACCESS_KEY
  make_role >"$BATS_FILE_TMPDIR/role.log" 2>&1
  export S3_ENDPOINT="$LITESTREAM_TEST_S3_ENDPOINT" S3PY="$BATS_TEST_DIRNAME/../servers/s3.py"
  export BASE_KEY="$LITESTREAM_TEST_S3_OTHER_ACCESS_KEY_ID" BASE_SECRET="$LITESTREAM_TEST_S3_OTHER_SECRET_ACCESS_KEY"
}

setup() {
  own_folder
  need_s3
  mkdir .aws
  export HOME="$PWD"
  forget
  printf '[base]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$BASE_KEY" "$BASE_SECRET" >.aws/credentials
}

# The environment says nothing.
forget() {
  unset "${!AWS_@}"
  export AWS_EC2_METADATA_DISABLED=true
}

# services [SECONDS]: metadata.py as "services", its address in SERVICES. It takes the web identity "first".
services() {
  echo first >tokens
  spawn services "$BATS_TEST_DIRNAME/../servers/metadata.py" "$PWD/asked" "$BASE_KEY" "$BASE_SECRET" "${1:-$LIFE}" "$ROLE" "$PWD/tokens"
  poll grep -q . services.out
  SERVICES="http://127.0.0.1:$(cat services.out)"
}

asked() { grep -c "$1" asked || true; }
asked_more() { [[ "$(asked "$1")" -ge "$2" ]]; }

# From where: what each kind of credentials needs in the environment, and how often it was asked for some.
profile() { # a role, assumed at radosgw itself; the endpoint is the profile's, too
  printf '[profile backup]\nrole_arn = %s\nsource_profile = base\nduration_seconds = %s\nendpoint_url = %s\n' \
    "$ROLE" "$LIFE" "$LITESTREAM_TEST_S3_ENDPOINT" >.aws/config
  export AWS_PROFILE=backup
}
program() {
  cat >tool <<TOOL
#!/bin/sh
S3_ACCESS_KEY_ID='$BASE_KEY' S3_SECRET_ACCESS_KEY='$BASE_SECRET' '$S3PY' assume-role '$ROLE' '$LIFE' | tee -a '$PWD/printed'
TOOL
  chmod +x tool
  printf '[default]\ncredential_process = %s/tool --ignored\n' "$PWD" >.aws/program
  export AWS_CONFIG_FILE="$PWD/.aws/program"
}
identity() {
  cp tokens token
  export AWS_WEB_IDENTITY_TOKEN_FILE="$PWD/token" AWS_ROLE_ARN="$ROLE" AWS_ENDPOINT_URL_STS="$SERVICES/sts"
}
container() {
  echo Container-Token >container-token
  export AWS_CONTAINER_CREDENTIALS_FULL_URI="$SERVICES/container" AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE="$PWD/container-token"
}
machine() {
  unset AWS_EC2_METADATA_DISABLED
  export AWS_EC2_METADATA_SERVICE_ENDPOINT="$SERVICES"
}

# The profile names the server itself.
url_of() { [[ "$1" != profile ]] && s3_url "$1" || echo "s3://$LITESTREAM_TEST_S3_BUCKET/$$-$BATS_TEST_NUMBER-$1"; }

started() {
  "$1"
  replicate "$1" "$PWD/$1.db" "$(url_of "$1")"
  forget
}
restored() {
  "$1"
  restore "$1.out.db" -no-state "$(url_of "$1")"
  forget
  "$TOOLS/checker" "$1.out.db" "1:$2"
}
commit_everywhere() {
  local kind
  for kind in profile program identity container machine; do
    "$TOOLS/writer" -n 1 "$kind.db" >/dev/null
  done
  for kind in profile program identity container machine; do
    poll sync_now "$kind" "$PWD/$kind.db"
  done
}

@test "each kind of credentials, for seconds: exchanged in time, and commits keep arriving" {
  local kind rows=1
  services
  for kind in profile program identity container machine; do
    "$TOOLS/writer" -n 1 "$kind.db" >/dev/null
    started "$kind"
  done
  # The server means it: who doesn't exchange them is refused afterwards.
  words() { jq -r '"S3_ACCESS_KEY_ID=\(.AccessKeyId) S3_SECRET_ACCESS_KEY=\(.SecretAccessKey) S3_SESSION_TOKEN=\(.SessionToken)"' <<<"$1"; }
  # shellcheck disable=SC2086 # words
  refused_now() { ! env $first "$S3PY" ls "$LITESTREAM_TEST_S3_BUCKET" none 2>>refused; }
  all_exchanged() { [[ "$(wc -l <printed)" -ge 3 ]] && asked_more 'POST /sts' 3 && asked_more 'GET /container' 3 && asked_more '/test-role' 3; }
  local deadline=$((SECONDS + PATIENCE))
  while ! all_exchanged; do
    [[ "$SECONDS" -lt "$deadline" ]]
    commit_everywhere
    rows=$((rows + 1))
    sleep 0.3
  done
  local first
  first="$(words "$(head -n 1 printed)")"
  poll refused_now
  grep -q AccessDenied refused
  for kind in profile program identity container machine; do
    end "$kind"
    [[ "$(grep -c 'cannot get credentials' "$kind.err")" -eq 0 ]]
    restored "$kind" "$rows"
  done
  # One set for all that a process does: not one for each of its requests.
  [[ "$(wc -l <printed)" -le "$rows" ]]
  # What is secret is in no log and no file of ours.
  local word
  for word in "$BASE_SECRET" $(jq -r '.SecretAccessKey, .SessionToken' printed); do
    [[ "$(grep -lFre "$word" --exclude=printed --exclude=tool --exclude-dir=.aws . | wc -l)" -eq 0 ]]
  done
}

@test "a token that nobody takes any more: a sentence that says so, and with the next one all is well" {
  services 2
  identity
  "$TOOLS/writer" -n 1 "$db" >/dev/null
  replicate r "$db" "$(s3_url r)"
  sync_now r "$db"
  echo second >tokens
  poll keeps_failing
  grep -q 'denied: .*cannot get credentials: .*STS at .*: it answered HTTP 400 InvalidIdentityToken' r.err
  "$TOOLS/writer" -n 1 "$db" >/dev/null
  cp tokens token
  poll sync_now r "$db" 2>/dev/null
  end r
  restore out.db -no-state "$(s3_url r)"
  "$TOOLS/checker" out.db
}
keeps_failing() {
  "$TOOLS/writer" -n 1 "$db" >/dev/null
  grep -q 'denied: ' r.err && ! timeout 5 "$LITESTREAM" sync -wait -timeout 2 -socket r.sock "$db"
}

@test "what was tried is told, in order, and nobody is asked where keys are given" {
  services
  printf '[default]\nregion = eu-central-1\n' >.aws/config
  : >.aws/credentials
  run "$LITESTREAM" restore -o out.db "$(s3_url none)"
  [[ "$status" -eq 6 && "$output" == *'tried, in this order: keys ('*'; web identity ('*'; profile "default" (without credentials in '*'; container ('*"; EC2's metadata ("*'; set LITESTREAM_ACCESS_KEY_ID'* ]]
  container
  machine
  export AWS_ACCESS_KEY_ID="$LITESTREAM_TEST_S3_ACCESS_KEY_ID" AWS_SECRET_ACCESS_KEY="$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY"
  run "$LITESTREAM" restore -o out.db "$(s3_url none)"
  [[ "$status" -eq 3 ]]
  [[ "$(asked .)" -eq 0 ]]
  # A pair that nobody knows is not passed over for the next place.
  AWS_ACCESS_KEY_ID=NOBODY run "$LITESTREAM" restore -o out.db "$(s3_url none)"
  [[ "$status" -eq 6 && "$(asked .)" -eq 0 ]]
}

@test "a role that refuses: exit code 6 with STS's words" {
  printf '[default]\nrole_arn = arn:aws:iam:::role/other\nsource_profile = base\n' >.aws/config
  export AWS_ENDPOINT_URL_STS="$LITESTREAM_TEST_S3_ENDPOINT"
  run "$LITESTREAM" restore -o out.db "$(s3_url none)"
  [[ "$status" -eq 6 && "$output" == *'STS at 127.0.0.1:'*', asked for the role arn:aws:iam:::role/other: it answered HTTP 4'* ]]
  printf '[base]\naws_access_key_id = %s\naws_secret_access_key = Wrong/Secret\n' "$BASE_KEY" >.aws/credentials
  printf '[default]\nrole_arn = %s\nsource_profile = base\n' "$ROLE" >.aws/config
  run "$LITESTREAM" restore -o out.db "$(s3_url none)"
  [[ "$status" -eq 6 && "$output" == *'it answered HTTP 403'* && "$output" != *Wrong/Secret* ]]
}
