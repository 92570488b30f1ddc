#!/usr/bin/env bash
# certificate.sh DIR - a certificate authority of its own for tests: DIR/ca.pem, and DIR/server.pem with
# DIR/server.key, signed by it for localhost, litestream-test.localhost (the test bucket in
# virtual-host style) and 127.0.0.1. What is there already stays.
set -eo pipefail

main() {
  local dir="$1"
  [[ ! -f "$dir/server.pem" ]] || return 0
  mkdir -p "$dir"
  local key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
  openssl req -x509 "${key[@]}" -days 30 -subj "/CN=litestream test authority" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout "$dir/ca.key" -out "$dir/ca.pem" 2>"$dir/log"
  openssl req "${key[@]}" -subj "/CN=localhost" -keyout "$dir/server.key" -out "$dir/server.csr" 2>>"$dir/log"
  openssl x509 -req -in "$dir/server.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -days 30 \
    -extfile <(echo "subjectAltName=DNS:localhost,DNS:litestream-test.localhost,IP:127.0.0.1") \
    -out "$dir/server.pem" 2>>"$dir/log"
}

main "$@"
