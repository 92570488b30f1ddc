#!/usr/bin/env bash
# hostile.bash VERB APP DB [WORD... {} WORD...] - calls litestream:VERB with words that nobody should give, as user dokku on the
# machine where Dokku is, and prints a line for each answer that is none: not refused, not one sentence
# on standard error, with a wrong exit code, or with a shell's or jq's own complaint in it. Ends with the
# number of calls. The verb's own file is called, as Dokku calls it: the dispatcher has a test of its own.
set -o pipefail
verb="$1" app="$2" db="$3"
lib="${DOKKU_LIB_ROOT:-/var/lib/dokku}"
export DOKKU_LIB_ROOT="$lib" DOKKU_LIB_PATH="$lib" DOKKU_ROOT=/home/dokku SSH_USER=dokku SSH_NAME=default
export PLUGIN_PATH="$lib/plugins" PLUGIN_AVAILABLE_PATH="$lib/plugins/available" PLUGIN_ENABLED_PATH="$lib/plugins/enabled"
export PLUGIN_CORE_PATH="$lib/core-plugins" PLUGIN_CORE_AVAILABLE_PATH="$lib/core-plugins/available"
export PLUGIN_CORE_ENABLED_PATH="$lib/core-plugins/enabled" DOKKU_NOT_IMPLEMENTED_EXIT=10 DOKKU_LOGS_DIR=/var/log/dokku
script="$PLUGIN_AVAILABLE_PATH/litestream/subcommands/$verb"
room="$(mktemp -d)"
trap 'rm -rf "$room"' EXIT
# Globs and relative paths mean this empty folder.
cd "$room" || exit 1
calls=0

letters() { printf 'a%.0s' {1..300}; }
# shellcheck disable=SC1003 # one backslash
words=(' ' 'a b' '*' $'a\nb' $'\e[31mred' 'ünïcödé' "$(letters)" '../../etc/passwd' '..' '/etc/shadow'
"\$(touch $room/ran)" ";touch $room/ran" "'\"" '\' '%s%n%d' '{"a":1}' '-1' $'\xff\xfe' "$app/../$app" '--=')
few=('a b' $'a\nb' '../../etc/passwd' "\$(touch $room/ran)")

# The codes of docs/EXIT-CODES.md that somebody's mistake can have; 20 is Dokku's own.
is_fair() { [[ " 1 2 3 4 6 9 20 " == *" $1 "* ]]; }

complaint='line [0-9]+: |jq: |parse error|syntax error|unbound variable|command not found|No such file|invalid option'

# call EXPECTED WORD...: EXPECTED is a code, "refused" for any fair one, or "any" with 0 among them. The answer is
# looked at without another process: there are hundreds of calls.
call() {
  local expected="$1" status=0 problem="" line out err
  shift
  calls=$((calls + 1))
  DOKKU_APP_NAME="" timeout 60 "$script" "litestream:$verb" "$@" </dev/null >"$room/.out" 2>"$room/.err" || status="$?"
  out="$(<"$room/.out")" err="$(<"$room/.err")"
  case "$expected" in
    any) [[ "$status" -eq 0 || "$status" -eq 11 ]] || is_fair "$status" || problem="exit code $status" ;;
    refused) is_fair "$status" || problem="exit code $status" ;;
    *) [[ "$status" -eq "$expected" ]] || problem="exit code $status instead of $expected" ;;
  esac
  if [[ "$status" -ne 0 && "$status" -ne 11 && -z "$problem" ]]; then
    [[ -n "$err" ]] || problem="said nothing"
    while IFS= read -r line; do
      [[ "$line" == " !     "* || -z "$line" ]] || problem="a line that isn't Dokku's: $line"
    done <<<"$err"
    # A heading, when it was the daemon that refused.
    while IFS= read -r line; do
      [[ "$line" == "-----> "* || -z "$out" ]] || problem="said on standard output: ${out:0:200}"
    done <<<"$out"
  fi
  [[ ! "$err"$'\n'"$out" =~ $complaint ]] || problem="a program's own complaint: $err"
  [[ ! -e "$room/ran" ]] || problem="a word was run"
  [[ -z "$problem" ]] || printf '%s%s: %s\n' "$verb" "$(printf ' %q' "$@")" "$problem"
}

tags() { sed -n "s/^ *#$1 //p" "$script" | sed 's/,.*//'; }

least="$(tags A | grep -c '^<')" most="$(tags A | wc -l)"
takes_app=""
[[ "$(tags A | head -n 1)" != *"<app>"* ]] || takes_app=1

# with POSITION WORD: as many words as the command needs, and that one at its place; sets with[].
with() {
  local i count="$1"
  ((count >= least)) || count="$least"
  with=("$app")
  for ((i = 1; i < count; i++)); do with+=("$db"); done
  with[$1 - 1]="$2"
}

try_counts() {
  local i
  for i in "" --; do
    if [[ "$least" -eq 0 ]]; then call any $i; else call 2 $i; fi
  done
  for ((i = 1; i < least; i++)); do call 2 "${words[@]:1:i}"; done
  call refused one two three four five six seven eight
  call 2 --no-such-flag
  call 2 "$app" --no-such-flag=1
}

# Every third of the words, another third for the next command; with FULL=1 all of them.
mine() {
  local i step=3
  [[ -z "$FULL" ]] || step=1
  for ((i = $(cksum <<<"$verb" | cut -d' ' -f1) % step; i < ${#words[@]}; i += step)); do MINE+=("${words[i]}"); done
}

try_words() {
  local word i with=()
  MINE=()
  mine
  for word in "${MINE[@]}"; do
    with 1 "$word"
    call refused "${with[@]}"
  done
  call refused -- "${words[@]: -2}"
  for ((i = 2; i <= most; i++)); do
    for word in "${few[@]}"; do
      with "$i" "$word"
      [[ -z "$takes_app" ]] || call refused "${with[@]}"
    done
    with "$i" ""
    [[ -z "$takes_app" || "$verb" == set ]] || call 2 "${with[@]}"
  done
  [[ -n "$takes_app" ]] || return 0
  with 1 no-such-app
  call 20 "${with[@]}"
  with 1 ""
  call 2 "${with[@]}"
}

# A flag without its value, with a value that it doesn't take, with one that it can't take.
try_flags() {
  local name value word
  while read -r name value; do
    name="${name##*|}"
    [[ "$name" != --app ]] || continue # Dokku reads that one
    if [[ -z "$value" ]]; then
      call 2 "$name=yes"
      continue
    fi
    call 2 "$app" "$name"
    [[ "$value" =~ ^(SECONDS|NUM|FORMAT)$ ]] || continue
    for word in "${few[@]}" "" -1 1s; do call 2 "$app" "$name" "$word"; done
  done < <(tags F)
}

if [[ -n "$4" ]]; then
  # One command line, with each word in the place of {}.
  shift 3
  MINE=()
  mine
  for word in "${MINE[@]}"; do call refused "${@//"{}"/"$word"}"; done
else
  try_counts
  try_words
  try_flags
fi
echo "$calls calls"
