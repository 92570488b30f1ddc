/*
 * litestream.yml: each key has its effect, is told, or is an error, with one case a key at least;
 * what stands where, defaults that go down, what follows from it, mistakes.
 */
#include "conf/config.h"

#include "base/buf.h"
#include "base/fs.h"
#include "lib/config_dump.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static struct config c;
static struct err e;
static struct buf dump;

static int read_text(const char *text)
{
	e = (struct err)ERR_INIT;
	int rc = config_read(&c, "f.yml", text, strlen(text), true, &e);
	config_dump(&c, &dump);
	config_free(&c);
	return rc;
}

static void has(const char *text, const char *word)
{
	if (read_text(text))
		fail_msg("%s\n%s", text, e.text);
	if (!strstr(buf_str(&dump), word))
		fail_msg("%s\nhas no \"%s\":\n%s", text, word, buf_str(&dump));
}

static void refused(const char *text, const char *word)
{
	if (read_text(text) != ERR_USAGE || !strstr(e.text, word))
		fail_msg("%s\n%s", text, e.text);
	assert_int_equal(strncmp(e.text, "f.yml:", 6), 0);
}

/* ---- one case a key ---- */

#define NOTE "note "
#define T "T" /* at the top; then a database with a replica */
#define D "D" /* in the database */
#define R "R" /* in the replica */
#define F "F" /* in a database that is a folder */
#define U "U" /* at the top, and the replica is of type s3 */
#define S "S" /* in such a replica */

