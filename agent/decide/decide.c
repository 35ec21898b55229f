/* decide.c - see decide.h: the table command -> functions, and the order in which faults
 * are judged.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/decide/decide.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "agent/decide/decide_internal.h"
#include "events/base/hash.h"
#include "schemas/commands.h"
#include "schemas/events.h"

#define EVENTS_CAPACITY_FIRST 4 /* most commands give one or two events */

static const struct method methods[] = {
    {
        .schema = &create_relationship_v1_schema,
        .check = create_relationship_check,
        .route = create_relationship_route,
        .find = create_relationship_find,
        .decide = create_relationship_decide,
    },
    {
        .schema = &add_source_v1_schema,
        .instance = add_source_instance,
        .find = instance_find,
        .decide = add_source_decide,
    },
    {
        .schema = &remove_source_v1_schema,
        .instance = remove_source_instance,
        .find = instance_find,
        .decide = remove_source_decide,
    },
    {
        .schema = &add_type_v1_schema,
        .instance = add_type_instance,
        .find = instance_find,
        .decide = add_type_decide,
    },
    {
        .schema = &remove_type_v1_schema,
        .instance = remove_type_instance,
        .find = instance_find,
        .decide = remove_type_decide,
    },
    {
        .schema = &delete_relationship_v1_schema,
        .instance = delete_relationship_instance,
        .find = instance_find,
        .decide = delete_relationship_decide,
    },
    {
        .schema = &approve_relationship_v1_schema,
        .instance = approve_relationship_instance,
        .find = instance_find,
        .decide = approve_relationship_decide,
    },
    {
        .schema = &deny_relationship_v1_schema,
        .instance = deny_relationship_instance,
        .find = instance_find,
        .decide = deny_relationship_decide,
    },
    {
        .schema = &report_usage_v1_schema,
        .check = report_usage_check,
        .route = report_usage_route,
        .find = report_usage_find,
        .decide = report_usage_decide,
    },
    {
        .schema = &register_device_v1_schema,
        .route = register_device_route,
        .find = register_device_find,
        .decide = register_device_decide,
    },
    {
        .schema = &remove_device_v1_schema,
        .route = remove_device_route,
        .find = remove_device_find,
        .decide = remove_device_decide,
    },
    {
        .schema = &replace_device_v1_schema,
        .check = replace_device_check,
        .route = replace_device_route,
        .find = replace_device_find,
        .decide = replace_device_decide,
    },
    {
        .schema = &add_association_v1_schema,
        .check = add_association_check,
        .route = add_association_route,
        .find = add_association_find,
        .decide = add_association_decide,
    },
    {
        .schema = &add_association_ex_v1_schema,
        .check = add_association_ex_check,
        .route = add_association_ex_route,
        .find = add_association_ex_find,
        .decide = add_association_ex_decide,
    },
    {
        .schema = &change_association_v1_schema,
        .check = change_association_check,
        .association = change_association_meant,
        .find = association_find,
        .decide = change_association_decide,
    },
    {
        .schema = &delete_association_v1_schema,
        .association = delete_association_meant,
        .find = association_find,
        .decide = delete_association_decide,
    },
    {
        .schema = &start_capture_v1_schema,
        .association = start_capture_meant,
        .source_alone = true,
        .find = start_capture_find,
        .decide = start_capture_decide,
    },
    {
        .schema = &complete_capture_v1_schema,
        .association = complete_capture_meant,
        .find = association_find,
        .decide = complete_capture_decide,
    },
    {
        .schema = &complete_restore_v1_schema,
        .association = complete_restore_meant,
        .find = association_find,
        .decide = complete_restore_decide,
    },
    {
        .schema = &delete_store_v1_schema,
        .association = delete_store_meant,
        .find = association_find,
        .decide = delete_store_decide,
    },
    {
        .schema = &get_encrypt_decrypt_key_v1_schema,
        .check = get_encrypt_decrypt_key_check,
        .association = get_encrypt_decrypt_key_meant,
        .find = association_find,
        .decide = get_encrypt_decrypt_key_decide,
    },
    {
        .schema = &request_reference_v1_schema,
        .sender = SENDER_AGENTS,
        .check = request_reference_check,
        .route = request_reference_route,
        .find = request_reference_find,
        .decide = request_reference_decide,
    },
    {
        .schema = &confirm_reference_v1_schema,
        .sender = SENDER_AGENTS,
        .check = confirm_reference_check,
        .route = confirm_reference_route,
        .find = confirm_reference_find,
        .decide = confirm_reference_decide,
    },
    {
        .schema = &refuse_reference_v1_schema,
        .sender = SENDER_AGENTS,
        .check = refuse_reference_check,
        .route = refuse_reference_route,
        .find = refuse_reference_find,
        .decide = refuse_reference_decide,
    },
    {
        .schema = &release_reference_v1_schema,
        .sender = SENDER_AGENTS,
        .check = release_reference_check,
        .route = release_reference_route,
        .find = release_reference_find,
        .decide = release_reference_decide,
    },
    {
        .schema = &end_reference_v1_schema,
        .sender = SENDER_AGENTS,
        .check = end_reference_check,
        .route = end_reference_route,
        .find = end_reference_find,
        .decide = end_reference_decide,
    },
    {
        .schema = &adopt_relationship_v1_schema,
        .sender = SENDER_AGENTS,
        .check = adopted_relationship_check,
        .route = adopt_relationship_route,
        .find = adopt_relationship_find,
        .decide = adopt_relationship_decide,
    },
    {
        .schema = &end_adoption_v1_schema,
        .sender = SENDER_AGENTS,
        .check = end_adoption_check,
        .route = end_adoption_route,
        .find = end_adoption_find,
        .decide = end_adoption_decide,
    },
    {
        .schema = &confirm_adoption_v1_schema,
        .sender = SENDER_AGENTS,
        .check = confirm_adoption_check,
        .route = confirm_adoption_route,
        .find = confirm_adoption_find,
        .decide = confirm_adoption_decide,
    },
    {
        .schema = &set_policy_v1_schema,
        .route = set_policy_route,
        .find = set_policy_find,
        .decide = set_policy_decide,
    },
    {
        .schema = &adopt_policy_v1_schema,
        .sender = SENDER_AGENTS,
        .route = adopt_policy_route,
        .find = adopt_policy_find,
        .decide = adopt_policy_decide,
    },
    {
        .schema = &tick_v1_schema,
        .sender = SENDER_OWNER,
        .decide = tick_decide,
    },
};

