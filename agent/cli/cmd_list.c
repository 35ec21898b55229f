/* cmd_list.c - kinlog list: relationships, devices, associations or policies, shard by
 * shard.
 *
 * Rows stream, except where they are to be sorted. Each shard is frozen while it is read;
 * the sequence that it is read at stands in --json.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/cli/args.h"
#include "agent/cli/cli.h"
#include "agent/cli/object.h"
#include "agent/cli/progress.h"
#include "agent/cli/user_filter.h"
#include "agent/config/spelling.h"

/* A device by its id or its name; neither = any. */
struct device_filter {
    uint32_t id;
    const char *name;
};

struct listing {
    struct cli *cli;
    enum object_class class;
    /* filters */
    struct user_filter user;
    struct device_filter device;  /* of a relationship, or itself */
    struct device_filter source;  /* of an association */
    struct device_filter restore; /* likewise */
    uint32_t source_id;           /* of a relationship; 0 = any */
    int status;                   /* of an association; -1 = any */
    bool primary;
    uint64_t limit;
    const char *sort; /* property; NULL = shard, then key */
    bool descending;
    struct registry *registry;
    struct progress progress; /* over the rows read */
    uint64_t rows;
    /* what comes out */
    struct table *table;
    struct json_out json;
    struct arena row;    /* of one object, unless sorted */
    struct arena sorted; /* of all objects */
    struct object *objects;
    size_t object_count, object_capacity;
    uint64_t printed;
    struct {
        uint32_t shard;
        uint64_t sequence;
    } read[SLOTS];
    size_t read_count;
};

static void print_object(struct listing *listing, const struct object *object)
{
    struct json_out line;

    progress_end(&listing->progress);
    listing->printed++;
    switch (listing->cli->form) {
    case OUTPUT_TABLE:
        object_print_row(listing->table, object);
        break;
    case OUTPUT_JSON:
        object_print_json(&listing->json, NULL, object);
        break;
    case OUTPUT_NDJSON:
        json_out_begin(&line, stdout, /* pretty= */ false);
        object_print_json(&line, NULL, object);
        json_out_end(&line);
        break;
    }
}

static int take_object(struct listing *listing, const struct object *object,
                       struct error *err)
{
    if (listing->sort == NULL) {
        print_object(listing, object);
        return 0;
    }
    if (listing->object_count == listing->object_capacity) {
        size_t capacity =
            listing->object_capacity == 0 ? 64 : listing->object_capacity * 2;
        struct object *objects = realloc(listing->objects, capacity * sizeof(*objects));

        if (objects == NULL)
            return error_set(err, ERROR_NO_MEMORY,
                             "out of memory; --sort holds all rows");
        listing->objects = objects;
        listing->object_capacity = capacity;
    }
    listing->objects[listing->object_count] = *object;
    listing->objects[listing->object_count].order = listing->object_count;
    listing->object_count++;
    return 0;
}

static bool is_full(const struct listing *listing)
{
    return listing->sort == NULL && listing->printed >= listing->limit;
}

/* Of a new row: where its text is to live. */
static struct arena *row_arena(struct listing *listing)
{
    if (listing->sort != NULL)
        return &listing->sorted;
    arena_reset(&listing->row);
    return &listing->row;
}

/* ---- filters ----------------------------------------------------------------------- */

static bool holds(const uint32_t *values, size_t count, uint32_t wanted)
{
    for (size_t i = 0; i < count; i++) {
        if (values[i] == wanted)
            return true;
    }
    return false;
}

static bool name_is(struct bytes name, const char *wanted)
{
    return name.data != NULL && name.size == strlen(wanted) &&
           strncasecmp((const char *)name.data, wanted, name.size) == 0;
}

static bool device_fits(const struct device_filter *filter, uint32_t id,
                        struct bytes name)
{
    return (filter->id == 0 || filter->id == id) &&
           (filter->name == NULL || name_is(name, filter->name));
}

/* Those filters that need the association alone. */
static bool association_fits(struct listing *listing,
                             const struct association *association)
{
    bool user = !listing->user.set;

    if (association->pending ||
        (listing->restore.id != 0 && listing->restore.id != association->restore))
        return false;
    if (listing->status >= 0 && listing->status != (int)association_status(association))
        return false;
    for (size_t i = 0; !user && i < association->user_count; i++)
        user = user_filter_fits(&listing->user, association->users[i].name);
    return user;
}

