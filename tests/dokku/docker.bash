#!/usr/bin/env bash
# docker.bash - a real Docker daemon on the stand-in, after helper.bash: for tests of apps in real containers and
# of what other containers do beside them. With DOKKU_TEST_REAL it is the Docker that is there.
#   docker …    the client, as root, where Dokku is
# A daemon of our own sees nothing of this machine's: its folders, its socket and its containers are in the
# stand-in's namespaces. It makes no network either: containers have the machine's or none.

docker() { host docker "$@"; }

# For setup_file, after machine_start: Docker, or why there is none in NO_MACHINE.
docker_machine_start() {
  real_dokku && return 0
  [[ -z "$NO_MACHINE" ]] || return 0
  NO_MACHINE="$(docker_obstacle)"
  [[ -n "$NO_MACHINE" ]] || docker_daemon_start || NO_MACHINE="no Docker daemon can run here: $(docker_says)"
  export NO_MACHINE
  [[ -z "$NO_MACHINE" ]] || standin_stop
}

docker_obstacle() {
  local program
  for program in dockerd docker containerd runc; do
    # docker is a function here.
    type -P "$program" >/dev/null || {
      echo "$program is not installed (scripts/deps.sh docker)"
      return 0
    }
  done
}
docker_says() { grep -E 'level=(error|fatal)|failed' "$STANDIN/dockerd.log" | tail -n 1 | cut -c 1-300; }

# vfs is slow and large, and works on any file system.
docker_daemon_start() {
  local i
  host install -d /run/docker-test
  host groupadd -f docker
  host usermod -aG docker dokku
  # The stand-in's own word for it knows no containers but its own.
  host tee -a /etc/default/dokku >/dev/null <<<"export DOCKER_BIN=docker"
  enter_words
  "${ENTER[@]}" dockerd --data-root /var/lib/dokku-test-docker --exec-root /run/docker-test --pidfile /run/docker-test/pid \
    -H unix:///var/run/docker.sock --group docker --bridge none --iptables=false --ip6tables=false \
    --storage-driver vfs </dev/null >"$STANDIN/dockerd.log" 2>&1 3>&- &
  DOCKERD="$!"
  export DOCKERD
  for ((i = 0; i < 600; i++)); do
    ! has_ended "$DOCKERD" || return 1
    ! docker version >/dev/null 2>&1 || return 0
    sleep 0.05
  done
  return 1
}

# For teardown_file, before machine_stop. Containers are removed by name: their control groups are the machine's.
docker_machine_stop() {
  local containers
  [[ -z "$NO_MACHINE" && -n "$DOCKERD" ]] || return 0
  mapfile -t containers < <(docker ps -aq)
  [[ "${#containers[@]}" -eq 0 ]] || docker rm -f "${containers[@]}" >/dev/null
  host sh -c "kill \$(cat /run/docker-test/pid)"
  wait_until 60 has_ended "$DOCKERD"
}

# docker_image NAME PROGRAM...: an image with these programs in /usr/local/bin, or FILE:PATH there, and the
# libraries that they need; the first one is what its containers run.
docker_image() {
  local name="$1" root program place entrypoint=""
  shift
  root="$(mktemp -d -p "$BATS_FILE_TMPDIR")"
  chmod 0755 "$root"
  mkdir -p "$root"/{tmp,etc,usr/local/bin}
  chmod 1777 "$root/tmp"
  for program in "$@"; do
    place="/usr/local/bin/$(basename "$program")"
    [[ "$program" != *:* ]] || place="${program#*:}"
    program="${program%%:*}"
    entrypoint="${entrypoint:-$place}"
    install -D -m 0755 "$program" "$root$place"
    # The loader names libraries by where they are; a static program has none.
    ldd "$program" 2>/dev/null | grep -oE '/[^ ]+' | xargs -r cp -Lf --parents -t "$root"
  done
  tar -C "$root" -c . | docker import --change "ENTRYPOINT [\"$entrypoint\"]" - "$name" >/dev/null
  rm -rf "$root"
}
