#!/usr/bin/env bats
# snapshots, wal, generations, ltx: Litestream's columns and keys, of replicas of 0.3, of 0.5, and of several at once.
# plain

load ../lib/scenario

OLD="$(realpath "$BATS_TEST_DIRNAME/../data/litestream-0.3.13")"
generation=8a3ee2e0bed0ac13

setup() {
  own_folder
  export LITESTREAM_CONFIG="$PWD/litestream.yml"
  "$TOOLS/mkreplica" "$replica" 3
}

# field NUMBER COLUMN: of that line of what the last command printed.
field() { awk -v n="$2" '{ print $n }' <<<"${lines[$1]}"; }

@test "ltx: one level or all, Litestream's columns and keys" {
  cp "$replica/ltx/0/0000000000000001-0000000000000001.ltx" first.ltx
  mkdir "$replica/ltx/9"
  mv first.ltx "$replica/ltx/9/0000000000000001-0000000000000001.ltx"
  run "$LITESTREAM" ltx "$replica"
  [[ "$status" -eq 0 && "${#lines[@]}" -eq 4 ]]
  [[ "${lines[0]}" =~ ^level\ +min_txid\ +max_txid\ +size\ +created$ ]]
  run "$LITESTREAM" ltx -level all "$replica"
  [[ "${#lines[@]}" -eq 5 && "$(field 4 1)" -eq 9 ]]
  "$LITESTREAM" ltx -level 9 -json "$replica" >list.json
  [[ "$(jq -c '.[0] | keys_unsorted' list.json)" == '["level","min_txid","max_txid","size","timestamp"]' ]]
  [[ "$(jq -c 'map(.level)' list.json)" == '[9]' ]]
  run "$LITESTREAM" ltx -level 7 "$replica"
  [[ "$status" -eq 0 && "${#lines[@]}" -eq 1 ]]
  run "$LITESTREAM" ltx -level 10 "$replica"
  [[ "$status" -eq 2 ]]
}

@test "snapshots: 0.3's, and LTX files that hold all" {
  run "$LITESTREAM" snapshots "$OLD"
  [[ "$status" -eq 0 && "${#lines[@]}" -eq 2 ]]
  [[ "${lines[0]}" =~ ^replica\ +generation\ +index\ +size\ +created$ ]]
  [[ "$(field 1 1) $(field 1 2) $(field 1 3)" == "file $generation 0" ]]
  [[ "$(field 1 4)" -eq "$(stat -c %s "$OLD/generations/$generation/snapshots/00000000.snapshot.lz4")" ]]
  [[ "$(field 1 5)" =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z$ ]]
  run "$LITESTREAM" snapshots "$replica"
  [[ "${#lines[@]}" -eq 2 && "$(field 1 2) $(field 1 3)" == "- 0000000000000001" ]]
  [[ "$("$LITESTREAM" snapshots -json "$replica" | jq -c '.[0] | [.replica, .level, .txid]')" == '["file",0,"0000000000000001"]' ]]
  [[ "$("$LITESTREAM" snapshots -json "$OLD" | jq -c '.[0] | [.generation, .index]')" == "[\"$generation\",\"00000000\"]" ]]
  run "$LITESTREAM" snapshots "file://$PWD/nothing"
  [[ "$status" -eq 3 ]]
}

@test "wal: 0.3's segments, and ltx's old name" {
  run "$LITESTREAM" wal "$OLD"
  [[ "$status" -eq 0 && "${lines[0]}" =~ ^replica\ +generation\ +index\ +offset\ +size\ +created$ ]]
  [[ "$((${#lines[@]} - 1))" -eq "$(find "$OLD" -name '*.wal.lz4' | wc -l)" ]]
  [[ "$(field 2 1) $(field 2 2) $(field 2 3) $(field 2 4)" == "file $generation 0 $((0x880))" ]]
  [[ "$("$LITESTREAM" wal -json -generation "$generation" "$OLD" | jq '.[1].offset')" -eq "$((0x880))" ]]
  run "$LITESTREAM" wal -generation 00000000deadbeef "$OLD"
  [[ "$status" -eq 3 ]]
  run "$LITESTREAM" wal -generation other "$OLD"
  [[ "$status" -eq 2 ]]
  "$LITESTREAM" wal "$replica" >out 2>err
  [[ "$(cat err)" == "Warning: 'wal' command is deprecated, please use 'ltx' instead" ]]
  cmp out <("$LITESTREAM" ltx "$replica")
}

@test "generations, snapshots: of all replicas of a database, or of one" {
  cat >"$LITESTREAM_CONFIG" <<YML
dbs:
  - path: $db
    replicas:
      - {name: one, path: $OLD}
      - {name: two, path: $replica}
      - {name: away, url: "s3://bucket/x?endpoint=http://127.0.0.1:1"}
YML
  touch -d 2020-01-01T00:00:00Z "$db"
  run "$LITESTREAM" generations -replica one "$db"
  [[ "$status" -eq 0 && "${#lines[@]}" -eq 2 ]]
  [[ "${lines[0]}" =~ ^name\ +generation\ +lag\ +start\ +end\  ]]
  # The app was last seen long before the last upload.
  [[ "$(field 1 1) $(field 1 2)" == "one $generation" && "$(field 1 3)" =~ ^-[0-9]+h[0-9]+m[0-9]+s$ ]]
  run "$LITESTREAM" snapshots -replica two "$db"
  [[ "$status" -eq 0 && "${#lines[@]}" -eq 2 && "$(field 1 1)" == two ]]
  # One without credentials hides no other.
  local code=0
  "$LITESTREAM" snapshots "$db" >out 2>err || code=$?
  [[ "$code" -eq 6 ]]
  [[ "$(awk 'NR > 1 { print $1 }' out | tr '\n' ' ')" == "one two " ]]
  local command
  for command in snapshots generations wal; do
    code=0
    "$LITESTREAM" "$command" -json "$db" >out 2>err || code=$?
    [[ "$code" -eq 6 && "$(jq -r '.[0] | .replica // .name' out)" == one ]]
  done
  run "$LITESTREAM" generations -replica three "$db"
  [[ "$status" -eq 2 ]]
  run "$LITESTREAM" generations "$PWD/other.db"
  [[ "$status" -eq 2 && "$output" == *"database not found in config: $PWD/other.db"* ]]
}

@test "databases: path and replica, as a table and as JSON" {
  cat >"$LITESTREAM_CONFIG" <<YML
dbs:
  - {path: $PWD/one.db, replica: {path: $PWD/r1}}
  - {path: $PWD/two.db, replicas: [{url: "s3://bucket/two"}, {path: $PWD/r2}]}
YML
  run "$LITESTREAM" databases
  [[ "$status" -eq 0 && "${lines[0]}" =~ ^path\ +replica$ ]]
  [[ "$(field 1 1) $(field 1 2)" == "$PWD/one.db file" && "$(field 2 2)" == s3,file ]]
  [[ "$("$LITESTREAM" databases -json | jq -c '.[0] | [keys_unsorted, .path, .replica]')" == "[[\"path\",\"replica\"],\"$PWD/one.db\",\"file\"]" ]]
}
