#include "net/http_pool.h"

#include "base/clock.h"
#include "base/digest.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define BUFFER_SIZE 16384L

#define HOST_MAX 300

/* One that nobody uses. That which was used last is taken first, so that under little load one
 * connection stays warm and the others age. */
struct idle {
	CURL *curl;
	int64_t since_us;
	struct http_pool *owner; /* who gave it back: it comes to tidy */
	char host[HOST_MAX];     /* "https://host:port" */
};

static pthread_mutex_t shelf_lock = PTHREAD_MUTEX_INITIALIZER;
static struct idle shelf[HTTP_MAX_IDLE]; /* the oldest first */
static size_t n_idle;

static pthread_once_t libraries_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;
static bool crypto_ready;

static void init_libraries(void)
{
	curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
	crypto_ready = !digest_prepare();
}

/*
 * OpenSSL reads a bundle of all authorities whole (over a megabyte of heap, 15 ms); from a folder
 * with hashed names it reads the one it needs. Debian and Ubuntu have both, in the same folder.
 */
static const char *find_ca_dir(void)
{
	static const char dir[] = "/etc/ssl/certs";
	DIR *d = opendir(dir);
	if (!d)
		return NULL;
	bool hashed = false;
	for (struct dirent *ent = readdir(d); ent && !hashed; ent = readdir(d))
		hashed = strlen(ent->d_name) == 10 && strspn(ent->d_name, "0123456789abcdef") == 8 &&
				 !strcmp(ent->d_name + 8, ".0");
	closedir(d);
	return hashed ? dir : NULL;
}

static int copy_config(struct http_pool *p, const struct http_config *config, struct err *e)
{
	p->config = *config;
	p->config.ca_file = config->ca_file ? strdup(config->ca_file) : NULL;
	p->config.user_agent = strdup(config->user_agent ? config->user_agent : "litestream");
	if ((config->ca_file && !p->config.ca_file) || !p->config.user_agent)
		return err_nomem(e, "preparing requests");
	if (config->ca_file && access(config->ca_file, R_OK))
		return err_set(e, ERR_USAGE, "the file of certificates %s can't be read", config->ca_file);
	return ERR_OK;
}

int http_pool_new(struct http_pool **out, const struct http_config *config, struct err *e)
{
	pthread_once(&libraries_once, init_libraries);
	if (curl_ready != CURLE_OK)
		return err_set(e, ERR_FAIL, "libcurl can't be used: %s", curl_easy_strerror(curl_ready));
	if (!crypto_ready)
		return err_set(e, ERR_FAIL, "libcrypto can't be used by this process: start it again");
	struct http_pool *p = calloc(1, sizeof(*p));
	if (!p)
		return err_nomem(e, "preparing requests");
	int rc = copy_config(p, config, e);
	if (rc) {
		http_pool_free(p);
		return rc;
	}
	p->ca_dir = config->ca_file ? NULL : find_ca_dir();
	*out = p;
	return ERR_OK;
}

int http_pool_strict(struct http_pool **out, struct http_pool *of, struct err *e)
{
	struct http_config config = of->config;
	config.skip_verify = false;
	int rc = http_pool_new(out, &config, e);
	if (!rc)
		(*out)->parent = of;
	return rc;
}

/* Shelf locked: takes number i out. */
static CURL *take_out(size_t i)
{
	CURL *curl = shelf[i].curl;
	n_idle--;
	memmove(&shelf[i], &shelf[i + 1], (n_idle - i) * sizeof(shelf[0]));
	return curl;
}

static bool is_older(const struct idle *idle, const void *than_us)
{
	return idle->since_us <= *(const int64_t *)than_us;
}

static bool is_owned(const struct idle *idle, const void *by)
{
	return idle->owner == by;
}

/* Closing says goodbye to the server, so nobody should have to wait for it. */
static void close_those(bool (*which)(const struct idle *idle, const void *ctx), const void *ctx)
{
	CURL *out[HTTP_MAX_IDLE];
	size_t n = 0;
	pthread_mutex_lock(&shelf_lock);
	for (size_t i = 0; i < n_idle;) {
		if (which(&shelf[i], ctx))
			out[n++] = take_out(i);
		else
			i++;
	}
	pthread_mutex_unlock(&shelf_lock);
	for (size_t i = 0; i < n; i++)
		curl_easy_cleanup(out[i]);
}

void http_pool_free(struct http_pool *p)
{
	if (!p)
		return;
	close_those(is_owned, p);
	free((char *)p->config.ca_file);
	free((char *)p->config.user_agent);
	free(p);
}

void http_pool_cancel(struct http_pool *p)
{
	atomic_store(&p->cancelled, true);
}

bool http_pool_is_cancelled(struct http_pool *p)
{
	return atomic_load_explicit(&p->cancelled, memory_order_relaxed) ||
		   (p->parent && http_pool_is_cancelled(p->parent));
}

