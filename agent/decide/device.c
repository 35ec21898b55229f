/* device.c - RegisterDevice and RemoveDevice.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/decide/decide_internal.h"

#include <string.h>

#include "schemas/commands.h"
#include "schemas/events.h"

#define CLIENT_TYPE_COMPUTER 1

struct route register_device_route(const void *params)
{
    const struct register_device_v1 *wanted = params;

    return (struct route){.resource_id = wanted->resource_id};
}

struct route remove_device_route(const void *params)
{
    const struct remove_device_v1 *wanted = params;

    return (struct route){.resource_id = wanted->resource_id};
}

int find_device(struct deciding *deciding, uint32_t resource_id)
{
    struct aggregate *aggregate = &deciding->aggregate;
    int code = device_get(deciding->views, resource_id, deciding->arena,
                          &deciding->device, deciding->err);

    if (code < 0)
        return code;
    deciding->has_device = code == 0;
    aggregate->version = code == 0 ? deciding->device.version : 0;
    aggregate->key = device_key(deciding->arena, resource_id);
    aggregate->subject = device_subject(deciding->arena, resource_id);
    if (aggregate->key.data == NULL || aggregate->subject.data == NULL)
        return decide_no_memory(deciding->err);
    return 0;
}

int register_device_find(struct deciding *deciding)
{
    const struct register_device_v1 *wanted = deciding->command->params;

    return find_device(deciding, wanted->resource_id);
}

int remove_device_find(struct deciding *deciding)
{
    const struct remove_device_v1 *wanted = deciding->command->params;
    int code = find_device(deciding, wanted->resource_id);

    if (code == 0 && !deciding->has_device)
        set_fault(deciding, RETURN_NOT_FOUND, "ResourceID",
                  "no device with this ResourceID is registered");
    return code;
}

static uint32_t wanted_client_type(const struct register_device_v1 *wanted)
{
    return wanted->has_client_type ? wanted->client_type : CLIENT_TYPE_COMPUTER;
}

static struct bytes wanted_domain(const struct register_device_v1 *wanted)
{
    return wanted->has_domain ? wanted->domain : BYTES_ABSENT;
}

static size_t wanted_mac_address_count(const struct register_device_v1 *wanted)
{
    return wanted->has_mac_addresses ? wanted->mac_addresses.count : 0;
}

static bool is_same(const struct device *device, const struct register_device_v1 *wanted)
{
    if (!bytes_equal(device->name, wanted->name) ||
        device->client_type != wanted_client_type(wanted) ||
        !bytes_equal(device->domain, wanted_domain(wanted)) ||
        device->mac_address_count != wanted_mac_address_count(wanted))
        return false;
    for (size_t i = 0; i < device->mac_address_count; i++) {
        if (!bytes_equal(device->mac_addresses[i], wanted->mac_addresses.items[i]))
            return false;
    }
    return true;
}

/* DeviceRegistered and DeviceChanged are alike but for names. */
#define EMIT_DEVICE(event)                                                               \
    static int emit_##event(struct deciding *deciding,                                   \
                            const struct register_device_v1 *wanted)                     \
    {                                                                                    \
        struct device_##event##_v1 *data = event_data(deciding, sizeof *data);           \
                                                                                         \
        if (data == NULL)                                                                \
            return decide_no_memory(deciding->err);                                      \
        data->resource_id = wanted->resource_id;                                         \
        data->has_name = true;                                                           \
        data->name = wanted->name;                                                       \
        data->client_type = wanted_client_type(wanted);                                  \
        data->has_mac_addresses = wanted_mac_address_count(wanted) > 0;                  \
        data->mac_addresses.items = wanted->mac_addresses.items;                         \
        data->mac_addresses.count = wanted_mac_address_count(wanted);                    \
        data->has_domain = wanted->has_domain;                                           \
        data->domain = wanted->domain;                                                   \
        return emit(deciding, &device_##event##_v1_schema, data);                        \
    }
EMIT_DEVICE(registered)
EMIT_DEVICE(changed)
#undef EMIT_DEVICE

int register_device_decide(struct deciding *deciding)
{
    const struct register_device_v1 *wanted = deciding->command->params;

    if (!deciding->has_device)
        return emit_registered(deciding, wanted);
    if (!is_same(&deciding->device, wanted))
        return emit_changed(deciding, wanted);
    return unchanged(deciding, /* out= */ NULL, 0, /* deprecated_source= */ false);
}

int judge_unknown_device(struct deciding *deciding, const char *parameter,
                         const char *description, bool *ret_stub)
{
    struct policy policy;
    int code = policy_get(deciding->views, "devices.unknown", &policy, deciding->err);

    if (code < 0)
        return code;
    *ret_stub = strcmp(policy.value, "stub") == 0;
    if (!*ret_stub)
        set_fault(deciding, RETURN_NOT_FOUND, parameter, description);
    return 0;
}

int register_unknown_device(struct deciding *deciding, uint32_t resource_id)
{
    struct device_registered_v1 *data = event_data(deciding, sizeof *data);

    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->resource_id = resource_id;
    data->client_type = CLIENT_TYPE_COMPUTER;
    deciding->device =
        (struct device){.resource_id = resource_id, .client_type = CLIENT_TYPE_COMPUTER};
    return emit_of_device(deciding, &device_registered_v1_schema, resource_id, data);
}

/* In the order of the view's keys, so that every agent ends them in the same order. */
static int end_relationships(struct deciding *deciding)
{
    struct relationship_scan *scan = NULL;
    struct relationship relationship;
    int code = relationship_scan_open(deciding->views, deciding->device.resource_id,
                                      &scan, deciding->err);

    if (code != 0)
        return code;
    while ((code = relationship_scan_next(scan, &relationship, deciding->err)) == 0) {
        relationship.unique_user_name =
            arena_copy(deciding->arena, relationship.unique_user_name);
        if (relationship.unique_user_name.data == NULL)
            code = decide_no_memory(deciding->err);
        else
            code = emit_relationship_deleted(deciding, &relationship, "device_removed");
        if (code != 0)
            break;
    }
    relationship_scan_close(scan);
    return code < 0 ? code : 0;
}

/* 1 = it is: it has associations as source, or is referred to. */
static int is_associated(struct deciding *deciding, uint32_t resource_id)
{
    struct association_scan *scan = NULL;
    struct association association;
    int code = association_scan_open(deciding->views, resource_id, &scan, deciding->err);

    if (code == 0)
        code = association_scan_next(scan, &association, deciding->err);
    association_scan_close(scan);
    if (code != 1)
        return code < 0 ? code : 1;
    enum reference_state state;
    code = references_to(deciding, resource_id, &state);
    return code != 0 ? code : state != REFERENCE_NONE;
}

/* 1 = one of its associations waits for another shard. */
static int has_pending(struct deciding *deciding, uint32_t source)
{
    struct association_scan *scan = NULL;
    struct association association;
    bool pending = false;
    int code = association_scan_open(deciding->views, source, &scan, deciding->err);

    while (code == 0 && !pending) {
        code = association_scan_next(scan, &association, deciding->err);
        pending = code == 0 && association.pending;
    }
    association_scan_close(scan);
    return code < 0 ? code : pending;
}

static int end_associations(struct deciding *deciding, uint32_t resource_id)
{
    int code = end_associations_of_source(deciding, resource_id);

    return code != 0 ? code : end_references(deciding, resource_id);
}

int emit_device_removed(struct deciding *deciding, uint32_t resource_id)
{
    struct device_removed_v1 *data = event_data(deciding, sizeof *data);

    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->resource_id = resource_id;
    return emit_of_device(deciding, &device_removed_v1_schema, resource_id, data);
}

int remove_device_decide(struct deciding *deciding)
{
    const struct remove_device_v1 *wanted = deciding->command->params;
    struct refusal refusal;
    int code = judge_removal(deciding, wanted->resource_id, &refusal);

    if (code != 0)
        return code;
    if (refusal.description != NULL)
        return refuse(deciding, refusal.return_value, refusal.parameter,
                      refusal.description);
    code = is_associated(deciding, wanted->resource_id);
    if (code < 0)
        return code;
    bool associated = code == 1;
    if (associated && !(wanted->has_force && wanted->force))
        return refuse(deciding, RETURN_OTHER_FAILURE, "ResourceID",
                      "the device has associations: delete them first, or send "
                      "RemoveDevice with Force true, which ends them");
    if (associated) {
        code = has_pending(deciding, wanted->resource_id);
        if (code < 0)
            return code;
        if (code == 1)
            return refuse(deciding, RETURN_OTHER_FAILURE, "ResourceID",
                          "an association of the device is being added: wait for its "
                          "answer, then send this again with a new id");
    }
    code = end_relationships(deciding);
    if (code == 0 && associated)
        code = end_associations(deciding, wanted->resource_id);
    return code != 0 ? code : emit_device_removed(deciding, wanted->resource_id);
}
