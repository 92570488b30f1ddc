#!/usr/bin/env bats
# shellcheck disable=SC2154 # KEY and SECRET are internet_start's
# Set-ups that people have written down for Litestream, typed word for word on a booted machine whose network has
# the texts' hosts: Amazon, DigitalOcean, Cloudflare and a MinIO at localhost:9000 are all one real S3 server.
# LogPaste's containers and the earlier plugin's walk-through are in seeds-dokku.bats.
# plain
load ../dokku/helper
load ../dokku/init
load ../dokku/internet

ACCOUNT=0123456789abcdef0123456789abcdef

setup_file() {
  init_start systemd
  [[ -z "$NO_MACHINE" ]] || return 0
  internet_start my-sqlite-backup-bucket.s3.us-east-1.amazonaws.com region.digitaloceanspaces.com \
    "$ACCOUNT.r2.cloudflarestorage.com"
  [[ -z "$NO_S3" ]] || return 0
  bucket my-sqlite-backup-bucket mybkt bucket-name.litestream my-bucket-name
  # Databases on an overlay are warned of.
  host sh -c 'for dir in /home /data /var/lib/my-app; do mkdir -p $dir && mount -t tmpfs -o mode=0755 disk $dir; done'
  host make -s -C "$REPO" install BUILD="$BUILD"
}
teardown_file() {
  init_stop
}
setup() {
  need_machine
  need_internet
}

# dump DB: all that is in it, and that it is whole.
dump() { host sqlite3 -cmd '.timeout 5000' "$1" 'PRAGMA integrity_check' .dump; }
same() { cmp <(dump "$1") <(dump "$2"); }

# holds URL QUERY ANSWER [NAME=VALUE…]: does the replica's latest state answer so?
holds() {
  typed URL="$1" "${@:4}" <<<'rm -rf /var/tmp/look.db; litestream restore -quiet -no-state -o /var/tmp/look.db "$URL"'
  [ "$(host sqlite3 /var/tmp/look.db "$2")" = "$3" ]
}

# ---- "SQLite with Litestream has little to no downside" ----

me=(LITESTREAM_ACCESS_KEY_ID="$KEY" LITESTREAM_SECRET_ACCESS_KEY="$SECRET")

@test "fruits: make install brings the command, root's own" {
  [ "$(host stat -c '%a %U %G' /usr/local/bin/litestream)" = "755 root root" ]
  [ "$(typed <<<"litestream version")" = "$(sed -n 's/^version *= *"\(.*\)"/\1/p' "$REPO/plugin.toml")" ]
}

@test "fruits: 100,000 rows in 300 steps, the file deleted, restored from a MinIO's URL" {
  typed <<'END'
mkdir -p /home/me
cd /home/me
sqlite3 fruits.db "PRAGMA journal_mode = WAL; CREATE TABLE fruits (name TEXT, color TEXT)"
END
  job fruits "${me[@]}" <<'END'
cd /home/me
exec litestream replicate fruits.db s3://mybkt.localhost:9000/fruits.db
END
  # An empty snapshot, then the rows. One step a second makes 300 files, which takes five minutes: FULL=1.
  wait_until 60 holds s3://mybkt.localhost:9000/fruits.db 'SELECT count(*) FROM fruits' 0 "${me[@]}"
  typed PAUSE="${FULL:+1}" <<'END'
cd /home/me
for step in $(seq 300); do
  n=$((step % 3 ? 333 : 334))
  sqlite3 -cmd '.timeout 5000' fruits.db "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < $n)
    INSERT INTO fruits SELECT 'fruit ' || $step || '/' || n, 'green' FROM c"
  sleep ${PAUSE:-0}
done
END
  ended fruits
  host cp /home/me/fruits.db /home/me/kept.db
  typed "${me[@]}" <<'END'
cd /home/me
rm fruits.db
litestream restore -o fruits2.db s3://mybkt.localhost:9000/fruits.db
END
  [ "$(host sqlite3 /home/me/fruits2.db 'SELECT count(*) FROM fruits')" = 100000 ]
  echo "# of $(typed "${me[@]}" <<<"litestream ltx -level 0 -json s3://mybkt.localhost:9000/fruits.db" | jq length) files" >&3
  same /home/me/kept.db /home/me/fruits2.db
}

@test "fruits: the configuration file instead of the environment" {
  typed KEY="$KEY" SECRET="$SECRET" <<'END'
cat >/etc/litestream.yml <<YML
access-key-id: $KEY
secret-access-key: $SECRET

dbs:
  - path: /home/me/fruits.db
    replicas:
      - url: s3://my-sqlite-backup-bucket/fruits.db
YML
cp /home/me/kept.db /home/me/fruits.db
END
  job fruits <<<"exec litestream replicate"
  wait_until 60 holds s3://my-sqlite-backup-bucket/fruits.db 'SELECT count(*) FROM fruits' 100000
  ended fruits
}

