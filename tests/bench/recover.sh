#!/usr/bin/env bash
# recover.sh URL APPS - a host that has nothing, a new stand-in of Dokku, brings APPS apps back from the
# replicas below URL. Prints a JSON object: seconds that `litestream:recover --apply` took, and the bytes of
# all databases then. Each of them is compared with its page checksums on the way, as every restore is.
# $BUILD, and the LITESTREAM_TEST_S3_… of tests/servers/ceph.sh. Exit code 77: it can't be done here.
set -eo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=tests/dokku/helper.bash
source "$here/../dokku/helper.bash"

main() {
  local url="$1" apps="$2" start end bytes
  machine_start >&2
  if [[ -n "$NO_MACHINE" ]]; then
    echo "$NO_MACHINE" >&2
    return 77
  fi
  trap 'machine_stop >&2; rm -rf "$daemon_files"' EXIT
  # shellcheck disable=SC2119 # its flags may be left out
  daemon_start
  printf '%s\n' "$LITESTREAM_TEST_S3_ACCESS_KEY_ID" "$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY" \
    | dokku litestream:auth --endpoint "$LITESTREAM_TEST_S3_ENDPOINT" >&2
  start="$(date +%s%3N)"
  dokku litestream:recover "$url" --apply --yes >&2
  end="$(date +%s%3N)"
  [[ "$(dokku --quiet litestream:list | wc -l)" -eq "$apps" ]]
  bytes="$(host sh -c "cat $STORAGE/*/*.db | wc -c")"
  jq -cn --argjson ms $((end - start)) --argjson bytes "$bytes" '{seconds: ($ms / 1000), bytes: $bytes}'
}

main "$@"
