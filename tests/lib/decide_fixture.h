/* decide_fixture.h - one shard in memory: commands as JSON in, events out and applied to
 * the views.
 *
 * What the pipeline does around decide() is done here in its simplest form: decode,
 * decide, number the events, append them to the log, apply them. Every call checks what
 * must always hold.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_LIB_DECIDE_FIXTURE_H
#define TESTS_LIB_DECIDE_FIXTURE_H

#include "agent/decide/decide.h"
#include "projections/request_view.h"

#define FIXTURE_SOURCE "/test"        /* of every command */
#define FIXTURE_TIME_MS 1767225600000 /* 2026-01-01T00:00:00Z */

struct decide_fixture {
    struct kv *kv;
    struct kv_batch *batch;
    struct views *views;
    uint64_t sequence; /* of the newest event */
    int64_t offset;    /* of the newest command */

    /* Attributes of the next command, reset after it; time_ms and record_time_ms stay. */
    struct command next;
    const char *id;           /* NULL = a new one */
    const char *content_hash; /* NULL = one made from the data */

    /* The newest command's outcome; good until the next one. */
    struct arena arena;
    struct decision decision;
    struct event *events;
    struct error err;
};

/* For cmocka: *state is the fixture. */
int decide_fixture_setup(void **state);
int decide_fixture_teardown(void **state);

/* Runs a command, which must fit its schema: name "CreateRelationship". */
void run(struct decide_fixture *fixture, const char *name, const char *json);
/* run(), with numbers put into json. */
void run_format(struct decide_fixture *fixture, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* run() in shard 0 of two, from the agents of this log and its owner. */
void here(struct decide_fixture *fixture, const char *name, const char *json);
/* Appends and applies what decide_rejection() or a test put into fixture->decision. */
void apply_decision(struct decide_fixture *fixture, const char *command_type);
/* Decodes data of a command into the fixture's arena; fails the test if it does not fit.
 * */
const void *decode_command(struct decide_fixture *fixture,
                           const struct schema_entry *type, const char *json);
const struct schema_entry *command_type(const char *name);
/* Flushes the digests and commits. */
void commit(struct decide_fixture *fixture);

/* ---- what came of it --------------------------------------------------------------- */

void assert_event_count(const struct decide_fixture *fixture, size_t count);
/* Event index (from 0): type ("SourceAdded"), key, subject, and data as published. */
void assert_event(const struct decide_fixture *fixture, size_t index, const char *type,
                  const char *key, const char *subject, const char *json);
/* One CommandRejected; parameter NULL = none; version 0 = null. */
void assert_refused(const struct decide_fixture *fixture, int32_t return_value,
                    const char *parameter, uint64_t version);
/* One CommandUnchanged with this Out; deprecated: with the status of SourceId 3. */
void assert_unchanged(const struct decide_fixture *fixture, const char *out,
                      uint64_t version, bool deprecated);
/* Of a request, by its number. */
enum request_state state_of(struct decide_fixture *fixture, uint64_t number);

#endif
