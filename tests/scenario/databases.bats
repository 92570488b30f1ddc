#!/usr/bin/env bats
# litestream databases: what lies below a URL, in a folder and in a real bucket.

load ../lib/scenario

setup_file() { s3_start; }

# replicas URL-WITHOUT-QUERY QUERY: three, one of them by a real replicator.
replicas() {
  "$TOOLS/mkreplica" "$1/apps/one$2" 5
  "$TOOLS/mkreplica" "$1/apps/deep/er/two$2" 3
  "$TOOLS/writer" -n 10 app.db
  replicate r app.db "$1/apps/three$2"
  sync_now r app.db
  end r
}

@test "databases: in folders" {
  replicas "file://$PWD/store" ""
  run "$LITESTREAM" databases "$PWD/store"
  [[ "$status" -eq 0 ]]
  [[ "${lines[0]}" == "app "*" database "*"replica" ]]
  [[ "$output" == *"0000000000000003  2023-11-14T22:13:23.000Z"*"$PWD/store/apps/deep/er/two"* ]]
  [[ "$output" == *"$PWD/store/apps/one: there is no litestream.json"* ]]
  [[ "$output" == *"  app.db  "* ]]
  "$LITESTREAM" databases -json "file://$PWD/store/apps" >list.json
  [[ "$(jq -r '.replicas | map(.path) | join(" ")' list.json)" == "deep/er/two one three" ]]
  [[ "$(jq -r '.replicas[2] | "\(.manifest) \(.database) \(.code)"' list.json)" == "true app.db 0" ]]
  [[ "$(jq -r '.replicas[2].bytes' list.json)" -eq "$(stat -c %s app.db)" ]]
  # The replica itself is below its own URL.
  [[ "$("$LITESTREAM" databases -json "$PWD/store/apps/one" | jq -r '.replicas[0] | "\(.path)|\(.txid)"')" == "|0000000000000005" ]]
}

@test "databases: in a bucket, named by its folder and by the bucket alone" {
  need_s3
  local query="?endpoint=$LITESTREAM_TEST_S3_ENDPOINT" folder="databases-$$"
  replicas "s3://$LITESTREAM_TEST_S3_BUCKET/$folder" "$query"
  "$LITESTREAM" databases -json "s3://$LITESTREAM_TEST_S3_BUCKET/$folder/apps$query" >list.json
  [[ "$(jq -r '.replicas | map(.path) | join(" ")' list.json)" == "deep/er/two one three" ]]
  [[ "$(jq -r '.replicas[1].txid' list.json)" == 0000000000000005 ]]
  "$LITESTREAM" databases -json "s3://$LITESTREAM_TEST_S3_BUCKET$query" >list.json
  [[ "$(jq -r --arg f "$folder" '.replicas | map(.path | select(startswith($f))) | join(" ")' list.json)" == "$folder/apps/deep/er/two $folder/apps/one $folder/apps/three" ]]
  # A replica without a path is in the bucket's root, its names begin with a slash.
  "$TOOLS/mkreplica" "s3://$LITESTREAM_TEST_S3_BUCKET$query" 2
  [[ "$("$LITESTREAM" databases -json "s3://$LITESTREAM_TEST_S3_BUCKET$query" | jq -r '.replicas[] | select(.path == "") | .txid')" == 0000000000000002 ]]
  run "$LITESTREAM" databases "s3://no-such-bucket-here$query"
  [[ "$status" -eq 1 && "$output" == *no-such-bucket-here* ]]
}

@test "databases: nothing there, wrong words" {
  mkdir empty
  run "$LITESTREAM" databases "$PWD/empty"
  [[ "$status" -eq 3 && "$output" == *"no backup found"* ]]
  run "$LITESTREAM" databases
  [[ "$status" -eq 2 ]]
  run "$LITESTREAM" databases gopher://x
  [[ "$status" -eq 2 ]]
}
