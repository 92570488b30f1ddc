#include "cli/progress.h"

#include "base/clock.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define DRAW_US INT64_C(200000)
#define BAR 30

static double part_of(uint64_t done, uint64_t total)
{
	return done >= total ? 1.0 : (double)done / (double)total;
}

const char *progress_text(uint64_t done, uint64_t total, const char *unit, char out[PROGRESS_TEXT])
{
	int percent = (int)(100 * part_of(done, total));
	if (unit)
		snprintf(out, PROGRESS_TEXT, "%3d %% of %" PRIu64 " %.16s", percent, total, unit);
	else
		snprintf(out, PROGRESS_TEXT, "%3d %% of %.1f MB", percent, (double)total / 1e6);
	return out;
}

const char *progress_bar(uint64_t done, uint64_t total, const char *unit, char out[PROGRESS_TEXT])
{
	char text[PROGRESS_TEXT], bar[BAR + 1];
	int n = (int)(BAR * part_of(done, total));
	memset(bar, ' ', BAR);
	memset(bar, '=', (size_t)n);
	if (n < BAR)
		bar[n] = '>';
	bar[BAR] = '\0';
	snprintf(out, PROGRESS_TEXT, "[%s] %.50s", bar, progress_text(done, total, unit, text));
	return out;
}

void progress_show(struct progress *p, FILE *lines, uint64_t done, uint64_t total, const char *unit)
{
	char text[PROGRESS_TEXT];
	bool terminal = isatty(STDERR_FILENO);
	int64_t now = clock_mono_us();
	if (p->next_us == 0 && !terminal)
		p->next_us = now + PROGRESS_LINE_US;
	if (total == 0 || (now < p->next_us && !(terminal && done >= total)))
		return;
	p->next_us = now + (terminal ? DRAW_US : PROGRESS_LINE_US);
	if (terminal) {
		p->drawn = true;
		fprintf(stderr, "\r%s ", progress_bar(done, total, unit, text));
	} else if (lines) {
		fprintf(lines, "%s\n", progress_text(done, total, unit, text));
		fflush(lines);
	}
}

void progress_end(struct progress *p)
{
	if (p->drawn)
		fprintf(stderr, "\r%78s\r", "");
	*p = (struct progress){0};
}
