/* relationship.c - CreateRelationship and the instance methods: who uses which device, on
 * whose word.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/decide/decide_internal.h"

#include <assert.h>
#include <string.h>

#include "events/base/datetime.h"
#include "events/base/hash.h"
#include "events/base/user_name.h"
#include "schemas/commands.h"
#include "schemas/events.h"

/* ---- the parameters ---------------------------------------------------------------- */

struct param_fault create_relationship_check(const void *params)
{
    const struct create_relationship_v1 *wanted = params;

    return fault_of("UserAccountName", user_name_fault(wanted->user_account_name));
}

struct route create_relationship_route(const void *params)
{
    const struct create_relationship_v1 *wanted = params;

    return (struct route){.resource_id = wanted->machine_resource_id};
}

/* The instance methods begin alike, but each has a struct of its own. */
#define INSTANCE_OF(method)                                                              \
    struct instance method##_instance(const void *params)                                \
    {                                                                                    \
        const struct method##_v1 *wanted = params;                                       \
                                                                                         \
        return (struct instance){                                                        \
            .has_relationship_resource_id = wanted->has_relationship_resource_id,        \
            .relationship_resource_id = wanted->relationship_resource_id,                \
            .has_resource_id = wanted->has_resource_id,                                  \
            .resource_id = wanted->resource_id,                                          \
            .has_unique_user_name = wanted->has_unique_user_name,                        \
            .unique_user_name = wanted->unique_user_name,                                \
        };                                                                               \
    }
INSTANCE_OF(add_source)
INSTANCE_OF(remove_source)
INSTANCE_OF(add_type)
INSTANCE_OF(remove_type)
INSTANCE_OF(delete_relationship)
INSTANCE_OF(approve_relationship)
INSTANCE_OF(deny_relationship)
#undef INSTANCE_OF

struct param_fault instance_check(const struct instance *instance)
{
    if (!instance->has_relationship_resource_id) {
        if (!instance->has_resource_id && !instance->has_unique_user_name)
            return fault_of("RelationshipResourceID",
                            "say which relationship is meant: give "
                            "RelationshipResourceID, or ResourceID and "
                            "UniqueUserName");
        if (!instance->has_resource_id)
            return fault_of(
                "ResourceID",
                "a UniqueUserName alone does not say which relationship is meant: "
                "give ResourceID, too");
        if (!instance->has_unique_user_name)
            return fault_of(
                "UniqueUserName",
                "a ResourceID alone does not say which relationship is meant: "
                "give UniqueUserName, too");
    }
    if (instance->has_unique_user_name)
        return fault_of("UniqueUserName", user_name_fault(instance->unique_user_name));
    return (struct param_fault){0};
}

bool holds(struct numbers numbers, uint32_t value)
{
    for (size_t i = 0; i < numbers.count; i++) {
        if (numbers.items[i] == value)
            return true;
    }
    return false;
}

/* ---- who is meant ------------------------------------------------------------------ */

/* The relationship at hand becomes the aggregate; without one, the device that was named.
 * */
static int aim(struct deciding *deciding, uint32_t resource_id)
{
    struct aggregate *aggregate = &deciding->aggregate;
    const struct relationship *relationship = &deciding->relationship;

    if (deciding->has_relationship) {
        aggregate->key = device_key(deciding->arena, relationship->resource_id);
        aggregate->subject =
            relationship_subject(deciding->arena, relationship->resource_id,
                                 relationship->relationship_resource_id);
        aggregate->version = relationship->version;
    } else if (resource_id != 0) {
        aggregate->key = device_key(deciding->arena, resource_id);
        aggregate->subject = device_subject(deciding->arena, resource_id);
    } else {
        return 0;
    }
    if (aggregate->key.data == NULL || aggregate->subject.data == NULL)
        return decide_no_memory(deciding->err);
    return 0;
}

int find_pair(struct deciding *deciding, uint32_t resource_id, struct bytes user_name,
              const char *parameter)
{
    int code = device_get(deciding->views, resource_id, deciding->arena,
                          &deciding->device, deciding->err);

    if (code < 0)
        return code;
    deciding->has_device = code == 0;
    /* A device's relationships end with it: without a device there are none. */
    if (!deciding->has_device) {
        bool stub; /* registered with what is to be known of it */
        return judge_unknown_device(deciding, parameter,
                                    "no device with this resource id is registered; send "
                                    "RegisterDevice first",
                                    &stub);
    }
    code = relationship_get(deciding->views, resource_id, user_name, deciding->arena,
                            &deciding->relationship, deciding->err);
    deciding->has_relationship = code == 0;
    return code < 0 ? code : 0;
}

