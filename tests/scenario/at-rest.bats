#!/usr/bin/env bats
# shellcheck disable=SC2154 # names are the scenario's, and bats'
# How objects lie in the store: encrypted by it (SSE-S3, SSE-KMS), encrypted with a key of ours (SSE-C), of another
# class. radosgw encrypts, has the keys and the class, and says of each object what it is; another client asks.
# plain

load ../lib/scenario

setup_file() {
  S3_AT_REST=1 s3_start
  export S3PY="$BATS_TEST_DIRNAME/../servers/s3.py"
}

setup() {
  own_folder
  need_s3
  export LITESTREAM_CONFIG="$PWD/litestream.yml"
  "$TOOLS/writer" -n 10 "$db" >/dev/null
}

# configured URL KEY: VALUE…: a file with one replica.
configured() {
  printf 'dbs:\n  - path: %s\n    replica:\n      url: %s\n' "$db" "$1" >"$LITESTREAM_CONFIG"
  shift
  printf '      %s\n' "$@" >>"$LITESTREAM_CONFIG"
}

# shipped: by the file, with a transaction more.
shipped() {
  spawn r "$LITESTREAM" replicate -socket "$PWD/r.sock"
  poll replicator_up_or_gone r
  sync_now r "$db"
  "$TOOLS/writer" -n 5 "$db" >/dev/null
  sync_now r "$db"
  end r
  run grep -E 'level=(WARN|ERROR)' r.err
  [[ "$status" -eq 1 ]]
}

# each_says URL LINE…: another client is told so of every object of the replica, and there are some.
each_says() {
  local prefix="${1#s3://*/}" line objects
  prefix="${prefix%%\?*}"
  shift
  "$S3PY" heads "$LITESTREAM_TEST_S3_BUCKET" "$prefix/" >heads.txt || return 1
  objects="$(cut -d ' ' -f 1 heads.txt | sort -u | wc -l)"
  [[ "$objects" -ge 3 ]] || return 1
  for line in "$@"; do
    [[ "$(grep -c " $line\$" heads.txt)" -eq "$objects" ]] || {
      echo "not each says $line:"
      cat heads.txt
      return 1
    }
  done
}

restored() {
  restore out.db -no-state "$1"
  "$TOOLS/checker" out.db 1:15
}

@test "SSE-KMS and storage class: each object has them, and is read without a word of them" {
  local there
  there="$(s3_url kms)"
  configured "$there" "sse-kms-key-id: litestream-test" "server-side-encryption: aws:kms" "storage-class: COLD"
  shipped
  each_says "$there" 'x-amz-server-side-encryption: aws:kms' \
    'x-amz-server-side-encryption-aws-kms-key-id: litestream-test' 'x-amz-storage-class: COLD'
  rm "$LITESTREAM_CONFIG"
  restored "$there"
}

@test "SSE-KMS and storage class: of a file that goes up in parts, too" {
  local there
  there="$(s3_url parts)"
  "$TOOLS/mkreplica" "$there&sseKmsKeyId=litestream-test&storageClass=COLD" 3 4000
  each_says "$there" 'x-amz-server-side-encryption: aws:kms' 'x-amz-storage-class: COLD'
  grep -qE ' etag: "?[0-9a-f]+-2' heads.txt # of two parts
  restore out.db -no-state "$there"
  "$TOOLS/mkreplica" -check 3 out.db 4000
}

@test "SSE-C: who has not the key reads nothing" {
  local there key md5
  there="$(s3_url customer)"
  key="$(openssl rand 32 | tee raw | base64)"
  md5="$(openssl md5 -binary raw | base64)"
  (umask 077 && echo "$key" >key)
  configured "$there" "sse-customer-key-path: $PWD/key"
  shipped
  S3_HEADERS="x-amz-server-side-encryption-customer-algorithm: AES256
x-amz-server-side-encryption-customer-key: $key
x-amz-server-side-encryption-customer-key-md5: $md5" each_says "$there" 'x-amz-server-side-encryption-customer-algorithm: AES256'
  run each_says "$there" # without the key
  [[ "$status" -ne 0 && "$output" == *": 400 "* ]]
  rm "$LITESTREAM_CONFIG"
  run restore out.db -no-state "$there"
  [[ "$status" -eq 1 && "$output" == *"the server answered 4"* && ! -e out.db ]]
  LITESTREAM_SSE_CUSTOMER_KEY="$(openssl rand -base64 32)" run restore out.db -no-state "$there"
  [[ "$status" -eq 1 && "$output" == *"the server answered 4"* && ! -e out.db ]]
  LITESTREAM_SSE_CUSTOMER_KEY="$key" restored "$there"
  run grep -rF "$key" --exclude=key .
  [[ "$status" -eq 1 ]]
}

# As AWS publishes it: nothing is taken that doesn't ask for SSE-S3. radosgw before 17 looks no further; later ones
# have SSE-S3 itself, but only with a Vault.
@test "SSE-S3: a bucket that demands it" {
  local there bucket="demands-$$" version
  version="$(radosgw --version | grep -oE '[0-9]+' | head -n 1)"
  [[ "$version" -lt 17 ]] || skip "radosgw $version takes SSE-S3 only with a Vault"
  there="s3://$bucket/app?endpoint=$LITESTREAM_TEST_S3_ENDPOINT"
  "$S3PY" mb "$bucket"
  jq -n --arg all "arn:aws:s3:::$bucket/*" '
    {Effect: "Deny", Principal: "*", Action: "s3:PutObject", Resource: $all} as $deny
    | {Version: "2012-10-17", Statement: [
        $deny + {Condition: {StringNotEquals: {"s3:x-amz-server-side-encryption": "AES256"}}},
        $deny + {Condition: {Null: {"s3:x-amz-server-side-encryption": "true"}}}]}' >policy.json
  "$S3PY" policy "$bucket" policy.json
  run timeout "$PATIENCE" "$LITESTREAM" replicate "$db" "$there"
  [[ "$status" -eq 6 && "$output" == *AccessDenied* ]]
  run timeout "$PATIENCE" "$LITESTREAM" replicate "$db" "$there&sse-kms-key-id=litestream-test"
  [[ "$status" -eq 6 && "$output" == *AccessDenied* ]]
  configured "$there" "server-side-encryption: AES256"
  shipped
  rm "$LITESTREAM_CONFIG"
  restored "$there"
}

@test "two kinds of encryption at once are an error that says what to leave out" {
  configured "$(s3_url both)" "server-side-encryption: AES256" "sse-kms-key-id: litestream-test"
  run timeout "$PATIENCE" "$LITESTREAM" replicate
  echo "$output"
  [[ "$status" -eq 2 && "$output" == *"leave out sse-kms-key-id"* ]]
}
