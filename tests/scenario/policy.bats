#!/usr/bin/env bats
# What docs/OPERATIONS.md says about an IAM policy, on a server that judges by it: keys that may do what stands there
# and nothing else are enough, and with less happens what is written there. The policy is read out of the document.
# plain

load ../lib/scenario

setup_file() {
  export REPO="$BATS_TEST_DIRNAME/../.."
  s3_start
  [[ -z "$S3_MISSING" ]] || return 0
  # The bucket is the test user's; these keys are another user's, who may do what the policy says.
  export LITESTREAM_ACCESS_KEY_ID="$LITESTREAM_TEST_S3_OTHER_ACCESS_KEY_ID"
  export LITESTREAM_SECRET_ACCESS_KEY="$LITESTREAM_TEST_S3_OTHER_SECRET_ACCESS_KEY"
}

setup() {
  own_folder
  need_s3
  db="$PWD/app.db"
  "$TOOLS/writer" -n 10 "$db" >/dev/null
}

# policy BUCKET [FILTER]: that bucket has the document's policy, or what the filter makes of it.
policy() {
  "$REPO/tests/servers/s3.py" mb "$1"
  awk '/^```/ { inside = $0 == "```json"; next } inside' "$REPO/docs/OPERATIONS.md" | sed "s/my-bucket/$1/g" >document.json
  jq --slurp '.[0] | .Statement[].Principal = {"AWS": ["arn:aws:iam:::user/other"]} | '"${2:-.}" document.json >policy.json
  "$REPO/tests/servers/s3.py" policy "$1" policy.json
}
# url BUCKET PATH
url() { echo "s3://$1/$2?endpoint=$LITESTREAM_TEST_S3_ENDPOINT"; }

restored() {
  "$LITESTREAM" restore -no-state -o "$2" "$1"
  "$TOOLS/checker" "$2" "1:$3"
}

# denied URL: nothing is replicated there, and the server's word is told.
denied() {
  run timeout "$PATIENCE" "$LITESTREAM" replicate "$db" "$1"
  echo "$output"
  [[ "$status" -eq 6 && "$output" == *AccessDenied* ]]
}

@test "the policy is enough to replicate, restore and find" {
  policy "policy-$$"
  replicate r "$db" "$(url "policy-$$" apps/one)"
  sync_now r "$db"
  "$TOOLS/writer" -n 5 "$db" >/dev/null
  sync_now r "$db"
  end r
  run grep -iE 'denied|forbidden|403|WARN|ERROR' r.err
  [[ "$status" -eq 1 ]]
  restored "$(url "policy-$$" apps/one)" out.db 15
  [[ "$("$LITESTREAM" databases -json "$(url "policy-$$" "")" | jq -r '.replicas[0].path')" == apps/one ]]
}

@test "reading needs two of the actions, and writing with these is denied" {
  policy "read-$$" '.Statement[0].Action = ["s3:ListBucket"] | .Statement[1].Action = ["s3:GetObject"]'
  (
    export LITESTREAM_ACCESS_KEY_ID="$LITESTREAM_TEST_S3_ACCESS_KEY_ID" LITESTREAM_SECRET_ACCESS_KEY="$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY"
    replicate owner "$db" "$(url "read-$$" one)"
    sync_now owner "$db"
    end owner
  )
  restored "$(url "read-$$" one)" out.db 10
  "$TOOLS/writer" -n 1 "$db" >/dev/null
  denied "$(url "read-$$" one)"
}

@test "a key for one app reaches that app's replicas" {
  policy "app-$$" '.Statement[1].Resource = "arn:aws:s3:::app-'$$'/my-app/*"
    | .Statement += [.Statement[0] | .Action = ["s3:ListBucket"] | .Condition = {"StringLike": {"s3:prefix": "my-app/*"}}]
    | .Statement[0].Action = ["s3:GetBucketLocation"]'
  replicate r "$db" "$(url "app-$$" my-app/app.db)"
  sync_now r "$db"
  end r
  restored "$(url "app-$$" my-app/app.db)" out.db 10
  [[ "$("$LITESTREAM" databases -json "$(url "app-$$" my-app)" | jq -r '.replicas[0].path')" == app.db ]]
  rm -r .app.db-litestream
  denied "$(url "app-$$" other-app/app.db)"
}
