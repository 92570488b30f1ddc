#!/usr/bin/env bash
# ceph.sh start DIR | stop DIR | restart-gateway DIR
# A real S3 server for tests: Ceph's mon, one osd in memory, and radosgw, on free ports of 127.0.0.1,
# without root. `start` prints what the caller sets, as KEY=VALUE lines (and keeps them in DIR/env):
#   LITESTREAM_TEST_S3_ENDPOINT           http://127.0.0.1:PORT
#   LITESTREAM_TEST_S3_TLS_ENDPOINT       https://localhost:PORT
#   LITESTREAM_TEST_S3_CA_FILE            who signed its certificate
#   LITESTREAM_TEST_S3_ACCESS_KEY_ID, LITESTREAM_TEST_S3_SECRET_ACCESS_KEY
#   LITESTREAM_TEST_S3_OTHER_ACCESS_KEY_ID, LITESTREAM_TEST_S3_OTHER_SECRET_ACCESS_KEY
#                                         another user, who may not touch the bucket
#   LITESTREAM_TEST_S3_BUCKET             a bucket that exists
#   LITESTREAM_TEST_S3_GATEWAY_PIDFILE    radosgw's, for tests that stop or kill it
# Path style and virtual-host style (BUCKET.localhost) both work. A second start of a running DIR
# prints the same lines. With S3_STS=1 roles can be assumed at the same address (radosgw's STS), for seconds too; a
# wrong secret is then told as AccessDenied. With S3_AT_REST=1 there are a KMS with the key litestream-test, SSE-C and
# SSE-KMS over plain http, and a storage class COLD. In a network of the caller's own it can be another server than on loopback:
#   S3_PORTS="80 443"           its ports for http and https
#   CERTIFICATE_NAMES="…"       what its certificate is for besides
#   S3_DOMAIN=s3.example.com    another radosgw answers at 127.0.0.2's port for https, for BUCKET.s3.example.com;
#                               the first one knows path style only then, with every name for itself
# Exit code 77: a program that is needed is not installed.
set -eo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=tests/servers/lib.sh
source "$HERE/lib.sh"

readonly FSID=6c1d5a2e-0b0f-4f0e-9d7b-1f3f0c6c7a01
readonly OSD_ID=f2a2b4de-6d4b-44fb-8a0c-5f8a3a6f9d02
readonly ACCESS_KEY=LITESTREAMTESTKEY
readonly SECRET_KEY=Litestream/Test+Secret # with what signing and URLs like to get wrong
readonly OTHER_KEY=OTHERUSERTESTKEY
readonly OTHER_SECRET=Other/User+Secret
readonly BUCKET=litestream-test

need() {
  local program
  for program in ceph-mon ceph-osd ceph radosgw radosgw-admin monmaptool openssl curl python3; do
    command -v "$program" >/dev/null && continue
    echo "ceph.sh: $program is not installed" >&2
    exit 77
  done
}

