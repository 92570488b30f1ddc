#!/usr/bin/env bats
# Random command lines for the real program: what can't be done is told, with a code of docs/EXIT-CODES.md; nothing
# crashes, hangs or writes anywhere else. Commands and flags are taken from the program's own help (argv.py).
load ../lib/scenario

# In a mount namespace of its own: everything is read-only but the folder that we stand in. Runs WORD….
confined() {
  unshare --mount bash -c '
    mount --bind "$PWD" "$PWD" && cd "$PWD" || exit
    while read -r _ place _; do
      case "$place" in
        "$PWD" | /dev* | /proc* | /sys*) ;;
        *) mount -o remount,bind,ro "$place" 2>/dev/null ;;
      esac
    done </proc/self/mounts
    ! : >../outside 2>/dev/null || exit 99
    exec "$@"' confined "$@"
}

@test "random command lines: done or told, and nothing is written elsewhere" {
  mkdir box && cd box
  sqlite3 app.db 'PRAGMA journal_mode = WAL; CREATE TABLE t (n); INSERT INTO t VALUES (1)'
  head -c 5000 /dev/urandom >broken.db
  printf 'dbs:\n- path: app.db\n  replica: {path: replica}\n' >litestream.yml
  spawn first "$LITESTREAM" replicate app.db "file://$PWD/replica"
  poll compgen -G 'replica/ltx/0/*.ltx' >/dev/null
  end first
  local as=() code=0
  if confined true 2>/dev/null; then
    as=(confined)
  else
    echo "# no mount namespace: what is written elsewhere is not seen" >&3
  fi
  # What could be run, were it taken for a command, is not found.
  "${as[@]}" env -i PATH=/nowhere HOME="$PWD" TMPDIR="$PWD" LITESTREAM_CONFIG="$PWD/litestream.yml" \
    ASAN_OPTIONS="$ASAN_OPTIONS" UBSAN_OPTIONS="$UBSAN_OPTIONS" "$(python3 -c 'import sys; print(sys.executable)')" \
    "$BATS_TEST_DIRNAME/argv.py" "$LITESTREAM" "${SEED:-$RANDOM}" "$((${FULL:-0} ? 3000 : 150))" >../said || code=$?
  cat ../said
  [[ "$code" -eq 0 ]]
  echo "# $(cat ../said)" >&3
  # Not all of it ended at the first word.
  grep -q ' x 0' ../said
  [[ "$(grep -o ' x ' ../said | wc -l)" -ge 3 ]]
}