static const struct method *method_of(const struct schema_entry *type)
{
    const struct method *method = methods;

    while (method->schema != type->schema) {
        method++;
        /* Every command of schemas/ has its row. */
        assert(method < methods + sizeof methods / sizeof methods[0]);
    }
    return method;
}

int decide_no_memory(struct error *err)
{
    return error_set(err, ERROR_NO_MEMORY, "out of memory while deciding a command");
}

struct param_fault fault_of(const char *parameter, const char *text)
{
    return (struct param_fault){.parameter = parameter, .text = text};
}

/* ---- what the parameters alone tell ------------------------------------------------ */

static struct route route_of(const struct method *method, const void *params)
{
    if (method->instance != NULL) {
        struct instance instance = method->instance(params);
        return (struct route){
            .resource_id = instance.has_resource_id ? instance.resource_id : 0,
            .relationship_resource_id = instance.has_relationship_resource_id
                                            ? instance.relationship_resource_id
                                            : 0,
        };
    }
    if (method->association != NULL) {
        struct association_meant meant = method->association(params);
        struct position position;
        bool by_id =
            meant.has_migration_id && position_parse(meant.migration_id, &position);
        return (struct route){
            .resource_id = meant.has_source ? meant.source : 0,
            .shard_plus_1 = by_id ? (uint64_t)position.shard + 1 : 0,
        };
    }
    return method->route != NULL ? method->route(params) : (struct route){0};
}

/* The place of a member in the schema's declared order; behind all if it is not declared.
 * */
static size_t member_place(const struct schema *schema, const char *name)
{
    const struct codec_member *member;
    size_t place = 0;

    while ((member = codec_schema_member(schema, place)) != NULL &&
           strcmp(member->name, name) != 0)
        place++;
    return place;
}

static void count_as_meant(struct association_meant *meant, const char *faulty)
{
    meant->has_source |= strcmp(faulty, "SourceClientResourceID") == 0;
    meant->has_restore |= strcmp(faulty, "RestoreClientResourceID") == 0;
}

static void count_as_given(struct instance *instance, const char *faulty)
{
    if (strcmp(faulty, "RelationshipResourceID") == 0)
        instance->has_relationship_resource_id = true;
    else if (strcmp(faulty, "ResourceID") == 0)
        instance->has_resource_id = true;
    else if (strcmp(faulty, "UniqueUserName") == 0)
        instance->has_unique_user_name = true;
}

