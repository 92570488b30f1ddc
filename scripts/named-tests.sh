#!/usr/bin/env bash
# named-tests.sh [PAGE] - are the tests that docs/RELIABILITY.md names there? Prints those that aren't; exit 1 then.
#   `file`                a test file, test_x (C) or x.bats, below tests/; with its folder where two have the name
#   `file`: `a`, `b`      tests in it: a word of a C file, the beginning of a bats test's name
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
page="${1:-docs/RELIABILITY.md}"
missing=0

tell() {
  echo "$page: $*"
  missing=1
}

# file_of NAME: its path; fails when there is none, or more than one.
file_of() {
  local found
  local -a paths
  found="$(compgen -G "tests/$1" || compgen -G "tests/*/$1" || compgen -G "tests/*/$1.c")"
  mapfile -t paths <<<"$found"
  [[ -n "$found" && ${#paths[@]} -eq 1 ]] && echo "$found"
}

# is_there FILE TEST
is_there() {
  case "$1" in
    *.bats) grep -qF "@test \"$2" "$1" ;;
    *) grep -qwF "$2" "$1" ;;
  esac
}

look() {
  local file word
  file="$(file_of "$1")" || {
    tell "$1 is no test file, or two"
    return
  }
  shift
  for word in "$@"; do
    is_there "$file" "$word" || tell "$word isn't in $file"
  done
}

# \x60 is Markdown's backtick.
name='\x60(([a-z]+/)?(test_\w+|[\w-]+\.bats))\x60'
while IFS= read -r group; do
  mapfile -t words < <(awk -F '\x60' '{ for (i = 2; i <= NF; i += 2) print $i }' <<<"$group")
  look "${words[@]}"
done < <(grep -oP "$name"'(: \x60[^\x60]+\x60(, \x60[^\x60]+\x60)*)?' "$page")
exit "$missing"