/* Proxies come from the environment (https_proxy, no_proxy), but what is on this host or on its
 * link (the metadata services of clouds) is asked directly. */
static bool is_near(const char *url)
{
	const char *host = strstr(url, "://");
	host = host ? host + 3 : url;
	size_t n = strcspn(host, ":/");
	return !strncmp(host, "127.", 4) || !strncmp(host, "169.254.", 8) ||
		   !strncmp(host, "[fd00:ec2::", 11) ||
		   (n >= 9 && !strncasecmp(host + n - 9, "localhost", 9));
}

/* These are false when out of memory: a request without what could not be set, such as who is
 * trusted and which proxy, would be another one. (What a libcurl was built without is no matter.)
 */
static bool set_text(CURL *c, CURLoption option, const char *text)
{
	return curl_easy_setopt(c, option, text) != CURLE_OUT_OF_MEMORY;
}

static bool set_protocols(CURL *c)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	return set_text(c, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	return curl_easy_setopt(c, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS) == CURLE_OK;
#endif
}

static bool set_tls(const struct http_pool *p, CURL *c)
{
	bool whole = true;
	if (p->config.ca_file) {
		whole = set_text(c, CURLOPT_CAINFO, p->config.ca_file);
		curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
	} else if (p->ca_dir) {
		curl_easy_setopt(c, CURLOPT_CAINFO, NULL);
		whole = set_text(c, CURLOPT_CAPATH, p->ca_dir);
	}
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, p->config.skip_verify ? 0L : 1L);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, p->config.skip_verify ? 0L : 2L);
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	return whole;
}

/* curl_easy_reset keeps the connection and forgets all settings, so every request starts equal. */
static bool set_common(const struct http_pool *p, CURL *c, const char *url)
{
	curl_easy_reset(c);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(c, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(c, CURLOPT_MAXCONNECTS, 1L);
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, BUFFER_SIZE);
	curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_SIZE);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)p->config.connect_timeout_ms);
	bool whole = set_text(c, CURLOPT_USERAGENT, p->config.user_agent);
	if (is_near(url))
		whole &= set_text(c, CURLOPT_PROXY, "");
	return whole && set_protocols(c) && set_tls(p, c);
}

/* "https://host:port" of a URL; "" when it is too long, which matches nothing. */
static void host_of(const char *url, char out[HOST_MAX])
{
	const char *rest = strstr(url, "://");
	size_t n = rest ? (size_t)(rest - url) + 3 : 0;
	n += strcspn(url + n, "/?");
	if (n >= HOST_MAX)
		n = 0;
	memcpy(out, url, n);
	out[n] = '\0';
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/* A connection is only as trustworthy as the settings under which it was made. */
static bool fits(const struct idle *idle, const struct http_pool *p, const char *host)
{
	const struct http_config *a = &idle->owner->config, *b = &p->config;
	return host[0] && strcmp(idle->host, host) == 0 && same_text(a->ca_file, b->ca_file) &&
		   same_text(idle->owner->ca_dir, p->ca_dir) && a->skip_verify == b->skip_verify;
}

CURL *http_pool_take(struct http_pool *p, const char *url)
{
	CURL *c = NULL;
	char host[HOST_MAX];
	host_of(url, host);
	pthread_mutex_lock(&shelf_lock);
	for (size_t i = n_idle; i > 0 && !c; i--)
		if (fits(&shelf[i - 1], p, host))
			c = take_out(i - 1);
	pthread_mutex_unlock(&shelf_lock);
	if (!c)
		c = curl_easy_init();
	if (c && !set_common(p, c, url)) {
		curl_easy_cleanup(c);
		c = NULL;
	}
	return c;
}

void http_pool_give_back(struct http_pool *p, CURL *curl, const char *url)
{
	CURL *old = NULL;
	pthread_mutex_lock(&shelf_lock);
	if (n_idle == HTTP_MAX_IDLE)
		old = take_out(0);
	struct idle *idle = &shelf[n_idle++];
	*idle = (struct idle){.curl = curl, .since_us = clock_mono_us(), .owner = p};
	host_of(url, idle->host);
	pthread_mutex_unlock(&shelf_lock);
	if (old)
		curl_easy_cleanup(old);
	http_pool_tidy(p); /* what a burst opened goes even if nobody tidies */
}

int64_t http_pool_tidy(struct http_pool *p)
{
	int64_t now = clock_mono_us(), next = -1;
	int64_t than = now - (int64_t)HTTP_IDLE_MS * 1000;
	close_those(is_older, &than);
	pthread_mutex_lock(&shelf_lock);
	for (size_t i = 0; i < n_idle && next < 0; i++)
		if (shelf[i].owner == p)
			next = HTTP_IDLE_MS - (now - shelf[i].since_us) / 1000;
	pthread_mutex_unlock(&shelf_lock);
	return next;
}
