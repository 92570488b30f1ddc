#!/usr/bin/env bash
# enter.sh READY [runit] - builds the stand-in inside the namespaces that it was started in, makes the
# file READY, and stays as their first process. Started by `standin_start` of ../helper.bash with
# unshare: when it ends, everything in there ends with it.
# enter.sh READY again - all of it is there already, after everything that ran in it was killed.
# enter.sh furnish - only puts Dokku into the machine that it is started on: boot.sh does that.
#
# With runit it does what the first process of Dokku's Docker image does: from the moment that a file
# `on` is beside READY, runsvdir runs; when a file `off` is there every service is told to end and waited for.
#
# /etc, /home, /var, /usr/local and /run are overlays whose upper side is memory, so users, sudoers
# and files made here are seen by nobody outside.
set -eo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ready="$1" init="$2"
cd /

private_folders() {
  local scratch dir
  scratch="$(dirname "$ready")/ns"
  mount -t tmpfs -o mode=0755 standin "$scratch"
  for dir in /etc /home /var /usr/local /run; do
    mkdir -p "$scratch$dir"/{upper,work}
    mount -t overlay -o "lowerdir=$dir,upperdir=$scratch$dir/upper,workdir=$scratch$dir/work" overlay "$dir"
  done
  # A database on an overlay is what the programs warn about; Dokku's own folders are plain ones.
  # A real Dokku's, where there is one, are not seen.
  mkdir -p /var/lib/dokku /var/log/dokku /home/dokku
  mount -t tmpfs -o mode=0755 dokku-home /home/dokku
  mount -t tmpfs -o mode=0755 dokku /var/lib/dokku
  mount -t tmpfs -o mode=0775 dokku-log /var/log/dokku
  # This machine's own services are no part of the stand-in, and not to be reached from it.
  rm -rf /run/systemd /run/dbus /run/docker.sock
}

user_and_sudo() {
  # An account of that name on this machine isn't ours to use: the copy of /etc may forget it.
  ! id dokku >/dev/null 2>&1 || userdel -f dokku
  groupadd -f dokku
  useradd --gid dokku --home-dir /home/dokku --no-create-home --shell /bin/bash dokku
  chown dokku:dokku /home/dokku
  # A machine without an entry for its own name makes sudo say so at every call.
  grep -qwF "$(uname -n)" /etc/hosts 2>/dev/null || echo "127.0.1.1 $(uname -n)" >>/etc/hosts
  mkdir -p /etc/sudoers.d
  {
    echo 'Defaults env_keep += "DOKKU_LIB_ROOT"'
    echo '%dokku ALL=(ALL) NOPASSWD:/var/lib/dokku/plugins/available/storage/bin/chown-storage-dir *'
    echo '%dokku ALL=(ALL) NOPASSWD:/var/lib/dokku/core-plugins/available/scheduler-docker-local/bin/container *'
  } >/etc/sudoers.d/dokku-standin
  chmod 0440 /etc/sudoers.d/dokku-standin
  visudo -cqf /etc/sudoers.d/dokku-standin
}

core() {
  local lib=/var/lib/dokku plugin
  install -d -o dokku -g dokku "$lib"/{config,services} "$lib"/data "$lib"/data/{storage,storage-registry} \
    "$lib"/data/storage-registry/entries "$lib"/plugins{,/available,/enabled} "$lib"/core-plugins{,/available,/enabled}
  chown dokku:dokku "$lib" /var/log/dokku
  echo "dokku version 0.38.27 (stand-in)" >"$lib/VERSION"
  echo "export DOKKU_LIB_PATH=$lib" >/etc/default/dokku
  cp -a "$here"/core-plugins/* "$lib/core-plugins/available/"
  for plugin in "$lib"/core-plugins/available/*; do
    ln -s "$plugin" "$lib/core-plugins/enabled/"
    ln -s "$plugin" "$lib/plugins/available/"
    ln -s "$plugin" "$lib/plugins/enabled/"
  done
  chown -R dokku:dokku "$lib/core-plugins"
  install -m 0755 "$here"/bin/* /usr/local/bin/
}

runit_folders() {
  rm -rf /etc/runit/runsvdir /etc/service
  mkdir -p /etc/runit/runsvdir/default /var/log/services
  ln -s runit/runsvdir/default /etc/service
  echo "export DOKKU_INIT_SYSTEM=sv" >>/etc/default/dokku
}

# The first process of a process namespace inherits the orphans; bash reaps them while it waits.
nap() {
  sleep "$1" &
  wait "$!" || true
}
nap_until() { until [[ -e "$1" ]]; do nap 0.1; done; }

run_runit() {
  local dir runsvdir
  dir="$(dirname "$ready")"
  nap_until "$dir/on"
  runsvdir -P /etc/service &
  runsvdir="$!"
  nap_until "$dir/off"
  sv -w 5 down /etc/service/* || true
  kill -TERM "$runsvdir"
  wait "$runsvdir" || true
  while sv status /etc/service/* | grep -q '^run:'; do nap 0.1; done
  # With the image's first process everything else ends; here the supervisors have to be told.
  sv exit /etc/service/*
  while pgrep -x runsv >/dev/null; do nap 0.1; done
  rm -f "$dir/on" "$dir/off"
}

if [[ "$init" != again ]]; then
  [[ "$ready" == furnish ]] || private_folders
  user_and_sudo
  core
fi
[[ "$ready" != furnish ]] || exit 0
[[ "$init" != runit ]] || runit_folders
touch "$ready"
while :; do
  if [[ "$init" == runit ]]; then run_runit; else nap 3600; fi
done
