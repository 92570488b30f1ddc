/*
 * The watchdog over a worker, which is a shell script here: silence kills it, but not what it could
 * not say because the daemon itself was held up.
 */
#include "daemon/child.h"

#include "base/clock.h"
#include "base/fs.h"
#include "daemon/heldup.h"
#include "lib/tmpdir.h"

#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define MINUTE_US (INT64_C(60) * 1000000)
#define LOOKS_MAX 600
#define LOOK_PAUSE_US 50000
#define TURNS_MAX 1000 /* each ends within 0.1 s */

static int64_t held_up_us; /* what the clock has gone on since, in no time */

static int64_t mono_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000 + held_up_us;
}

static int64_t wall_ms(void)
{
	return (int64_t)time(NULL) * 1000;
}

static const struct clock_ops ops = {.mono_us = mono_us, .wall_ms = wall_ms};

/* A worker that says that it lives when the file `go` is there, and nothing after that. */
static void write_worker(const char *dir)
{
	char path[300];
	snprintf(path, sizeof(path), "%s/worker", dir);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f,
		"#!/bin/bash\n"
		"echo '{\"type\":\"hello\",\"protocol\":1,\"version\":\"x\"}' >&3\n"
		"read -r _ <&3\n"
		"echo '{\"type\":\"status\",\"databases\":[]}' >&3\n"
		"while [[ ! -e %s/go ]]; do sleep 0.05; done\n"
		"echo '{\"type\":\"alive\",\"next_ms\":5000}' >&3\n"
		"read -r _ <&3\n",
		dir);
	fclose(f);
	assert_int_equal(chmod(path, 0700), 0);
}

static int make_config(void *ctx, struct child *c, json_t **out, struct err *e)
{
	(void)ctx, (void)c, (void)e;
	*out = json_pack("{s:s}", "type", "config");
	return ERR_OK;
}

static int no_folders(void *ctx, const struct child *c, struct confine_folders *out, struct err *e)
{
	(void)ctx, (void)c, (void)out, (void)e;
	return ERR_OK;
}

static void turn(struct child *c, struct pollset *p)
{
	pollset_begin(p);
	child_prepare(c, p);
	pollset_wake_at(p, clock_mono_us() + 100000);
	pollset_wait(p);
}

static void test_a_daemon_that_was_held_up(void **state)
{
	char *dir = tmpdir_new(), program[300], go[300];
	struct err e = ERR_INIT;
	struct pollset p;
	int status;
	(void)state;
	write_worker(dir);
	snprintf(program, sizeof(program), "%s/worker", dir);
	snprintf(go, sizeof(go), "%s/go", dir);
	const struct child_config cfg = {
		.program = program,
		.log_dir = dir,
		.log_gid = getegid(),
		.log_level = "info",
		.run_as_self = true,
		.confinement = CONFINE_NONE,
		.watchdog_ms = 20000,
		.backoff_min_ms = 1000,
		.backoff_max_ms = 1000,
		.make = make_config,
		.folders = no_folders,
	};
	clock_set_ops(&ops);
	pollset_init(&p);
	struct child *c = child_new(&cfg, "app", geteuid(), getegid(), &e);
	assert_non_null(c);
	child_want(c);
	for (int i = 0; i < TURNS_MAX && c->state != CHILD_RUNNING; i++)
		turn(c, &p);
	assert_int_equal(c->state, CHILD_RUNNING);

	/* A minute passes, in which the worker speaks and nobody listens. */
	close(open(go, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	struct pollfd said = {c->channel.fd, POLLIN, 0};
	assert_int_equal(poll(&said, 1, 60000), 1);
	held_up_us += MINUTE_US;
	turn(c, &p);
	turn(c, &p);
	assert_string_equal(c->trouble, "");
	assert_true(c->channel.fd >= 0);

	/* Another one, in which it says nothing. */
	held_up_us += MINUTE_US;
	turn(c, &p);
	turn(c, &p);
	assert_non_null(strstr(c->trouble, "was silent for "));
	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	child_exited(c, status);
	assert_int_equal(c->state, CHILD_WAITING);
	child_free(c);
	pollset_free(&p);
	clock_set_ops(NULL);
	tmpdir_free(dir);
}

/* Is it seen to be so, or not so, before long? */
static bool is_held_up_within(pid_t pid, bool wanted)
{
	struct heldup last = {0};
	for (int i = 0; i < LOOKS_MAX; i++) {
		if (heldup_look(&last, pid, clock_mono_us()) == wanted)
			return true;
		usleep(LOOK_PAUSE_US);
	}
	return false;
}

/* vfork(2) lets the parent wait where no signal reaches it, as for a disk. */
static void test_waiting_for_the_disk(void **state)
{
	int pipes[2], status;
	char byte;
	(void)state;
	assert_int_equal(pipe(pipes), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(pipes[1]);
		if (vfork() == 0)
			_exit(read(pipes[0], &byte, 1) != 0);
		_exit(0);
	}
	close(pipes[0]);
	assert_true(is_held_up_within(pid, true));
	close(pipes[1]); /* ends the grandchild, then the child */
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(is_held_up_within(pid, false)); /* nobody is */
}

static pid_t spin(int cpu, int policy, int priority)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid)
		return pid;
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	struct sched_param p = {.sched_priority = priority};
	if (sched_setaffinity(0, sizeof(set), &set) || sched_setscheduler(0, policy, &p))
		_exit(1);
	for (;;)
		;
}

static int end_of(pid_t pid)
{
	int status;
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* On one processor with another process whose priority is higher it can run, and hardly does. */
static void test_waiting_for_a_processor(void **state)
{
	(void)state;
	int cpu = sched_getcpu();
	pid_t busy = spin(cpu, SCHED_OTHER, 0), idle = spin(cpu, SCHED_IDLE, 0);
	struct heldup last = {0};
	assert_true(heldup_look(&last, idle, clock_mono_us())); /* who knows? */
	for (int i = 0; i < 3; i++) {
		usleep(LOOK_PAUSE_US);
		assert_true(heldup_look(&last, idle, clock_mono_us()));
	}
	end_of(idle);
	end_of(busy);
}

/* In a circle, with a processor of its own; only root can give it one on any machine. */
static void test_running_in_a_circle(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	pid_t pid = spin(sched_getcpu(), SCHED_FIFO, 1);
	bool held_up = is_held_up_within(pid, false);
	bool was_killed = WIFSIGNALED(end_of(pid));
	if (!was_killed)
		skip(); /* no real-time priority here */
	assert_true(held_up);
}

static void test_asleep(void **state)
{
	(void)state;
	pid_t pid = fork();
	assert_true(pid >= 0);
	while (pid == 0)
		pause();
	assert_true(is_held_up_within(pid, false));
	end_of(pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_daemon_that_was_held_up),
		cmocka_unit_test(test_waiting_for_the_disk),
		cmocka_unit_test(test_waiting_for_a_processor),
		cmocka_unit_test(test_running_in_a_circle),
		cmocka_unit_test(test_asleep),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
