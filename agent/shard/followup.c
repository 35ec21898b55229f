/* followup.c - see followup.h: a table event -> command.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/shard/followup.h"

#include <stdio.h>
#include <string.h>

#include "agent/decide/decide.h"
#include "agent/planted.h"
#include "events/position.h"
#include "schemas/commands.h"
#include "schemas/events.h"

#define REQUEST_REFERENCE "kinlog.RequestReference.v1"
#define CONFIRM_REFERENCE "kinlog.ConfirmReference.v1"
#define ADOPT_RELATIONSHIP "kinlog.AdoptRelationship.v1"
#define END_ADOPTION "kinlog.EndAdoption.v1"

static int no_memory(struct error *err)
{
    return error_set(err, ERROR_NO_MEMORY,
                     "out of memory while writing to another shard");
}

/* A follow-up while it is made. */
struct making {
    const struct log_identity *identity;
    const struct event *event;
    struct arena *arena;
    struct followup *followup;
    struct error *err;
};

static int render(const struct making *making, const struct schema *schema,
                  const void *params)
{
    struct buf json = BUF_INIT;
    int code = codec_encode(schema, params, &json);

    if (code == 0)
        making->followup->data = arena_copy(making->arena, buf_bytes(&json));
    buf_release(&json);
    return code != 0 || making->followup->data.data == NULL ? no_memory(making->err) : 0;
}

/* To the shard of the object; 1 if that is this one. */
static int to_object(const struct making *making, struct bytes object)
{
    making->followup->shard = shard_of_key(object, making->identity->shards);
    making->followup->key = object;
    return making->followup->shard == making->identity->shard;
}

/* The record key of a device; absent = out of memory. */
static struct bytes object_of(const struct making *making, uint32_t resource_id)
{
    char text[sizeof "device:4294967295"];

    snprintf(text, sizeof text, "device:%u", resource_id);
    return arena_copy(making->arena, bytes_str(text));
}

/* To the shard that asked; 1 if that is this one. */
static int to_asking(const struct making *making, struct bytes request)
{
    struct position position;

    if (!position_parse(request, &position) || position.shard >= making->identity->shards)
        return error_set(making->err, ERROR_CORRUPT, "event %llu names no request",
                         (unsigned long long)making->event->sequence);
    making->followup->shard = position.shard;
    return position.shard == making->identity->shard;
}

/* ---- one function per event -------------------------------------------------------- */

/* PolicyChanged has exactly the members of AdoptPolicy. */
static int adopt_policy(const struct making *making, const void *data)
{
    (void)data;
    if (!bytes_equal_str(making->event->command_type, "kinlog.SetPolicy.v1"))
        return 1;
    making->followup->all_others = true;
    making->followup->answered = true;
    making->followup->key = bytes_str("policy");
    making->followup->type = "kinlog.AdoptPolicy.v1";
    making->followup->data = making->event->data;
    return 0;
}

static int request_reference(const struct making *making, struct bytes request,
                             const char *kind, struct bytes object)
{
    const struct request_reference_v1 params = {request, bytes_str(kind), object};

    if (to_object(making, object) != 0)
        return 1;
    making->followup->type = REQUEST_REFERENCE;
    making->followup->id = request;
    return render(making, &request_reference_v1_schema, &params);
}

static int request_for_association(const struct making *making, const void *data)
{
    const struct association_requested_v1 *requested = data;

    return request_reference(making, requested->migration_id, "association",
                             requested->object);
}

static int request_for_replacement(const struct making *making, const void *data)
{
    const struct replacement_requested_v1 *requested = data;

    return request_reference(making, requested->request, "replacement",
                             requested->object);
}

static int confirm_reference(const struct making *making, const void *data)
{
    const struct reference_added_v1 *added = data;
    const struct confirm_reference_v1 params = {added->request, added->object};

    /* one that was added with its association was not asked for */
    if (!bytes_equal_str(making->event->command_type, REQUEST_REFERENCE))
        return 1;
    int code = to_asking(making, added->request);
    making->followup->type = CONFIRM_REFERENCE;
    return code != 0 ? code : render(making, &confirm_reference_v1_schema, &params);
}

