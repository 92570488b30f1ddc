#!/usr/bin/env bash
# run.sh unit|all - runs the built tests of $BUILD (default build) and counts them.
# unit: cmocka programs and fuzz corpora. all: those and every bats file below tests/.
# A bats file that can't run here (no root, no server) skips its tests and says why.
set -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
BUILD="$(realpath -m "${BUILD:-build}")"
export BUILD
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0}"
passed=0 failed=0 skipped=0

# One C test program: cmocka prints a line a test on stderr.
run_c() {
  local program="$1" out
  out="$(mktemp)"
  echo "# ${program#"$BUILD"/}"
  if timeout 300 "$program" >"$out" 2>&1; then
    passed=$((passed + $(grep -c '^\[       OK \]' "$out")))
  else
    cat "$out"
    local bad
    bad=$(grep -c '^\[  FAILED  \] [a-z_A-Z0-9]*$' "$out")
    failed=$((failed + (bad > 0 ? bad : 1)))
    echo "FAILED: ${program#"$BUILD"/}"
  fi
  skipped=$((skipped + $(grep -c '^\[  SKIPPED \] ' "$out")))
  rm -f "$out"
}

run_replay() {
  local program="$1" name
  name="$(basename "$program" -replay)"
  echo "# corpus of $name"
  if timeout 300 "$program" "tests/fuzz/corpus/${name#fuzz_}"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: corpus of $name"
  fi
}

run_bats() {
  local file="$1" out
  out="$(mktemp)"
  echo "# $file"
  timeout "${BATS_FILE_TIMEOUT:-600}" bats --tap "$file" </dev/null | tee "$out" | grep -vE '^1\.\.'
  passed=$((passed + $(grep -E '^ok ' "$out" | grep -cvE '# skip')))
  skipped=$((skipped + $(grep -cE '^ok .*# skip' "$out")))
  local bad plan seen
  bad=$(grep -c '^not ok' "$out")
  plan=$(sed -n 's/^1\.\.//p' "$out")
  seen=$(grep -cE '^(not )?ok ' "$out")
  # A file that ended early (time-out, crash) has tests that nobody ran.
  [[ -n "$plan" && "$seen" -eq "$plan" ]] || bad=$((bad + 1))
  failed=$((failed + bad))
  rm -f "$out"
}

main() {
  local program file
  for program in "$BUILD"/tests/*/test_*; do
    [[ -x "$program" && "$program" != *.d ]] && run_c "$program"
  done
  for program in "$BUILD"/fuzz/*-replay; do
    [[ -x "$program" ]] && run_replay "$program"
  done
  if [[ "$1" == all ]]; then
    for file in tests/*/*.bats; do
      [[ -f "$file" ]] && run_bats "$file"
    done
  fi
  echo
  echo "$passed passed, $failed failed, $skipped skipped"
  [[ "$failed" -eq 0 && "$passed" -gt 0 ]]
}

main "${1:-all}"
