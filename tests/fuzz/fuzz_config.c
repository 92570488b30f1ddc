/*
 * litestream.yml: any bytes are refused, or all that is in them is known (lib/config_check.h).
 *
 *   the text
 */
#include "lib/config_check.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	config_check((const char *)data, size);
	return 0;
}
