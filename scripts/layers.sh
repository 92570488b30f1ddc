#!/usr/bin/env bash
# layers.sh - reports includes that run upward or sideways between the folders of helpers/.
# The order is in docs/DESIGN.md, "Layout".
set -eo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

awk '
  BEGIN {
    n = split("base:0 format:1 net:1 conf:1 proto:1 store:2 source:2 replicate:3 restore:3 daemon:4 cli:5", a, " ")
    for (i = 1; i <= n; i++) { split(a[i], b, ":"); level[b[1]] = b[2] }
  }
  FNR == 1 { split(FILENAME, part, "/"); from = part[2]; if (!(from in level)) { print FILENAME ": folder is in no layer"; bad = 1 } }
  match($0, /^#include "[a-z_0-9]+\//) {
    to = substr($0, RSTART + 10, RLENGTH - 11)
    if (!(to in level)) { print FILENAME ":" FNR ": no such layer: " to; bad = 1 }
    else if (from != to && level[to] >= level[from]) { print FILENAME ":" FNR ": " from " may not include " to; bad = 1 }
  }
  END { exit bad }
' helpers/*/*.[ch]
