#!/usr/bin/env bats
# What a worker or a job can reach, seen from inside: `intruder` runs in the place of the worker's
# program, as somebody would who has taken one over, and tries. Then what real workers do all the same:
# name resolution, TLS, folders and resolvers that are replaced while they run. Needs root.

load ../lib/scenario
load ../lib/daemon

setup_file() { s3_start; }

# need KIND: skips where this machine hasn't got it.
need() {
  daemon -confinement "$1" || skip "no confinement by $1 here: $(tail -n 1 "$BATS_TEST_TMPDIR/litestreamd.err")"
  end litestreamd
}

# The intruder instead of `litestream`; ORDERS for app one are read from standard input.
intrude() {
  cp "$TOOLS/intruder" "$ROOT/bin/"
  cat >"$ROOT/storage/one--db/orders"
  rm -f "$ROOT/storage/one--db/answers"
  daemon -litestream "$ROOT/bin/intruder" -watchdog 1h "$@"
  poll test -e "$ROOT/storage/one--db/answers"
  cat "$ROOT/storage/one--db/answers"
}

# answer ORDER: what came of it.
answer() { sed -n "s|^$1: ||p" "$ROOT/storage/one--db/answers"; }
allowed() {
  local order
  for order in "$@"; do
    [[ "$(answer "$order")" == ok* ]] || echo "not allowed: $order: $(answer "$order")"
  done
}
refused() {
  local order
  for order in "$@"; do
    [[ -n "$(answer "$order")" && "$(answer "$order")" != ok* ]] || echo "not refused: $order: $(answer "$order")"
  done
}
nothing() { [[ -z "$(cat)" ]]; }

# Two more apps: one of the same user, one of another.
neighbours() {
  app one $ALICE
  app two $ALICE
  app three $BOB
  echo '{"access_key_id": "AKIDEXAMPLE", "secret_access_key": "hush"}' | put "$DATA/secrets/two.json"
  spawn sleeper "${as_alice[@]}" sleep 3600
  dir="$ROOT/storage/one--db" neighbour="$ROOT/storage/two--db"
  state="$DATA/state/one-0123456789abcdef"
  secret=(
    "read /etc/shadow" "list /etc/ssh" "list /root" "list /home" "list /var" "list /run"
    "read $neighbour/app.db" "write $neighbour/new" "list $neighbour" "read $ROOT/storage/three--db/app.db"
    "read $DATA/secrets/two.json" "list $DATA/desired"
    "list $DATA/state/two-0123456789abcdef" "list $ROOT/replicas/two" "read $ROOT/log/two.log"
    "write /usr/new" "write /etc/new" "write /etc/resolv.conf" "write /new" "write $ROOT/new" "write /tmp/new.$(basename "$ROOT")"
    "write /dev/new" "write $ROOT/bin/intruder" "write /proc/sys/vm/drop_caches" "read $dir/stolen"
    "trace $(pid_of sleeper)" "read /proc/$(pid_of sleeper)/environ" "list /proc/$(pid_of sleeper)/root"
    "mount /usr" "node $dir/node" "chroot $dir"
  )
  own=(
    "read $dir/app.db" "write $dir/new" "link $neighbour/app.db $dir/stolen" "list $dir" "write $state/new"
    "list $state" "write $ROOT/replicas/one/new" "read /etc/resolv.conf" "read /etc/hosts" "read /dev/urandom"
    "write /dev/null" "list /etc/ssl/certs" "list /usr/lib" "read /proc/self/status" "resolve localhost" ids
  )
  # In a namespace the way to its own folders is there, and nothing beside it.
  ways=("list $ROOT/storage" "list $DATA/state")
}

try_everything() {
  local kind="$1"
  need "$kind"
  neighbours
  intrude -confinement "$kind" \
    < <(printf '%s\n' "${own[@]}" "${secret[@]}" "${ways[@]}" "become 0" "signal $(pid_of sleeper)")
  { allowed "${own[@]}" && refused "${secret[@]}" "become 0"; } | tee /dev/stderr | nothing
  [[ "$(answer ids)" == "ok: $ALICE $ALICE" && "$(answer "resolve localhost")" == "ok: 127.0.0.1" ]]
  alive sleeper
  [[ ! -e "$neighbour/new" && ! -e "$ROOT/new" && ! -e /usr/new && ! -e /etc/new && ! -e "/tmp/new.$(basename "$ROOT")" ]]
}

