#!/usr/bin/env bash
# lint.sh - every check that reads the source: layers, formatting, shellcheck, cppcheck, clang.
set -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
scripts/deps.sh build lint || exit 1

failed=0
check() {
  local name="$1"
  shift
  if "$@"; then
    echo "ok    $name"
  else
    echo "FAIL  $name"
    failed=1
  fi
}

# Shell scripts are known by their first line; bats files by their ending.
shell_files() {
  git ls-files -co --exclude-standard | while read -r file; do
    [[ -f "$file" ]] || continue
    case "$file" in
      *.bats) continue ;;
      *) IFS= read -r -n 32 first <"$file" 2>/dev/null || true ;;
    esac
    [[ "$first" =~ ^\#!.*(bash|/sh) ]] && echo "$file"
  done
}

# Called through check.
# shellcheck disable=SC2317
clang_syntax() {
  local file cflags
  cflags="$(pkg-config --cflags sqlite3 libcurl libcrypto jansson liblz4 expat libmicrohttpd)"
  for file in helpers/*/*.c; do
    # shellcheck disable=SC2086 # flags are words
    clang -std=gnu17 -Wall -Wextra -Werror -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 \
      -DLITESTREAM_VERSION='"lint"' -Ihelpers $cflags -fsyntax-only "$file" || return 1
  done
}

mapfile -t shells < <(shell_files)
mapfile -t bats_files < <(git ls-files -co --exclude-standard '*.bats')
mapfile -t c_files < <(git ls-files -co --exclude-standard '*.c' '*.h')

check layers scripts/layers.sh
check clang-format clang-format --dry-run -Werror "${c_files[@]}"
check shellcheck shellcheck -x -e SC1091 "${shells[@]}"
check shfmt shfmt -d -bn -ci -i 2 "${shells[@]}"
[[ "${#bats_files[@]}" -eq 0 ]] || check "shfmt (bats)" shfmt -ln bats -d -bn -ci -i 2 "${bats_files[@]}"
check cppcheck cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr -j 2 \
  --enable=warning,portability,performance --suppress=missingIncludeSystem \
  -D_GNU_SOURCE -DLITESTREAM_VERSION='"lint"' -Ihelpers helpers
check clang clang_syntax
exit "$failed"
