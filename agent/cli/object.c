/* object.c - see object.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/object.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "events/base/datetime.h"
#include "events/position.h"

const struct object_class_names object_class_names[OBJECT_CLASSES] = {
    [CLASS_RELATIONSHIP] = {"relationship", "relationships", "Relationship",
                            "Relationships"},
    [CLASS_DEVICE] = {"device", "devices", "Device", "Devices"},
    [CLASS_USAGE] = {"usage", "usage", "Usage", "Usages"},
    [CLASS_ASSOCIATION] = {"association", "associations", "Association", "Associations"},
    [CLASS_POLICY] = {"policy", "policy", "Policy", "Policies"},
};

static const char *const property_names[OBJECT_CLASSES][OBJECT_PROPERTIES_MAX + 1] = {
    [CLASS_RELATIONSHIP] = {"ResourceID", "UniqueUserName", "RelationshipResourceID",
                            "ResourceName", "ResourceClientType", "CreationTime",
                            "IsActive", "Sources", "Types", "Pending", "Version", "Shard",
                            NULL},
    [CLASS_DEVICE] = {"ResourceID", "Name", "ClientType", "MACAddresses", "Domain",
                      "Version", "Shard", NULL},
    [CLASS_USAGE] = {"UniqueUserName", "ResourceID", "ResourceName", "LastLoginTime",
                     "LoginCount", "Version", "Shard", NULL},
    [CLASS_ASSOCIATION] = {"SourceClientResourceID",
                           "RestoreClientResourceID",
                           "MigrationID",
                           "MigrationBehavior",
                           "MigrationType",
                           "MigrationStatus",
                           "SourceName",
                           "RestoreName",
                           "SourceMACAddresses",
                           "RestoreMACAddresses",
                           "SourceLastLogonUserDomain",
                           "SourceLastLogonUserName",
                           "RestoreLastLogonUserDomain",
                           "RestoreLastLogonUserName",
                           "SiteCode",
                           "StorePath",
                           "StoreCreationDate",
                           "StoreReleaseDate",
                           "StoreDeletionDate",
                           "UserNames",
                           "Version",
                           "Shard",
                           NULL},
    [CLASS_POLICY] = {"Name", "Value", "Revision", "Version", "Shard", NULL},
};

/* ---- making ------------------------------------------------------------------------ */

static struct property *add(struct object *object, enum property_kind kind)
{
    struct property *property = &object->properties[object->count];

    *property = (struct property){.name = property_names[object->class][object->count],
                                  .kind = kind};
    object->count++;
    return property;
}

static void add_text(struct object *object, struct arena *arena, struct bytes text)
{
    add(object, PROPERTY_TEXT)->text = arena_copy(arena, text);
}

static void add_number(struct object *object, uint64_t number)
{
    add(object, PROPERTY_NUMBER)->number = number;
}