static int refuse_reference(const struct making *making, const void *data)
{
    const struct reference_refused_v1 *refused = data;
    const struct refuse_reference_v1 params = {
        .request = refused->request,
        .object = refused->object,
        .return_value = refused->return_value,
        .description = refused->description,
    };
    int code = to_asking(making, refused->request);

    making->followup->type = "kinlog.RefuseReference.v1";
    return code != 0 ? code : render(making, &refuse_reference_v1_schema, &params);
}

static int end_reference(const struct making *making, const void *data)
{
    const struct reference_ended_v1 *ended = data;
    const struct end_reference_v1 params = {ended->request, ended->object};
    int code = to_asking(making, ended->request);

    making->followup->type = "kinlog.EndReference.v1";
    return code != 0 ? code : render(making, &end_reference_v1_schema, &params);
}

static int release_reference(const struct making *making, struct bytes request,
                             struct bytes object)
{
    const struct release_reference_v1 params = {request, object};

    if (to_object(making, object) != 0)
        return 1;
    making->followup->type = "kinlog.ReleaseReference.v1";
    return render(making, &release_reference_v1_schema, &params);
}

static int release_unwanted(const struct making *making, const void *data)
{
    const struct reference_unwanted_v1 *unwanted = data;

    return release_reference(making, unwanted->request, unwanted->object);
}

/* The other shard may have kept it, or may be about to; one that has confirmed it has. */
static int release_given_up(const struct making *making, const void *data)
{
    const struct request_refused_v1 *refused = data;
    bool confirmed = bytes_equal_str(making->event->command_type, CONFIRM_REFERENCE);

    if ((!bytes_equal_str(refused->reason, "timeout") && !confirmed) ||
        PLANTED(request_timeout_not_released))
        return 1;
    return release_reference(making, refused->request, refused->object);
}

static int release_deleted(const struct making *making, const void *data)
{
    const struct association_deleted_v1 *deleted = data;

    if (bytes_equal_str(deleted->reason, "restore_removed") ||
        deleted->source_client_resource_id == deleted->restore_client_resource_id)
        return 1;
    struct bytes object = object_of(making, deleted->restore_client_resource_id);
    if (object.data == NULL)
        return no_memory(making->err);
    return release_reference(making, deleted->migration_id, object);
}

static int adopt_relationship(const struct making *making, const void *data)
{
    const struct relationship_moved_v1 *moved = data;
    const struct adopt_relationship_v1 params = {
        .request = moved->request,
        .object = object_of(making, moved->new_resource_id),
        .resource_id = moved->resource_id,
        .relationship_resource_id = moved->relationship_resource_id,
        .unique_user_name = moved->unique_user_name,
        .creation_time = moved->creation_time,
        .sources = {moved->sources.items, moved->sources.count},
        .has_types = moved->has_types,
        .types = {moved->types.items, moved->types.count},
        .pending = moved->pending,
    };

    if (params.object.data == NULL)
        return no_memory(making->err);
    if (to_object(making, params.object) != 0)
        return 1;
    making->followup->type = ADOPT_RELATIONSHIP;
    return render(making, &adopt_relationship_v1_schema, &params);
}

static int end_adoption(const struct making *making, const void *data)
{
    const struct device_replaced_v1 *replaced = data;
    const struct end_adoption_v1 params = {
        .request = replaced->request,
        .object = object_of(making, replaced->new_resource_id),
        .count = replaced->count,
    };

    if (params.object.data == NULL)
        return no_memory(making->err);
    if (to_object(making, params.object) != 0)
        return 1;
    making->followup->type = END_ADOPTION;
    return render(making, &end_adoption_v1_schema, &params);
}

/* One that its shard has released itself knows of it. */
static int confirm_adoption(const struct making *making, const void *data)
{
    const struct reference_released_v1 *released = data;
    const struct confirm_adoption_v1 params = {released->request, released->object};

    if (!bytes_equal_str(making->event->command_type, ADOPT_RELATIONSHIP) &&
        !bytes_equal_str(making->event->command_type, END_ADOPTION))
        return 1;
    int code = to_asking(making, released->request);
    making->followup->type = "kinlog.ConfirmAdoption.v1";
    return code != 0 ? code : render(making, &confirm_adoption_v1_schema, &params);
}