static const struct {
	const char *key, *where, *line, *gives;
} cases[] = {
	{"dbs", T, "", "database=/data/app.db"},
	{"addr", T, "addr: ':9090'", "addr=:9090"},
	{"addr", T, "addr: 127.0.0.1:9090", "addr=127.0.0.1:9090"},
	{"addr", T, "addr: '[::1]:9090'", "addr=[::1]:9090"},
	{"addr", T, "addr: ''", ""},
	{"addr", T, "addr: 9090", "!\":9090\""},
	{"addr", T, "addr: ':65536'", "!\":9090\""},
	{"addr", T, "addr: 'http://localhost:9090'", "!\":9090\""},
	{"mcp-addr", T, "mcp-addr: ':3001'", "mcp-addr has no effect"},
	{"exec", T, "exec: ./app", "exec=./app"},
	{"heartbeat-url", T, "heartbeat-url: https://x.example/1", "heartbeat-url=https://x.example/1"},
	{"heartbeat-url", T, "heartbeat-url: ftp://x.example/1", "!http:// or https://"},
	{"heartbeat-interval", T, "heartbeat-url: http://x\nheartbeat-interval: 1m",
		"heartbeat-interval=60000"},
	{"heartbeat-interval", T, "heartbeat-interval: 1m",
		"heartbeat-interval has no effect: there is no heartbeat-url"},
	{"heartbeat-interval", T, "heartbeat-interval: 59s", "!a minute or more"},
	{"shutdown-sync-timeout", T, "shutdown-sync-timeout: 5s", "shutdown=5000"},
	{"shutdown-sync-interval", T, "shutdown-sync-interval: 1s",
		"shutdown-sync-interval has no effect"},
	{"logging", T, "logging: 3", "!keys with their values"},
	{"logging.level", T, "logging: {level: DEBUG}", "log-level=debug"},
	{"logging.level", T, "logging: {level: loud}", "!trace, debug, info, warn or error"},
	{"logging.type", T, "logging: {type: json}", "log-json=1"},
	{"logging.type", T, "logging: {type: pretty}", "pretty is written as text"},
	{"logging.type", T, "logging: {type: xml}", "!text or json"},
	{"logging.stderr", T, "logging: {stderr: true}", ""},
	{"logging.stderr", T, "logging: {stderr: false}", "stderr always"},
	{"logging.source", T, "logging: {source: true}", "logging.source has no effect"},
	{"socket", T, "socket: []", "!keys with their values"},
	{"socket.enabled", T, "socket: {enabled: yes}", "socket=1"},
	{"socket.path", T, "socket: {path: /run/x.sock, enabled: true}", "socket-path=/run/x.sock"},
	{"socket.path", T, "socket: {path: /run/x.sock}", "socket.enabled is not true"},
	{"socket.permissions", T, "socket: {enabled: true}", "socket-mode=384"},
	{"socket.permissions", T, "socket: {permissions: 0660, enabled: true}", "socket-mode=432"},
	{"socket.permissions", T, "socket: {permissions: 0o640, enabled: true}", "socket-mode=416"},
	{"socket.permissions", T, "socket: {permissions: \"600\", enabled: true}", "socket-mode=384"},
	{"socket.permissions", T, "socket: {permissions: 0600}", "socket.enabled is not true"},
	{"socket.permissions", T, "socket: {permissions: 384}", "!in octal, as 0600"},
	{"socket.permissions", T, "socket: {permissions: rw}", "!in octal, as 0600"},
	{"socket.permissions", T, "socket: {permissions: 01777}", "!in octal, as 0600"},
	{"l0-retention-check-interval", T, "l0-retention-check-interval: 1s", "has no effect"},
	{"verify-compaction", T, "verify-compaction: true", "verify-compaction has no effect"},
	{"levels", T, "levels: [{interval: 30s}, {interval: 5m}]", "!!has no effect"},
	{"levels", T, "levels: [{interval: 10s}]", "levels has no effect"},
	{"levels", T, "levels: [{intervall: 10s}]", "!interval: 30s"},
	{"path", D, "", "database=/data/app.db"},
	{"dir", F, "", "database=/data/all"},
	{"pattern", F, "", "pattern=*.db"},
	{"recursive", F, "recursive: true", "recursive=1"},
	{"watch", F, "watch: true", "watch=1"},
	{"watch", D, "watch: true", "!watch goes with dir"},
	{"meta-path", D, "meta-path: /state", "meta-path=/state"},
	{"meta-path", F, "meta-path: /state", "!with dir it is meta-dir"},
	{"meta-dir", F, "meta-dir: /states", "meta-dir=/states"},
	{"restore-if-db-not-exists", D, "restore-if-db-not-exists: true", "restore=1"},
	{"replica", D, "", "replica=file"},
	{"replicas", D, "replicas: []", "!replica and replicas exclude"},
	{"monitor-interval", D, "monitor-interval: 1s", "monitor-interval has no effect"},
	{"checkpoint-interval", D, "checkpoint-interval: 1m", "checkpoint-interval has no effect"},
	{"busy-timeout", D, "busy-timeout: 5s", "busy-timeout has no effect"},
	{"min-checkpoint-page-count", D, "min-checkpoint-page-count: 700", "checkpoint-frames=700"},
	{"min-checkpoint-page-count", D, "min-checkpoint-page-count: 1", "10 pages are taken"},
	{"min-checkpoint-page-count", D, "min-checkpoint-page-count: 0", "!from 1 on"},
	{"max-checkpoint-page-count", D, "max-checkpoint-page-count: 10000", "has no effect"},
	{"truncate-page-n", D, "truncate-page-n: -1", "truncate-page-n has no effect"},
	{"max-sync-wal-bytes", D, "max-sync-wal-bytes: 64MiB", "max-sync-wal-bytes has no effect"},
	{"snapshot", D, "snapshot: 1h", "!keys with their values"},
	{"snapshot.interval", T, "snapshot: {interval: 6h}", "snapshot-interval=21600000"},
	{"snapshot.interval", D, "snapshot: {interval: 30m}", "1h is taken"},
	{"snapshot.retention", T, "snapshot: {retention: 720h}", "l3-retention=2592000000"},
	{"snapshot.retention", D, "snapshot: {retention: 12h}",
		"l2-retention=43200000 l3-retention=43200000"},
	{"snapshot.retention", D, "snapshot: {retention: 1h}", "is less than the 3h"},
	{"retention", R, "retention: 336h", "l3-retention=1209600000"},
	{"retention", R, "retention: false", " retention=0"},
	{"retention", R, "retention: soon", "!true or false"},
	{"retention.enabled", T, "retention: {enabled: false}", " retention=0"},
	{"retention-check-interval", R, "retention-check-interval: 1h", "has no effect"},
	{"snapshot-interval", R, "snapshot-interval: 2h", "snapshot-interval=7200000"},
	{"snapshot-interval", R, "snapshot-interval: 0s", "can't be off"},
	{"l0-retention", T, "l0-retention: 4h", "l0-retention=14400000"},
	{"l0-retention", T, "l0-retention: 5m", "3h are taken"},
	{"l1-retention", D, "l1-retention: 48h", "l1-retention=172800000"},
	{"l2-retention", T, "l2-retention: 96h", "l2-retention=345600000"},
	{"l3-retention", R, "l3-retention: 1000h", "l3-retention=3600000000"},
	{"l3-retention", R, "l3-retention: 1h", "!from 3h to 87600h"},
	{"snapshot-renew", R, "snapshot-renew: 48h", "snapshot-renew=172800000"},
	{"validation", T, "validation: x", "!keys with their values"},
	{"validation.interval", T, "validation: {interval: 6h}", "validation.interval has no effect"},
	{"validation-interval", R, "validation-interval: 6h", "validation-interval has no effect"},
	{"sync-interval", R, "sync-interval: 10s", "sync-interval=10000"},
	{"sync-interval", T, "sync-interval: 1ms", "10ms are taken"},
	{"sync-interval", R, "sync-interval: 10", "!a duration with its unit"},
	{"staging-size", T, "staging-size: 64MiB", "staging-size=67108864"},
	{"copies-size", D, "copies-size: 64 MB", "copies-size=64000000"},
	{"checkpoint-frames", R, "checkpoint-frames: 900", "checkpoint-frames=900"},
	{"barrier-size", T, "barrier-size: 8MiB", "barrier-size=8388608"},
	{"no-barrier", D, "no-barrier: true", "no-barrier=1"},
	{"any-filesystem", D, "any-filesystem: true", "any-filesystem=1"},
	{"max-sync-ltx-files", R, "max-sync-ltx-files: 3", "max-sync-ltx-files has no effect"},
	{"auto-recover", R, "auto-recover: true", "auto-recover has no effect"},
	{"type", R, "type: file", "type=file"},
	{"type", R, "type: sftp", "!a replica of type sftp can't be written here"},
	{"type", R, "type: floppy", "!there are file and s3"},
	{"name", R, "name: home", "replica=home"},
	{"path", R, "", "target=/backup/app"},
	{"url", R, "url: s3://b/x", "!url and path exclude"},
	{"access-key-id", S, "access-key-id: AK\n        secret-access-key: SK", "access-key-id=AK"},
	{"access-key-id", U, "access-key-id: AK", "!go together"},
	{"secret-access-key", U, "access-key-id: AK\nsecret-access-key: SK", "secret-access-key=SK"},
	{"session-token", S, "session-token: ST", "session-token=ST"},
	{"region", S, "region: eu-west-1", "region=eu-west-1"},
	{"bucket", R, "bucket: bbb", "bucket has no effect: the replica is a folder"},
	{"bucket", U, "bucket: bbb", "the URL of each replica of type s3 names one"},
	{"region", T, "region: eu", "region has no effect: no replica is of type s3"},
	{"endpoint", U, "endpoint: http://localhost:9000", "endpoint=http://localhost:9000"},
	{"force-path-style", S, "force-path-style: true", "force-path-style=1"},
	{"sign-payload", S, "sign-payload: false", "sign-payload=-1"},
	{"require-content-md5", S, "require-content-md5: off", "require-content-md5=-1"},
	{"skip-verify", U, "skip-verify: true", "skip-verify=1"},
	{"storage-class", S, "storage-class: STANDARD_IA", "storage-class=STANDARD_IA"},
	{"part-size", S, "part-size: 16MiB", "part-size=16777216"},
	{"part-size", S, "part-size: 1MB", "below S3's least size"},
	{"concurrency", U, "concurrency: 3", "concurrency=3"},
	{"concurrency", U, "concurrency: 0", "!from 1 to 64"},
	{"server-side-encryption", S, "server-side-encryption: AES256",
		"server-side-encryption=AES256"},
	{"sse-customer-algorithm", S, "sse-customer-algorithm: AES256", "!needs sse-customer-key"},
	{"sse-customer-key", S, "sse-customer-key: KEY", "sse-customer-key=KEY"},
	{"sse-customer-key-path", S, "sse-customer-key-path: /key", "sse-customer-key-path=/key"},
	{"sse-kms-key-id", S, "sse-kms-key-id: k1", "sse-kms-key-id=k1"},
	{"age", R, "age: {recipients: [x]}", "!age encryption is not supported"},
};

