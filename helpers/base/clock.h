/*
 * Time, replaceable in tests. Three clocks, three names, so that nobody mixes them:
 * wall (may jump), monotonic (stops in suspend), boot (goes on in suspend).
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

struct clock_ops {
	int64_t (*wall_ms)(void);
	int64_t (*mono_us)(void);
	int64_t (*boot_ms)(void);
	void (*sleep_us)(int64_t us);
};

int64_t clock_wall_ms(void); /* ms since 1970-01-01T00:00:00Z */
int64_t clock_mono_us(void); /* us since some moment, never backwards */
int64_t clock_boot_ms(void); /* ms since boot, suspend included */
void clock_sleep_us(int64_t us);

/* Replaces all clocks for the whole process; NULL brings the system's back. `ops` stays the
 * caller's and must live while it is in use. */
void clock_set_ops(const struct clock_ops *ops);

/* RFC 3339 with ms and Z ("2026-11-20T12:00:00.123Z") into buf of at least 32 bytes. A time outside
 * of the years 0 to 9999 becomes the nearest moment inside. */
void clock_format_rfc3339(int64_t wall_ms, char *buf);

/* Reads an RFC 3339 time, fraction of any length and offset or Z included, into *wall_ms (cut to
 * ms). Returns 0, or -1 when the text is anything else. */
int clock_parse_rfc3339(const char *text, int64_t *wall_ms);

#endif
