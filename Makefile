# Makefile - builds, tests and checks everything; `make help` lists the targets. All output goes to build/.
#
# SPDX-License-Identifier: Apache-2.0
#
# Variables:  DEVELOPER=1 makes warnings errors;  SAN=address,undefined builds with sanitizers, in
# build/san/;  CC=clang;  JOBS=2;  V=1 shows the commands;  PYTHON=/usr/bin/python3 (the one that sees Debian's python3-* packages).

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
JOBS ?= 2
# A single goal is built in parallel; several goals are made in the order given.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS))$(word 2,$(MAKECMDGOALS)),0)
MAKEFLAGS += -j$(JOBS)
endif

PYTHON ?= /usr/bin/python3
CLANG ?= clang-14
ifeq ($(origin CC),default)
CC := gcc
endif

comma := ,
# $(call say,WORD,FILE) prints one short line per command, or make shows the command itself (V=1).
Q := $(if $(V),,@)
say = @$(if $(V),:,printf '  %-8s %s\n' $(1) $(2))

OUT := build$(if $(SAN),/san)
GEN := build/gen
VERSION := $(shell cat VERSION)$(shell git describe --always --dirty=+ --exclude '*' 2>/dev/null | sed 's/^/-g/')

# ---- flags ---------------------------------------------------------------------------------------------

LIBRARIES := rdkafka rocksdb jansson libcrypto libsodium libutf8proc
PKG_CFLAGS := $(shell pkg-config --cflags $(LIBRARIES) 2>/dev/null)
PKG_LIBS := $(or $(shell pkg-config --libs $(LIBRARIES) 2>/dev/null),\
                 -lrdkafka -lrocksdb -ljansson -lcrypto -lsodium -lutf8proc)

CPPFLAGS += -I. -I$(GEN) -D_POSIX_C_SOURCE=200809L -DKINLOG_VERSION='"$(VERSION)"'
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wconversion
GCC_WARNINGS := -Wjump-misses-init
# Tests may convert freely, and cmocka's mocks are found by the linker alone.
TEST_WARNINGS := -Wno-conversion -Wno-missing-prototypes

WERROR := $(if $(DEVELOPER),-Werror)
C_FLAGS := -std=c17 -O2 -g -fPIE -fno-omit-frame-pointer $(WARNINGS) $(PKG_CFLAGS)
C_FLAGS += $(if $(findstring clang,$(CC)),,$(GCC_WARNINGS))
ifdef SAN
C_FLAGS += -fsanitize=$(SAN) -fno-sanitize-recover=all
C_FLAGS += $(if $(FUZZING),-fsanitize=fuzzer-no-link)
LINK_FLAGS := -fsanitize=$(SAN)
else
C_FLAGS += -D_FORTIFY_SOURCE=2 -fstack-protector-strong
LINK_FLAGS := -Wl,-z,relro,-z,now
endif
# -rdynamic: librdkafka must find our bind(), which gives the embedded broker its fixed port.
LINK_FLAGS += -pie -rdynamic -Wl,--as-needed
# libcsv has no pkg-config file.
LINK_LIBS := $(PKG_LIBS) -lcsv -lpthread -lm
# The program's allocator takes a fifth of all processor time less than libc's; sanitizers bring their own.
PROGRAM_LIBS := $(if $(SAN),,-ljemalloc) $(LINK_LIBS)

# ---- what is compiled ------------------------------------------------------------------------------------

