#include "daemon/metrics_gather.h"

#include "base/clock.h"
#include "base/log.h"
#include "daemon/metrics_text.h"

#include <stdlib.h>

#define PEERS_US (INT64_C(2) * 1000000) /* for answers of the other processes */

struct metrics_gather {
	struct metrics_gather_config cfg;
	size_t n;                       /* processes */
	int64_t started_ms;             /* wall time */
	int64_t began_us;               /* when the others were asked; 0 = nobody waits for them */
	int64_t question;               /* the last one */
	struct metrics_part *parts;     /* n of them … */
	struct metrics_source *sources; /* … and whose have come */
};

/* ---- in another process ---- */

static int collect(struct metrics_gather *g, struct metrics_part *part, struct err *e)
{
	const struct metrics_gather_config *c = &g->cfg;
	return metrics_part_collect(part, c->schedule, c->name, c->ctx, g->started_ms, e);
}

static void on_question(void *ctx)
{
	struct metrics_gather *g = ctx;
	struct err e = ERR_INIT;
	struct metrics_part part = {0};
	int64_t question = metrics_peers_question(g->cfg.peers, g->cfg.index);
	if (!question)
		return;
	int rc = collect(g, &part, &e);
	if (!rc)
		rc = metrics_peers_answer(g->cfg.peers, g->cfg.index, question, &part, &e);
	if (rc)
		log_warn("metrics: %s", e.text);
	metrics_part_free(&part);
}

/* ---- in the first one ---- */

static bool all_answered(const struct metrics_gather *g)
{
	for (size_t i = 1; i < g->n; i++)
		if (!g->sources[i].part)
			return false;
	return true;
}

static void take_answer(struct metrics_gather *g, size_t i)
{
	struct err e = ERR_INIT;
	struct metrics_part part = {0};
	int rc = metrics_peers_take(g->cfg.peers, i, g->question, &part, &e);
	if (rc && rc != ERR_AGAIN)
		log_warn("metrics of process %zu: %s", i + 1, e.text);
	if (rc || !g->began_us || g->sources[i].part) {
		metrics_part_free(&part);
		return;
	}
	g->parts[i] = part;
	g->sources[i].part = &g->parts[i];
}

static void on_answers(void *ctx)
{
	struct metrics_gather *g = ctx;
	for (size_t i = 1; i < g->n; i++)
		take_answer(g, i);
	if (g->began_us && all_answered(g))
		g->cfg.ready(g->cfg.ready_ctx);
}

bool metrics_gather_begin(struct metrics_gather *g)
{
	if (g->n == 1)
		return true;
	if (g->began_us)
		return false;
	g->began_us = clock_mono_us();
	g->question = g->question < g->began_us ? g->began_us : g->question + 1;
	for (size_t i = 1; i < g->n; i++)
		if (!metrics_peers_ask(g->cfg.peers, i, g->question))
			log_debug("metrics: process %zu takes no question", i + 1);
	return false;
}

static void forget_parts(struct metrics_gather *g)
{
	for (size_t i = 0; g->parts && i < g->n; i++) {
		metrics_part_free(&g->parts[i]);
		g->sources[i].part = NULL;
	}
	g->began_us = 0;
}

int metrics_gather_take(struct metrics_gather *g, struct buf *out, struct err *e)
{
	int rc = collect(g, &g->parts[0], e);
	g->sources[0].part = &g->parts[0];
	for (size_t i = 0; i < g->n; i++)
		g->sources[i].restarts = metrics_peers_restarts(g->cfg.peers, i);
	if (!rc && metrics_text(out, g->sources, g->n))
		rc = err_set(e, ERR_FULL, "metrics take more than can be had");
	forget_parts(g);
	return rc;
}

int64_t metrics_gather_look(struct metrics_gather *g, int64_t now_us)
{
	if (g->began_us && now_us - g->began_us >= PEERS_US)
		g->cfg.ready(g->cfg.ready_ctx);
	return g->began_us ? g->began_us + PEERS_US : INT64_MAX;
}

/* ---- beginning and end ---- */

static int watch(struct metrics_gather *g, struct err *e)
{
	const struct metrics_gather_config *c = &g->cfg;
	if (c->index > 0)
		return schedule_add_fd(
			c->schedule, metrics_peers_question_fd(c->peers, c->index), on_question, g, e);
	int rc = ERR_OK;
	for (size_t i = 1; !rc && i < g->n; i++)
		rc = schedule_add_fd(c->schedule, metrics_peers_answer_fd(c->peers, i), on_answers, g, e);
	return rc;
}

int metrics_gather_new(
	struct metrics_gather **out, const struct metrics_gather_config *cfg, struct err *e)
{
	struct metrics_gather *g = calloc(1, sizeof(*g));
	if (!g)
		return err_nomem(e, "preparing metrics");
	g->cfg = *cfg;
	g->n = metrics_peers_count(cfg->peers);
	g->started_ms = clock_wall_ms();
	g->parts = calloc(g->n, sizeof(*g->parts));
	g->sources = calloc(g->n, sizeof(*g->sources));
	int rc = g->parts && g->sources ? watch(g, e) : err_nomem(e, "preparing metrics");
	if (rc) {
		metrics_gather_free(g);
		return rc;
	}
	*out = g;
	return ERR_OK;
}

void metrics_gather_free(struct metrics_gather *g)
{
	if (!g)
		return;
	const struct metrics_gather_config *c = &g->cfg;
	if (c->index > 0)
		schedule_remove_fd(c->schedule, metrics_peers_question_fd(c->peers, c->index));
	for (size_t i = 1; c->index == 0 && i < g->n; i++)
		schedule_remove_fd(c->schedule, metrics_peers_answer_fd(c->peers, i));
	forget_parts(g);
	free(g->parts);
	free(g->sources);
	free(g);
}
