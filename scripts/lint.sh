#!/usr/bin/env bash
# lint.sh - every check that reads the source: layers, formatting, shellcheck, cppcheck, clang.
set -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
scripts/deps.sh build lint || exit 1
BUILD="${BUILD:-build}"
mkdir -p "$BUILD/cppcheck"

failed=0
check() {
  local name="$1" start
  shift
  start="$(date +%s%3N)"
  if "$@"; then
    printf 'ok    %s (%d ms)\n' "$name" $(($(date +%s%3N) - start))
  else
    echo "FAIL  $name"
    failed=1
  fi
}

# Files that git knows or would take, by ending.
files() { git ls-files -co --exclude-standard "$@" | while read -r file; do [[ ! -f "$file" ]] || echo "$file"; done; }

# Shell scripts are known by their first line; bats files by their ending.
shell_files() {
  local file first
  files | while read -r file; do
    [[ "$file" != *.bats ]] || continue
    IFS= read -r -n 32 first <"$file" 2>/dev/null || true
    [[ "$first" =~ ^\#!.*(bash|/sh) ]] && echo "$file"
  done
}

# The versions differ in where they break lines. 14, of Debian 12, is the one that we use.
# Called through check, as the others below.
# shellcheck disable=SC2317
formatted() {
  local program=clang-format
  command -v clang-format-14 >/dev/null && program=clang-format-14
  local version
  version="$("$program" --version | sed -n 's/.*version \([0-9]*\).*/\1/p')"
  if [[ "$version" -ne 14 ]]; then
    echo "clang-format $version is not the 14 that formats this source: not checked"
    return 0
  fi
  "$program" --dry-run -Werror "${c_files[@]}"
}

# shellcheck disable=SC2317
clang_syntax() {
  local cflags
  cflags="$(pkg-config --cflags sqlite3 libcurl libcrypto jansson liblz4 expat libmicrohttpd yaml-0.1)"
  # shellcheck disable=SC2086 # flags are words
  printf '%s\0' helpers/*/*.c tests/lib/*.c tests/tools/*.c tests/bench/*.c \
    | xargs -0 -n 8 -P 2 clang -std=gnu17 -Wall -Wextra -Werror -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 \
      -DLITESTREAM_VERSION='"lint"' -Ihelpers -Itests $cflags -fsyntax-only
}

# Left to the compilers' own analysis and to ASan, which raise fewer false alarms: addresses kept in what
# the caller owns, variables that an initialiser or a callee fills, lists that own what is hung into them.
# shellcheck disable=SC2317
cpp_check() {
  cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr -j 2 --cppcheck-build-dir="$BUILD/cppcheck" \
    --enable=warning,portability,performance --suppress=missingIncludeSystem --suppress=autoVariables \
    --suppress=uninitvar --suppress=legacyUninitvar --suppress=memleak \
    -D_GNU_SOURCE -DLITESTREAM_VERSION='"lint"' -Ihelpers -Itests helpers tests
}

# Each file reads again all that it sources: two at a time.
# shellcheck disable=SC2317
shell_check() { printf '%s\0' "${shells[@]}" | xargs -0 -n 4 -P 2 shellcheck -x -e SC1091; }

# Between the two marks nothing but what the tags of subcommands/ say.
# shellcheck disable=SC2317
readme_is_current() {
  diff <(sed '1,/^<!-- commands -->$/d; /^<!-- \/commands -->$/,$d' README.md | sed '1d;$d') <(scripts/generate-readme.sh --print)
}

# `! command` by itself never ends a test, because set -e doesn't count it: unless it happens to be the last one, nobody
# hears of it. A line of a test that begins so says `|| false` (or what else is to be done).
# shellcheck disable=SC2317
tests_can_fail() {
  awk 'FNR == 1 { open = 0 }
    !open && /^[ \t]*! / { open = FNR; text = "" }
    open { text = text $0 }
    open && !/(\\|\||&&)$/ {
      if (text !~ /\|\|/) { print FILENAME ":" open ": this can not fail a test, add || false: " text; bad = 1 }
      open = 0
    }
    END { exit bad }' "${bats_files[@]}" tests/*/*.bash
}

mapfile -t shells < <(shell_files)
mapfile -t bats_files < <(files '*.bats')
mapfile -t c_files < <(files '*.c' '*.h')

check layers scripts/layers.sh
check clang-format formatted
check shellcheck shell_check
check shfmt shfmt -d -bn -ci -i 2 "${shells[@]}"
check "shfmt (bats)" shfmt -ln bats -d -bn -ci -i 2 "${bats_files[@]}"
check "tests that can fail" tests_can_fail
check cppcheck cpp_check
check clang clang_syntax
check "README's commands" readme_is_current
check "tests by name" scripts/named-tests.sh
exit "$failed"
