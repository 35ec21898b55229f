/* registry.c - see registry.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/registry.h"

#include <stdlib.h>

#include "events/base/hash.h"

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

int registry_device(struct registry *registry, uint32_t resource_id, struct arena *arena,
                    struct device *ret_device, struct error *err)
{
    char key[32];
    int r = 0;

    *ret_device = (struct device){.resource_id = resource_id};
    (void)snprintf(key, sizeof(key), "device:%u", resource_id);
    uint32_t shard = reading_shard_of(registry->folder, key);
    struct shard_reader *reader = &registry->readers[shard];
    if (reader->views == NULL)
        r = shard_reader_open(registry->folder, shard, KV_READ_ONLY, reader, err);
    return r < 0 ? r : device_get(reader->views, resource_id, arena, ret_device, err);
}
