/* migration.c - the life of a migration: captured into a store, restored from it, the store
 * deleted (domain.md 5.1). Each step is said by whoever carries it out.
 *
 *     StartCapture -> CompleteCapture -> CompleteRestore
 *                                    \-> DeleteStore, before or after that
 *
 * A step that was taken before changes nothing, as long as there is a store. At any time
 * GetEncryptDecryptKey hands out the key that protects the store, sealed for whom the
 * site's policy names: the log has who got it, and the answer is made of that
 * (agent/shard/answer.c).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/decide/decide_internal.h"

#include "events/base/datetime.h"
#include "events/secret.h"
#include "schemas/commands.h"
#include "schemas/events.h"

/* ---- what the events say ----------------------------------------------------------- */

/* 0, or ERROR_NO_MEMORY. */
static int name_pair(struct deciding *deciding, uint32_t *ret_source,
                     uint32_t *ret_restore, struct bytes *ret_migration_id)
{
    const struct association *association = &deciding->association;
    const struct position position = {deciding->command->shard, association->number};

    *ret_source = association->source;
    *ret_restore = association->restore;
    *ret_migration_id = position_text(deciding->arena, &position);
    return ret_migration_id->data == NULL ? decide_no_memory(deciding->err) : 0;
}

/* Core time as the class has it; absent = out of memory. */
static struct bytes now_as_cim(struct deciding *deciding)
{
    char text[CIM_DATETIME_SIZE];

    cim_datetime_format(deciding->command->time_ms, text);
    return arena_copy(deciding->arena, bytes_str(text));
}

static int emit_capture_started(struct deciding *deciding, struct bytes store_path)
{
    struct capture_started_v1 *data = event_data(deciding, sizeof *data);

    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->store_path = store_path;
    int code = name_pair(deciding, &data->source_client_resource_id,
                         &data->restore_client_resource_id, &data->migration_id);
    return code != 0 ? code : emit(deciding, &capture_started_v1_schema, data);
}

