#!/usr/bin/env bats
# replicate -once: what is committed is shipped and that was it; what ends it, and what can be asked for besides.

load ../lib/scenario

setup_file() { s3_start; }

new_db() { "$TOOLS/writer" -w 1 -n "${2:-20}" -a ack "${1:-$db}" >/dev/null; }
once() { "$LITESTREAM" replicate -once "$@"; }
# level N: names of the replica's files at it.
level() { ls "replica/ltx/$1" 2>/dev/null; }

@test "once: ships what is committed, and nothing where nothing is new" {
  new_db
  once "$db" "$url" 2>first.err
  grep -q 'app.db: all shipped, TXID 0000000000000001' first.err
  same_as_source "$db" "$url" one.db
  level 0 >before
  once "$db" "$url"
  level 0 | diff before -
  new_db "$db" 5
  once "$db" "$url"
  [[ "$(level 0 | wc -l)" -eq 2 ]]
  same_as_source "$db" "$url" two.db
}

@test "once: an app that goes on writing holds it up no longer than anything else" {
  new_db
  spawn writer "$TOOLS/writer" -w 1 -t 600 -a ack2 "$db"
  poll test -s ack2
  once "$db" "$url"
  kill -KILL "$(pid_of writer)"
  finish writer || true
  restore back.db "$url"
  [[ "$(sqlite3 back.db 'PRAGMA integrity_check')" == ok && "$(sqlite3 back.db 'SELECT count(*) FROM commits')" -ge 20 ]]
}

@test "once: -force-snapshot uploads one, -enforce-retention leaves what is promised" {
  new_db
  once "$db" "$url"
  new_db "$db" 5
  once -force-snapshot "$db" "$url" 2>err
  [[ "$(level 9)" == 0000000000000001-0000000000000002.ltx ]]
  # There is one of this state.
  once -force-snapshot -enforce-retention "$db" "$url"
  [[ "$(level 9 | wc -l)" -eq 1 && "$(level 0 | wc -l)" -eq 2 ]]
  once -enforce-retention -retention=false "$db" "$url" 2>err
  grep -q 'retention is off, so nothing is deleted' err
  rm -r "replica/ltx/0"
  restore snap.db "$url"
  fold "$db"
  "$TOOLS/pagecmp" "$db" snap.db
}

# fails CODE TEXT ARGUMENT…
fails() {
  local code="$1" text="$2"
  shift 2
  run once "$@"
  [[ "$status" -eq "$code" && "$output" == *"$text"* ]] || {
    echo "ended with $status: $output" >&2
    return 1
  }
}

@test "once: what fails is the exit code" {
  fails 9 "there is no database at $db yet" "$db" "$url"
  new_db
  # Attempts take seconds: beside the others.
  mkdir away
  new_db away/app.db
  spawn away env AWS_ACCESS_KEY_ID=k AWS_SECRET_ACCESS_KEY=s "$LITESTREAM" replicate -once -shutdown-timeout 200ms \
    "$PWD/away/app.db" "s3://bucket/x?endpoint=http://127.0.0.1:1"
  # Another node has the replica: by words and by a configuration.
  once "$db" "$url"
  restore other.db "$url" >/dev/null
  new_db other.db 3
  once -takeover "$PWD/other.db" "$url"
  new_db "$db" 2
  level 0 >before
  fails 8 "the replica goes on to TXID" "$db" "$url"
  printf 'dbs: [{path: %s, replica: {url: "%s"}}]\n' "$db" "$url" >c.yml
  fails 8 "the replica goes on to TXID" -config c.yml -force-snapshot -enforce-retention
  level 0 | diff before -
  # Somebody replicates it already.
  mkdir two
  new_db two/app.db
  replicate r "$PWD/two/app.db" "file://$PWD/two/replica"
  fails 1 "is in use" "$PWD/two/app.db" "file://$PWD/two/replica"
  local code=0
  finish away || code=$?
  [[ "$code" -eq 5 ]]
  grep -q 'Error: .*away/app.db: ' away.err
}

@test "once: of several databases and replicas those that are well are shipped" {
  new_db
  head -c 8192 /dev/urandom >bad.db
  fails 9 "bad.db" "$PWD/bad.db" "file://$PWD/bad" "$db" "$url"
  same_as_source "$db" "$url" back.db
  new_db "$db" 5
  once "$db" "$url" "file://$PWD/far"
  rm back.db
  same_as_source "$db" "$url" back.db
  same_as_source "$db" "file://$PWD/far" far.db
  touch file
  fails 1 "replica 2: " -shutdown-timeout 200ms "$db" "$url" "file://$PWD/file/x"
}

@test "once: flags that need or exclude each other" {
  new_db
  fails 2 "cannot specify -once flag with -exec" -exec true "$db" "$url"
  printf 'exec: "true"\ndbs: [{path: %s, replica: {url: "%s"}}]\n' "$db" "$url" >c.yml
  fails 2 "cannot specify -once flag with -exec, and the configuration has exec" -config c.yml
  fails 2 "cannot specify -once flag with -socket" -socket "$PWD/o.sock" "$db" "$url"
  run "$LITESTREAM" replicate -force-snapshot "$db" "$url"
  [[ "$status" -eq 2 && "$output" == *"cannot specify -force-snapshot flag without -once"* ]]
  run "$LITESTREAM" replicate -enforce-retention "$db" "$url"
  [[ "$status" -eq 2 && "$output" == *"cannot specify -enforce-retention flag without -once"* ]]
  [[ ! -e replica ]]
}

# lines ARGUMENT…: how many lines of INFO are in the log of once with the configuration.
lines() {
  once -config c.yml "$@" 2>err
  grep -c ' INFO ' err || true
}

@test "the log's level: a flag before the environment before the configuration" {
  new_db
  printf 'logging: {level: error}\ndbs: [{path: %s, replica: {url: "%s"}}]\n' "$db" "$url" >c.yml
  unset LOG_LEVEL
  [[ "$(lines)" -eq 0 ]]
  [[ "$(LOG_LEVEL=info lines)" -gt 0 ]]
  [[ "$(LOG_LEVEL=INFO lines -log-level error)" -eq 0 ]]
  [[ "$(LOG_LEVEL=error lines -log-level Info)" -gt 0 ]]
  # That variable is other programs', too.
  [[ "$(LOG_LEVEL=verbose lines)" -eq 0 ]]
  fails 2 "-log-level is trace, debug, info, warn or error" -config c.yml -log-level verbose
}

@test "once: on S3, with a snapshot; keys that are not the server's" {
  need_s3
  new_db
  local url
  url="$(s3_url once)"
  once -force-snapshot -enforce-retention "$db" "$url"
  [[ "$("$LITESTREAM" ltx -level 9 "$url" | grep -c 0000000000000001)" -eq 1 ]]
  same_as_source "$db" "$url" back.db
  new_db "$db" 2
  LITESTREAM_SECRET_ACCESS_KEY=wrong fails 6 "app.db" "$db" "$url"
}
