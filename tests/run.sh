#!/usr/bin/env bash
# run.sh unit|all [WORD] - runs the built tests of $BUILD (default build) and counts them.
# unit: cmocka programs and fuzz corpora. all: those and every bats file below tests/. With WORD, only
# files whose path holds it. TEST_JOBS files (default: two a processor and one more) run at a time, because most of
# them wait most of the time; files that say "# alone" run by themselves, first. Each one's output comes when it ends,
# with how long it took, and how much of the processors' time.
# A bats file that can't run here (no root, no server) skips its tests and says why.
set -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
BUILD="$(realpath -m "${BUILD:-build}")"
export BUILD
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
SANITISED="$(grep -lE '__(asan|tsan)_init' "$BUILD/bin/litestream" 2>/dev/null || true)"
# Nobody's settings decide what a test sees.
unset "${!LITESTREAM_@}" "${!AWS_@}"
# Nor what the files of whoever runs them say.
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
JOBS="${TEST_JOBS:-$((2 * $(nproc) + 1))}"

# All temporary files of a run are below one folder, each test file's in a folder of its own: runs at the
# same time don't meet, and none leaves anything behind. It is short, because sockets live in it.
WORK="$(mktemp -d "${TMPDIR:-/tmp}/ls-test.XXXXXX")" || exit 1
# Tests of the plugin become other users: they may pass through, not look.
chmod 0711 "$WORK"
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM

# Bats before 1.4 (Ubuntu 22.04) has no folders for a file and a test.
old_bats() { [[ "$(bats --version | sed 's/^Bats //')" =~ ^1\.[0-3]\. ]]; }
! command -v bats >/dev/null || ! old_bats || export OLD_BATS=1

# worked: "4.5 s", of what `times` said of a test file's processes.
worked() {
  awk -F '[ms ]+' 'END { printf "%.1f s", ($1 + $3) * 60 + $2 + $4 }' "$TMPDIR/times"
}

# since START: "12.3 s", of a time in ms.
since() {
  local ms=$(($(date +%s%3N) - $1))
  printf '%4d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
}

# The three runners print what their file has to say and set passed, failed and skipped.

# One C test program: cmocka prints a line a test on stderr.
run_c() {
  local program="$1" out="$TMPDIR/out"
  if timeout "${C_FILE_TIMEOUT:-300}" "$program" >"$out" 2>&1; then
    # A program that found nothing to run has proved nothing.
    failed=$(($(grep -cE '^\[  (     OK|SKIPPED) \]' "$out") == 0))
  else
    # cmocka names each twice: where it failed, and in the list at the end.
    failed=$(grep '^\[  FAILED  \] [a-z_A-Z0-9]*$' "$out" | sort -u | wc -l)
    failed=$((failed > 0 ? failed : 1))
  fi
  [[ "$failed" -eq 0 ]] || cat "$out"
  passed=$(grep -c '^\[       OK \]' "$out")
  skipped=$(grep '^\[  SKIPPED \] [a-z_A-Z0-9]*$' "$out" | sort -u | wc -l)
}

run_replay() {
  local name
  name="$(basename "$1" -replay)"
  timeout "${C_FILE_TIMEOUT:-300}" "$1" "tests/fuzz/corpus/${name#fuzz_}" || failed=1
  passed=$((1 - failed))
}

run_bats() {
  local out="$TMPDIR/out" plan seen
  if [[ -n "$OLD_BATS" ]]; then
    export BATS_FILE_TMPDIR="$TMPDIR/file" BATS_TEST_TMPDIR="$TMPDIR/file/test"
    mkdir -p "$BATS_TEST_TMPDIR"
  fi
  timeout --kill-after 20 "${BATS_FILE_TIMEOUT:-600}" bats --tap "$1" </dev/null >"$out" 2>&1
  grep -vE '^1\.\.' "$out"
  passed=$(grep -E '^ok ' "$out" | grep -cvE '# skip')
  skipped=$(grep -cE '^ok .*# skip' "$out")
  failed=$(grep -c '^not ok' "$out")
  plan=$(sed -n 's/^1\.\.//p' "$out")
  seen=$(grep -cE '^(not )?ok ' "$out")
  # A file that ended early (time-out, crash) has tests that nobody ran.
  [[ -n "$plan" && "$seen" -eq "$plan" ]] || failed=$((failed + 1))
}

