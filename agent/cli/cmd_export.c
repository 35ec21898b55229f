/* cmd_export.c - kinlog export: the views as CSV, as `import` reads it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/cli.h"
#include "agent/cli/csv_kind.h"
#include "agent/cli/reading.h"
#include "agent/cli/registry.h"
#include "projections/association_view.h"

struct exporting {
    const struct csv_kind *kind;
    struct registry *registry;
    struct device_names *names; /* NULL where the kind needs none */
    struct arena arena;         /* of one device */
    struct buf line;
    uint64_t stubs; /* devices left out */
};

static int put_line(struct exporting *exporting, struct error *err)
{
    struct buf *line = &exporting->line;

    if (buf_append_byte(line, '\n') < 0)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    (void)fwrite(line->data, 1, line->size, stdout); /* cli_finish() sees what failed */
    buf_clear(line);
    return 0;
}

static int append_device(struct exporting *exporting, uint32_t id, struct error *err)
{
    struct device device;

    arena_reset(&exporting->arena);
    int r = registry_device(exporting->registry, id, &exporting->arena, &device, err);
    if (r < 0)
        return r;
    csv_append_device(&exporting->line, exporting->names, id, device.name);
    return 0;
}

static int export_affinity(struct exporting *exporting, const struct shard_reader *reader,
                           struct error *err)
{
    struct relationship_scan *scan = NULL;
    struct relationship relationship;
    int r = relationship_scan_open(reader->views, /* resource_id= */ 0, &scan, err);

    while (r == 0 && (r = relationship_scan_next(scan, &relationship, err)) == 0) {
        csv_append(&exporting->line, ',', relationship.unique_user_name);
        (void)buf_append_byte(&exporting->line, ',');
        r = append_device(exporting, relationship.resource_id, err);
        if (r == 0)
            r = put_line(exporting, err);
    }
    relationship_scan_close(scan);
    return r < 0 ? r : 0;
}

static int export_devices(struct exporting *exporting, const struct shard_reader *reader,
                          struct error *err)
{
    struct device_scan *scan = NULL;
    struct device device;
    int r = device_scan_open(reader->views, &scan, err);

    while (r == 0 && (r = device_scan_next(scan, &device, err)) == 0) {
        if (device.name.data == NULL) {
            exporting->stubs++;
            continue;
        }
        (void)buf_printf(&exporting->line, "%" PRIu32 ",", device.resource_id);
        csv_append(&exporting->line, ',', device.name);
        (void)buf_printf(&exporting->line, ",%" PRIu32 ",", device.client_type);
        csv_append_list(&exporting->line, device.mac_addresses, device.mac_address_count);
        (void)buf_append_byte(&exporting->line, ',');
        csv_append(&exporting->line, ',', device.domain);
        r = put_line(exporting, err);
    }
    device_scan_close(scan);
    return r < 0 ? r : 0;
}

static int append_users(struct buf *line, const struct association *association,
                        struct error *err)
{
    size_t count = association->user_count;
    struct bytes *names = calloc(count + 1, sizeof(*names));
    bool locales = false;

    if (names == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < count; i++) {
        names[i] = association->users[i].name;
        locales = locales || association->users[i].locale_id != 0;
    }
    csv_append_list(line, names, count);
    free(names);
    (void)buf_append_byte(line, ',');
    for (size_t i = 0; locales && i < count; i++)
        (void)buf_printf(line, "%s%" PRIu32, i > 0 ? ";" : "",
                         association->users[i].locale_id);
    return 0;
}

static int export_associations(struct exporting *exporting,
                               const struct shard_reader *reader, struct error *err)
{
    struct association_scan *scan = NULL;
    struct association association;
    struct buf *line = &exporting->line;
    int r = association_scan_open(reader->views, /* source= */ 0, &scan, err);

    while (r == 0 && (r = association_scan_next(scan, &association, err)) == 0) {
        if (association.pending)
            continue;
        r = append_device(exporting, association.source, err);
        (void)buf_append_byte(line, ',');
        if (r == 0)
            r = append_device(exporting, association.restore, err);
        (void)buf_printf(line, ",%" PRIu32 ",", association.behavior);
        if (r == 0)
            r = append_users(line, &association, err);
        if (r == 0)
            r = put_line(exporting, err);
    }
    association_scan_close(scan);
    return r < 0 ? r : 0;
}

static const struct {
    const char *kind;
    int (*run)(struct exporting *exporting, const struct shard_reader *reader,
               struct error *err);
} exports[] = {{"affinity", export_affinity},
               {"devices", export_devices},
               {"associations", export_associations}};

static int export_shard(struct exporting *exporting, const struct store_folder *folder,
                        uint32_t shard, struct error *err)
{
    struct shard_reader reader = {0};
    int r = shard_reader_open(folder, shard, KV_READ_ONLY, &reader, err);

    for (size_t i = 0; r == 0 && i < sizeof(exports) / sizeof(exports[0]); i++) {
        if (strcmp(exports[i].kind, exporting->kind->name) == 0)
            r = exports[i].run(exporting, &reader, err);
    }
    shard_reader_close(&reader);
    return r;
}

static int put_header(struct exporting *exporting, struct error *err)
{
    for (size_t i = 0; i < exporting->kind->column_count; i++)
        (void)buf_printf(&exporting->line, "%s%s", i > 0 ? "," : "",
                         exporting->kind->columns[i].name);
    return put_line(exporting, err);
}

static void tell_stubs(uint64_t stubs)
{
    if (stubs > 0)
        (void)fprintf(stderr,
                      "kinlog: %" PRIu64 " device%s left out: nothing but the ResourceID "
                      "is known\n",
                      stubs, stubs == 1 ? "" : "s");
}

static int export_all(struct exporting *exporting, struct cli *cli, struct error *err)
{
    struct store_folder *folder = NULL;
    int r = reading_folder(cli, &folder, err);

    if (r == 0 && csv_kind_needs_names(exporting->kind))
        r = device_names_load(folder, &exporting->names, err);
    if (r == 0 && (exporting->registry = registry_new(folder)) == NULL)
        r = error_set(err, ERROR_NO_MEMORY, "out of memory");
    if (r == 0 && cli_has(cli, "header"))
        r = put_header(exporting, err);
    for (uint32_t shard = 0; r == 0 && shard < folder->identity.shards; shard++)
        r = export_shard(exporting, folder, shard, err);
    if (r == 0)
        tell_stubs(exporting->stubs);
    registry_free(exporting->registry);
    store_folder_close(folder);
    return r;
}

int cmd_export(struct cli *cli, int argc, char **argv)
{
    struct exporting exporting = {.line = BUF_INIT};
    struct error err = {0};
    int r = 0;

    if (argc != 1)
        return cli_wrong(cli, "one word is wanted: what the rows are to be");
    exporting.kind = csv_kind_find(argv[0], &err);
    if (exporting.kind == NULL)
        return cli_fail(cli, &err);
    r = export_all(&exporting, cli, &err);
    device_names_free(exporting.names);
    arena_release(&exporting.arena);
    buf_release(&exporting.line);
    return r < 0 ? cli_fail(cli, &err) : EXIT_DONE;
}
