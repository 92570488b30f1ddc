#!/usr/bin/env bash
# old-sqlite.bash - the apps of tests/tools with other SQLites than ours, for scenarios. Their source is what npm
# packages that compile SQLite carry; it is compiled here into $BUILD/sqlite-VERSION, once, without optimisation (some
# seconds).
# Loaded with: load ../lib/old-sqlite

# shellcheck source=tests/lib/npm.bash
source "$BATS_TEST_DIRNAME/../lib/npm.bash"

old_sqlite_package() {
  case "$1" in
    3.7.17) echo sqlite3@2.1.19 ;;
    3.8.6) echo sqlite3@3.0.2 ;;
    3.8.11.1) echo sqlite3@3.1.0 ;;
    3.24.0) echo sqlite3@4.0.3 ;;
    3.25.2) echo better-sqlite3@5.0.1 ;;
    3.54.1) echo better-sqlite3@13.2.0 ;;
  esac
}

# old_sqlite_build VERSION TARBALL DIR: the programs, in DIR.
old_sqlite_build() {
  local version="$1" tarball="$2" dir="$3" tests="$BATS_TEST_DIRNAME/.." program source inner
  rm -rf "$dir.new"
  mkdir -p "$dir.new/source"
  tar -xzf "$tarball" -C "$dir.new/source" --wildcards '*/deps/*sqlite*'
  inner="$(find "$dir.new/source" -name 'sqlite*.tar.gz')"
  [[ -z "$inner" ]] || tar -xzf "$inner" -C "$dir.new/source"
  source="$(dirname "$(find "$dir.new/source" -name sqlite3.c)")"
  grep -q "define SQLITE_VERSION  *\"$version\"" "$source/sqlite3.h" || {
    echo "$tarball holds another SQLite" >&2
    return 1
  }
  # As configure finds it: without usleep(3) a busy timeout waits whole seconds.
  local cc=("${CC:-cc}" -DHAVE_USLEEP=1 -DHAVE_FDATASYNC=1 -std=gnu17 -O0 -g -w -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 "-I$source" "-I$tests"
    "-I$tests/../helpers")
  (cd "$dir.new" && "${cc[@]}" -c "$source/sqlite3.c" "$tests"/lib/{samples,truncate,pausevfs,noted,sealed}.c \
    "$tests"/../helpers/base/{digest,crc64,crc64_combine,crc64_fold}.c)
  for program in writer reader truncater checker busy; do
    "${cc[@]}" "$tests/tools/$program.c" "$dir.new"/*.o -o "$dir.new/$program" -lcrypto -lpthread -ldl -lm
  done
  rm -rf "$dir.new/source" "$dir"
  mv "$dir.new" "$dir"
}

# old_sqlite VERSION: prints a folder with writer, reader, truncater, checker and busy of that version; 1 with the
# reason on stderr where its source can't be had.
old_sqlite() {
  local version="$1" dir="$BUILD/sqlite-$1" tarball
  tarball="$(npm_tarball "$(old_sqlite_package "$version")")" || return
  (
    flock 9
    # What is older than one of its parts is made anew.
    if [[ ! -x "$dir/busy" ]] || [[ -n "$(find "$BATS_TEST_DIRNAME/../tools" "$BATS_TEST_DIRNAME/../lib" \
      \( -name '*.[ch]' -o -name old-sqlite.bash \) -newer "$dir/busy")" ]]; then
      old_sqlite_build "$version" "$tarball" "$dir"
    fi
  ) 9>"$BUILD/sqlite-$version.lock" || return
  echo "$dir"
}
