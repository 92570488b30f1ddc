#!/usr/bin/env bats
# litestream.yml: its keys and variables, restores that look a path or a URL up, folders of databases, what is told
# and what is an error. Set-ups that people have written down are in seeds.bats and seeds-dokku.bats.

load ../lib/scenario

setup_file() { s3_start; }

setup() {
  own_folder
  export LITESTREAM_CONFIG="$PWD/litestream.yml"
  unset "${!AWS_@}" LITESTREAM_R2_ACCOUNT_ID
}

# configured NAME [FLAG…]: replicate by the configuration; the control socket is NAME.sock.
configured() {
  local name="$1"
  shift
  spawn "$name" "$LITESTREAM" replicate -socket "$BATS_TEST_TMPDIR/$name.sock" "$@"
  poll replicator_up_or_gone "$name"
  [[ -S "$BATS_TEST_TMPDIR/$name.sock" ]] || {
    cat "$BATS_TEST_TMPDIR/$name.err" >&2
    return 1
  }
}

# make_db FILE VALUE
make_db() { sqlite3 "$1" "PRAGMA journal_mode = WAL; CREATE TABLE t(x); INSERT INTO t VALUES ('$2')" >/dev/null; }
value_of() { sqlite3 "$1" 'SELECT group_concat(x) FROM t'; }

@test "config: variables in the file, and keys that only it has" {
  need_s3
  export KEY="$LITESTREAM_TEST_S3_ACCESS_KEY_ID" SECRET="$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY"
  unset LITESTREAM_ACCESS_KEY_ID LITESTREAM_SECRET_ACCESS_KEY
  export AWS_ENDPOINT_URL_S3="$LITESTREAM_TEST_S3_ENDPOINT"
  local url="s3://$LITESTREAM_TEST_S3_BUCKET/$$-variables/db"
  cat >"$LITESTREAM_CONFIG" <<EOF
access-key-id: \$KEY
secret-access-key: \${SECRET}
dbs:
  - path: "$db"
    replicas:
      - url: "$url"
EOF
  make_db "$db" one
  configured conf
  sync_now conf "$db"
  end conf
  "$LITESTREAM" restore -o back.db "$db"
  [[ "$(value_of back.db)" == one ]]
  run grep -F "$SECRET" conf.err conf.out
  [[ "$status" -eq 1 ]]
  run "$LITESTREAM" restore -no-expand-env -o back2.db "$db"
  [[ "$status" -eq 6 ]]
  # A replica that is named by its URL has these keys, too; those of the environment come before them.
  "$LITESTREAM" restore -o back3.db "$url"
  [[ "$(value_of back3.db)" == one ]]
  LITESTREAM_ACCESS_KEY_ID=nobody LITESTREAM_SECRET_ACCESS_KEY=none run "$LITESTREAM" restore -o back4.db "$url"
  [[ "$status" -eq 6 ]]
  run "$LITESTREAM" restore -o back4.db "$url/other"
  [[ "$status" -eq 6 ]]
  # An error that a variable is the cause of: both are told.
  sed "s#$url#s3://\$NOT_SET/x#" "$LITESTREAM_CONFIG" >unset.yml
  run "$LITESTREAM" replicate -once -config unset.yml
  [[ "$status" -eq 2 && "$output" == *"url has a variable in it that is not set"*"has no bucket"* ]]
  echo "sync-interval: 10\$NOT_SET" >>"$LITESTREAM_CONFIG"
  run "$LITESTREAM" databases
  [[ "$status" -eq 2 && "$output" == *"NOT_SET in it, which is not set"*"takes a duration"* ]]
  sed -i '$d' "$LITESTREAM_CONFIG"
  # What is wrong in a file that nobody asked for is told, and no reason to fail.
  echo "colour: red" >>"$LITESTREAM_CONFIG"
  LITESTREAM_ACCESS_KEY_ID="$KEY" LITESTREAM_SECRET_ACCESS_KEY="$SECRET" run "$LITESTREAM" restore -o back5.db "$url"
  [[ "$status" -eq 0 && "$output" == *"unknown key \"colour\""* ]]
}