/* CaptureCompleted, RestoreCompleted and StoreDeleted are alike but for names. */
#define EMIT_STEP(event, date_field)                                                     \
    static int emit_##event(struct deciding *deciding)                                   \
    {                                                                                    \
        struct event##_v1 *data = event_data(deciding, sizeof *data);                    \
                                                                                         \
        if (data == NULL)                                                                \
            return decide_no_memory(deciding->err);                                      \
        data->date_field = now_as_cim(deciding);                                         \
        if (data->date_field.data == NULL)                                               \
            return decide_no_memory(deciding->err);                                      \
        int code = name_pair(deciding, &data->source_client_resource_id,                 \
                             &data->restore_client_resource_id, &data->migration_id);    \
        return code != 0 ? code : emit(deciding, &event##_v1_schema, data);              \
    }
EMIT_STEP(capture_completed, store_creation_date)
EMIT_STEP(restore_completed, store_release_date)
EMIT_STEP(store_deleted, store_deletion_date)
#undef EMIT_STEP

static int done_before(struct deciding *deciding)
{
    return unchanged(deciding, /* out= */ NULL, 0, /* deprecated_source= */ false);
}

static int refuse_step(struct deciding *deciding, const char *description)
{
    return refuse(deciding, RETURN_OTHER_FAILURE, /* parameter= */ NULL, description);
}

/* ---- StartCapture ------------------------------------------------------------------ */

/* How many associations the source has; the first is at hand then. */
static int find_of_source(struct deciding *deciding, uint32_t source, size_t *ret_count)
{
    struct association_scan *scan = NULL;
    struct association found;
    uint32_t restore = 0;
    int code = association_scan_open(deciding->views, source, &scan, deciding->err);

    *ret_count = 0;
    while (code == 0 &&
           (code = association_scan_next(scan, &found, deciding->err)) == 0) {
        restore = (*ret_count)++ == 0 ? found.restore : restore;
    }
    association_scan_close(scan);
    if (code < 0 || *ret_count == 0)
        return code < 0 ? code : 0;
    return association_get(deciding->views, source, restore, deciding->arena,
                           &deciding->association, deciding->err);
}

/* A capture that nobody announced is one in place. Where it comes to nothing, it was about
 * what the sender has named. */
static int aim_in_place(struct deciding *deciding, uint32_t source, bool named_both)
{
    int code = named_both ? aim_at_pair(deciding, source, source)
                          : aim_at_source(deciding, source);

    return code != 0 ? code
                     : find_association_device(deciding, source, "SourceClientResourceID",
                                               &deciding->stub_source);
}

int start_capture_find(struct deciding *deciding)
{
    const struct start_capture_v1 *wanted = deciding->command->params;
    uint32_t source = wanted->source_client_resource_id;
    bool in_place = wanted->has_restore_client_resource_id &&
                    wanted->restore_client_resource_id == source;
    size_t count;

    if (wanted->has_migration_id || (wanted->has_restore_client_resource_id && !in_place))
        return association_find(deciding);
    int code = find_of_source(deciding, source, &count);
    if (code != 0)
        return code;
    if (count == 0)
        return aim_in_place(deciding, source, in_place);
    if (in_place)
        return association_find(deciding);
    if (count > 1) {
        set_fault(deciding, RETURN_INVALID_PARAMETER, "RestoreClientResourceID",
                  "the source has several associations: say which one is meant");
        return aim_at_source(deciding, source);
    }
    deciding->has_association = true;
    return aim_at_pair(deciding, source, deciding->association.restore);
}

static int start_in_place(struct deciding *deciding, struct bytes store_path)
{
    uint32_t source = ((const struct start_capture_v1 *)deciding->command->params)
                          ->source_client_resource_id;
    int code = deciding->stub_source ? register_unknown_device(deciding, source) : 0;

    deciding->association = (struct association){
        .source = source,
        .restore = source,
        .number = deciding->command->sequence,
    };
    if (code == 0)
        code = aim_at_pair(deciding, source, source);
    if (code == 0)
        code = emit_association_added(deciding, &deciding->association);
    return code != 0 ? code : emit_capture_started(deciding, store_path);
}

int start_capture_decide(struct deciding *deciding)
{
    const struct start_capture_v1 *wanted = deciding->command->params;
    const struct association *present = &deciding->association;

    if (!deciding->has_association)
        return start_in_place(deciding, wanted->store_path);
    if (present->pending)
        return refuse_pending(deciding);
    if (present->store_path.data == NULL)
        return emit_capture_started(deciding, wanted->store_path);
    if (bytes_equal(present->store_path, wanted->store_path))
        return done_before(deciding);
    return refuse(deciding, RETURN_OTHER_FAILURE, "StorePath",
                  "the capture has begun with another StorePath");
}

/* ---- the other steps --------------------------------------------------------------- */

int complete_capture_decide(struct deciding *deciding)
{
    const struct association *present = &deciding->association;

    if (present->pending)
        return refuse_pending(deciding);
    if (present->store_path.data == NULL)
        return refuse_step(deciding, "no capture has begun: send StartCapture first");
    if (present->store_creation_ms != DATE_NEVER)
        return done_before(deciding);
    return emit_capture_completed(deciding);
}

int complete_restore_decide(struct deciding *deciding)
{
    const struct association *present = &deciding->association;

    if (present->pending)
        return refuse_pending(deciding);
    if (present->store_creation_ms == DATE_NEVER)
        return refuse_step(deciding,
                           "nothing is captured yet: send CompleteCapture first");
    if (present->store_deletion_ms != DATE_NEVER)
        return refuse_step(deciding, "the store is deleted: nothing is restored from it");
    if (present->store_release_ms != DATE_NEVER)
        return done_before(deciding);
    return emit_restore_completed(deciding);
}

int delete_store_decide(struct deciding *deciding)
{
    const struct association *present = &deciding->association;

    if (present->pending)
        return refuse_pending(deciding);
    if (present->store_creation_ms == DATE_NEVER)
        return refuse_step(deciding, "there is no store yet: nothing is captured so far");
    if (present->store_deletion_ms != DATE_NEVER)
        return done_before(deciding);
    return emit_store_deleted(deciding);
}

/* ---- GetEncryptDecryptKey ---------------------------------------------------------- */

struct param_fault get_encrypt_decrypt_key_check(const void *params)
{
    const struct get_encrypt_decrypt_key_v1 *wanted = params;
    uint8_t recipient[RECIPIENT_SIZE];

    if (recipient_parse(wanted->public_key, recipient))
        return (struct param_fault){0};
    return fault_of("PublicKey", "this is no X25519 public key: it has 32 bytes, written "
                                 "as 43 characters of base64url without padding");
}

static int emit_key_given(struct deciding *deciding, struct bytes recipient)
{
    struct encrypt_decrypt_key_given_v1 *data = event_data(deciding, sizeof *data);

    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->recipient = recipient;
    int code = name_pair(deciding, &data->source_client_resource_id,
                         &data->restore_client_resource_id, &data->migration_id);
    return code != 0 ? code : emit(deciding, &encrypt_decrypt_key_given_v1_schema, data);
}

int get_encrypt_decrypt_key_decide(struct deciding *deciding)
{
    const struct get_encrypt_decrypt_key_v1 *wanted = deciding->command->params;
    bool may;
    int code = may_receive_keys(deciding, wanted->public_key, &may);

    if (code != 0)
        return code;
    if (!may)
        return refuse(deciding, RETURN_ACCESS_DENIED, "PublicKey",
                      "the site's policy keys.recipients does not list this key");
    if (deciding->association.pending)
        return refuse_pending(deciding);
    return emit_key_given(deciding, wanted->public_key);
}
