#!/usr/bin/env bats
# make demo: it ends with "identical", as root and without.
# plain

REPO="$(cd "$BATS_TEST_DIRNAME/../.." && pwd)"
BUILD="$(realpath -m "${BUILD:-$REPO/build}")"

setup() {
  load helper
}

@test "the demo, through Dokku's commands" {
  local obstacle
  obstacle="$(standin_obstacle)"
  [[ -z "$obstacle" ]] || skip "$obstacle"
  run env BUILD="$BUILD" S3= "$REPO/scripts/demo.sh"
  echo "$output"
  [ "$status" -eq 0 ]
  [[ "${lines[-1]}" == *"bytes: identical" ]]
}

@test "the demo without root, through the litestream command" {
  local as=()
  if [[ "$(id -u)" -eq 0 ]]; then
    as=(setpriv --reuid nobody --regid nogroup --clear-groups)
    "${as[@]}" test -x "$BUILD/bin/litestream" -a -x "$REPO/scripts/demo.sh" || skip "nobody can't read $REPO"
  fi
  run "${as[@]}" env BUILD="$BUILD" S3= TMPDIR=/tmp "$REPO/scripts/demo.sh"
  echo "$output"
  [ "$status" -eq 0 ]
  [[ "${lines[-1]}" == *"bytes: identical" ]]
}
