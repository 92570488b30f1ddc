#include "lib/scene.h"

#include "base/log.h"
#include "lib/tmpdir.h"
#include "store/fault.h"
#include "store/mem.h"

#include <stdlib.h>

#define HOUR_MS (INT64_C(3600) * 1000)

static int no_fsync(int fd)
{
	(void)fd;
	return 0;
}

const struct fs_ops *scene_no_fsync(void)
{
	static struct fs_ops quick;
	quick = fs_system_ops;
	quick.fsync = no_fsync;
	fs_set_ops(&quick);
	return &quick;
}

char *scene_begin(void)
{
	log_set_level(getenv("SHOW") ? LOG_DEBUG : LOG_ERROR + 1);
	scene_no_fsync();
	return tmpdir_new();
}

void scene_new_hour(void)
{
	ship_skip(0);
	ship_skip(HOUR_MS - clock_wall_ms() % HOUR_MS + 1000);
}

void scene_end(char *dir, struct ship *s)
{
	if (s && s->r)
		ship_close(s);
	fs_set_ops(NULL);
	store_fault_forget();
	store_mem_forget(NULL);
	tmpdir_free(dir);
}
