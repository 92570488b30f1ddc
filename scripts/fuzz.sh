#!/usr/bin/env bash
# fuzz.sh SECONDS [NAME...] - runs each fuzz target (or those named: ltx, wal ...) for SECONDS under
# libFuzzer with ASan and UBSan. New inputs gather in build-fuzz/corpus/NAME; a crash stays in
# build-fuzz/crashes and ends the script with 1. Needs clang and its runtime.
set -eo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

BUILD=build-fuzz
SECONDS_EACH="${1:-60}"
shift || true
# Input larger than this only makes the fuzzer slower.
MAX_LEN=4096

have_runtime() {
  echo 'int LLVMFuzzerTestOneInput(const char *p, long n) { return p && n < 0; }' >"$BUILD/probe.c"
  clang -fsanitize=fuzzer,address,undefined "$BUILD/probe.c" -o "$BUILD/probe" 2>"$BUILD/probe.log"
}

build_target() {
  local name="$1" wrap=()
  # The server is the fuzzer.
  ! grep -q '"answers.h"' "tests/fuzz/fuzz_$name.c" || wrap=('-Wl,--wrap=http_perform')
  # shellcheck disable=SC2046,SC2086 # flags and packages are words
  clang -std=gnu17 -O1 -g -Wall -Wextra -Werror -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -pthread -Ihelpers -Itests \
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
    $(pkg-config --cflags $PACKAGES) "${wrap[@]}" "tests/fuzz/fuzz_$name.c" \
    "$BUILD/libtest.a" "$BUILD/liblitestream.a" $(pkg-config --libs $PACKAGES) -o "$BUILD/fuzz_$name"
}

# summary LOG: "12345 inputs, 205 a second; coverage 918 edges, 2214 features" out of libFuzzer's own words.
summary() {
  local units speed coverage
  units="$(sed -n 's/^stat::number_of_executed_units: *//p' "$1")"
  speed="$(sed -n 's/^stat::average_exec_per_sec: *//p' "$1")"
  coverage="$(sed -n 's/.* cov: \([0-9]*\) ft: \([0-9]*\) .*/\1 edges, \2 features/p' "$1" | tail -n 1)"
  echo "       $units inputs, $speed a second; coverage $coverage"
}

run_target() {
  local name="$1" seeds=() log="$BUILD/$1.log"
  mkdir -p "$BUILD/corpus/$name" "$BUILD/crashes"
  [[ ! -d "tests/fuzz/corpus/$name" ]] || seeds=("tests/fuzz/corpus/$name")
  echo "-----> fuzz_$name for $SECONDS_EACH s"
  if "$BUILD/fuzz_$name" -max_total_time="$SECONDS_EACH" -max_len="$MAX_LEN" -rss_limit_mb=1024 -timeout=10 \
    -artifact_prefix="$BUILD/crashes/$name-" -print_final_stats=1 "$BUILD/corpus/$name" "${seeds[@]}" >"$log" 2>&1; then
    summary "$log"
  else
    tail -n 60 "$log"
    return 1
  fi
}

main() {
  mkdir -p "$BUILD"
  # Twice: the runtime's package is known only once clang is there.
  have_runtime || scripts/deps.sh build fuzz
  have_runtime || scripts/deps.sh build fuzz
  if ! have_runtime; then
    echo "fuzz.sh: clang's fuzzer runtime is missing (Debian: libclang-rt-<version>-dev); clang said:" >&2
    cat "$BUILD/probe.log" >&2
    exit 1
  fi
  PACKAGES="$(sed -n 's/^PACKAGES := //p' Makefile)"
  # A make of its own, also where `make fuzz` called us.
  env -u MAKEFLAGS -u MAKELEVEL make -s BUILD="$BUILD" CC=clang OPT='-O1 -g' \
    SAN='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer' \
    "$BUILD/liblitestream.a" "$BUILD/libtest.a"
  local names=("$@") file name failed=0
  if [[ "${#names[@]}" -eq 0 ]]; then
    for file in tests/fuzz/fuzz_*.c; do
      name="$(basename "$file" .c)"
      names+=("${name#fuzz_}")
    done
  fi
  for name in "${names[@]}"; do
    build_target "$name"
    run_target "$name" || failed=1
  done
  [[ "$failed" -eq 0 ]] || echo "fuzz.sh: something fell; its inputs are in $BUILD/crashes" >&2
  exit "$failed"
}

main "$@"
