#!/usr/bin/env bats
# The man page: generated from the program, so that they can't disagree; well-formed, and installed.
# plain
load ../lib/scenario

ROOT="$BATS_TEST_DIRNAME/../.."

@test "docs/litestream.1 is what the program says of itself" {
  "$ROOT/scripts/generate-man.sh" "$LITESTREAM" "$BATS_TEST_TMPDIR/litestream.1"
  diff -u "$ROOT/docs/litestream.1" "$BATS_TEST_TMPDIR/litestream.1"
}

@test "every command, flag and exit code is in it" {
  local command flag page="$ROOT/docs/litestream.1"
  for command in $("$LITESTREAM" help | sed -n '/^Commands:/,/^"/ s/^    \([a-z]*\) .*/\1/p'); do
    grep -qx ".SS $command" "$page"
    for flag in $("$LITESTREAM" "$command" -help | sed -n '/^Flags:/,/^Examples:/ s/^    -\([a-z0-9-]*\) .*/\1/p'); do
      # In the command's own part.
      sed -n "/^.SS $command\$/,/^.S[SH] /p" "$page" | sed 's/\\-/-/g' | grep -qE "^\.B \"-$flag( |\")" || {
        echo "$command -$flag is missing" >&2
        return 1
      }
    done
  done
  for command in 0 1 2 3 4 5 6 7 8 9; do grep -qx ".B $command" "$page"; done
}

@test "it can be formatted without a complaint" {
  command -v groff >/dev/null || skip "groff is not installed"
  run groff -K utf8 -man -Tutf8 -ww -z "$ROOT/docs/litestream.1"
  [ "$status" -eq 0 ]
  [ -z "$output" ] || {
    echo "$output" >&2
    return 1
  }
}

@test "make install brings it, make uninstall takes it away" {
  make -s -C "$ROOT" install BUILD="$BUILD" DESTDIR="$BATS_TEST_TMPDIR/root" PREFIX=/usr
  cmp "$ROOT/docs/litestream.1" "$BATS_TEST_TMPDIR/root/usr/share/man/man1/litestream.1"
  make -s -C "$ROOT" uninstall BUILD="$BUILD" DESTDIR="$BATS_TEST_TMPDIR/root" PREFIX=/usr
  [ -z "$(find "$BATS_TEST_TMPDIR/root" -type f)" ]
}