/* Those filters that need the relationship alone. */
static bool relationship_fits(struct listing *listing,
                              const struct relationship *relationship)
{
    if (listing->source_id != 0 &&
        !holds(relationship->sources, relationship->source_count, listing->source_id))
        return false;
    if (listing->primary && !holds(relationship->types, relationship->type_count, 1))
        return false;
    return user_filter_fits(&listing->user, relationship->unique_user_name);
}

static void count_row(struct listing *listing)
{
    progress_step(&listing->progress, ++listing->rows, /* total= */ 0);
}

/* ---- one shard --------------------------------------------------------------------- */

static int list_relationships(struct listing *listing, const struct shard_reader *reader,
                              struct error *err)
{
    struct relationship_scan *scan;
    struct relationship relationship;
    struct object object;
    int r = relationship_scan_open(reader->views, listing->device.id, &scan, err);

    while (r == 0 && !is_full(listing) &&
           (r = relationship_scan_next(scan, &relationship, err)) == 0) {
        count_row(listing);
        if (!relationship_fits(listing, &relationship))
            continue;
        r = object_of_relationship(reader, &relationship, row_arena(listing), &object,
                                   err);
        if (r == 0 && device_fits(&listing->device, relationship.resource_id,
                                  object_property(&object, "ResourceName")->text))
            r = take_object(listing, &object, err);
    }
    relationship_scan_close(scan);
    return r < 0 ? r : 0;
}

static int list_devices(struct listing *listing, const struct shard_reader *reader,
                        struct error *err)
{
    struct device_scan *scan;
    struct device device;
    struct object object;
    int r = device_scan_open(reader->views, &scan, err);

    while (r == 0 && !is_full(listing) &&
           (r = device_scan_next(scan, &device, err)) == 0) {
        count_row(listing);
        if (!device_fits(&listing->device, device.resource_id, device.name))
            continue;
        r = object_of_device(reader, &device, row_arena(listing), &object, err);
        if (r == 0)
            r = take_object(listing, &object, err);
    }
    device_scan_close(scan);
    return r < 0 ? r : 0;
}

static int list_associations(struct listing *listing, const struct shard_reader *reader,
                             struct error *err)
{
    struct association_scan *scan;
    struct association association;
    struct object object;
    int r = association_scan_open(reader->views, listing->source.id, &scan, err);

    while (r == 0 && !is_full(listing) &&
           (r = association_scan_next(scan, &association, err)) == 0) {
        count_row(listing);
        if (!association_fits(listing, &association))
            continue;
        r = object_of_association(reader, listing->registry, &association,
                                  row_arena(listing), &object, err);
        if (r == 0 &&
            device_fits(&listing->source, association.source,
                        object_property(&object, "SourceName")->text) &&
            device_fits(&listing->restore, association.restore,
                        object_property(&object, "RestoreName")->text))
            r = take_object(listing, &object, err);
    }
    association_scan_close(scan);
    return r < 0 ? r : 0;
}

static int list_policies(struct listing *listing, const struct shard_reader *reader,
                         struct error *err)
{
    const struct policy_name *name;
    struct policy policy;
    struct object object;
    int r = 0;

    for (size_t i = 0; r >= 0 && !is_full(listing) && (name = policy_name_at(i)) != NULL;
         i++) {
        r = policy_get(reader->views, name->name, &policy, err);
        if (r >= 0)
            r = object_of_policy(reader, &policy, row_arena(listing), &object, err);
        if (r == 0)
            r = take_object(listing, &object, err);
    }
    return r < 0 ? r : 0;
}

static int list_shard(struct listing *listing, const struct store_folder *folder,
                      uint32_t shard, struct error *err)
{
    struct shard_reader reader = {0};
    int r = shard_reader_open(folder, shard, KV_READ_ONLY, &reader, err);

    if (r < 0)
        return r;
    listing->read[listing->read_count].shard = shard;
    listing->read[listing->read_count++].sequence = reader.head.sequence;
    if (listing->class == CLASS_RELATIONSHIP)
        r = list_relationships(listing, &reader, err);
    else if (listing->class == CLASS_DEVICE)
        r = list_devices(listing, &reader, err);
    else if (listing->class == CLASS_ASSOCIATION)
        r = list_associations(listing, &reader, err);
    else
        r = list_policies(listing, &reader, err);
    shard_reader_close(&reader);
    return r;
}

/* ---- all --------------------------------------------------------------------------- */

/* qsort knows no context. */
static const struct listing *sorted_listing;

