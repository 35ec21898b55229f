/* device_names.h - which devices have a name, of all shards, as of one moment.
 *
 * Names are compared without regard to the case of A to Z, as `list --device` does. A few
 * dozen bytes of memory for each registered device.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_DEVICE_NAMES_H
#define AGENT_CLI_DEVICE_NAMES_H

#include "agent/shard/store.h"
#include "events/base/bytes.h"

struct device_names;

int device_names_load(const struct store_folder *folder, struct device_names **ret_names,
                      struct error *err);
void device_names_free(struct device_names *names); /* NULL is fine */

/* How many devices have the name; their ids stand at *ret_first and the places behind
 * it, in ascending order. */
size_t device_names_find(const struct device_names *names, struct bytes name,
                         size_t *ret_first);
uint32_t device_names_id(const struct device_names *names, size_t place);

#endif
