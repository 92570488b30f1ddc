#!/usr/bin/env bash
# dist.sh - makes dist/dokku-litestream-VERSION-ARCH.tar.gz and its .sha256: the plugin, its sources, and in
# prebuilt/ARCH programs that were built on this machine. `install` takes those when the sources beside them
# are the ones they were built from and they run on the host: the same libc or a newer one, curl's library,
# OpenSSL 3, GnuTLS, expat. A clean tree and the same compiler give the same bytes.
#   BUILD_DIST=build-dist   where to build
#   DIST=dist               where the release goes
set -eo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
BUILD="${BUILD_DIST:-build-dist}" DIST="${DIST:-dist}"
version="$(sed -n 's/^version *= *"\(.*\)"/\1/p' plugin.toml)"
arch="$(uname -m)"
name="dokku-litestream-$version-$arch"

# What a clone has, and nobody needs on a host, stays out.
files() {
  if git rev-parse --git-dir >/dev/null 2>&1; then
    git ls-files -z
  else
    find . -path ./build\* -prune -o -path ./dist -prune -o -type f -printf '%P\0' -o -type l -printf '%P\0'
  fi | LC_ALL=C sort -z | grep -zvE '^(\.|tests/|prebuilt/)'
}

${MAKE:-make} BUILD="$BUILD" STATIC=1 OPT="-O2 -g -ffile-prefix-map=$PWD=." all
room="$(mktemp -d)"
trap 'rm -rf "$room"' EXIT
mkdir -p "$room/$name/prebuilt/$arch" "$DIST"
files | tar --null -T - -cf - | tar -C "$room/$name" -xf -
for program in litestream litestreamd; do
  strip -o "$room/$name/prebuilt/$arch/$program" "$BUILD/bin/$program"
done
scripts/source-sum.sh >"$room/$name/prebuilt/$arch/source"
# No folder of its own inside: `dokku plugin:install` unpacks where the plugin's files belong.
tar -C "$room/$name" --sort=name --owner=0 --group=0 --numeric-owner --mode='go=rX,u+w' \
  --mtime="@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}" -cf - . | gzip -9n >"$DIST/$name.tar.gz"
(cd "$DIST" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
echo "$DIST/$name.tar.gz"