/* Equal ones keep the order of shard and key. */
static int compare_objects(const void *a, const void *b)
{
    const struct object *left = a, *right = b;
    int order = property_compare(object_property(left, sorted_listing->sort),
                                 object_property(right, sorted_listing->sort));

    if (order == 0)
        return (left->order > right->order) - (left->order < right->order);
    return sorted_listing->descending ? -order : order;
}

static void print_sorted(struct listing *listing)
{
    sorted_listing = listing;
    if (listing->object_count > 0)
        qsort(listing->objects, listing->object_count, sizeof(*listing->objects),
              compare_objects);
    for (size_t i = 0; i < listing->object_count && i < listing->limit; i++)
        print_object(listing, &listing->objects[i]);
}

static int list_all(struct listing *listing, const struct store_folder *folder,
                    struct error *err)
{
    uint32_t first = 0, last = folder->identity.shards;
    /* of whose shard alone there is something to list */
    uint32_t device =
        listing->class == CLASS_ASSOCIATION ? listing->source.id : listing->device.id;
    char key[32];
    int r = 0;

    progress_begin(&listing->progress, "rows read:");
    listing->registry = registry_new(folder);
    if (listing->registry == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    if (device != 0) {
        (void)snprintf(key, sizeof(key), "device:%u", device);
        first = reading_shard_of(folder, key);
        last = first + 1;
    }
    for (uint32_t shard = first; r == 0 && shard < last && !is_full(listing); shard++)
        r = list_shard(listing, folder, shard, err);
    progress_end(&listing->progress);
    registry_free(listing->registry);
    listing->registry = NULL;
    if (r == 0 && listing->sort != NULL)
        print_sorted(listing);
    return r;
}

static int list_json(struct listing *listing, const struct store_folder *folder,
                     struct error *err)
{
    json_out_begin(&listing->json, stdout, /* pretty= */ true);
    json_out_object(&listing->json, NULL);
    json_out_array(&listing->json, object_class_names[listing->class].json_list);
    int r = list_all(listing, folder, err);
    if (r < 0)
        return r;
    json_out_close(&listing->json);
    json_out_array(&listing->json, "Shards");
    for (size_t i = 0; i < listing->read_count; i++) {
        json_out_object(&listing->json, NULL);
        json_out_unsigned(&listing->json, "Shard", listing->read[i].shard);
        json_out_unsigned(&listing->json, "Sequence", listing->read[i].sequence);
        json_out_close(&listing->json);
    }
    json_out_close(&listing->json);
    json_out_close(&listing->json);
    json_out_end(&listing->json);
    return 0;
}

static int list_table(struct listing *listing, const struct store_folder *folder,
                      struct error *err)
{
    listing->table = object_table_new(stdout, listing->class);
    int r = list_all(listing, folder, err);
    table_free(listing->table);
    if (r == 0 && listing->printed == 0)
        (void)fprintf(stderr, "No %s%s.\n", object_class_names[listing->class].plural,
                      listing->cli->given_count > 0 ? " like that" : " yet");
    return r;
}

/* ---- options ----------------------------------------------------------------------- */

static int parse_class(struct listing *listing, const char *word, struct error *err)
{
    struct spelling spelling = {.word = word};

    for (int i = 0; i < OBJECT_CLASSES; i++) {
        if (strcmp(word, object_class_names[i].plural) == 0 ||
            strcmp(word, object_class_names[i].singular) == 0) {
            listing->class = (enum object_class)i;
            return 0;
        }
        spelling_try(&spelling, object_class_names[i].plural);
    }
    if (spelling_best(&spelling) != NULL)
        return error_set(err, ERROR_USAGE, "there are no %s to list; did you mean %s?",
                         word, spelling_best(&spelling));
    return error_set(err, ERROR_USAGE,
                     "there are no %s to list, only relationships, devices, "
                     "associations and policy",
                     word);
}

static int parse_sort(struct listing *listing, struct error *err)
{
    const char *name = cli_value(listing->cli, "sort");

    if (name == NULL)
        return 0;
    listing->descending = name[0] == '-';
    listing->sort = object_property_name(listing->class, name + listing->descending);
    if (listing->sort == NULL)
        return error_set(err, ERROR_USAGE,
                         "--sort: %s have no property %s; --json shows the properties",
                         object_class_names[listing->class].plural,
                         name + listing->descending);
    return 0;
}

/* Which lists an option is for. */
static int check_options(const struct listing *listing, struct error *err)
{
    static const struct {
        const char *option;
        unsigned classes; /* 1 << class */
        const char *text;
    } options[] = {
        {"user", 1U << CLASS_RELATIONSHIP | 1U << CLASS_ASSOCIATION,
         "relationships and associations"},
        {"device", 1U << CLASS_RELATIONSHIP | 1U << CLASS_DEVICE,
         "relationships and devices"},
        {"source", 1U << CLASS_RELATIONSHIP | 1U << CLASS_ASSOCIATION,
         "relationships and associations"},
        {"primary", 1U << CLASS_RELATIONSHIP, "relationships"},
        {"restore", 1U << CLASS_ASSOCIATION, "associations"},
        {"status", 1U << CLASS_ASSOCIATION, "associations"},
    };

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (cli_has(listing->cli, options[i].option) &&
            (options[i].classes & 1U << listing->class) == 0)
            return error_set(err, ERROR_USAGE, "--%s is for %s", options[i].option,
                             options[i].text);
    }
    return 0;
}

