/* cmd_export.c - kinlog export: the views as CSV, as `import` reads it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "agent/cli/cli.h"
#include "agent/cli/csv_kind.h"
#include "agent/cli/reading.h"

struct exporting {
    const struct csv_kind *kind;
    struct device_names *names; /* NULL where the kind needs none */
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

static int export_affinity(struct exporting *exporting, const struct shard_reader *reader,
                           struct error *err)
{
    struct relationship_scan *scan = NULL;
    struct relationship relationship;
    struct arena arena = ARENA_INIT;
    int r = relationship_scan_open(reader->views, /* resource_id= */ 0, &scan, err);

    while (r == 0 && (r = relationship_scan_next(scan, &relationship, err)) == 0) {
        struct device device = {.name = BYTES_ABSENT};

        arena_reset(&arena);
        r = device_get(reader->views, relationship.resource_id, &arena, &device, err);
        if (r < 0)
            break;
        csv_append(&exporting->line, ',', relationship.unique_user_name);
        (void)buf_append_byte(&exporting->line, ',');
        csv_append_device(&exporting->line, exporting->names, relationship.resource_id,
                          device.name);
        r = put_line(exporting, err);
    }
    relationship_scan_close(scan);
    arena_release(&arena);
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

static const struct {
    const char *kind;
    int (*run)(struct exporting *exporting, const struct shard_reader *reader,
               struct error *err);
} exports[] = {{"affinity", export_affinity}, {"devices", export_devices}};

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

static int export_all(struct exporting *exporting, struct cli *cli, struct error *err)
{
    struct store_folder *folder = NULL;
    int r = reading_folder(cli, &folder, err);

    if (r == 0 && csv_kind_needs_names(exporting->kind))
        r = device_names_load(folder, &exporting->names, err);
    if (r == 0 && cli_has(cli, "header"))
        r = put_header(exporting, err);
    for (uint32_t shard = 0; r == 0 && shard < folder->identity.shards; shard++)
        r = export_shard(exporting, folder, shard, err);
    if (r == 0 && exporting->stubs > 0)
        (void)fprintf(stderr,
                      "kinlog: %" PRIu64 " device%s left out: nothing but the ResourceID "
                      "is known\n",
                      exporting->stubs, exporting->stubs == 1 ? "" : "s");
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
    buf_release(&exporting.line);
    return r < 0 ? cli_fail(cli, &err) : EXIT_DONE;
}
