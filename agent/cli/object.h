/* object.h - a device, relationship, use of a device, association or policy as its
 * properties, the same for every form of output.
 *
 * The properties are exactly those of the class, in its order, then Version and Shard; a
 * relationship has Pending before these.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_OBJECT_H
#define AGENT_CLI_OBJECT_H

#include "agent/cli/json_out.h"
#include "agent/cli/reading.h"
#include "agent/cli/registry.h"
#include "agent/cli/table.h"
#include "projections/association_view.h"
#include "projections/usage_view.h"

#define OBJECT_PROPERTIES_MAX 22

enum object_class {
    CLASS_RELATIONSHIP,
    CLASS_DEVICE,
    CLASS_USAGE,
    CLASS_ASSOCIATION,
    CLASS_POLICY,
    OBJECT_CLASSES
};

struct object_class_names {
    const char *singular;    /* "relationship", as `get` takes it */
    const char *plural;      /* "relationships", as `list` takes it */
    const char *json_single; /* "Relationship" */
    const char *json_list;   /* "Relationships" */
};
extern const struct object_class_names object_class_names[OBJECT_CLASSES];

enum property_kind {
    PROPERTY_TEXT, /* absent = null */
    PROPERTY_NUMBER,
    PROPERTY_BOOLEAN,
    PROPERTY_NUMBERS, /* none = null */
    PROPERTY_TEXTS,   /* none = null */
    PROPERTY_USERS    /* objects of UserName and LocaleID; none = null */
};

struct property {
    const char *name;
    enum property_kind kind;
    bool null; /* of a number */
    struct bytes text;
    uint64_t number;
    const uint32_t *numbers;
    const struct bytes *texts;
    const struct association_user *users;
    size_t count;
};

/* Text lives in the arena of its maker. */
struct object {
    enum object_class class;
    struct property properties[OBJECT_PROPERTIES_MAX];
    size_t count;
    int64_t time_ms; /* CreationTime, LastLoginTime */
    size_t order;    /* its place in a listing */
};

/* A relationship's and a use's device is looked up in the reader's views: its name and
 * client type are those of today. */
int object_of_relationship(const struct shard_reader *reader,
                           const struct relationship *relationship, struct arena *arena,
                           struct object *ret_object, struct error *err);
int object_of_device(const struct shard_reader *reader, const struct device *device,
                     struct arena *arena, struct object *ret_object, struct error *err);
int object_of_usage(const struct shard_reader *reader, const struct usage *usage,
                    struct arena *arena, struct object *ret_object, struct error *err);
/* The devices may live in other shards. */
int object_of_association(const struct shard_reader *reader, struct registry *registry,
                          const struct association *association, struct arena *arena,
                          struct object *ret_object, struct error *err);
int object_of_policy(const struct shard_reader *reader, const struct policy *policy,
                     struct arena *arena, struct object *ret_object, struct error *err);

/* The property's name as the class spells it, or NULL; without regard to case. */
const char *object_property_name(enum object_class class, const char *name);
/* In the order of the class; NULL when index is past the end. */
const char *object_property_name_at(enum object_class class, size_t index);
const struct property *object_property(const struct object *object, const char *name);
/* For people: "not started", by migration_status. */
extern const char *const migration_status_names[MIGRATION_COMPLETED + 1];

/* Null first; text by its bytes. */
int property_compare(const struct property *a, const struct property *b);

void object_print_json(struct json_out *json, const char *key,
                       const struct object *object);
/* One property a line. */
void object_print_lines(FILE *out, const struct object *object);
struct table *object_table_new(FILE *out, enum object_class class);
void object_print_row(struct table *table, const struct object *object);

#endif