static int parse_device(struct listing *listing, const char *option,
                        struct device_filter *ret_filter, struct error *err)
{
    const char *text = cli_value(listing->cli, option);
    char name[16];
    uint64_t number = 0;

    if (text == NULL)
        return 0;
    if (*text == '\0' || strspn(text, "0123456789") != strlen(text)) {
        ret_filter->name = text;
        return 0;
    }
    (void)snprintf(name, sizeof(name), "--%s", option);
    int r = args_number(name, text, 1, UINT32_MAX, &number, err);
    ret_filter->id = (uint32_t)number;
    return r;
}

static int parse_status(struct listing *listing, struct error *err)
{
    const char *text = cli_value(listing->cli, "status");
    uint64_t number = 0;

    listing->status = -1;
    if (text == NULL)
        return 0;
    int r = args_number("--status", text, MIGRATION_NOT_STARTED, MIGRATION_COMPLETED,
                        &number, err);
    listing->status = (int)number;
    return r;
}

/* A number of a relationship's source, or an association's source device. */
static int parse_source(struct listing *listing, struct error *err)
{
    const char *text = cli_value(listing->cli, "source");
    uint64_t number = 0;

    if (listing->class == CLASS_ASSOCIATION)
        return parse_device(listing, "source", &listing->source, err);
    int r = text == NULL ? 0 : args_number("--source", text, 1, 9, &number, err);
    listing->source_id = (uint32_t)number;
    return r;
}

static int parse_filters(struct listing *listing, struct error *err)
{
    const struct cli *cli = listing->cli;
    const char *user = cli_value(cli, "user"), *limit = cli_value(cli, "limit");
    int r = check_options(listing, err);

    listing->primary = cli_has(cli, "primary");
    listing->limit = UINT64_MAX;
    if (r == 0 && user != NULL)
        r = user_filter_init(&listing->user, user, err);
    if (r == 0)
        r = parse_device(listing, "device", &listing->device, err);
    if (r == 0)
        r = parse_device(listing, "restore", &listing->restore, err);
    if (r == 0)
        r = parse_source(listing, err);
    if (r == 0)
        r = parse_status(listing, err);
    if (r == 0 && limit != NULL)
        r = args_number("--limit", limit, 0, UINT64_MAX, &listing->limit, err);
    return r == 0 ? parse_sort(listing, err) : r;
}

int cmd_list(struct cli *cli, int argc, char **argv)
{
    struct listing *listing = calloc(1, sizeof(*listing));
    struct store_folder *folder = NULL;
    struct error err = {0};
    int r = 0;

    if (argc != 1) {
        free(listing);
        return cli_wrong(
            cli, argc == 0 ? "what is to be listed: relationships, devices, associations "
                             "or policy?"
                           : "one kind at a time");
    }
    if (listing == NULL)
        return cli_fail(
            cli, &(struct error){.code = ERROR_NO_MEMORY, .text = "out of memory"});
    listing->cli = cli;
    r = parse_class(listing, argv[0], &err);
    if (r == 0)
        r = parse_filters(listing, &err);
    if (r == 0)
        r = reading_folder(cli, &folder, &err);
    if (r == 0 && cli->form == OUTPUT_TABLE)
        r = list_table(listing, folder, &err);
    else if (r == 0 && cli->form == OUTPUT_JSON)
        r = list_json(listing, folder, &err);
    else if (r == 0)
        r = list_all(listing, folder, &err);
    store_folder_close(folder);
    user_filter_release(&listing->user);
    arena_release(&listing->row);
    arena_release(&listing->sorted);
    free(listing->objects);
    free(listing);
    return r < 0 ? cli_fail(cli, &err) : EXIT_DONE;
}