@test "config: a database by its name from its folder, a linked one, by any way to it" {
  mkdir -p application-name/releases/1 application-name/shared/storage
  ln -s ../../shared/storage application-name/releases/1/storage
  ln -s releases/1 application-name/current
  local home="$PWD" name
  {
    echo "dbs:"
    for name in production cable queue; do
      cat <<EOF
  - path: $home/application-name/current/storage/$name.sqlite3
    replicas:
      - path: $home/replicas/$name
EOF
    done
  } >"$LITESTREAM_CONFIG"
  for name in production cable queue; do
    make_db "application-name/current/storage/$name.sqlite3" "$name"
  done
  configured rails
  for name in production cable queue; do
    sync_now rails "application-name/current/storage/$name.sqlite3"
  done
  end rails
  cd application-name/current/storage
  mv production.sqlite3 -- -deleted.sqlite3
  rm -f production.sqlite3-*
  "$LITESTREAM" restore production.sqlite3
  [[ "$(value_of production.sqlite3)" == production ]]
  # From the folder's real name, and from elsewhere.
  rm cable.sqlite3
  (cd "$home/application-name/shared/storage" && "$LITESTREAM" restore ./cable.sqlite3)
  [[ "$(value_of cable.sqlite3)" == cable ]]
  cd "$home"
  rm application-name/shared/storage/queue.sqlite3
  "$LITESTREAM" restore application-name/releases/1/storage/queue.sqlite3
  [[ "$(value_of application-name/current/storage/queue.sqlite3)" == queue ]]
  run "$LITESTREAM" restore production.sqlite3
  [[ "$status" -eq 2 && "$output" == *"is not in $LITESTREAM_CONFIG, but $home/application-name/current/storage/production.sqlite3 is"* ]]
  "$LITESTREAM" ltx -level all -json "$home/application-name/current/storage/queue.sqlite3" | jq -e '.[0].min_txid == "0000000000000001"'
}

@test "config: what has no effect is told once, what is unknown is an error, secrets are warned of" {
  cat >"$LITESTREAM_CONFIG" <<EOF
logging: {level: info, type: json}
dbs:
  - path: $PWD/a.db
    monitor-interval: 1s
    replica: {path: $PWD/ra, access-key-id: AKIDAKID, secret-access-key: very-secret}
  - path: b.db
    monitor-interval: 1s
    replica: {path: ./rb, retention: 72h}
EOF
  chmod 644 "$LITESTREAM_CONFIG"
  make_db a.db a
  make_db b.db b
  configured r
  sync_now r "$PWD/a.db"
  sync_now r "$PWD/b.db"
  end r
  jq -e . r.err >/dev/null
  [[ "$(jq -r 'select(.msg | contains("monitor-interval has no effect")) | .level' r.err)" == INFO ]]
  jq -r .msg r.err | grep -q 'litestream.yml:4: .*(and 1 more line)'
  [[ "$(jq -r 'select(.msg | contains("chmod 600")) | .level' r.err)" == WARN ]]
  run grep -F very-secret r.err
  [[ "$status" -eq 1 ]]
  "$LITESTREAM" restore -o back.db b.db
  [[ "$(value_of back.db)" == b ]]

  chmod 600 "$LITESTREAM_CONFIG"
  sed -i 's/retention: 72h/retension: 72h/' "$LITESTREAM_CONFIG"
  run "$LITESTREAM" replicate
  [[ "$status" -eq 2 && "$output" == *"$LITESTREAM_CONFIG:8: unknown key \"retension\" under a replica, did you mean \"retention\"?"* ]]
  run "$LITESTREAM" restore -o x.db b.db
  [[ "$status" -eq 2 ]]
  run "$LITESTREAM" replicate -config none.yml
  [[ "$status" -eq 2 && "$output" == *"there is no configuration file none.yml"* ]]
  echo "dbs: []" >"$LITESTREAM_CONFIG"
  run "$LITESTREAM" replicate
  [[ "$status" -eq 2 && "$output" == *"no databases specified in configuration"* ]]
  run "$LITESTREAM" replicate -config "$LITESTREAM_CONFIG" a.db "file://$PWD/ra"
  [[ "$status" -eq 2 ]]
  run "$LITESTREAM" restore -config "$LITESTREAM_CONFIG" -o x.db "file://$PWD/ra"
  [[ "$status" -eq 2 && "$output" == *"cannot specify a replica URL and the -config flag"* ]]
}

@test "config: a missing database is restored before it is replicated, when the file says so" {
  cat >"$LITESTREAM_CONFIG" <<EOF
dbs:
  - path: $db
    restore-if-db-not-exists: true
    replica: {path: $replica}
EOF
  make_db "$db" kept
  configured one
  sync_now one "$db"
  end one
  rm -rf "$db" "$PWD/.app.db-litestream"
  configured two
  [[ "$(value_of "$db")" == kept ]]
  sqlite3 "$db" "INSERT INTO t VALUES ('more')"
  sync_now two "$db"
  end two
  restore back.db "$url"
  [[ "$(value_of back.db)" == kept,more ]]
}

