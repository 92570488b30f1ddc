#!/usr/bin/env bash
# valgrind.sh [WORD] - the tests in C and the fuzz corpora, those whose path holds WORD, under valgrind's memcheck: a
# wrong access, a jump or a system call on memory that nobody wrote, or memory that nobody can free any more is
# a failure, whatever the test itself says. What each did is in $BUILD/valgrind/.
# Programs that tests start run without it; what they fork runs with it.
set -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
BUILD="${BUILD:-build}"
LOGS="$BUILD/valgrind"
WORK="$(mktemp -d)" || exit 1
trap 'rm -rf "$WORK"' EXIT
export TMPDIR="$WORK"
unset "${!LITESTREAM_@}" "${!AWS_@}"

# Of tests/fault those that take seconds; the others race, or repeat themselves at each call and each crash, and run here
# when WORD is their name.
QUICK=" test_discover test_file_store_calls test_replicate_between test_snapshot_put test_source_files
 test_source_let_go test_survey test_upkeep_clock test_upkeep_copies test_upkeep_replaced test_upkeep_unfinished "

# It is some thirty times slower, and has an allocator of its own. Left out, and why.
left_out() {
  local name="${1##*/}"
  [[ "$name" != "$2" ]] || return 1
  case "$1" in
    */test_*_memory) echo "replaces malloc itself" ;;
    */test_restore | */test_restore_damage | */test_retain_random) echo "goes thousands of rounds" ;;
    */fault/*) [[ "$QUICK" != *[[:space:]]"$name"[[:space:]]* ]] && echo "races, crashes or goes many rounds" ;;
    *) return 1 ;;
  esac
}

# memcheck LOG COMMAND... - what is "possibly lost" is no error: SQLite keeps pointers into the middle of what it has.
memcheck() {
  local log="$1"
  shift
  timeout "${VALGRIND_TIMEOUT:-1200}" valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite \
    --errors-for-leak-kinds=definite --num-callers=25 --fair-sched=yes --log-file="$log.%p" "$@" >"$log.said" 2>&1
}

# one PROGRAM: its line, and what valgrind and the test said where either complains.
one() {
  local program="$1" name code=0 start="$SECONDS" args=()
  name="$(basename "$program")"
  [[ "$name" != *-replay ]] || {
    args=("tests/fuzz/corpus/$(sed 's/^fuzz_//; s/-replay$//' <<<"$name")")
    export REPLAY_TRIES=5
  }
  rm -f "$LOGS/$name".*
  memcheck "$LOGS/$name" "$program" "${args[@]}" || code=$?
  # Lines with -- are about system calls that it doesn't know, as openat2.
  sed -i '/^--[0-9]*--/d' "$LOGS/$name".[0-9]* 2>/dev/null
  find "$LOGS" -name "$name.*" -empty -delete
  if [[ "$code" -ne 0 || -n "$(find "$LOGS" -name "$name.[0-9]*")" ]]; then
    echo "FAILED $name (exit code $code)"
    tail -n 80 "$LOGS/$name".[0-9]* "$LOGS/$name.said" 2>/dev/null
    return 1
  fi
  printf '%-40s %4d s  %s tests\n' "$name" "$((SECONDS - start))" "$(grep -c '^\[       OK \]' "$LOGS/$name.said")"
}

main() {
  local program why passed=0 failed=0
  command -v valgrind >/dev/null || {
    echo "valgrind.sh: valgrind is not installed" >&2
    exit 1
  }
  mkdir -p "$LOGS"
  for program in "$BUILD"/tests/{unit,fault}/test_* "$BUILD"/fuzz/*-replay; do
    [[ -x "$program" && "$program" != *.d && "$program" == *"$1"* ]] || continue
    if why="$(left_out "$program" "$1")"; then
      echo "$(basename "$program"): left out, it $why"
    elif one "$program"; then
      passed=$((passed + 1))
    else
      failed=$((failed + 1))
    fi
  done
  echo "$passed files clean, $failed not, $SECONDS s"
  [[ "$failed" -eq 0 && "$passed" -gt 0 ]]
}

main "$1"
