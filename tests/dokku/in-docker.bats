#!/usr/bin/env bats
# Dokku inside Docker: folders as its image has them, on a volume behind links, and mounts with the host's
# paths. What the host has under other names is mapped, what can't be seen is refused with the reason.
# plain
load helper

setup_file() {
  real_dokku && NO_MACHINE="a real Dokku's layout isn't ours to change"
  NO_MACHINE="${NO_MACHINE:-$(standin_obstacle)}"
  export NO_MACHINE
  [[ -z "$NO_MACHINE" ]] || return 0
  standin_start enter.sh
  # As the host of `docker run -v /var/lib/dokku:/mnt/dokku -e DOKKU_…HOST_ROOT=…` names them.
  export HOST_LIB=/var/lib/dokku/var/lib/dokku HOST_HOME=/var/lib/dokku/home/dokku
  host sh -c "set -e
    mkdir -p /mnt && mount -t tmpfs -o mode=0755 volume /mnt
    mkdir -p /mnt/dokku/var/lib/dokku /mnt/dokku/home
    cp -a $LIB_ROOT/data $LIB_ROOT/config $LIB_ROOT/services /mnt/dokku/var/lib/dokku/
    cp -a /home/dokku /mnt/dokku/home/
    for name in data config services; do
      rm -r $LIB_ROOT/\$name && ln -s /mnt/dokku/var/lib/dokku/\$name $LIB_ROOT/\$name
    done
    umount /home/dokku && rm -rf /home/dokku && ln -s /mnt/dokku/home/dokku /home/dokku
    echo 'export DOKKU_HOST_ROOT=$HOST_HOME DOKKU_LIB_HOST_ROOT=$HOST_LIB DOKKU_INIT_SYSTEM=sv' >>/etc/default/dokku"
  plugin_install >&2
  tools_install
  daemon_start
  host install -d -o 32767 -g 32767 "$LIB_ROOT/data/replicas"
}

# app NAME HOST-PATH: an app that mounts the host's folder of that name.
app() {
  dokku apps:create "$1" >/dev/null
  dokku storage:mount "$1" "$2:/app/db/litestream" >/dev/null
}
create() { run dokku litestream:create "$1" "$2" app.db "file://$LIB_ROOT/data/replicas/$1"; }

@test "a mount in the host's words: either name of the folder will do, and one is recorded" {
  local name
  dokku storage:ensure-directory one--db
  app one "$HOST_LIB/data/storage/one--db"
  as 32767 "$TOOLS/writer" -n 20 "$STORAGE/one--db/app.db"
  for name in "$HOST_LIB/data/storage/one--db" /mnt/dokku/var/lib/dokku/data/storage/one--db "$STORAGE/one--db/"; do
    create one "$name"
    assert_success
    refute_contains "No mount of app"
    [ "$(host jq -c '.databases[0] | [.storage_dir, .container_path, .mount]' "$DATA/desired/one.json")" \
      = "[\"$STORAGE/one--db\",\"/app/db/litestream\",null]" ]
    [[ "$name" == */ ]] || dokku --force litestream:destroy one
  done
  run dokku litestream:start one
  assert_success
  dokku litestream:sync one
  dokku --quiet litestream:restore "$HOST_LIB/data/storage/one--db" copy.db "file://$LIB_ROOT/data/replicas/one"
  [ "$(rows "$STORAGE/one--db/copy.db")" -eq 20 ]
}

@test "the same database under another name of its folder is the same database" {
  create one /mnt/dokku/var/lib/dokku/data/storage/one--db
  assert_status 1
  assert_contains "is registered already"
}

@test "a folder in Dokku's home" {
  host install -d -o 32767 -g 32767 /home/dokku/home-db
  app home "$HOST_HOME/home-db"
  as 32767 "$TOOLS/writer" -n 5 /mnt/dokku/home/dokku/home-db/app.db
  create home "$HOST_HOME/home-db"
  assert_success
  [ "$(host jq -r '.databases[0] | .storage_dir + " " + .container_path' "$DATA/desired/home.json")" \
    = "/mnt/dokku/home/dokku/home-db /app/db/litestream" ]
  run dokku litestream:start home
  assert_success
  wait_until 60 state_is home replicating
}

@test "a mount that names the container's folder is the host's other one: refused, with the line that is right" {
  dokku storage:ensure-directory two--db
  app two "$STORAGE/two--db"
  create two "$STORAGE/two--db"
  assert_status 2
  assert_contains "App two mounts the host's $STORAGE/two--db, which is another folder"
  assert_contains "dokku storage:mount two $HOST_LIB/data/storage/two--db:/app/db/litestream"
  run host test -e "$DATA/desired/two.json"
  assert_status 1
}

@test "what only the host sees is refused, whether there is such a folder in here or not" {
  app three /srv/three
  create three /srv/three
  assert_status 2
  assert_contains "sees of the host's folders only $HOST_LIB and $HOST_HOME"
  host install -d -o 32767 -g 32767 /var/three
  app four /var/three
  create four /var/three
  assert_status 2
  assert_contains "App four mounts the host's /var/three, which can't be seen"
  assert_contains "below $HOST_LIB/data/storage"
  run dokku litestream:restore /var/three app.db "file://$LIB_ROOT/data/replicas/one"
  assert_status 2
}

@test "links that an app makes are refused as ever" {
  as 32767 ln -s one--db "$STORAGE/one--db/link"
  create one "$HOST_LIB/data/storage/one--db/link"
  assert_status 2
  assert_contains "'$STORAGE/one--db/link' is a symbolic link"
}
