/*
 * The store in memory, for tests: "mem://name". Every store of the same name in a process sees the
 * same objects, also after all of them were closed, as two hosts see one bucket.
 */
#ifndef STORE_MEM_H
#define STORE_MEM_H

/* Forgets the objects of mem://name; NULL: of all. No store of that name may be open. */
void store_mem_forget(const char *name);

#endif
