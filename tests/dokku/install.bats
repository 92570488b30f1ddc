#!/usr/bin/env bats
# The install, update and uninstall triggers, and what they leave on the machine.
# plain
load helper

setup_file() {
  machine_start
}

@test "install: folders with the owners and modes of docs/CONTROL.md, programs that are root's" {
  [ "$(host stat -c '%a %U %G' "$DATA")" = "711 dokku dokku" ]
  [ "$(host stat -c '%a %U %G' "$DATA/desired")" = "700 dokku dokku" ]
  [ "$(host stat -c '%a %U %G' "$DATA/secrets")" = "700 dokku dokku" ]
  [ "$(host stat -c '%a %U %G' "$DATA/state")" = "711 root root" ]
  [ "$(host stat -c '%a %U %G' /var/log/dokku/litestream)" = "755 root root" ]
  local file
  for file in "$LIBDIR" "$LIBDIR/litestream" "$LIBDIR/litestreamd"; do
    [ "$(host stat -c '%a %U %G' "$file")" = "755 root root" ]
  done
}

@test "install: doing it again changes nothing that matters" {
  real_dokku && skip "would install from the network"
  host sh -c "echo '{}' >$DATA/secrets/--global.json; chown dokku $DATA/secrets/--global.json"
  run plugin_install_again
  assert_success
  [ "$(host cat "$DATA/secrets/--global.json")" = '{}' ]
  [ "$(host stat -c '%a %U %G' "$DATA/state")" = "711 root root" ]
}

# A small project in the place of the real one, for tests of who builds what, and where it goes.
TREE="$LIB_ROOT/plugins/available/litestream"
small_project() {
  real_dokku && skip "it has been seen at plugin:install"
  cat >"$BATS_TEST_TMPDIR/Makefile" <<'END'
all:
	# A warning of a newer compiler or library keeps nobody from installing.
	test "$(origin WERROR)$(WERROR)" = "command line"
	mkdir -p $(BUILD)/bin
	for p in litestream litestreamd; do \
	  printf '#!/bin/sh\necho built by %s\n' "$$(id -un)" >$(BUILD)/bin/$$p; done
	echo built >>/var/tmp/built/log
END
  chmod -R a+rX "$BATS_TEST_TMPDIR"
  host bash -c "cp -a $TREE /var/tmp/kept-tree; cp -a $LIBDIR /var/tmp/kept-lib; cd $TREE; rm -rf helpers
    mkdir helpers; echo x >helpers/x; cp $BATS_TEST_TMPDIR/Makefile Makefile"
  host install -d -o dokku /var/tmp/built
}
teardown() {
  [[ -z "$NO_MACHINE" ]] && ! real_dokku && host test -d /var/tmp/kept-tree || return 0
  host bash -c "rm -rf $TREE $LIBDIR; mv /var/tmp/kept-tree $TREE; mv /var/tmp/kept-lib $LIBDIR; rm -rf /var/tmp/built
    rm -f /usr/local/bin/{dpkg-query,apt-get,make,cc,gcc}"
}
built() { host sh -c 'cat /var/tmp/built/log 2>/dev/null' | wc -l; }
program() { host install -m 0755 /dev/stdin "/usr/local/bin/$1" <<<"$2"; }

@test "install: builds as dokku and not as root, once for each state of the sources" {
  small_project
  dokku plugin:install
  run host "$LIBDIR/litestream"
  [ "$output" = "built by dokku" ]
  [ "$(host stat -c '%a %U' "$LIBDIR/litestream")" = "755 root" ]
  dokku plugin:install
  [ "$(built)" -eq 1 ]
  host sh -c "echo y >$TREE/helpers/x"
  dokku plugin:update litestream
  [ "$(built)" -eq 2 ]
  # A build that fails leaves the old programs.
  host sh -c "printf 'all:\n\tfalse\n' >$TREE/Makefile"
  run dokku plugin:install
  assert_status 1
  assert_contains "could not be built"
  run host "$LIBDIR/litestream"
  [ "$output" = "built by dokku" ]
}

