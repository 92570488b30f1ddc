#!/usr/bin/env bats
# Is the machine under the other tests like a Dokku? What is checked here holds for a real one too,
# unless the test says that it is about the stand-in.
# plain
load helper

setup_file() {
  machine_start
}

# A plugin that tells how it was called: probe_plugin NAME.
probe_plugin() {
  host bash -c "
    mkdir -p $LIB_ROOT/plugins/available/probe/subcommands
    cd $LIB_ROOT/plugins/available/probe
    printf '[plugin]\ndescription = \"probe\"\nversion = \"0\"\n[plugin.config]\n' >plugin.toml
    printf '#!/bin/bash\necho \"user=\$(id -un) app=\$DOKKU_APP_NAME quiet=\$DOKKU_QUIET_OUTPUT flags=\$DOKKU_GLOBAL_FLAGS args=[\$*] count=\$#\"\n' >subcommands/say
    printf '#!/bin/bash\nexit 37\n' >subcommands/fail
    printf '#!/bin/bash\ncat\n' >subcommands/cat
    chmod +x subcommands/*
    ln -sfn \$PWD $LIB_ROOT/plugins/enabled/probe"
}
probe_remove() { host rm -rf "$LIB_ROOT/plugins/enabled/probe" "$LIB_ROOT/plugins/available/probe"; }

@test "commands run as user dokku, their exit status and stdin come through" {
  probe_plugin
  run dokku probe:say a "b c"
  assert_success
  assert_contains "user=dokku"
  assert_contains "args=[probe:say a b c] count=3"
  run dokku probe:fail
  assert_status 37
  run dokku probe:cat <<<hello
  assert_contains hello
  probe_remove
}

@test "global flags are seen before and behind the command" {
  probe_plugin
  run dokku --app one probe:say x
  assert_contains "app=one"
  assert_contains "args=[probe:say x]"
  run dokku probe:say --app one x
  assert_contains "app=one"
  assert_contains "args=[probe:say --app one x]"
  run dokku --quiet --force probe:say x --other
  assert_contains "quiet=1"
  assert_contains "flags=--quiet --force --other"
  probe_remove
}

@test "commands over ssh keep their quotes" {
  probe_plugin
  run enter env SSH_ORIGINAL_COMMAND='probe:say a "two words"' dokku
  assert_contains "args=[probe:say a two words] count=3"
  probe_remove
}

@test "what no plugin knows is an error, a missing app is exit 20" {
  run dokku probe:nope
  assert_status 1
  assert_contains "is not a dokku command"
  run dokku apps:exists nobody-has-this
  assert_status 20
  assert_contains "App nobody-has-this does not exist"
}

@test "plugin commands need root" {
  run host sudo -u dokku dokku plugin:install
  assert_status 1
  assert_contains "must be run as root"
}

@test "a rename destroys the old app after the setup of the new one" {
  host bash -c "mkdir -p $LIB_ROOT/plugins/available/probe && cd $LIB_ROOT/plugins/available/probe &&
    printf '[plugin]\ndescription = \"probe\"\nversion = \"0\"\n[plugin.config]\n' >plugin.toml
    for t in post-create post-app-rename-setup pre-delete post-delete post-app-rename; do
      printf '#!/bin/bash\necho \"\$(basename \$0) \$1 \$2\" >>/var/tmp/probe-order.%s\n' $$ >\$t; chmod +x \$t
    done
    ln -sfn \$PWD $LIB_ROOT/plugins/enabled/probe"
  dokku apps:create rename-old
  run dokku apps:rename rename-old rename-new
  assert_success
  run host cat "/var/tmp/probe-order.$$"
  host rm -f "/var/tmp/probe-order.$$"
  probe_remove
  dokku --force apps:destroy rename-new
  assert_contains "post-create rename-old"
  [[ "$(tr '\n' ';' <<<"$output")" == *"post-create rename-new ;post-app-rename-setup rename-old rename-new;pre-delete rename-old "*";post-delete rename-old "*";post-app-rename rename-old rename-new;"* ]] || {
    echo "$output"
    false
  }
}

@test "a failing trigger ends the round (stand-in)" {
  real_dokku && skip "calls plugn directly"
  host bash -c "mkdir -p /var/tmp/p/enabled/{a,b,c}
    printf '#!/bin/bash\necho a\n' >/var/tmp/p/enabled/a/hook
    printf '#!/bin/bash\nexit 5\n' >/var/tmp/p/enabled/b/hook
    printf '#!/bin/bash\necho c\n' >/var/tmp/p/enabled/c/hook
    chmod +x /var/tmp/p/enabled/*/hook"
  run enter env PLUGIN_PATH=/var/tmp/p plugn trigger hook
  host rm -rf /var/tmp/p
  assert_status 5
  [ "$output" = a ]
}

@test "containers are processes of the app's user, old and new overlap at a deploy (stand-in)" {
  real_dokku && skip "the stand-in's containers"
  dokku apps:create with-containers
  host sh -c 'echo "32767 sleep 1000" >/home/dokku/with-containers/CONTAINERS'
  dokku ps:start with-containers
  wait_until 60 host pgrep -u 32767 -x sleep
  run host pgrep -u 32767 -x sleep
  assert_success
  local first="$output"
  dokku ps:restart with-containers
  wait_until 60 host pgrep -u 32767 -x sleep
  run host pgrep -u 32767 -x sleep
  [ "$output" != "$first" ]
  dokku --force apps:destroy with-containers
  wait_until 60 not host pgrep -u 32767 -x sleep
}

@test "nothing of it is seen outside (stand-in)" {
  real_dokku && skip "there is no inside"
  [ "$(readlink /proc/self/ns/mnt)" != "$(host readlink /proc/self/ns/mnt)" ]
  host touch /etc/standin-was-here /var/lib/standin-was-here /usr/local/standin-was-here /home/standin-was-here
  [ ! -e /etc/standin-was-here ]
  [ ! -e /var/lib/standin-was-here ]
  [ ! -e /usr/local/standin-was-here ]
  [ ! -e /home/standin-was-here ]
}