struct param_fault command_check(const struct schema_entry *type, const void *params,
                                 const char *faulty)
{
    const struct method *method = method_of(type);
    struct param_fault fault = {0};

    if (method->instance != NULL) {
        struct instance instance = method->instance(params);
        if (faulty != NULL)
            count_as_given(&instance, faulty);
        fault = instance_check(&instance);
    }
    if (method->association != NULL) {
        struct association_meant meant = method->association(params);
        if (faulty != NULL)
            count_as_meant(&meant, faulty);
        /* a MigrationID that cannot be read says which one all the same */
        if (faulty == NULL || strcmp(faulty, "MigrationID") != 0)
            fault = association_check(&meant, method->source_alone);
    }
    if (method->check != NULL && fault.text == NULL)
        fault = method->check(params);
    if (fault.text != NULL && faulty != NULL &&
        member_place(type->schema, fault.parameter) >= member_place(type->schema, faulty))
        fault.text = NULL;
    return fault;
}

uint32_t shard_of_key(struct bytes key, uint32_t shards)
{
    return slot_of_key(key) % shards;
}

uint32_t device_of_object(struct bytes object)
{
    static const char prefix[] = "device:";
    const size_t size = sizeof prefix - 1;
    uint64_t id = 0;

    if (!bytes_has_prefix(object, bytes_str(prefix)) || object.size == size ||
        object.size > size + 10 || object.data[size] == '0')
        return 0;
    for (size_t i = size; i < object.size; i++) {
        if (object.data[i] < '0' || object.data[i] > '9')
            return 0;
        id = id * 10 + (uint64_t)(object.data[i] - '0');
    }
    return id <= UINT32_MAX ? (uint32_t)id : 0;
}

uint32_t command_shard(const struct schema_entry *type, const void *params,
                       uint32_t shards, uint32_t here)
{
    struct route route = route_of(method_of(type), params);
    char key[sizeof "device:4294967295"];

    if (route.here)
        return here;
    if (route.shard_plus_1 != 0)
        return (uint32_t)((route.shard_plus_1 - 1) % shards);
    if (route.relationship_resource_id != 0)
        return (route.relationship_resource_id - 1) % SLOTS % shards;
    if (route.policy)
        return shard_of_key(bytes_str("policy"), shards);
    if (route.resource_id == 0)
        return here;
    snprintf(key, sizeof key, "device:%u", route.resource_id);
    return shard_of_key(bytes_str(key), shards);
}

int command_key(const struct schema_entry *type, const void *params, struct buf *out)
{
    struct route route = route_of(method_of(type), params);

    if (route.resource_id != 0)
        return buf_printf(out, "device:%u", route.resource_id);
    if (route.policy)
        return buf_append_str(out, "policy");
    return 0;
}

/* ---- making events ----------------------------------------------------------------- */

static struct bytes keep(struct arena *arena, const char *text)
{
    return arena_copy(arena, bytes_str(text));
}

struct bytes device_key(struct arena *arena, uint32_t resource_id)
{
    char text[32];

    snprintf(text, sizeof text, "device:%u", resource_id);
    return keep(arena, text);
}

struct bytes device_subject(struct arena *arena, uint32_t resource_id)
{
    char text[32];

    snprintf(text, sizeof text, "device/%u", resource_id);
    return keep(arena, text);
}

struct bytes position_text(struct arena *arena, const struct position *position)
{
    char text[POSITION_TEXT_SIZE];

    position_format(position, text);
    return keep(arena, text);
}

struct bytes relationship_subject(struct arena *arena, uint32_t resource_id,
                                  uint32_t relationship_resource_id)
{
    char text[64];

    snprintf(text, sizeof text, "device/%u/relationship/%u", resource_id,
             relationship_resource_id);
    return keep(arena, text);
}

void decision_init(struct decision *decision, struct arena *arena)
{
    *decision = (struct decision){.arena = arena};
}

/* Room for one more event. The array doubles, so what is left behind in the arena is no
 * larger than what is used. */
static struct decided_event *next_event(struct decision *decision)
{
    if (decision->count == decision->capacity) {
        size_t capacity =
            decision->capacity == 0 ? EVENTS_CAPACITY_FIRST : 2 * decision->capacity;
        struct decided_event *events =
            arena_alloc(decision->arena, capacity * sizeof *events);
        if (events == NULL)
            return NULL;
        if (decision->count > 0)
            memcpy(events, decision->events, decision->count * sizeof *events);
        decision->events = events;
        decision->capacity = capacity;
    }
    return &decision->events[decision->count];
}

