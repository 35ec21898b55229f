/* sending.h - a command as `send`, `import` and `policy set` publish it: binary mode, on
 * the right partition.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_SENDING_H
#define AGENT_CLI_SENDING_H

#include "agent/cli/replies.h"
#include "schemas/codec.h"

#define SENDING_SOURCE "/kinlog/cli"
#define UUID_SIZE 37 /* with NUL */

/* Text is borrowed; NULL = the attribute is left out. */
struct outgoing {
    const char *type; /* as the person wrote it */
    const char *id, *source;
    const char *actor, *correlation_id, *expiry_time, *expected_version;
    struct bytes data;
};

/* A random UUID, version 4. 0 or ERROR_IO. */
int uuid_make(char ret_text[UUID_SIZE], struct error *err);

/* The shard that the command belongs to, and its record key (appended; nothing where
 * there is none). Of data that cannot be decoded: 0, where it is refused. */
int outgoing_route(const struct outgoing *outgoing, uint32_t shards, uint32_t *ret_shard,
                   struct buf *ret_key, struct error *err);
/* What the agent would refuse in the data whatever it knows: appended to ret_reason;
 * nothing where there is no such thing. */
int outgoing_check(const struct outgoing *outgoing, struct buf *ret_reason,
                   struct error *err);
int outgoing_send(const struct outgoing *outgoing, struct exchange *exchange,
                  uint32_t shard, struct bytes key, struct error *err);
/* The same without waiting for the broker; tag as in exchange_post(). */
int outgoing_post(const struct outgoing *outgoing, struct exchange *exchange,
                  uint32_t shard, struct bytes key, uint64_t tag, struct error *err);
/* Waits for the answer; value is appended to ret_value. 0, 1 = none in time. */
int outgoing_wait(const struct outgoing *outgoing, struct exchange *exchange,
                  struct buf *ret_value, struct error *err);

#endif