/* ---- the table --------------------------------------------------------------------- */

static const struct rule {
    const struct schema *schema;
    /* 0, 1 = nothing follows from this one, or negative. */
    int (*make)(const struct making *making, const void *data);
} rules[] = {
    {&policy_changed_v1_schema, adopt_policy},
    {&association_requested_v1_schema, request_for_association},
    {&replacement_requested_v1_schema, request_for_replacement},
    {&association_deleted_v1_schema, release_deleted},
    {&request_refused_v1_schema, release_given_up},
    {&reference_added_v1_schema, confirm_reference},
    {&reference_refused_v1_schema, refuse_reference},
    {&reference_ended_v1_schema, end_reference},
    {&reference_unwanted_v1_schema, release_unwanted},
    {&relationship_moved_v1_schema, adopt_relationship},
    {&device_replaced_v1_schema, end_adoption},
    {&reference_released_v1_schema, confirm_adoption},
};

static const struct rule *rule_of(const struct schema_entry *type)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (rules[i].schema == type->schema)
            return &rules[i];
    }
    return NULL;
}

bool followup_possible(const struct schema_entry *type)
{
    return rule_of(type) != NULL;
}

bool followup_repeats(const struct event *event)
{
    static const char *const types[] = {REQUEST_REFERENCE, CONFIRM_REFERENCE,
                                        ADOPT_RELATIONSHIP, END_ADOPTION};

    /* what concludes a request is answered again to whoever had asked; the others know */
    if (event->type->schema == &request_refused_v1_schema)
        return false;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (bytes_equal_str(event->command_type, types[i]))
            return true;
    }
    return false;
}

/* <shard>-<sequence> of the event. */
static int name_followup(const struct making *making)
{
    const struct position position = {making->identity->shard, making->event->sequence};
    char text[POSITION_TEXT_SIZE];

    position_format(&position, text);
    making->followup->id = arena_copy(making->arena, bytes_str(text));
    return making->followup->id.data == NULL ? no_memory(making->err) : 0;
}

static struct bytes or_else(struct bytes text, struct bytes by_default)
{
    return text.data != NULL ? text : by_default;
}

/* Who asked for all this can be told on the other side, too. */
static void pass_context_on(const struct making *making)
{
    const struct event *event = making->event;

    making->followup->actor = or_else(event->actor, event->causation_source);
    making->followup->correlation_id =
        or_else(event->correlation_id, event->causation_id);
    making->followup->traceparent = event->traceparent;
    making->followup->tracestate = event->tracestate;
}

static int decode(const struct making *making, const void **ret_data)
{
    const struct schema_entry *type = making->event->type;
    struct codec_error fault;
    void *data = arena_alloc(making->arena, type->struct_size);

    if (data == NULL)
        return no_memory(making->err);
    enum codec_fault found = codec_decode(type->schema, CODEC_EXACT, making->event->data,
                                          making->arena, data, &fault);
    if (found == CODEC_NO_MEMORY)
        return no_memory(making->err);
    if (found != CODEC_OK)
        return error_set(making->err, ERROR_CORRUPT, "event %llu: %s",
                         (unsigned long long)making->event->sequence, fault.text);
    *ret_data = data;
    return 0;
}

int followup_of(const struct log_identity *identity, const struct event *event,
                const void *data, struct arena *arena, struct followup *ret_followup,
                struct error *err)
{
    const struct rule *rule = rule_of(event->type);
    struct followup followup = {0};
    const struct making making = {identity, event, arena, &followup, err};

    if (rule == NULL)
        return 1;
    int code = name_followup(&making);
    pass_context_on(&making);
    if (code == 0 && data == NULL)
        code = decode(&making, &data);
    if (code == 0)
        code = rule->make(&making, data);
    if (code == 0)
        *ret_followup = followup;
    return code;
}
