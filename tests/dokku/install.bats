#!/usr/bin/env bats
# The install, update and uninstall triggers, and what they leave on the machine.
load helper

setup_file() {
  machine_start
}
teardown_file() {
  machine_stop
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
plugin_install_again() { enter env LITESTREAM_PREBUILT="$BUILD/bin" dokku plugin:install; }

@test "install: builds as dokku and not as root, once for each state of the sources" {
  real_dokku && skip "it has been seen at plugin:install"
  # A small project in the place of the real one: what is tested is who builds what, and where it goes.
  local tree="$LIB_ROOT/plugins/available/litestream"
  cat >"$BATS_TEST_TMPDIR/Makefile" <<'END'
all:
	mkdir -p $(BUILD)/bin
	for p in litestream litestreamd; do \
	  printf '#!/bin/sh\necho built by %s\n' "$$(id -un)" >$(BUILD)/bin/$$p; done
	echo built >>/var/tmp/built/log
END
  chmod -R a+rX "$BATS_TEST_TMPDIR"
  host bash -c "cp -a $tree /var/tmp/kept-tree; cp -a $LIBDIR /var/tmp/kept-lib; cd $tree; rm -rf helpers
    mkdir helpers; echo x >helpers/x; cp $BATS_TEST_TMPDIR/Makefile Makefile"
  host install -d -o dokku /var/tmp/built
  dokku plugin:install
  run host "$LIBDIR/litestream"
  [ "$output" = "built by dokku" ]
  [ "$(host stat -c '%a %U' "$LIBDIR/litestream")" = "755 root" ]
  dokku plugin:install
  [ "$(host cat /var/tmp/built/log)" = built ]
  host sh -c "echo y >$tree/helpers/x"
  dokku plugin:update litestream
  [ "$(host cat /var/tmp/built/log | wc -l)" -eq 2 ]
  # A build that fails leaves the old programs.
  host sh -c "printf 'all:\n\tfalse\n' >$tree/Makefile"
  run dokku plugin:install
  assert_status 1
  assert_contains "could not be built"
  run host "$LIBDIR/litestream"
  [ "$output" = "built by dokku" ]
  host bash -c "rm -rf $tree $LIBDIR; mv /var/tmp/kept-tree $tree; mv /var/tmp/kept-lib $LIBDIR; rm -rf /var/tmp/built"
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
