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
  local name="$1"
  # shellcheck disable=SC2046,SC2086 # flags and packages are words
  clang -std=gnu17 -O1 -g -Wall -Wextra -Werror -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -pthread -Ihelpers \
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
    $(pkg-config --cflags $PACKAGES) "tests/fuzz/fuzz_$name.c" "$BUILD/liblitestream.a" \
    $(pkg-config --libs $PACKAGES) -o "$BUILD/fuzz_$name"
}

run_target() {
  local name="$1" seeds=()
  mkdir -p "$BUILD/corpus/$name" "$BUILD/crashes"
  [[ ! -d "tests/fuzz/corpus/$name" ]] || seeds=("tests/fuzz/corpus/$name")
  [[ ! -f "tests/fuzz/$name.dict" ]] || seeds+=("-dict=tests/fuzz/$name.dict")
  echo "-----> fuzz_$name for $SECONDS_EACH s"
  "$BUILD/fuzz_$name" -max_total_time="$SECONDS_EACH" -max_len="$MAX_LEN" -rss_limit_mb=1024 -timeout=10 \
    -artifact_prefix="$BUILD/crashes/$name-" -print_final_stats=1 -verbosity=0 \
    "$BUILD/corpus/$name" "${seeds[@]}"
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
    "$BUILD/liblitestream.a"
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
