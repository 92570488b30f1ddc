#!/usr/bin/env bats
# restore -f: a copy that is kept up to date while other processes read it, over kill -9, restarts and shrinking; and
# what ends it.
# plain

load ../lib/scenario

setup() {
  own_folder
  copy="$PWD/copy.db"
}

# follow NAME [FLAG…]: into copy.db; returns when it follows.
follow() {
  local name="$1"
  shift
  rm -f "$name.err"
  spawn "$name" "$LITESTREAM" restore -f -follow-interval 20ms -o "$copy" "$@" "$url"
  poll following_or_gone "$name"
  grep -q ': following' "$name.err"
}
following_or_gone() { grep -q ': following' "$1.err" 2>/dev/null || ! alive "$1"; }

rows() { sqlite3 -cmd '.timeout 20000' "$1" "${2:-SELECT count(*) FROM commits}"; }
has_rows() { [[ "$(rows "$copy")" -eq "$1" ]]; }
is_at() { [[ "$(cat "$copy-txid")" == "$1" ]]; }
last_txid() { "$LITESTREAM" ltx -level all -json "$url" | jq -r 'map(.max_txid) | max'; }

# same_rows: the copy holds what the app has.
same_rows() {
  cmp <(rows "$copy" .dump) <(rows "$db" .dump)
  [[ "$(rows "$copy" 'PRAGMA integrity_check; PRAGMA journal_mode')" == $'ok\ndelete' ]]
}

@test "follow: under load, with readers that never see a part of a change" {
  "$TOOLS/writer" -n 20 "$db" >/dev/null
  replicate ship "$db" "$url" -sync-interval 20ms
  sync_now ship "$db"
  follow f -json
  [[ "$(jq -r .txid f.out)" == "$(head -c 16 "$copy-txid")" ]]
  spawn one "$TOOLS/watcher" "$copy"
  spawn two "$TOOLS/watcher" "$copy"
  "$TOOLS/writer" -r 300 -n 700 -s 3000 "$db" >/dev/null
  sqlite3 -cmd '.timeout 20000' "$db" "DELETE FROM commits WHERE writer > 1; CREATE INDEX i ON commits(body)"
  sync_now ship "$db"
  poll is_at "$(last_txid)"
  end one
  end two
  has_rows 720
  for name in one two; do
    cat "$name.out"
    [[ "$(json changes "$name.out")" -gt 3 && "$(json last "$name.out")" -eq 720 ]]
  done
  same_rows
  end f
  end ship
  # It is a copy: nobody replicates it, and who writes to it is told.
  run "$LITESTREAM" replicate "$copy" "file://$PWD/other"
  [[ "$status" -eq 9 && "$output" == *"a copy that restore -f keeps up to date"* ]]
  [[ ! -e other ]]
}

# grow NAME: two more transactions, both shipped.
grow() {
  "$TOOLS/writer" -n 1 -s 40000 "$db" >/dev/null
  sync_now "$1" "$db"
  "$TOOLS/writer" -n 1 -s 200 "$db" >/dev/null
  sync_now "$1" "$db"
}

@test "follow: kill -9 at its steps; readers and the next one find it whole" {
  "$TOOLS/killer" true || [[ "$?" -ne 126 ]] || skip "nobody may trace a process here"
  "$TOOLS/writer" -n 5 -s 2000 "$db" >/dev/null
  replicate ship "$db" "$url"
  sync_now ship "$db"
  follow f
  end f
  mkdir start
  cp -a copy.db copy.db-txid .copy.db-follow start/
  grow ship
  sqlite3 -cmd '.timeout 20000' "$db" "DELETE FROM commits WHERE seq = 6; UPDATE commits SET seq = 6 WHERE seq = 7; VACUUM"
  sync_now ship "$db"
  end ship
  local steps n step last
  last="$(last_txid)"
  spawn whole "$TOOLS/killer" -o steps "$LITESTREAM" restore -f -follow-interval 20ms -o "$copy" "$url"
  poll is_at "$last"
  steps="$(wc -l <steps)"
  end whole
  step=$((steps / 6 + 1))
  [[ -z "$FULL" ]] || step=1
  for ((n = 1 + RANDOM % step; n <= steps; n += step)); do
    rm -f copy.db*
    cp -a start/. .
    local code=0
    timeout "$PATIENCE" "$TOOLS/killer" -n "$n" "$LITESTREAM" restore -f -follow-interval 20ms -o "$copy" "$url" 2>/dev/null || code=$?
    [[ "$code" -eq 77 ]]
    [[ "$(rows "$copy" 'PRAGMA integrity_check; SELECT count(*) = max(seq) FROM commits')" == $'ok\n1' ]] || {
      echo "killed before step $n of $steps: $(sed -n "${n}p" steps)"
      false
    }
    follow again
    poll is_at "$last"
    end again
    same_rows
  done
}

