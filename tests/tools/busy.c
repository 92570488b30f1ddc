/*
 * busy [-t SECONDS] [-T MS] [-S SEED] [-r N] APP DB - how often is an app told "busy"?
 *
 * An app whose processes have a habit each, and every answer that was not what was asked for
 * counted by kind of statement. APP is
 *
 *   several    three processes that commit single rows, one with long transactions (a third rolled
 *              back), one that reads first and then writes in the same transaction, one that opens
 *              and closes for each row, two readers, one VACUUM every 10 s, one that checkpoints in
 *              all modes in turn; -r commits a second each (40)
 *   one        one that commits single rows, and a reader: nobody is in the writer's way but a
 *              replicator; -r N (500)
 *   upgrading  one that reads first and then writes in the same transaction; -r N (500)
 *
 * -r 0 is full speed. -T is each connection's busy timeout (5000). Who is told "busy" gives up that
 * transaction and goes on. Pauses and sizes come from the seed (1); who meets whom does not. The
 * last line of stdout is a JSON object: for each kind the calls, the answers busy, busy_snapshot,
 * busy_recovery, locked and protocol, and the longest call. Any other error is told, and exit 1.
 *
 * Three answers come at once, whatever the timeout, because SQLite asks its busy handler only where
 * waiting can help: `upgrade` when somebody else writes just then (busy) or has committed since the
 * read (busy_snapshot), and a checkpoint while another one runs (sqlite3BtreeBeginTrans,
 * sqlite3WalBeginWriteTransaction, sqlite3WalCheckpoint).
 */
#include "lib/chance.h"
#include "lib/samples.h"

#include <inttypes.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/old_sqlite.h"

#define ROWS_KEPT 300 /* of each process */
#define PROCESSES_MAX 16

enum kind {
	OPEN,
	READ,
	WRITE,
	BEGIN,
	IN_TRANSACTION,
	COMMIT,
	UPGRADE,
	VACUUM,
	CHECKPOINT,
	KINDS = CHECKPOINT + 4
};

static const char *const kind_names[KINDS] = {"open", "read", "write", "begin_immediate",
	"in_transaction", "commit", "upgrade", "vacuum", "checkpoint_passive", "checkpoint_full",
	"checkpoint_restart", "checkpoint_truncate"};

struct count {
	int64_t calls, busy, snapshot, recovery, locked, protocol, longest_us;
};

struct process {
	struct count *counts; /* shared with the parent, which adds them up */
	const char *path;
	int id, timeout_ms;
	int64_t rate, next_us, until_us;
	struct chance chance;
	sqlite3 *db;
	int64_t seq;
};

static void die(const struct process *p, const char *what)
{
	fprintf(stderr, "busy: process %d: %s: %s\n", p->id, what, sqlite3_errmsg(p->db));
	exit(1);
}

/* About so long, but not past the end. */
static void rest(struct process *p, int64_t ms)
{
	int64_t until_us = samples_now_us() + (ms / 2 + chance_below(&p->chance, ms + 1)) * 1000;
	samples_sleep_until(until_us < p->until_us ? until_us : p->until_us);
}

static bool goes_on(const struct process *p)
{
	return samples_now_us() < p->until_us;
}

/* ---- counting ---- */

/* True when it was done; false when somebody was in the way. */
static bool tally(struct process *p, enum kind kind, int64_t began_us, int rc)
{
	struct count *c = &p->counts[kind];
	int64_t took_us = samples_now_us() - began_us;
	c->calls++;
	if (took_us > c->longest_us)
		c->longest_us = took_us;
	if (rc == SQLITE_OK)
		return true;
	if (rc == SQLITE_BUSY)
		c->busy++;
	else if (rc == SQLITE_BUSY_SNAPSHOT)
		c->snapshot++;
	else if (rc == SQLITE_BUSY_RECOVERY)
		c->recovery++;
	else if ((rc & 0xff) == SQLITE_LOCKED)
		c->locked++;
	else if (rc == SQLITE_PROTOCOL)
		c->protocol++;
	else
		die(p, kind_names[kind]);
	return false;
}

