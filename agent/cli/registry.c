/* registry.c - see registry.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/registry.h"

#include <stdlib.h>

#include "events/base/hash.h"
#include "projections/usage_view.h"

struct registry {
    const struct store_folder *folder;
    struct shard_reader readers[SLOTS]; /* views == NULL: not opened yet */
};

struct registry *registry_new(const struct store_folder *folder)
{
    struct registry *registry = calloc(1, sizeof(*registry));

    if (registry != NULL)
        registry->folder = folder;
    return registry;
}

void registry_free(struct registry *registry)
{
    if (registry == NULL)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        shard_reader_close(&registry->readers[i]);
    free(registry);
}

/* The shard of the device, opened if it was not. */
static int reader_of(struct registry *registry, uint32_t resource_id,
                     const struct shard_reader **ret_reader, struct error *err)
{
    char key[32];

    (void)snprintf(key, sizeof(key), "device:%u", resource_id);
    uint32_t shard = reading_shard_of(registry->folder, key);
    struct shard_reader *reader = &registry->readers[shard];
    *ret_reader = reader;
    return reader->views != NULL
               ? 0
               : shard_reader_open(registry->folder, shard, KV_READ_ONLY, reader, err);
}

int registry_device(struct registry *registry, uint32_t resource_id, struct arena *arena,
                    struct device *ret_device, struct error *err)
{
    const struct shard_reader *reader;
    int r = reader_of(registry, resource_id, &reader, err);

    *ret_device = (struct device){.resource_id = resource_id};
    return r < 0 ? r : device_get(reader->views, resource_id, arena, ret_device, err);
}

int registry_last_user(struct registry *registry, uint32_t resource_id,
                       struct arena *arena, struct bytes *ret_user, struct error *err)
{
    const struct shard_reader *reader;
    struct usage_scan *scan = NULL;
    struct usage usage;
    int64_t last_ms = 0;
    int r = reader_of(registry, resource_id, &reader, err);

    *ret_user = BYTES_ABSENT;
    if (r == 0)
        r = usage_scan_open(reader->views, resource_id, &scan, err);
    while (r == 0 && (r = usage_scan_next(scan, &usage, err)) == 0) {
        if (usage.login_count == 0 ||
            (ret_user->data != NULL && usage.last_login_ms <= last_ms))
            continue;
        last_ms = usage.last_login_ms;
        *ret_user = arena_copy(arena, usage.unique_user_name);
        if (ret_user->data == NULL)
            r = error_set(err, ERROR_NO_MEMORY, "out of memory");
    }
    usage_scan_close(scan);
    return r < 0 ? r : 0;
}