/* A file with one line in one place. */
static void compose(const char *where, const char *line, char text[1000])
{
	bool folder = *where == 'F', top = *where == 'T' || *where == 'U';
	const char *indent = *where == 'D' || folder ? "    " : "        ";
	int n = 0;
	if (top)
		n += sprintf(text + n, "%s\n", line);
	n += sprintf(text + n, "dbs:\n  - %s\n",
		folder ? "dir: /data/all\n    pattern: '*.db'" : "path: /data/app.db");
	if (*where == 'D' || folder)
		n += sprintf(text + n, "%s%s\n", indent, line);
	n += sprintf(text + n, "    replica:\n        %s\n",
		*where == 'U' || *where == 'S' ? "url: s3://bucket/app" : "path: /backup/app");
	if (*where == 'R' || *where == 'S')
		sprintf(text + n, "%s%s\n", indent, line);
}

static void test_each_key(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char text[1000];
		compose(cases[i].where, cases[i].line, text);
		if (strncmp(cases[i].gives, "!!", 2) == 0) {
			has(text, "");
			assert_null(strstr(buf_str(&dump), cases[i].gives + 2));
		} else if (cases[i].gives[0] == '!') {
			refused(text, cases[i].gives + 1);
		} else {
			has(text, cases[i].gives);
		}
	}
}

