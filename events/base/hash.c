/* hash.c - SHA-256, HMAC-SHA-256 and murmur2, and the text forms of hashes.
 *
 * OpenSSL's SHA256_* functions are used although version 3 prefers EVP: they allocate
 * nothing and cannot fail, which is what lets ours return nothing, and a short message
 * costs a third. Small pieces are gathered, since each call of them costs as much as
 * hashing 32 bytes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define OPENSSL_API_COMPAT 0x10100000L
#include "events/base/hash.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "events/base/error.h"

#define SHA256_BLOCK 64
#define GATHERED_MAX 512

struct sha256 {
    SHA256_CTX context;
    size_t gathered;
    uint8_t pieces[GATHERED_MAX]; /* not yet given to the context */
};

struct sha256 *sha256_new(void)
{
    struct sha256 *hasher = malloc(sizeof(*hasher));

    if (hasher) {
        sha256_begin(hasher);
    }
    return hasher;
}

void sha256_free(struct sha256 *hasher)
{
    free(hasher);
}

/* The results of OpenSSL's functions are ignored here and below: they are always 1. */
void sha256_begin(struct sha256 *hasher)
{
    (void)SHA256_Init(&hasher->context);
    hasher->gathered = 0;
}

static void hash_gathered(struct sha256 *hasher)
{
    (void)SHA256_Update(&hasher->context, hasher->pieces, hasher->gathered);
    hasher->gathered = 0;
}

void sha256_add(struct sha256 *hasher, const void *data, size_t size)
{
    if (size == 0) {
        return;
    }
    if (size > sizeof(hasher->pieces) - hasher->gathered) {
        hash_gathered(hasher);
    }
    if (size > sizeof(hasher->pieces)) {
        (void)SHA256_Update(&hasher->context, data, size);
        return;
    }
    memcpy(hasher->pieces + hasher->gathered, data, size);
    hasher->gathered += size;
}

void sha256_add_u32be(struct sha256 *hasher, uint32_t value)
{
    uint8_t data[4];

    write_u32be(data, value);
    sha256_add(hasher, data, sizeof(data));
}

void sha256_add_u64be(struct sha256 *hasher, uint64_t value)
{
    uint8_t data[8];

    write_u64be(data, value);
    sha256_add(hasher, data, sizeof(data));
}

void sha256_end(struct sha256 *hasher, uint8_t ret_digest[SHA256_SIZE])
{
    hash_gathered(hasher);
    (void)SHA256_Final(ret_digest, &hasher->context);
}

void sha256_once(const void *data, size_t size, uint8_t ret_digest[SHA256_SIZE])
{
    struct sha256 hasher;

    sha256_begin(&hasher);
    sha256_add(&hasher, data, size);
    sha256_end(&hasher, ret_digest);
}

/* RFC 2104. The states after the key's blocks: both are the same for every message. */
struct hmac {
    SHA256_CTX inner;
    SHA256_CTX outer;
};

static void hmac_init(struct hmac *hmac, struct bytes key)
{
    uint8_t inner_key[SHA256_BLOCK] = {0};
    uint8_t outer_key[SHA256_BLOCK];

    if (key.size > SHA256_BLOCK) {
        sha256_once(key.data, key.size, inner_key);
    } else if (key.size > 0) {
        memcpy(inner_key, key.data, key.size);
    }
    for (size_t i = 0; i < SHA256_BLOCK; i++) {
        outer_key[i] = inner_key[i] ^ 0x5c;
        inner_key[i] ^= 0x36;
    }
    (void)SHA256_Init(&hmac->inner);
    (void)SHA256_Update(&hmac->inner, inner_key, sizeof(inner_key));
    (void)SHA256_Init(&hmac->outer);
    (void)SHA256_Update(&hmac->outer, outer_key, sizeof(outer_key));
    OPENSSL_cleanse(inner_key, sizeof(inner_key));
    OPENSSL_cleanse(outer_key, sizeof(outer_key));
}

struct hmac *hmac_new(struct bytes key)
{
    struct hmac *hmac = malloc(sizeof(*hmac));

    if (hmac) {
        hmac_init(hmac, key);
    }
    return hmac;
}

void hmac_free(struct hmac *hmac)
{
    if (hmac) {
        OPENSSL_cleanse(hmac, sizeof(*hmac));
        free(hmac);
    }
}

void hmac_of(const struct hmac *hmac, struct bytes message, uint8_t ret_mac[SHA256_SIZE])
{
    SHA256_CTX context = hmac->inner;

    if (message.size > 0) {
        (void)SHA256_Update(&context, message.data, message.size);
    }
    (void)SHA256_Final(ret_mac, &context);
    context = hmac->outer;
    (void)SHA256_Update(&context, ret_mac, SHA256_SIZE);
    (void)SHA256_Final(ret_mac, &context);
}