int create_relationship_find(struct deciding *deciding)
{
    const struct create_relationship_v1 *wanted = deciding->command->params;
    int code = find_pair(deciding, wanted->machine_resource_id, wanted->user_account_name,
                         "MachineResourceId");

    return code != 0 ? code : aim(deciding, wanted->machine_resource_id);
}

/* By number; what else is given must agree. 0, 1 = there is none, or negative. */
static int find_by_number(struct deciding *deciding, const struct instance *meant)
{
    struct relationship found, named;
    int code = relationship_get_by_id(deciding->views, meant->relationship_resource_id,
                                      deciding->arena, &found, deciding->err);

    if (code != 0)
        return code;
    if (meant->has_resource_id && meant->resource_id != found.resource_id)
        return 1;
    if (meant->has_unique_user_name) {
        code =
            relationship_get(deciding->views, found.resource_id, meant->unique_user_name,
                             deciding->arena, &named, deciding->err);
        if (code != 0)
            return code;
        if (named.relationship_resource_id != found.relationship_resource_id)
            return 1;
    }
    deciding->relationship = found;
    return 0;
}

/* By device and name. */
static int find_by_name(struct deciding *deciding, const struct instance *meant)
{
    struct device device;
    int code =
        relationship_get(deciding->views, meant->resource_id, meant->unique_user_name,
                         deciding->arena, &deciding->relationship, deciding->err);

    if (code <= 0)
        return code;
    code = device_get(deciding->views, meant->resource_id, deciding->arena, &device,
                      deciding->err);
    if (code < 0)
        return code;
    if (code == 1)
        set_fault(deciding, RETURN_NOT_FOUND, "ResourceID",
                  "no device with this ResourceID is registered");
    else
        set_fault(deciding, RETURN_NOT_FOUND, "UniqueUserName",
                  "the device has no relationship with a user of this name");
    return 1;
}

int instance_find(struct deciding *deciding)
{
    const struct instance meant = deciding->method->instance(deciding->command->params);
    int code;

    if (meant.has_relationship_resource_id) {
        code = find_by_number(deciding, &meant);
        if (code == 1)
            set_fault(
                deciding, RETURN_NOT_FOUND, "RelationshipResourceID",
                meant.has_resource_id || meant.has_unique_user_name
                    ? "no relationship has this RelationshipResourceID together with the "
                      "ResourceID or UniqueUserName given"
                    : "no relationship has this RelationshipResourceID");
    } else {
        code = find_by_name(deciding, &meant);
    }
    if (code < 0)
        return code;
    deciding->has_relationship = code == 0;
    return aim(deciding, meant.has_resource_id ? meant.resource_id : 0);
}

/* ---- sources and types ------------------------------------------------------------- */

/* One change of a list: its event says what the list is afterwards. */
typedef int (*emit_change_fn)(struct deciding *deciding, uint32_t value,
                              struct numbers after);

/* A list while a command is applied to it. */
struct working_list {
    uint32_t items[RELATIONSHIP_LIST_MAX];
    size_t count;
};

static struct numbers numbers_of(const struct working_list *list)
{
    return (struct numbers){list->items, list->count};
}

static void list_add(struct working_list *list, uint32_t value)
{
    /* The schema allows fewer different values than there is room for. */
    assert(list->count < RELATIONSHIP_LIST_MAX);
    list->items[list->count++] = value;
}

static void list_remove(struct working_list *list, uint32_t value)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i] != value)
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
}

static struct working_list list_of(const uint32_t items[RELATIONSHIP_LIST_MAX],
                                   size_t count)
{
    struct working_list list = {.count = count};

    memcpy(list.items, items, count * sizeof items[0]);
    return list;
}

/* A copy in the arena, for an event; NULL = out of memory, or nothing to copy. */
static uint32_t *copy_items(struct deciding *deciding, struct numbers numbers)
{
    if (numbers.count == 0)
        return NULL;
    uint32_t *items = arena_alloc(deciding->arena, numbers.count * sizeof *items);
    if (items != NULL)
        memcpy(items, numbers.items, numbers.count * sizeof *items);
    return items;
}

