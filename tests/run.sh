#!/usr/bin/env bash
# run.sh unit|all [WORD] - runs the built tests of $BUILD (default build) and counts them.
# unit: cmocka programs and fuzz corpora. all: those and every bats file below tests/. With WORD, only
# files whose path holds it. Each line says how long its file took.
# A bats file that can't run here (no root, no server) skips its tests and says why.
set -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
BUILD="$(realpath -m "${BUILD:-build}")"
export BUILD
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
# Nobody's settings decide what a test sees.
unset "${!LITESTREAM_@}" "${!AWS_@}"
passed=0 failed=0 skipped=0 wrong=()

# All temporary files of a run are below one folder: runs at the same time don't meet, and none leaves
# anything behind. It is short, because sockets live in it.
WORK="$(mktemp -d "${TMPDIR:-/tmp}/ls-test.XXXXXX")" || exit 1
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
export TMPDIR="$WORK"

# "file  1.2 s": since $1, in ms.
took() {
  local ms=$(($(date +%s%3N) - $2))
  printf '# %-52s %4d.%d s\n' "$1" $((ms / 1000)) $((ms % 1000 / 100))
}

# Bats before 1.4 (Ubuntu 22.04) has no folders for a file and a test.
old_bats() { [[ "$(bats --version | sed 's/^Bats //')" =~ ^1\.[0-3]\. ]]; }
if command -v bats >/dev/null && old_bats; then
  export BATS_FILE_TMPDIR="$WORK/file" BATS_TEST_TMPDIR="$WORK/file/test" OLD_BATS=1
fi

count_failed() {
  failed=$((failed + $2))
  [[ "$2" -eq 0 ]] || wrong+=("$1")
}

# One C test program: cmocka prints a line a test on stderr.
run_c() {
  local program="$1" name="${1#"$BUILD"/}" out="$WORK/c.out" start bad
  start="$(date +%s%3N)"
  if timeout 300 "$program" >"$out" 2>&1; then
    # A program that found nothing to run has proved nothing.
    bad=$(($(grep -cE '^\[  (     OK|SKIPPED) \]' "$out") == 0))
  else
    # cmocka names each twice: where it failed, and in the list at the end.
    bad=$(grep '^\[  FAILED  \] [a-z_A-Z0-9]*$' "$out" | sort -u | wc -l)
    bad=$((bad > 0 ? bad : 1))
  fi
  [[ "$bad" -eq 0 ]] || cat "$out"
  passed=$((passed + $(grep -c '^\[       OK \]' "$out")))
  skipped=$((skipped + $(grep -c '^\[  SKIPPED \] [a-z_A-Z0-9]*$' "$out")))
  count_failed "$name" "$bad"
  took "$name" "$start"
}

run_replay() {
  local program="$1" name bad=0 start
  name="$(basename "$program" -replay)"
  start="$(date +%s%3N)"
  timeout 300 "$program" "tests/fuzz/corpus/${name#fuzz_}" || bad=1
  passed=$((passed + 1 - bad))
  count_failed "corpus of $name" "$bad"
  took "corpus of $name" "$start"
}

run_bats() {
  local file="$1" out="$WORK/bats.out" start bad plan seen
  start="$(date +%s%3N)"
  mkdir -p "$WORK/file/test"
  timeout --kill-after 20 "${BATS_FILE_TIMEOUT:-600}" \
    bats --tap "$file" </dev/null 2>&1 | tee "$out" | grep -vE '^1\.\.'
  passed=$((passed + $(grep -E '^ok ' "$out" | grep -cvE '# skip')))
  skipped=$((skipped + $(grep -cE '^ok .*# skip' "$out")))
  bad=$(grep -c '^not ok' "$out")
  plan=$(sed -n 's/^1\.\.//p' "$out")
  seen=$(grep -cE '^(not )?ok ' "$out")
  # A file that ended early (time-out, crash) has tests that nobody ran.
  [[ -n "$plan" && "$seen" -eq "$plan" ]] || bad=$((bad + 1))
  count_failed "$file" "$bad"
  took "$file" "$start"
  rm -rf "$WORK/file"
}

main() {
  local kind="$1" word="$2" file start
  start="$(date +%s%3N)"
  for file in "$BUILD"/tests/*/test_*; do
    [[ -x "$file" && "$file" != *.d && "$file" == *"$word"* ]] && run_c "$file"
  done
  for file in "$BUILD"/fuzz/*-replay; do
    [[ -x "$file" && "$file" == *"$word"* ]] && run_replay "$file"
  done
  if [[ "$kind" == all ]]; then
    for file in tests/*/*.bats; do
      [[ -f "$file" && "$file" == *"$word"* ]] && run_bats "$file"
    done
  fi
  echo
  [[ "${#wrong[@]}" -eq 0 ]] || printf 'FAILED: %s\n' "${wrong[@]}"
  took "all of it" "$start"
  echo "$passed passed, $failed failed, $skipped skipped"
  [[ "$failed" -eq 0 && "$passed" -gt 0 ]]
}

main "${1:-all}" "$2"
