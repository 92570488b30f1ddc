#!/usr/bin/env bash
# swift.sh start DIR | stop DIR
# The second real S3 server for tests: OpenStack Swift with its S3 API on free ports of 127.0.0.1,
# without root. It is stricter than radosgw (region, Content-MD5 on DeleteObjects) and answers 501 to a
# conditional PUT. `start` prints the same KEY=VALUE lines as ceph.sh with LITESTREAM_TEST_SWIFT_ instead
# of LITESTREAM_TEST_S3_, without TLS and without another user, and with _REGION.
# Exit code 77: a program that is needed is not installed.
set -eo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=tests/servers/lib.sh
source "$HERE/lib.sh"

readonly ACCESS_KEY=test:tester
readonly SECRET_KEY=testing
readonly BUCKET=litestream-test
readonly REGION=us-east-1

need() {
  local program
  for program in memcached swift-ring-builder curl python3; do
    command -v "$program" >/dev/null && continue
    echo "swift.sh: $program is not installed" >&2
    exit 77
  done
  /usr/bin/python3 -c 'import swift.proxy.server, swift.obj.server' 2>/dev/null || {
    echo "swift.sh: Swift's Python packages are not installed" >&2
    exit 77
  }
}

common_config() {
  local dir="$1" port="$2"
  cat <<CONF
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $port
workers = 0
user = $(id -un)
swift_dir = $dir/etc
devices = $dir/node
mount_check = false
disable_fallocate = true
recon_cache_path = $dir/recon
log_address = /nonexistent
log_level = WARNING
lock_path = $dir/lock
# An object's PUT waits for its container: listings are never late, however busy the machine.
container_update_timeout = 10
CONF
}

write_ring() {
  local dir="$1" name="$2" port="$3"
  (
    cd "$dir/etc"
    rm -f "$name.builder" "$name.ring.gz"
    swift-ring-builder "$name.builder" create 2 1 0
    swift-ring-builder "$name.builder" add "r1z1-127.0.0.1:$port/d1" 1
    swift-ring-builder "$name.builder" rebalance
  )
}

write_storage_config() {
  local dir="$1" kind="$2" port="$3"
  {
    common_config "$dir" "$port"
    printf '[pipeline:main]\npipeline = %s-server\n[app:%s-server]\nuse = egg:swift#%s\n' "$kind" "$kind" "$kind"
  } >"$dir/etc/$kind-server.conf"
}

write_proxy_config() {
  local dir="$1" port="$2" memcached="$3" filter
  {
    common_config "$dir" "$port"
    cat <<CONF
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache s3api tempauth bulk slo dlo versioned_writes symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:$memcached
[filter:s3api]
use = egg:swift#s3api
location = $REGION
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = $SECRET_KEY .admin
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
CONF
    for filter in catch_errors gatekeeper healthcheck bulk slo dlo symlink; do
      printf '[filter:%s]\nuse = egg:swift#%s\n' "$filter" "$filter"
    done
  } >"$dir/etc/proxy-server.conf"
}

healthy() {
  [[ "$(curl -s --max-time 5 "http://127.0.0.1:$1/healthcheck")" == OK ]]
}

answers() {
  curl -s -o /dev/null --max-time 5 "http://127.0.0.1:$1/"
}

s3_client() {
  local dir="$1"
  shift
  S3_ENDPOINT="$(sed -n 's/^LITESTREAM_TEST_SWIFT_ENDPOINT=//p' "$dir/env.new")" S3_ACCESS_KEY_ID="$ACCESS_KEY" \
  S3_SECRET_ACCESS_KEY="$SECRET_KEY" S3_REGION="$REGION" "$HERE/s3.py" "$@"
}

print_env() {
  cat <<ENV
LITESTREAM_TEST_SWIFT_ENDPOINT=http://127.0.0.1:$1
LITESTREAM_TEST_SWIFT_ACCESS_KEY_ID=$ACCESS_KEY
LITESTREAM_TEST_SWIFT_SECRET_ACCESS_KEY=$SECRET_KEY
LITESTREAM_TEST_SWIFT_REGION=$REGION
LITESTREAM_TEST_SWIFT_BUCKET=$BUCKET
ENV
}

write_configs() {
  local dir="$1" proxy="$2" account="$3" container="$4" object="$5" memcached="$6"
  rm -rf "$dir/node" "$dir/recon" # a start is a start from empty
  mkdir -p "$dir/etc" "$dir/node/d1" "$dir/recon" "$dir/lock" "$dir/log"
  printf '[swift-hash]\nswift_hash_path_suffix = test\nswift_hash_path_prefix = test\n' >"$dir/etc/swift.conf"
  write_storage_config "$dir" account "$account"
  write_storage_config "$dir" container "$container"
  write_storage_config "$dir" object "$object"
  write_proxy_config "$dir" "$proxy" "$memcached"
  {
    write_ring "$dir" account "$account"
    write_ring "$dir" container "$container"
    write_ring "$dir" object "$object"
  } >"$dir/log/rings" 2>&1
}

try_start() {
  local dir="$1" ports kind port user=()
  read -r -a ports < <(free_ports 5)
  write_configs "$dir" "${ports[@]}" || return 1
  [[ "$(id -u)" -ne 0 ]] || user=(-u nobody)
  detach "$dir" "$dir/log/memcached" memcached -l 127.0.0.1 -p "${ports[4]}" -U 0 -m 32 "${user[@]}"
  for kind in account container object proxy; do
    SWIFT_ETC="$dir/etc" detach "$dir" "$dir/log/$kind" \
      /usr/bin/python3 "$HERE/swift-run.py" "$kind-server" "$dir/etc/$kind-server.conf"
  done
  wait_for 60 healthy "${ports[0]}" || return 1
  for port in "${ports[@]:1:3}"; do
    wait_for 20 answers "$port" || return 1
  done
  print_env "${ports[0]}" >"$dir/env.new"
  wait_for 20 s3_client "$dir" mb "$BUCKET" || return 1
  all_alive "$dir" || return 1
  mv "$dir/env.new" "$dir/env"
}

start() {
  local dir="$1" attempt
  need
  mkdir -p "$dir"
  dir="$(cd "$dir" && pwd)"
  if [[ -f "$dir/env" && -f "$dir/pids" ]] && all_alive "$dir"; then
    cat "$dir/env"
    return 0
  fi
  for attempt in 1 2 3; do
    stop_all "$dir"
    if try_start "$dir"; then
      cat "$dir/env"
      return 0
    fi
  done
  stop_all "$dir"
  echo "swift.sh: Swift did not start in $attempt attempts, the last words are:" >&2
  tail -n 20 "$dir"/log/* >&2 || true
  return 1
}

case "$1:$#" in
  start:2) start "$2" ;;
  stop:2) stop_all "$2" ;;
  *)
    echo "usage: swift.sh start DIR | stop DIR" >&2
    exit 2
    ;;
esac
