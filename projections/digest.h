/* digest.h - the digest of a view: what is kept while its rows change.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PROJECTIONS_DIGEST_H
#define PROJECTIONS_DIGEST_H

#include "events/base/bytes.h"
#include "events/base/hash.h"
#include "events/base/kv.h"
#include "projections/views.h"

#define DIGEST_BUCKETS 256

struct digest {
    uint8_t buckets[DIGEST_BUCKETS][SHA256_SIZE]; /* big-endian numbers */
    bool changed[DIGEST_BUCKETS];                 /* since the last flush */
};

/* A row changes from old_row to new_row; absent = there is none. */
void digest_change(struct digest *digest, struct sha256 *hasher, struct bytes key,
                   struct bytes old_row, struct bytes new_row);

/* hex SHA-256 over the buckets. */
void digest_hex(const struct digest *digest, char ret_hex[2 * SHA256_SIZE + 1]);

/* Reads all digests from KV_META; a bucket without a row is zero. batch may be NULL. */
int digests_load(struct digest digests[VIEWS], struct kv *kv, struct kv_batch *batch,
                 struct error *err);
/* Writes the changed buckets. */
int digests_flush(struct digest digests[VIEWS], struct kv_batch *batch,
                  struct error *err);
/* Writes all buckets in the place of whatever digest rows kv has. */
int digests_replace(const struct digest digests[VIEWS], struct kv *kv,
                    struct kv_batch *batch, struct error *err);

#endif
