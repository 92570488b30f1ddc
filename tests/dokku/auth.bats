#!/usr/bin/env bats
# litestream:auth and deauth: where secrets come from, where they lie, and where they never are.
# plain
load helper

setup_file() {
  machine_start
}
teardown() {
  [[ -z "$NO_MACHINE" ]] || return 0
  host sh -c "rm -f $DATA/secrets/*.json"
}

SECRET='Se/cret+With"Quotes\and $dollar'

# auth WORD...: the secret lines come on stdin.
auth() {
  printf '%s\n' "${LINES_IN[@]}" | dokku litestream:auth "$@"
}
secrets() { host jq -r "$2" "$DATA/secrets/$1.json"; }

@test "auth: two lines on stdin become the global credentials, for dokku's eyes only" {
  LINES_IN=(AKIDEXAMPLE "$SECRET")
  run auth
  assert_success
  refute_contains "$SECRET"
  [ "$(secrets --global .access_key_id)" = AKIDEXAMPLE ]
  [ "$(secrets --global .secret_access_key)" = "$SECRET" ]
  [ "$(secrets --global keys_unsorted | jq -c .)" = '["access_key_id","secret_access_key"]' ]
  [ "$(host stat -c '%a %U' "$DATA/secrets/--global.json")" = "600 dokku" ]
  [ "$(host stat -c '%a %U' "$DATA/secrets")" = "700 dokku" ]
  # Nothing that was written aside is left.
  [ "$(host ls -A "$DATA/secrets")" = "--global.json" ]
}