@test "a worker that was taken over, in a mount namespace" {
  try_everything namespace
  is one confinement "mount namespace"
  # It is alone: no process of its own user can even be named, no socket of the host be reached.
  refused "signal $(pid_of sleeper)" | tee /dev/stderr | nothing
  [[ "$(answer "read /etc/shadow")" == "No such file or directory" ]]
  [[ "$(answer "list $neighbour")" == "No such file or directory" ]]
  [[ "$(answer "${ways[0]}")" == "ok: one--db" && "$(answer "${ways[1]}")" == "ok: one-0123456789abcdef" ]]
}

@test "a worker that was taken over, under Landlock" {
  try_everything landlock
  is one confinement landlock
  refused "${ways[@]}" | tee /dev/stderr | nothing
  [[ "$(answer "list $neighbour")" == "Permission denied" ]]
}

@test "a worker of root that was taken over has no more" {
  local kind dir
  need namespace
  need landlock
  for kind in namespace landlock; do
    rm -rf "$ROOT/storage/one--db" "$DATA"
    neighbours
    chown -R 0:0 "$dir" "$ROOT/replicas/one"
    desire one 0 true
    intrude -confinement "$kind" < <(printf '%s\n' "${own[@]}" "${secret[@]}" "become $BOB")
    { allowed "${own[@]}" && refused "${secret[@]}" "become $BOB"; } | tee /dev/stderr | nothing
    [[ "$(answer ids)" == "ok: 0 0" ]]
    end litestreamd
    end sleeper || true
  done
}

