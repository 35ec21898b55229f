/* association_view.h - computer associations (SMS_StateMigration; domain.md 5): whose
 * user state is captured where, and restored where.
 *
 * A pending association waits for the shard of the restoring device (request_view.h); it
 * counts as there for whatever excludes another. Names and addresses of the devices are
 * not here: views show the present ones.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PROJECTIONS_ASSOCIATION_VIEW_H
#define PROJECTIONS_ASSOCIATION_VIEW_H

#include "projections/views.h"

/* domain.md 5.1 */
enum migration_behavior {
    CAPTURE_AND_RESTORE_ALL = 0,
    CAPTURE_ALL_RESTORE_SPECIFIED = 1,
    CAPTURE_AND_RESTORE_SPECIFIED = 2 /* excludes other associations of the source */
};
enum migration_type { MIGRATION_SIDE_BY_SIDE = 1, MIGRATION_IN_PLACE = 2 };
enum migration_status {
    MIGRATION_NOT_STARTED = 0,
    MIGRATION_IN_PROGRESS = 1,
    MIGRATION_COMPLETED = 2
};

#define ASSOCIATION_USERS_MAX 1000
#define DATE_NEVER (-1)

struct association_user {
    uint32_t locale_id;
    struct bytes name;
};

struct association {
    uint32_t source;
    uint32_t restore;
    uint64_t number; /* of the MigrationID, after the shard */
    uint64_t version;
    bool pending;
    uint32_t behavior;
    struct association_user *users; /* in the order in which they came */
    size_t user_count;
    struct bytes store_path; /* absent: no capture has begun */
    /* in ms, DATE_NEVER = not yet */
    int64_t store_creation_ms;
    int64_t store_release_ms;
    int64_t store_deletion_ms;
};

enum migration_type association_type(const struct association *association);
enum migration_status association_status(const struct association *association);
/* The capture has begun, and its store is neither released nor deleted (decision D9). */
bool association_in_progress(const struct association *association);

/* 0, 1 = there is none, or negative. Text and users go into arena. */
int association_get(struct views *views, uint32_t source, uint32_t restore,
                    struct arena *arena, struct association *ret_association,
                    struct error *err);
int association_get_by_number(struct views *views, uint64_t number, struct arena *arena,
                              struct association *ret_association, struct error *err);

/* All of one source (0 = of all), in key order; 0, 1 = no more, or negative. Close in any
 * case. */
struct association_scan;
int association_scan_open(struct views *views, uint32_t source,
                          struct association_scan **ret_scan, struct error *err);
int association_scan_next(struct association_scan *scan,
                          struct association *ret_association,
                          struct error *err); /* borrowed until the next call */
void association_scan_close(struct association_scan *scan);

/* Ends one that is pending: its request was refused (request_view.c). */
int association_drop(struct views *views, const struct event *event, uint64_t number,
                     struct error *err);

#endif
