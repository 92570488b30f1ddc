#!/usr/bin/env bash
# shellcheck disable=SC2016 # the backquotes are Markdown's
# generate-readme.sh [--print] - writes the commands' section of README.md, between the lines
# <!-- commands --> and <!-- /commands -->, from the tags in subcommands/*. --print shows the section.
set -eo pipefail
export LC_ALL=C
LITESTREAM_PLUGIN_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
PLUGIN_COMMAND_PREFIX=litestream
# shellcheck source=SCRIPTDIR/../help-functions
source "$LITESTREAM_PLUGIN_DIR/help-functions"

# A tag's name is code; in a table a bar would end the cell.
list() {
  local title="$1" verb="$2" letter="$3" tag
  [[ -n "$(fn-litestream-help-tags "$verb" "$letter")" ]] || return 0
  printf '\n%s:\n\n' "$title"
  while IFS= read -r tag; do
    printf -- '- `%s`:%s\n' "${tag%%,*}" "${tag#*,}"
  done < <(fn-litestream-help-tags "$verb" "$letter")
}

# Prose as it is, lines indented by four as one shell block.
examples() {
  fn-litestream-help-tags "$1" E | awk '
    /^    / { if (!code) print "\n```shell"; code = 1; print substr($0, 5); next }
    /^$/ && code { print ""; next }
    { if (code) print "```\n"; else if (!seen) print ""; code = 0; if ($0 != "") { print; seen = 1 } }
    END { if (code) print "```" }'
}

section() {
  local verb
  echo '```text'
  fn-litestream-help-content | sed 's/^ *//' | sort | column -c2 -t -s,
  echo '```'
  while IFS= read -r verb; do
    printf '\n#### litestream:%s\n\n' "$verb"
    printf '`dokku %s`\n\n' "$(fn-litestream-help-usage "$verb")"
    printf '%s.\n' "$(fn-litestream-help-desc "$verb" | sed 's/^./\U&/')"
    list Arguments "$verb" A
    list Flags "$verb" F
    examples "$verb"
  done < <(fn-litestream-help-verbs)
  return 0
}

main() {
  local readme="$LITESTREAM_PLUGIN_DIR/README.md" text aside
  text="$(section)"
  if [[ "$1" == --print ]]; then
    echo "$text"
    return 0
  fi
  if [[ "$(grep -cxE '<!-- /?commands -->' "$readme")" -ne 2 ]]; then
    echo "generate-readme.sh: README.md has no <!-- commands --> and <!-- /commands --> lines" >&2
    exit 1
  fi
  aside="$(mktemp -p "$(dirname "$readme")")"
  {
    sed '/^<!-- commands -->$/q' "$readme"
    echo
    echo "$text"
    echo
    sed -n '/^<!-- \/commands -->$/,$p' "$readme"
  } >"$aside"
  chmod --reference="$readme" "$aside"
  mv "$aside" "$readme"
}

main "$@"
