#!/usr/bin/env bash
# deps.sh build|test|lint|s3 ... - installs with apt what is missing for each of these, and says what.
set -eo pipefail

declare -A PACKAGES=(
  [build]="gcc make pkg-config libc6-dev libsqlite3-dev libcurl4-openssl-dev libssl-dev libjansson-dev
    liblz4-dev libexpat1-dev libmicrohttpd-dev sqlite3"
  [test]="libcmocka-dev bats sudo jq python3 curl ca-certificates procps openssl attr lz4
    util-linux iproute2 radosgw ceph-mon ceph-osd ceph-common
    memcached swift-proxy swift-account swift-container swift-object"
  [s3]="radosgw ceph-mon ceph-osd ceph-common curl"
  [lint]="shellcheck shfmt clang clang-format cppcheck"
)

missing() {
  local package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || echo "$package"
  done
}

main() {
  local kind wanted=()
  for kind in "$@"; do
    [[ -n "${PACKAGES[$kind]}" ]] || {
      echo "deps.sh: unknown kind '$kind' (build, test, lint, s3)" >&2
      exit 2
    }
    # shellcheck disable=SC2206 # package names are words
    wanted+=(${PACKAGES[$kind]})
  done
  local absent=()
  mapfile -t absent < <(missing "${wanted[@]}")
  [[ "${#absent[@]}" -gt 0 ]] || return 0
  command -v apt-get >/dev/null || {
    echo "deps.sh: no apt-get here; please install: ${absent[*]}" >&2
    exit 1
  }
  local sudo=()
  [[ "$(id -u)" -eq 0 ]] || sudo=(sudo)
  echo "-----> Installing ${absent[*]}"
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${absent[@]}" >/dev/null
}

main "$@"