/* No key without a case; those of foreign replicas are all alike. */
static void test_all_keys(void **state)
{
	(void)state;
	for (const struct config_key *k = config_keys; k->name; k++) {
		size_t i = 0;
		while (i < COUNT(cases) && strcmp(cases[i].key, k->name) != 0)
			i++;
		if (k->effect == CONFIG_REFUSED && strcmp(k->name, "age") != 0) {
			char line[100], text[1000];
			snprintf(line, sizeof(line), "%s: S3CRET", k->name);
			compose(R, line, text);
			refused(text, "can't be written here: file and s3 can");
			assert_null(strstr(e.text, "S3CRET"));
		} else if (i == COUNT(cases)) {
			fail_msg("no case for %s", k->name);
		}
	}
}

/* docs/CONFIG.md names every key in its table, and no other. */
static void test_docs(void **state)
{
	(void)state;
	struct buf page;
	buf_init(&page, 1 << 20);
	assert_int_equal(fs_read_file("docs/CONFIG.md", &page, &e), ERR_OK);
	for (const struct config_key *k = config_keys; k->name; k++) {
		char word[120];
		snprintf(word, sizeof(word), "`%s`", k->name);
		if (!strstr(buf_str(&page), word))
			fail_msg("docs/CONFIG.md has no %s", word);
	}
	for (const char *p = strstr(buf_str(&page), "\n| `"); p; p = strstr(p + 1, "\n| `")) {
		char name[100] = "";
		sscanf(p + 4, "%99[^`]", name);
		const struct config_key *k = config_keys;
		while (k->name && strcmp(k->name, name) != 0)
			k++;
		if (!k->name)
			fail_msg("docs/CONFIG.md has %s, which is no key", name);
	}
	buf_free(&page);
}