# The pair that a replacement host runs.
pair() {
  job pair "${me[@]}" <<'END'
litestream restore -if-db-not-exists -o /data/MyApp.sqlite s3://my-sqlite-backup-bucket/mydb.sqlite
exec litestream replicate /data/MyApp.sqlite s3://my-sqlite-backup-bucket/mydb.sqlite
END
}
add_row() {
  host sqlite3 -cmd '.timeout 5000' /data/MyApp.sqlite "INSERT INTO t(x) VALUES ('$1')"
  wait_until 60 holds s3://my-sqlite-backup-bucket/mydb.sqlite 'SELECT x FROM t ORDER BY n DESC LIMIT 1' "$1" "${me[@]}"
}

@test "fruits: recovery, as a pair of commands where there is a database, and where there is none" {
  host sqlite3 /data/MyApp.sqlite 'PRAGMA journal_mode = WAL; CREATE TABLE t(n INTEGER PRIMARY KEY, x)'
  pair
  add_row here
  ended pair
  # A restart: it goes on, nothing is restored.
  pair
  wait_until 60 host grep "database already exists, skipping: /data/MyApp.sqlite" /run/pair.log
  add_row again
  ended pair
  # The replacement host.
  host sh -c 'rm -r /data/* /data/.[!.]*'
  pair
  wait_until 60 host test -e /data/MyApp.sqlite
  add_row there
  [ "$(host sqlite3 /data/MyApp.sqlite 'SELECT group_concat(x) FROM t')" = here,again,there ]
  ended pair
}

# ---- "Enhancing your Rails app with SQLite: Setting up Litestream" ----

storage=/home/deploy/application-name/current/storage
spaces=s3://bucket-name.litestream.region.digitaloceanspaces.com

logged() { host journalctl --unit litestream --no-pager | grep -F "$1"; }
tables() { as 1000 sqlite3 -cmd '.timeout 5000' "$storage/$1.sqlite3" "$2"; }

@test "Rails: installed and enabled before there is a configuration" {
  host rm -f /etc/litestream.yml
  # Instead of the .deb: contrib/README.md.
  typed REPO="$REPO" <<'END'
cd "$REPO"
sudo install -m 0644 contrib/litestream.service /etc/systemd/system/

# Verify it is installed
echo "Litestream version:"
litestream version

# Enable Litestream to run continuously as a background service
sudo systemctl enable litestream

# Start Litestream running continuously as a background service
sudo systemctl start litestream

# Verify the service is running
echo "Litestream service logs:"
sudo journalctl -u litestream
END
  wait_until 60 logged "there is no configuration file /etc/litestream.yml"
  # A start that can't help is not tried again and again.
  wait_until 60 eval '[ "$(host systemctl is-failed litestream)" = failed ]'
  [ "$(host systemctl show --property NRestarts --value litestream)" = 0 ]
  run host systemd-analyze verify /etc/systemd/system/litestream.service
  assert_success
  assert [ -z "$output" ]
}

@test "Rails: several databases of an app, keys by replica, behind a linked folder" {
  local name
  typed KEY="$KEY" SECRET="$SECRET" <<'END'
mkdir -p /home/deploy/application-name/releases/20230909 /home/deploy/application-name/shared/storage
cd /home/deploy/application-name
ln -s ../../shared/storage releases/20230909/storage
ln -s releases/20230909 current
chown 1000:1000 shared/storage
cat >/etc/litestream.yml <<YML
# /etc/litestream.yml
dbs:
  - path: /home/deploy/application-name/current/storage/production.sqlite3
    replicas:
      - url: s3://bucket-name.litestream.region.digitaloceanspaces.com/production
        access-key-id: $KEY
        secret-access-key: $SECRET
  - path: /home/deploy/application-name/current/storage/cable.sqlite3
    replicas:
      - url: s3://bucket-name.litestream.region.digitaloceanspaces.com/cable
        access-key-id: $KEY
        secret-access-key: $SECRET
  - path: /home/deploy/application-name/current/storage/queue.sqlite3
    replicas:
      - url: s3://bucket-name.litestream.region.digitaloceanspaces.com/queue
        access-key-id: $KEY
        secret-access-key: $SECRET
YML
for name in production cable queue; do
  setpriv --reuid 1000 --clear-groups sqlite3 shared/storage/$name.sqlite3 "PRAGMA journal_mode = WAL; CREATE TABLE t(x); INSERT INTO t VALUES ('$name')"
done
sudo systemctl restart litestream
END
  for name in production cable queue; do
    wait_until 60 holds "$spaces/$name" 'SELECT x FROM t' "$name"
  done
}

@test "Rails: the database is renamed away while all runs, restored by its name, and goes on" {
  typed <<'END'
cd /home/deploy/application-name/current/storage
mv production.sqlite3 ./-deleted.sqlite3
litestream restore production.sqlite3
END
  [ "$(host stat -c %u "$storage/production.sqlite3")" = 1000 ]
  [ "$(tables production 'SELECT x FROM t')" = production ]
  tables production "INSERT INTO t VALUES ('more')"
  wait_until 60 holds "$spaces/production" 'SELECT group_concat(x) FROM t' production,more
  [ "$(host systemctl is-active litestream)" = active ]
  [ "$(host systemctl show --property NRestarts --value litestream)" = 0 ]
  tables cable "INSERT INTO t VALUES ('more')"
  wait_until 60 holds "$spaces/cable" 'SELECT group_concat(x) FROM t' cable,more
}