@test "restore-if-db-not-exists: what is there stays, nothing there is told, trouble ends it" {
  replicate new "$db" "$url" -restore-if-db-not-exists
  grep -q "nothing was ever at file://$replica" new.err
  grep -q "app.db: no backup found, starting fresh" new.err
  sqlite3 -cmd ".timeout $((PATIENCE * 1000))" "$db" "PRAGMA journal_mode = WAL; CREATE TABLE t(x)" >/dev/null
  sync_now new "$db"
  end new
  replicate again "$db" "$url" -restore-if-db-not-exists
  grep -q "app.db: database exists, skipping restore" again.err
  end again
  rm -rf app.db* .app.db-litestream
  # All of them: a later one may hold every page.
  find replica/ltx -name '*.ltx' -exec truncate -s 0 {} +
  run "$LITESTREAM" replicate -restore-if-db-not-exists "$db" "$url"
  [[ "$status" -eq 7 && "$output" == *"app.db: restore failed: "* && ! -e "$db" ]]
  # Also where a process of its own restores.
  run "$LITESTREAM" replicate -restore-if-db-not-exists "$db" "$url" "file://$PWD/other"
  [[ "$status" -eq 7 && "$output" == *"app.db: restore failed: "* && ! -e "$db" && ! -e other ]]
}

found() { grep -q "$1: found in" r.err; }
replicating() { grep -q "$1: replicating" r.err; }
gone() { grep -q "$1: is gone" r.err; }

@test "config: databases that come and go in a watched folder, restored by their path" {
  mkdir -p tenants/eu
  cat >"$LITESTREAM_CONFIG" <<EOF
dbs:
  - dir: $PWD/tenants
    pattern: "*.db"
    recursive: true
    watch: true
    replica: {url: "file://$PWD/replicas"}
  - path: $PWD/tenants/own.db
    replica: {path: "$PWD/own"}
EOF
  make_db tenants/own.db own
  make_db tenants/one.db 1
  echo "no database" >tenants/words.db
  configured r
  poll replicating "$PWD/tenants/one.db"
  make_db tenants/eu/two.db 2
  mkdir tenants/us
  make_db tenants/us/three.db 3
  make_db tenants/other.sqlite 4
  poll replicating "$PWD/tenants/eu/two.db"
  poll replicating "$PWD/tenants/us/three.db"
  sync_now r "$PWD/tenants/us/three.db"
  # An app that goes on with one of them while others come: nobody's locks are lost.
  "$TOOLS/writer" -w 1 -n 200 -a "$PWD/ack" "$PWD/tenants/busy.db" >/dev/null
  poll replicating "$PWD/tenants/busy.db"
  [[ "$("$LITESTREAM" databases | wc -l)" -eq 6 ]]
  rm tenants/one.db*
  poll gone "$PWD/tenants/one.db"
  end r
  run grep -E 'other.sqlite|words.db|own.db: found' r.err
  [[ "$status" -eq 1 ]]
  [[ ! -e replicas/own.db && -d own/ltx && -d replicas/eu/two.db/ltx && -d replicas/us/three.db/ltx ]]
  (cd tenants && "$LITESTREAM" restore one.db && "$LITESTREAM" restore -o ../two.db eu/two.db)
  [[ "$(value_of tenants/one.db)" == 1 && "$(value_of two.db)" == 2 ]]
  same_as_source tenants/busy.db "file://$PWD/replicas/busy.db" busy.db
}

beats() { [[ "$(grep -c 'GET /beat' web.err)" -ge "$1" ]]; }

@test "config: the heartbeat beats while all is replicated, and only then" {
  spawn web python3 -u -m http.server --bind 127.0.0.1 0
  poll grep -q 'port [0-9]' web.out
  local port
  port="$(sed -n 's/.* port \([0-9]*\) .*/\1/p' web.out)"
  mkdir web
  cat >"$LITESTREAM_CONFIG" <<EOF
heartbeat-url: http://127.0.0.1:$port/beat?token=very-secret
shutdown-sync-timeout: 100ms
dbs:
  - path: $db
    replicas:
      - path: $replica
      - url: s3://nowhere/x?endpoint=http://127.0.0.1:1
        access-key-id: k
        secret-access-key: s
EOF
  make_db "$db" x
  configured r
  sync_now r "$db"
  # Longer than the first look takes: a second replica that is never well keeps it silent.
  sleep 3
  run beats 1
  [[ "$status" -ne 0 ]]
  end r
  sed -i '/url: s3/,$d' "$LITESTREAM_CONFIG"
  configured q
  poll beats 1
  end q
  run grep -F very-secret r.err q.err
  [[ "$status" -eq 1 ]]
  kill "$(pid_of web)"
  finish web || true
}
