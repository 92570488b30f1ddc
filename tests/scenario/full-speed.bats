#!/usr/bin/env bats
# Two processes write numbered commits at full speed, a third reads, a fourth truncates the WAL; the
# replicator runs beside them. What was acknowledged before a sync is in the store, and what is in the
# store is one state of the source, page for page.
#
# FULL=1, for a quiet machine, writes for 30 s and demands the durations and a WAL below 64 MB; otherwise it is
# 8 s, the durations are only told, and the WAL may have four times the size: writers of 250 MB/s fill that while
# others keep the replicator from the processor for 100 ms. Of a sanitised build nothing of that is demanded:
# there the replicator is several times slower and SQLite in the writers is not.
# alone
# plain

load ../lib/scenario

setup_file() { s3_start; }

setup() {
  own_folder
  seconds=8
  [[ -z "$FULL" ]] || seconds=30
  "$TOOLS/writer" -w 1 -n 1 -a ack1 "$db" >/dev/null
  "$TOOLS/writer" -w 2 -n 1 -a ack2 "$db" >/dev/null
}

# apps PREFIX: the four processes, for $seconds. In the first half nobody truncates: the WAL is kept
# small by SQLite's and the replicator's own checkpoints alone.
apps() {
  spawn "$1writer1" "$TOOLS/writer" -w 1 -t "$seconds" -a ack1 "$db"
  spawn "$1writer2" "$TOOLS/writer" -w 2 -t "$seconds" -S 2 -a ack2 "$db"
  spawn "$1reader" "$TOOLS/reader" -t "$seconds" "$db"
  spawn "$1watcher" "$TOOLS/truncater" -i 0 -t "$seconds" "$db"
}

tell_speeds() {
  echo "# largest WAL $(($1 / 1048576)) MB" >&3
  tell_truncates truncater.out "$2"
}
# tell_truncates FILE WHAT
tell_truncates() {
  echo "# $2, $seconds s${FULL:+ (FULL)}: $(json commits writer1.out) + $(json commits writer2.out) commits," \
    "$(json truncate_calls "$1") truncates with $(json truncate_busy "$1") busy, p99 $(($(json truncate_p99_us "$1") / 1000)) ms" >&3
}
quick_and_not_busy() {
  [[ "$(json truncate_p99_us "$1")" -le 15000 ]]
  [[ $(($(json truncate_busy "$1") * 100)) -lt "$(json truncate_calls "$1")" ]]
}

full_speed() {
  local url="$1" noted1 noted2 wal
  replicate ship "$db" "$url"
  sync_now ship "$db"
  apps ''
  sleep $((seconds / 2))
  spawn truncater "$TOOLS/truncater" -t $((seconds / 2)) "$db"

  # While they go on writing: what is acknowledged now is in the store after a sync.
  noted1="$(acked ack1)" noted2="$(acked ack2)"
  sync_now ship "$db"
  restore during.db "$url"
  "$TOOLS/checker" during.db "1:$noted1" "2:$noted2"

  local name
  for name in writer1 writer2 reader watcher truncater; do
    finish "$name"
  done
  sync_now ship "$db"
  end ship
  wal="$(json wal_max_bytes watcher.out)"
  tell_speeds "$wal" "${url%%:*}"
  same_as_source "$db" "$url" after.db
  "$TOOLS/checker" after.db "1:$(acked ack1)" "2:$(acked ack2)"
  # Really at speed: a few thousand commits between the two syncs, not two.
  [[ "$(acked ack1)" -gt 1000 && "$(acked ack2)" -gt 1000 ]]
  local most=256
  [[ -z "$FULL" ]] || most=64
  sanitised || [[ "$wal" -lt $((most * 1048576)) ]]
}

@test "full speed to a folder: nothing acknowledged is missing, all pages are the same" {
  full_speed "$url"
}

@test "full speed to S3: nothing acknowledged is missing, all pages are the same" {
  need_s3
  full_speed "$(s3_url full)"
}

# Two writers without a pause make TRUNCATE wait for the write lock even when nobody replicates, so the
# limit is for an app at 500 commits a second from each of two writers.
@test "the app's own TRUNCATE is quick and not busy beside the replicator" {
  seconds=$((seconds / 2))
  replicate ship "$db" "$url"
  sync_now ship "$db"
  spawn writer1 "$TOOLS/writer" -w 1 -r 500 -t "$seconds" -a ack1 "$db"
  spawn writer2 "$TOOLS/writer" -w 2 -r 500 -t "$seconds" -a ack2 "$db"
  spawn truncater "$TOOLS/truncater" -t "$seconds" "$db"
  local name
  for name in writer1 writer2 truncater; do
    finish "$name"
  done
  end ship
  tell_speeds "$(json wal_max_bytes truncater.out)" "500 commits a second each"
  [[ "$(json truncate_calls truncater.out)" -gt 10 ]]
  [[ -z "$FULL" ]] || quick_and_not_busy truncater.out
  same_as_source "$db" "$url" after.db
}

# An app that checkpoints itself: in between its own commits, without SQLite's automatic checkpoints, and with
# acknowledgements that are durable before it goes on. Without that last a writer hardly lets the write lock go, and
# no replicator can make TRUNCATE quicker than SQLite is by itself (docs/PERFORMANCE.md).
@test "an app's own TRUNCATE in between its commits, two writers at full speed" {
  [[ -n "$FULL" ]] || seconds=$((seconds / 2))
  replicate ship "$db" "file://$BATS_TEST_TMPDIR/replica"
  sync_now ship "$db"
  spawn writer1 "$TOOLS/writer" -w 1 -d -c 0 -k 50 -t "$seconds" -a ack1 "$db"
  spawn writer2 "$TOOLS/writer" -w 2 -d -c 0 -t "$seconds" -S 2 -a ack2 "$db"
  spawn reader "$TOOLS/reader" -t "$seconds" "$db"
  local name
  for name in writer1 writer2 reader; do
    finish "$name"
  done
  end ship
  tell_truncates writer1.out "in between"
  [[ "$(json truncate_calls writer1.out)" -gt 10 ]]
  [[ -z "$FULL" ]] || quick_and_not_busy writer1.out
  same_as_source "$db" "file://$BATS_TEST_TMPDIR/replica" after.db
  "$TOOLS/checker" after.db "1:$(acked ack1)" "2:$(acked ack2)"
}
