# dokku-litestream: builds the C helpers out of tree, tests them, installs them.
#   make                 build/bin/litestream and build/bin/litestreamd
#   make demo [S3=1]     the main job, shown
#   make test            everything that can be tested here
#   make dist            a release with built programs for this machine's architecture
# CC, CFLAGS, BUILD, PREFIX and DESTDIR can be set. V=1 shows the compiler's command lines.

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
# All processors, unless the caller says how many. A make that another one started shares its jobs.
ifeq (0,$(MAKELEVEL))
ifeq (,$(findstring j,$(filter-out --%,$(MAKEFLAGS))))
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 1)
endif
endif
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
CC ?= cc
PKG_CONFIG ?= pkg-config
VERSION := $(shell sed -n 's/^version *= *"\(.*\)"/\1/p' plugin.toml)

PACKAGES := sqlite3 libcurl libcrypto jansson liblz4 expat libmicrohttpd yaml-0.1
TEST_PACKAGES := cmocka

OPT ?= -O2 -g
SAN ?=
CFLAGS ?=
# A host that builds at `plugin:install` sets it to nothing: its compiler and libraries may be newer than
# all that we have seen, and warn of more.
WERROR ?= -Werror
WARN := -Wall -Wextra $(WERROR)
ALL_CFLAGS = -std=gnu17 $(OPT) $(WARN) -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 \
	-DLITESTREAM_VERSION='"$(VERSION)"' -fstack-protector-strong -pthread $(SAN) -Ihelpers $(CFLAGS)
# Asked when the first file is compiled, and once: `make deps` runs before pkg-config is there.
ask = $(eval $(1) := $(shell $(PKG_CONFIG) $(2)))$($(1))
PKG_CFLAGS = $(call ask,PKG_CFLAGS,--cflags $(PACKAGES))
PKG_LIBS = $(call ask,PKG_LIBS,--libs $(PACKAGES))
# STATIC=1, for releases: the libraries that few hosts have are linked in; curl's, which Dokku needs itself,
# and those of OpenSSL, GnuTLS and expat are the host's and get its security updates.
STATIC_PACKAGES := jansson liblz4 libmicrohttpd sqlite3 yaml-0.1
ifeq ($(STATIC),1)
PKG_LIBS = -Wl,-Bstatic $(call ask,STATIC_LIBS,--libs $(STATIC_PACKAGES)) -Wl,-Bdynamic -Wl,--as-needed -lgnutls \
	$(call ask,HOST_LIBS,--libs $(filter-out $(STATIC_PACKAGES),$(PACKAGES))) -lm
endif
TEST_CFLAGS = $(call ask,TEST_CFLAGS,--cflags $(TEST_PACKAGES))
TEST_LIBS = $(call ask,TEST_LIBS,--libs $(TEST_PACKAGES))

V ?= 0
ifeq ($(V),0)
Q := @
say = @printf '  %-4s %s\n' '$(1)' '$(2)'
endif