static int append(struct decision *decision, const struct schema *schema,
                  struct bytes key, struct bytes subject, const void *data,
                  struct error *err)
{
    struct decided_event *event = next_event(decision);

    if (event == NULL)
        return decide_no_memory(err);
    const struct schema_entry *type = schema_events;
    while (type->schema != schema)
        type++;
    *event = (struct decided_event){
        .type = type, .key = key, .subject = subject, .data = data};
    decision->count++;
    return 0;
}

void *event_data(struct deciding *deciding, size_t size)
{
    return arena_alloc(deciding->arena, size);
}

int emit_about(struct deciding *deciding, const struct schema *schema,
               struct bytes subject, const void *data)
{
    if (subject.data == NULL)
        return decide_no_memory(deciding->err);
    return append(deciding->decision, schema, deciding->aggregate.key, subject, data,
                  deciding->err);
}

int emit_with(struct deciding *deciding, const struct schema *schema, struct bytes key,
              struct bytes subject, const void *data)
{
    if (key.data == NULL || subject.data == NULL)
        return decide_no_memory(deciding->err);
    return append(deciding->decision, schema, key, subject, data, deciding->err);
}

int emit_of_device(struct deciding *deciding, const struct schema *schema,
                   uint32_t resource_id, const void *data)
{
    return emit_with(deciding, schema, device_key(deciding->arena, resource_id),
                     device_subject(deciding->arena, resource_id), data);
}

int emit(struct deciding *deciding, const struct schema *schema, const void *data)
{
    return append(deciding->decision, schema, deciding->aggregate.key,
                  deciding->aggregate.subject, data, deciding->err);
}

/* The one out parameter as a JSON object. */
static struct bytes render_out(struct arena *arena, const char *name, uint64_t value)
{
    char text[96];

    if (name == NULL)
        return bytes_str("{}");
    snprintf(text, sizeof text, "{\"%s\":%llu}", name, (unsigned long long)value);
    return keep(arena, text);
}

/* out: a JSON object. NULL = out of memory. */
static struct command_unchanged_v1 *unchanged_data(struct deciding *deciding,
                                                   struct bytes out)
{
    struct command_unchanged_v1 *data = event_data(deciding, sizeof *data);

    if (data == NULL || out.data == NULL)
        return NULL;
    data->command = bytes_str(deciding->command->type->type);
    data->out = out;
    data->has_version = deciding->aggregate.version != 0;
    data->version = deciding->aggregate.version;
    return data;
}

int unchanged(struct deciding *deciding, const char *out, uint64_t value,
              bool deprecated_source)
{
    struct command_unchanged_v1 *data =
        unchanged_data(deciding, render_out(deciding->arena, out, value));

    if (data == NULL)
        return decide_no_memory(deciding->err);
    if (deprecated_source) {
        data->has_extended_status = true;
        data->extended_status.description = bytes_str(SOURCE_DEPRECATED_TEXT);
        data->extended_status.operation = bytes_str(deciding->command->type->name);
        data->extended_status.has_parameter_info = true;
        data->extended_status.parameter_info = bytes_str("SourceId");
        data->extended_status.status_code = RETURN_DONE;
    }
    return emit(deciding, &command_unchanged_v1_schema, data);
}

int unchanged_text(struct deciding *deciding, const char *out, struct bytes value)
{
    char text[96];

    snprintf(text, sizeof text, "{\"%s\":\"%.*s\"}", out, (int)value.size,
             (const char *)value.data);
    struct command_unchanged_v1 *data =
        unchanged_data(deciding, keep(deciding->arena, text));
    return data == NULL ? decide_no_memory(deciding->err)
                        : emit(deciding, &command_unchanged_v1_schema, data);
}

const char *operation_of(struct bytes command_type)
{
    for (const struct schema_entry *entry = schema_commands; entry->type != NULL;
         entry++) {
        if (bytes_equal_str(command_type, entry->type))
            return entry->name;
    }
    return "-";
}

int decide_rejection(struct decision *decision, const struct rejection *rejection,
                     struct error *err)
{
    struct command_rejected_v1 *data = arena_alloc(decision->arena, sizeof *data);

