/* registry.h - the devices of all shards, and who used them last: what is listed in one
 * shard may name a device of another.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_REGISTRY_H
#define AGENT_CLI_REGISTRY_H

#include "agent/cli/reading.h"

/* Each shard is opened when the first of its devices is asked for, and frozen then. */
struct registry;
/* folder is borrowed. NULL = out of memory */
struct registry *registry_new(const struct store_folder *folder);
void registry_free(struct registry *registry);

/* 0, 1 = unknown (*ret_device is zeroed), or negative. Text goes into arena. */
int registry_device(struct registry *registry, uint32_t resource_id, struct arena *arena,
                    struct device *ret_device, struct error *err);
/* The user who logged in last there, as ReportUsage told; absent = nobody is known. Text
 * goes into arena. */
int registry_last_user(struct registry *registry, uint32_t resource_id,
                       struct arena *arena, struct bytes *ret_user, struct error *err);

#endif