show() { host systemctl show --property "$1" --value litestream; }

@test "contrib's unit: two replicas have a process each, told once to stop" {
  typed KEY="$KEY" SECRET="$SECRET" <<'END'
cat >/etc/litestream.yml <<YML
dbs:
  - path: /home/deploy/application-name/current/storage/production.sqlite3
    replicas:
      - url: s3://bucket-name.litestream.region.digitaloceanspaces.com/production
        access-key-id: $KEY
        secret-access-key: $SECRET
      - path: /home/backup
YML
sudo systemctl restart litestream
END
  wait_until 60 holds /home/backup 'SELECT count(*) FROM t' 2
  tables production "INSERT INTO t VALUES ('last')"
  typed <<<"sudo systemctl stop litestream"
  [ "$(show Result) $(show ExecMainStatus)" = "success 0" ]
  run logged "ending at once"
  assert_status 1
  holds /home/backup 'SELECT count(*) FROM t' 3
  holds "$spaces/production" 'SELECT count(*) FROM t' 3
}

@test "contrib's unit: fenced, it is tried again, and goes on when the database was restored" {
  typed <<'END'
sed -i '/- path: .home.backup/d' /etc/litestream.yml
mkdir -p /home/other /etc/systemd/system/litestream.service.d
printf '[Service]\nRestartSec=200ms\n' >/etc/systemd/system/litestream.service.d/test.conf
sudo systemctl daemon-reload
litestream restore -o /home/other/production.sqlite3 s3://bucket-name.litestream.region.digitaloceanspaces.com/production
sqlite3 /home/other/production.sqlite3 "INSERT INTO t VALUES ('there')"
END
  job other "${me[@]}" <<<"exec litestream replicate /home/other/production.sqlite3 $spaces/production"
  wait_until 60 holds "$spaces/production" 'SELECT count(*) FROM t' 4
  ended other
  typed <<<"sudo systemctl start litestream"
  tried() { [ "$(show NRestarts)" -ge 2 ]; }
  wait_until 60 tried
  logged "status=8"
  tables production 'SELECT count(*) FROM t' | grep -x 3
  typed <<'END'
cd /home/deploy/application-name/current/storage
mv production.sqlite3 ./-mine.sqlite3
litestream restore production.sqlite3
END
  tables production "INSERT INTO t VALUES ('here again')"
  wait_until 60 holds "$spaces/production" 'SELECT count(*) FROM t' 5
  [ "$(host systemctl is-active litestream)" = active ]
  typed <<'END'
sudo systemctl disable --now litestream
rm -r /etc/systemd/system/litestream.service.d
END
}

# ---- "SQLite in Production: How Litestream Makes the 'Unthinkable' Safe" ----

r2=s3://my-bucket-name.r2.cloudflarestorage.com/backup

@test "R2: the unit and the file of the text; the account that it forgets is asked for" {
  typed KEY="$KEY" SECRET="$SECRET" <<'END'
sqlite3 /var/lib/my-app/data.db "PRAGMA journal_mode=WAL;"
cat >/etc/litestream.yml <<YML
access-key-id: $KEY
secret-access-key: $SECRET

dbs:
  - path: /var/lib/my-app/data.db
    replicas:
      - url: s3://my-bucket-name.r2.cloudflarestorage.com/backup
YML
cat >/etc/systemd/system/litestream.service <<UNIT
[Unit]
Description=Litestream Replication
After=network.target

[Service]
ExecStart=/usr/local/bin/litestream replicate
Restart=always

[Install]
WantedBy=multi-user.target
UNIT
sudo systemctl enable --now litestream
END
  wait_until 60 logged "names no R2 account"
  run typed <<<"litestream restore -o /var/lib/my-app/other.db $r2"
  assert_status 2
  assert_contains "set the endpoint to https://ACCOUNT_ID.r2.cloudflarestorage.com"
}

@test "R2: with it, the database is removed while all runs, restored by its URL, and goes on" {
  # One line of the configuration: the URL stays what it is.
  typed ACCOUNT="$ACCOUNT" <<'END'
echo "endpoint: https://$ACCOUNT.r2.cloudflarestorage.com" >>/etc/litestream.yml
sudo systemctl reset-failed litestream
sudo systemctl restart litestream
sqlite3 /var/lib/my-app/data.db "CREATE TABLE t(x); INSERT INTO t VALUES ('before')"
END
  wait_until 60 holds "$r2" 'SELECT x FROM t' before
  typed <<'END'
rm /var/lib/my-app/data.db
litestream restore -o /var/lib/my-app/data.db s3://my-bucket-name.r2.cloudflarestorage.com/backup
sqlite3 /var/lib/my-app/data.db "INSERT INTO t VALUES ('after')"
END
  wait_until 60 holds "$r2" 'SELECT group_concat(x) FROM t' before,after
  [ "$(host systemctl is-active litestream)" = active ]
}
