/* cmd_get.c - kinlog get: one relationship, device, use of a device, association or policy,
 * by its key.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "agent/cli/args.h"
#include "agent/cli/cli.h"
#include "agent/cli/object.h"
#include "agent/config/spelling.h"
#include "events/base/hash.h"
#include "events/base/user_name.h"
#include "events/position.h"

struct key {
    enum object_class class;
    uint32_t resource_id;
    const char *user_name; /* of a pair; NULL = resource_id is a RelationshipResourceID */
    struct position migration; /* of an association */
    const char *policy;
};

static int parse_pair_key(const char *text, struct key *ret_key, struct error *err)
{
    const char *slash = strchr(text, '/');
    uint64_t number;
    char digits[24] = "";

    if (slash == NULL && ret_key->class == CLASS_USAGE)
        return error_set(err, ERROR_USAGE,
                         "`get usage ResourceID/UniqueUserName` is wanted");
    if (slash == NULL) {
        int r = args_number("KEY", text, 1, UINT32_MAX, &number, err);
        ret_key->resource_id = (uint32_t)number;
        return r;
    }
    if ((size_t)(slash - text) < sizeof(digits))
        memcpy(digits, text, (size_t)(slash - text));
    int r =
        args_number("the ResourceID before the '/'", digits, 1, UINT32_MAX, &number, err);
    if (r < 0)
        return r;
    const char *fault = user_name_fault(bytes_str(slash + 1));
    if (fault != NULL)
        return error_set(err, ERROR_USAGE, "the user name behind the '/': %s", fault);
    ret_key->resource_id = (uint32_t)number;
    ret_key->user_name = slash + 1;
    return 0;
}

static int parse_key(int argc, char **argv, struct key *ret_key, struct error *err)
{
    struct spelling spelling = {.word = argc > 0 ? argv[0] : ""};
    uint64_t number = 0;

    *ret_key = (struct key){.class = OBJECT_CLASSES, .policy = ""};
    for (int i = 0; argc > 0 && i < OBJECT_CLASSES; i++) {
        if (strcmp(argv[0], object_class_names[i].singular) == 0 ||
            strcmp(argv[0], object_class_names[i].plural) == 0)
            ret_key->class = (enum object_class)i;
        spelling_try(&spelling, object_class_names[i].singular);
    }
    if (argc > 0 && ret_key->class == OBJECT_CLASSES && spelling_best(&spelling) != NULL)
        return error_set(err, ERROR_USAGE, "there is no %s to get; did you mean %s?",
                         argv[0], spelling_best(&spelling));
    if (argc != 2 || ret_key->class == OBJECT_CLASSES)
        return error_set(err, ERROR_USAGE,
                         "`get relationship KEY`, `get device KEY`, `get usage KEY`, "
                         "`get association KEY` or `get policy NAME` is wanted");
    if (ret_key->class == CLASS_POLICY) {
        ret_key->policy = argv[1];
        return 0;
    }
    if (ret_key->class == CLASS_RELATIONSHIP || ret_key->class == CLASS_USAGE)
        return parse_pair_key(argv[1], ret_key, err);
    if (ret_key->class == CLASS_ASSOCIATION)
        return position_parse(bytes_str(argv[1]), &ret_key->migration)
                   ? 0
                   : error_set(err, ERROR_USAGE,
                               "%s is no MigrationID: they are of the form 2-1841, and "
                               "stand in `list associations`",
                               argv[1]);
    int r = args_number("the ResourceID", argv[1], 1, UINT32_MAX, &number, err);
    ret_key->resource_id = (uint32_t)number;
    return r;
}

static uint32_t shard_of(const struct store_folder *folder, const struct key *key)
{
    char text[32];

    if (key->class == CLASS_POLICY)
        return reading_shard_of(folder, "policy");
    if (key->class == CLASS_ASSOCIATION)
        return key->migration.shard % folder->identity.shards;
    /* messages.md 2: a RelationshipResourceID holds its slot. */
    if (key->class == CLASS_RELATIONSHIP && key->user_name == NULL)
        return (key->resource_id - 1) % SLOTS % folder->identity.shards;
    (void)snprintf(text, sizeof(text), "device:%u", key->resource_id);
    return reading_shard_of(folder, text);
}

static int get_relationship(const struct shard_reader *reader, const struct key *key,
                            struct arena *arena, struct object *ret_object,
                            struct error *err)
{
    struct relationship relationship;
    int r = key->user_name == NULL
                ? relationship_get_by_id(reader->views, key->resource_id, arena,
                                         &relationship, err)
                : relationship_get(reader->views, key->resource_id,
                                   bytes_str(key->user_name), arena, &relationship, err);

    if (r == 1)
        return error_set(err, ERROR_NOT_FOUND, "there is no such relationship");
    if (r < 0)
        return r;
    return object_of_relationship(reader, &relationship, arena, ret_object, err);
}

static int get_device(const struct shard_reader *reader, const struct key *key,
                      struct arena *arena, struct object *ret_object, struct error *err)
{
    struct device device;
    int r = device_get(reader->views, key->resource_id, arena, &device, err);

