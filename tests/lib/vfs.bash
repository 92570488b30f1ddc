#!/usr/bin/env bash
# vfs.bash - Litestream's own SQLite extension (npm litestream-vfs 0.5.17), which reads a replica and writes it.
# Loaded after scenario.bash and npm.bash.

# In setup_file: finds it.
vfs_find() {
  local dir
  if dir="$(npm_package "litestream-vfs-linux-$(npm_machine amd64 arm64)@0.5.17" 2>"$BATS_FILE_TMPDIR/npm")"; then
    export VFS="$dir/litestream-vfs.so"
  else
    VFS_MISSING="$(cat "$BATS_FILE_TMPDIR/npm")"
    export VFS_MISSING
  fi
}

# First in a test that needs it.
need_vfs() { [[ -z "$VFS_MISSING" ]] || skip "no litestream-vfs here: $VFS_MISSING"; }

# through_vfs URL SQL: asked of the replica itself, in a process that opens it afresh. An extension that
# is written in Go and loaded into a program built with ASan would be the test of something else: this
# sqlite3 is the system's.
through_vfs() {
  env -u AWS_CA_BUNDLE AWS_ACCESS_KEY_ID="$LITESTREAM_ACCESS_KEY_ID" AWS_SECRET_ACCESS_KEY="$LITESTREAM_SECRET_ACCESS_KEY" \
    LITESTREAM_REPLICA_URL="$1" timeout "$PATIENCE" \
    sqlite3 -cmd ".load $VFS" -cmd ".open 'file:app.db?vfs=litestream'" :memory: "$2"
}

# write_through_vfs URL SQL: the same in write mode. What it wrote is in the replica when it has ended.
write_through_vfs() {
  LITESTREAM_WRITE_ENABLED=true LITESTREAM_SYNC_INTERVAL=100ms LITESTREAM_BUFFER_PATH="$BATS_TEST_TMPDIR/vfs-buffer" \
    through_vfs "$@"
  rm -rf "$BATS_TEST_TMPDIR/vfs-buffer"*
}
