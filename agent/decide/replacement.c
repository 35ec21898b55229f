/* replacement.c - ReplaceDevice: a computer is exchanged for a new one, which its users have
 * instead.
 *
 * The shard of the old device decides. Its relationships leave with it in one command: each
 * event RelationshipMoved makes an AdoptRelationship leave for the shard of the new device,
 * where the relationship is merged with what the same user has there. A new device of
 * another shard is asked for first (conversation.c); it is kept until it has all of them.
 *
 * The associations of the old device as source stay: its user state is in a store, and is
 * restored where they say. What was counted of its use ends with it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/decide/decide_internal.h"

#include "events/base/datetime.h"
#include "events/base/user_name.h"
#include "schemas/commands.h"
#include "schemas/events.h"

/* They move in one command, and a message leaves for each. */
#define RELATIONSHIPS_MAX 10000

/* ---- the parameters ---------------------------------------------------------------- */

struct param_fault replace_device_check(const void *params)
{
    const struct replace_device_v1 *wanted = params;

    return fault_of("NewResourceID", wanted->new_resource_id == wanted->resource_id
                                         ? "a device is not replaced by itself: name the "
                                           "device that takes its place"
                                         : NULL);
}

struct route replace_device_route(const void *params)
{
    const struct replace_device_v1 *wanted = params;

    return (struct route){.resource_id = wanted->resource_id};
}

/* Beyond its request and object. */
struct param_fault adopted_relationship_check(const void *params)
{
    const struct adopt_relationship_v1 *adopted = params;
    struct param_fault fault = adopt_relationship_check(params);
    int64_t creation_time_ms;

    if (fault.text == NULL)
        fault = fault_of("UniqueUserName", user_name_fault(adopted->unique_user_name));
    if (fault.text == NULL &&
        !cim_datetime_parse(adopted->creation_time, &creation_time_ms))
        fault = fault_of("CreationTime", "must be a CIM datetime of 25 characters");
    return fault;
}

int replace_device_find(struct deciding *deciding)
{
    const struct replace_device_v1 *wanted = deciding->command->params;
    int code = find_device(deciding, wanted->resource_id);

    if (code == 0 && !deciding->has_device)
        set_fault(deciding, RETURN_NOT_FOUND, "ResourceID",
                  "no device with this ResourceID is registered");
    if (code == 0 && is_local_device(deciding, wanted->new_resource_id))
        code = find_association_device(deciding, wanted->new_resource_id, "NewResourceID",
                                       &deciding->stub_restore);
    return code;
}

/* ---- what stands in the way -------------------------------------------------------- */

static struct refusal in_the_way(const char *description)
{
    return (struct refusal){RETURN_OTHER_FAILURE, "ResourceID", description};
}

static int is_waiting(struct deciding *deciding, uint32_t resource_id, bool *ret_waiting)
{
    uint64_t number;
    int code =
        replacement_of_device(deciding->views, resource_id, &number, deciding->err);

    *ret_waiting = code == 0;
    return code < 0 ? code : 0;
}

#define WAITS                                                                            \
    "the device is being replaced: wait for the answer to that, then send this again "   \
    "with a new id if it is still wanted"
#define ADOPTS                                                                           \
    "the device is taking over the relationships of another one: wait for the answer "   \
    "to that, then send this again with a new id"

int judge_removal(struct deciding *deciding, uint32_t resource_id,
                  struct refusal *ret_refusal)
{
    enum reference_state state;
    bool waiting;
    int code = is_waiting(deciding, resource_id, &waiting);

    if (code == 0)
        code = references_to(deciding, resource_id, &state);
    if (code != 0)
        return code;
    *ret_refusal = in_the_way(waiting                       ? WAITS
                              : state == REFERENCE_ADOPTING ? ADOPTS
                                                            : NULL);
    return 0;
}

/* Of the associations with the device as source. */
static const char *fault_of_association(const struct association *association)
{
    if (association->pending)
        return "an association of the device is being added: wait for its answer, then "
               "send this again with a new id";
    if (association->restore == association->source &&
        association_status(association) != MIGRATION_COMPLETED)
        return "the device is to restore its own user state: complete that migration, or "
               "delete its association, first";
    return NULL;
}