    if (data == NULL)
        return decide_no_memory(err);
    data->command =
        rejection->command_type.data != NULL ? rejection->command_type : bytes_str("-");
    data->outcome = bytes_str(rejection->outcome);
    data->return_value = rejection->return_value;
    data->has_version = rejection->has_version;
    data->version = rejection->version;
    data->has_extended_status = true;
    data->extended_status.description = bytes_str(rejection->description);
    data->extended_status.operation = bytes_str(operation_of(rejection->command_type));
    data->extended_status.has_parameter_info = rejection->parameter != NULL;
    data->extended_status.parameter_info = bytes_str(rejection->parameter);
    data->extended_status.status_code = rejection->return_value;
    return append(decision, &command_rejected_v1_schema, rejection->key,
                  rejection->subject, data, err);
}

int refuse(struct deciding *deciding, int32_t return_value, const char *parameter,
           const char *description)
{
    const struct aggregate *aggregate = &deciding->aggregate;
    const struct rejection rejection = {
        .command_type = bytes_str(deciding->command->type->type),
        .outcome = "refused",
        .return_value = return_value,
        .parameter = parameter,
        .description = description,
        .key = aggregate->key,
        .subject = aggregate->subject,
        .has_version = aggregate->version != 0,
        .version = aggregate->version,
    };

    return decide_rejection(deciding->decision, &rejection, deciding->err);
}

void set_fault(struct deciding *deciding, int32_t return_value, const char *parameter,
               const char *description)
{
    deciding->fault = (struct refusal){return_value, parameter, description};
}

/* ---- judging ----------------------------------------------------------------------- */

int command_aggregate(struct views *views, const struct command *command,
                      struct arena *arena, struct rejection *ret_rejection,
                      struct error *err)
{
    struct decision decision;

    decision_init(&decision, arena);
    struct deciding deciding = {
        .views = views,
        .command = command,
        .method = method_of(command->type),
        .decision = &decision,
        .arena = arena,
        .err = err,
    };
    int code = deciding.method->find != NULL ? deciding.method->find(&deciding) : 0;
    if (code != 0)
        return code;
    ret_rejection->key = deciding.aggregate.key;
    ret_rejection->subject = deciding.aggregate.subject;
    ret_rejection->has_version = deciding.aggregate.version != 0;
    ret_rejection->version = deciding.aggregate.version;
    return 0;
}

static bool is_permitted(const struct deciding *deciding)
{
    switch (deciding->method->sender) {
    case SENDER_AGENTS:
        return deciding->command->from_agents;
    case SENDER_OWNER:
        return deciding->command->from_owner;
    case SENDER_ANYONE:
        break;
    }
    return true;
}

/* The faults that all methods have in common, in their order; description NULL = none. */
static struct refusal judge(const struct deciding *deciding)
{
    const struct command *command = deciding->command;

    if (command->has_expiry && command->record_time_ms > command->expiry_ms)
        return (struct refusal){RETURN_OTHER_FAILURE, "expirytime",
                                "the command reached the broker after its expirytime; if "
                                "it is still wanted, send it "
                                "with a new id and a later expirytime"};
    if (!is_permitted(deciding))
        return (struct refusal){
            RETURN_ACCESS_DENIED, NULL,
            deciding->method->sender == SENDER_OWNER
                ? "only the agent that owns the shard sends Tick"
            : deciding->method->schema == &adopt_policy_v1_schema
                ? "only the agents of this log send AdoptPolicy; to set a "
                  "policy send SetPolicy"
                : "only the agents of this log send this to each other"};
    if (deciding->fault.description != NULL)
        return deciding->fault;
    if (command->has_expected_version && deciding->method->find != NULL &&
        command->expected_version != deciding->aggregate.version)
        return (struct refusal){RETURN_STALE_VERSION, "expectedversion",
                                deciding->aggregate.version == 0
                                    ? "what the command is about does not exist; an "
                                      "expectedversion of 0 says so"
                                : command->expected_version == 0
                                    ? "what the command is about exists already; read "
                                      "it, and send its Version as "
                                      "expectedversion"
                                    : "what the command is about has changed since; read "
                                      "it again, and send its "
                                      "Version as expectedversion"};
    return (struct refusal){0};
}

int decide(struct views *views, const struct command *command, struct decision *decision,
           struct error *err)
{
    struct deciding deciding = {
        .views = views,
        .command = command,
        .method = method_of(command->type),
        .decision = decision,
        .arena = decision->arena,
        .err = err,
    };
    int code = deciding.method->find != NULL ? deciding.method->find(&deciding) : 0;

    if (code != 0)
        return code;
    struct refusal refusal = judge(&deciding);
    if (refusal.description != NULL)
        return refuse(&deciding, refusal.return_value, refusal.parameter,
                      refusal.description);
    return deciding.method->decide(&deciding);
}