/* ---- what stands where ---- */

static void test_defaults_go_down(void **state)
{
	(void)state;
	has("sync-interval: 10s\nregion: r1\n"
		"dbs:\n"
		"- path: /a\n"
		"  replicas:\n"
		"  - {url: 's3://bbb/a', region: r2}\n"
		"- path: /b\n"
		"  sync-interval: 20s\n"
		"  replica: {url: 's3://bbb/b', sync-interval: 30s}\n",
		"target=s3://bbb/a sync-interval=10000");
	assert_non_null(strstr(buf_str(&dump), "region=r2"));
	assert_non_null(strstr(buf_str(&dump), "target=s3://bbb/b sync-interval=30000"));
	assert_non_null(strstr(buf_str(&dump), "region=r1"));
	/* Wherever in the file the defaults stand. */
	has("dbs: [{replica: {path: /r}, l1-retention: 48h, path: /a, retention: 30h}]\nsync-interval: "
		"9s\n",
		"sync-interval=9000");
	assert_non_null(strstr(buf_str(&dump), "l1-retention=172800000 l2-retention=108000000"));
}

static void test_seeds(void **state)
{
	(void)state;
	setenv("AWS_ACCESS_KEY_ID", "AK", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "S#K: \"'", 1);
	has("access-key-id:     \"${AWS_ACCESS_KEY_ID}\"\n"
		"secret-access-key: \"${AWS_SECRET_ACCESS_KEY}\"\n"
		"dbs:\n"
		"  - path: \"/app/data/store.db\"\n"
		"    replicas:\n"
		"      - url: \"s3://your-bucket-name/db\"\n",
		"secret-access-key=S#K: \"'");
	assert_null(strstr(buf_str(&dump), " secrets="));
	has("access-key-id: <your-r2-key>\n"
		"secret-access-key: <your-r2-secret>\n"
		"\n"
		"dbs:\n"
		"  - path: /var/lib/my-app/data.db\n"
		"    replicas:\n"
		"      - url: s3://my-bucket-name.r2.cloudflarestorage.com/backup\n",
		"target=s3://my-bucket-name.r2.cloudflarestorage.com/backup");
	assert_non_null(strstr(buf_str(&dump), " secrets=1"));
	has("# /etc/litestream.yml\n"
		"dbs:\n"
		"  - path: /home/deploy/application-name/current/storage/production.sqlite3\n"
		"    replicas:\n"
		"      - url: s3://bucket-name.litestream.region.digitaloceanspaces.com/production\n"
		"        access-key-id: xxxxxxxxxxxxxxxxxxxx\n"
		"        secret-access-key: xxxxxxxxx/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n",
		"secret-access-key=xxxxxxxxx/xxxx");
}

static void test_replicas(void **state)
{
	(void)state;
	has("dbs: [{path: /a, replicas: [{url: 's3://bbb/1'}, {url: 's3://bbb/2'}, {path: /r}, {name: "
		"s3-2, "
		"path: /q}]}]",
		"replica=s3 type=s3 target=s3://bbb/1");
	assert_non_null(strstr(buf_str(&dump), "replica=s3-3 type=s3 target=s3://bbb/2"));
	assert_non_null(strstr(buf_str(&dump), "replica=file type=file target=/r"));
	assert_non_null(strstr(buf_str(&dump), "replica=s3-2 type=file target=/q"));
	has("bucket: bbb\ndbs: [{path: /a, replica: {type: s3, path: 'x/y z%'}}]",
		"target=s3://bbb/x/y%20z%25");
	has("dbs: [{path: /a, replica: {type: s3, bucket: ccc}}]", "target=s3://ccc/");
	has("dbs: [{path: /a, replica: {url: 'FILE:///x'}}]", "type=file target=FILE:///x");
	has("dbs: [{path: /a, replica: {url: /x//y/./z/}}]", "type=file target=/x/y/z");
}

