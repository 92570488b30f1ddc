#!/usr/bin/env bats
# shellcheck disable=SC2154 # KEY and SECRET are internet_start's
# Texts about Litestream, typed word for word where Docker and Dokku are: "How Litestream Eliminated My Database
# Server", LogPaste's entrypoint in real containers, and contrib/docker-entrypoint in its place; then the walk-through
# of the plugin that was there before. A real S3 server answers for AWS.
# plain
load ../dokku/helper
load ../dokku/docker
load ../dokku/internet

setup_file() {
  internet_machine
  [[ -z "$NO_MACHINE" ]] || return 0
  docker_machine_start
  [[ -z "$NO_MACHINE" ]] || return 0
  internet_start {your-bucket-name,my-backup-bucket}.s3.us-east-1.amazonaws.com
  [[ -z "$NO_S3" ]] || return 0
  bucket your-bucket-name my-backup-bucket
  host cat /etc/ssl/certs/ca-certificates.crt >"$BATS_FILE_TMPDIR/ca.crt"
  entrypoint_of_the_text >"$BATS_FILE_TMPDIR/docker_entrypoint"
  local -r app=("$BUILD/tools/logpaste:/app/logpaste" "$BUILD/bin/litestream" /bin/sh:/bin/sh /bin/bash:/bin/bash
    "$(type -P cat)" "$(type -P dirname)" "$(type -P mkdir)" "$(type -P sed)"
    "$BATS_FILE_TMPDIR/ca.crt:/etc/ssl/certs/ca-certificates.crt")
  docker_image mtlynch/logpaste "$BATS_FILE_TMPDIR/docker_entrypoint:/app/docker_entrypoint" "$REPO/contrib/docker-entrypoint" "${app[@]}"
}
teardown_file() {
  [[ -n "$STANDIN" ]] || return 0
  docker_machine_stop
  machine_stop
}
setup() {
  need_machine
  need_internet
}

# The text's three pieces in their order; the first line and the last one are what it tells of the rest.
entrypoint_of_the_text() {
  cat <<'END'
#!/bin/bash
mkdir -p /app/data

cat > /etc/litestream.yml <<EOF
access-key-id:     "${AWS_ACCESS_KEY_ID}"
secret-access-key: "${AWS_SECRET_ACCESS_KEY}"
dbs:
  - path: "${DB_PATH}"
    replicas:
      - url: "${DB_REPLICA_URL}"
EOF

# Restore database from S3.
if [[ "${CREATE_NEW_DB}" != 'true' ]]; then
  litestream restore -v "${DB_PATH}"
fi

# Begin replication to S3 in the background.
litestream replicate "${DB_PATH}" "${DB_REPLICA_URL}" &

/app/logpaste "${DB_PATH}" "${PORT}"
END
}

