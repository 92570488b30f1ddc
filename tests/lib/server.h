/* Real and scripted servers for C tests: started by the scripts in tests/servers, stopped at exit.
 */
#ifndef TESTS_LIB_SERVER_H
#define TESTS_LIB_SERVER_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Runs `tests/servers/<script> start DIR` with a folder of its own and puts the KEY=VALUE lines
 * that it prints into the environment. `probe` is one of the keys: when it is set already (by
 * whoever runs the tests), nothing is started. True when the server can be used; false, with a
 * sentence on stderr, when its programs are not installed. Any other failure ends the process.
 */
bool server_start(const char *script, const char *probe);

/* Runs tests/servers/<script> with arguments (NULL-terminated, at most 6); returns its exit code.
 */
int server_run(const char *script, const char *const *args);

/*
 * Starts `tests/servers/<script> ARGS…`, which prints its port as the first line and then serves
 * until it is killed (at exit, or by server_stop). Returns the pid.
 */
int server_spawn(const char *script, const char *const *args, int *port);
void server_stop(int pid);

/* A new empty folder below TMPDIR, removed at exit. */
#define SERVER_DIR_MAX 1024
void server_temp_dir(char out[SERVER_DIR_MAX]);

#endif