@test "auth: the key's id as a flag, the secret alone on stdin, region, endpoint and token" {
  LINES_IN=("$SECRET" "to=ken")
  run auth --access-key-id AKIDEXAMPLE --region eu-central-1 --endpoint http://127.0.0.1:9000 --session-token-stdin
  assert_success
  [ "$(secrets --global .access_key_id)" = AKIDEXAMPLE ]
  [ "$(secrets --global .secret_access_key)" = "$SECRET" ]
  [ "$(secrets --global .session_token)" = "to=ken" ]
  [ "$(secrets --global .region)" = eu-central-1 ]
  [ "$(secrets --global .endpoint)" = http://127.0.0.1:9000 ]
}

@test "auth: lines that end in CR, and a last line without an end" {
  run dokku litestream:auth < <(printf 'ID\r\nsecret')
  assert_success
  [ "$(secrets --global .access_key_id)" = ID ]
  [ "$(secrets --global .secret_access_key)" = secret ]
}

@test "auth: an endpoint or a region that can't be one, and a line too many, save nothing" {
  LINES_IN=(ID secret)
  run auth --endpoint s3:/x
  assert_status 2
  assert_contains "'s3:/x' is no endpoint"
  run auth --endpoint 'user:pass@host'
  assert_status 2
  run auth --region 'eu west'
  assert_status 2
  assert_contains "is no region"
  LINES_IN=(ID secret more)
  run auth
  assert_status 2
  assert_contains "more lines"
  refute_contains secret$'\n'
  LINES_IN=(ID secret)
  run auth --access-key-id ID
  assert_status 2
  assert_contains "more lines"
  [ -z "$(host ls -A "$DATA/secrets")" ]
  for endpoint in localhost:9000 '[::1]:9000' https://ref.supabase.co/storage/v1/s3; do
    run auth --endpoint "$endpoint"
    assert_success
  done
}

@test "auth: an app's own credentials, by argument or --app" {
  dokku apps:create auth-app
  LINES_IN=(APPKEY appsecret)
  run auth auth-app
  assert_success
  [ "$(secrets auth-app .access_key_id)" = APPKEY ]
  run dokku --app auth-app litestream:auth <<<$'APPKEY2\nappsecret'
  assert_success
  [ "$(secrets auth-app .access_key_id)" = APPKEY2 ]
  run host test -e "$DATA/secrets/--global.json"
  assert_status 1
  # They go with the app.
  dokku --force apps:destroy auth-app
  run host test -e "$DATA/secrets/auth-app.json"
  assert_status 1
}

@test "auth: asks on a terminal, the secret without echo" {
  enter_words
  run "$REPO/tests/dokku/on_terminal.py" "Enter your ACCESS_KEY_ID:" AKIDTYPED "Enter your SECRET_ACCESS_KEY:" typed-Secret \
    -- "${ENTER[@]}" dokku litestream:auth
  assert_success
  assert_contains "Authorizing litestream for replica location"
  assert_contains AKIDTYPED
  refute_contains typed-Secret
  [ "$(secrets --global .access_key_id)" = AKIDTYPED ]
  [ "$(secrets --global .secret_access_key)" = typed-Secret ]
}

@test "auth: nothing, half of it, or an app that doesn't exist changes nothing" {
  LINES_IN=(OLDKEY oldsecret)
  auth
  run dokku litestream:auth </dev/null
  assert_status 2
  assert_contains "nothing was saved"
  LINES_IN=(ONLYKEY)
  run auth
  assert_status 2
  LINES_IN=(KEY SECRET)
  run auth no-such-app
  assert_status 20
  run auth ../evil
  assert_status 20
  run auth --session-token-stdin
  assert_status 2
  [ "$(secrets --global .access_key_id)" = OLDKEY ]
  [ "$(host ls -A "$DATA/secrets")" = "--global.json" ]
}

@test "auth: the secret is in no trace, no argument and no environment" {
  # While it runs every process's command line and environment is looked at, again and again.
  host bash -c 'while [[ ! -e /var/tmp/auth-watched ]]; do
      for p in /proc/[0-9]*; do tr "\0" "\n" <$p/cmdline; tr "\0" "\n" <$p/environ; done 2>/dev/null
    done | grep -m1 -a "NEEDLEinHA[Y]" >/var/tmp/auth-found' 3>&- &
  local watcher="$!"
  LINES_IN=(KEYOFNEEDLE NEEDLEinHAY)
  local i
  for i in 1 2 3 4 5; do
    run auth --region r
    assert_success
    refute_contains NEEDLEinHAY
    run auth --trace
    assert_success
    refute_contains NEEDLEinHAY
  done
  host touch /var/tmp/auth-watched
  wait "$watcher" || true
  host rm -f /var/tmp/auth-watched
  run host cat /var/tmp/auth-found
  [ -z "$output" ]
}

@test "auth: what was saved is damaged: told and replaced, and the key that the store encrypts with stays" {
  local key=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY= damaged
  LINES_IN=(NEWKEY NEWSECRET)
  for damaged in '{"access_key_id":"OLDKEY","sse_customer_key":"'"$key"'","secr' '"sse_customer_key": "'"$key"'"' 'no JSON' '[1]' \
    '{"sse_customer_key":5}' '{"sse_customer_key":"'"$key"'"}{'; do
    host sh -c 'printf %s "$1" >"$2"; chown dokku: "$2"; chmod 0600 "$2"' sh "$damaged" "$DATA/secrets/--global.json"
    run auth
    assert_success
    refute_contains "$key"
    refute_contains OLDKEY
    [[ "$damaged" == *'":5}' ]] || assert_contains "What was saved for all apps is damaged and will be replaced"
    [ "$(secrets --global '[.access_key_id, .secret_access_key] | join(" ")')" = "NEWKEY NEWSECRET" ]
    [[ "$damaged" != *"$key"* || "$(secrets --global .sse_customer_key)" == "$key" ]]
    [[ "$damaged" == *"$key"* || "$(secrets --global .sse_customer_key)" == null ]]
  done
}

@test "auth: a key that the store encrypts with, on stdin, which stays when other credentials are saved" {
  local key=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY= other=ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA= word
  LINES_IN=(KEY SECRET "$key")
  run auth --sse-customer-key-stdin
  assert_success
  refute_contains "$key"
  [ "$(secrets --global .sse_customer_key)" = "$key" ]
  LINES_IN=(KEY2 SECRET2)
  run auth
  assert_success
  [ "$(secrets --global '[.access_key_id, .sse_customer_key] | join(" ")')" = "KEY2 $key" ]
  run dokku litestream:auth --use-iam </dev/null
  assert_success
  [ "$(secrets --global '[.access_key_id, .use_iam, .sse_customer_key] | map(tostring) | join(" ")')" = "null true $key" ]
  LINES_IN=(KEY3 SECRET3 to=ken "$other")
  run auth --session-token-stdin --sse-customer-key-stdin
  assert_success
  [ "$(secrets --global '[.session_token, .use_iam, .sse_customer_key] | map(tostring) | join(" ")')" = "to=ken null $other" ]
  for word in "" "too short" "$key=" "$(printf '%s' "$key" | tr '=' 'x')"; do
    LINES_IN=(KEY4 SECRET4 "$word")
    run auth --sse-customer-key-stdin
    assert_status 2
    assert_contains "nothing was saved"
    [ "$(secrets --global .access_key_id)" = KEY3 ]
  done
  # In a URL it would be in the arguments of everything.
  dokku apps:create key-app
  for word in "sse-customer-key=$key" "a=b&SSECustomerKey=$key" "sse%2Dcustomer-key=$key"; do
    run dokku litestream:create key-app "$STORAGE" x.sqlite3 "s3://bucket/x?$word"
    assert_status 2
    run dokku litestream:restore "$STORAGE" x.sqlite3 "s3://bucket/x?$word"
    assert_status 2
    assert_contains "litestream:auth --sse-customer-key-stdin"
    refute_contains "$key"
    run dokku litestream:recover "s3://bucket/x?$word"
    assert_status 2
    assert_contains "litestream:auth --sse-customer-key-stdin"
  done
}

@test "auth: the watcher of the test before can find something" {
  host bash -c 'exec -a "x NEEDLEtwo" sleep 60' 3>&- &
  local sleeper="$!"
  wait_until 60 host bash -c 'for p in /proc/[0-9]*; do tr "\0" "\n" <$p/cmdline; done 2>/dev/null | grep -q "^x NEEDLE[t]wo"'
  kill "$sleeper"
}

@test "deauth: forgets, and says so when there is nothing" {
  LINES_IN=(KEY SECRET)
  auth
  run dokku litestream:deauth
  assert_success
  run host test -e "$DATA/secrets/--global.json"
  assert_status 1
  run dokku litestream:deauth
  assert_success
  assert_contains "There are no credentials"
  run dokku litestream:deauth no-such-app
  assert_status 20
}