static bool run(struct process *p, enum kind kind, const char *sql)
{
	int64_t began_us = samples_now_us();
	return tally(p, kind, began_us, sqlite3_exec(p->db, sql, NULL, NULL, NULL));
}

static void give_up(struct process *p)
{
	if (!sqlite3_get_autocommit(p->db))
		sqlite3_exec(p->db, "ROLLBACK", NULL, NULL, NULL);
}

static void open_database(struct process *p)
{
	if (sqlite3_open(p->path, &p->db) != SQLITE_OK)
		die(p, p->path);
	sqlite3_extended_result_codes(p->db, 1);
	sqlite3_busy_timeout(p->db, p->timeout_ms);
	run(p, OPEN,
		"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; SELECT count(*) FROM "
		"sqlite_master");
}

static bool write_row(struct process *p, enum kind kind)
{
	char sql[200];
	int64_t n = ++p->seq;
	snprintf(sql, sizeof(sql),
		"REPLACE INTO t VALUES (%d, %" PRId64 ", %" PRId64 ", randomblob(%" PRId64 "))", p->id,
		n % ROWS_KEPT, n, 100 + chance_below(&p->chance, 3000));
	return run(p, kind, sql);
}

/* ---- habits ---- */

/* The next of `rate` a second; what was missed is not made up for. */
static void pace(struct process *p)
{
	int64_t now_us = samples_now_us();
	if (p->rate == 0)
		return;
	p->next_us += 1000000 / p->rate;
	if (p->next_us < now_us)
		p->next_us = now_us;
	samples_sleep_until(p->next_us);
}

static void commit_rows(struct process *p)
{
	for (; goes_on(p); pace(p))
		write_row(p, WRITE);
}

static void long_transactions(struct process *p)
{
	for (; goes_on(p); rest(p, 800)) {
		if (!run(p, BEGIN, "BEGIN IMMEDIATE"))
			continue;
		for (int i = 0; i < 20 && write_row(p, IN_TRANSACTION); i++)
			rest(p, 10);
		run(p, COMMIT, chance_below(&p->chance, 3) ? "COMMIT" : "ROLLBACK");
		give_up(p);
	}
}

static void read_then_write(struct process *p)
{
	for (; goes_on(p); pace(p)) {
		if (run(p, READ, "BEGIN; SELECT count(*) FROM t") && write_row(p, UPGRADE))
			run(p, COMMIT, "COMMIT");
		give_up(p);
	}
}

static void open_and_close(struct process *p)
{
	for (; goes_on(p); rest(p, 40)) {
		sqlite3_close(p->db);
		open_database(p);
		write_row(p, WRITE);
	}
}

static void read_for_a_while(struct process *p)
{
	for (; goes_on(p); rest(p, 30)) {
		if (run(p, READ, "BEGIN; SELECT sum(n) FROM t"))
			rest(p, 150);
		run(p, READ, "SELECT count(*) FROM t");
		give_up(p);
	}
}

static void vacuum(struct process *p)
{
	for (; goes_on(p); rest(p, 10000))
		run(p, VACUUM, "VACUUM");
}

static void checkpoint(struct process *p)
{
	for (int mode = SQLITE_CHECKPOINT_PASSIVE; goes_on(p); mode = (mode + 1) % CHECKPOINT_MODES) {
		rest(p, 300);
		int64_t began_us = samples_now_us();
		int rc = sqlite3_wal_checkpoint_v2(p->db, NULL, mode, NULL, NULL);
		tally(p, CHECKPOINT + (enum kind)mode, began_us, rc);
	}
}

static void (*const several[])(struct process *) = {commit_rows, commit_rows, commit_rows,
	long_transactions, read_then_write, open_and_close, read_for_a_while, read_for_a_while, vacuum,
	checkpoint, NULL};
static void (*const one[])(struct process *) = {commit_rows, read_for_a_while, NULL};
static void (*const upgrading[])(struct process *) = {read_then_write, NULL};

static const struct app {
	const char *name;
	int64_t rate;
	void (*const *habits)(struct process *);
} apps[] = {{"several", 40, several}, {"one", 500, one}, {"upgrading", 500, upgrading}};