/* SourceAdded, SourceRemoved, TypeAdded and TypeRemoved are alike but for names. */
#define EMIT_CHANGE(event, value_field, list_field)                                      \
    static int emit_##event(struct deciding *deciding, uint32_t value,                   \
                            struct numbers after)                                        \
    {                                                                                    \
        struct event##_v1 *data = event_data(deciding, sizeof *data);                    \
        uint32_t *items = copy_items(deciding, after);                                   \
                                                                                         \
        if (data == NULL || (items == NULL && after.count > 0))                          \
            return decide_no_memory(deciding->err);                                      \
        data->relationship_resource_id =                                                 \
            deciding->relationship.relationship_resource_id;                             \
        data->resource_id = deciding->relationship.resource_id;                          \
        data->unique_user_name = deciding->relationship.unique_user_name;                \
        data->value_field = value;                                                       \
        data->has_##list_field = after.count > 0;                                        \
        data->list_field.items = items;                                                  \
        data->list_field.count = after.count;                                            \
        return emit_about(deciding, &event##_v1_schema,                                  \
                          relationship_subject(deciding->arena, data->resource_id,       \
                                               data->relationship_resource_id),          \
                          data);                                                         \
    }
EMIT_CHANGE(source_added, source_id, sources)
EMIT_CHANGE(source_removed, source_id, sources)
EMIT_CHANGE(type_added, type_id, types)
EMIT_CHANGE(type_removed, type_id, types)
#undef EMIT_CHANGE

/* Adds the wanted values from left to right, each with an event; those that are there
 * change nothing. */
static int add_all(struct deciding *deciding, struct working_list *list,
                   struct numbers wanted, emit_change_fn emit_change)
{
    int code = 0;

    for (size_t i = 0; i < wanted.count && code == 0; i++) {
        if (holds(numbers_of(list), wanted.items[i]))
            continue;
        list_add(list, wanted.items[i]);
        code = emit_change(deciding, wanted.items[i], numbers_of(list));
    }
    return code;
}

static int remove_all(struct deciding *deciding, struct working_list *list,
                      struct numbers wanted, emit_change_fn emit_change)
{
    int code = 0;

    for (size_t i = 0; i < wanted.count && code == 0; i++) {
        if (!holds(numbers_of(list), wanted.items[i]))
            continue;
        list_remove(list, wanted.items[i]);
        code = emit_change(deciding, wanted.items[i], numbers_of(list));
    }
    return code;
}

static struct working_list sources_of(const struct deciding *deciding)
{
    return list_of(deciding->relationship.sources, deciding->relationship.source_count);
}

static struct working_list types_of(const struct deciding *deciding)
{
    return list_of(deciding->relationship.types, deciding->relationship.type_count);
}

int add_types(struct deciding *deciding, struct numbers types)
{
    struct working_list list = types_of(deciding);

    return add_all(deciding, &list, types, emit_type_added);
}

/* ---- creating ---------------------------------------------------------------------- */

/* The wanted values, each once. */
static struct working_list distinct(struct numbers wanted)
{
    struct working_list list = {.count = 0};

    for (size_t i = 0; i < wanted.count; i++) {
        if (!holds(numbers_of(&list), wanted.items[i]))
            list_add(&list, wanted.items[i]);
    }
    return list;
}

/* The number of the slot that comes after `count` more; 0 = they are used up then. */
static int number_after(struct deciding *deciding, uint32_t slot, uint32_t count,
                        uint32_t *ret_number)
{
    uint32_t present;
    int code = relationship_slot_count(deciding->views, slot, &present, deciding->err);

    if (code != 0)
        return code;
    uint64_t number = ((uint64_t)present + count) * SLOTS + slot + 1;
    *ret_number = number <= UINT32_MAX ? (uint32_t)number : 0;
    return 0;
}

/* The next number of the device's slot; 0 = they are used up. */
static int next_number(struct deciding *deciding, uint32_t *ret_number)
{
    return number_after(deciding, slot_of_key(deciding->aggregate.key), deciding->created,
                        ret_number);
}

int has_numbers(struct deciding *deciding, struct bytes key, uint32_t count)
{
    uint32_t last = 1;
    int code =
        count == 0 ? 0 : number_after(deciding, slot_of_key(key), count - 1, &last);

    return code != 0 ? code : last == 0;
}

