#include "cli/config_file.h"

#include "base/fs.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static const char *file_name(struct args *a, bool *named)
{
	const char *from_env = getenv("LITESTREAM_CONFIG");
	*named = true;
	if (args_given(a, "config"))
		return args_string(a, "config", NULL);
	if (from_env && *from_env)
		return from_env;
	*named = false;
	return CONFIG_DEFAULT_PATH;
}

static void tell_note(const struct config *c, const struct config_note *n)
{
	char more[40] = "";
	if (n->more)
		snprintf(more, sizeof(more), " (and %zu more line%s)", n->more, n->more > 1 ? "s" : "");
	log_write(n->warn ? LOG_WARN : LOG_INFO, "%s:%u: %s%s", c->file, n->line, n->text, more);
}

/* What was warned of before an error may be its cause: a variable that is not set. */
static void tell_warnings(const struct config *c)
{
	for (size_t i = 0; i < c->n_notes; i++)
		if (c->notes[i].warn)
			tell_note(c, &c->notes[i]);
}

static int load(struct args *a, const char *file, struct config *c, struct err *e)
{
	struct buf text;
	buf_init(&text, TREE_TEXT_MAX);
	int rc = fs_read_file(file, &text, e);
	if (rc == ERR_FULL)
		rc = err_set(e, ERR_USAGE, "%s is larger than %zu bytes: it is no configuration", file,
			TREE_TEXT_MAX);
	if (!rc &&
		(rc = config_read(c, file, buf_str(&text), text.len, !args_bool(a, "no-expand-env"), e)))
		tell_warnings(c);
	buf_wipe(&text);
	return rc;
}

int config_file_load(struct args *a, struct config *c, bool *there, struct err *e)
{
	bool named;
	const char *file = file_name(a, &named);
	memset(c, 0, sizeof(*c));
	int rc = load(a, file, c, e);
	*there = rc == ERR_OK;
	if (rc == ERR_NOT_FOUND && !named)
		return ERR_OK;
	if (rc == ERR_NOT_FOUND)
		return err_set(e, ERR_USAGE, "there is no configuration file %s", file);
	return rc;
}

int config_file_need(struct args *a, struct config *c, struct err *e)
{
	bool there;
	int rc = config_file_load(a, c, &there, e);
	if (rc || there)
		return rc;
	return args_usage(a, e, "-config PATH", "there is no configuration file " CONFIG_DEFAULT_PATH);
}

void config_file_tell(const struct config *c)
{
	struct stat st;
	for (size_t i = 0; i < c->n_notes; i++)
		tell_note(c, &c->notes[i]);
	if (c->holds_secrets && stat(c->file, &st) == 0 && (st.st_mode & S_IROTH))
		log_warn("%s holds credentials and everybody on this machine may read it: chmod 600 %s",
			c->file, c->file);
}

/* In any case; true when it is a level. */
static bool parse_level(const char *text, enum log_level *level)
{
	static const char *const names[] = {"trace", "debug", "info", "warn", "error"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcasecmp(text, names[i]) == 0)
			return log_parse_level(names[i], level) == 0;
	return false;
}

int config_file_log(struct args *a, const struct config *c, struct err *e)
{
	enum log_level level = LOG_INFO;
	const char *flag = args_string(a, "log-level", NULL);
	const char *from_env = getenv("LOG_LEVEL");
	if (c && c->log_level)
		parse_level(c->log_level, &level);
	/* That variable is many programs': what we don't understand was said to another one. */
	if (from_env)
		parse_level(from_env, &level);
	if (flag && !parse_level(flag, &level))
		return args_usage(
			a, e, NULL, "-log-level is trace, debug, info, warn or error, not \"%s\"", flag);
	log_set_level(level);
	log_set_json(c && c->log_json);
	return ERR_OK;
}

/* The file holds the key as text, with a new line behind it or not. */
static int read_key(const char *path, char key[CONFIG_KEY_SIZE], struct err *e)
{
	struct buf text;
	buf_init(&text, CONFIG_KEY_SIZE - 1);
	int rc = fs_read_file(path, &text, e);
	if (rc)
		rc = err_set(
			e, ERR_USAGE, "cannot read sse-customer-key-path %s as 32 bytes in base64", path);
	if (!rc)
		snprintf(
			key, CONFIG_KEY_SIZE, "%.*s", (int)strcspn(buf_str(&text), "\r\n "), buf_str(&text));
	buf_wipe(&text);
	return rc;
}

/* What came over the command line or the control socket stands in no line. */
static int at_line(
	const struct config *c, const struct config_replica *replica, struct err *e, int rc)
{
	if (c->file && replica->line)
		err_wrap(e, "%s:%u", c->file, replica->line);
	return rc;
}

int config_store_options(const struct config *c, const struct config_replica *replica,
	struct store_options *out, char key[CONFIG_KEY_SIZE], struct err *e)
{
	const struct config_settings *s = &replica->settings;
	*out = (struct store_options){
		.access_key_id = s->access_key_id,
		.secret_access_key = s->secret_access_key,
		.session_token = s->session_token,
		.region = s->region,
		.endpoint = s->endpoint,
		.force_path_style = (enum store_choice)s->force_path_style,
		.sign_payload = (enum store_choice)s->sign_payload,
		.require_content_md5 = (enum store_choice)s->require_content_md5,
		.skip_verify = s->skip_verify > 0,
		.part_size = s->part_size,
		.concurrency = (unsigned)s->concurrency,
		.storage_class = s->storage_class,
		.server_side_encryption = s->server_side_encryption,
		.sse_kms_key_id = s->sse_kms_key_id,
		.sse_customer_key = s->sse_key,
	};
	if (s->sse_algorithm && strcmp(s->sse_algorithm, "AES256") != 0)
		return at_line(
			c, replica, e, err_set(e, ERR_USAGE, "sse-customer-algorithm can only be AES256"));
	if (!s->sse_key_path)
		return ERR_OK;
	int rc = read_key(s->sse_key_path, key, e);
	if (rc)
		return at_line(c, replica, e, rc);
	out->sse_customer_key = key;
	return ERR_OK;
}
