#include "net/http_pool.h"

#include "base/clock.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define BUFFER_SIZE 16384L

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;

static void init_curl(void)
{
	curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
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
	pthread_once(&curl_once, init_curl);
	if (curl_ready != CURLE_OK)
		return err_set(e, ERR_FAIL, "libcurl can't be used: %s", curl_easy_strerror(curl_ready));
	struct http_pool *p = calloc(1, sizeof(*p));
	if (!p)
		return err_nomem(e, "preparing requests");
	pthread_mutex_init(&p->lock, NULL);
	int rc = copy_config(p, config, e);
	if (rc) {
		http_pool_free(p);
		return rc;
	}
	p->ca_dir = config->ca_file ? NULL : find_ca_dir();
	*out = p;
	return ERR_OK;
}

void http_pool_free(struct http_pool *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_idle; i++)
		curl_easy_cleanup(p->idle[i].curl);
	pthread_mutex_destroy(&p->lock);
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
	return atomic_load_explicit(&p->cancelled, memory_order_relaxed);
}

/* Proxies come from the environment (https_proxy, no_proxy), but what is on this host is asked
 * directly. */
static bool is_loopback(const char *url)
{
	const char *host = strstr(url, "://");
	host = host ? host + 3 : url;
	size_t n = strcspn(host, ":/");
	return !strncmp(host, "127.", 4) || (n >= 9 && !strncasecmp(host + n - 9, "localhost", 9));
}

static void set_protocols(CURL *c)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	curl_easy_setopt(c, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
}

static void set_tls(const struct http_pool *p, CURL *c)
{
	if (p->config.ca_file) {
		curl_easy_setopt(c, CURLOPT_CAINFO, p->config.ca_file);
		curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
	} else if (p->ca_dir) {
		curl_easy_setopt(c, CURLOPT_CAINFO, NULL);
		curl_easy_setopt(c, CURLOPT_CAPATH, p->ca_dir);
	}
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, p->config.skip_verify ? 0L : 1L);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, p->config.skip_verify ? 0L : 2L);
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
}

/* curl_easy_reset keeps the connection and forgets all settings, so every request starts equal. */
static void set_common(const struct http_pool *p, CURL *c, const char *url)
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
	curl_easy_setopt(c, CURLOPT_USERAGENT, p->config.user_agent);
	if (is_loopback(url))
		curl_easy_setopt(c, CURLOPT_PROXY, "");
	set_protocols(c);
	set_tls(p, c);
}

CURL *http_pool_take(struct http_pool *p, const char *url)
{
	CURL *c = NULL;
	pthread_mutex_lock(&p->lock);
	if (p->n_idle > 0)
		c = p->idle[--p->n_idle].curl;
	pthread_mutex_unlock(&p->lock);
	if (!c)
		c = curl_easy_init();
	if (c)
		set_common(p, c, url);
	return c;
}

void http_pool_give_back(struct http_pool *p, CURL *curl)
{
	pthread_mutex_lock(&p->lock);
	if (p->n_idle < HTTP_MAX_IDLE) {
		p->idle[p->n_idle++] = (struct http_idle){curl, clock_mono_us()};
		curl = NULL;
	}
	pthread_mutex_unlock(&p->lock);
	if (curl)
		curl_easy_cleanup(curl);
	http_pool_tidy(p); /* what a burst opened goes even if nobody tidies */
}

int64_t http_pool_tidy(struct http_pool *p)
{
	CURL *old[HTTP_MAX_IDLE];
	size_t n = 0;
	int64_t now = clock_mono_us(), next = -1;
	pthread_mutex_lock(&p->lock);
	/* The oldest come first: handles are given back in order of time. */
	while (n < p->n_idle && now - p->idle[n].since_us >= (int64_t)HTTP_IDLE_MS * 1000) {
		old[n] = p->idle[n].curl;
		n++;
	}
	p->n_idle -= n;
	memmove(p->idle, p->idle + n, p->n_idle * sizeof(p->idle[0]));
	if (p->n_idle)
		next = HTTP_IDLE_MS - (now - p->idle[0].since_us) / 1000;
	pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; i < n; i++)
		curl_easy_cleanup(old[i]);
	return next;
}