@test "install: what the build needs comes by apt, only when it is missing" {
  small_project
  # apt of this machine isn't to be used in a test, so these two say what they were asked for.
  program dpkg-query '#!/bin/sh
    case "$*" in *libmicrohttpd-dev*) [ -e /var/tmp/built/apt ] || exit 1 ;; esac
    echo "install ok installed"'
  program apt-get '#!/bin/sh
    echo "$@" >>/var/tmp/built/apt; [ "$1" != update ] || exit 100'
  run dokku plugin:install
  assert_success
  assert_contains "Installing libmicrohttpd-dev"
  host grep -q '^install .* libmicrohttpd-dev$' /var/tmp/built/apt
  [ "$(built)" -eq 1 ]
  host sh -c "echo z >$TREE/helpers/x; echo used >/var/tmp/built/apt"
  run dokku plugin:install
  assert_success
  refute_contains "Installing"
  [ "$(built)" -eq 2 ]
  [ "$(host cat /var/tmp/built/apt)" = used ]
  # Something is missing, and there is no network.
  host sh -c "rm /var/tmp/built/apt; echo zz >$TREE/helpers/x"
  program apt-get '#!/bin/sh
    exit 100'
  run dokku plugin:install
  assert_status 1
  assert_contains "could not be installed"
  run host "$LIBDIR/litestream"
  [ "$output" = "built by dokku" ]
}

@test "install: a release's programs are taken when they are of these sources and run here" {
  small_project
  local prebuilt
  prebuilt="$TREE/prebuilt/$(uname -m)"
  host mkdir -p "$prebuilt"
  host sh -c "printf '#!/bin/sh\necho released\n' | tee $prebuilt/litestream >$prebuilt/litestreamd; chmod 755 $prebuilt/*"
  host sh -c "$TREE/scripts/source-sum.sh >$prebuilt/source"
  run dokku plugin:install
  assert_success
  [ "$(host "$LIBDIR/litestream")" = released ]
  [ "$(built)" -eq 0 ]
  # Other sources.
  host sh -c "echo y >$TREE/helpers/x"
  dokku plugin:install
  [ "$(host "$LIBDIR/litestream")" = "built by dokku" ]
  [ "$(built)" -eq 1 ]
  # Another libc.
  host sh -c "echo z >$TREE/helpers/x; $TREE/scripts/source-sum.sh >$prebuilt/source
    printf '#!/bin/sh\necho GLIBC_9.9 not found >&2; exit 1\n' >$prebuilt/litestreamd"
  run dokku plugin:install
  assert_success
  assert_contains "don't run here, so they are built: GLIBC_9.9 not found"
  [ "$(built)" -eq 2 ]
}

@test "make dist: a release that works without a compiler" {
  real_dokku && skip "would install another version"
  ! nm "$BUILD/bin/litestreamd" | grep -qE '__(asan|tsan)_init' || skip "a sanitizer's objects can't be linked into a release"
  local room="$BATS_TEST_TMPDIR/build"
  mkdir -p "$room"
  # The objects are there already; a release links them in its own way.
  cp -a "$BUILD/obj" "$BUILD/liblitestream.a" "$room/"
  env -u MAKEFLAGS -u MAKELEVEL BUILD_DIST="$room" DIST="$BATS_TEST_TMPDIR/dist" "$REPO/scripts/dist.sh"
  (cd "$BATS_TEST_TMPDIR/dist" && sha256sum -c ./*.sha256)
  host bash -c "cp -a $TREE /var/tmp/kept-tree; cp -a $LIBDIR /var/tmp/kept-lib; rm -rf $TREE/* $LIBDIR; mkdir /var/tmp/built"
  host tar -xzf - -C "$TREE" <"$(ls "$BATS_TEST_TMPDIR"/dist/*.tar.gz)"
  local name
  for name in make cc gcc apt-get; do
    program "$name" '#!/bin/sh
      exit 127'
  done
  run dokku plugin:install
  assert_success
  assert_contains "Installing the release's programs"
  run host ldd "$LIBDIR/litestream"
  refute_contains "not found"
  refute_contains jansson
  refute_contains microhttpd
  refute_contains libyaml
  refute_contains sqlite3
  [ "$(host "$LIBDIR/litestream" version)" = "$(sed -n 's/^version *= *"\(.*\)"/\1/p' "$REPO/plugin.toml")" ]
  daemon_start
  daemon_stop
}

@test "uninstall: another plugin's is not ours" {
  real_dokku && skip "would uninstall"
  dokku plugin:trigger uninstall something-else
  run host test -x "$LIBDIR/litestream"
  assert_success
}

@test "uninstall: the programs go, the data stays" {
  real_dokku && skip "would uninstall"
  host sh -c "echo '{}' >$DATA/secrets/--global.json"
  run dokku plugin:uninstall litestream
  assert_success
  assert_contains "Kept $DATA"
  run host test -e "$LIBDIR"
  assert_status 1
  run host test -e "$DATA/secrets/--global.json"
  assert_success
}
