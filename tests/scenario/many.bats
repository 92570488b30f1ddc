#!/usr/bin/env bats
# Many databases in one worker, many apps under one litestreamd, and what they do while nothing happens.
# tests/bench/many.py starts them and looks; here it is said what must come out.
# long
# plain

load ../lib/scenario

setup() {
  MANY="$BATS_TEST_DIRNAME/../bench/many.py"
  export TMPDIR="$BATS_TEST_TMPDIR"
  # An ordinary run takes a fourth of everything. Instrumented code is several times slower and larger.
  SIZE=4 LIMITS=true
  # How quick a commit is shipped is demanded of a quiet machine only: one that is never shipped ends the test.
  QUIET=false
  [[ -z "$FULL" ]] || SIZE=1 QUIET=true
  # A worker that nobody may look into can't be looked into by the leak checker either.
  ! sanitised || export SIZE=10 LIMITS=false ASAN_OPTIONS="detect_leaks=0"
}

# many ARGUMENTS…: its report is in $FOUND, and shown.
many() {
  FOUND="$BATS_TEST_TMPDIR/found.json"
  python3 "$MANY" "$@" >"$FOUND"
  jq -c 'del(.ship_one_seconds)' "$FOUND" | sed 's/^/# /' >&3
}

# found CONDITION: of the report, as jq understands it.
found() {
  jq -e --argjson limits "$LIMITS" --argjson quiet "$QUIET" "$1" "$FOUND" >/dev/null || {
    echo "not so: $1" >&2
    return 1
  }
}

@test "1,000 databases in one worker (250 without FULL=1): memory, descriptors, a commit in any of them, the end" {
  many -d $((1000 / SIZE)) -r 200 -t 3 -w 12
  found '.processes == 2 and .threads <= 10'
  found '.descriptors <= 12 * .databases + 50'
  found '($limits | not) or .memory_kb.rss <= 200 * 1024'
  found '.ship_one_seconds | length >= 10 and (($quiet | not) or max < 5)'
  found '.restored.asked >= 20 and .restored.asked == .restored.whole'
}

@test "1,000 databases (250 without FULL=1) that nobody has open keep no descriptor, and little memory" {
  many -d $((1000 / SIZE)) -t 1 -w 12
  found '.descriptors <= .databases + 50'
  found '($limits | not) or .memory_kb.anonymous <= 48 * 1024'
  found '.restored.asked == .restored.whole'
}

@test "databases of an app ask one S3 server through a few connections" {
  many -d $((200 / SIZE)) -o -s -t 1 -w 3
  found '.requests.connections <= 12 and .requests.put >= 2 * .databases'
  # One at each start: what is in the replica.
  found '.requests.list <= 1.1 * .databases'
  found '($limits | not) or .memory_kb.rss <= 100 * 1024'
  found '.restored.asked >= 20 and .restored.asked == .restored.whole'
}

@test "a bucket full of other things is no replica with a thousand files" {
  many -s -o -x 1100 -t 1 -w 1
  # Two pages of others, then level by level.
  found '.requests.list >= 11 and .requests.list <= 14'
  found '($quiet | not) or (.ship_one_seconds | max < 5)'
  found '.restored.asked == .restored.whole'
}

@test "50 apps under one litestreamd" {
  many -a $((50 / SIZE)) -o -t 1 -w 12
  found '.processes == .apps + 1'
  found '($limits | not) or .memory_kb.pss <= 51 * 4 * 1024'
  found '($quiet | not) or (.ship_one_seconds | max < 5)'
  found '.restored.asked == .restored.whole'
}

# Signs of life are what is left, and these get rarer with time: in the 10 s after 22 quiet ones at most one
# of each process, which wakes litestreamd too.
@test "nothing happens while nothing happens" {
  spawn released python3 "$MANY" -a 3 -t 10 -w 22
  spawn opened python3 "$MANY" -a 3 -t 10 -w 22 -o
  for FOUND in "$BATS_TEST_TMPDIR"/{released,opened}.out; do
    finish "$(basename "$FOUND" .out)"
    jq -c '[.opened, .idle]' "$FOUND" | sed 's/^/# /' >&3
    found '.idle.wakeups <= 2 * .apps'
  done
}
