#!/usr/bin/env bats
# contrib/docker-entrypoint, outside of a container: what it writes, restores, runs and ends with. In one, with the app
# it was made for, it is in seeds-dokku.bats.
# plain

load ../lib/scenario

ENTRYPOINT="$BATS_TEST_DIRNAME/../../contrib/docker-entrypoint"

setup() {
  own_folder
  mkdir bin
  ln -s "$LITESTREAM" bin/litestream
  export PATH="$PWD/bin:$PATH" LITESTREAM_CONFIG="$PWD/litestream.yml"
  export DB_PATH="$PWD/data/it's a \"path\": yes.db" DB_REPLICA_URL="$url"
}
writer() { "$ENTRYPOINT" "$TOOLS/writer" -a "$PWD/ack" "$@" "$DB_PATH"; }
in_replica() {
  rm -f look.db
  restore look.db "$url" >/dev/null
  [[ "$(sqlite3 look.db 'SELECT count(*) FROM commits')" -eq "$1" ]]
}

@test "entrypoint: without a backup the app isn't started, and it is told how to begin" {
  run writer -n 5
  [[ "$status" -eq 3 && "$output" == *"no backup found"*"set CREATE_NEW_DB=true"* && ! -e "$DB_PATH" ]]
}

@test "entrypoint: a first run, a restart, another host" {
  # As docker run -e "CREATE_NEW_DB='true'" has it.
  CREATE_NEW_DB="'true'" writer -n 5
  in_replica 5
  # The file is there: what is in a volume stays.
  writer -n 5
  in_replica 10
  rm -r data litestream.yml
  writer -n 5
  in_replica 15
  [[ "$(sqlite3 "$DB_PATH" 'SELECT count(*) FROM commits')" -eq 15 ]]
  # No value is in the file, which may be a user's own.
  run grep -F "$url" litestream.yml
  [[ "$status" -eq 1 ]]
}

@test "entrypoint: the app gets its words and the signal, its last commits are shipped, its status is the container's" {
  cat >app <<'END'
#!/bin/bash
trap 'sqlite3 "$DB_PATH" "INSERT INTO commits(writer, seq, body) VALUES (9, 1, 1)"; exit 7' TERM
printf '%s\n' "$@" >words
while :; do sleep 0.05; done
END
  chmod +x app
  CREATE_NEW_DB=true writer -n 5
  spawn app "$ENTRYPOINT" ./app "it's" 'a "b"  c' '$HOME;' '\'
  poll test -s words
  [[ "$(cat words)" == $'it\'s\na "b"  c\n$HOME;\n\\' ]]
  kill -TERM "$(pid_of app)"
  local code=0
  finish app || code=$?
  [[ "$code" -eq 7 ]]
  in_replica 6
}

@test "entrypoint: in the background, and beside an app" {
  CREATE_NEW_DB=true LITESTREAM_BACKGROUND=true spawn app "$ENTRYPOINT" "$TOOLS/writer" -n 0 -r 50 "$DB_PATH"
  some() { in_replica_some && [[ "$(sqlite3 look.db 'SELECT count(*) FROM commits')" -gt 0 ]]; }
  in_replica_some() { rm -f look.db && restore look.db "$url" >/dev/null 2>&1; }
  poll some
  # The app has the process id that the entrypoint had.
  [[ "$(readlink "/proc/$(pid_of app)/exe")" == "$TOOLS/writer" ]]
  pgrep -P "$(pid_of app)" >beside
  end app
  kill -TERM "$(cat beside)"
  poll has_ended "$(cat beside)"
  spawn sidecar "$ENTRYPOINT"
  poll grep -q replicating sidecar.err
  "$TOOLS/writer" -n 3 "$DB_PATH" >/dev/null
  end sidecar
  in_replica "$(sqlite3 "$DB_PATH" 'SELECT count(*) FROM commits')"
}

@test "entrypoint: what is missing is said" {
  DB_PATH="" run "$ENTRYPOINT" true
  [[ "$status" -eq 2 && "$output" == *"DB_PATH is not set"* ]]
  DB_REPLICA_URL="" run "$ENTRYPOINT" true
  [[ "$status" -eq 2 && "$output" == *"DB_REPLICA_URL is not set"* ]]
  LITESTREAM_CONFIG=/nowhere/litestream.yml run "$ENTRYPOINT" true
  [[ "$status" -eq 2 && "$output" == *"cannot write /nowhere/litestream.yml: set LITESTREAM_CONFIG"* ]]
}
