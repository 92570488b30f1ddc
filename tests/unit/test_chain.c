/* Where credentials come from that nobody gave: the order, the roles, what is refused, renewal. */
#include "lib/iam_bed.h"

#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define ROLE "arn:aws:iam::1:role/backup"
#define FORM_ROLE "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fbackup"

static int start_anew(void **state)
{
	iam_set_up(state);
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
	set_address("AWS_ENDPOINT_URL_STS", "");
	return fs_mkdirs(tmpdir_path(dir, ".aws"), 0700);
}

static void write_file(const char *name, const char *text)
{
	assert_int_equal(fs_replace_file(tmpdir_path(dir, name), text, strlen(text), 0600, &e), ERR_OK);
}

static const char *own_url(void)
{
	static char url[200];
	snprintf(url, sizeof(url), "s3://bucket/db?endpoint=http://127.0.0.1:%d", server.port);
	return url;
}

/* A store of somebody who gave no keys. */
static int open_without(void)
{
	struct store_options none = {.max_attempts = 1};
	store_close(s);
	s = NULL;
	e = (struct err)ERR_INIT;
	return store_open(&s, own_url(), &none, &e);
}

/* What STS answers: as keys_for, in XML. */
static const char *sts_keys(const char *action, const char *key, int64_t ms)
{
	static char text[4][1000];
	static int next;
	char *out = text[next++ % 4], until[32];
	clock_format_rfc3339(clock_wall_ms() + ms, until);
	snprintf(out, sizeof(text[0]),
		"{'body': '<%sResponse><%sResult><Credentials><AccessKeyId>%s</AccessKeyId>"
		"<SecretAccessKey>role-Secret-%s</SecretAccessKey><SessionToken>role-Token-%s</"
		"SessionToken>"
		"<Expiration>%s</Expiration></Credentials></%sResult></%sResponse>'}",
		action, action, key, key, key, until, action, action);
	return out;
}

#define STS_ERROR(status, code)                                                             \
	"{'status': " #status ", 'body': '<ErrorResponse><Error><Type>Sender</Type><Code>" code \
	"</Code><Message>Said STS.</Message></Error></ErrorResponse>'}"

/* Was the body of request number i this one? */
static void asked_for(size_t i, const char *body)
{
	uint8_t digest[SHA256_LEN];
	char hex[SHA256_HEX_LEN];
	assert_int_equal(digest_sha256(body, strlen(body), digest), 0);
	digest_hex(digest, sizeof(digest), hex);
	assert_string_equal(scripted_method(&server, i), "POST");
	assert_string_equal(scripted_sha256(&server, i), hex);
}

static void signed_by(size_t i, const char *key, const char *place)
{
	char credential[100], date[9];
	snprintf(date, sizeof(date), "%.8s", scripted_header(&server, i, "x-amz-date"));
	const char *line = scripted_header(&server, i, "authorization");
	snprintf(credential, sizeof(credential), "Credential=%s/%s/%s/aws4_request,", key, date, place);
	if (!line || !strstr(line, credential))
		fail_msg("%s is not in: %s", credential, line ? line : "(none)");
}

/* ---- the order ---- */

static void test_environment_first(void **state)
{
	(void)state;
	/* What would come later is broken: it isn't looked at. */
	setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent", 1);
	write_file(".aws/credentials", "[default]\nbroken\n");
	setenv("LITESTREAM_ACCESS_KEY_ID", "AKLITE", 1);
	setenv("LITESTREAM_SECRET_ACCESS_KEY", "lite-secret", 1);
	setenv("LITESTREAM_SESSION_TOKEN", "lite-token", 1);
	assert_code(open_without(), ERR_OK);
	ANSWERS(OK_PUT);
	assert_code(put("x", false), ERR_OK);
	signed_by(0, "AKLITE", "us-east-1/s3");
	assert_string_equal(scripted_header(&server, 0, "x-amz-security-token"), "lite-token");
	/* As in Litestream, which copies its names to AWS's where these are not set. */
	setenv("AWS_ACCESS_KEY_ID", "AKAWS", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "aws-secret", 1);
	assert_code(open_without(), ERR_OK);
	ANSWERS(OK_PUT);
	assert_code(put("x", false), ERR_OK);
	signed_by(0, "AKAWS", "us-east-1/s3");
	assert_null(scripted_header(&server, 0, "x-amz-security-token"));
	assert_int_equal(scripted_count(&server), 1);
}