SOURCES := $(sort $(wildcard events/*.c events/base/*.c projections/*.c schemas/*.c) \
                  $(shell find agent -name '*.c'))
SCHEMAS := $(wildcard schemas/commands/*.json schemas/events/*.json schemas/answers/*.json)
GENERATED := $(addprefix $(GEN)/schemas/,commands.c events.c answers.c registry.c)
GENERATED_HEADERS := $(addprefix $(GEN)/schemas/,commands.h events.h answers.h)
COMPLETIONS := $(patsubst agent/cli/%,$(GEN)/%.inc,$(wildcard agent/cli/completion/*))
HEADERS := $(shell find agent events projections schemas tests -name '*.h')
TEST_SOURCES := $(wildcard tests/*.c tests/*/*.c)
OWN_SOURCES := $(SOURCES) $(wildcard schemas/compiler/*.c docs/*.c)

OBJECTS := $(SOURCES:%.c=$(OUT)/obj/%.o) $(GENERATED:$(GEN)/%.c=$(OUT)/obj/gen/%.o)
MAIN_OBJECT := $(OUT)/obj/agent/main.o
TEST_LIB_OBJECTS := $(patsubst %.c,$(OUT)/obj/%.o,$(wildcard tests/lib/*.c))
ARCHIVE := $(OUT)/libkinlog.a
UNIT_PROGRAMS := $(patsubst %.c,$(OUT)/%,$(wildcard tests/unit/test_*.c))
INTEGRATION_PROGRAMS := $(patsubst %.c,$(OUT)/%,$(wildcard tests/integration/test_*.c))
CORE_DRIVER := $(OUT)/tests/core_driver
ASSUMPTIONS_DRIVER := $(OUT)/tests/assumptions_driver
CONVERSATIONS := $(OUT)/tests/conversations

.PHONY: all objects run test help variant
all: $(if $(PLANTED),$(OUT)/planted/$(PLANTED)/kinlog,$(OUT)/kinlog $(OUT)/man/kinlog.1) ## build build/kinlog and build/man (the default)

objects: $(OBJECTS) ## compile everything, link nothing

run: deps-run ## install what is missing, build, and start the demo
	@$(MAKE) --no-print-directory all
	@exec build/kinlog demo

test: ## install what is missing and run all tests, those against a real Kafka included
	@packaging/deps.sh test
	@JOBS=$(JOBS) tests/all.sh

help: ## print this list
	@echo 'make TARGET, with TARGET one of:'
	@sed -n 's/^\([a-z][a-z0-9-]*\):[^#]*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'
	@sed -n 's/^# Variables: */Variables:  /p; s/^# \(build\/san.*\)/            \1/p' Makefile

$(OUT)/kinlog: $(MAIN_OBJECT) $(OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(C_FLAGS) $(LINK_FLAGS) -o $@ $(OBJECTS) $(PROGRAM_LIBS)

$(ARCHIVE): $(filter-out $(MAIN_OBJECT),$(OBJECTS))
	@rm -f $@
	$(call say,AR,$@)
	$(Q)ar rcs $@ $^

$(OUT)/obj/%.o: %.c $(OUT)/flags | $(GEN)/stamp
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(C_FLAGS) $(WERROR) $(if $(filter tests/%,$<),$(TEST_WARNINGS)) -MMD -MP -c -o $@ $<

$(OUT)/obj/gen/%.o: $(GEN)/%.c $(OUT)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(C_FLAGS) $(WERROR) -MMD -MP -c -o $@ $<

# Changed flags compile everything again, a changed version only what shows it.
$(OUT)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(C_FLAGS)' | cmp -s - $@ || echo '$(CC) $(C_FLAGS)' >$@
$(OUT)/version: FORCE
	@mkdir -p $(@D)
	@echo '$(VERSION)' | cmp -s - $@ || echo '$(VERSION)' >$@
VERSION_USERS := $(shell grep -ls KINLOG_VERSION $(SOURCES))
$(VERSION_USERS:%.c=$(OUT)/obj/%.o): $(OUT)/version
FORCE:

# The schema compiler runs here and never with sanitizers, whatever is built with its output.
build/schemac: schemas/compiler/schemac.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) -std=c17 -D_POSIX_C_SOURCE=200809L -I. -O1 -g $(WARNINGS) $(WERROR) -MMD -MP -MF build/schemac.d -o $@ $< -ljansson -lm
$(GEN)/stamp: build/schemac $(SCHEMAS) $(COMPLETIONS)
	@mkdir -p $(GEN)/schemas
	$(call say,SCHEMAS,$(GEN)/schemas)
	$(Q)build/schemac $(GEN) $(SCHEMAS)
	@touch $@
$(GENERATED) $(GENERATED_HEADERS): $(GEN)/stamp ;

# The shells' scripts as string literals, which `kinlog completion` prints.
$(GEN)/completion/%.inc: agent/cli/completion/%
	@mkdir -p $(@D)
	$(Q)sed 's/[\\"]/\\&/g; s/.*/    "&\\n"/' $< >$@

# The man pages are made by a program that knows the same tables as `kinlog help`. Their date is that of the version.
MAN_PAGES := $(OUT)/docs/make_man_pages
$(MAN_PAGES): $(OUT)/obj/docs/make_man_pages.o $(ARCHIVE)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(C_FLAGS) $(LINK_FLAGS) -o $@ $< $(ARCHIVE) $(LINK_LIBS)
$(OUT)/man/kinlog.1: $(MAN_PAGES) VERSION
	@rm -rf $(@D) && mkdir -p $(@D)
	$(call say,MAN,$(@D))
	$(Q)$< $(@D) $(file <VERSION) \
		$$(git log -1 --format=%cs -- VERSION 2>/dev/null | grep . || date -u -r VERSION +%F)

# Test builds of the program: build/variants/NAME/kinlog, as VARIANT=NAME, differs from build/kinlog in the files
# that know crash points alone; VARIANT_FLAGS=-D... adds more to these.
VARIANT := torture
VARIANT_FLAGS :=
VARIANT_FOLDER := $(OUT)/variants/$(VARIANT)
VARIANT_SOURCES := $(shell grep -lsE '^#include "agent/crash_point.h"' $(SOURCES))
VARIANT_OBJECTS := $(patsubst %.c,$(VARIANT_FOLDER)/obj/%.o,$(VARIANT_SOURCES) tests/torture/crash_point.c)
$(VARIANT_FOLDER)/kinlog: $(VARIANT_OBJECTS) $(OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(C_FLAGS) $(LINK_FLAGS) -o $@ $(VARIANT_OBJECTS) \
		$(filter-out $(VARIANT_SOURCES:%.c=$(OUT)/obj/%.o),$(OBJECTS)) $(PROGRAM_LIBS)
$(VARIANT_FOLDER)/obj/%.o: %.c $(VARIANT_FOLDER)/flags | $(GEN)/stamp
	@mkdir -p $(@D)
	$(call say,CC,'$< ($(VARIANT))')
	$(Q)$(CC) $(CPPFLAGS) -DKINLOG_CRASH_POINTS $(VARIANT_FLAGS) $(C_FLAGS) $(WERROR) -MMD -MP -c -o $@ $<
$(VARIANT_FOLDER)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(C_FLAGS) $(VARIANT_FLAGS)' | cmp -s - $@ || echo '$(CC) $(C_FLAGS) $(VARIANT_FLAGS)' >$@
variant: $(VARIANT_FOLDER)/kinlog ## build a test build with crash points (VARIANT=NAME VARIANT_FLAGS=-D...)

# Builds with a bug in them, to see that the tests find it: build/planted/NAME/kinlog, as PLANTED=NAME, is the test
# build with crash points, but for the one file in which agent/planted.h's PLANTED(NAME) stands.
PLANTED_BUGS := $(shell sed -n 's/^    PLANTED_\([a-z_]*\),/\1/p' agent/planted.h | grep -v nothing)
# Those of conversations between shards are found by the program that explores these, with the bug in it.
EXPLORED_BUGS := $(filter request_%,$(PLANTED_BUGS))
PLANTED_PROGRAMS := $(patsubst %,$(OUT)/planted/%/kinlog,$(filter-out $(EXPLORED_BUGS),$(PLANTED_BUGS))) \
	$(EXPLORED_BUGS:%=$(OUT)/planted/%/conversations)
define PLANTED_RULES
$(OUT)/planted/$(1)/kinlog: $(2:%.c=$(OUT)/planted/$(1)/obj/%.o) $(VARIANT_OBJECTS) $(OBJECTS)
	$$(call say,LINK,$$@)
	$$(Q)$$(CC) $$(C_FLAGS) $$(LINK_FLAGS) -o $$@ $(2:%.c=$(OUT)/planted/$(1)/obj/%.o) \
		$$(filter-out $(2:%.c=$(VARIANT_FOLDER)/obj/%.o),$$(VARIANT_OBJECTS)) \
		$$(filter-out $(2:%.c=$(OUT)/obj/%.o) $$(VARIANT_SOURCES:%.c=$$(OUT)/obj/%.o),$$(OBJECTS)) $$(PROGRAM_LIBS)
$(OUT)/planted/$(1)/conversations: $(OUT)/obj/tests/conversations.o $(2:%.c=$(OUT)/planted/$(1)/obj/%.o) $(TEST_LIB_OBJECTS) $(ARCHIVE)
	$$(call say,LINK,$$@)
	$$(Q)$$(CC) $$(C_FLAGS) $$(LINK_FLAGS) -o $$@ $$^ -lcmocka $$(LINK_LIBS)
$(OUT)/planted/$(1)/obj/%.o: %.c $(OUT)/flags | $(GEN)/stamp
	@mkdir -p $$(@D)
	$$(call say,CC,'$$< ($(1))')
	$$(Q)$$(CC) $$(CPPFLAGS) -DKINLOG_CRASH_POINTS -DKINLOG_PLANTED=PLANTED_$(1) $$(C_FLAGS) $$(WERROR) -MMD -MP -c -o $$@ $$<
endef
$(foreach bug,$(PLANTED_BUGS),$(eval $(call PLANTED_RULES,$(bug),$(shell grep -ls 'PLANTED($(bug))' $(SOURCES)))))

# ---- tests -----------------------------------------------------------------------------------------------

.PHONY: check check-integration check-schemas check-model check-cli conversations kafka e2e bench model fuzz test-programs torture
test-programs: $(UNIT_PROGRAMS) $(INTEGRATION_PROGRAMS) $(CORE_DRIVER) $(ASSUMPTIONS_DRIVER) $(CONVERSATIONS) ## build all test programs

$(OUT)/tests/%: $(OUT)/obj/tests/%.o $(TEST_LIB_OBJECTS) $(ARCHIVE)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(C_FLAGS) $(LINK_FLAGS) -o $@ $< $(TEST_LIB_OBJECTS) $(ARCHIVE) -lcmocka $(LINK_LIBS)
.SECONDARY: # keep the objects of tests

check: $(UNIT_PROGRAMS) ## run the unit tests (with SAN=address,undefined: under sanitizers)
	@OUT=$(OUT) tests/run.sh unit$(if $(SAN),-san) $(UNIT_PROGRAMS) \
		$(if $(SAN),,'$(PYTHON) tests/torture/test_checker.py')

check-integration: $(INTEGRATION_PROGRAMS) $(OUT)/kinlog ## run the integration tests (embedded broker, store on disk)
	@OUT=$(OUT) tests/run.sh integration$(if $(SAN),-san) $(INTEGRATION_PROGRAMS)

check-schemas: $(OUT)/kinlog $(CORE_DRIVER) ## compare the validators with Python's, run the public suite, parse asyncapi.yaml
	@OUT=$(OUT) PYTHON=$(PYTHON) tests/run.sh schemas 'tests/schemas/run.sh $(OUT)' tests/schemas/test_asyncapi.sh

check-model: $(CORE_DRIVER) ## compare the core with the independent model, command by command
	@OUT=$(OUT) PYTHON=$(PYTHON) tests/run.sh model '$(PYTHON) tests/model/test_model.py' \
		'$(PYTHON) tests/model/property_test.py'

SCENARIOS := short
conversations: $(CONVERSATIONS) ## every run of two conversations between two shards (SCENARIOS=long: longer ones)
	@OUT=$(OUT) tests/run.sh conversations '$(CONVERSATIONS) $(SCENARIOS)'

check-cli: $(OUT)/kinlog ## run the tests of the command line
	@OUT=$(OUT) PYTHON=$(PYTHON) tests/run.sh cli $(wildcard tests/cli/test_*.sh) \
		$(patsubst %,'$(PYTHON) %',$(wildcard tests/cli/test_*.py))

kafka: ## start a real Apache Kafka on localhost:9092, for trying things out
	@exec $(PYTHON) tests/lib/kafka_broker.py

# Libraries that break the agent, loaded before the others.
BREAKERS := $(patsubst tests/e2e/%.c,$(OUT)/tests/%.so,$(wildcard tests/e2e/*.c))
$(BREAKERS): $(OUT)/tests/%.so: tests/e2e/%.c
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -std=c17 -O2 -g $(WARNINGS) $(WERROR) -shared -fPIC -o $@ $< -ldl

# The examples that must be built, and the libraries that they take from registries.
.PHONY: examples
NEEDS_NETWORK = || { echo '$@ was not made: see above. The first time this needs the network.' >&2; exit 1; }
examples: build/examples/Send.class build/examples/send-go build/examples/package.json ## build the examples in Java, Go, JavaScript
build/kafka-libs/pom.xml: tests/lib/kafka/pom.xml
	$(Q)$(PYTHON) tests/lib/kafka_broker.py --fetch $(NEEDS_NETWORK)
build/examples/Send.class: examples/Send.java | build/kafka-libs/pom.xml
	$(call say,JAVAC,$@)
	$(Q)javac -Xlint:all -Werror -cp 'build/kafka-libs/*' -d $(@D) $<
build/examples/send-go: $(addprefix examples/,send.go go.mod go.sum)
	$(call say,GO,$@)
	$(Q)cd examples && go build -buildvcs=false -o ../$@ send.go $(NEEDS_NETWORK)
build/examples/package.json: examples/package.json
	@mkdir -p $(@D)
	$(call say,NPM,$(@D)/node_modules)
	$(Q)cp $< $@ && npm install --prefix $(@D) --no-package-lock --no-audit --no-fund --no-update-notifier \
		--loglevel=error >/dev/null $(NEEDS_NETWORK)

e2e: $(OUT)/kinlog $(VARIANT_FOLDER)/kinlog $(BREAKERS) $(ASSUMPTIONS_DRIVER) ## run the tests against a real Apache Kafka (fetched with Maven)
	@OUT=$(OUT) PYTHON=$(PYTHON) TEST_TIMEOUT=2700 tests/run.sh e2e '$(PYTHON) tests/e2e/run.py $(E2E)'

# A library that notes what was synced, so that the rest can be taken away as by a power cut.
POWER_CUT := $(OUT)/tests/power_cut.so
$(POWER_CUT): tests/planted/power_cut.c
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -std=c17 -O2 -g $(WARNINGS) $(WERROR) -shared -fPIC -o $@ $< -ldl

.PHONY: planted
BUGS ?=
planted: $(VARIANT_FOLDER)/kinlog $(CONVERSATIONS) $(PLANTED_PROGRAMS) $(POWER_CUT) ## see that the tests find each planted bug (BUGS=NAME..)
	@OUT=$(OUT) TEST_SHOW=1 tests/run.sh planted '$(PYTHON) tests/planted/run.py $(BUGS)'

BENCH ?= full
BENCH_PROGRAMS := $(addprefix $(OUT)/tests/bench/,generate passthrough latency)
BENCH_LIB_OBJECTS := $(addprefix $(OUT)/obj/tests/bench/,client.o commands.o)
COUNT_FSYNC := $(OUT)/tests/bench/count_fsync.so
bench: $(OUT)/kinlog $(BENCH_PROGRAMS) $(COUNT_FSYNC) ## measure against librdkafka alone on a real Kafka (BENCH=small: a minute)
	@OUT=$(OUT) $(PYTHON) tests/bench/bench.py $(BENCH)

$(BENCH_PROGRAMS): $(OUT)/tests/bench/%: $(OUT)/obj/tests/bench/%.o $(BENCH_LIB_OBJECTS)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(C_FLAGS) $(LINK_FLAGS) -o $@ $^ $(LINK_LIBS)

$(COUNT_FSYNC): tests/bench/count_fsync.c $(OUT)/flags
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -std=c17 -O2 -fPIC -shared $(WARNINGS) $(WERROR) -o $@ $<
.PHONY: damage
DAMAGE ?= full
damage: $(OUT)/kinlog $(OUT)/tests/damage/sweep ## damage data folders: 2,000 flipped bits, files removed, cut, older (DAMAGE=ci: a share)
	@$(MAKE) --no-print-directory variant VARIANT=torture
	@OUT=$(OUT) DAMAGE=$(DAMAGE) TEST_TIMEOUT=7200 tests/run.sh damage '$(PYTHON) tests/damage/test_damage.py'

TORTURE ?= full
torture: $(VARIANT_FOLDER)/kinlog $(OUT)/kinlog ## kill, pause, rob the agent under load, kill the broker (TORTURE=ci: a share of it)
	@TEST_TIMEOUT=7200 TEST_SHOW=1 tests/run.sh torture \
		'$(PYTHON) tests/torture/run.py all --share $(TORTURE) --program $(VARIANT_FOLDER)/kinlog'

broker-away: $(OUT)/kinlog ## brokers away for as long as the library's own time limits, 200,000 commands waiting
	@OUTAGE_SECONDS=75 BACKLOG=200000 OUT=$(OUT) TEST_TIMEOUT=3600 PYTHON=$(PYTHON) tests/run.sh broker-away \
		'$(PYTHON) tests/e2e/run.py test_broker_away'

.PHONY: faults
FAULTS ?= all
FAULTS_STRIDE := $(if $(filter ci,$(FAULTS)),97,1)
ALLOC_SWEEPS := build/san/tests/faults/alloc_sweep build/san/tests/faults/agent_sweep
faults: $(OUT)/tests/faults/io_sweep ## let every n-th call of the machine fail (FAULTS=ci: a share, 4 minutes)
	@$(MAKE) --no-print-directory SAN=address,undefined $(ALLOC_SWEEPS)
	@OUT=$(OUT) PYTHON=$(PYTHON) TEST_TIMEOUT=7200 tests/run.sh faults \
		$(patsubst %,'% $(FAULTS_STRIDE)',$(ALLOC_SWEEPS) $(OUT)/tests/faults/io_sweep)

# io_faults.c stands in front of libc: the libraries find its functions first.
FAULT_OBJECTS := $(patsubst %,$(OUT)/obj/tests/faults/%.o,story io_faults)
$(OUT)/tests/faults/io_sweep: $(OUT)/obj/tests/faults/io_sweep.o $(FAULT_OBJECTS) $(ARCHIVE)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(C_FLAGS) $(LINK_FLAGS) -o $@ $< $(FAULT_OBJECTS) $(ARCHIVE) -ldl $(LINK_LIBS)

WRAPPED := malloc calloc realloc strdup arena_alloc arena_copy secret_new
ALLOC_OBJECTS := $(patsubst %,$(OUT)/obj/tests/faults/%.o,alloc_faults story)
$(addprefix $(OUT)/tests/faults/,alloc_sweep agent_sweep): $(OUT)/tests/faults/%: $(OUT)/obj/tests/faults/%.o \
		$(ALLOC_OBJECTS) $(ARCHIVE)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(C_FLAGS) $(LINK_FLAGS) $(patsubst %,-Wl$(comma)--wrap=%,$(WRAPPED)) -o $@ \
		$< $(ALLOC_OBJECTS) $(ARCHIVE) $(LINK_LIBS)

RUNS ?= all
model: ## check the model of who may write with spin (RUNS=small: under 3 minutes)
	@tests/claims/run.sh $(RUNS)

# The fuzzers are made by a make of their own, with another compiler: all sources once, with the sanitizers.
FUZZ_SECONDS ?= 60
FUZZERS := $(patsubst tests/fuzz/%.c,$(OUT)/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_OBJECTS := $(patsubst %.c,$(OUT)/obj/%.o,$(filter-out tests/fuzz/fuzz_%,$(wildcard tests/fuzz/*.c)))
.PHONY: fuzz-programs fuzzers
fuzz: fuzz-programs ## fuzz the decoders with libFuzzer, JOBS at a time (FUZZ_SECONDS=60 each)
	@TEST_TIMEOUT=$$(($(FUZZ_SECONDS) * 8 + 600)) JOBS=$(JOBS) tests/run.sh fuzz 'tests/fuzz/run.sh $(FUZZ_SECONDS)'
fuzz-programs: ## build the fuzzers, in build/fuzz
	@$(MAKE) --no-print-directory OUT=build/fuzz CC=$(CLANG) SAN=address,undefined FUZZING=1 fuzzers

fuzzers: $(FUZZERS) ## build them with the present compiler and flags (fuzz-programs sets the right ones)
$(OUT)/fuzz_%: $(OUT)/obj/tests/fuzz/fuzz_%.o $(FUZZ_OBJECTS) $(ARCHIVE)
	@mkdir -p $(@D)
	$(call say,FUZZER,$@)
	$(Q)$(CC) $(LINK_FLAGS) -fsanitize=fuzzer -o $@ $< $(FUZZ_OBJECTS) $(ARCHIVE) $(LINK_LIBS)

# ---- checks of the source -----------------------------------------------------------------------------------

.PHONY: lint lint-clang lint-tidy lint-cppcheck lint-house check-layers check-reference format format-check compose-check
lint: lint-house check-layers check-reference lint-clang lint-cppcheck lint-tidy ## check the source: all of the following

CLANG_FLAGS := -std=c17 $(filter-out -DKINLOG_VERSION%,$(CPPFLAGS)) -DKINLOG_VERSION=__FILE__ \
	$(WARNINGS) $(PKG_CFLAGS)
lint-house: ## banned functions, licence lines, header guards
	@tests/lint/house.sh

check-layers: $(OBJECTS) ## who may include and call whom
	@tests/lint/layers.sh $(OUT)/obj

check-reference: $(OUT)/kinlog ## pages that are made from schemas or quote the program must be current
	$(PYTHON) docs/make_message_reference.py --check
	$(PYTHON) docs/make_asyncapi.py --check
	OUT=$(OUT) $(PYTHON) docs/make_output_blocks.py --check

lint-clang: $(GEN)/stamp ## a second compiler's warnings
	@printf '%s\n' $(OWN_SOURCES) $(GENERATED) | xargs -P$(JOBS) -n8 $(CLANG) $(CLANG_FLAGS) -Werror -fsyntax-only
	@printf '%s\n' $(TEST_SOURCES) | xargs -P$(JOBS) -n8 $(CLANG) $(CLANG_FLAGS) $(TEST_WARNINGS) -Werror -fsyntax-only

lint-cppcheck: $(GEN)/stamp ## cppcheck
	cppcheck --quiet --std=c11 --enable=warning,portability,performance --inline-suppr \
		--suppress=missingIncludeSystem --error-exitcode=1 -j$(JOBS) -I. -I$(GEN) $(OWN_SOURCES)

# One file at a time: clang-tidy 14 takes a va_list of the second file for uninitialised.
lint-tidy: $(GEN)/stamp ## clang-tidy, with the list in .clang-tidy
	@printf '%s\n' $(OWN_SOURCES) | xargs -P$(JOBS) -n1 sh -c \
		'clang-tidy --quiet --warnings-as-errors="*" "$$@" -- $(CLANG_FLAGS) 2>build/tidy.$$$$.err \
		|| { cat build/tidy.$$$$.err; exit 1; }' tidy
	@rm -f build/tidy.*.err

format: ## format all C files
	clang-format -i $(OWN_SOURCES) $(TEST_SOURCES) $(HEADERS)

format-check: ## fail if `make format` would change something
	@clang-format --dry-run -Werror $(OWN_SOURCES) $(TEST_SOURCES) $(HEADERS)
	@echo 'The format is right.'

compose-check: ## validate compose.yaml (nothing is started)
	docker-compose -f compose.yaml config -q
	@echo 'compose.yaml is valid.'

# ---- the rest ---------------------------------------------------------------------------------------------

.PHONY: install picture deps-run deps-test clean
PREFIX ?= /usr/local
SHARE := $(DESTDIR)$(PREFIX)/share
# Debian's zsh looks for functions of packages in another folder than for those of the machine.
ZSH_FUNCTIONS := $(SHARE)/zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)
install: all ## install program, man pages, completion, unit and a sample below PREFIX=/usr/local (DESTDIR=)
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin $(OUT)/kinlog
	install -D -m 644 -t $(SHARE)/man/man1 $(OUT)/man/*.1
	install -D -m 644 -t $(SHARE)/man/man5 $(OUT)/man/*.5
	install -D -m 644 agent/cli/completion/kinlog.bash $(SHARE)/bash-completion/completions/kinlog
	install -D -m 644 agent/cli/completion/kinlog.zsh $(ZSH_FUNCTIONS)/_kinlog
	install -D -m 644 -t $(SHARE)/fish/vendor_completions.d agent/cli/completion/kinlog.fish
	install -D -m 644 -t $(SHARE)/doc/kinlog LICENSE packaging/kinlog.conf
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/systemd/system packaging/kinlog.service
	sed -i 's|^ExecStart=/usr/bin/|ExecStart=$(PREFIX)/bin/|' $(DESTDIR)$(PREFIX)/lib/systemd/system/kinlog.service

picture: $(OUT)/kinlog ## draw docs/demo.svg anew from what the demo prints
	$(PYTHON) docs/make_demo_picture.py --program $(OUT)/kinlog

deps-run: ## install the Debian packages that the build needs
	@packaging/deps.sh run

deps-test: ## install those that the tests need, too
	@packaging/deps.sh test

clean: ## remove build/, the fetched Kafka included
	rm -rf build

-include $(shell find $(OUT)/obj $(OUT)/variants $(OUT)/planted build/schemac.d -name '*.d' 2>/dev/null)