static int add_numbers(struct object *object, struct arena *arena,
                       const uint32_t *numbers, size_t count, struct error *err)
{
    struct property *property = add(object, PROPERTY_NUMBERS);
    uint32_t *copy = arena_alloc(arena, (count + 1) * sizeof(*copy));

    if (copy == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    memcpy(copy, numbers, count * sizeof(*copy));
    property->numbers = copy;
    property->count = count;
    return 0;
}

/* Version 0 is that of what never was set. */
static void add_version_and_shard(struct object *object, uint64_t version, uint32_t shard)
{
    struct property *property = add(object, PROPERTY_NUMBER);

    property->number = version;
    property->null = version == 0;
    add_number(object, shard);
}

int object_of_relationship(const struct shard_reader *reader,
                           const struct relationship *relationship, struct arena *arena,
                           struct object *ret_object, struct error *err)
{
    struct object *object = ret_object;
    struct device device = {.client_type = 1};
    char time_text[CIM_DATETIME_SIZE];
    int r = device_get(reader->views, relationship->resource_id, arena, &device, err);

    if (r < 0)
        return r;
    *object = (struct object){.class = CLASS_RELATIONSHIP,
                              .time_ms = relationship->creation_time_ms};
    cim_datetime_format(relationship->creation_time_ms, time_text);
    add_number(object, relationship->resource_id);
    add_text(object, arena, relationship->unique_user_name);
    add_number(object, relationship->relationship_resource_id);
    add_text(object, arena, device.name);
    add_number(object, device.client_type);
    add_text(object, arena, bytes_str(time_text));
    add(object, PROPERTY_BOOLEAN)->number = relationship->is_active;
    r = add_numbers(object, arena, relationship->sources, relationship->source_count,
                    err);
    if (r == 0)
        r = add_numbers(object, arena, relationship->types, relationship->type_count,
                        err);
    add(object, PROPERTY_BOOLEAN)->number = relationship->is_pending;
    add_version_and_shard(object, relationship->version, reader->number);
    return r;
}

int object_of_device(const struct shard_reader *reader, const struct device *device,
                     struct arena *arena, struct object *ret_object, struct error *err)
{
    struct object *object = ret_object;
    size_t count = device->mac_address_count;
    struct bytes *copies = arena_alloc(arena, (count + 1) * sizeof(*copies));

    if (copies == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    *object = (struct object){.class = CLASS_DEVICE};
    add_number(object, device->resource_id);
    add_text(object, arena, device->name);
    add_number(object, device->client_type);
    for (size_t i = 0; i < count; i++)
        copies[i] = arena_copy(arena, device->mac_addresses[i]);
    struct property *addresses = add(object, PROPERTY_TEXTS);
    addresses->texts = copies;
    addresses->count = count;
    add_text(object, arena, device->domain);
    add_version_and_shard(object, device->version, reader->number);
    return 0;
}

int object_of_usage(const struct shard_reader *reader, const struct usage *usage,
                    struct arena *arena, struct object *ret_object, struct error *err)
{
    struct object *object = ret_object;
    struct device device = {0};
    char time_text[CIM_DATETIME_SIZE];
    int r = device_get(reader->views, usage->resource_id, arena, &device, err);

    if (r < 0)
        return r;
    *object = (struct object){.class = CLASS_USAGE, .time_ms = usage->last_login_ms};
    cim_datetime_format(usage->last_login_ms, time_text);
    add_text(object, arena, usage->unique_user_name);
    add_number(object, usage->resource_id);
    add_text(object, arena, device.name);
    add_text(object, arena, usage->login_count > 0 ? bytes_str(time_text) : BYTES_ABSENT);
    add_number(object, usage->login_count);
    add_version_and_shard(object, usage->version, reader->number);
    return 0;
}

/* All addresses as one text, as the class has them; absent = there are none. */
static int add_addresses(struct object *object, struct arena *arena,
                         const struct device *device, struct error *err)
{
    struct buf text = BUF_INIT;
    int r = 0;

    for (size_t i = 0; i < device->mac_address_count; i++) {
        (void)buf_append_str(&text, i > 0 ? "," : "");
        (void)buf_append_bytes(&text, device->mac_addresses[i]);
    }
    if (text.failed)
        r = error_set(err, ERROR_NO_MEMORY, "out of memory");
    add_text(object, arena, text.size > 0 ? buf_bytes(&text) : BYTES_ABSENT);
    buf_release(&text);
    return r;
}

static void add_date(struct object *object, struct arena *arena, int64_t time_ms)
{
    char text[CIM_DATETIME_SIZE] = CIM_DATETIME_NEVER;

    if (time_ms != DATE_NEVER)
        cim_datetime_format(time_ms, text);
    add_text(object, arena, bytes_str(text));
}

static int add_users(struct object *object, struct arena *arena,
                     const struct association *association, struct error *err)
{
    struct property *property = add(object, PROPERTY_USERS);
    size_t count = association->user_count;
    struct association_user *users = arena_alloc(arena, (count + 1) * sizeof(*users));

    if (users == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < count; i++) {
        users[i].locale_id = association->users[i].locale_id;
        users[i].name = arena_copy(arena, association->users[i].name);
    }
    property->users = users;
    property->count = count;
    return 0;
}

/* Domain and name of who logged in last on a device. */
static int add_last_user(struct object *object, struct registry *registry,
                         uint32_t resource_id, struct arena *arena, struct error *err)
{
    struct bytes user, domain = BYTES_ABSENT;
    int r = registry_last_user(registry, resource_id, arena, &user, err);
    const uint8_t *backslash =
        user.data == NULL ? NULL : memchr(user.data, '\\', user.size);

    if (backslash != NULL) {
        domain = bytes_of(user.data, (size_t)(backslash - user.data));
        user = bytes_of(backslash + 1, user.size - domain.size - 1);
    }
    add_text(object, arena, domain);
    add_text(object, arena, user);
    return r;
}

int object_of_association(const struct shard_reader *reader, struct registry *registry,
                          const struct association *association, struct arena *arena,
                          struct object *ret_object, struct error *err)
{
    const struct position position = {reader->number, association->number};
    struct object *object = ret_object;
    char migration_id[POSITION_TEXT_SIZE];
    struct device source, restore;
    int r = registry_device(registry, association->source, arena, &source, err);

    if (r >= 0)
        r = registry_device(registry, association->restore, arena, &restore, err);
    if (r < 0)
        return r;
    position_format(&position, migration_id);
    *object = (struct object){.class = CLASS_ASSOCIATION};
    add_number(object, association->source);
    add_number(object, association->restore);
    add_text(object, arena, bytes_str(migration_id));
    add_number(object, association->behavior);
    add_number(object, association_type(association));
    add_number(object, association_status(association));
    add_text(object, arena, source.name);
    add_text(object, arena, restore.name);
    r = add_addresses(object, arena, &source, err);
    if (r == 0)
        r = add_addresses(object, arena, &restore, err);
    if (r == 0)
        r = add_last_user(object, registry, association->source, arena, err);
    if (r == 0)
        r = add_last_user(object, registry, association->restore, arena, err);
    add_text(object, arena, bytes_str(reader->identity.site));
    add_text(object, arena, association->store_path);
    add_date(object, arena, association->store_creation_ms);
    add_date(object, arena, association->store_release_ms);
    add_date(object, arena, association->store_deletion_ms);
    if (r == 0)
        r = add_users(object, arena, association, err);
    add_version_and_shard(object, association->version, reader->number);
    return r;
}

int object_of_policy(const struct shard_reader *reader, const struct policy *policy,
                     struct arena *arena, struct object *ret_object, struct error *err)
{
    (void)err;
    *ret_object = (struct object){.class = CLASS_POLICY};
    add_text(ret_object, arena, bytes_str(policy->name));
    add_text(ret_object, arena, bytes_str(policy->value));
    add_number(ret_object, policy->revision);
    add_version_and_shard(ret_object, policy->version, reader->number);
    return 0;
}

/* ---- properties -------------------------------------------------------------------- */

const char *object_property_name(enum object_class class, const char *name)
{
    for (size_t i = 0; property_names[class][i] != NULL; i++) {
        if (strcasecmp(property_names[class][i], name) == 0)
            return property_names[class][i];
    }
    return NULL;
}

const char *object_property_name_at(enum object_class class, size_t index)
{
    return index < OBJECT_PROPERTIES_MAX ? property_names[class][index] : NULL;
}

const struct property *object_property(const struct object *object, const char *name)
{
    for (size_t i = 0; i < object->count; i++) {
        if (strcmp(object->properties[i].name, name) == 0)
            return &object->properties[i];
    }
    return NULL;
}

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_texts(struct bytes a, struct bytes b)
{
    if (a.data == NULL || b.data == NULL)
        return (a.data != NULL) - (b.data != NULL);
    return bytes_compare(a, b);
}

static int compare_items(const struct property *a, const struct property *b, size_t i)
{
    if (a->kind == PROPERTY_NUMBERS)
        return compare_numbers(a->numbers[i], b->numbers[i]);
    if (a->kind == PROPERTY_USERS)
        return compare_texts(a->users[i].name, b->users[i].name);
    return compare_texts(a->texts[i], b->texts[i]);
}

int property_compare(const struct property *a, const struct property *b)
{
    size_t shorter = a->count < b->count ? a->count : b->count;

    switch (a->kind) {
    case PROPERTY_TEXT:
        return compare_texts(a->text, b->text);
    case PROPERTY_NUMBER:
    case PROPERTY_BOOLEAN:
        return a->null || b->null ? b->null - a->null
                                  : compare_numbers(a->number, b->number);
    case PROPERTY_NUMBERS:
    case PROPERTY_TEXTS:
    case PROPERTY_USERS:
        break;
    }
    for (size_t i = 0; i < shorter; i++) {
        int order = compare_items(a, b, i);
        if (order != 0)
            return order;
    }
    return compare_numbers(a->count, b->count);
}

/* ---- printing ---------------------------------------------------------------------- */

static void print_texts(struct json_out *json, const struct property *property)
{
    if (property->count == 0) {
        json_out_null(json, property->name);
        return;
    }
    json_out_array(json, property->name);
    for (size_t i = 0; i < property->count; i++)
        json_out_text(json, NULL, property->texts[i]);
    json_out_close(json);
}

static void print_users(struct json_out *json, const struct property *property)
{
    if (property->count == 0) {
        json_out_null(json, property->name);
        return;
    }
    json_out_array(json, property->name);
    for (size_t i = 0; i < property->count; i++) {
        json_out_object(json, NULL);
        json_out_unsigned(json, "LocaleID", property->users[i].locale_id);
        json_out_text(json, "UserName", property->users[i].name);
        json_out_close(json);
    }
    json_out_close(json);
}

void object_print_json(struct json_out *json, const char *key,
                       const struct object *object)
{
    json_out_object(json, key);
    for (size_t i = 0; i < object->count; i++) {
        const struct property *property = &object->properties[i];

        if (property->null)
            json_out_null(json, property->name);
        else if (property->kind == PROPERTY_TEXT)
            json_out_text(json, property->name, property->text);
        else if (property->kind == PROPERTY_NUMBER)
            json_out_unsigned(json, property->name, property->number);
        else if (property->kind == PROPERTY_BOOLEAN)
            json_out_bool(json, property->name, property->number != 0);
        else if (property->kind == PROPERTY_NUMBERS)
            json_out_numbers(json, property->name, property->numbers, property->count);
        else if (property->kind == PROPERTY_USERS)
            print_users(json, property);
        else
            print_texts(json, property);
    }
    json_out_close(json);
}

/* What a person reads: lists with commas, null as "-". */
static void append_plain(struct buf *out, const struct property *property)
{
    if (property->null ||
        (property->kind == PROPERTY_TEXT && property->text.data == NULL) ||
        (property->kind >= PROPERTY_NUMBERS && property->count == 0)) {
        (void)buf_append_byte(out, '-');
        return;
    }
    if (property->kind == PROPERTY_TEXT)
        (void)table_escape(out, property->text);
    else if (property->kind == PROPERTY_NUMBER)
        (void)buf_append_u64dec(out, property->number);
    else if (property->kind == PROPERTY_BOOLEAN)
        (void)buf_append_str(out, property->number != 0 ? "true" : "false");
    for (size_t i = 0; i < property->count; i++) {
        (void)buf_append_str(out, i > 0 ? "," : "");
        if (property->kind == PROPERTY_NUMBERS)
            (void)buf_append_u64dec(out, property->numbers[i]);
        else
            (void)table_escape(out, property->kind == PROPERTY_USERS
                                        ? property->users[i].name
                                        : property->texts[i]);
    }
}

void object_print_lines(FILE *out, const struct object *object)
{
    struct buf text = BUF_INIT;

    for (size_t i = 0; i < object->count; i++) {
        buf_clear(&text);
        append_plain(&text, &object->properties[i]);
        (void)fprintf(out, "%-22s  %s\n", object->properties[i].name, buf_cstr(&text));
    }
    buf_release(&text);
}

struct table *object_table_new(FILE *out, enum object_class class)
{
    static const char *const titles[OBJECT_CLASSES][TABLE_COLUMNS_MAX] = {
        [CLASS_RELATIONSHIP] = {"SHARD", "ID", "DEVICE", "<NAME", "<USER", "<PRIMARY",
                                "<SOURCES", "<CREATED", "VERSION", NULL},
        [CLASS_DEVICE] = {"SHARD", "DEVICE", "<NAME", "TYPE", "<DOMAIN", "<MAC ADDRESSES",
                          "VERSION", NULL},
        [CLASS_USAGE] = {"SHARD", "DEVICE", "<NAME", "<USER", "<LAST LOGIN", "LOGINS",
                         "VERSION", NULL},
        [CLASS_ASSOCIATION] = {"<MIGRATION", "SOURCE", "<NAME", "RESTORE", "<NAME",
                               "<STATUS", "<USERS", "VERSION", NULL},
        [CLASS_POLICY] = {"SHARD", "<NAME", "<VALUE", "REVISION", "VERSION", NULL},
    };

    return table_new(out, titles[class]);
}

static void print_columns(struct table *table, const struct object *object,
                          const char *const *names)
{
    struct buf text = BUF_INIT;

    for (size_t i = 0; names[i] != NULL; i++) {
        buf_clear(&text);
        /* What is escaped already has nothing left to be escaped. */
        append_plain(&text, object_property(object, names[i]));
        table_text(table, buf_bytes(&text));
    }
    buf_release(&text);
}

static void print_time(struct table *table, int64_t time_ms)
{
    char text[RFC3339_SIZE];

    rfc3339_format(time_ms, text);
    table_cell(table, "%.19sZ", text);
}

static void print_relationship(struct table *table, const struct object *object)
{
    static const char *const pair[] = {"Shard",          "RelationshipResourceID",
                                       "ResourceID",     "ResourceName",
                                       "UniqueUserName", NULL};
    static const char *const sources[] = {"Sources", NULL}, *const version[] = {"Version",
                                                                                NULL};
    const struct property *types = object_property(object, "Types");
    const char *primary = object_property(object, "Pending")->number ? "pending" : "no";

    for (size_t i = 0; i < types->count; i++)
        primary = types->numbers[i] == 1 ? "yes" : primary;
    print_columns(table, object, pair);
    table_cell(table, "%s", primary);
    print_columns(table, object, sources);
    print_time(table, object->time_ms);
    print_columns(table, object, version);
}

static void print_usage(struct table *table, const struct object *object)
{
    static const char *const pair[] = {"Shard", "ResourceID", "ResourceName",
                                       "UniqueUserName", NULL};
    static const char *const rest[] = {"LoginCount", "Version", NULL};

    print_columns(table, object, pair);
    if (object_property(object, "LastLoginTime")->text.data != NULL)
        print_time(table, object->time_ms);
    else
        table_cell(table, "-");
    print_columns(table, object, rest);
}

const char *const migration_status_names[MIGRATION_COMPLETED + 1] = {
    [MIGRATION_NOT_STARTED] = "not started",
    [MIGRATION_IN_PROGRESS] = "in progress",
    [MIGRATION_COMPLETED] = "completed",
};

static void print_association(struct table *table, const struct object *object)
{
    static const char *const first[] = {"MigrationID", "SourceClientResourceID",
                                        "SourceName",  "RestoreClientResourceID",
                                        "RestoreName", NULL};
    static const char *const last[] = {"UserNames", "Version", NULL};

    print_columns(table, object, first);
    table_cell(
        table, "%s",
        migration_status_names[object_property(object, "MigrationStatus")->number]);
    print_columns(table, object, last);
}

void object_print_row(struct table *table, const struct object *object)
{
    static const char *const device[] = {"Shard",      "ResourceID", "Name",
                                         "ClientType", "Domain",     "MACAddresses",
                                         "Version",    NULL};
    static const char *const policy[] = {"Shard",    "Name",    "Value",
                                         "Revision", "Version", NULL};

    switch (object->class) {
    case CLASS_RELATIONSHIP:
        print_relationship(table, object);
        break;
    case CLASS_USAGE:
        print_usage(table, object);
        break;
    case CLASS_ASSOCIATION:
        print_association(table, object);
        break;
    case CLASS_DEVICE:
        print_columns(table, object, device);
        break;
    case CLASS_POLICY:
    case OBJECT_CLASSES:
        print_columns(table, object, policy);
        break;
    }
}
