#!/usr/bin/env bats
# What `make soak` is made of: that its judge notices what must not be, that its apps are judged as right, and that
# a few seconds of it go well. SEED=n makes the same choices again.
# plain

load ../lib/scenario

# Numbers of two writers, and what was rolled back between them.
written() {
  "$TOOLS/habits" -n 20 -r 10000 -w 1 -a one long "$db"
  "$TOOLS/habits" -n 20 -r 10000 -w 2 -a two steady "$db"
  fold "$db"
}

last_of() { od -An -td8 -N8 "$1" | tr -d ' '; }

# judged WORDS: the checker refuses app.db and says so.
judged() {
  fold "$db"
  run "$TOOLS/checker" -s "$db" "1:$(last_of one)" "2:$(last_of two)"
  echo "$output"
  [[ "$status" -eq 1 && "$output" == *"FAULT"*"$1"* ]]
}

@test "the judge: what the writers left is right" {
  written
  "$TOOLS/checker" -s "$db" "1:$(last_of one)" "2:$(last_of two)"
  [[ "$(od -An -td8 -j16 -N8 one | tr -d ' ')" -gt 0 ]] # some were rolled back
  [[ "$(last_of two)" -eq 20 ]]
}

@test "the judge: a hole" {
  written
  sqlite3 "$db" 'DELETE FROM commits WHERE writer = 2 AND seq IN (3, 4)'
  judged 'writer 2: a hole, 2 of 20 are missing'
  [[ "${lines[-1]}" == 'lost: 2' ]]
}

@test "the judge: a commit that was acknowledged and is gone" {
  written
  sqlite3 "$db" 'DELETE FROM commits WHERE writer = 2 AND seq > 15'
  judged 'writer 2: 20 was acknowledged, 15 is the last here'
  [[ "${lines[-1]}" == 'lost: 5' ]]
  sqlite3 "$db" 'DELETE FROM commits WHERE writer = 2'
  judged 'writer 2: 20 was acknowledged, 0 is the last here'
}

@test "the judge: a row that was rolled back" {
  written
  sqlite3 "$db" 'INSERT INTO commits SELECT writer, -5, body FROM commits WHERE writer = 2 AND seq = 5'
  judged 'writer 2: -5 was rolled back'
}

@test "the judge: half of a commit, a body that is another's, an index without its row" {
  written
  cp "$db" whole.db
  sqlite3 "$db" 'DELETE FROM commits WHERE writer = 1 AND seq = (SELECT max(seq) FROM commits WHERE writer = 1)'
  judged 'is the last of a commit that ends with'
  cp whole.db "$db"
  sqlite3 "$db" 'UPDATE commits SET body = (SELECT body FROM commits WHERE writer = 2 AND seq = 7) WHERE writer = 2 AND seq = 8'
  judged 'writer 2: the body of 8 is not what was written'
  cp whole.db "$db"
  sqlite3 -cmd '.dbconfig defensive off' "$db" "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'lengths'"
  sqlite3 "$db" 'DELETE FROM commits WHERE writer = 2 AND seq = 20'
  judged 'integrity_check'
}

@test "an app that dies between writing a commit and publishing it leaves what can be judged" {
  "$TOOLS/habits" -n 1 -a nine -w 9 steady "$db"
  local seed
  for seed in 1 2 3 4 5 6; do
    run "$TOOLS/habits" -S "$seed" -r 10000 -a nine -w 9 dying "$db"
    [[ "$status" -eq 137 ]] # SIGKILL, its own
  done
  [[ "$(od -An -td8 -j32 -N8 nine | tr -d ' ')" -eq 6 ]]
  fold "$db"
  "$TOOLS/checker" -s "$db" "9:$(last_of nine)"
}

# bats' own folder is root's alone; the soak makes one that the workers can get through to.
soak() {
  [[ "$(id -u)" -eq 0 ]] || skip "workers under other uids need root"
  [[ -z "$TMPDIR" ]] || chmod a+x "$TMPDIR"
  BUILD="$BUILD" "$BATS_TEST_DIRNAME/../soak/soak.py" --seed "${SEED:-$RANDOM}" "$@" 3>&- | tee said
  [[ "${PIPESTATUS[0]}" -eq 0 ]]
  grep -qx 'lost: 0' said
  grep -qE '^transactions  [1-9]' said
  grep -qE '^restores      [1-9][0-9]*, all right$' said
}

@test "some seconds of soak, with a store that fails" {
  command -v radosgw >/dev/null || skip "radosgw is not installed"
  soak --seconds 4 --moments 1
  grep -qE '^faults        [1-9]' said
}

@test "some seconds of soak, with a folder" {
  soak --seconds 3 --moments 1 --folder
}

# Writer 7 of a.db only reads. It claims to have been acknowledged numbers that nobody ever wrote.
claim() {
  local file
  for file in "$SOAKS"/soak.*/noted/one-a.db-7; do
    [[ -s "$file" ]] || return 1
    printf '\x2a' | dd of="$file" conv=notrunc status=none
  done
}

@test "a soak that finds something lost says what, keeps everything, and fails" {
  [[ "$(id -u)" -eq 0 ]] || skip "workers under other uids need root"
  [[ -z "$TMPDIR" ]] || chmod a+x "$TMPDIR"
  SOAKS="$(mktemp -d "${TMPDIR:-/tmp}/soaks.XXXXXX")"
  chmod 0755 "$SOAKS"
  TMPDIR="$SOAKS" spawn soak "$BATS_TEST_DIRNAME/../soak/soak.py" --seconds 600 --moments 200 --folder --seed "${SEED:-$RANDOM}"
  poll claim
  local status=0
  finish soak || status="$?"
  cat soak.out
  [[ "$status" -eq 1 ]]
  grep -q 'writer 7: 42 was acknowledged, 0 is the last here' soak.out
  grep -qE '^lost: (42|84)$' soak.out
  grep -q "everything is in $SOAKS/soak\." soak.out
  [[ -s "$(echo "$SOAKS"/soak.*/noted/one-a.db.log)" && -s "$(echo "$SOAKS"/soak.*/out/one-a.db)" ]]
  rm -rf "$SOAKS"
}