static void test_paths(void **state)
{
	(void)state;
	char cwd[4096], word[5000];
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	setenv("HOME", "/home/me", 1);
	snprintf(word, sizeof(word), "database=%s/data/x.db", cwd);
	has("dbs: [{path: ./data/x.db, replica: {path: ~/backup}}]", word);
	assert_non_null(strstr(buf_str(&dump), "target=/home/me/backup"));
	static const char *const below[][3] = {
		{"s3://b/x", "a b.db", "s3://b/x/a%20b.db"},
		{"s3://b/x/?endpoint=http://h", "d/a.db", "s3://b/x/d/a.db?endpoint=http://h"},
		{"s3://b", "a", "s3://b/a"},
		{"/r/x", "a%?.db", "/r/x/a%?.db"},
	};
	for (size_t i = 0; i < COUNT(below); i++) {
		char *out = config_target_below(below[i][0], below[i][1]);
		assert_string_equal(out, below[i][2]);
		free(out);
	}
}

static void test_mistakes(void **state)
{
	(void)state;
	static const char *const wrong[][2] = {
		{"dbs:\n- path: /a\n  replica:\n    path: /r\n    retension: 24h\n",
			"f.yml:5: unknown key \"retension\" under a replica, did you mean \"retention\"?"},
		{"dbs:\n- path: /a\n  replica: {path: /r}\n  monitor-intervall: 1s\n",
			"f.yml:4: unknown key \"monitor-intervall\" under a database, did you mean"},
		{"logging: {levl: debug}",
			"unknown key \"logging.levl\" at the top of the file, did you mean "
			"\"logging.level\"?"},
		{"logging.level: debug", "unknown key"},
		{"frobnicate: 1",
			"f.yml:1: unknown key \"frobnicate\" at the top of the file: docs/CONFIG.md"},
		{"\"a\\eb\": 1", "unknown key \"a?b\""},
		{"url: s3://x/y",
			"the key \"url\" can't stand at the top of the file: it belongs under a replica"},
		{"dbs: [{path: /a, url: s3://x/y}]", "the key \"url\" can't stand under a database"},
		{"dbs: {path: /a}", "a list of databases was expected"},
		{"dbs: [/a]", "keys with their values were expected"},
		{"- a", "keys with their values were expected"},
		{"words", "keys with their values were expected"},
		{"dbs: [{path: /a}]", "f.yml:1: a database needs a replica"},
		{"dbs: [{path: /a, replicas: []}]", "a database needs a replica"},
		{"dbs: [{replica: {path: /r}}]", "a database needs path, or dir and pattern"},
		{"dbs: [{path: /a, dir: /b, replica: {path: /r}}]", "path and dir exclude each other"},
		{"dbs: [{dir: /b, replica: {path: /r}}]", "dir needs pattern"},
		{"dbs: [{path: /a, replica: {}}]", "a replica needs url, or type and path"},
		{"dbs: [{path: /a, replica: {type: s3}}]", "needs url, or bucket and path"},
		{"dbs: [{path: /a, replica: {type: file, url: 's3://b/x'}}]", "type and url don't agree"},
		{"dbs: [{path: /a, replica: {url: 'gs://b/x'}}]", "a replica of type gs can't be written"},
		{"dbs: [{path: /a, replica: {url: 's3://b/x', bucket: c}}]", "url and bucket exclude"},
		{"dbs: [{path: /a, replicas: [{name: x, path: /r}, {name: x, path: /s}]}]",
			"have the name \"x\""},
		{"dbs:\n- {path: /a, replica: {path: /r}}\n- {path: //a/, replica: {path: /s}}\n",
			"f.yml:3: the same database as in line 2"},
		{"dbs:\n- {path: /a, replica: {path: /r}}\n- {path: /b, replica: {path: /r/}}\n",
			"f.yml:3: two databases would write over each other: the same replica as in line 2"},
		{"snapshot-interval: 2h\nsnapshot: {interval: 3h}", "say the same: leave one of them out"},
		{"dbs: [{path: /a, replica: {path: /r}, retention: 24h, snapshot: {retention: 30h}}]",
			"f.yml:1: retention and snapshot.retention say the same"},
		{"sync-interval: [1s]", "one value was expected"},
		{"sync-interval: -1s", "a duration with its unit"},
		{"sync-interval: 48h", "from 10ms to 24h, not \"48h\""},
	};
	for (size_t i = 0; i < COUNT(wrong); i++)
		refused(wrong[i][0], wrong[i][1]);
	has("", "");
	has("dbs:\n", "");
	has("~", "");
}