@test "a job has the folder it is about, and a restore can't write to its replica" {
  need namespace
  need landlock
  local kind source
  for kind in namespace landlock; do
    rm -rf "$DATA"
    neighbours
    source="file://$ROOT/replicas/one"
    desire one $ALICE false
    cp "$TOOLS/intruder" "$ROOT/bin/"
    printf '%s\n' "read $dir/app.db" "write $dir/new" "write $ROOT/replicas/one/new" "list $ROOT/replicas/one" \
      "write $ROOT/replicas/one/newer" "${secret[@]}" >"$dir/orders"
    daemon -litestream "$ROOT/bin/intruder" -confinement "$kind"
    ctl check one "$dir" app.db "$source"
    { allowed "read $dir/app.db" "write $dir/new" "write $ROOT/replicas/one/new" && refused "${secret[@]}"; } \
      | tee /dev/stderr | nothing
    rm -f "$ROOT/replicas/one"/*
    ctl restore "$dir" other.db "$source"
    { allowed "write $dir/new" "list $ROOT/replicas/one" && refused "write $ROOT/replicas/one/newer" "${secret[@]}"; } \
      | tee /dev/stderr | nothing
    end litestreamd
    end sleeper || true
  done
}

@test "without either, what the user's rights allow" {
  app one $ALICE
  intrude -confinement none < <(printf '%s\n' "read /etc/passwd" "read /etc/shadow" "become 0")
  is one confinement none
  allowed "read /etc/passwd" | tee /dev/stderr | nothing
  refused "read /etc/shadow" "become 0" | tee /dev/stderr | nothing
}

@test "a replica that isn't there: none is made by who only looks for it, or deletes" {
  local kind dir="$ROOT/storage/copy--db" url="file://$ROOT/replicas/none/deep"
  mkdir "$dir"
  chown $ALICE:$ALICE "$dir"
  chmod 0777 "$ROOT/replicas"
  for kind in none landlock namespace; do
    need "$kind"
    app one $ALICE
    daemon -confinement "$kind"
    ctl wait one
    run ctl restore "$dir" a.db "$url"
    [[ "$status" -eq 3 && "$output" == *"the replica is empty"* ]]
    run ctl look one "$ROOT/storage/one--db" app.db "$url"
    [[ "$status" -eq 0 && "$output" == *'"latest": null'* ]]
    run ctl discover "$url"
    [[ "$status" -eq 3 ]]
    # Of a replica that was there: its folder is gone, and stays so.
    desire one $ALICE false
    poll is one state stopped
    rm -r "$ROOT/replicas/one"
    run ctl purge -app one "$ROOT/storage/one--db" app.db "file://$ROOT/replicas/one"
    [[ -z "$(find "$ROOT/replicas" "$dir" -mindepth 1)" ]]
    end litestreamd
    rm -rf "$DATA" "$ROOT/storage/one--db"
  done
}

@test "a thousand databases in folders of their own" {
  local kind
  mkdir -p "$ROOT"/storage/{0..9}/{0..9}/{0..9}/{deep,deeper}/db
  chown -R $ALICE:$ALICE "$ROOT/storage"
  for kind in namespace landlock; do
    need "$kind"
    desire one $ALICE true
    jq --arg root "$ROOT" '.databases[0] as $d | .databases = [range(1000) | tostring as $n | $d + {id: "one-\($n)",
      storage_dir: ("\($root)/storage/" + ("00\($n)"[-3:] | split("") | join("/")) + "/deep/db"), replica: "file://\($root)/replicas/\($n)"}]' \
      "$DATA/desired/one.json" | put "$DATA/desired/one.json"
    daemon -confinement "$kind"
    chown $ALICE "$ROOT/replicas"
    all_wait() { [[ "$(ctl status -json one | jq -c '[.apps[0].databases[].state] | unique')" == '["waiting"]' ]]; }
    poll all_wait
    end litestreamd
    rm -rf "$DATA" "$ROOT/replicas"/*
  done
}

@test "TLS to an S3 server, from inside" {
  need_s3
  local kind url
  for kind in namespace landlock; do
    need "$kind"
    app one $ALICE
    jq -n --arg key "$LITESTREAM_TEST_S3_ACCESS_KEY_ID" --arg secret "$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY" \
      '{access_key_id: $key, secret_access_key: $secret}' | put "$DATA/secrets/--global.json"
    url="$(s3_url "$kind")"
    url="${url%%\?*}?endpoint=$LITESTREAM_TEST_S3_TLS_ENDPOINT"
    desire one $ALICE true
    jq --arg url "$url" '.databases[0].replica = $url' "$DATA/desired/one.json" | put "$DATA/desired/one.json"
    cp "$LITESTREAM_TEST_S3_CA_FILE" "$ROOT/ca.pem"
    SSL_CERT_FILE="$ROOT/ca.pem" daemon -confinement "$kind"
    ctl wait one
    sql one $ALICE 'INSERT INTO t VALUES (1)'
    ctl sync one
    ctl restore "$ROOT/storage/one--db" "$kind.db" "$url"
    [[ "$(sqlite3 "$ROOT/storage/one--db/$kind.db" 'SELECT n FROM t')" == 1 ]]
    end litestreamd
    rm -rf "$DATA" "$ROOT/storage/one--db"
  done
}

# A name server that knows one name: dns ADDRESS ANSWER
dns() {
  rm -f "$BATS_TEST_TMPDIR/dns$2.out"
  spawn "dns$2" python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 53))
print("up", flush=True)
while True:
    q, peer = s.recvfrom(512)
    end = q.index(b"\0", 12) + 5
    known = q[12:end - 5] == b"\x05store\x04test" and q[end - 4:end - 2] == b"\0\1"
    head = q[:2] + b"\x85\x80" + q[4:6] + (b"\0\1" if known else b"\0\0") + b"\0\0\0\0"
    body = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(sys.argv[2]) if known else b""
    s.sendto(head + q[12:end] + body, peer)' "$1" "$2"
  poll grep -q up "$BATS_TEST_TMPDIR/dns$2.out"
}

# An /etc for the daemon alone, so that a test may change it: etc_apart NAMESERVER.
etc_apart() {
  cp -a /etc "$ROOT/etc"
  rm -f "$ROOT/etc/resolv.conf"
  echo "nameserver $1" >"$ROOT/etc/resolv.conf"
  printf 'hosts: files dns\n' >"$ROOT/etc/nsswitch.conf"
}
# daemon_in_etc FLAG...: with that and with mounts of its own.
daemon_in_etc() {
  spawn litestreamd unshare --mount sh -c 'mount --bind "$0/etc" /etc && exec "$@"' "$ROOT" "$ROOT/bin/litestreamd" \
    -data-dir "$DATA" -socket "$ROOT/run/control.sock" -log-dir "$ROOT/log" -storage-root "$ROOT/storage" \
    -user root -group "$SOCKET_GROUP" -recheck 1h -backoff 200ms -max-backoff 2s "$@"
  poll ctl info
}
daemon_apart() {
  etc_apart "$1"
  daemon_in_etc "${@:2}"
}

@test "names are resolved, also by another resolver while the worker runs" {
  local kind
  for kind in namespace landlock; do
    need "$kind"
    app one $ALICE
    dns 127.77.53.1 127.0.0.11
    dns 127.77.53.2 127.0.0.12
    cp "$TOOLS/intruder" "$ROOT/bin/"
    echo "resolve store.test" >"$ROOT/storage/one--db/orders"
    daemon_apart 127.77.53.1 -litestream "$ROOT/bin/intruder" -watchdog 1h -confinement "$kind"
    resolved() { [[ "$(answer "resolve store.test")" == "ok: $1" ]]; }
    poll resolved 127.0.0.11
    # As DHCP clients and resolvconf do it.
    echo "nameserver 127.77.53.2" >"$ROOT/etc/resolv.conf.new"
    mv "$ROOT/etc/resolv.conf.new" "$ROOT/etc/resolv.conf"
    poll resolved 127.0.0.12
    # As systemd-resolved does it: through a link, replaced in another folder.
    mkdir "$ROOT/resolve"
    echo "nameserver 127.77.53.1" >"$ROOT/resolve/stub.conf"
    ln -s "$ROOT/resolve/stub.conf" "$ROOT/etc/resolv.conf.new"
    mv "$ROOT/etc/resolv.conf.new" "$ROOT/etc/resolv.conf"
    poll resolved 127.0.0.11
    echo "nameserver 127.77.53.2" >"$ROOT/resolve/stub.new"
    mv "$ROOT/resolve/stub.new" "$ROOT/resolve/stub.conf"
    poll resolved 127.0.0.12
    end litestreamd
    end dns127.0.0.11 || true
    end dns127.0.0.12 || true
    rm -rf "$ROOT/etc" "$ROOT/resolve" "$ROOT/storage/one--db"
  done
}

@test "an /etc/hosts of megabytes is read, and another one in its place" {
  local kind
  for kind in namespace landlock; do
    need "$kind"
    app one $ALICE
    cp "$TOOLS/intruder" "$ROOT/bin/"
    echo "resolve far.test" >"$ROOT/storage/one--db/orders"
    # As /etc, which becomes the daemon's.
    long_hosts() {
      seq -f '0.0.0.0 ad%.0f.test' 200000
      echo "$1 far.test"
    }
    etc_apart 127.77.53.9
    long_hosts 127.0.0.21 >"$ROOT/etc/hosts"
    [[ "$(stat -c %s "$ROOT/etc/hosts")" -gt 3000000 ]]
    daemon_in_etc -litestream "$ROOT/bin/intruder" -watchdog 1h -confinement "$kind"
    far() { [[ "$(answer "resolve far.test")" == "ok: $1" ]]; }
    poll far 127.0.0.21
    long_hosts 127.0.0.22 >"$ROOT/etc/hosts.new"
    mv "$ROOT/etc/hosts.new" "$ROOT/etc/hosts"
    poll far 127.0.0.22
    end litestreamd
    rm -rf "$ROOT/etc" "$ROOT/storage/one--db"
  done
}

@test "a storage folder that is made anew, or mounted over, is the one that counts" {
  local kind pid dir="$ROOT/storage/one--db"
  for kind in namespace landlock; do
    need "$kind"
    app one $ALICE
    daemon_apart 127.0.0.1 -confinement "$kind"
    ctl wait one
    sql one $ALICE 'INSERT INTO t VALUES (1)'
    ctl sync one
    pid="$(worker_of one)"
    [[ "$(stat -c %d:%i "$dir")" == "$(stat -c %d:%i "/proc/$pid/root$dir")" ]]
    # Nothing is left of it: then the same database in another folder, from the replica.
    rm -rf "$dir"
    poll is one state refused
    # Never seen as another owner's: nothing would tell of the change.
    mkdir "$ROOT/made"
    chown $ALICE:$ALICE "$ROOT/made"
    mv -T "$ROOT/made" "$dir"
    poll is one state waiting
    ctl restore "$dir" app.db "file://$ROOT/replicas/one"
    poll is one state replicating
    sql one $ALICE 'INSERT INTO t VALUES (2)'
    ctl sync one
    [[ "$(restored one 'SELECT count(*) FROM t')" == 2 ]]
    # A volume, mounted over it: an empty one must not become "latest".
    nsenter --target "$(pid_of litestreamd)" --mount mount -t tmpfs -o "mode=0700,uid=$ALICE,gid=$ALICE" volume "$dir"
    poll is one state waiting
    nsenter --target "$(pid_of litestreamd)" --mount umount "$dir"
    poll is one state replicating
    sql one $ALICE 'INSERT INTO t VALUES (3)'
    ctl sync one
    [[ "$(restored one 'SELECT count(*) FROM t')" == 3 ]]
    # A file replica's folder as well.
    mv "$ROOT/replicas/one" "$ROOT/replicas/moved"
    cp -a "$ROOT/replicas/moved" "$ROOT/replicas/one"
    pid="$(worker_of one)"
    nsenter --target "$(pid_of litestreamd)" --mount sh -c 'mount -t tmpfs nothing /mnt && umount /mnt'
    other() { [[ "$(worker_of one)" -gt 0 && "$(worker_of one)" != "$pid" ]] && is one state replicating; }
    poll other
    sql one $ALICE 'INSERT INTO t VALUES (4)'
    ctl sync one
    [[ "$(restored one 'SELECT count(*) FROM t')" == 4 ]]
    end litestreamd
    rm -rf "$dir" "$DATA" "$ROOT/etc" "$ROOT/replicas"/*
  done
}
