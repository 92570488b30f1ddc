#!/usr/bin/env bash
# certificate.sh DIR [wrong] - a certificate authority of its own for tests: DIR/ca.pem, and DIR/server.pem
# with DIR/server.key, signed by it for localhost, litestream-test.localhost (the test bucket in
# virtual-host style) and 127.0.0.1, and for the words in CERTIFICATE_NAMES. What is there already stays.
# wrong: also those that a client must refuse, each with its key: DIR/expired.pem, DIR/other-host.pem (for
# another name) and DIR/self-signed.pem (for localhost, by nobody).
set -eo pipefail

NAMES="DNS:localhost,DNS:litestream-test.localhost,IP:127.0.0.1"
for name in $CERTIFICATE_NAMES; do NAMES+=",DNS:$name"; done
by_authority=(openssl x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -days 30)
key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)

make_authority() {
  openssl req -x509 "${key[@]}" -days 30 -subj "/CN=litestream test authority" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout ca.key -out ca.pem
}

# sign NAME ALTERNATIVE-NAMES HOW…: NAME.pem, by the authority.
sign() {
  local name="$1" names="$2"
  shift 2
  openssl req "${key[@]}" -subj "/CN=$(sed "s/DNS://; s/,.*//" <<<"$names")" -keyout "$name.key" -out "$name.csr"
  "$@" -in "$name.csr" -extfile <(echo "subjectAltName=$names") -out "$name.pem"
}

# Only `openssl ca` can set a day in the past, and it wants its files.
make_expired() {
  printf '[ca]\ndefault_ca = c\n[c]\ndatabase = index\nserial = serial\nnew_certs_dir = .\ndefault_md = sha256\npolicy = p\n[p]\ncommonName = supplied\n' >ca.conf
  : >index
  echo 1000 >serial
  sign expired DNS:localhost openssl ca -batch -notext -config ca.conf -cert ca.pem -keyfile ca.key \
    -startdate 20200101000000Z -enddate 20200201000000Z
}

make_wrong() {
  sign other-host DNS:other.example "${by_authority[@]}"
  openssl req -x509 "${key[@]}" -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout self-signed.key -out self-signed.pem
  make_expired
}

main() {
  mkdir -p "$1"
  cd "$1"
  [[ -f server.pem ]] || make_authority 2>log
  [[ -f server.pem ]] || sign server "$NAMES" "${by_authority[@]}" 2>>log
  [[ "$2" != wrong || -f expired.pem ]] || make_wrong 2>>log
}

main "$@"