static void test_web_identity(void **state)
{
	(void)state;
	setenv("AWS_WEB_IDENTITY_TOKEN_FILE", tmpdir_path(dir, "token"), 1);
	assert_code(open_without(), ERR_DENIED);
	assert_says("AWS_ROLE_ARN, the role that the token is for, is not");
	setenv("AWS_ROLE_ARN", ROLE, 1);
	setenv("AWS_REGION", "eu-central-1", 1);
	/* It counts before a profile does. */
	write_file(".aws/credentials", "[default]\naws_access_key_id=A\naws_secret_access_key=B\n");
	assert_code(open_without(), ERR_OK);
	ANSWERS(OK_PUT);
	assert_code(put("x", false), ERR_DENIED);
	assert_says("the web identity's token can't be read: ");
	write_file("token", "ey.one\n");
	iam_reset();
	ANSWERS(sts_keys("AssumeRoleWithWebIdentity", "ASIAONE", HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	asked_for(0, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&" FORM_ROLE
				 "&RoleSessionName=litestream&WebIdentityToken=ey.one");
	assert_null(scripted_header(&server, 0, "authorization"));
	check_signed(1, "ASIAONE");
	signed_by(1, "ASIAONE", "eu-central-1/s3");
	/* Renewed with the token that is there then. */
	write_file("token", "ey.two");
	setenv("AWS_ROLE_SESSION_NAME", "pod-7", 1);
	pass(3600 - 299);
	ANSWERS(sts_keys("AssumeRoleWithWebIdentity", "ASIATWO", HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	asked_for(0, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&" FORM_ROLE
				 "&RoleSessionName=pod-7&WebIdentityToken=ey.two");
	check_signed(1, "ASIATWO");
}

static void test_profile_keys(void **state)
{
	(void)state;
	write_file(".aws/credentials", "[default]\naws_access_key_id=AKONE\naws_secret_access_key=one\n"
								   "[x]\naws_access_key_id=AKTWO\naws_secret_access_key=two-two\n"
								   "aws_session_token=role-Token-AKTWO\n");
	write_file(".aws/config", "[profile x]\nregion=eu-north-1\n");
	set_address("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/unasked");
	assert_code(open_without(), ERR_OK);
	ANSWERS(OK_PUT);
	assert_code(put("x", false), ERR_OK);
	signed_by(0, "AKONE", "us-east-1/s3");
	setenv("AWS_PROFILE", "x", 1);
	iam_reset();
	assert_code(open_without(), ERR_OK);
	ANSWERS(OK_PUT);
	assert_code(put("x", false), ERR_OK);
	signed_by(0, "AKTWO", "eu-north-1/s3");
	check_signed(0, "AKTWO");
	/* Without an end, but another program renews them in the file: read again, once. */
	write_file(".aws/credentials", "[x]\naws_access_key_id=AKNEW\naws_secret_access_key=new\n"
								   "aws_session_token=role-Token-AKNEW\n");
	pass(24 * 3600);
	ANSWERS(ERROR(400, "ExpiredToken"), OK_PUT);
	assert_code(put("x", false), ERR_DENIED);
	store_close(s);
	s = NULL;
	struct store_options none = {0};
	assert_code(store_open(&s, own_url(), &none, &e), ERR_OK);
	ANSWERS(OK_PUT);
	assert_code(put("x", false), ERR_OK);
	check_signed(0, "AKNEW");
	pass(61);
	ANSWERS(ERROR(400, "ExpiredToken"));
	assert_code(put("x", false), ERR_DENIED);
	assert_int_equal(scripted_count(&server), 2);
	char text[100] = "role-Token-AKTWO role-Token-AKNEW";
	log_redact(text);
	assert_string_equal(text, "role-Token-AKTWO ***");
}

static void test_container_then_ec2(void **state)
{
	(void)state;
	/* A profile that says nothing of credentials is passed by. */
	write_file(".aws/config", "[default]\nregion=eu-north-1\n");
	set_address("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/box");
	assert_code(open_without(), ERR_OK);
	ANSWERS(keys_for("ASIABOX", HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	assert_string_equal(scripted_path(&server, 0), "/box");
	check_signed(1, "ASIABOX");
	unsetenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	unsetenv("AWS_EC2_METADATA_DISABLED");
	set_address("AWS_EC2_METADATA_SERVICE_ENDPOINT", "");
	iam_reset();
	assert_code(open_without(), ERR_OK);
	ANSWERS("{'body': 'SESSION'}", "{'body': 'my-role'}", keys_for("ASIAEC2", HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	assert_string_equal(scripted_path(&server, 0), "/latest/api/token");
	check_signed(3, "ASIAEC2");
}

static void test_nothing(void **state)
{
	(void)state;
	assert_code(open_without(), ERR_DENIED);
	assert_says("no credentials for s3://bucket.127.0.0.1:");
	assert_says("tried, in this order: keys (no AWS_ACCESS_KEY_ID, no LITESTREAM_ACCESS_KEY_ID); "
				"web identity (no AWS_WEB_IDENTITY_TOKEN_FILE); profile \"default\" (not in ");
	assert_says(".aws/config and ");
	assert_says("; container (no AWS_CONTAINER_CREDENTIALS_…_URI); EC2's metadata "
				"(AWS_EC2_METADATA_DISABLED); set LITESTREAM_ACCESS_KEY_ID and");
	ANSWERS(OK_PUT);
	assert_int_equal(scripted_count(&server), 0);
}

/* ---- roles ---- */

static void test_role_of_a_profile(void **state)
{
	(void)state;
	write_file(".aws/config",
		"[profile backup]\nrole_arn = " ROLE "\nsource_profile = middle\nexternal_id = a/b=\n"
		"role_session_name = me@here\nduration_seconds = 900\nregion = eu-west-1\n"
		"[profile middle]\nrole_arn = arn:x\nsource_profile = middle\n");
	write_file(".aws/credentials",
		"[middle]\naws_access_key_id=AKBASE\naws_secret_access_key=base-secret\n");
	setenv("AWS_PROFILE", "backup", 1);
	assert_code(open_without(), ERR_OK);
	ANSWERS(sts_keys("AssumeRole", "ASIATOP", HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	asked_for(0, "Action=AssumeRole&Version=2011-06-15&" FORM_ROLE
				 "&RoleSessionName=me%40here&DurationSeconds=900&ExternalId=a%2Fb%3D");
	signed_by(0, "AKBASE", "eu-west-1/sts");
	assert_null(scripted_header(&server, 0, "x-amz-security-token"));
	check_signed(1, "ASIATOP");
	/* One role after the other, the second in the name of the first. */
	write_file(".aws/config", "[profile backup]\nrole_arn = " ROLE "\nsource_profile = middle\n"
							  "[profile middle]\nrole_arn = arn:middle\nsource_profile = base\n");
	write_file(".aws/credentials",
		"[base]\naws_access_key_id=AKBASE\naws_secret_access_key=base-secret\n");
	iam_reset();
	ANSWERS(sts_keys("AssumeRole", "ASIAMID", HOUR_MS), sts_keys("AssumeRole", "ASIATOP", HOUR_MS),
		OK_PUT);
	assert_code(put("x", false), ERR_OK);
	asked_for(0, "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Amiddle"
				 "&RoleSessionName=litestream");
	signed_by(0, "AKBASE", "us-east-1/sts");
	check_signed(1, "ASIAMID");
	asked_for(1, "Action=AssumeRole&Version=2011-06-15&" FORM_ROLE "&RoleSessionName=litestream");
	check_signed(2, "ASIATOP");
}

static void test_sources_of_a_role(void **state)
{
	(void)state;
	setenv("AWS_PROFILE", "p", 1);
	write_file(
		".aws/config", "[profile p]\nrole_arn = " ROLE "\ncredential_source = Environment\n");
	assert_code(open_without(), ERR_DENIED);
	assert_says("credential_source = Environment, but AWS_ACCESS_KEY_ID");
	setenv("AWS_ACCESS_KEY_ID", "AKENV", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "env-secret", 1);
	setenv("AWS_SESSION_TOKEN", "env-token", 1);
	assert_code(open_without(), ERR_OK);
	ANSWERS(sts_keys("AssumeRole", "ASIAONE", HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	signed_by(0, "AKENV", "us-east-1/sts");
	assert_string_equal(scripted_header(&server, 0, "x-amz-security-token"), "env-token");
	check_signed(1, "ASIAONE");
	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	unsetenv("AWS_SESSION_TOKEN");
	write_file(
		".aws/config", "[profile p]\nrole_arn = " ROLE "\ncredential_source = EcsContainer\n");
	assert_code(open_without(), ERR_DENIED);
	assert_says("credential_source = EcsContainer, but no AWS_CONTAINER");
	set_address("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/box");
	iam_reset();
	assert_code(open_without(), ERR_OK);
	ANSWERS(keys_for("ASIABOX", HOUR_MS), sts_keys("AssumeRole", "ASIATWO", HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	check_signed(1, "ASIABOX");
	check_signed(2, "ASIATWO");
	write_file(".aws/config",
		"[profile p]\nrole_arn = " ROLE "\ncredential_source = Ec2InstanceMetadata\n");
	assert_code(open_without(), ERR_DENIED);
	assert_says("AWS_EC2_METADATA_DISABLED");
	unsetenv("AWS_EC2_METADATA_DISABLED");
	set_address("AWS_EC2_METADATA_SERVICE_ENDPOINT", "");
	iam_reset();
	assert_code(open_without(), ERR_OK);
	ANSWERS("{'body': 'SESSION'}", "{'body': 'my-role'}", keys_for("ASIAEC2", HOUR_MS),
		sts_keys("AssumeRole", "ASIATHREE", HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	check_signed(3, "ASIAEC2");
	check_signed(4, "ASIATHREE");
	/* The web identity of a profile is one for its role, and may be assumed another role with. */
	write_file("token", "ey.profile");
	char text[600];
	snprintf(text, sizeof(text),
		"[profile p]\nrole_arn = " ROLE
		"\nsource_profile = web\n[profile web]\nrole_arn = arn:web\n"
		"web_identity_token_file = %s/token\n",
		dir);
	write_file(".aws/config", text);
	iam_reset();
	assert_code(open_without(), ERR_OK);
	ANSWERS(sts_keys("AssumeRoleWithWebIdentity", "ASIAWEB", HOUR_MS),
		sts_keys("AssumeRole", "ASIAFOUR", HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	asked_for(0, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aweb"
				 "&RoleSessionName=litestream&WebIdentityToken=ey.profile");
	check_signed(1, "ASIAWEB");
	check_signed(2, "ASIAFOUR");
}

static void test_profiles_that_cannot_work(void **state)
{
	(void)state;
	static const struct {
		const char *text, *words;
	} bad[] = {
		{"", "the profile \"p\" of AWS_PROFILE is in none of "},
		{"[p]\nrole_arn=r\n", "is in none of "}, /* in this file it is [profile p] */
		{"[profile p]\nrole_arn=r\n", "has role_arn, but neither source_profile nor"},
		{"[profile p]\nsource_profile=q\n", "but has no role_arn"},
		{"[profile p]\nrole_arn=r\nsource_profile=q\n",
			"\"q\", source_profile of \"p\", is in none"},
		{"[profile p]\nrole_arn=r\nsource_profile=q\n[profile q]\nregion=x\n",
			"\"q\", source_profile of \"p\", has no credentials"},
		{"[profile p]\nrole_arn=r\nsource_profile=q\n[profile q]\nrole_arn=s\nsource_profile=p\n",
			"\"p\" is its own source_profile by way of others"},
		{"[profile p]\nrole_arn=r\nsource_profile=p\n", "is its own source_profile"},
		{"[profile p]\nrole_arn=r\nsource_profile=1\n[profile 1]\nrole_arn=r\nsource_profile=2\n"
		 "[profile 2]\nrole_arn=r\nsource_profile=3\n[profile 3]\nrole_arn=r\nsource_profile=4\n"
		 "[profile 4]\nrole_arn=r\nsource_profile=5\n[profile 5]\nrole_arn=r\nsource_profile=6\n",
			"\"6\" comes after 6 others"},
		{"[profile p]\nrole_arn=r\nsource_profile=q\ncredential_source=Environment\n",
			"more than one of source_profile"},
		{"[profile p]\nrole_arn=r\ncredential_source=Moon\n", "another credential_source than"},
		{"[profile p]\nrole_arn=r\nsource_profile=q\nmfa_serial=m\n", "has mfa_serial"},
		{"[profile p]\nsso_session=s\n", "AWS IAM Identity Center (SSO)"},
		{"[profile p]\nlogin_session=s\n", "is one of aws login"},
		{"[profile p]\nhush\n", ".aws/config:2: neither a section nor"},
		{"[profile p]\naws_access_key_id=A B\naws_secret_access_key=hush\n",
			"no usable AccessKeyId"},
	};
	setenv("AWS_PROFILE", "p", 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_file(".aws/config", bad[i].text);
		assert_code(open_without(), ERR_DENIED);
		assert_says(bad[i].words);
		assert_null(strstr(e.text, "hush"));
	}
	ANSWERS(OK_PUT);
	assert_int_equal(scripted_count(&server), 0);
}

static void refused(const char *answer, int code, const char *words)
{
	iam_reset();
	ANSWERS(answer);
	assert_code(put("x", false), code);
	assert_says(words);
	assert_null(strstr(e.text, "base-secret"));
	assert_int_equal(scripted_count(&server), 1);
}

static void test_sts_refuses(void **state)
{
	(void)state;
	write_file(".aws/config",
		"[default]\nrole_arn = " ROLE "\nsource_profile = base\n"
		"[profile base]\naws_access_key_id=A\naws_secret_access_key=base-secret\n");
	assert_code(open_without(), ERR_OK);
	refused(STS_ERROR(403, "AccessDenied"), ERR_DENIED,
		"asked for the role " ROLE ": it answered HTTP 403 AccessDenied: Said STS.");
	assert_says("cannot get credentials: the keys of a profile (\"default\"): STS at 127.0.0.1:");
	refused(STS_ERROR(400, "IDPCommunicationError"), ERR_UNREACHABLE, "IDPCommunicationError");
	refused("{'status': 503}", ERR_UNREACHABLE, "it answered HTTP 503");
	refused("{'body': 'hello'}", ERR_DAMAGED, "what answers there is no STS");
	refused("{'body': '<x/>'}", ERR_DAMAGED, "has no temporary credentials in it");
	refused("{'body': '<R><Credentials><AccessKeyId>A\\nB</AccessKeyId><SecretAccessKey>S"
			"</SecretAccessKey><SessionToken>T</SessionToken><Expiration>2999-01-01T00:00:00Z"
			"</Expiration></Credentials></R>'}",
		ERR_DAMAGED, "no usable AccessKeyId");
	setenv("AWS_ENDPOINT_URL_STS", "ftp://h", 1);
	iam_reset();
	assert_code(put("x", false), ERR_USAGE);
	assert_says("the endpoint of STS is not https://HOST");
	setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1", 1);
	iam_reset();
	assert_code(put("x", false), ERR_UNREACHABLE);
	write_file(".aws/config",
		"[default]\nrole_arn = a b\nsource_profile = base\n"
		"[profile base]\naws_access_key_id=A\naws_secret_access_key=base-secret\n");
	iam_reset();
	assert_code(put("x", false), ERR_DENIED);
	assert_says("the role's ARN can't be one");
}

/* ---- programs ---- */

static void use_program(const char *command)
{
	char text[1000];
	snprintf(text, sizeof(text), "[default]\ncredential_process = %s\n", command);
	write_file(".aws/config", text);
	iam_reset();
	assert_code(open_without(), ERR_OK);
}

static void test_process(void **state)
{
	(void)state;
	char text[800], until[32];
	clock_format_rfc3339(clock_wall_ms() + HOUR_MS, until);
	snprintf(text, sizeof(text),
		"{\"Version\": 1, \"AccessKeyId\": \"AKPRINTED\", \"SecretAccessKey\": \"printed-secret\","
		" \"SessionToken\": \"role-Token-AKPRINTED\", \"Expiration\": \"%s\"}",
		until);
	write_file("printed", text);
	char command[300];
	snprintf(command, sizeof(command), "echo run >>%s/runs; cat %s/printed", dir, dir);
	use_program(command);
	ANSWERS(OK_PUT);
	assert_code(put("x", false), ERR_OK);
	assert_code(put("x", false), ERR_OK);
	check_signed(1, "AKPRINTED");
	struct buf runs;
	buf_init(&runs, 100);
	assert_int_equal(fs_read_file(tmpdir_path(dir, "runs"), &runs, &e), ERR_OK);
	assert_string_equal(buf_str(&runs), "run\n");
	buf_free(&runs);
	static const struct {
		const char *command, *words;
	} bad[] = {
		{"exit 3", "credential_process: it ended with 3"},
		{"kill -9 $$", "it was ended by Killed"},
		{"echo '{\"Version\": 2, \"AccessKeyId\": \"A\"}'", "no JSON object with \"Version\": 1"},
		{"echo hush", "no JSON object with \"Version\": 1"},
		{"echo '{\"Version\": 1, \"AccessKeyId\": \"A\"}'", "no usable SecretAccessKey"},
		{"yes", "it printed more than 65536 bytes"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		use_program(bad[i].command);
		assert_code(put("x", false), ERR_DENIED);
		assert_says(bad[i].words);
		assert_null(strstr(e.text, "hush"));
	}
}

/* What it started goes with it. */
static void program_is_gone(void)
{
	struct buf pid;
	buf_init(&pid, 100);
	assert_int_equal(fs_read_file(tmpdir_path(dir, "pid"), &pid, &e), ERR_OK);
	int sleeper = atoi(buf_str(&pid));
	buf_free(&pid);
	assert_true(sleeper > 1);
	/* Until init has taken it. */
	for (int i = 0; i < 3000 && kill(sleeper, 0) == 0; i++) {
		char path[64], state = 0;
		snprintf(path, sizeof(path), "/proc/%d/stat", sleeper);
		FILE *f = fopen(path, "r");
		int n = f ? fscanf(f, "%*d %*s %c", &state) : 0;
		if (f)
			fclose(f);
		if (n != 1 || state == 'Z')
			return;
		usleep(10000);
	}
	assert_int_not_equal(kill(sleeper, 0), 0);
}

static void *when_it_runs(void *then)
{
	const char *file = tmpdir_path(dir, "pid");
	for (int i = 0; i < 6000 && access(file, F_OK); i++)
		usleep(10000);
	if (then)
		store_cancel(then);
	else
		pass(61);
	return NULL;
}

static void test_process_that_hangs(void **state)
{
	(void)state;
	char command[300];
	pthread_t thread;
	snprintf(command, sizeof(command),
		"sh -c 'echo $$ >%s/new; mv %s/new %s/pid; exec sleep 600' & wait", dir, dir, dir);
	use_program(command);
	assert_int_equal(pthread_create(&thread, NULL, when_it_runs, NULL), 0);
	assert_code(put("x", false), ERR_UNREACHABLE);
	assert_says("credential_process: it did not end within 60 s");
	pthread_join(thread, NULL);
	program_is_gone();
	fs_unlink(tmpdir_path(dir, "pid"));
	use_program(command);
	assert_int_equal(pthread_create(&thread, NULL, when_it_runs, s), 0);
	assert_code(put("x", false), ERR_CANCELLED);
	pthread_join(thread, NULL);
	program_is_gone();
}

/* ---- one set for all ---- */

#define STORES 40

static void *put_once(void *ctx)
{
	struct store_body b = {.data = "x", .fd = -1, .size = 1};
	static const struct store_put_opts opts;
	struct err why = ERR_INIT;
	return store_put(ctx, "0000/name", &b, &opts, &why) ? "failed" : NULL;
}

static void test_one_set(void **state)
{
	(void)state;
	struct store *all[STORES];
	pthread_t threads[STORES];
	struct store_options none = {.max_attempts = 1};
	void *said;
	write_file(".aws/config", "[default]\nrole_arn = " ROLE "\nsource_profile = base\n"
							  "[profile base]\naws_access_key_id=A\naws_secret_access_key=b\n");
	char first[1000];
	snprintf(first, sizeof(first), "%s", sts_keys("AssumeRole", "ASIAALL", HOUR_MS));
	ANSWERS(first, OK_PUT);
	for (int i = 0; i < STORES; i++)
		assert_code(store_open(&all[i], own_url(), &none, &e), ERR_OK);
	for (int i = 0; i < STORES; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, put_once, all[i]), 0);
	for (int i = 0; i < STORES; i++) {
		pthread_join(threads[i], &said);
		assert_null(said);
		store_close(all[i]);
	}
	assert_int_equal(scripted_count(&server), STORES + 1);
	assert_string_equal(scripted_method(&server, 0), "POST");
	for (size_t i = 1; i <= STORES; i++)
		check_signed(i, "ASIAALL");
}

#define CHAIN_TEST(function) cmocka_unit_test_setup_teardown(function, start_anew, iam_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CHAIN_TEST(test_environment_first),
		CHAIN_TEST(test_web_identity),
		CHAIN_TEST(test_profile_keys),
		CHAIN_TEST(test_container_then_ec2),
		CHAIN_TEST(test_nothing),
		CHAIN_TEST(test_role_of_a_profile),
		CHAIN_TEST(test_sources_of_a_role),
		CHAIN_TEST(test_profiles_that_cannot_work),
		CHAIN_TEST(test_sts_refuses),
		CHAIN_TEST(test_process),
		CHAIN_TEST(test_process_that_hangs),
		CHAIN_TEST(test_one_set),
	};
	return run_with_server("chain", tests, sizeof(tests) / sizeof(tests[0]));
}