static int emit_created(struct deciding *deciding, const struct vouching *vouching,
                        uint32_t number)
{
    struct relationship_created_v1 *data = event_data(deciding, sizeof *data);
    struct working_list sources = distinct(vouching->sources);
    struct working_list types = distinct(vouching->types);
    char creation_time[CIM_DATETIME_SIZE];

    if (data == NULL)
        return decide_no_memory(deciding->err);
    cim_datetime_format(vouching->has_creation_time ? vouching->creation_time_ms
                                                    : deciding->command->time_ms,
                        creation_time);
    data->resource_id = vouching->resource_id;
    data->unique_user_name = vouching->unique_user_name;
    data->relationship_resource_id = number;
    data->has_resource_name = deciding->device.name.data != NULL;
    data->resource_name = deciding->device.name;
    data->resource_client_type = deciding->device.client_type;
    data->creation_time = arena_copy(deciding->arena, bytes_str(creation_time));
    data->is_active = true;
    data->has_sources = true;
    data->sources.items = copy_items(deciding, numbers_of(&sources));
    data->sources.count = sources.count;
    data->has_types = types.count > 0;
    data->types.items = copy_items(deciding, numbers_of(&types));
    data->types.count = types.count;
    if (data->creation_time.data == NULL || data->sources.items == NULL ||
        (types.count > 0 && data->types.items == NULL))
        return decide_no_memory(deciding->err);
    return emit_about(
        deciding, &relationship_created_v1_schema,
        relationship_subject(deciding->arena, vouching->resource_id, number), data);
}

static int create(struct deciding *deciding, const struct vouching *vouching,
                  bool needs_approval)
{
    uint32_t number;
    int code = next_number(deciding, &number);

    if (code != 0)
        return code;
    if (number == 0)
        return 1;
    if (!deciding->has_device)
        code = register_unknown_device(deciding, vouching->resource_id);
    if (code == 0)
        code = emit_created(deciding, vouching, number);
    deciding->relationship.relationship_resource_id = number;
    deciding->created++;
    if (code == 0 && needs_approval)
        code = emit_approval_requested(deciding, vouching, number);
    return code;
}

static int merge(struct deciding *deciding, const struct vouching *vouching)
{
    struct working_list sources = sources_of(deciding);
    int code = add_all(deciding, &sources, vouching->sources, emit_source_added);

    return code != 0 ? code : add_types(deciding, vouching->types);
}

int adopt(struct deciding *deciding, const struct vouching *vouching, bool pending)
{
    return deciding->has_relationship ? merge(deciding, vouching)
                                      : create(deciding, vouching, pending);
}

int vouch(struct deciding *deciding, const struct vouching *vouching)
{
    struct vouching granted = *vouching;
    bool needs_approval;
    int code = need_approval(deciding, vouching->sources, &needs_approval);

    if (code != 0)
        return code;
    if (needs_approval)
        granted.types = (struct numbers){NULL, 0};
    return adopt(deciding, &granted, needs_approval);
}

int refuse_used_up(struct deciding *deciding)
{
    return refuse(deciding, RETURN_OTHER_FAILURE, /* parameter= */ NULL,
                  "all RelationshipResourceIDs of this device's slot are used up; a "
                  "device with another ResourceID may lie in another slot");
}

int create_relationship_decide(struct deciding *deciding)
{
    const struct create_relationship_v1 *wanted = deciding->command->params;
    const struct vouching vouching = {
        .resource_id = wanted->machine_resource_id,
        .unique_user_name = wanted->user_account_name,
        .sources = {wanted->source_id.items, wanted->source_id.count},
        .types = {wanted->type_id.items, wanted->has_type_id ? wanted->type_id.count : 0},
    };
    int code = vouch(deciding, &vouching);

    if (code == 1)
        return refuse_used_up(deciding);
    if (code != 0 || deciding->decision->count > 0)
        return code;
    return unchanged(deciding, "RelationshipResourceID",
                     deciding->relationship.relationship_resource_id,
                     holds(vouching.sources, SOURCE_DEPRECATED));
}

/* ---- the instance methods ---------------------------------------------------------- */

/* The answer when a list method found nothing to do. */
static int unchanged_list(struct deciding *deciding, bool deprecated_source)
{
    return unchanged(deciding, /* out= */ NULL, 0, deprecated_source);
}