static int judge_associations(struct deciding *deciding, uint32_t old_device,
                              const char **ret_fault)
{
    struct association_scan *scan = NULL;
    struct association association;
    int code = association_scan_open(deciding->views, old_device, &scan, deciding->err);

    while (code == 0 && *ret_fault == NULL &&
           (code = association_scan_next(scan, &association, deciding->err)) == 0)
        *ret_fault = fault_of_association(&association);
    association_scan_close(scan);
    return code < 0 ? code : 0;
}

static int judge_references(struct deciding *deciding, uint32_t old_device,
                            const char **ret_fault)
{
    enum reference_state state;
    int code = references_to(deciding, old_device, &state);

    if (code == 0 && state == REFERENCE_ADOPTING)
        *ret_fault = ADOPTS;
    else if (code == 0 && state == REFERENCE_HELD)
        *ret_fault = "the device is the restoring device of an association: delete that "
                     "association first, and add it again with the new device";
    return code;
}

static int count_relationships(struct deciding *deciding, uint32_t resource_id,
                               uint32_t *ret_count)
{
    struct relationship_scan *scan = NULL;
    struct relationship relationship;
    int code = relationship_scan_open(deciding->views, resource_id, &scan, deciding->err);

    *ret_count = 0;
    while (code == 0 && *ret_count <= RELATIONSHIPS_MAX &&
           (code = relationship_scan_next(scan, &relationship, deciding->err)) == 0)
        ++*ret_count;
    relationship_scan_close(scan);
    return code < 0 ? code : 0;
}

static int judge_count(struct deciding *deciding, uint32_t old_device,
                       const char **ret_fault)
{
    uint32_t count;
    int code = count_relationships(deciding, old_device, &count);

    if (code == 0 && count > RELATIONSHIPS_MAX)
        *ret_fault = "the device has more than 10000 relationships, and that many do not "
                     "move at once: delete those that are not needed first";
    return code;
}

int judge_replacement(struct deciding *deciding, uint32_t old_device,
                      struct refusal *ret_refusal)
{
    const char *fault = NULL;
    int code = judge_associations(deciding, old_device, &fault);

    if (code == 0 && fault == NULL)
        code = judge_references(deciding, old_device, &fault);
    if (code == 0 && fault == NULL)
        code = judge_count(deciding, old_device, &fault);
    *ret_refusal = in_the_way(fault);
    return code;
}

/* ---- events ------------------------------------------------------------------------ */

static struct bytes request_of(struct deciding *deciding,
                               const struct replacement *replacement)
{
    const struct position request = {deciding->command->shard, replacement->number};

    return position_text(deciding->arena, &request);
}

static int emit_requested(struct deciding *deciding,
                          const struct replacement *replacement)
{
    struct replacement_requested_v1 *data = event_data(deciding, sizeof *data);

    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->resource_id = replacement->old_device;
    data->new_resource_id = replacement->new_device;
    data->request = request_of(deciding, replacement);
    data->object = device_key(deciding->arena, replacement->new_device);
    if (data->request.data == NULL || data->object.data == NULL)
        return decide_no_memory(deciding->err);
    int code = request_timeout(deciding, &data->timeout_seconds);
    return code != 0 ? code : emit(deciding, &replacement_requested_v1_schema, data);
}

static int emit_replaced(struct deciding *deciding, const struct replacement *replacement,
                         uint32_t count)
{
    struct device_replaced_v1 *data = event_data(deciding, sizeof *data);

    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->resource_id = replacement->old_device;
    data->new_resource_id = replacement->new_device;
    data->request = request_of(deciding, replacement);
    data->count = count;
    if (data->request.data == NULL)
        return decide_no_memory(deciding->err);
    int code = emit_of_device(deciding, &device_replaced_v1_schema,
                              replacement->old_device, data);
    return code != 0 ? code : emit_device_removed(deciding, replacement->old_device);
}

/* Which relationship was taken over. */
struct origin {
    uint32_t resource_id;
    uint32_t relationship_resource_id;
    struct bytes request;
};

