#!/usr/bin/env bats
# Several replicas of one database, by litestream.yml: each at its own pace, whatever becomes of the others.

load ../lib/scenario

setup() {
  own_folder
  export LITESTREAM_CONFIG="$PWD/litestream.yml"
  two_replicas
}

# both [NAME]: replicate, with its socket and that of the second process.
both() {
  rm -f "$PWD/r.sock" "$PWD/r.sock.2"
  spawn "${1:-r}" "$LITESTREAM" replicate -socket "$PWD/r.sock"
  poll test -S "$PWD/r.sock"
  poll test -S "$PWD/r.sock.2"
}

sync_first() { "$LITESTREAM" sync -wait -timeout "$PATIENCE" -socket "$PWD/r.sock" "$db"; }
sync_second() { "$LITESTREAM" sync -wait -timeout "$PATIENCE" -socket "$PWD/r.sock.2" "$db"; }
children() { pgrep -P "$(pid_of r)"; }

@test "replicas: both have all, each its own state folder, also when the order changes" {
  "$TOOLS/writer" -w 1 -n 300 -a ack "$db" >/dev/null
  both
  sync_first
  sync_second
  end r
  [[ "$(find . -maxdepth 1 -name '.app.db-litestream*' | wc -l)" -eq 2 ]]
  same_as_source "$db" "file://$PWD/near" near.db
  same_as_source "$db" "file://$PWD/far" far.db
  # The other way round, and no third folder.
  sed -i 's#/near#/X#; s#/far#/near#; s#/X#/far#; /name: far/d' "$LITESTREAM_CONFIG"
  "$TOOLS/writer" -w 1 -n 100 -a ack "$db" >/dev/null
  both
  sync_first
  sync_second
  end r
  run grep -E 'beginning anew|a first upload|fenced' r.err
  [[ "$status" -eq 1 ]]
  [[ "$(find . -maxdepth 1 -name '.app.db-litestream*' | wc -l)" -eq 2 ]]
  rm near.db far.db
  same_as_source "$db" "file://$PWD/near" near.db
  same_as_source "$db" "file://$PWD/far" far.db
}

@test "replicas: one whose store doesn't answer holds up neither the other nor the WAL" {
  sed -i "s#path: $PWD/far#url: s3://bucket/far?endpoint=http://127.0.0.1:1\n        access-key-id: k\n        secret-access-key: s#" "$LITESTREAM_CONFIG"
  echo "shutdown-sync-timeout: 500ms" >>"$LITESTREAM_CONFIG"
  "$TOOLS/writer" -w 1 -n 1 -a ack "$db" >/dev/null
  both
  sync_first
  "$TOOLS/writer" -w 1 -n 3000 -a ack "$db" >/dev/null
  sync_first
  restore near.db "file://$PWD/near"
  "$TOOLS/checker" near.db "1:$(acked ack)"
  end r
  grep -q 'replica 1: .*all shipped' r.err
  grep -q 'replica 2: .*not all is shipped' r.err
}

both_ended() { has_ended "$1" && has_ended "$2"; }
two_new_children() {
  local now
  now="$(children)"
  [[ "$(wc -l <<<"$now")" -eq 2 ]] && ! grep -qx "$1" <<<"$now"
}

@test "replicas: kill -9 of one process, and of all, under load" {
  "$TOOLS/writer" -w 1 -n 1 -a ack "$db" >/dev/null
  both
  spawn app "$TOOLS/writer" -w 1 -r 500 -n 12000 -a ack "$db"
  local i victims victim
  for i in 0 1 0 1; do
    mapfile -t victims < <(children | sort -n)
    victim="${victims[i]}"
    kill -KILL "$victim"
    poll two_new_children "$victim"
    sleep 0.7
  done
  mapfile -t victims < <(children)
  kill -KILL "$(pid_of r)"
  poll both_ended "${victims[@]}"
  finish r || true
  both again
  finish app
  sync_first
  sync_second
  end again
  [[ "$(acked ack)" -eq 12001 ]]
  same_as_source "$db" "file://$PWD/near" near.db
  same_as_source "$db" "file://$PWD/far" far.db
  "$TOOLS/checker" far.db 1:12001
}

