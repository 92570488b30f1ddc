#!/usr/bin/env bats
# Two replicators, each a process of its own, and one replica: the second ends with exit code 8 and says why,
# also one that was stopped for hours; who was killed between its upload and its journal is no second one.
# plain
# shellcheck disable=SC2154 # db is scenario.bash's

load ../lib/scenario

setup_file() { s3_start; }

highest() { find replica -name '*.ltx' -printf '%f\n' | sort | tail -n 1 | cut -c1-16; }
files() { find replica -type f -printf '%P %s %i\n' | sort; }

# make DB ROWS
make() {
  mkdir -p "$(dirname "$1")"
  "$TOOLS/writer" -n "$2" "$1" >/dev/null
}

# fenced NAME: it ended with 8, and told what happened and what to do.
fenced() {
  local code=0
  finish "$1" || code=$?
  cat "$1.err"
  [[ "$code" -eq 8 ]]
  grep -q 'another node' "$1.err"
  grep -q -- '-takeover' "$1.err"
}

@test "the second of two ends with 8, the first ships on" {
  make a/app.db 20
  make b/app.db 50
  replicate a "$PWD/a/app.db" "$url"
  sync_now a "$PWD/a/app.db"
  files >before
  spawn b "$LITESTREAM" replicate "$PWD/b/app.db" "$url"
  fenced b
  files | cmp - before
  "$TOOLS/writer" -n 5 a/app.db >/dev/null
  sync_now a "$PWD/a/app.db"
  end a
  grep -E 'fenced|behind|ERROR' a.err && return 1
  same_as_source a/app.db "$url" back.db
}

@test "takeover: the second has it, the first ends with 8, and what it had shipped stays" {
  local txid
  make a/app.db 20
  make b/app.db 50
  replicate a "$PWD/a/app.db" "$url"
  sync_now a "$PWD/a/app.db"
  txid="$(highest)"
  replicate b "$PWD/b/app.db" "$url" -takeover
  sync_now b "$PWD/b/app.db"
  "$TOOLS/writer" -n 1 a/app.db >/dev/null
  fenced a
  "$TOOLS/writer" -n 5 b/app.db >/dev/null
  sync_now b "$PWD/b/app.db"
  end b
  same_as_source b/app.db "$url" back.db
  restore old.db -txid "$txid" "$url"
  [[ "$(sqlite3 old.db 'SELECT count(*) FROM commits')" -eq 20 ]]
}

@test "SIGSTOP for longer than names are kept: it ends with 8 and puts nothing" {
  local txid fast
  fast=(env LD_PRELOAD="$BUILD/bench/fast_clock.so" FAST_CLOCK=7200 FAST_CLOCK_FROM="$(date +%s%3N)")
  make a/app.db 20
  spawn a "${fast[@]}" "$LITESTREAM" replicate -socket "$PWD/a.sock" "$PWD/a/app.db" "$url"
  poll test -S a.sock
  sync_now a "$PWD/a/app.db"
  kill -STOP "$(pid_of a)"
  "$TOOLS/writer" -n 1 a/app.db >/dev/null
  txid="$(printf '%016x' $((16#$(highest) + 1)))"
  make b/app.db 50
  replicate b "$PWD/b/app.db" "$url" -takeover
  sync_now b "$PWD/b/app.db"
  "$TOOLS/writer" -n 5 b/app.db >/dev/null
  sync_now b "$PWD/b/app.db"
  # Two hours a second by A's clock: what B's retention would have deleted by then is deleted here.
  sleep 2
  rm "replica/ltx/0/$txid-$txid.ltx"
  files >before
  kill -CONT "$(pid_of a)"
  fenced a
  files | cmp - before
  "$TOOLS/writer" -n 5 b/app.db >/dev/null
  sync_now b "$PWD/b/app.db"
  end b
  same_as_source b/app.db "$url" back.db
}

# The newest L0's name and when it came in.
newest() { "$BATS_TEST_DIRNAME/../servers/s3.py" times "$LITESTREAM_TEST_S3_BUCKET" "$1/0000/" | sort | tail -n 1; }

is_newer() { [[ "$(newest "$1")" != "$2" ]]; }

@test "accepted, and kill -9 before the answer: the next start goes on, and is not fenced" {
  need_s3
  local folder at direct before
  "$TOOLS/writer" -n 20 "$db" >/dev/null
  at="${LITESTREAM_TEST_S3_ENDPOINT##*/}"
  spawn net "$BATS_TEST_DIRNAME/../servers/proxy.py" "${at%:*}" "${at##*:}" "$PWD/net.json"
  poll test -s net.out
  direct="$(s3_url db)"
  folder="${direct#*//*/}" folder="${folder%%\?*}"
  url="${direct%%\?*}?endpoint=http://127.0.0.1:$(cat net.out)"
  replicate a "$db" "$url"
  sync_now a "$db"
  before="$(newest "$folder")"
  # Every answer takes as long as it likes.
  echo '{"delay": 10}' >net.json
  "$TOOLS/writer" -n 1 "$db" >/dev/null
  poll is_newer "$folder" "$before"
  kill -KILL "$(pid_of a)"
  wait "$(pid_of a)" || true
  rm -f a.pid a.sock
  before="$(newest "$folder")"
  rm net.json
  # The same upload is known again, the same bytes under the same name; and the next one follows.
  replicate a "$db" "$url"
  sync_now a "$db"
  [[ "$(newest "$folder")" == "$before" ]]
  "$TOOLS/writer" -n 1 "$db" >/dev/null
  sync_now a "$db"
  is_newer "$folder" "$before"
  end a
  kill -KILL "$(pid_of net)"
  rm -f net.pid
  grep fenced a.err && return 1
  same_as_source "$db" "$direct" back.db
}