    if (r == 1)
        return error_set(err, ERROR_NOT_FOUND, "there is no device %u", key->resource_id);
    if (r < 0)
        return r;
    return object_of_device(reader, &device, arena, ret_object, err);
}

static int get_usage(const struct shard_reader *reader, const struct key *key,
                     struct arena *arena, struct object *ret_object, struct error *err)
{
    struct usage usage;
    int r = usage_get(reader->views, key->resource_id, bytes_str(key->user_name), arena,
                      &usage, err);

    if (r == 1)
        return error_set(err, ERROR_NOT_FOUND,
                         "no use of device %u by this user is known", key->resource_id);
    if (r < 0)
        return r;
    return object_of_usage(reader, &usage, arena, ret_object, err);
}

static int get_association(const struct shard_reader *reader, struct registry *registry,
                           const struct key *key, struct arena *arena,
                           struct object *ret_object, struct error *err)
{
    struct association association;
    int r = key->migration.shard != reader->number
                ? 1
                : association_get_by_number(reader->views, key->migration.sequence, arena,
                                            &association, err);

    if (r == 1)
        return error_set(err, ERROR_NOT_FOUND, "there is no such association");
    if (r == 0 && association.pending)
        return error_set(err, ERROR_NOT_FOUND,
                         "the association is being added: the shard of the restoring "
                         "device has not answered yet");
    if (r < 0)
        return r;
    return object_of_association(reader, registry, &association, arena, ret_object, err);
}

static int get_policy(const struct shard_reader *reader, const struct key *key,
                      struct arena *arena, struct object *ret_object, struct error *err)
{
    struct spelling spelling = {.word = key->policy};
    const struct policy_name *name;
    struct policy policy;
    bool known = false;

    for (size_t i = 0; (name = policy_name_at(i)) != NULL; i++) {
        known = known || strcmp(name->name, key->policy) == 0;
        spelling_try(&spelling, name->name);
    }
    if (!known && spelling_best(&spelling) != NULL)
        return error_set(err, ERROR_NOT_FOUND, "there is no policy %s; did you mean %s?",
                         key->policy, spelling_best(&spelling));
    if (!known)
        return error_set(err, ERROR_NOT_FOUND,
                         "there is no policy %s; `kinlog policy` lists them",
                         key->policy);
    int r = policy_get(reader->views, key->policy, &policy, err);
    if (r < 0)
        return r;
    return object_of_policy(reader, &policy, arena, ret_object, err);
}

static void print(const struct cli *cli, const struct shard_reader *reader,
                  const struct object *object)
{
    struct json_out json;

    if (cli->form == OUTPUT_TABLE) {
        object_print_lines(stdout, object);
        return;
    }
    json_out_begin(&json, stdout, cli->form == OUTPUT_JSON);
    if (cli->form == OUTPUT_NDJSON) {
        object_print_json(&json, NULL, object);
    } else {
        json_out_object(&json, NULL);
        object_print_json(&json, object_class_names[object->class].json_single, object);
        json_out_array(&json, "Shards");
        json_out_object(&json, NULL);
        json_out_unsigned(&json, "Shard", reader->number);
        json_out_unsigned(&json, "Sequence", reader->head.sequence);
        json_out_close(&json);
        json_out_close(&json);
        json_out_close(&json);
    }
    json_out_end(&json);
}

int cmd_get(struct cli *cli, int argc, char **argv)
{
    struct store_folder *folder = NULL;
    struct shard_reader reader = {0};
    struct registry *registry = NULL;
    struct arena arena = ARENA_INIT;
    struct object object = {0};
    struct error err = {0};
    struct key key;
    int r = parse_key(argc, argv, &key, &err);

    if (r == 0)
        r = reading_folder(cli, &folder, &err);
    if (r == 0)
        r = shard_reader_open(folder, shard_of(folder, &key), KV_READ_ONLY, &reader,
                              &err);
    if (r == 0 && key.class == CLASS_RELATIONSHIP)
        r = get_relationship(&reader, &key, &arena, &object, &err);
    else if (r == 0 && key.class == CLASS_DEVICE)
        r = get_device(&reader, &key, &arena, &object, &err);
    else if (r == 0 && key.class == CLASS_USAGE)
        r = get_usage(&reader, &key, &arena, &object, &err);
    else if (r == 0 && key.class == CLASS_ASSOCIATION)
        r = (registry = registry_new(folder)) == NULL
                ? error_set(&err, ERROR_NO_MEMORY, "out of memory")
                : get_association(&reader, registry, &key, &arena, &object, &err);
    else if (r == 0)
        r = get_policy(&reader, &key, &arena, &object, &err);
    if (r == 0)
        print(cli, &reader, &object);
    registry_free(registry);
    shard_reader_close(&reader);
    store_folder_close(folder);
    arena_release(&arena);
    return r < 0 ? cli_fail(cli, &err) : EXIT_DONE;
}
