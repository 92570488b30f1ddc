#!/usr/bin/env bash
# shellcheck disable=SC2016,SC2154 # single quotes are for a shell there; KEY and SECRET come from a file
# internet.bash - a machine for which host names of the internet are a real S3 server's, after helper.bash, so that
# what people have written down can be typed as it is. Names, authorities and ports are the machine's own: it
# must have a network of its own (init_start systemd, or standin_start enter.sh "" --net).

# For setup_file: the stand-in with a network of its own, off but for the loopback. NO_MACHINE says why there is none.
internet_machine() {
  real_dokku && NO_MACHINE="this test needs a network of its own"
  NO_MACHINE="${NO_MACHINE:-$(standin_obstacle)}"
  export NO_MACHINE
  [[ -z "$NO_MACHINE" ]] || return 0
  standin_start enter.sh "" --net
  host ip link set lo up
}

# internet_start NAME…: these names are a radosgw's there, with a certificate by an authority that the machine trusts:
# at port 443 and, for everybody who says localhost, at 9000. AWS' ones are buckets. NO_S3 says why there is none.
internet_start() {
  local dir=/var/lib/dokku/ceph code=0
  host sh -c 'for name in "$@"; do
      case "$name" in *.amazonaws.com) echo "127.0.0.2 $name" ;; *) echo "127.0.0.1 $name" ;; esac
    done >>/etc/hosts' sh "$@"
  host env S3_PORTS="9000 443" S3_DOMAIN=s3.us-east-1.amazonaws.com CERTIFICATE_NAMES="$*" \
    "$REPO/tests/servers/ceph.sh" start "$dir" >"$BATS_FILE_TMPDIR/s3" 2>"$BATS_FILE_TMPDIR/s3.err" 3>&- || code="$?"
  if [[ "$code" -ne 0 ]]; then
    NO_S3="no S3 server here: $(tail -n 1 "$BATS_FILE_TMPDIR/s3.err")"
    export NO_S3
    return 0
  fi
  # As update-ca-certificates does: some programs read the one, some the other.
  host sh -c "cat $dir/tls/ca.pem >>/etc/ssl/certs/ca-certificates.crt
    cp $dir/tls/ca.pem /etc/ssl/certs/\$(openssl x509 -hash -noout -in $dir/tls/ca.pem).0"
  # shellcheck source=/dev/null
  source "$BATS_FILE_TMPDIR/s3"
  export KEY="$LITESTREAM_TEST_S3_ACCESS_KEY_ID" SECRET="$LITESTREAM_TEST_S3_SECRET_ACCESS_KEY"
}
need_internet() { [[ -z "$NO_S3" ]] || skip "$NO_S3"; }

# bucket NAME…: they exist.
bucket() {
  local name
  for name in "$@"; do
    host env S3_ENDPOINT=http://127.0.0.1:9000 S3_ACCESS_KEY_ID="$KEY" S3_SECRET_ACCESS_KEY="$SECRET" \
      "$REPO/tests/servers/s3.py" mb "$name"
  done
}

# typed [NAME=VALUE…]: the lines of standard input, said to a shell of root's with no environment but this; it ends
# at the first command that fails.
typed() { host env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@" bash -e; }

# job NAME [NAME=VALUE…]: the same in the background, as one job that is told to end by ended NAME. What it prints
# is there in /run/NAME.log, its exit code at the end in NAME.code.
job() {
  local name="$1" script
  script="$(cat)"
  shift
  typed "$@" JOB="$name" SCRIPT="$script" 3>&- <<'END'
rm -f /run/$JOB.*
setsid bash -c 'bash -ec "echo \$\$ >/run/$JOB.pid; $SCRIPT"; echo $? >/run/$JOB.code' >/run/$JOB.log 2>&1 </dev/null &
END
  wait_until 30 host test -s "/run/$name.pid"
}
job_code() { host cat "/run/$1.code"; }
# ended NAME: by SIGTERM to what it became by exec, or to its children; its exit code.
ended() {
  host sh -c 'kill -TERM "$(cat "/run/$1.pid")"' sh "$1"
  wait_until 60 host test -s "/run/$1.code"
  return "$(job_code "$1")"
}