int add_source_decide(struct deciding *deciding)
{
    const struct add_source_v1 *wanted = deciding->command->params;
    struct numbers values = {wanted->source_id.items, wanted->source_id.count};
    struct working_list sources = sources_of(deciding);
    int code = add_all(deciding, &sources, values, emit_source_added);

    if (code != 0 || deciding->decision->count > 0)
        return code;
    return unchanged_list(deciding, holds(values, SOURCE_DEPRECATED));
}

int withdraw(struct deciding *deciding, struct numbers sources)
{
    struct working_list rest = sources_of(deciding);
    int code = remove_all(deciding, &rest, sources, emit_source_removed);

    /* Nobody vouches for it any more (decision D1). */
    if (code == 0 && rest.count == 0)
        code =
            emit_relationship_deleted(deciding, &deciding->relationship, "last_source");
    return code;
}

int remove_source_decide(struct deciding *deciding)
{
    const struct remove_source_v1 *wanted = deciding->command->params;
    struct numbers values = {wanted->source_id.items, wanted->source_id.count};
    int code = withdraw(deciding, values);

    if (code != 0 || deciding->decision->count > 0)
        return code;
    return unchanged_list(deciding, holds(values, SOURCE_DEPRECATED));
}

int add_type_decide(struct deciding *deciding)
{
    const struct add_type_v1 *wanted = deciding->command->params;
    int code = add_types(deciding,
                         (struct numbers){wanted->type_id.items, wanted->type_id.count});

    if (code != 0 || deciding->decision->count > 0)
        return code;
    return unchanged_list(deciding, /* deprecated_source= */ false);
}

int remove_type_decide(struct deciding *deciding)
{
    const struct remove_type_v1 *wanted = deciding->command->params;
    struct numbers values = {wanted->type_id.items, wanted->type_id.count};
    struct working_list types = types_of(deciding);
    int code = remove_all(deciding, &types, values, emit_type_removed);

    if (code != 0 || deciding->decision->count > 0)
        return code;
    return unchanged_list(deciding, /* deprecated_source= */ false);
}

int emit_relationship_deleted(struct deciding *deciding,
                              const struct relationship *relationship, const char *reason)
{
    struct relationship_deleted_v1 *data = event_data(deciding, sizeof *data);

    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->relationship_resource_id = relationship->relationship_resource_id;
    data->resource_id = relationship->resource_id;
    data->unique_user_name = relationship->unique_user_name;
    data->reason = bytes_str(reason);
    return emit_about(deciding, &relationship_deleted_v1_schema,
                      relationship_subject(deciding->arena, relationship->resource_id,
                                           relationship->relationship_resource_id),
                      data);
}

int emit_relationship_moved(struct deciding *deciding,
                            const struct relationship *relationship, uint32_t new_device,
                            struct bytes request)
{
    struct relationship_moved_v1 *data = event_data(deciding, sizeof *data);
    const struct numbers sources = {relationship->sources, relationship->source_count};
    const struct numbers types = {relationship->types, relationship->type_count};
    char creation_time[CIM_DATETIME_SIZE];

    if (data == NULL)
        return decide_no_memory(deciding->err);
    cim_datetime_format(relationship->creation_time_ms, creation_time);
    data->relationship_resource_id = relationship->relationship_resource_id;
    data->resource_id = relationship->resource_id;
    data->unique_user_name = arena_copy(deciding->arena, relationship->unique_user_name);
    data->new_resource_id = new_device;
    data->creation_time = arena_copy(deciding->arena, bytes_str(creation_time));
    data->has_sources = sources.count > 0;
    data->sources.items = copy_items(deciding, sources);
    data->sources.count = sources.count;
    data->has_types = types.count > 0;
    data->types.items = copy_items(deciding, types);
    data->types.count = types.count;
    data->pending = relationship->is_pending;
    data->request = request;
    if (data->unique_user_name.data == NULL || data->creation_time.data == NULL ||
        (sources.count > 0 && data->sources.items == NULL) ||
        (types.count > 0 && data->types.items == NULL))
        return decide_no_memory(deciding->err);
    return emit_with(deciding, &relationship_moved_v1_schema,
                     device_key(deciding->arena, relationship->resource_id),
                     relationship_subject(deciding->arena, relationship->resource_id,
                                          relationship->relationship_resource_id),
                     data);
}

int delete_relationship_decide(struct deciding *deciding)
{
    return emit_relationship_deleted(deciding, &deciding->relationship, "explicit");
}