MAINS := helpers/cli/litestream.c helpers/cli/litestreamd.c
SOURCES := $(filter-out $(MAINS),$(wildcard helpers/*/*.c))
OBJECTS := $(SOURCES:%.c=$(BUILD)/obj/%.o)
LIB := $(BUILD)/liblitestream.a
PROGRAMS := $(BUILD)/bin/litestream $(if $(wildcard helpers/cli/litestreamd.c),$(BUILD)/bin/litestreamd)

# A test is a C file with a main; what tests share is in tests/lib and linked to each.
TEST_LIB_SOURCES := $(wildcard tests/lib/*.c)
TEST_LIB_OBJECTS := $(TEST_LIB_SOURCES:%.c=$(BUILD)/obj/%.o)
# An archive: a program gets only what it uses, so that a tool doesn't need cmocka.
TEST_LIB := $(BUILD)/libtest.a
TEST_SOURCES := $(wildcard tests/unit/test_*.c tests/conformance/test_*.c tests/fault/test_*.c)
TESTS := $(TEST_SOURCES:tests/%.c=$(BUILD)/tests/%)
# Programs that tests run: writers, readers, proxies.
TOOL_SOURCES := $(wildcard tests/tools/*.c)
TOOLS := $(TOOL_SOURCES:tests/tools/%.c=$(BUILD)/tools/%)
PRELOADS := tests/bench/slow_fsync.c tests/bench/fast_clock.c
BENCH_SOURCES := $(filter-out $(PRELOADS),$(wildcard tests/bench/*.c))
BENCHES := $(BENCH_SOURCES:tests/bench/%.c=$(BUILD)/bench/%)
BENCH_PRELOADS := $(PRELOADS:tests/bench/%.c=$(BUILD)/bench/%.so)
# A fuzz target is a C file with LLVMFuzzerTestOneInput; `make test` replays its corpus.
FUZZ_SOURCES := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_REPLAYS := $(FUZZ_SOURCES:tests/fuzz/%.c=$(BUILD)/fuzz/%-replay)

.PHONY: all
all: $(PROGRAMS)

$(TEST_LIB_OBJECTS): ALL_CFLAGS += -Itests
$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) -MMD -MP -c $< -o $@

$(LIB): $(OBJECTS)
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcs $@ $^

$(TEST_LIB): $(TEST_LIB_OBJECTS)
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcs $@ $^

$(BUILD)/bin/litestream: $(BUILD)/obj/helpers/cli/litestream.o $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $^ $(PKG_LIBS) -o $@

$(BUILD)/bin/litestreamd: $(BUILD)/obj/helpers/cli/litestreamd.o $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $^ $(PKG_LIBS) -o $@

$(BUILD)/tests/%: tests/%.c $(TEST_LIB) $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests $(PKG_CFLAGS) $(TEST_CFLAGS) -MMD -MP -MF $@.d $(LDFLAGS) \
		$< $(TEST_LIB) $(LIB) $(PKG_LIBS) $(TEST_LIBS) -o $@

$(BUILD)/tools/%: tests/tools/%.c $(TEST_LIB) $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests $(PKG_CFLAGS) -MMD -MP -MF $@.d $(LDFLAGS) $< $(TEST_LIB) $(LIB) $(PKG_LIBS) -o $@

$(BUILD)/bench/%: tests/bench/%.c $(TEST_LIB) $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests $(PKG_CFLAGS) -MMD -MP -MF $@.d $(LDFLAGS) $< $(TEST_LIB) $(LIB) $(PKG_LIBS) -o $@

$(BENCH_PRELOADS): $(BUILD)/bench/%.so: tests/bench/%.c
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -shared -fPIC $(LDFLAGS) $< -o $@

# Where the answers of a server are fuzzed, tests/fuzz/answers.h stands in the place of http_perform.
FUZZ_OF_ANSWERS := $(shell grep -l '"answers.h"' $(FUZZ_SOURCES))
$(FUZZ_OF_ANSWERS:tests/fuzz/%.c=$(BUILD)/fuzz/%-replay): LDFLAGS += -Wl,--wrap=http_perform

$(BUILD)/fuzz/%-replay: tests/fuzz/%.c tests/fuzz/replay.c $(wildcard tests/fuzz/*.h) $(TEST_LIB) $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests $(PKG_CFLAGS) $(LDFLAGS) $< tests/fuzz/replay.c \
		$(TEST_LIB) $(LIB) $(PKG_LIBS) -o $@

.PHONY: programs-for-tests
programs-for-tests: all $(TESTS) $(TOOLS) $(FUZZ_REPLAYS) $(BUILD)/bench/fast_clock.so

.PHONY: deps test-deps
deps:
	@scripts/deps.sh build

test-deps:
	scripts/deps.sh build test

.PHONY: test unit asan tsan
test: test-deps
	$(MAKE) programs-for-tests
	BUILD=$(BUILD) tests/run.sh all

# Compiles all there is, with a warning an error, and links nothing that isn't whole.
.PHONY: lib-check
lib-check: $(LIB) $(TEST_LIB)

# The quick part: C tests and corpora, no servers, nothing installed.
unit: programs-for-tests
	BUILD=$(BUILD) tests/run.sh unit

# Instrumented code misleads gcc's analysis of sizes and values; the plain build has all warnings.
SAN_WARN := -Wno-unknown-warning-option -Wno-format-truncation -Wno-stringop-overread \
	-Wno-stringop-truncation -Wno-maybe-uninitialized

asan: test-deps
	$(MAKE) BUILD=build-asan OPT='-O1 -g' \
		SAN='-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer $(SAN_WARN)' \
		programs-for-tests
	BUILD=build-asan tests/run.sh all

tsan: test-deps
	$(MAKE) BUILD=build-tsan OPT='-O1 -g' SAN='-fsanitize=thread $(SAN_WARN)' programs-for-tests
	C_FILE_TIMEOUT=1200 BUILD=build-tsan tests/run.sh unit

# memcheck over the tests in C and the corpora; takes half an hour. WORD: those whose path holds it.
.PHONY: valgrind
WORD ?=
valgrind: test-deps
	scripts/deps.sh valgrind
	$(MAKE) programs-for-tests
	BUILD=$(BUILD) scripts/valgrind.sh $(WORD)

.PHONY: fuzz
# FUZZ_SECONDS for each target, corpora grow in build-fuzz/corpus.
FUZZ_SECONDS ?= 60
fuzz:
	scripts/fuzz.sh $(FUZZ_SECONDS)

.PHONY: demo
demo: deps
	@$(MAKE) -s all $(TOOLS)
	@BUILD=$(BUILD) S3=$(S3) scripts/demo.sh

# `make bench BENCH='--only quiet'`: some of it. Takes about 40 minutes; bench-quick two, flat half an hour.
.PHONY: bench bench-quick bench-docs flat
BENCH ?=
bench: test-deps
	$(MAKE) all $(TOOLS) $(BENCHES) $(BENCH_PRELOADS)
	BUILD=$(BUILD) tests/bench/run.py $(BENCH)

bench-quick:
	$(MAKE) bench BENCH='--quick $(BENCH)'

# Puts what the last whole runs of bench and flat found into docs/.
bench-docs:
	BUILD=$(BUILD) tests/bench/docs.py

# Are memory, threads and descriptors flat? MINUTES of it.
MINUTES ?= 30
flat: test-deps
	$(MAKE) all $(BENCH_PRELOADS)
	BUILD=$(BUILD) tests/bench/flat.py -m $(MINUTES)

# Does it lose anything while everything is killed and the store fails? SECONDS of it, as root; SEED=n makes
# the choices of an earlier run again.
.PHONY: soak
SECONDS ?= 600
soak: test-deps
	$(MAKE) all $(TOOLS)
	BUILD=$(BUILD) tests/soak/soak.py --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

.PHONY: lint
lint:
	scripts/lint.sh

.PHONY: format
format:
	clang-format -i helpers/*/*.[ch] $(wildcard tests/*/*.[ch])

.PHONY: install uninstall
install: all
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 0755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin/
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 0644 docs/litestream.1 $(DESTDIR)$(PREFIX)/share/man/man1/

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/litestream $(DESTDIR)$(PREFIX)/bin/litestreamd
	rm -f $(DESTDIR)$(PREFIX)/share/man/man1/litestream.1

# dist/dokku-litestream-VERSION-ARCH.tar.gz: the plugin with programs built here, for hosts without a compiler.
.PHONY: dist
dist: deps
	@scripts/dist.sh

.PHONY: clean
clean:
	rm -rf build build-asan build-tsan build-fuzz build-dist dist

.SECONDARY:
-include $(OBJECTS:.o=.d) $(TEST_LIB_OBJECTS:.o=.d) $(TESTS:=.d) $(TOOLS:=.d) $(BENCHES:=.d) \
	$(BUILD)/obj/helpers/cli/litestream.d $(BUILD)/obj/helpers/cli/litestreamd.d