@test "replicas: a steady writer's WAL stays small beside two followers" {
  if sanitised; then skip "a sanitised build is too slow to keep up"; fi
  "$TOOLS/writer" -w 1 -n 1 -a ack "$db" >/dev/null
  both
  sync_first
  sync_second
  # Without giving way to each other they never let it shrink: 25 MB then, 4 MB now.
  "$TOOLS/writer" -w 1 -r 500 -n 5000 -a ack "$db" >/dev/null
  [[ "$(stat -c %s "$db-wal")" -lt 16777216 ]]
  end r
}

@test "replicas: restore takes the first, or the one that is named" {
  "$TOOLS/writer" -w 1 -n 20 -a ack "$db" >/dev/null
  both
  sync_first
  sync_second
  end r
  fold "$db"
  cp "$db" before.db
  rm -rf "$db"* near
  run "$LITESTREAM" restore "$db"
  [[ "$status" -eq 3 ]]
  "$LITESTREAM" restore -replica far "$db"
  "$TOOLS/pagecmp" "$db" before.db
  run "$LITESTREAM" restore -replica none -o x.db "$db"
  [[ "$status" -eq 2 && "$output" == *"there are file, far"* ]]
  [[ "$("$LITESTREAM" databases -json | jq -r '.[0].replica')" == file,far ]]
  # And on from there, both.
  both
  "$TOOLS/writer" -w 1 -n 5 -a ack "$db" >/dev/null
  sync_second
  end r
  same_as_source "$db" "file://$PWD/far" far.db
}

@test "replicas: several URLs on the command line, and a missing database from the one that has it" {
  "$TOOLS/writer" -w 1 -n 100 -a ack "$db" >/dev/null
  spawn far "$LITESTREAM" replicate -socket "$PWD/far.sock" "$db" "file://$PWD/far"
  poll test -S far.sock
  sync_now far "$db"
  end far
  rm -rf app.db* .app.db-litestream
  spawn r "$LITESTREAM" replicate -restore-if-db-not-exists -socket "$PWD/r.sock" "$db" "file://$PWD/near" "file://$PWD/far"
  poll test -S "$PWD/r.sock.2"
  grep -q "nothing was ever at file://$PWD/near" r.err
  grep -q "restored from file://$PWD/far" r.err
  sync_first
  sync_second
  end r
  same_as_source "$db" "file://$PWD/near" near.db
  same_as_source "$db" "file://$PWD/far" far.db
}

# A restore is from one replica; the other one's state knows the former file.
@test "replicas: after a restore all go on, also while replicate runs" {
  "$TOOLS/writer" -w 1 -n 50 -a ack "$db" >/dev/null
  both
  sync_first
  sync_second
  rm "$db" "$db"-*
  "$LITESTREAM" restore "$db"
  poll sync_first
  poll sync_second
  "$TOOLS/writer" -w 1 -n 5 -a ack "$db" >/dev/null
  sync_first
  sync_second
  end r
  # In its place, to an earlier state, from the second one.
  "$LITESTREAM" restore -force -replica far -txid 1 "$db"
  both
  "$TOOLS/writer" -w 2 -n 5 -a ack2 "$db" >/dev/null
  sync_first
  sync_second
  end r
  run grep -E 'replaced|a first upload|fenced' r.err
  [[ "$status" -eq 1 ]]
  same_as_source "$db" "file://$PWD/near" near.db
  same_as_source "$db" "file://$PWD/far" far.db
}

@test "replicas: a file that nobody restored stops all" {
  "$TOOLS/writer" -w 1 -n 50 -a ack "$db" >/dev/null
  both
  sync_first
  sync_second
  end r
  run "$LITESTREAM" restore -force -txid ffff "$db"
  [[ "$status" -eq 3 ]]
  cp "$db" x.db
  mv x.db "$db"
  both
  poll grep -q "replica 1: .*: replaced" r.err
  poll grep -q "replica 2: .*: replaced" r.err
}
