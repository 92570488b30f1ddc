/*
 * The state folder of one database and one replica: what survives a restart of the replicator.
 *
 *   <dir>/lock            flock'd while in use
 *   <dir>/state.json      struct state, replaced whole (aside, fsync, rename, fsync)
 *   <dir>/pages           the page table at a named TXID (source/pagesums.h)
 *   <dir>/inventory       what the replica holds (replicate/inventory_file.c)
 *   <dir>/ltx/0/<name>    our copies of L0 files: the frozen one and those after the page table
 *   <dir>/ltx/frozen      the frozen one, where it is small (replicate/slot.h)
 *   <dir>/ltx/1/<name> …  compacted files, until they are merged further
 *   <dir>/ltx/9/<name>    a finished snapshot, until it is uploaded
 *   <dir>/uploads/<…>     which parts of these are in the store (replicate/resume.h)
 *   <dir>/staging-*       captured pages; dropped at start
 *   <dir>/latest.*        of the replica's latest state, to compare with (replicate/latest.c)
 *   <dir>/restored.*      state and page table of a database that is just being put in place
 *
 * It is shared by replicate (writes it all the time) and restore (leaves one behind, so that a
 * following replicate goes on without a snapshot).
 */
#ifndef CONF_STATE_H
#define CONF_STATE_H

#include "base/err.h"
#include "base/folder.h"

#include <stdbool.h>
#include <stdint.h>

#define STATE_VERSION 1

/* A place in the WAL: everything up to and including `frame` of the incarnation `salt` is shipped.
 */
struct state_position {
	bool resumable; /* false: resynchronise by comparing pages */
	uint8_t salt[8];
	uint32_t frame;    /* 0 = at the WAL's header */
	uint32_t cksum[2]; /* running checksum after that frame */
};

struct state {
	char replica[1024];  /* URL without secrets; another URL is another replica */
	char database[1024]; /* absolute path when it was written */
	uint64_t dev, ino;   /* of the database file */
	uint32_t page_size;
	uint32_t n_page;      /* at txid */
	uint64_t txid;        /* last settled; 0 = nothing yet */
	uint64_t checksum;    /* database checksum at txid, 0 = unknown */
	int64_t timestamp_ms; /* of the last file (F9) */
	struct state_position pos;

	uint64_t node_id, prev_node_id;
	uint64_t last_l0_node_id; /* who wrote the L0 of `txid` (us after a claim) */
	bool restored;            /* written by restore: the next replicate may claim (F6) */
	uint64_t restored_of; /* highest TXID of all levels when it was restored; 0 = that is `txid` */
	char machine_id[64];  /* F10: machine, folder and (where it still counts) boot tell a copy */
	char boot_id[64];
	uint64_t dir_dev, dir_ino;

	bool claim_due;    /* the L0 of `txid` is another's, shown to be ours: claim with the next */
	bool probed;       /* F11 was tried on this replica; weak_fencing is its answer */
	bool weak_fencing; /* F11 */
	uint64_t snapshot_txid;   /* a takeover's L9 that is not in the replica yet (F7), 0 = none */
	uint64_t manifest_digest; /* CRC-64 of the litestream.json that was put last, 0 = none */
	char stopped[16];         /* "", "fenced", "replaced", "denied": outlives a restart */
	char reason[512];         /* the sentence that goes with it */
	int64_t confirmed_wall_ms, confirmed_boot_ms; /* last confirmed write or check (F4, F5) */
};

struct state_dir; /* an opened, locked state folder */

/*
 * Opens (creates: 0700) and locks a state folder. ERR_AGAIN naming the holder's pid when another
 * process has it locked. `dir` is copied. What an interrupted restore left is settled first, with
 * the errors of state_settle_restored.
 */
int state_dir_open(struct state_dir **out, const char *dir, struct err *e);
/* The folder of that name in an opened one, in which others may write: ERR_DATABASE for a link. */
int state_dir_open_in(
	struct state_dir **out, const struct folder *in, const char *name, struct err *e);
/* Keeps the lock and no other descriptor: from now on state_exists, state_load and state_save,
 * which alone may be called then, open the folder by its path. For one that is open for days. */
void state_dir_rest(struct state_dir *d);
void state_dir_close(struct state_dir *d);             /* unlocks; NULL is fine */
const char *state_dir_path(const struct state_dir *d); /* borrowed */
const struct folder *state_dir_folder(const struct state_dir *d);

/*
 * Reads state.json. ERR_NOT_FOUND when there is none, ERR_DAMAGED when it is unreadable (torn,
 * other version): treat as none, after saying so. *copied is true when machine-id or the folder's
 * device and inode are not those that are recorded (F10). Device numbers may change at a reboot, so
 * another device alone counts only within one boot.
 */
int state_load(struct state_dir *d, struct state *s, bool *copied, struct err *e);

/* Reads the state of a folder that another process may have locked, and writes nothing: it is what
 * was settled at some moment just now. ERR_NOT_FOUND, ERR_DAMAGED, ERR_NOMEM. */
int state_peek(const char *dir, struct state *s, struct err *e);

/* Is there one to load? Looks only whether the file is there. */
bool state_exists(const struct state_dir *d);

/* Writes it durably; machine_id, boot_id, dir_dev and dir_ino are filled in. */
int state_save(struct state_dir *d, struct state *s, struct err *e);

/*
 * A restore writes the state that goes with the new file aside, before it puts that in place, and
 * beside it the page table (STATE_RESTORED_PAGES in the folder). After that, or after a crash,
 * state_settle_restored makes them the folder's own if the file at s->database is the one with
 * s->ino, and removes them otherwise; an interrupted exchange of files (conf/inplace.h) is finished
 * before, with its errors. ERR_OK when there is nothing.
 */
#define STATE_RESTORED_PAGES "restored.pages"
int state_save_restored(struct state_dir *d, struct state *s, struct err *e);
int state_settle_restored(struct state_dir *d, struct err *e);
int state_drop_restored(struct state_dir *d, struct err *e); /* when it is not put in place */
int state_take_restored(struct state_dir *d, struct err *e); /* by who has just put it in place */

/* Is it a name in the list above, or of a file that is being written? Whatever else is in the
 * folder is somebody's: meta-path can be any folder. Not the lock: who opens it at this moment must
 * not lock a file without a name. */
bool state_is_ours(const char *name);

/* Was it written since the machine was booted? Only then are device and boot times comparable. */
bool state_same_boot(const struct state *s);

/* The kernel's name of this boot of the machine. False where it doesn't tell. */
#define STATE_WORD_MAX 64
bool state_boot_id(char out[STATE_WORD_MAX]);

/* The folder for a stand-alone replicate or restore: "<folder of db>/.<file name>-litestream". A
 * new string (free), NULL when out of memory. */
char *state_default_dir(const char *db_path);

/* A fresh node id: random, never 0. */
uint64_t state_new_node_id(void);

#endif
