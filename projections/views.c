/* views.c - see views.h: opens the views and gives each event to the folds that it
 * concerns.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "projections/views.h"

#include <stdlib.h>

#include "projections/views_internal.h"
#include "schemas/events.h"

const char *const view_names[VIEWS] = {
    [VIEW_DEVICES] = "devices",   [VIEW_RELATIONSHIPS] = "relationships",
    [VIEW_POLICY] = "policy",     [VIEW_TIMERS] = "timers",
    [VIEW_USAGE] = "usage",       [VIEW_ASSOCIATIONS] = "associations",
    [VIEW_REQUESTS] = "requests", [VIEW_REFERENCES] = "references",
    [VIEW_RECEIPTS] = "receipts",
};

typedef int (*apply_fn)(struct views *views, const struct event *event, const void *data,
                        struct error *err);

/* The events that change a view; the others leave a receipt at most. */
static const struct fold {
    const struct schema *schema;
    apply_fn apply;
} folds[] = {
    {&relationship_created_v1_schema, relationship_apply_created},
    {&source_added_v1_schema, relationship_apply_source_added},
    {&source_removed_v1_schema, relationship_apply_source_removed},
    {&type_added_v1_schema, relationship_apply_type_added},
    {&type_removed_v1_schema, relationship_apply_type_removed},
    {&relationship_deleted_v1_schema, relationship_apply_deleted},
    {&relationship_moved_v1_schema, relationship_apply_moved},
    {&approval_requested_v1_schema, relationship_apply_approval_requested},
    {&device_registered_v1_schema, device_apply_registered},
    {&device_changed_v1_schema, device_apply_changed},
    {&device_removed_v1_schema, device_apply_removed},
    {&policy_changed_v1_schema, policy_apply_changed},
    {&usage_reported_v1_schema, usage_apply_reported},
    {&usage_evaluated_v1_schema, usage_apply_evaluated},
    {&association_requested_v1_schema, association_apply_requested},
    {&association_added_v1_schema, association_apply_added},
    {&association_changed_v1_schema, association_apply_changed},
    {&association_deleted_v1_schema, association_apply_deleted},
    {&capture_started_v1_schema, association_apply_capture_started},
    {&capture_completed_v1_schema, association_apply_capture_completed},
    {&restore_completed_v1_schema, association_apply_restore_completed},
    {&store_deleted_v1_schema, association_apply_store_deleted},
    {&encrypt_decrypt_key_given_v1_schema, association_apply_key_given},
    {&request_refused_v1_schema, request_apply_refused},
    {&reference_added_v1_schema, reference_apply_added},
    {&reference_refused_v1_schema, reference_apply_refused},
    {&reference_released_v1_schema, reference_apply_released},
    {&reference_ended_v1_schema, reference_apply_ended},
    {&relationship_adopted_v1_schema, reference_apply_adopted},
    {&adoption_ended_v1_schema, reference_apply_adoption_ended},
    {&replacement_requested_v1_schema, replacement_apply_requested},
    {&device_replaced_v1_schema, replacement_apply_replaced},
    {&replacement_completed_v1_schema, replacement_apply_completed},
};

int event_misfit(const struct event *event, const char *what, struct error *err)
{
    return error_set(err, ERROR_CORRUPT, "event %llu (%s) does not fit the views: %s",
                     (unsigned long long)event->sequence, event->type->name, what);
}

int row_damaged(enum view view, struct error *err)
{
    return error_set(err, ERROR_CORRUPT,
                     "a row of the view %s is damaged; `rebuild` makes the views anew",
                     view_names[view]);
}

int views_no_memory(struct error *err)
{
    return error_set(err, ERROR_NO_MEMORY, "out of memory in the views");
}

int views_open(struct kv *kv, struct kv_batch *batch, struct views **ret_views,
               struct error *err)
{
    struct views *views = calloc(1, sizeof *views);
    int code = 0;

    if (views == NULL)
        return views_no_memory(err);
    views->kv = kv;
    views->batch = batch;
    views->hasher = sha256_new();
    if (views->hasher == NULL)
        code = views_no_memory(err);
    if (code == 0)
        code = digests_load(views->digests, kv, batch, err);
    if (code != 0) {
        views_close(views);
        return code;
    }
    *ret_views = views;
    return 0;
}

void views_close(struct views *views)
{
    if (views == NULL)
        return;
    sha256_free(views->hasher);
    buf_release(&views->open_key);
    buf_release(&views->open_row);
    buf_release(&views->key);
    buf_release(&views->row);
    arena_release(&views->arena);
    free(views);
}

int views_reload(struct views *views, struct error *err)
{
    return digests_load(views->digests, views->kv, views->batch, err);
}

static int decode_data(struct views *views, const struct event *event,
                       const void **ret_data, struct error *err)
{
    struct codec_error fault;
    void *data = arena_alloc(&views->arena, event->type->struct_size);
    if (data == NULL)
        return views_no_memory(err);
    switch (codec_decode(event->type->schema, CODEC_EXACT, event->data, &views->arena,
                         data, &fault)) {
    case CODEC_OK:
        *ret_data = data;
        return 0;
    case CODEC_NO_MEMORY:
        return views_no_memory(err);
    default:
        return error_set(err, ERROR_CORRUPT,
                         "event %llu (%s) does not fit its schema: %s %s",
                         (unsigned long long)event->sequence, event->type->name,
                         fault.pointer, fault.text);
    }
}

int views_apply(struct views *views, const struct event *event, const void *data,
                struct error *err)
{
    const struct schema *schema = event->type->schema;
    const bool rejected = schema == &command_rejected_v1_schema;
    apply_fn apply = NULL;
    bool conflict = false;
    int code = 0;

    arena_reset(&views->arena);
    for (size_t i = 0; i < sizeof folds / sizeof folds[0] && apply == NULL; i++) {
        if (folds[i].schema == schema)
            apply = folds[i].apply;
    }
    if (data == NULL && (apply != NULL || rejected))
        code = decode_data(views, event, &data, err);
    if (code == 0 && apply != NULL)
        code = apply(views, event, data, err);
    if (code == 0 && rejected && data != NULL) {
        const struct command_rejected_v1 *rejection = data;
        conflict = bytes_equal_str(rejection->outcome, "conflict");
    }
    return code != 0 ? code : receipt_apply(views, event, conflict, err);
}

int views_flush(struct views *views, struct error *err)
{
    if (views->batch == NULL)
        return error_set(err, ERROR_USAGE, "these views were opened for reading only");
    return digests_flush(views->digests, views->batch, err);
}

void views_digest(const struct views *views, enum view view, char ret_hex[65])
{
    digest_hex(&views->digests[view], ret_hex);
}
