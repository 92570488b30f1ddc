/* Times in ms, and a size, for tables and random histories of replicas. */
#ifndef TESTS_LIB_TIMES_H
#define TESTS_LIB_TIMES_H

#include <stdint.h>

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define START (INT64_C(20000) * DAY) /* a midnight */
#define MIB (UINT64_C(1) << 20)

#endif