/* number: of the relationship that there is now; 0 = they are used up. */
static int emit_adopted(struct deciding *deciding, const struct origin *origin,
                        uint32_t number)
{
    struct relationship_adopted_v1 *data = event_data(deciding, sizeof *data);
    uint32_t resource_id = deciding->device.resource_id;

    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->has_relationship_resource_id = number != 0;
    data->relationship_resource_id = number;
    data->resource_id = resource_id;
    data->old_relationship_resource_id = origin->relationship_resource_id;
    data->old_resource_id = origin->resource_id;
    data->request = origin->request;
    return emit_with(deciding, &relationship_adopted_v1_schema,
                     device_key(deciding->arena, resource_id),
                     number != 0
                         ? relationship_subject(deciding->arena, resource_id, number)
                         : device_subject(deciding->arena, resource_id),
                     data);
}

/* ---- ReplaceDevice, and at the old device's shard ---------------------------------- */

/* The new device is at hand, and has what the user has there. */
static int take_over(struct deciding *deciding, const struct vouching *vouching,
                     bool pending, const struct origin *origin)
{
    int code = relationship_get(deciding->views, vouching->resource_id,
                                vouching->unique_user_name, deciding->arena,
                                &deciding->relationship, deciding->err);

    if (code < 0)
        return code;
    deciding->has_relationship = code == 0;
    code = adopt(deciding, vouching, pending);
    if (code < 0)
        return code;
    return emit_adopted(deciding, origin,
                        code == 1 ? 0 : deciding->relationship.relationship_resource_id);
}

static int take_over_here(struct deciding *deciding,
                          const struct relationship *relationship, uint32_t new_device,
                          struct bytes request)
{
    const struct vouching vouching = {
        .resource_id = new_device,
        .unique_user_name = arena_copy(deciding->arena, relationship->unique_user_name),
        .sources = {relationship->sources, relationship->source_count},
        .types = {relationship->types, relationship->type_count},
        .has_creation_time = true,
        .creation_time_ms = relationship->creation_time_ms,
    };
    const struct origin origin = {
        .resource_id = relationship->resource_id,
        .relationship_resource_id = relationship->relationship_resource_id,
        .request = request,
    };

    if (vouching.unique_user_name.data == NULL)
        return decide_no_memory(deciding->err);
    return take_over(deciding, &vouching, relationship->is_pending, &origin);
}

/* In the order of the view's keys, so that every agent moves them in the same order. */
static int move_relationships(struct deciding *deciding,
                              const struct replacement *replacement, bool here,
                              uint32_t *ret_count)
{
    const uint32_t new_device = replacement->new_device;
    const struct bytes request = request_of(deciding, replacement);
    struct relationship_scan *scan = NULL;
    struct relationship relationship;

    *ret_count = 0;
    if (request.data == NULL)
        return decide_no_memory(deciding->err);
    int code = relationship_scan_open(deciding->views, replacement->old_device, &scan,
                                      deciding->err);
    while (code == 0 &&
           (code = relationship_scan_next(scan, &relationship, deciding->err)) == 0) {
        ++*ret_count;
        code = emit_relationship_moved(deciding, &relationship, new_device, request);
        if (code == 0 && here)
            code = take_over_here(deciding, &relationship, new_device, request);
    }
    relationship_scan_close(scan);
    return code < 0 ? code : 0;
}

/* Both devices are of this shard. */
static int replace_here(struct deciding *deciding, const struct replacement *replacement)
{
    const struct aggregate old = deciding->aggregate;
    uint32_t count;
    int code = find_device(deciding, replacement->new_device);

    if (code == 0)
        code = count_relationships(deciding, replacement->old_device, &count);
    if (code == 0)
        code = has_numbers(deciding, deciding->aggregate.key, count);
    if (code == 1) {
        deciding->aggregate = old;
        return refuse_used_up(deciding);
    }
    if (code == 0 && !deciding->has_device)
        code = register_unknown_device(deciding, replacement->new_device);
    deciding->has_device = true;
    if (code == 0)
        code = move_relationships(deciding, replacement, /* here= */ true, &count);
    return code != 0 ? code : emit_replaced(deciding, replacement, count);
}

