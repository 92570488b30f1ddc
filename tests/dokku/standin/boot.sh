#!/usr/bin/env bash
# boot.sh READY BUILD - the stand-in on a machine with a systemd of its own, booted by systemd-nspawn. Started
# like enter.sh, by `standin_start`. The machine is this one's root under an overlay in memory, without what
# it starts by itself and without a network. While a file `on` is beside READY it is up; powered off by
# itself, it removes that file and waits for the next. Dokku's folders outlive that, as on a disk.
# Ends with a word on stderr where that can't be.
set -eo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
repo="$(cd "$here/../../.." && pwd)"
ready="$1" build="$2"
dir="$(dirname "$ready")" root="$(dirname "$ready")/ns/root"

# nspawn and the systemd in it take the cgroup that they are started in for their own.
own_cgroup() {
  local base path lines
  # First read, then moved: the file tells where we are now.
  mapfile -t lines </proc/self/cgroup
  while IFS=: read -r _ base path; do
    case "$base" in
      name=systemd) base=/sys/fs/cgroup/systemd ;;
      '') for base in /sys/fs/cgroup/unified /sys/fs/cgroup; do [[ ! -e "$base/cgroup.procs" ]] || break; done ;;
      *) continue ;;
    esac
    [[ -e "$base$path/cgroup.procs" ]] || continue
    mkdir -p "$base$path/$(basename "$dir")"
    echo 0 >"$base$path/$(basename "$dir")/cgroup.procs"
  done < <(printf '%s\n' "${lines[@]}")
}

make_root() {
  local folder
  mount -t tmpfs -o mode=0755 standin "$dir/ns"
  mkdir "$dir"/ns/{upper,work,root}
  mount -t overlay -o "lowerdir=/,upperdir=$dir/ns/upper,workdir=$dir/ns/work" overlay "$root"
  for folder in "$repo" "$build"; do
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
    mount -o remount,bind,ro "$root$folder"
  done
  # A database on an overlay is what the programs warn about.
  for folder in /var/lib/dokku /var/log/dokku /home/dokku; do
    mkdir -p "$root$folder"
    mount -t tmpfs -o mode=0755 dokku "$root$folder"
  done
  chmod 0775 "$root/var/log/dokku"
  # Where nspawn keeps things of its own.
  mount -t tmpfs -o mode=0755 run /run
}

# What this machine starts when it boots, mounts, or removes as temporary isn't the stand-in's.
make_quiet() {
  rm -rf "$root"/etc/systemd/system/* "$root"/etc/rc?.d/* "$root"/etc/init.d/* \
    "$root"/usr/lib/systemd/system/{multi-user,timers}.target.wants "$root"/lib/systemd/system/{multi-user,timers}.target.wants
  ln -s /dev/null "$root/etc/systemd/system/systemd-tmpfiles-setup.service"
  ln -s /dev/null "$root/etc/systemd/system/systemd-tmpfiles-clean.service"
  rm -f "$root/etc/fstab"
  tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
}

furnish() {
  mount -t proc proc "$root/proc"
  chroot "$root" "$here/enter.sh" furnish
  umount "$root/proc"
}

boot() {
  SYSTEMD_NSPAWN_TMPFS_TMP=0 systemd-nspawn --quiet --directory="$root" --boot --register=no --keep-unit --private-network \
    --link-journal=no --settings=no --resolv-conf=off --timezone=off --console=pipe </dev/null
}

own_cgroup
make_root
make_quiet
furnish
touch "$ready"
while :; do
  until [[ -e "$dir/on" ]]; do sleep 0.1; done
  boot || echo "systemd-nspawn ended with $?"
  rm -f "$dir/on"
done
