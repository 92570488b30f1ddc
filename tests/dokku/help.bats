#!/usr/bin/env bats
# Help and the README's commands come from the same tags.
# plain
load helper

setup_file() {
  machine_start
}

verbs() { ls "$REPO/subcommands"; }

@test "dokku litestream and litestream:help list the commands, by groups" {
  run dokku litestream:help
  assert_success
  assert_contains "Usage: dokku litestream[:COMMAND]"
  local verb listed="$output"
  for verb in $(verbs) help; do
    [ "$(grep -cE "^    litestream:$verb( |\$)" <<<"$output")" -eq 1 ]
  done
  # Under a heading of its own each; only help itself is something else.
  [ "$(sed '1,/^Other:$/d' <<<"$output" | grep -c litestream:)" -eq 1 ]
  run dokku litestream
  assert_success
  [ "$output" = "$listed" ]
}

@test "dokku help has one line, help --all all of them" {
  run dokku help
  assert_success
  [ "$(grep -c '    litestream' <<<"$output")" -eq 1 ]
  run dokku help --all
  assert_success
  assert_contains "litestream:create <app> <storage-dir> <db-file> <replica-url>"
}

@test "every command has help of its own" {
  local verb
  for verb in $(verbs); do
    run dokku litestream:help "$verb"
    assert_success
    assert_contains "usage: dokku litestream:$verb"
    # The second line that isn't empty is its description; without one a tag wasn't found.
    [ -n "${lines[1]}" ]
    # An example that shows it.
    grep -qE "^    .*dokku.* litestream:$verb|^    .*ssh .* litestream:$verb" <<<"$output" || assert false "no example: $verb"
  done
  run dokku litestream:create --help
  assert_success
  assert_contains "usage: dokku litestream:create"
}

@test "help of set names every option that there is" {
  local option
  run dokku litestream:help set
  for option in $(host "$LIBDIR/litestream" options -json | jq -r '.[].name'); do
    [[ "$option" =~ ^l[12]-retention$ ]] || assert_contains "$option"
  done
}

@test "help of a command that doesn't exist, or of a path, is exit 2" {
  run dokku litestream:help nope
  assert_status 2
  assert_contains "There is no command litestream:nope"
  run dokku litestream:help ../install
  assert_status 2
}

@test "unknown flags, too few and too many words are exit 2 with the usage" {
  run dokku litestream:start --nope app
  assert_status 2
  assert_contains "Unknown flag --nope"
  assert_contains "usage: dokku litestream:start [<app>] [--flags...]"
  run dokku litestream:create only-an-app
  assert_status 2
  assert_contains "usage: dokku litestream:create <app> <storage-dir> <db-file> <replica-url>"
  run dokku litestream:start
  assert_status 2
  assert_contains "Please specify an app"
  run dokku litestream:stop one two
  assert_status 2
  run dokku litestream:logs app --num many
  assert_status 2
  assert_contains "needs a number"
  run dokku litestream:logs app --num
  assert_status 2
  assert_contains "needs a value"
}

@test "every exit other than ours leaves other plugins' commands alone" {
  run host env DOKKU_NOT_IMPLEMENTED_EXIT=10 "$LIB_ROOT/plugins/available/litestream/commands" other:thing
  assert_status 10
}

@test "README has the commands of this version" {
  real_dokku || [ -f "$REPO/README.md" ] || skip "no README.md"
  local copy="$BATS_TEST_TMPDIR/copy"
  mkdir "$copy"
  cp -a "$REPO"/{README.md,scripts,subcommands,help-functions} "$copy/"
  "$copy/scripts/generate-readme.sh"
  diff -u "$REPO/README.md" "$copy/README.md"
}