int replace_device_decide(struct deciding *deciding)
{
    const struct replace_device_v1 *wanted = deciding->command->params;
    const struct replacement replacement = {
        .number = deciding->command->sequence,
        .old_device = wanted->resource_id,
        .new_device = wanted->new_resource_id,
    };
    struct refusal refusal = in_the_way(WAITS);
    bool waiting;
    int code = is_waiting(deciding, wanted->resource_id, &waiting);

    if (code == 0 && !waiting)
        code = judge_replacement(deciding, wanted->resource_id, &refusal);
    if (code != 0)
        return code;
    if (refusal.description != NULL)
        return refuse(deciding, refusal.return_value, refusal.parameter,
                      refusal.description);
    return is_local_device(deciding, wanted->new_resource_id)
               ? replace_here(deciding, &replacement)
               : emit_requested(deciding, &replacement);
}

int give_up_device(struct deciding *deciding)
{
    uint32_t count;
    int code =
        move_relationships(deciding, &deciding->replacement, /* here= */ false, &count);

    return code != 0 ? code : emit_replaced(deciding, &deciding->replacement, count);
}

int confirm_adoption_decide(struct deciding *deciding)
{
    const struct replacement *replacement = &deciding->replacement;
    struct replacement_completed_v1 *data = event_data(deciding, sizeof *data);

    if (deciding->request.state != REQUEST_GRANTED)
        return unchanged(deciding, /* out= */ NULL, 0, /* deprecated_source= */ false);
    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->resource_id = replacement->old_device;
    data->new_resource_id = replacement->new_device;
    data->request = request_of(deciding, replacement);
    if (data->request.data == NULL)
        return decide_no_memory(deciding->err);
    return emit(deciding, &replacement_completed_v1_schema, data);
}

/* ---- at the new device's shard ----------------------------------------------------- */

static int reference_of(struct deciding *deciding, struct bytes request,
                        struct bytes object, struct reference *ret_reference)
{
    struct position position = {0};

    (void)position_parse(request, &position); /* checked before */
    int code =
        reference_get(deciding->views, object, &position, ret_reference, deciding->err);
    return code < 0 ? code : 0;
}

/* Nothing is lost by it: agents send this for what they asked for, and the device is not
 * removed before they have said that this was all. */
static int refuse_unasked(struct deciding *deciding)
{
    return refuse(deciding, RETURN_ACCESS_DENIED, "Request",
                  "the device takes nothing over for this request");
}

static int adopt_one(struct deciding *deciding)
{
    const struct adopt_relationship_v1 *params = deciding->command->params;
    struct vouching vouching = {
        .resource_id = deciding->device.resource_id,
        .unique_user_name = params->unique_user_name,
        .sources = {params->sources.items, params->sources.count},
        .types = {params->types.items, params->has_types ? params->types.count : 0},
        .has_creation_time = true,
    };
    const struct origin origin = {params->resource_id, params->relationship_resource_id,
                                  params->request};

    (void)cim_datetime_parse(params->creation_time,
                             &vouching.creation_time_ms); /* checked before */
    return take_over(deciding, &vouching, params->pending, &origin);
}

int adopt_relationship_decide(struct deciding *deciding)
{
    const struct adopt_relationship_v1 *params = deciding->command->params;
    struct reference reference;
    int code = reference_of(deciding, params->request, params->object, &reference);

    if (code != 0)
        return code;
    if (reference.state != REFERENCE_ADOPTING)
        return refuse_unasked(deciding);
    code = adopt_one(deciding);
    if (code != 0 || reference.wanted > reference.adopted + 1)
        return code;
    return emit_reference_released(deciding, &reference.request,
                                   deciding->device.resource_id);
}

int end_adoption_decide(struct deciding *deciding)
{
    const struct end_adoption_v1 *params = deciding->command->params;
    struct adoption_ended_v1 *data = event_data(deciding, sizeof *data);
    struct reference reference;
    int code = reference_of(deciding, params->request, params->object, &reference);

    if (code != 0)
        return code;
    if (reference.state != REFERENCE_ADOPTING)
        return refuse_unasked(deciding);
    if (reference.adopted >= params->count)
        return emit_reference_released(deciding, &reference.request,
                                       device_of_object(params->object));
    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->request = params->request;
    data->object = params->object;
    data->count = params->count;
    return emit_of_device(deciding, &adoption_ended_v1_schema,
                          device_of_object(params->object), data);
}
