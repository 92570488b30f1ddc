#!/usr/bin/env bash
# peer.bash - Litestream itself, for tests beside it: 0.3.13 (out of npm), and 0.5 where there is one.
# Loaded after scenario.bash and npm.bash.

# In setup_file: finds the program.
peer_find() {
  local dir
  if dir="$(npm_package @flydotio/litestream@1.0.1 2>"$BATS_FILE_TMPDIR/npm")"; then
    PEER="$dir-linux-$(npm_machine x64 arm64)/litestream"
    export PEER
    [[ -x "$PEER" ]] || PEER_MISSING="it is not made for this machine"
  else
    PEER_MISSING="$(cat "$BATS_FILE_TMPDIR/npm")"
  fi
  export PEER_MISSING
}

# First in a test that needs it.
need_peer() { [[ -z "$PEER_MISSING" ]] || skip "no Litestream 0.3.13 here: $PEER_MISSING"; }

# peer_config NAME DB FOLDER|s3:PREFIX: NAME.yml. Quick, so that there are many segments.
peer_config() {
  local name="$1" db="$2" to="$3"
  {
    printf 'dbs:\n  - path: %s\n    monitor-interval: 20ms\n    min-checkpoint-page-count: %s\n    replicas:\n' "$db" "${CHECKPOINT_PAGES:-200}"
    if [[ "$to" == s3:* ]]; then
      printf '      - type: s3\n        bucket: %s\n        path: %s\n        endpoint: %s\n        region: us-east-1\n        force-path-style: true\n' \
        "$LITESTREAM_TEST_S3_BUCKET" "${to#s3:}" "$LITESTREAM_TEST_S3_ENDPOINT"
    else
      printf '      - type: file\n        path: %s\n' "$to"
    fi
    printf '        sync-interval: 20ms\n'
  } >"$BATS_TEST_TMPDIR/$name.yml"
}

# peer_replicate NAME DB TARGET: begins, and returns when its snapshot is there. Its last sync comes with
# its end: `end NAME`.
peer_replicate() {
  peer_config "$@"
  spawn "$1" "$PEER" replicate -config "$BATS_TEST_TMPDIR/$1.yml"
  poll grep -q 'snapshot written' "$BATS_TEST_TMPDIR/$1.out"
}

# peer_restore NAME DB OUT [FLAG…]: its own restore of the same replica. Leaves OUT alone.
peer_restore() {
  local name="$1" db="$2" out="$3"
  shift 3
  "$PEER" restore -config "$BATS_TEST_TMPDIR/$name.yml" "$@" -o "$out" "$db" >"$BATS_TEST_TMPDIR/peer-restore.log" 2>&1 || {
    cat "$BATS_TEST_TMPDIR/peer-restore.log"
    return 1
  }
  rm -f "$out".tmp-*
}

# peer_end NAME: SIGTERM, and its last sync. Its exit code says nothing: 0.3 ends with 1 when that sync met
# a writer.
peer_end() {
  kill -TERM "$(pid_of "$1")"
  finish "$1" 2>/dev/null || true
}

# ---- 0.5 ----

# First in a test that needs it: the program is $PEER_05.
need_05() {
  if [[ -z "$PEER_05" && -n "$FULL" ]] && command -v go >/dev/null; then
    PEER_05="$BUILD/go/bin/litestream"
    [[ -x "$PEER_05" ]] || GOBIN="$BUILD/go/bin" go install github.com/benbjohnson/litestream/cmd/litestream@v0.5.18
  fi
  [[ -n "$PEER_05" ]] || skip "no Litestream 0.5 here: give PEER_05, or FULL=1 with Go"
}
