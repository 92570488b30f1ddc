/*
 * For the tools that are also linked with other SQLites than ours (tests/lib/old-sqlite.bash), back
 * to 3.7.17: what is newer than that, by what there was. Included after sqlite3.h.
 */
#ifndef LIB_OLD_SQLITE_H
#define LIB_OLD_SQLITE_H

#if SQLITE_VERSION_NUMBER < 3020000
#define sqlite3_prepare_v3(db, sql, n, flags, out, tail) sqlite3_prepare_v2(db, sql, n, out, tail)
#endif

#if SQLITE_VERSION_NUMBER < 3008007
#define sqlite3_bind_blob64(st, i, p, n, end) sqlite3_bind_blob(st, i, p, (int)(n), end)
#endif

#ifndef SQLITE_BUSY_SNAPSHOT
#define SQLITE_BUSY_SNAPSHOT (SQLITE_BUSY | (2 << 8))
#endif

/* TRUNCATE came with 3.8.8; the PRAGMA takes it for PASSIVE before that. */
#if SQLITE_VERSION_NUMBER < 3008008
#define CHECKPOINT_MODES 3
#else
#define CHECKPOINT_MODES 4
#endif

#if SQLITE_VERSION_NUMBER < 3008002
#define WITHOUT_ROWID ""
#else
#define WITHOUT_ROWID " WITHOUT ROWID"
#endif

/* Without `immutable` a database in WAL mode can't be read where nobody may make its -shm. */
#if SQLITE_VERSION_NUMBER < 3008000
#define OPEN_IMMUTABLE SQLITE_OPEN_READWRITE
#else
#define OPEN_IMMUTABLE SQLITE_OPEN_READONLY
#endif

#endif
