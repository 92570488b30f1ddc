#!/usr/bin/env bash
# source-sum.sh - one sum over all that the programs are built from: `install` builds when it is another than
# that of the programs that are there, and takes a release's programs only when it is the same.
set -eo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
find Makefile plugin.toml helpers -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1
