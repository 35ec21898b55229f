/* views_internal.h - what the files of projections/ share: the struct behind views.h and
 * the folds.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PROJECTIONS_VIEWS_INTERNAL_H
#define PROJECTIONS_VIEWS_INTERNAL_H

#include "events/base/hash.h"
#include "projections/digest.h"
#include "projections/row.h"
#include "projections/views.h"

struct views {
    struct kv *kv;          /* borrowed */
    struct kv_batch *batch; /* borrowed; NULL = reading only */
    struct sha256 *hasher;
    struct digest digests[VIEWS];

    /* The row between row_open() and row_set(). */
    enum view open_view;
    bool open_exists;
    struct buf open_key;
    struct buf open_row;

    /* Scratch memory, good within one call of views.h. */
    struct buf key;     /* a key being made */
    struct buf row;     /* a row being made, or read by a getter */
    struct arena arena; /* decoded event data, and what a fold makes of it */
};

/* ERROR_CORRUPT: what is static and without values. */
int event_misfit(const struct event *event, const char *what, struct error *err);
int row_damaged(enum view view, struct error *err);
int views_no_memory(struct error *err);

/* The folds: one per type of event. data is the decoded struct of its schema. */
int device_apply_registered(struct views *views, const struct event *event,
                            const void *data, struct error *err);
int device_apply_changed(struct views *views, const struct event *event, const void *data,
                         struct error *err);
int device_apply_removed(struct views *views, const struct event *event, const void *data,
                         struct error *err);
int relationship_apply_created(struct views *views, const struct event *event,
                               const void *data, struct error *err);
int relationship_apply_source_added(struct views *views, const struct event *event,
                                    const void *data, struct error *err);
int relationship_apply_source_removed(struct views *views, const struct event *event,
                                      const void *data, struct error *err);
int relationship_apply_type_added(struct views *views, const struct event *event,
                                  const void *data, struct error *err);
int relationship_apply_type_removed(struct views *views, const struct event *event,
                                    const void *data, struct error *err);
int relationship_apply_deleted(struct views *views, const struct event *event,
                               const void *data, struct error *err);
int relationship_apply_moved(struct views *views, const struct event *event,
                             const void *data, struct error *err);
int relationship_apply_approval_requested(struct views *views, const struct event *event,
                                          const void *data, struct error *err);
int policy_apply_changed(struct views *views, const struct event *event, const void *data,
                         struct error *err);
int usage_apply_reported(struct views *views, const struct event *event, const void *data,
                         struct error *err);
int usage_apply_evaluated(struct views *views, const struct event *event,
                          const void *data, struct error *err);
/* What a device was used for goes with the device. */
int usage_forget_device(struct views *views, uint32_t resource_id, struct error *err);
int association_apply_requested(struct views *views, const struct event *event,
                                const void *data, struct error *err);
int association_apply_added(struct views *views, const struct event *event,
                            const void *data, struct error *err);
int association_apply_changed(struct views *views, const struct event *event,
                              const void *data, struct error *err);
int association_apply_deleted(struct views *views, const struct event *event,
                              const void *data, struct error *err);
int association_apply_capture_started(struct views *views, const struct event *event,
                                      const void *data, struct error *err);
int association_apply_capture_completed(struct views *views, const struct event *event,
                                        const void *data, struct error *err);
int association_apply_restore_completed(struct views *views, const struct event *event,
                                        const void *data, struct error *err);
int association_apply_store_deleted(struct views *views, const struct event *event,
                                    const void *data, struct error *err);
int association_apply_key_given(struct views *views, const struct event *event,
                                const void *data, struct error *err);
int request_apply_refused(struct views *views, const struct event *event,
                          const void *data, struct error *err);
int reference_apply_added(struct views *views, const struct event *event,
                          const void *data, struct error *err);
int reference_apply_refused(struct views *views, const struct event *event,
                            const void *data, struct error *err);
int reference_apply_released(struct views *views, const struct event *event,
                             const void *data, struct error *err);
int reference_apply_ended(struct views *views, const struct event *event,
                          const void *data, struct error *err);
int reference_apply_adopted(struct views *views, const struct event *event,
                            const void *data, struct error *err);
int reference_apply_adoption_ended(struct views *views, const struct event *event,
                                   const void *data, struct error *err);
int replacement_apply_requested(struct views *views, const struct event *event,
                                const void *data, struct error *err);
int replacement_apply_replaced(struct views *views, const struct event *event,
                               const void *data, struct error *err);
int replacement_apply_completed(struct views *views, const struct event *event,
                                const void *data, struct error *err);
/* Of any event: the receipt of its command. */
int receipt_apply(struct views *views, const struct event *event, bool conflict,
                  struct error *err);

#endif