/* ---- the app ---- */

static void create(const struct process *like)
{
	struct process p = *like;
	open_database(&p);
	if (sqlite3_exec(p.db,
			"CREATE TABLE IF NOT EXISTS t(w INTEGER, slot INTEGER, n INTEGER, body BLOB, PRIMARY "
			"KEY(w, slot))",
			NULL, NULL, NULL) != SQLITE_OK)
		die(&p, "CREATE TABLE");
	sqlite3_close(p.db);
}

static void become(struct process *p, int id, uint64_t seed, void (*habit)(struct process *))
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	p->id = id;
	p->chance = chance_of(seed, (uint64_t)id);
	open_database(p);
	habit(p);
	sqlite3_close(p->db);
	_exit(0);
}

static int run_all(const struct process *like, uint64_t seed,
	void (*const *habits)(struct process *), struct count (*counts)[KINDS])
{
	int n = 0, failed = 0, status;
	for (; habits[n]; n++) {
		struct process p = *like;
		p.counts = counts[n];
		if (fork() == 0)
			become(&p, n + 1, seed, habits[n]);
	}
	while (n-- > 0)
		failed |= wait(&status) < 0 || status != 0;
	return failed;
}

static void report(struct count (*counts)[KINDS], int64_t began_us)
{
	printf("{\"seconds\":%.1f", (double)(samples_now_us() - began_us) / 1e6);
	for (int k = 0; k < KINDS; k++) {
		struct count sum = {0};
		for (int i = 0; i < PROCESSES_MAX; i++) {
			const struct count *c = &counts[i][k];
			sum.calls += c->calls;
			sum.busy += c->busy;
			sum.snapshot += c->snapshot;
			sum.recovery += c->recovery;
			sum.locked += c->locked;
			sum.protocol += c->protocol;
			sum.longest_us = c->longest_us > sum.longest_us ? c->longest_us : sum.longest_us;
		}
		if (sum.calls > 0)
			printf(",\"%s\":{\"calls\":%" PRId64 ",\"busy\":%" PRId64 ",\"busy_snapshot\":%" PRId64
				   ",\"busy_recovery\":%" PRId64 ",\"locked\":%" PRId64 ",\"protocol\":%" PRId64
				   ",\"longest_us\":%" PRId64 "}",
				kind_names[k], sum.calls, sum.busy, sum.snapshot, sum.recovery, sum.locked,
				sum.protocol, sum.longest_us);
	}
	printf("}\n");
}

static const struct app *find_app(const char *name)
{
	for (size_t i = 0; i < sizeof(apps) / sizeof(apps[0]); i++)
		if (strcmp(apps[i].name, name) == 0)
			return &apps[i];
	return NULL;
}

static int usage(void)
{
	fprintf(stderr, "usage: busy [-t SECONDS] [-T MS] [-S SEED] [-r N] several|one|upgrading DB\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct process p = {.rate = -1, .timeout_ms = 5000};
	int64_t seconds = 10;
	uint64_t seed = 1;
	for (int c; (c = getopt(argc, argv, "t:T:S:r:")) != -1;)
		if (c == 't')
			seconds = atoll(optarg);
		else if (c == 'T')
			p.timeout_ms = atoi(optarg);
		else if (c == 'S')
			seed = (uint64_t)atoll(optarg);
		else if (c == 'r')
			p.rate = atoll(optarg);
		else
			return usage();
	const struct app *app = optind == argc - 2 ? find_app(argv[optind]) : NULL;
	if (!app)
		return usage();
	struct count(*counts)[KINDS] = mmap(NULL, (PROCESSES_MAX + 1) * sizeof(*counts),
		PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counts == MAP_FAILED)
		return 1;
	if (p.rate < 0)
		p.rate = app->rate;
	p.path = argv[optind + 1];
	p.counts = counts[PROCESSES_MAX];
	create(&p);
	int64_t began_us = samples_now_us();
	p.until_us = began_us + seconds * 1000000;
	int rc = run_all(&p, seed, app->habits, counts);
	report(counts, began_us);
	return rc;
}
