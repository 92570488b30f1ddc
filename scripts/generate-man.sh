#!/usr/bin/env bash
# generate-man.sh [PROGRAM [FILE]] - writes docs/litestream.1: what the program itself says of its commands
# and flags, between a beginning and an end that are here, and the exit codes of docs/EXIT-CODES.md.
set -eo pipefail
export LC_ALL=C
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
program="${1:-${BUILD:-$here/build}/bin/litestream}" file="${2:-$here/docs/litestream.1}"

# Text to roff: a backslash, a dash that is typed, and a dot or an apostrophe that begins a line.
roff() { sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e "s/^\\([.']\\)/\\\\\\&\\1/"; }

beginning() {
  cat <<'ROFF'
.\" Written by scripts/generate-man.sh from what the program says of itself: change that, not this.
.TH LITESTREAM 1 "" "dokku\-litestream" "User Commands"
.SH NAME
litestream \- replicate SQLite databases to object storage, and bring them back
.SH SYNOPSIS
.B litestream
.I command
.RI [ flags ]
.RI [ arguments ]
.SH DESCRIPTION
Follows the write\-ahead log of SQLite databases, ships every committed transaction to a bucket or a folder
within moments, and restores a database from there, at its latest state or an earlier one. Nothing is written
into the databases. Replicas have the layout and format of Litestream 0.5.
.PP
Flags have one dash or two, and stand before, between or behind the arguments; \-\- ends them.
.SH COMMANDS
ROFF
}

# Of "litestream COMMAND -help": summary, usage, details, flags, examples.
command_section() {
  "$program" "$1" -help | roff | awk -v name="$1" '
    function flush_usage() { if (usage != "") { print usage; print ".fi"; usage = "" } }
    NR == 1 { summary = $0; next }
    /^Usage:$/ { part = "usage"; print ".SS " name; print summary "."; print ".PP"; print ".nf"; next }
    /^Flags:$/ { if (part == "usage") print ".fi"; part = "flags"; next }
    /^Examples:$/ { if (part == "usage") print ".fi"; part = "examples"; print ".PP"; print ".nf"; next }
    part == "usage" && /^    / { sub(/^    /, ""); print; next }
    part == "usage" && /^$/ { next }
    part == "usage" { print ".fi"; print ".PP"; part = "details"; print; next }
    part == "flags" && /^    / {
      sub(/^    /, "")
      gsub(/\\-/, "-") # the width is that of what the program wrote
      at = match($0, /  +/)
      # A long name is followed by a single space: the help is what comes behind the known width.
      if (at == 0 || at > 27) { left = substr($0, 1, 26); right = substr($0, 28) }
      else { left = substr($0, 1, at - 1); right = substr($0, at + RLENGTH) }
      sub(/ +$/, "", left)
      gsub(/-/, "\\-", left); gsub(/-/, "\\-", right)
      print ".TP"; print ".B \"" left "\""; print right; next
    }
    part == "flags" && /^$/ { next }
    part == "examples" { sub(/^    /, ""); print; next }
    { print }
    END { if (part == "usage" || part == "examples") print ".fi" }'
}

exit_codes() {
  sed -n -E 's/^\| ([0-9]+) \| ([^|]*) \|.*/\1\t\2/p' "$here/docs/EXIT-CODES.md" | grep -v 'dokku litestream:' \
    | sed -E 's/`//g; s/\[([^]]*)\]\([^)]*\)/docs\/\1/g' | roff | while IFS=$'\t' read -r code means; do
    printf '.TP\n.B %s\n%s\n' "$code" "$means"
  done
}

end() {
  cat <<'ROFF'
.SH ENVIRONMENT
.TP
.B LITESTREAM_SSE_CUSTOMER_KEY
A key that S3 encrypts with (SSE\-C), base64 of 32 bytes, for replicas whose URL names none.
.TP
.B AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
Credentials for S3; else those of
.BR LITESTREAM_ACCESS_KEY_ID ", " LITESTREAM_SECRET_ACCESS_KEY " and " LITESTREAM_SESSION_TOKEN .
.TP
.B AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME
Without keys: a role that is assumed with the token in this file.
.TP
.B AWS_PROFILE, AWS_DEFAULT_PROFILE, AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE
Without these, too: the profile
.RI ( default )
and the files that it is in.
.TP
.B AWS_CONTAINER_CREDENTIALS_FULL_URI, AWS_CONTAINER_CREDENTIALS_RELATIVE_URI
Where a container's credentials are, with
.BR AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE " or " AWS_CONTAINER_AUTHORIZATION_TOKEN .
.TP
.B AWS_EC2_METADATA_DISABLED, AWS_EC2_METADATA_SERVICE_ENDPOINT
With
.I true
the instance metadata of EC2 (version 2), which comes last, is not asked; another address of it.
.TP
.B LITESTREAM_USE_IAM
With
.IR true ,
and without keys: a container's credentials or EC2's, no web identity and no profile.
.TP
.B LITESTREAM_S3_ENDPOINT, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION, AWS_DEFAULT_REGION
The server, and the region to look in first, where the replica's URL doesn't say them.
.B AWS_ENDPOINT_URL_STS
is where roles are assumed.
.SH FILES
.TP
.I ~/.aws/config, ~/.aws/credentials
Profiles as AWS's programs have them: keys, roles, region, endpoint.
.TP
.I /etc/litestream.yml
The configuration, unless
.B \-config
or
.B LITESTREAM_CONFIG
names another.
.SH "SEE ALSO"
.BR sqlite3 (1),
and docs/ of dokku\-litestream: URLS.md (replica URLs, credentials), OPTIONS.md, EXIT\-CODES.md, RESTORE.md.
ROFF
}

commands() { "$program" help | sed -n '/^Commands:$/,/^"/ s/^    \([a-z]*\) .*/\1/p'; }

main() {
  local aside name
  aside="$(mktemp)"
  # shellcheck disable=SC2064 # this very file
  trap "rm -f '$aside'" EXIT
  {
    beginning
    for name in $(commands); do command_section "$name"; done
    echo '.SH "EXIT STATUS"'
    exit_codes
    end
  } >"$aside"
  install -m 0644 "$aside" "$file"
}

main
