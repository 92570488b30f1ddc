#!/usr/bin/env bats
# A replica that somebody made to harm whoever restores it: files of tests/tools/hostile.c, and a server that lies
# (tests/servers/hostile.py). A restore ends by itself, with its exit code and one sentence, in little memory,
# and nothing is written or left anywhere, inside the target's folder or beside it.

load ../lib/scenario

setup() {
  own_folder
  mkdir box box/target
  echo precious >box/sentinel
}

# Everything beside the target and in it.
listing() { find box -printf '%p %y %m %s %T@ %l\n' | grep -v '^box/target d' | sort && cat box/sentinel; }

# bounded COMMAND…: its output and exit code. More than 64 MB of memory that it had at a time are told and a failure,
# but not where a sanitizer needs memory of its own.
bounded() {
  python3 - "$@" <<'PY'
import os, resource, sys
pid = os.spawnvp(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
open("rss", "w").write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status) & 255)
PY
}

modest() { sanitised || [[ "$(<rss)" -le $((64 * 1024)) ]] || ! echo "it took $(<rss) KiB"; }

# attempt CODE WORDS URL: a restore ends so, in two minutes, and has changed nothing.
attempt() {
  local got=0 before
  before="$(listing)"
  bounded timeout 120 "$LITESTREAM" restore -o "$PWD/box/target/app.db" "$3" >out 2>err </dev/null || got=$?
  echo "$3 ended with $got:"
  cat out err
  [[ "$got" -eq "$1" ]]
  grep -qiE "$2" err
  # One sentence, behind those of the log about planning anew.
  [[ "$(grep -c '^Error: ' err)" -eq 1 && "$(wc -l <err)" -le 5 ]]
  # What a name or a server said reaches no terminal as it is.
  [[ -z "$(LC_ALL=C grep '[[:cntrl:]]' err)" ]]
  modest
  diff <(echo "$before") <(listing)
}

# serve MODE: $endpoint and requests.log; the replica in FOLDER, mode by mode.
serve() {
  spawn hostile "$BATS_TEST_DIRNAME/../servers/hostile.py" "$1" "$replica" "$PWD/requests.log"
  poll test -s hostile.out
  export LITESTREAM_ACCESS_KEY_ID=key LITESTREAM_SECRET_ACCESS_KEY=other/Secret
  s3="s3://bucket/db?endpoint=http://127.0.0.1:$(<hostile.out)"
}
served() {
  end hostile || true
  rm -f hostile.out
}

good() { "$TOOLS/mkreplica" "$url" 3; }

@test "files that are no files of a replicator" {
  local kind words
  while read -r kind words; do
    "$TOOLS/hostile" "$kind" "$PWD/$kind"
    attempt 7 "$words" "file://$PWD/$kind"
    echo "$kind" >>told
  done <<'END'
most-pages has 4294967295 pages, more than the files
page-zero page 0
lock-page page 16385
beyond-commit page 4294967295 in a database of 3 pages
page-twice page 2 after page 2
pages-backwards page 1 after page 3
last-txid gap.*ffffffffffffffff
page-sizes its pages have 4096 bytes.*512
page-size impossible page size
other-header its header says TXID
block-bomb LZ4 block
frame-bomb LZ4 frame
index-length page index
torn ends early
v3-zeros not a SQLite database
v3-content-size bad LZ4 frame|content
v3-page-size pages of 65536 bytes
v3-page-zero is of no page
v3-gap a gap
END
  # Each kind that there is was tried, here or below.
  diff <(sort told) <("$TOOLS/hostile" | grep -vE '^(links|fifo|v3-page-beyond)$' | sort)
}

@test "what is no file in a replica's folder is not read, and doesn't hold anybody up" {
  local kind
  for kind in links fifo; do
    "$TOOLS/hostile" "$kind" "$PWD/$kind"
    timeout 60 "$LITESTREAM" restore -o "$PWD/$kind.db" "file://$PWD/$kind"
    [[ "$(stat -c %s "$kind.db")" -eq $((3 * 4096)) ]]
  done
}

@test "a page far behind the end of Litestream 0.3's database is cut off" {
  "$TOOLS/hostile" v3-page-beyond "$PWD/beyond"
  bounded timeout 60 "$LITESTREAM" restore -o "$PWD/beyond.db" "file://$PWD/beyond"
  [[ "$(stat -c %s beyond.db)" -eq $((2 * 4096)) ]]
  modest
}

@test "a server that lists names which lead elsewhere" {
  good
  serve names
  bounded timeout 60 "$LITESTREAM" restore -o "$PWD/box/target/app.db" "$s3"
  "$TOOLS/mkreplica" -check 3 box/target/app.db
  [[ "$(find box -maxdepth 2 -printf '%P\n' | sort | xargs)" == "sentinel target target/.app.db-litestream target/app.db" ]]
  # Nobody asked for them either.
  [[ -z "$(grep -vE '/bucket\?|/bucket/db/[0-9a-f]{4}/[0-9a-f-]{33}\.ltx$|/bucket/db/litestream.json$' requests.log)" ]]
}

@test "a server whose sizes lie" {
  local mode
  good
  for mode in size:20 size:-20 size:1000000 size=4611686018427387904 size=9223372036854775808 size=-1 size= size=0x10; do
    serve "$mode"
    attempt 7 'size|byte|end|index|trailer|shorter|longer' "$s3"
    served
  done
}

@test "a server whose listing has no end, or names what isn't there" {
  good
  serve empty
  attempt 7 'no end' "$s3"
  served
  serve circle
  attempt 7 'circles' "$s3"
  served
  if [[ -n "$FULL" ]]; then
    serve next
    attempt 7 'listed, but not there' "$s3"
    served
  fi
  serve absent
  attempt 7 'listed, but not there' "$s3"
  served
}

@test "a server with so many files" {
  serve "many:$([[ -n "$FULL" ]] && echo 1000000 || echo 5000)"
  attempt 7 'listed, but not there' "$s3"
}

@test "a server whose objects have no end" {
  good
  serve longer
  attempt 7 'longer|more than' "$s3"
}
