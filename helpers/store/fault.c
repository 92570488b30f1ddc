#include "store/fault.h"

#include "base/clock.h"
#include "store/driver.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rule {
	struct rule *next;
	struct store_fault fault;
	char *contains;
	uint64_t seen; /* matching calls so far */
};

struct place {
	struct place *next;
	char *name, *inner;
	struct rule *rules;
	uint64_t calls[STORE_OPS];
};

struct fault_store {
	struct place *place;
	struct store *inner;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct place *places;

static struct place *find_place(const char *name)
{
	struct place *p = places;
	while (p && strcmp(p->name, name) != 0)
		p = p->next;
	return p;
}

static void free_rules(struct place *p)
{
	while (p->rules) {
		struct rule *r = p->rules;
		p->rules = r->next;
		free(r->contains);
		free(r);
	}
}

static char *inner_url(const char *name, const char *inner)
{
	if (inner)
		return strdup(inner);
	char *url = malloc(strlen(name) + sizeof("mem://"));
	if (url)
		sprintf(url, "mem://%s", name);
	return url;
}

/* With the lock held. */
static struct place *make_place(const char *name)
{
	struct place *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->name = strdup(name);
	if (!p->name) {
		free(p);
		return NULL;
	}
	p->next = places;
	places = p;
	return p;
}

int store_fault_register(const char *name, const char *inner, struct err *e)
{
	char *url = inner_url(name, inner);
	pthread_mutex_lock(&lock);
	struct place *p = find_place(name);
	if (!p && url)
		p = make_place(name);
	if (p && url) {
		free_rules(p);
		memset(p->calls, 0, sizeof(p->calls));
		free(p->inner);
		p->inner = url;
	}
	pthread_mutex_unlock(&lock);
	if (p && url)
		return ERR_OK;
	free(url);
	return err_nomem(e, "registering a fault store");
}

int store_fault_add(const char *name, const struct store_fault *rule)
{
	struct rule *r = calloc(1, sizeof(*r));
	if (!r)
		return ERR_NOMEM;
	r->fault = *rule;
	if (r->fault.nth == 0)
		r->fault.nth = 1;
	if (!r->fault.code)
		r->fault.code = ERR_UNREACHABLE;
	if (rule->name_contains && !(r->contains = strdup(rule->name_contains))) {
		free(r);
		return ERR_NOMEM;
	}
	pthread_mutex_lock(&lock);
	struct place *p = find_place(name);
	struct rule **end = p ? &p->rules : NULL;
	while (end && *end)
		end = &(*end)->next;
	if (end)
		*end = r;
	pthread_mutex_unlock(&lock);
	if (end)
		return ERR_OK;
	free(r->contains);
	free(r);
	return ERR_NOT_FOUND;
}

void store_fault_heal(const char *name)
{
	pthread_mutex_lock(&lock);
	struct place *p = find_place(name);
	if (p)
		free_rules(p);
	pthread_mutex_unlock(&lock);
}

uint64_t store_fault_calls(const char *name, enum store_op op)
{
	pthread_mutex_lock(&lock);
	struct place *p = find_place(name);
	uint64_t n = p ? p->calls[op] : 0;
	pthread_mutex_unlock(&lock);
	return n;
}

void store_fault_forget(void)
{
	pthread_mutex_lock(&lock);
	while (places) {
		struct place *p = places;
		places = p->next;
		free_rules(p);
		free(p->name);
		free(p->inner);
		free(p);
	}
	pthread_mutex_unlock(&lock);
}

static bool rule_matches(const struct rule *r, enum store_op op, const char *name)
{
	return (r->fault.op == STORE_OP_ANY || r->fault.op == op) &&
		   (!r->contains || strstr(name, r->contains));
}

/* Counts the call and says what strikes it. */
static bool strike(
	struct fault_store *f, enum store_op op, const char *name, struct store_fault *out)
{
	bool found = false;
	pthread_mutex_lock(&lock);
	f->place->calls[op]++;
	f->place->calls[STORE_OP_ANY]++;
	for (struct rule *r = f->place->rules; r && !found; r = r->next) {
		if (!rule_matches(r, op, name))
			continue;
		r->seen++;
		found = r->seen >= r->fault.nth &&
				(r->fault.times == 0 || r->seen < (uint64_t)r->fault.nth + r->fault.times);
		*out = r->fault;
	}
	pthread_mutex_unlock(&lock);
	return found;
}

static int fail(
	const struct store *s, const struct store_fault *fault, const char *name, struct err *e)
{
	return err_set(
		e, (enum err_code)fault->code, "%s/%s: this call was made to fail by a test", s->url, name);
}

static void delay(struct store *s, int64_t us)
{
	for (; us > 0 && !store_is_cancelled(s); us -= 50000)
		clock_sleep_us(us < 50000 ? us : 50000);
}

/*
 * What precedes a call. Returns true when the call must not be passed on: *rc is the answer.
 * *lose is set when it must be passed on and its answer replaced with fail().
 */
static bool before(struct store *s, enum store_op op, const char *name, struct store_fault *fault,
	bool *lose, int *rc, struct err *e)
{
	*lose = false;
	fault->action = STORE_FAULT_HOOK;
	fault->hook = NULL;
	if (!strike(s->impl, op, name, fault)) {
		fault->action = STORE_FAULT_HOOK;
		return false;
	}
	if (fault->action == STORE_FAULT_HOOK && fault->hook)
		fault->hook(fault->ctx, name);
	if (fault->action == STORE_FAULT_DELAY)
		delay(s, fault->delay_us);
	*lose = fault->action == STORE_FAULT_LOSE_ANSWER;
	if (store_is_cancelled(s))
		*rc = store_cancelled_error(s, e);
	else if (fault->action == STORE_FAULT_FAIL)
		*rc = fail(s, fault, name, e);
	else
		return false;
	return true;
}

static void after(const struct store_fault *fault, const char *name)
{
	if (fault->action == STORE_FAULT_HOOK_AFTER)
		fault->hook(fault->ctx, name);
}

static struct store *inner_of(struct store *s)
{
	return ((struct fault_store *)s->impl)->inner;
}

static int fault_put(struct store *s, const char *name, const struct store_body *body,
	const struct store_put_opts *opts, struct err *e)
{
	struct store_fault fault;
	bool lose;
	int rc;
	if (before(s, STORE_OP_PUT, name, &fault, &lose, &rc, e))
		return rc;
	struct store_body part = *body;
	if (fault.action == STORE_FAULT_CUT && fault.cut < part.size)
		part.size = fault.cut;
	struct store_put_opts how = *opts;
	if (fault.action == STORE_FAULT_OVERWRITE)
		how.only_if_absent = false;
	rc = store_put(inner_of(s), name, &part, &how, e);
	after(&fault, name);
	return lose || fault.action == STORE_FAULT_CUT ? fail(s, &fault, name, e) : rc;
}

struct cutter {
	store_sink sink;
	void *ctx;
	uint64_t left;
	const struct store *s;
	const struct store_fault *fault;
	const char *name;
};

static int cut_sink(void *ctx, const void *p, size_t n, struct err *e)
{
	struct cutter *c = ctx;
	size_t part = n < c->left ? n : (size_t)c->left;
	int rc = part ? c->sink(c->ctx, p, part, e) : ERR_OK;
	c->left -= part;
	return rc || part == n ? rc : fail(c->s, c->fault, c->name, e);
}

static int fault_get(struct store *s, const char *name, uint64_t offset, uint64_t length,
	store_sink sink, void *ctx, struct err *e)
{
	struct store_fault fault;
	bool lose;
	int rc;
	if (before(s, STORE_OP_GET, name, &fault, &lose, &rc, e))
		return rc;
	struct cutter cutter = {sink, ctx, fault.cut, s, &fault, name};
	if (fault.action == STORE_FAULT_CUT)
		return store_get(inner_of(s), name, offset, length, cut_sink, &cutter, e);
	rc = store_get(inner_of(s), name, offset, length, sink, ctx, e);
	return lose ? fail(s, &fault, name, e) : rc;
}

static int fault_head(struct store *s, const char *name, struct store_object *out, struct err *e)
{
	struct store_fault fault;
	bool lose;
	int rc;
	if (before(s, STORE_OP_HEAD, name, &fault, &lose, &rc, e))
		return rc;
	rc = store_head(inner_of(s), name, out, e);
	return lose ? fail(s, &fault, name, e) : rc;
}

struct hider {
	const struct store_fault *fault;
	store_list_fn fn;
	void *ctx;
	size_t max, given;
	bool full;
};

static int hide(void *ctx, const struct store_object *o, struct err *e)
{
	struct hider *h = ctx;
	if (h->fault->hides(h->fault->ctx, o->name))
		return ERR_OK;
	h->full = h->max && h->given++ == h->max;
	return h->full ? ERR_CANCELLED : h->fn(h->ctx, o, e);
}

/* What is hidden does not count against the bound. */
static int list_hidden(
	struct store *s, const char *prefix, const char *after, struct hider *h, struct err *e)
{
	int rc = store_list(inner_of(s), prefix, after, 0, hide, h, e);
	return h->full ? ERR_OK : rc;
}

static int fault_list(struct store *s, const char *prefix, const char *behind, size_t max,
	store_list_fn fn, void *ctx, struct err *e)
{
	struct store_fault fault;
	bool lose;
	int rc;
	if (before(s, STORE_OP_LIST, prefix, &fault, &lose, &rc, e))
		return rc;
	struct hider hider = {.fault = &fault, .fn = fn, .ctx = ctx, .max = max};
	if (fault.action == STORE_FAULT_HIDE)
		return list_hidden(s, prefix, behind, &hider, e);
	rc = store_list(inner_of(s), prefix, behind, max, fn, ctx, e);
	after(&fault, prefix);
	return lose ? fail(s, &fault, prefix, e) : rc;
}

static int fault_list_folder(
	struct store *s, const char *prefix, size_t max, store_list_fn fn, void *ctx, struct err *e)
{
	struct store_fault fault;
	bool lose;
	int rc;
	if (before(s, STORE_OP_LIST, prefix, &fault, &lose, &rc, e))
		return rc;
	rc = store_list_folder(inner_of(s), prefix, max, fn, ctx, e);
	return lose ? fail(s, &fault, prefix, e) : rc;
}

static int fault_del(struct store *s, const char *const *names, size_t n,
	struct store_delete_result *results, struct err *e)
{
	struct store_fault fault;
	bool lose;
	int first = ERR_OK;
	for (size_t i = 0; i < n; i++) {
		struct err why = ERR_INIT;
		int rc;
		if (!before(s, STORE_OP_DELETE, names[i], &fault, &lose, &rc, &why)) {
			rc = store_delete(inner_of(s), &names[i], 1, &results[i], &why);
			if (lose)
				rc = fail(s, &fault, names[i], &why);
		}
		first = store_delete_note(first, &results[i], rc, &why, e);
	}
	return first;
}

static int fault_end_unfinished(struct store *s, const char *prefix,
	bool (*chosen)(void *ctx, const struct store_unfinished *u), void *ctx, size_t *n,
	struct err *e)
{
	struct store_fault fault;
	bool lose;
	int rc;
	if (before(s, STORE_OP_UNFINISHED, prefix, &fault, &lose, &rc, e))
		return rc;
	rc = store_end_unfinished(inner_of(s), prefix, chosen, ctx, n, e);
	return lose ? fail(s, &fault, prefix, e) : rc;
}

static int fault_open(
	struct store *s, const struct store_url *url, const struct store_options *opts, struct err *e)
{
	pthread_mutex_lock(&lock);
	struct place *p = find_place(url->host);
	pthread_mutex_unlock(&lock);
	if (!p)
		return err_set(e, ERR_USAGE, "no test has registered %s", s->url);
	struct fault_store *f = calloc(1, sizeof(*f));
	if (!f)
		return err_nomem(e, "opening a store");
	f->place = p;
	int rc = store_open(&f->inner, p->inner, opts, e);
	if (rc) {
		free(f);
		return rc;
	}
	s->caps = *store_capabilities(f->inner);
	s->caps.scheme = "fault";
	s->impl = f;
	return ERR_OK;
}

static void fault_close(struct store *s)
{
	struct fault_store *f = s->impl;
	store_close(f->inner);
	free(f);
}

static void fault_cancel(struct store *s)
{
	store_cancel(inner_of(s));
}

const struct store_driver store_fault_driver = {
	.caps = {.layout = STORE_LAYOUT_LTX, .conditional_put = true, .scheme = "fault"},
	.open = fault_open,
	.close = fault_close,
	.put = fault_put,
	.get = fault_get,
	.head = fault_head,
	.list = fault_list,
	.list_folder = fault_list_folder,
	.del = fault_del,
	.end_unfinished = fault_end_unfinished,
	.cancel = fault_cancel,
};