/* ---- what is told ---- */

static void test_notes(void **state)
{
	(void)state;
	unsetenv("NOT_SET");
	setenv("IS_SET", "7s", 1);
	has("dbs:\n"
		"- {path: /a, monitor-interval: 1s, replica: {path: /r, region: $NOT_SET, sync-interval: "
		"$IS_SET}}\n"
		"- {path: /b, monitor-interval: 1s, replica: {path: /s, access-key-id: k, "
		"secret-access-key: 'a$Piece'}}\n"
		"- {path: /d, monitor-interval: 1s, replica: {path: /q$PID}}\n",
		"note 2+2: monitor-interval has no effect");
	assert_non_null(strstr(buf_str(&dump), "warning 2+0: region has the variable NOT_SET in it"));
	assert_null(strstr(buf_str(&dump), "Piece"));
	assert_non_null(strstr(buf_str(&dump), "sync-interval=7000"));
	char word[60];
	snprintf(word, sizeof(word), "target=/q%d", (int)getpid());
	assert_non_null(strstr(buf_str(&dump), word));
}

static void test_unexpanded(void **state)
{
	(void)state;
	const char *text = "dbs: [{path: /a, replica: {url: 's3://b/r', access-key-id: x, "
					   "secret-access-key: 'a$b${c'}}]";
	assert_int_equal(config_read(&c, "f.yml", text, strlen(text), false, &e), ERR_OK);
	assert_string_equal(c.databases[0].replicas[0].settings.secret_access_key, "a$b${c");
	assert_int_equal(c.n_notes, 0);
	config_free(&c);
}

static void test_find_replica(void **state)
{
	(void)state;
	const char *text = "dbs: [{path: /a, replicas: [{path: /r}, {name: far, path: /s}]}]";
	const struct config_replica *p;
	assert_int_equal(config_read(&c, "f.yml", text, strlen(text), false, &e), ERR_OK);
	assert_int_equal(config_find_replica(&c, c.databases, NULL, &p, &e), ERR_OK);
	assert_string_equal(p->target, "/r");
	assert_int_equal(config_find_replica(&c, c.databases, "far", &p, &e), ERR_OK);
	assert_string_equal(p->target, "/s");
	assert_int_equal(config_find_replica(&c, c.databases, "none", &p, &e), ERR_USAGE);
	assert_non_null(strstr(e.text, "there are file, far"));
	config_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_key),
		cmocka_unit_test(test_all_keys),
		cmocka_unit_test(test_docs),
		cmocka_unit_test(test_defaults_go_down),
		cmocka_unit_test(test_seeds),
		cmocka_unit_test(test_replicas),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_notes),
		cmocka_unit_test(test_unexpanded),
		cmocka_unit_test(test_find_replica),
	};
	buf_init(&dump, 1 << 20);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	buf_free(&dump);
	return failed;
}
