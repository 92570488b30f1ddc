#!/usr/bin/env bash
# deps.sh build|demo|test|lint|s3|docker|fuzz|valgrind ... - installs with apt what is missing for each of these, and says what.
# The names are those of Debian 12 and 13, Ubuntu 22.04 and 24.04. Servers that only tests need may be
# missing from a distribution: then it says so, and those tests skip themselves.
set -eo pipefail

declare -A PACKAGES=(
  [build]="gcc make pkg-config libc6-dev libsqlite3-dev libcurl4-openssl-dev libssl-dev libjansson-dev
    liblz4-dev libexpat1-dev libmicrohttpd-dev libyaml-dev sqlite3"
  [demo]="sudo jq procps"
  [test]="libcmocka-dev bats sudo jq python3 curl ca-certificates procps openssl attr lz4
    util-linux bsdextrautils iproute2 radosgw ceph-mon ceph-osd ceph-common
    memcached swift-proxy swift-account swift-container swift-object systemd-container runit"
  [s3]="radosgw ceph-mon ceph-osd ceph-common curl openssl python3 procps"
  [docker]="docker.io"
  [lint]="shellcheck shfmt clang clang-format cppcheck git"
  [fuzz]="clang"
  [valgrind]="valgrind libc6-dbg"
)
OPTIONAL=" radosgw ceph-mon ceph-osd ceph-common memcached swift-proxy swift-account swift-container swift-object docker.io systemd-container runit "

missing() {
  local package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || echo "$package"
  done
}

# The package of libFuzzer and the sanitisers for the clang that is installed. Ubuntu 22.04 has it in a
# package that clang itself needs.
fuzzer_runtime() {
  local major
  command -v clang >/dev/null || return 0
  major="$(clang -dumpversion)"
  major="${major%%.*}"
  if apt-cache show "libclang-rt-$major-dev" >/dev/null 2>&1; then
    echo "libclang-rt-$major-dev"
  fi
}

# Docker's client, where it is no part of docker.io: in Debian 13.
docker_client() { ! apt-cache show docker-cli >/dev/null 2>&1 || echo docker-cli; }

# Out of the names given, those that can be installed, one a line; an optional one that can't is told.
installable() {
  local package
  for package in "$@"; do
    if [[ "$OPTIONAL" == *" $package "* ]] && ! apt-cache show "$package" >/dev/null 2>&1; then
      echo "       $package is not in this distribution: the tests that need it will skip" >&2
    else
      echo "$package"
    fi
  done
}

# Packages bring services that would start by themselves (memcached, ceph, swift); the tests run their
# own. policy-rc.d is Debian's way to say so; one that is there already is left alone.
quietly() {
  local policy=/usr/sbin/policy-rc.d ours=
  if [[ ! -e "$policy" ]]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 0755 "$policy"
    ours=1
  fi
  local code=0
  # A new Ubuntu is busy with its own updates for minutes: they are waited for.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    -o DPkg::Lock::Timeout=600 --no-install-recommends "$@" </dev/null >/dev/null || code=$?
  [[ -z "$ours" ]] || "${as_root[@]}" rm -f "$policy"
  return "$code"
}

main() {
  local kind wanted=()
  for kind in "$@"; do
    [[ -n "${PACKAGES[$kind]}" ]] || {
      echo "deps.sh: unknown kind '$kind' (build, demo, test, lint, s3, docker, fuzz)" >&2
      exit 2
    }
    # Docker's own packages stay: Debian's would take their place.
    [[ "$kind" != docker ]] || ! command -v dockerd >/dev/null || ! command -v docker >/dev/null || continue
    # shellcheck disable=SC2206 # package names are words
    wanted+=(${PACKAGES[$kind]})
    # shellcheck disable=SC2207 # one word or none
    [[ "$kind" != docker ]] || wanted+=($(docker_client))
    # shellcheck disable=SC2207 # one word or none
    [[ "$kind" != fuzz ]] || wanted+=($(fuzzer_runtime))
  done
  local absent=()
  mapfile -t absent < <(missing "${wanted[@]}" | sort -u)
  [[ "${#absent[@]}" -gt 0 ]] || return 0
  command -v apt-get >/dev/null || {
    echo "deps.sh: no apt-get here; please install: ${absent[*]}" >&2
    exit 1
  }
  as_root=()
  [[ "$(id -u)" -eq 0 ]] || as_root=(sudo)
  # Without a network what was fetched before may do.
  "${as_root[@]}" apt-get update -qq || echo "       apt-get update failed: trying with the lists that are there" >&2
  mapfile -t absent < <(installable "${absent[@]}")
  [[ "${#absent[@]}" -gt 0 ]] || return 0
  echo "-----> Installing ${absent[*]}"
  quietly "${absent[@]}"
}

main "$@"