@test "follow: killed at any moment under load, readers go on, every page size" {
  local size
  for size in 512 65536; do
    rm -rf copy.db* .copy.db* app.db* .app.db-litestream replica
    sqlite3 "$db" "PRAGMA page_size = $size; PRAGMA auto_vacuum = FULL; VACUUM; PRAGMA journal_mode = WAL" >/dev/null
    "$TOOLS/writer" -n 10 "$db" >/dev/null
    replicate ship "$db" "$url" -sync-interval 10ms
    sync_now ship "$db"
    follow f
    spawn reads "$TOOLS/watcher" "$copy"
    spawn writes "$TOOLS/writer" -r 200 -n 200 -s 5000 "$db"
    for _ in {1..4}; do
      sleep "0.$((RANDOM % 3))$((RANDOM % 10))"
      kill -KILL "$(pid_of f)"
      finish f 2>/dev/null || true
      follow f
    done
    finish writes
    # Most of it goes away again.
    sqlite3 -cmd '.timeout 20000' "$db" "UPDATE commits SET body = NULL; PRAGMA incremental_vacuum"
    sync_now ship "$db"
    poll is_at "$(last_txid)"
    end reads
    [[ "$(json last reads.out)" -ge 10 ]]
    same_rows
    [[ "$(stat -c %s "$copy")" -eq "$(($(rows "$db" 'PRAGMA page_count') * size))" ]]
    end f
    end ship
  done
}

# ended NAME CODE TEXT: by itself, with this.
ended() {
  local code=0
  finish "$1" 2>/dev/null || code=$?
  cat "$1.err"
  [[ "$code" -eq "$2" ]] && grep -qF -- "$3" "$1.err"
}

@test "follow: what ends it, with its own exit code" {
  "$TOOLS/mkreplica" "$replica" 6
  mkdir away
  mv "$replica"/ltx/0/000000000000000[456]-* away/
  follow f -follow-interval 5ms
  # Two can't follow into one file.
  run "$LITESTREAM" restore -f -o "$copy" "$url"
  [[ "$status" -eq 9 && "$output" == *"another restore -f follows"* ]]
  # A gap that nothing bridges; how long it is tried goes by the interval.
  mv away/0000000000000006-* "$replica/ltx/0/"
  ended f 7 "the replica has a gap: nothing leads on from TXID 0000000000000003"
  is_at 0000000000000003
  mv away/* "$replica/ltx/0/"
  follow f
  poll is_at 0000000000000006
  # Somebody writes to it, and leaves a journal that is over, as journal_mode PERSIST does.
  sqlite3 "$copy" "PRAGMA user_version = 5"
  ended f 9 "was changed by somebody else while it was followed"
  local code=0
  head -c 512 /dev/zero >"$copy-journal"
  timeout "$PATIENCE" "$LITESTREAM" restore -f -o "$copy" "$url" 2>err || code=$?
  [[ "$code" -eq 9 ]]
  # Restored anew, and the replica is emptied.
  follow f -force -follow-interval 5ms
  rm -r "$replica"
  ended f 3 "it was emptied, or begun anew"
}

@test "follow: words that don't go together, and files that are nobody's" {
  refused() {
    local want="$1" text="$2" got=0
    shift 2
    "$LITESTREAM" restore -f -o "$copy" "$@" "$url" 2>err || got=$?
    cat err
    [[ "$got" -eq "$want" ]]
    grep -qF -- "$text" err
  }
  refused 2 "cannot use follow mode with -txid" -txid 0000000000000001
  refused 2 "cannot use follow mode with -timestamp" -timestamp 2026-01-31T12:00:00Z
  refused 2 "cannot use follow mode with -generation" -generation 9f0a5c2e6b7d8134
  refused 2 "cannot use -dry-run with -f" -dry-run
  refused 3 "no matching backup files available"
  refused 0 "no matching backups found" -if-replica-exists
  "$TOOLS/mkreplica" "$replica" 2
  touch "$copy"
  refused 4 "cannot resume follow mode: database exists but no -txid file found"
  refused 0 "database already exists, skipping" -if-db-not-exists
  rm "$copy"
  run "$LITESTREAM" restore -f -follow-interval 0 -o "$copy" "$url"
  [[ "$status" -eq 2 && "$output" == *"longer than nothing"* ]]
  run "$LITESTREAM" restore -follow-interval 1s -o "$copy" "$url"
  [[ "$status" -eq 2 ]]
  run "$LITESTREAM" restore -f -o "$copy" "file://$(realpath "$BATS_TEST_DIRNAME/../data/litestream-0.3.13")"
  [[ "$status" -eq 3 && "$output" == *"which nobody can follow"* ]]
  # An ordinary restore leaves nothing of a follower that was there.
  follow f
  end f
  rm "$copy"
  "$LITESTREAM" restore -o "$copy" "$url" >/dev/null
  [[ ! -e copy.db-txid && ! -e .copy.db-follow ]]
}
