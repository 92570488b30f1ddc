/* Durations and sizes as Go programs, Litestream among them, read them. */
#ifndef BASE_AMOUNT_H
#define BASE_AMOUNT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A duration as Go's time.ParseDuration takes it: an optional sign, then numbers with units
 * ("1h30m", "1.5s", "250ms", "100us", "0"), and "d" for days besides. In milliseconds, rounded;
 * less than half of one that is not zero counts as one. False for anything else, or more than about
 * 290 years.
 */
bool amount_duration_ms(const char *text, int64_t *ms);

/*
 * A size as go-humanize reads it: a number, then nothing or a unit in any case, a space between
 * them or not: "5MB" is 5,000,000, "5MiB" 5,242,880, "5m" as MB. False for anything else, or 2^62
 * and more.
 */
bool amount_size(const char *text, uint64_t *bytes);

/* "1h30m0s", "5.3s", "250ms", "0s": as Go's Duration.String writes it. */
#define AMOUNT_DURATION_SIZE 40
void amount_format_duration(int64_t ms, char out[AMOUNT_DURATION_SIZE]);

#endif