# Debian 13's osd would look for its classes below the current folder.
class_dir() {
  local dir
  for dir in /usr/lib/*/rados-classes /usr/lib/rados-classes; do
    [[ ! -d "$dir" ]] || echo "osd_class_dir = $dir"
  done | head -n 1
}

# radosgw's KMS for tests: its keys are in the configuration.
at_rest_config() {
  echo "rgw_crypt_require_ssl = false"
  echo "rgw_crypt_s3_kms_backend = testing"
  echo "rgw_crypt_s3_kms_encryption_keys = litestream-test=$(printf '%032d' 7 | base64)"
}

# No cephx: everything listens on loopback and lives as long as one test run. radosgw would ask for
# "secure" mode, which needs cephx, and wait for ever: hence the three *_mode lines.
write_config() {
  local dir="$1" mon2="$2" mon1="$3" osd="$4" http="$5" https="$6"
  cat >"$dir/ceph.conf" <<CONF
[global]
fsid = $FSID
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc
ms_mon_service_mode = crc
ms_mon_cluster_mode = crc
auth_allow_insecure_global_id_reclaim = true
mon_initial_members = a
mon_host = [v2:127.0.0.1:$mon2,v1:127.0.0.1:$mon1]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
public_network = 127.0.0.0/8
cluster_network = 127.0.0.0/8
ms_bind_port_min = $osd
ms_bind_port_max = $((osd + 40))
run_dir = $dir/run
crash_dir = $dir/run
admin_socket = $dir/run/\$name.asok
pid_file =
log_file = $dir/log/\$name.log
keyring = /dev/null
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_max_object_name_len = 256
osd_max_object_namespace_len = 64
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 2000
mon_data_avail_crit = 1
mon_data_avail_warn = 2
[mon]
mon_data = $dir/mon
paxos_propose_interval = 0.01
paxos_min_wait = 0.01
mon_osd_initial_require_min_compat_client = luminous
mon_tick_interval = 1
[osd]
osd_data = $dir/osd
$(class_dir)
osd_objectstore = memstore
memstore_device_bytes = 6442450944
memstore_page_set = false
osd_memory_target = 939524096
osd_fast_shutdown = false
osd_op_num_shards = 2
osd_scrub_during_recovery = false
osd_heartbeat_grace = 60
[client]
rgw_data = $dir/rgw
rgw_dns_name = $([[ -n "$S3_DOMAIN" ]] || echo localhost)
rgw_frontends = beast endpoint=127.0.0.1:$http ssl_endpoint=127.0.0.1:$https ssl_certificate=$dir/tls/server.pem ssl_private_key=$dir/tls/server.key tcp_nodelay=1
rgw_enable_apis = s3, admin${S3_STS:+, sts}
${S3_STS:+rgw_s3_auth_use_sts = true}
rgw_sts_key = sixteen--letters
rgw_sts_min_session_duration = 1
rgw_enable_gc_threads = true
rgw_run_sync_thread = false
rgw_thread_pool_size = 32
rgw_s3_auth_use_keystone = false
rgw_enable_usage_log = false
rgw_enable_ops_log = false
$([[ -z "$S3_AT_REST" ]] || at_rest_config)
CONF
}

start_storage() {
  local dir="$1" mon2="$2" mon1="$3"
  local conf=(-c "$dir/ceph.conf")
  monmaptool --create --fsid "$FSID" --addv a "[v2:127.0.0.1:$mon2,v1:127.0.0.1:$mon1]" "$dir/monmap"
  ceph-mon "${conf[@]}" -i a --mkfs --monmap "$dir/monmap"
  detach "$dir" "$dir/log/mon.out" ceph-mon "${conf[@]}" -i a -f
  ceph-osd "${conf[@]}" -i 0 --mkfs --osd-uuid "$OSD_ID" --no-mon-config
  timeout 30 ceph "${conf[@]}" --connect-timeout 20 osd new "$OSD_ID" 0
  detach "$dir" "$dir/log/osd.out" ceph-osd "${conf[@]}" -i 0 -f
}

# Answers 403 when it is up, whatever it is asked without a signature.
gateway_answers() {
  curl -s -o /dev/null --max-time 5 "http://127.0.0.1:$1/"
}

start_gateway() {
  local dir="$1" http="$2"
  detach "$dir" "$dir/log/rgw.out" radosgw -c "$dir/ceph.conf" -n client.rgw -f
  tail -n 1 "$dir/pids" >"$dir/gateway.pid"
  wait_for 60 gateway_answers "$http"
}

# Whatever name it is called by that is not of its domain, it takes for a bucket's: so it is one of its own.
start_domain() {
  local dir="$1" https="$2"
  mkdir -p "$dir/domain"
  detach "$dir" "$dir/log/domain.out" radosgw -c "$dir/ceph.conf" -n client.domain -f --rgw_data "$dir/domain" \
    --rgw_dns_name "$S3_DOMAIN" --rgw_frontends "beast ssl_endpoint=127.0.0.2:$https \
ssl_certificate=$dir/tls/server.pem ssl_private_key=$dir/tls/server.key"
  wait_for 60 curl -s -o /dev/null --insecure --max-time 5 "https://127.0.0.2:$https/"
}

# Keys in argv: they are of a server that lives for one test run.
add_users() {
  local dir="$1"
  local admin=(timeout 60 radosgw-admin -c "$dir/ceph.conf" user create)
  "${admin[@]}" --uid=test --display-name=test --access-key="$ACCESS_KEY" --secret-key="$SECRET_KEY"
  "${admin[@]}" --uid=other --display-name=other --access-key="$OTHER_KEY" --secret-key="$OTHER_SECRET"
}

# A class of its own pool, of a gateway that doesn't run yet.
add_class() {
  local placement=(placement add --placement-id default-placement --storage-class COLD)
  local admin=(timeout 60 radosgw-admin -c "$1/ceph.conf")
  "${admin[@]}" zonegroup "${placement[@]}" --rgw-zonegroup default
  "${admin[@]}" zone "${placement[@]}" --rgw-zone default --data-pool default.rgw.cold.data
}

make_bucket() {
  S3_ENDPOINT="http://127.0.0.1:$1" S3_ACCESS_KEY_ID="$ACCESS_KEY" S3_SECRET_ACCESS_KEY="$SECRET_KEY" \
    "$HERE/s3.py" mb "$BUCKET"
}

print_env() {
  local dir="$1" http="$2" https="$3"
  cat <<ENV
LITESTREAM_TEST_S3_ENDPOINT=http://127.0.0.1:$http
LITESTREAM_TEST_S3_TLS_ENDPOINT=https://localhost:$https
LITESTREAM_TEST_S3_CA_FILE=$dir/tls/ca.pem
LITESTREAM_TEST_S3_ACCESS_KEY_ID=$ACCESS_KEY
LITESTREAM_TEST_S3_SECRET_ACCESS_KEY=$SECRET_KEY
LITESTREAM_TEST_S3_OTHER_ACCESS_KEY_ID=$OTHER_KEY
LITESTREAM_TEST_S3_OTHER_SECRET_ACCESS_KEY=$OTHER_SECRET
LITESTREAM_TEST_S3_BUCKET=$BUCKET
LITESTREAM_TEST_S3_GATEWAY_PIDFILE=$dir/gateway.pid
ENV
}

try_start() {
  local dir="$1" ports
  read -r -a ports < <(free_ports 5)
  # shellcheck disable=SC2206 # two words
  [[ -z "$S3_PORTS" ]] || ports=("${ports[@]:0:3}" $S3_PORTS)
  rm -rf "$dir/mon" "$dir/osd" "$dir/rgw" "$dir/run" "$dir/log" "$dir/monmap"
  mkdir -p "$dir/mon" "$dir/osd" "$dir/rgw" "$dir/run" "$dir/log"
  write_config "$dir" "${ports[@]}"
  start_storage "$dir" "${ports[0]}" "${ports[1]}" >>"$dir/log/setup.log" 2>&1 || return 1
  add_users "$dir" >>"$dir/log/setup.log" 2>&1 || return 1
  [[ -z "$S3_AT_REST" ]] || add_class "$dir" >>"$dir/log/setup.log" 2>&1 || return 1
  start_gateway "$dir" "${ports[3]}" || return 1
  wait_for 20 make_bucket "${ports[3]}" || return 1
  [[ -z "$S3_DOMAIN" ]] || start_domain "$dir" "${ports[4]}" || return 1
  all_alive "$dir" || return 1
  print_env "$dir" "${ports[3]}" "${ports[4]}" >"$dir/env"
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
  stop_all "$dir"
  "$HERE/certificate.sh" "$dir/tls"
  for attempt in 1 2 3; do
    if try_start "$dir"; then
      cat "$dir/env"
      return 0
    fi
    stop_all "$dir"
  done
  echo "ceph.sh: radosgw did not start in $attempt attempts, the last words are:" >&2
  tail -n 20 "$dir/log/setup.log" "$dir/log/rgw.out" >&2 || true
  return 1
}

restart_gateway() {
  local dir="$1" pid http
  pid="$(cat "$dir/gateway.pid")"
  kill -9 "$pid" 2>/dev/null || true
  sed -i "/^$pid\$/d" "$dir/pids"
  http="$(sed -n 's/^LITESTREAM_TEST_S3_ENDPOINT=.*://p' "$dir/env")"
  start_gateway "$dir" "$http"
}

case "$1:$#" in
  start:2) start "$2" ;;
  stop:2) stop_all "$2" ;;
  restart-gateway:2) restart_gateway "$2" ;;
  *)
    echo "usage: ceph.sh start DIR | stop DIR | restart-gateway DIR" >&2
    exit 2
    ;;
esac
