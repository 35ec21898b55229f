/* hash.h - SHA-256, HMAC-SHA-256 and murmur2, and the text forms of hashes.
 *
 * SHA-256 is OpenSSL's. The hashers are heap objects to be kept and used again. One
 * thread per object.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef EVENTS_BASE_HASH_H
#define EVENTS_BASE_HASH_H

#include "events/base/bytes.h"

#define SHA256_SIZE 32

struct sha256;
struct sha256 *sha256_new(void); /* NULL = out of memory */
void sha256_free(struct sha256 *hasher);
void sha256_begin(struct sha256 *hasher);
void sha256_add(struct sha256 *hasher, const void *data, size_t size);
void sha256_add_u32be(struct sha256 *hasher, uint32_t value);
void sha256_add_u64be(struct sha256 *hasher, uint64_t value);
void sha256_end(struct sha256 *hasher, uint8_t ret_digest[SHA256_SIZE]);
/* One call for one piece, without an object. */
void sha256_once(const void *data, size_t size, uint8_t ret_digest[SHA256_SIZE]);

/* HMAC-SHA-256 with a key that is used again and again; wiped when freed. What it keeps
 * makes MACs, but tells nobody the key. */
struct hmac;
struct hmac *hmac_new(struct bytes key); /* NULL = out of memory */
void hmac_free(struct hmac *hmac);
void hmac_of(const struct hmac *hmac, struct bytes message, uint8_t ret_mac[SHA256_SIZE]);
/* With a key that is used once. */
void hmac_sha256(struct bytes key, struct bytes message, uint8_t ret_mac[SHA256_SIZE]);

/* Base64url without padding (RFC 4648 section 5); hex in lower case. Append to out. */
int base64url_append(struct buf *out, const void *data, size_t size);
/* The same into room for it and a NUL: four characters for each three bytes begun. */
void base64url_text(const void *data, size_t size, char *ret_text);
/* Likewise, two characters for each byte. */
void hex_text(const void *data, size_t size, char *ret_text);
int hex_append(struct buf *out, const void *data, size_t size);
/* Decodes exactly size bytes; false if text is anything else. */
bool base64url_decode(struct bytes text, uint8_t *ret_data, size_t size);
bool hex_decode(struct bytes text, uint8_t *ret_data, size_t size);

/* The hash of Kafka's default partitioner (Java's Utils.murmur2), before masking. */
uint32_t murmur2(struct bytes key);

/* messages.md 1: a record key's slot, 0..239; its shard is slot % shards. */
#define SLOTS 240
uint32_t slot_of_key(struct bytes key);

#endif