# docker_run CREATE_NEW_DB [FLAG…] IMAGE…: the text's command, but for the network, which is the machine's, and the path, which
# is LogPaste's own.
docker_run() {
  host env AWS_ACCESS_KEY_ID="$KEY" AWS_SECRET_ACCESS_KEY="$SECRET" DB_REPLICA_URL=s3://your-bucket-name/db bash -ec '
    docker run -d --network host -e DB_PATH=/app/data/store.db \
      -e "PORT=3001" \
      -e "AWS_ACCESS_KEY_ID=${AWS_ACCESS_KEY_ID}" \
      -e "AWS_SECRET_ACCESS_KEY=${AWS_SECRET_ACCESS_KEY}" \
      -e "DB_REPLICA_URL=${DB_REPLICA_URL}" \
      -e "CREATE_NEW_DB=$1" \
      -p 3001:3001/tcp \
      --name logpaste \
      "${@:2}"' bash "$@" >/dev/null
}
answers() { host curl -s -o /dev/null http://localhost:3001/none; }

# paste TEXT: its id. shown ID TEXT: is it that?
paste() { host curl -s -X PUT -d "$1" http://localhost:3001 | jq -r .id; }
shown() { [ "$(host curl -s "http://localhost:3001/$1")" = "$2" ]; }
# Is the text of that id in the replica?
uploaded() {
  host rm -f /var/tmp/look.db
  host env AWS_ACCESS_KEY_ID="$KEY" AWS_SECRET_ACCESS_KEY="$SECRET" \
    "$BUILD/bin/litestream" restore -quiet -no-state -o /var/tmp/look.db s3://your-bucket-name/db
  [[ -n "$(host sqlite3 /var/tmp/look.db "SELECT 1 FROM entries WHERE id = '$1'")" ]]
}
said() { docker logs logpaste 2>&1 | grep -F "$1"; }

@test "LogPaste: a first run without a database, then another host that has none" {
  local id second
  # With the quotes that the text's command leaves in the value: a restore is tried, and finds nothing.
  docker_run "'true'" mtlynch/logpaste
  wait_until 60 answers
  said "no backup found"
  id="$(paste "Hello, world!")"
  shown "$id" "Hello, world!"
  wait_until 60 uploaded "$id"
  # The server is torn down, another one deployed.
  docker rm -f logpaste >/dev/null
  docker_run false mtlynch/logpaste
  wait_until 60 answers
  shown "$id" "Hello, world!"
  second="$(paste "from another host")"
  wait_until 60 uploaded "$second"
  docker rm -f logpaste >/dev/null
  echo "$id" >"$BATS_FILE_TMPDIR/id"
}

contrib() { docker_run "$1" --entrypoint docker-entrypoint mtlynch/logpaste /app/logpaste /app/data/store.db 3001; }
exited() { docker wait logpaste; }

@test "contrib's entrypoint on that replica: stopped, it has shipped what was committed last" {
  local id last
  id="$(cat "$BATS_FILE_TMPDIR/id")"
  contrib false
  wait_until 60 answers
  shown "$id" "Hello, world!"
  last="$(paste "a word before the end")"
  docker stop -t 60 logpaste >/dev/null
  [ "$(exited)" -eq 0 ]
  uploaded "$last"
  # Started again, the container has its database: nothing is restored.
  docker start logpaste >/dev/null
  wait_until 60 answers
  shown "$last" "a word before the end"
  docker rm -f logpaste >/dev/null
}

@test "contrib's entrypoint with CREATE_NEW_DB left at true: an empty database takes nobody's place" {
  contrib "'true'"
  [ "$(exited)" -eq 8 ]
  said "another node's data"
  docker rm logpaste >/dev/null
  uploaded "$(cat "$BATS_FILE_TMPDIR/id")"
}

app=my-sqlite-application
db=$STORAGE/$app--db/production.sqlite3

@test "the earlier plugin's walk-through: set up" {
  plugin_install >&2
  tools_install
  daemon_start
  dokku apps:create $app
  dokku storage:ensure-directory my-sqlite-application--db
  dokku storage:mount my-sqlite-application /var/lib/dokku/data/storage/my-sqlite-application--db:/app/db/litestream
  as 32767 "$TOOLS/writer" -n 20 "$db"

  enter_words
  run "$REPO/tests/dokku/on_terminal.py" "Enter your ACCESS_KEY_ID:" "$KEY" "SECRET_ACCESS_KEY:" "$SECRET" \
    -- "${ENTER[@]}" dokku litestream:auth
  assert_success
  assert_contains "=====> Authorizing litestream for replica location"
  assert_contains "Credentials saved"
  refute_contains "$SECRET"

  run dokku litestream:create my-sqlite-application /var/lib/dokku/data/storage/my-sqlite-application--db production.sqlite3 s3://my-backup-bucket/my-sqlite-application
  assert_success
  run dokku litestream:start my-sqlite-application
  assert_success
  run dokku litestream:logs my-sqlite-application
  assert_success
  assert_contains replicating
}

@test "the earlier plugin's walk-through: restored into a copy, which is not overwritten" {
  local copy=$STORAGE/copy-my-sqlite-application--db
  as 32767 "$TOOLS/writer" -n 5 "$db"
  dokku litestream:sync $app
  run dokku litestream:restore /var/lib/dokku/data/storage/copy-my-sqlite-application--db production.sqlite3 s3://my-backup-bucket/my-sqlite-application
  assert_success
  [ "$(rows "$copy/production.sqlite3")" -eq 25 ]
  [ "$(host stat -c %u "$copy" "$copy/production.sqlite3" | sort -u)" = 32767 ]
  run dokku litestream:restore /var/lib/dokku/data/storage/copy-my-sqlite-application--db production.sqlite3 s3://my-backup-bucket/my-sqlite-application
  assert_status 4
  # In a container it was /data.
  assert_contains "cannot restore, output path already exists: $copy/production.sqlite3"
  # What the text says to do then: delete it, rename it, or another folder.
  host rm "$copy/production.sqlite3"
  run dokku litestream:restore /var/lib/dokku/data/storage/copy-my-sqlite-application--db production.sqlite3 s3://my-backup-bucket/my-sqlite-application
  assert_success
}