# one NUMBER RUNNER FILE: runs it, in the background, with a folder of its own.
one() {
  local runner="$2" file="$3" passed=0 failed=0 skipped=0 start
  start="$(date +%s%3N)"
  export TMPDIR="$WORK/$1"
  mkdir -p "$TMPDIR"
  "$runner" "$file" >"$WORK/$1.said" 2>&1
  local worked
  times >"$TMPDIR/times"
  worked="$(worked)"
  echo "$passed $failed $skipped ${file#"$BUILD"/}" >"$WORK/$1.counts"
  {
    flock 9
    cat "$WORK/$1.said"
    printf '# %-52s %s, %s of processor\n' "${file#"$BUILD"/}" "$(since "$start")" "$worked"
  } 9>"$WORK/lock"
  rm -rf "${WORK:?}/$1"
}

programs() {
  local file
  for file in "$@"; do
    [[ -x "$file" && "$file" != *.d ]] && echo "run_c $file"
  done
}

# Files that say "# alone" measure the machine, too: nothing else runs beside them. Those that say
# "# long" begin before the others, so that nothing waits for them at the end. Files that say "# plain" test
# the plugin's bash more than the programs, or go ways that other files go too: of a sanitised build they are
# left out, which is told, unless EVERYTHING=1. What a file is called in the end counts.
declare -A kinds
call() {
  local file
  while read -r file; do kinds["$file"]="$2"; done < <(grep -lx "# $1" tests/*/*.bats)
}
call long long
call alone alone
[[ -z "$SANITISED" || -n "$EVERYTHING" ]] || call plain left-out

bats_files() {
  local file
  for file in tests/*/*.bats; do
    [[ "${kinds["$file"]:-together}" != "$1" ]] || echo "run_bats $file"
  done
}

# The files to run: runner and path, a line each. Those that take long come first.
chosen() {
  local file
  [[ "$1" != all ]] || bats_files alone
  [[ "$1" != all ]] || bats_files long
  programs "$BUILD"/tests/{fault,conformance}/test_*
  [[ "$1" != all ]] || bats_files together
  programs "$BUILD"/tests/unit/test_*
  for file in "$BUILD"/fuzz/*-replay; do
    [[ -x "$file" ]] && echo "run_replay $file"
  done
}

main() {
  local kind="$1" word="$2" runner file start number=0
  start="$(date +%s%3N)"
  while read -r runner file; do
    while [[ "$(jobs -rp | wc -l)" -ge "$JOBS" ]]; do
      wait -n
    done
    number=$((number + 1))
    one "$number" "$runner" "$file" &
    [[ "${kinds["$file"]}" != alone ]] || wait
  done < <(chosen "$kind" | grep -F -- "$word")
  wait
  [[ "$number" -eq "$(cat "$WORK"/*.counts 2>/dev/null | wc -l)" ]] || echo "1 1 0 the test runner itself" >"$WORK/0.counts"
  echo
  awk '$2 > 0 { $1 = $3 = ""; print "FAILED:" $0 }' "$WORK"/*.counts 2>/dev/null
  [[ "$kind" != all || -z "$SANITISED" ]] || echo "left out of a sanitised build: $(bats_files left-out | wc -l) files that say # plain (EVERYTHING=1 runs them)"
  echo "all of it took$(since "$start")"
  awk '{ p += $1; f += $2; s += $3 } END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit !(f == 0 && p > 0) }' \
    "$WORK"/*.counts 2>/dev/null
}

main "${1:-all}" "$2"