void hmac_sha256(struct bytes key, struct bytes message, uint8_t ret_mac[SHA256_SIZE])
{
    struct hmac hmac;

    hmac_init(&hmac, key);
    hmac_of(&hmac, message, ret_mac);
    OPENSSL_cleanse(&hmac, sizeof(hmac));
}

static const char base64url_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void base64url_text(const void *data, size_t size, char *ret_text)
{
    const uint8_t *bytes = data;
    uint32_t bits = 0;
    int count = 0; /* of bits not yet written */

    for (size_t i = 0; i < size; i++) {
        bits = bits << 8 | bytes[i];
        for (count += 8; count >= 6; count -= 6) {
            *ret_text++ = base64url_digits[bits >> (count - 6) & 63];
        }
    }
    if (count > 0) {
        *ret_text++ = base64url_digits[bits << (6 - count) & 63];
    }
    *ret_text = '\0';
}

int base64url_append(struct buf *out, const void *data, size_t size)
{
    size_t length = (size * 8 + 5) / 6;

    if (size > SIZE_MAX / 8 || buf_reserve(out, length + 1) != 0) {
        return ERROR_NO_MEMORY;
    }
    base64url_text(data, size, (char *)out->data + out->size);
    out->size += length;
    return 0;
}

void hex_text(const void *data, size_t size, char *ret_text)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++) {
        *ret_text++ = digits[bytes[i] >> 4];
        *ret_text++ = digits[bytes[i] & 15];
    }
    *ret_text = '\0';
}

int hex_append(struct buf *out, const void *data, size_t size)
{
    if (size > SIZE_MAX / 8 || buf_reserve(out, size * 2 + 1) != 0) {
        return ERROR_NO_MEMORY;
    }
    hex_text(data, size, (char *)out->data + out->size);
    out->size += size * 2;
    return 0;
}

static int base64url_value(uint8_t digit)
{
    if (digit >= 'A' && digit <= 'Z') {
        return digit - 'A';
    }
    if (digit >= 'a' && digit <= 'z') {
        return digit - 'a' + 26;
    }
    if (digit >= '0' && digit <= '9') {
        return digit - '0' + 52;
    }
    return digit == '-' ? 62 : digit == '_' ? 63 : -1;
}

bool base64url_decode(struct bytes text, uint8_t *ret_data, size_t size)
{
    uint32_t bits = 0;
    int count = 0; /* of bits not yet written */
    size_t written = 0;

    if (size > SIZE_MAX / 8 || text.size != (size * 8 + 5) / 6) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (base64url_value(text.data[i]) < 0) {
            return false;
        }
    }
    int unused_bits = (int)(text.size * 6 % 8);

    if (size > 0 &&
        (base64url_value(text.data[text.size - 1]) & ((1 << unused_bits) - 1)) != 0) {
        return false; /* a second spelling of the same value */
    }
    for (size_t i = 0; i < text.size; i++) {
        bits = bits << 6 | (uint32_t)base64url_value(text.data[i]);
        count += 6;
        if (count >= 8) {
            count -= 8;
            ret_data[written++] = (uint8_t)(bits >> count);
        }
    }
    return true;
}

static int hex_value(uint8_t digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

bool hex_decode(struct bytes text, uint8_t *ret_data, size_t size)
{
    if (size > SIZE_MAX / 2 || text.size != size * 2) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (hex_value(text.data[i]) < 0) {
            return false;
        }
    }
    for (size_t i = 0; i < size; i++) {
        ret_data[i] = (uint8_t)((unsigned)hex_value(text.data[2 * i]) << 4 |
                                (unsigned)hex_value(text.data[2 * i + 1]));
    }
    return true;
}

uint32_t murmur2(struct bytes key)
{
    const uint32_t m = 0x5bd1e995;
    uint32_t hash = 0x9747b28c ^ (uint32_t)key.size;
    size_t whole = key.size / 4 * 4;

    for (size_t i = 0; i < whole; i += 4) {
        uint32_t k = (uint32_t)key.data[i] | (uint32_t)key.data[i + 1] << 8 |
                     (uint32_t)key.data[i + 2] << 16 | (uint32_t)key.data[i + 3] << 24;

        k *= m;
        k ^= k >> 24;
        k *= m;
        hash = (hash * m) ^ k;
    }
    if (whole < key.size) {
        for (size_t i = key.size; i > whole; i--) {
            hash ^= (uint32_t)key.data[i - 1] << (8 * (i - 1 - whole));
        }
        hash *= m;
    }
    hash ^= hash >> 13;
    hash *= m;
    hash ^= hash >> 15;
    return hash;
}

uint32_t slot_of_key(struct bytes key)
{
    return (murmur2(key) & 0x7fffffff) % SLOTS;
}
